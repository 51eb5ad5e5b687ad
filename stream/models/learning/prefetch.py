"""Prefetching: memory that the next events will touch is loaded some events before.

An event touches some sixty places that have nothing to do with those of the event before. In a model of a million items
each of them comes from main memory, which takes as long as a hundred additions, and the content of one place leads to
the next: hash index, row, run. So each step of that way is prefetched a few events before the step that needs it, and
dozens of places arrive side by side.

Nothing here changes a result. If an event in between moves something, the wrong place was prefetched, and the right
one is read later, as it would have been without prefetching.

This file decides what is prefetched, and how many events ahead.
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

CELLS_AHEAD, ROWS_AHEAD, RUNS_AHEAD, MET_AHEAD = 8, 6, 4, 2
"""Events between prefetching a step of the way and needing it."""

LINE_WORDS = 16
"""Words of 4 bytes in a line of the caches. A set of pairs is two lines."""


@inlined
def first_row(cells: np.ndarray, key: np.uint64) -> int:
    """The first row that a key leads to. Nearly always it is the key's own."""
    return np.int64(cells[key & np.uint64(cells.size - 1)])  # type: ignore[return-value]  # Numba gives an int


@kernel
def prefetch_following(state: State, batch: EventBatch, event: int) -> None:
    """Prefetch one step for each of the events that follow this one."""
    last = batch.seconds.size - 1
    if event + CELLS_AHEAD <= last:
        prefetch_cells(state, batch, event + CELLS_AHEAD)
    if event + ROWS_AHEAD <= last:
        prefetch_rows(state, batch, event + ROWS_AHEAD)
    if event + RUNS_AHEAD <= last:
        prefetch_runs(state, batch, event + RUNS_AHEAD)
    if event + MET_AHEAD <= last:
        prefetch_met(state, batch, event + MET_AHEAD)


@inlined
def prefetch_cells(state: State, batch: EventBatch, event: int) -> None:
    """Prefetch the first cells in which the hash indexes look."""
    prefetch(state.item_cells, np.int64(batch.items[event, 0] & np.uint64(state.item_cells.size - 1)))
    prefetch(state.visitor_cells, np.int64(batch.visitors[event, 0] & np.uint64(state.visitor_cells.size - 1)))
    prefetch(state.session_cells, np.int64(batch.sessions[event, 0] & np.uint64(state.session_cells.size - 1)))
    prefetch(state.event_cells, np.int64(batch.event_ids[event] & np.uint64(state.event_cells.size - 1)))


@inlined
def prefetch_rows(state: State, batch: EventBatch, event: int) -> None:
    """Prefetch the rows of item, visitor and session, and their marks."""
    item = first_row(state.item_cells, batch.items[event, 0])
    visitor = first_row(state.visitor_cells, batch.visitors[event, 0])
    session = first_row(state.session_cells, batch.sessions[event, 0])
    occupied = first_row(state.event_cells, batch.event_ids[event])
    if occupied:
        prefetch(state.event_ids, occupied - 1)
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
def prefetch_runs(state: State, batch: EventBatch, event: int) -> None:
    """Prefetch places in runs: the newest events of the visitor, and the place of the item's next session."""
    visitor = state.visitors[first_row(state.visitor_cells, batch.visitors[event, 0])]
    if visitor.history:
        length = run_rows(visitor.history) * HISTORY_ENTRIES
        at = np.int64(visitor.entries) % length
        prefetch(state.history, run_row(visitor.history) + at // HISTORY_ENTRIES)
        prefetch(state.history, run_row(visitor.history) + (at + length - MEETINGS) % length // HISTORY_ENTRIES)
    item = state.items[first_row(state.item_cells, batch.items[event, 0])]
    if item.postings:
        length = run_rows(item.postings) * POSTING_ENTRIES
        row = run_row(item.postings) + np.int64(item.posted) % length // POSTING_ENTRIES
        prefetch(state.postings, row)
        prefetch(state.postings_dirty, row)


@inlined
def prefetch_met(state: State, batch: EventBatch, event: int) -> None:
    """Prefetch the rows of the items that the event will meet in the visitor's history."""
    visitor = state.visitors[first_row(state.visitor_cells, batch.visitors[event, 0])]
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


@inlined
def prefetch_oldest_ids(state: State, place: int) -> None:
    """Prefetch the cells of the event ids that the next events will push out of the window.

    Args:
        state: the tables.
        place: of the oldest event id in the ring.
    """
    ring, cells = state.event_ids, state.event_cells
    mask = np.uint64(cells.size - 1)
    cell_place = place + CELLS_AHEAD
    if cell_place < ring.size and ring[cell_place]:
        prefetch(cells, np.int64(ring[cell_place] & mask))
    word_place = place + RUNS_AHEAD
    if word_place < ring.size and ring[word_place]:
        following = np.int64(cells[(ring[word_place] + np.uint64(1)) & mask])
        if following:
            prefetch(ring, following - 1)


@kernel
def prefetch_pair_sets(state: State, item: int, met: np.ndarray, count: int) -> None:
    """Prefetch the sets in which an event on `item` will look up its pairs with `met[:count]`, both ways."""
    for k in range(count):
        prefetch_pair_set(state, met[k], item)
        prefetch_pair_set(state, item, met[k])


@inlined
def prefetch_pair_set(state: State, item: int, other: int) -> None:
    """Prefetch the set of `item` in which `other` is looked up."""
    pointer = state.items[item].pairs
    if pointer:
        row = first_set(pointer) + set_of(other, sets_of(pointer))
        lines = state.pairs_words.reshape((state.pairs_words.size // LINE_WORDS, LINE_WORDS))
        prefetch(lines, 2 * row)
        prefetch(lines, 2 * row + 1)
        prefetch(state.pairs_dirty, SET_SLOTS * row)
