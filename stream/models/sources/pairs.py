"""Pair counts: how often two items meet in a visitor's history, the table behind transitions and item cosine.

An item has sets of eight slots; a hash of the other item picks the set, and the weakest slot of a full set makes room.
The first write of a pair counts with its own weight: inheriting the count of the slot it replaces (space-saving)
measured worse. An item starts with two sets and moves to eight and then thirty-two when a set is full, because most
items are rare.

An event on item i meets the last ten items a_k of the visitor's history, newest first (i itself skipped):
together(a, i) and together(i, a) grow by its weight w; and for k < 5 forward(a→i) and fast(a→i) by w/(k+1). `fast` has
a half-life of one day and is stored forward-decayed, as popularity is.

This file decides which pairs an event adds to, where a pair is kept, and which pair makes room for another.
"""

from __future__ import annotations

import numpy as np

from stream.models.kernels.compile import bits_of, float_of, inlined, kernel
from stream.models.kernels.hashing import mixed
from stream.models.kernels.marks import mark_block
from stream.models.kernels.row_pool import CLASSES, give_back, run_class, run_row, run_rows, take
from stream.models.schema import EVENTS, FAST_LANDMARK, FAST_SUM, FORWARD_SUM, POOL_PAIRS, RUN_SETS, SET_SLOTS
from stream.models.workspace.learning_view import State

MEETINGS = 10
"""Items of the history that an event meets."""
FORWARD_MEETINGS = 5
"""Items of the history that an event is counted as following."""
FAST_HALF_LIFE_SECONDS = 86_400.0
MOST_HALVINGS = 60.0
"""Halvings between landmark and event before the landmark moves (a float32 holds 126)."""

MAX_NEAREST = 262_144.0
"""Counts of a pair that has met so often are rounded at random (stochastic rounding). A float32 stands still at 2^24,
and before that it loses a part of the smaller amounts: a pair that 150 events a second meet gets there in 31 hours.

Connolly, Higham & Mary, "Stochastic rounding and its probabilistic backward error analysis", SIAM J. Sci. Comput. 2021.
"""


@inlined
def fast_factor(landmark: float, seconds: float) -> float:
    """The amount that an event of weight 1 at this time adds to a `fast` count."""
    return 2.0 ** min(100.0, max(-120.0, (seconds - landmark) / FAST_HALF_LIFE_SECONDS))


@inlined
def set_of(other: int, sets: int) -> np.int64:
    """Number of the set, of so many, that holds the pair with `other`."""
    return np.int64((np.uint64(other) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(48)) & (sets - 1)


@inlined
def first_set(pointer: np.uint32) -> int:
    """Row of the first set of an item."""
    return RUN_SETS * run_row(pointer)


@inlined
def sets_of(pointer: np.uint32) -> int:
    """Number of sets of an item."""
    return RUN_SETS * run_rows(pointer)


@kernel
def learn(state: State, item: int, seconds: float, weight: float, held: bool, met: np.ndarray, count: int) -> None:
    """Learn an event on `item` after `met[:count]`, newest first; the fast counts of a held event follow later."""
    if not held:
        keep_landmark_near(state, seconds)
    if weight < 0:
        take_back(state, item, seconds, -weight, held, met, count)
        return
    fast = 0.0 if held else fast_factor(state.scalars[FAST_LANDMARK], seconds)
    for k in range(min(count, MEETINGS)):
        before = met[k]
        forward = weight / (k + 1) if k < FORWARD_MEETINGS else 0.0
        add(state, before, item, weight, forward, forward * fast, held)
        add(state, item, before, weight, 0.0, 0.0, held)
        if forward != 0.0:
            state.sums[before, FORWARD_SUM] += forward
            state.sums[before, FAST_SUM] += forward * fast
            state.sums_dirty[before] = 1


@kernel
def take_back(state: State, item: int, seconds: float, weight: float, held: bool, met: np.ndarray, count: int) -> None:
    """Subtract what an event of this weight on `item` at this time adds after `met[:count]`, newest first.

    The sums of an item lose what its pair with `item` loses, so that one pair never takes from others. An item of 0 in
    `met` is none.
    """
    fast = 0.0 if held else fast_factor(state.scalars[FAST_LANDMARK], seconds)
    for k in range(min(count, MEETINGS)):
        before = met[k]
        if before == 0:
            continue
        forward = weight / (k + 1) if k < FORWARD_MEETINGS else 0.0
        lost_forward, lost_fast = subtract(state, before, item, weight, forward, forward * fast)
        subtract(state, item, before, weight, 0.0, 0.0)
        if forward != 0.0:
            state.sums[before, FORWARD_SUM] = max(0.0, state.sums[before, FORWARD_SUM] - lost_forward)
            state.sums[before, FAST_SUM] = max(0.0, state.sums[before, FAST_SUM] - lost_fast)
            state.sums_dirty[before] = 1


@kernel
def subtract(state: State, item: int, other: int, together: float, forward: float, fast: float) -> tuple[float, float]:
    """Subtract from the slot of `other` in the sets of `item`, down to zero; returns what forward and fast lost."""
    pointer = state.items[item].pairs
    if pointer == 0:
        return 0.0, 0.0
    row = first_set(pointer) + set_of(other, sets_of(pointer))
    for column in range(SET_SLOTS):
        slot = state.pairs[row, column]
        if slot.other == other:
            lost_forward = min(np.float64(slot.forward), forward)
            lost_fast = min(np.float64(slot.fast), fast)
            if slot.together < MAX_NEAREST:
                slot.together = max(np.float32(0.0), slot.together - np.float32(together))
                slot.forward = max(np.float32(0.0), slot.forward - np.float32(forward))
                slot.fast = max(np.float32(0.0), slot.fast - np.float32(fast))
            else:
                pair = np.uint64(item) << np.uint64(32) | np.uint64(other)
                draw = mixed(np.uint64(np.int64(state.scalars[EVENTS])) ^ mixed(pair))
                slot.together = rounded_at_random(slot.together, -together, draw)
                slot.forward = rounded_at_random(slot.forward, -forward, draw)
                slot.fast = rounded_at_random(slot.fast, -fast, draw)
            mark_block(state.pairs_dirty, row * SET_SLOTS + column)
            return lost_forward, lost_fast
    return 0.0, 0.0


@kernel
def add(state: State, item: int, other: int, together: float, forward: float, fast: float, held: bool) -> None:
    """Add to the slot of `other` in the sets of `item`.

    Of equally strong slots, the one with the smallest fast count makes room. While events are `held`, a slot that has
    only followers without a fast count is theirs, hence the newest.
    """
    pointer = state.items[item].pairs
    if pointer == 0:
        if together <= 0.0:
            return
        pointer = take(state.pairs_words, state.pairs_dirty, state.scalars, POOL_PAIRS, state.items.size - 1, 0, 0)
        if pointer == 0:
            return
        state.items[item].pairs = pointer
        state.items_dirty[2 * item + 1] = 1
    while True:
        row = first_set(pointer) + set_of(other, sets_of(pointer))
        for column in range(SET_SLOTS):
            slot = state.pairs[row, column]
            if slot.other == other:
                if slot.together < MAX_NEAREST:
                    slot.together += np.float32(together)
                    slot.forward += np.float32(forward)
                    slot.fast += np.float32(fast)
                else:
                    pair = np.uint64(item) << np.uint64(32) | np.uint64(other)
                    draw = mixed(np.uint64(np.int64(state.scalars[EVENTS])) ^ mixed(pair))
                    slot.together = rounded_at_random(slot.together, together, draw)
                    slot.forward = rounded_at_random(slot.forward, forward, draw)
                    slot.fast = rounded_at_random(slot.fast, fast, draw)
                mark_block(state.pairs_dirty, row * SET_SLOTS + column)
                return
        if together <= 0.0:
            return
        empty = -1
        weakest = 0
        least = np.inf
        least_fast = np.inf
        for column in range(SET_SLOTS):
            slot = state.pairs[row, column]
            if slot.other == 0:
                empty = column
                break
            strength = slot.together + slot.forward
            slot_fast = np.inf if held and slot.fast == 0 and slot.forward > 0 else np.float64(slot.fast)
            if strength < least or (strength == least and slot_fast < least_fast):
                least = strength
                least_fast = slot_fast
                weakest = column
        if empty < 0 and run_class(pointer) + 1 < CLASSES:
            longer = lengthen(state, item)
            if longer:
                pointer = longer
                continue
        column = weakest if empty < 0 else empty
        slot = state.pairs[row, column]
        slot.other = other
        slot.together = together
        slot.forward = forward
        slot.fast = fast
        mark_block(state.pairs_dirty, row * SET_SLOTS + column)
        return


@kernel
def rounded_at_random(count: np.float32, amount: float, draw: np.uint64) -> np.float32:
    """A count and an amount added, at least 0: the next float32 above or below the sum, so that the mean is exact.

    Args:
        count: so large that the nearest float32 to the sum may be the count itself.
        amount: to add.
        draw: 64 random bits. The same ones may serve for several counts.
    """
    total = np.float64(count) + amount
    if total <= 0.0:
        return np.float32(0)
    below = np.float32(total)
    if np.float64(below) > total:
        below = float_of(np.int32(bits_of(below) - np.int32(1)))
    above = float_of(np.int32(bits_of(below) + np.int32(1)))
    part = np.float64(draw >> np.uint64(11)) / 2.0**53
    rest, gap = total - np.float64(below), np.float64(above) - np.float64(below)
    return above if rest > part * gap else below


@kernel
def learn_fast(state: State, before: int, item: int, seconds: float, forward: float) -> None:
    """Add the fast count of an event on `item` after `before`, which `learn` left out because the event was held.

    Call `keep_landmark_near` before.
    """
    fast = fast_factor(state.scalars[FAST_LANDMARK], seconds)
    if forward < 0:
        _, lost = subtract(state, before, item, 0.0, 0.0, -forward * fast)
        state.sums[before, FAST_SUM] = max(0.0, state.sums[before, FAST_SUM] - lost)
    else:
        add(state, before, item, 0.0, 0.0, forward * fast, False)
        state.sums[before, FAST_SUM] += forward * fast
    state.sums_dirty[before] = 1


@kernel
def lengthen(state: State, item: int) -> np.uint32:
    """Move an item's pairs into four times as many sets; returns the new pointer, 0 if the pool has no room."""
    old = state.items[item].pairs
    new = take(
        state.pairs_words,
        state.pairs_dirty,
        state.scalars,
        POOL_PAIRS,
        state.items.size - 1,
        run_class(old) + 1,
        run_rows(old),
    )
    if new == 0:
        return new
    for old_row in range(first_set(old), first_set(old) + sets_of(old)):
        for old_column in range(SET_SLOTS):
            slot = state.pairs[old_row, old_column]
            if slot.other:
                row = first_set(new) + set_of(slot.other, sets_of(new))
                # Every old set is spread over four new ones, and nothing else falls into these: there is room.
                column = 0
                while state.pairs[row, column].other:
                    column += 1
                moved = state.pairs[row, column]
                moved.other = slot.other
                moved.together = slot.together
                moved.forward = slot.forward
                moved.fast = slot.fast
                mark_block(state.pairs_dirty, row * SET_SLOTS + column)
    give_back(state.pairs_words, state.pairs_dirty, state.scalars, POOL_PAIRS, old, False)
    state.items[item].pairs = new
    state.items_dirty[2 * item + 1] = 1
    return new


@inlined
def keep_landmark_near(state: State, seconds: float) -> None:
    """Move the landmark to this time, if that is too many halvings after it."""
    if (seconds - state.scalars[FAST_LANDMARK]) / FAST_HALF_LIFE_SECONDS > MOST_HALVINGS:
        move_landmark(state, seconds)


@kernel
def move_landmark(state: State, seconds: float) -> None:
    """Scale every fast count so that `seconds` is the new landmark."""
    factor = 2.0 ** max(-1000.0, -(seconds - state.scalars[FAST_LANDMARK]) / FAST_HALF_LIFE_SECONDS)
    for item in range(1, state.items.size):
        if state.sums[item, FAST_SUM] != 0.0:
            state.sums[item, FAST_SUM] *= factor
            state.sums_dirty[item] = 1
        pointer = state.items[item].pairs
        if pointer:
            for row in range(first_set(pointer), first_set(pointer) + sets_of(pointer)):
                for column in range(SET_SLOTS):
                    slot = state.pairs[row, column]
                    if slot.fast != 0.0:
                        slot.fast = np.float32(slot.fast * factor)
                        mark_block(state.pairs_dirty, row * SET_SLOTS + column)
    state.scalars[FAST_LANDMARK] = seconds


@kernel
def forget(state: State, item: int) -> None:
    """Free the sets of an item that is evicted."""
    pointer = state.items[item].pairs
    if pointer:
        give_back(state.pairs_words, state.pairs_dirty, state.scalars, POOL_PAIRS, pointer, True)
        state.items[item].pairs = 0


@kernel
def forget_others(state: State, first: int, end: int) -> None:
    """Empty the slots of leaving items, in the sets of the items in these rows."""
    for item in range(max(1, first), end):
        pointer = state.items[item].pairs
        if pointer:
            for row in range(first_set(pointer), first_set(pointer) + sets_of(pointer)):
                for column in range(SET_SLOTS):
                    slot = state.pairs[row, column]
                    if slot.other and state.items_leaving[slot.other]:
                        slot.other = 0
                        slot.together = 0
                        slot.forward = 0
                        slot.fast = 0
                        mark_block(state.pairs_dirty, row * SET_SLOTS + column)
