"""Visitors: their rows and their last events.

A visitor's history is a ring of entries in a run that grows from 8 over 32 to 128 entries. When rows are short, the
least recently active visitors are evicted, a little with every new visitor.

This file decides how a visitor gets a row, how their events are kept, and what is cleared when they go. Which row they
get is decided by `row_lifecycle`, when and which visitors go by `eviction`.
"""

from __future__ import annotations

import numpy as np

from stream.models.entities import eviction
from stream.models.entities.eviction import FREE_STEPS, LEAVING, POSITION, WANTED
from stream.models.entities.row_lifecycle import give_back_row, no_row_left, take_row
from stream.models.kernels.compile import inlined, kernel
from stream.models.kernels.hash_index import enter, find, remove
from stream.models.kernels.marks import mark_block
from stream.models.kernels.row_pool import CLASSES, give_back, run_class, run_row, run_rows, take
from stream.models.schema import (
    EVICT_VISITORS,
    HISTORY_ENTRIES,
    POOL_HISTORY,
    VISITOR_FREE,
    VISITOR_ROWS,
    VISITORS_EVICTED,
    VISITORS_LIVE,
)
from stream.models.workspace.learning_view import VISITOR_INDEX, State

ENTRIES_TURN = 1 << 30
MAX_ENTRIES = 2 * ENTRIES_TURN - 1
"""The position in a ring turns back by a multiple of every length before it passes 31 bits. A visitor whom a shop names
in every event reaches that after four hours at 150,000 events/s."""


@kernel
def find_or_add(state, key0, key1, seconds):
    """The row of a visitor; a visitor without a row gets one, and others are evicted for it if necessary.

    Args:
        state: the tables.
        key0, key1: the two halves of the visitor's key.
        seconds: time of the event.
    """
    row = find(state.visitor_cells, state.visitors, key0, key1)
    if row:
        let_stay(state, row)
        return row
    make_room(state)
    row = take_row(state.visitors, state.scalars, VISITOR_ROWS, VISITOR_FREE, VISITORS_LIVE)
    visitor = state.visitors[row]
    visitor.key0 = key0
    visitor.key1 = key1
    visitor.first_seconds = np.uint32(seconds)
    visitor.history = take(
        state.history_words, state.history_dirty, state.scalars, POOL_HISTORY, state.visitors.size - 1, 0, 0
    )
    state.visitors_dirty[row] = 1
    enter(state.visitor_cells, state.cells_used, VISITOR_INDEX, state.visitors, row)
    return row


@kernel
def remember(state, row, item, seconds, weight, kind, learned):
    """Write an event into the visitor's history, over the oldest entry if the history can't grow."""
    visitor = state.visitors[row]
    if visitor.history == 0:
        return
    entries = np.int64(visitor.entries)
    length = run_rows(visitor.history) * HISTORY_ENTRIES
    if entries >= length and run_class(visitor.history) + 1 < CLASSES:
        lengthen(state, row)
        length = run_rows(visitor.history) * HISTORY_ENTRIES
        entries = np.int64(visitor.entries)
    at = entries % length
    first = run_row(visitor.history)
    history_row = first + at // HISTORY_ENTRIES
    entry = state.history[history_row, at % HISTORY_ENTRIES]
    entry.item = item
    entry.seconds = np.uint32(seconds)
    entry.weight = weight
    entry.kind = kind
    entry.learned = learned
    mark(state, history_row, at % HISTORY_ENTRIES)
    visitor.entries = entries + 1 if entries < MAX_ENTRIES else entries + 1 - ENTRIES_TURN
    if seconds > visitor.last_seconds:
        visitor.last_seconds = np.uint32(seconds)
    state.visitors_dirty[row] = 1


@inlined
def mark(state, row, column):
    """Mark the block of an entry as written."""
    blocks = state.history_dirty.size // state.history.shape[0]
    mark_block(state.history_dirty, row * blocks + column * blocks // state.history.shape[1])


@kernel
def lengthen(state, row):
    """Move a full history into the next longer run, oldest entry first. No change if the pool can't spare one."""
    visitor = state.visitors[row]
    old = visitor.history
    size = run_class(old)
    new = take(
        state.history_words,
        state.history_dirty,
        state.scalars,
        POOL_HISTORY,
        state.visitors.size - 1,
        size + 1,
        run_rows(old),
    )
    if new == 0:
        return
    length = run_rows(old) * HISTORY_ENTRIES
    oldest = np.int64(visitor.entries) % length
    for number in range(length):
        source = (oldest + number) % length
        from_row = run_row(old) + source // HISTORY_ENTRIES
        to_row = run_row(new) + number // HISTORY_ENTRIES
        entry = state.history[to_row, number % HISTORY_ENTRIES]
        entry.item = state.history[from_row, source % HISTORY_ENTRIES].item
        entry.seconds = state.history[from_row, source % HISTORY_ENTRIES].seconds
        entry.weight = state.history[from_row, source % HISTORY_ENTRIES].weight
        entry.kind = state.history[from_row, source % HISTORY_ENTRIES].kind
        entry.learned = state.history[from_row, source % HISTORY_ENTRIES].learned
        mark(state, to_row, number % HISTORY_ENTRIES)
    give_back(state.history_words, state.history_dirty, state.scalars, POOL_HISTORY, old, False)
    visitor.history = new
    visitor.entries = length


@kernel
def forget(state, row):
    """Free a visitor's row and history."""
    let_stay(state, row)
    visitor = state.visitors[row]
    if visitor.history:
        give_back(state.history_words, state.history_dirty, state.scalars, POOL_HISTORY, visitor.history, True)
    state.visitor_tastes[row] = 0.0
    state.visitor_tastes_dirty[row] = 1
    visitor.history = 0
    visitor.entries = 0
    visitor.last_seconds = 0
    visitor.first_seconds = 0
    visitor.session = 0
    visitor.session_ordinal = 0
    visitor.session_ordinal_high = 0
    remove(state.visitor_cells, state.cells_used, VISITOR_INDEX, state.visitors, row)
    give_back_row(state.visitors, state.scalars, VISITOR_FREE, VISITORS_LIVE, row)
    state.visitors_dirty[row] = 1


@kernel
def erase(state: State, row: int) -> None:
    """Free a visitor's row, and clear it where items have it as their last visitor's."""
    forget(state, row)
    for item in range(1, state.items.size):
        if state.items[item].last_visitor == row:
            state.items[item].last_visitor = 0
            state.items_dirty[2 * item + 1] = 1


@inlined
def let_stay(state, row):
    """Let a visitor stay, if they are leaving."""
    eviction.stay(state.visitors, state.visitors_dirty, state.visitors_leaving, state.scalars, EVICT_VISITORS, row)


@kernel
def make_room(state: State) -> None:
    """Do the part of an eviction that a new row has to do, and all of it if no row is left."""
    if eviction.due(state.visitors, state.scalars, EVICT_VISITORS, VISITORS_LIVE):
        evict_some(state)
    while no_row_left(state.visitors, state.scalars, VISITOR_ROWS, VISITOR_FREE):
        evict_some(state)


@kernel
def evict_some(state):
    """Go on with the eviction of visitors, or begin one.

    The steps are numbered through: a row of the choice, an item, a row to be freed.
    """
    scalars = state.scalars
    strengths = state.visitors.last_seconds
    if scalars[EVICT_VISITORS + POSITION] == 0:
        eviction.begin(state.visitors, strengths, scalars, EVICT_VISITORS, VISITORS_LIVE, state.evict_order)
    chosen = state.visitors.size - 1
    items = chosen + state.items.size
    freed = items + state.visitors.size
    at = np.int64(scalars[EVICT_VISITORS + POSITION]) - 1
    steps = eviction.share(freed - at, scalars, EVICT_VISITORS)
    while steps > 0 and at < freed:
        if at < chosen:
            done = eviction.choose(
                state.visitors,
                state.visitors_dirty,
                strengths,
                state.visitors_leaving,
                scalars,
                EVICT_VISITORS,
                min(steps, chosen - at),
            )
            steps -= max(1, done)
            at += done
            if scalars[EVICT_VISITORS + LEAVING] >= scalars[EVICT_VISITORS + WANTED]:
                at = chosen
            if at == chosen and scalars[EVICT_VISITORS + LEAVING] == 0:
                at = freed
            continue
        if at < items:
            done = min(steps, items - at)
            forget_last_visitors(state, at - chosen, at - chosen + done)
        else:
            done = 1 if scalars[EVICT_VISITORS + LEAVING] else freed - at
            if done == 1 and free_if_leaving(state, at - items):
                steps -= FREE_STEPS
        at += done
        steps -= done
    scalars[EVICT_VISITORS + POSITION] = at + 1
    if at >= freed:
        eviction.end(scalars, EVICT_VISITORS, scalars[VISITOR_FREE] > 0)


@kernel
def forget_last_visitors(state: State, first: int, end: int) -> None:
    """Clear leaving visitors where these items have them as their last visitor."""
    for item in range(max(1, first), end):
        last = state.items[item].last_visitor
        if last and state.visitors_leaving[last]:
            state.items[item].last_visitor = 0
            state.items_dirty[2 * item + 1] = 1


@inlined
def free_if_leaving(state: State, row: int) -> bool:
    """Free the row of a visitor if they are leaving; returns whether they were."""
    leaving = state.visitors_leaving[row] != 0
    if leaving:
        forget(state, row)
        state.scalars[VISITORS_EVICTED] += 1
    return leaving
