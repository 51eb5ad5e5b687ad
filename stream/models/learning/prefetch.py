"""Asking main memory for what the next events will touch, some events before they do.

An event touches some sixty places that have nothing to do with those of the event before. In a model of a million items
each of them comes from main memory, which takes as long as a hundred additions, and what one place says leads to the
next: directory, row, run. So each step of that way is asked for a few events ahead of the one that follows it, and
dozens of places arrive side by side.

Nothing here decides or writes anything. Where an event in between moves something, the wrong place was asked for and
the right one is read later, as it would have been anyway.
"""

from __future__ import annotations

import numpy as np

from stream.models.batch import EventBatch
from stream.models.entities.sessions import BLOCK_ITEMS
from stream.models.kernels.compile import inlined, kernel, prefetch
from stream.models.kernels.row_pool import run_row, run_rows
from stream.models.schema import HISTORY_ENTRIES, POSTING_ENTRIES, SESSION_ITEMS, SET_SLOTS
from stream.models.sources.pairs import MEETINGS, first_set, set_of, sets_of
from stream.models.workspace.learning_view import State

CELLS, ROWS, INSIDES, MET = 8, 6, 4, 2
"""How many events before theirs the steps of the way are asked for."""

LINE_WORDS = 16
"""Words of 4 bytes in a line of the caches. A set of pairs is two lines."""


@inlined
def first_row(cells: np.ndarray, key: np.uint64) -> int:
    """The row that the key leads to first. Nearly always it is the key's own."""
    return np.int64(cells[key & np.uint64(cells.size - 1)])  # type: ignore[return-value]  # Numba gives an int


@kernel
def ask(state: State, columns: EventBatch, event: int) -> None:
    """One step for each of the events that follow this one."""
    last = columns.seconds.size - 1
    if event + CELLS <= last:
        cells(state, columns, event + CELLS)
    if event + ROWS <= last:
        rows(state, columns, event + ROWS)
    if event + INSIDES <= last:
        insides(state, columns, event + INSIDES)
    if event + MET <= last:
        met(state, columns, event + MET)


@inlined
def cells(state: State, columns: EventBatch, event: int) -> None:
    """Where the directories begin to look."""
    prefetch(state.item_cells, np.int64(columns.items[event, 0] & np.uint64(state.item_cells.size - 1)))
    prefetch(state.visitor_cells, np.int64(columns.visitors[event, 0] & np.uint64(state.visitor_cells.size - 1)))
    prefetch(state.session_cells, np.int64(columns.sessions[event, 0] & np.uint64(state.session_cells.size - 1)))
    prefetch(state.event_cells, np.int64(columns.event_ids[event] & np.uint64(state.event_cells.size - 1)))


@inlined
def rows(state: State, columns: EventBatch, event: int) -> None:
    """Rows of item, visitor and session, and their marks."""
    item = first_row(state.item_cells, columns.items[event, 0])
    visitor = first_row(state.visitor_cells, columns.visitors[event, 0])
    session = first_row(state.session_cells, columns.sessions[event, 0])
    prefetch(state.items, item)
    prefetch(state.items_dirty, 2 * item)
    prefetch(state.sums, item)
    prefetch(state.sums_dirty, item)
    prefetch(state.visitors, visitor)
    prefetch(state.visitors_dirty, visitor)
    prefetch(state.sessions, session)
    prefetch(state.sessions_dirty, session)
    prefetch(state.session_items, session)
    prefetch(state.session_items_dirty, session * (SESSION_ITEMS // BLOCK_ITEMS))


@inlined
def insides(state: State, columns: EventBatch, event: int) -> None:
    """What the rows point at: the newest of the visitor's history, and where the item's next session is written."""
    visitor = state.visitors[first_row(state.visitor_cells, columns.visitors[event, 0])]
    if visitor.history:
        length = run_rows(visitor.history) * HISTORY_ENTRIES
        at = np.int64(visitor.entries) % length
        prefetch(state.history, run_row(visitor.history) + at // HISTORY_ENTRIES)
        prefetch(state.history, run_row(visitor.history) + (at + length - MEETINGS) % length // HISTORY_ENTRIES)
    item = state.items[first_row(state.item_cells, columns.items[event, 0])]
    if item.postings:
        length = run_rows(item.postings) * POSTING_ENTRIES
        row = run_row(item.postings) + np.int64(item.posted) % length // POSTING_ENTRIES
        prefetch(state.postings, row)
        prefetch(state.postings_dirty, row)


@inlined
def met(state: State, columns: EventBatch, event: int) -> None:
    """Rows of the items that the event will meet in the visitor's history."""
    visitor = state.visitors[first_row(state.visitor_cells, columns.visitors[event, 0])]
    if visitor.history:
        length = run_rows(visitor.history) * HISTORY_ENTRIES
        entries = np.int64(visitor.entries)
        first = run_row(visitor.history)
        for age in range(min(entries, length, MEETINGS)):
            at = (entries - 1 - age) % length
            item = np.int64(state.history[first + at // HISTORY_ENTRIES, at % HISTORY_ENTRIES].item)
            prefetch(state.items, item)
            prefetch(state.sums, item)
            prefetch(state.items_dirty, 2 * item)


@kernel
def pair_sets(state: State, item: int, met: np.ndarray, count: int) -> None:
    """The sets in which an event on `item` will look for its pairs with `met[:count]`, both ways."""
    for k in range(count):
        pair_set(state, met[k], item)
        pair_set(state, item, met[k])


@inlined
def pair_set(state: State, item: int, other: int) -> None:
    pointer = state.items[item].pairs
    if pointer:
        row = first_set(pointer) + set_of(other, sets_of(pointer))
        lines = state.pairs_words.reshape((state.pairs_words.size // LINE_WORDS, LINE_WORDS))
        prefetch(lines, 2 * row)
        prefetch(lines, 2 * row + 1)
        prefetch(state.pairs_dirty, SET_SLOTS * row)
