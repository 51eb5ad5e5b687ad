"""Popularity at five half-lives, from twenty minutes to thirty days.

A decayed count is stored as the sum of weight · 2^((t - L) / half-life) for a landmark L that all items share. Then a
count never has to be touched to decay, the order of items is the order of the stored numbers, a late event adds what it
would have added in time, and a list of the best 200 changes only where an event happened. Once in many half-lives the
landmark moves and all numbers are scaled by one factor.

This file decides how counts decay, and keeps the lists of the most popular and of the newest items.

Cormode, Shkapenyuk, Srivastava & Xu, "Forward decay", ICDE 2009.
"""

from __future__ import annotations

import numpy as np

from stream.models.kernels.compile import inlined, kernel
from stream.models.schema import NEWEST, NEWEST_WRITTEN, POPULARITY_LANDMARK, TOP_ITEMS, TOP_SIZES, TOP_WIDTH
from stream.models.source_names import HALF_LIVES, HALF_LIVES_SECONDS
from stream.models.workspace.learning_view import State

MOST_HALVINGS = 500.0
"""Halvings between landmark and event before the landmark moves (a float64 holds 1,023)."""

TOP_BLOCK_ITEMS = 8
"""Items in a block of the table `top`."""
TOP_BLOCKS = TOP_WIDTH // TOP_BLOCK_ITEMS
"""Blocks in a row of it."""


@kernel
def learn(state: State, item: int, seconds: float, weight: float) -> None:
    """Add an event's weight to its item (a negative one never leads below zero) and keep the lists in order."""
    landmark = state.scalars[POPULARITY_LANDMARK]
    if (seconds - landmark) / HALF_LIVES_SECONDS[0] > MOST_HALVINGS:
        move_landmark(state, seconds)
        landmark = seconds
    for half_life in range(HALF_LIVES):
        gained = weight * 2.0 ** (max(-1000.0, (seconds - landmark) / HALF_LIVES_SECONDS[half_life]))
        state.sums[item, half_life] = max(0.0, state.sums[item, half_life] + gained)
        place(state, half_life, item)
    state.sums_dirty[item] = 1


@kernel
def move(state: State, item: int, counted_seconds: float, seconds: float, weight: float) -> None:
    """Move an event's weight from the time at which it was counted to another, and keep the lists in order."""
    if (seconds - state.scalars[POPULARITY_LANDMARK]) / HALF_LIVES_SECONDS[0] > MOST_HALVINGS:
        move_landmark(state, seconds)
    landmark = state.scalars[POPULARITY_LANDMARK]
    for half_life in range(HALF_LIVES):
        counted = weight * 2.0 ** (max(-1000.0, (counted_seconds - landmark) / HALF_LIVES_SECONDS[half_life]))
        gained = weight * 2.0 ** (max(-1000.0, (seconds - landmark) / HALF_LIVES_SECONDS[half_life]))
        state.sums[item, half_life] = max(0.0, max(0.0, state.sums[item, half_life] - counted) + gained)
        place(state, half_life, item)
    state.sums_dirty[item] = 1


@kernel
def move_landmark(state: State, seconds: float) -> None:
    """Scale every count so that `seconds` is the new landmark."""
    passed = seconds - state.scalars[POPULARITY_LANDMARK]
    for half_life in range(HALF_LIVES):
        factor = 2.0 ** max(-1074.0, -passed / HALF_LIVES_SECONDS[half_life])
        for item in range(1, state.sums.shape[0]):
            if state.sums[item, half_life] != 0.0:
                state.sums[item, half_life] *= factor
                state.sums_dirty[item] = 1
    state.scalars[POPULARITY_LANDMARK] = seconds


@inlined
def get_place(state: State, half_life: int, item: int) -> np.int64:
    """Place of an item in the list of a half-life, from 1; 0 if it is not in it."""
    return np.int64(state.items[item].listed[half_life])


@inlined
def set_place(state: State, half_life: int, item: int, position: int) -> None:
    """Write the place of an item in the list of a half-life, from 1; 0 for none."""
    state.items[item].listed[half_life] = position
    state.items_dirty[2 * item + 1] = 1


@kernel
def place(state: State, half_life: int, item: int) -> None:
    """Move an item whose count changed to its place in the list of a half-life."""
    value = state.sums[item, half_life]
    size = np.int64(state.scalars[TOP_SIZES + half_life])
    position = get_place(state, half_life, item)
    if position == 0:
        if value <= 0.0:
            return
        if size < TOP_ITEMS:
            size += 1
            state.scalars[TOP_SIZES + half_life] = size
        else:
            last = np.int64(state.top[half_life, size - 1])
            if state.sums[last, half_life] >= value:
                return
            set_place(state, half_life, last, 0)
        position = size
        put(state, half_life, position, item)
    while position > 1:
        other = np.int64(state.top[half_life, position - 2])
        if state.sums[other, half_life] >= value:
            break
        put(state, half_life, position, other)
        position -= 1
        put(state, half_life, position, item)
    while position < size:
        other = np.int64(state.top[half_life, position])
        if state.sums[other, half_life] <= value:
            break
        put(state, half_life, position, other)
        position += 1
        put(state, half_life, position, item)


@inlined
def put(state: State, half_life: int, position: int, item: int) -> None:
    """Write an item into a place of the list of a half-life, from 1."""
    state.top[half_life, position - 1] = item
    state.top_dirty[half_life * TOP_BLOCKS + (position - 1) // TOP_BLOCK_ITEMS] = 1
    set_place(state, half_life, item, position)


@kernel
def forget(state: State, item: int) -> None:
    """Take an item that is evicted out of every list."""
    for half_life in range(HALF_LIVES):
        position = get_place(state, half_life, item)
        if position:
            size = np.int64(state.scalars[TOP_SIZES + half_life])
            for later in range(position, size):
                put(state, half_life, later, np.int64(state.top[half_life, later]))
            state.top[half_life, size - 1] = 0
            state.top_dirty[half_life * TOP_BLOCKS + (size - 1) // TOP_BLOCK_ITEMS] = 1
            state.scalars[TOP_SIZES + half_life] = size - 1
    for position in range(TOP_WIDTH):
        if state.top[NEWEST, position] == item:
            state.top[NEWEST, position] = 0
            state.top_dirty[NEWEST * TOP_BLOCKS + position // TOP_BLOCK_ITEMS] = 1


@kernel
def note_new(state: State, item: int) -> None:
    """Write an item into the ring of the newest."""
    position = np.int64(state.scalars[NEWEST_WRITTEN]) % TOP_WIDTH
    state.top[NEWEST, position] = item
    state.top_dirty[NEWEST * TOP_BLOCKS + position // TOP_BLOCK_ITEMS] = 1
    state.scalars[NEWEST_WRITTEN] += 1
