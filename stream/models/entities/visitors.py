"""Visitors: their rows and what they did last.

A visitor's history is a ring of entries in a run that grows from 8 over 32 to 128 entries. When all rows are taken the
least recently active sixty-fourth makes room in one batch.
"""

from __future__ import annotations

import numpy as np

from stream.models.kernels.compile import inlined, kernel
from stream.models.kernels.hash_index import enter, find
from stream.models.kernels.quickselect import smallest
from stream.models.kernels.row_pool import CLASSES, give_back, run_class, run_row, run_rows, take
from stream.models.schema import (
    HISTORY_ENTRIES,
    POOL_HISTORY,
    VISITOR_FREE,
    VISITOR_ROWS,
    VISITORS_EVICTED,
    VISITORS_LIVE,
)
from stream.models.workspace.learning_view import State

EVICTED_SHARE = 64


@kernel
def find_or_add(state, key0, key1, seconds):  # type: ignore[no-untyped-def]
    """The row of a visitor, a new one if they have none."""
    row = find(state.visitor_cells, state.visitors, key0, key1)
    if row:
        return row
    if state.scalars[VISITOR_FREE] == 0 and state.scalars[VISITOR_ROWS] >= state.visitors.size:
        evict(state)
    row = np.int64(state.scalars[VISITOR_FREE])
    if row:
        state.scalars[VISITOR_FREE] = state.visitors[row].next_free
    else:
        row = max(1, np.int64(state.scalars[VISITOR_ROWS]))
        state.scalars[VISITOR_ROWS] = row + 1
    state.scalars[VISITORS_LIVE] += 1
    visitor = state.visitors[row]
    visitor.key0 = key0
    visitor.key1 = key1
    visitor.next_free = 0
    visitor.first_seconds = np.uint32(seconds)
    visitor.history = take(
        state.history_words, state.history_dirty, state.scalars, POOL_HISTORY, state.visitors.size - 1, 0, 0
    )
    state.visitors_dirty[row] = 1
    enter(state.visitor_cells, state.cells_used, 1, state.visitors, row)
    return row


@kernel
def remember(state, row, item, seconds, weight, kind, learned):  # type: ignore[no-untyped-def]
    """Write one event into the visitor's history; the oldest entry makes room."""
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
    # Counted so that the place in the ring stays right: past the ring's length the count goes round within twice it.
    visitor.entries = entries + 1
    if seconds > visitor.last_seconds:
        visitor.last_seconds = np.uint32(seconds)
    state.visitors_dirty[row] = 1


@inlined
def mark(state, row, column):  # type: ignore[no-untyped-def]
    blocks = state.history_dirty.size // state.history.shape[0]
    state.history_dirty[row * blocks + column * blocks // state.history.shape[1]] = 1


@kernel
def lengthen(state, row):  # type: ignore[no-untyped-def]
    """Move a full history into the next longer run, oldest entry first; no change if the pool can't spare one."""
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
def forget(state, row):  # type: ignore[no-untyped-def]
    """Free a visitor's row and history."""
    visitor = state.visitors[row]
    if visitor.history:
        give_back(state.history_words, state.history_dirty, state.scalars, POOL_HISTORY, visitor.history, True)
    state.visitor_tastes[row] = 0.0
    state.visitor_tastes_dirty[row] = 1
    visitor.key0 = 0
    visitor.key1 = 0
    visitor.history = 0
    visitor.entries = 0
    visitor.last_seconds = 0
    visitor.first_seconds = 0
    visitor.session = 0
    visitor.session_ordinal = 0
    visitor.next_free = np.uint32(state.scalars[VISITOR_FREE])
    state.scalars[VISITOR_FREE] = row
    state.scalars[VISITORS_LIVE] -= 1
    state.visitors_dirty[row] = 1


@kernel
def erase(state: State, row: int) -> None:
    """Free a visitor's row, and take the visitor from the items that name them as the last."""
    forget(state, row)
    for item in range(1, state.items.size):
        if state.items[item].last_visitor == row:
            state.items[item].last_visitor = 0
            state.items_dirty[2 * item + 1] = 1


@kernel
def evict(state):  # type: ignore[no-untyped-def]
    """Make room: the least recently active go, ties to the lower row."""
    rows = np.int64(state.scalars[VISITOR_ROWS])
    going = state.going
    count = 0
    for row in range(rows):
        going[row] = 0
        if state.visitors[row].key0 or state.visitors[row].key1:
            state.order[count] = state.visitors[row].last_seconds
            count += 1
    wanted = min(count, max(1, (state.visitors.size - 1) // EVICTED_SHARE))
    limit = smallest(state.order, count, wanted - 1)
    left = wanted
    for row in range(1, rows):
        if (state.visitors[row].key0 or state.visitors[row].key1) and state.visitors[row].last_seconds < limit:
            going[row] = 1
            left -= 1
    for row in range(1, rows):
        known = state.visitors[row].key0 or state.visitors[row].key1
        if left > 0 and known and state.visitors[row].last_seconds == limit:
            going[row] = 1
            left -= 1
    for row in range(rows - 1, 0, -1):
        if going[row]:
            forget(state, row)
    state.scalars[VISITORS_EVICTED] += wanted
    for item in range(1, state.items.size):
        last = state.items[item].last_visitor
        if last and last < rows and going[last]:
            state.items[item].last_visitor = 0
            state.items_dirty[2 * item + 1] = 1
