"""Rows of larger tables: each row of a state, in the place where a model with that capacity would have it.

Most tables hand their rows out in order, so an old row keeps its number, and the new rows follow. Some find a place by
arithmetic with their size: sessions and event ids are rings, what visitors had, bought or disliked lies in sets, and a
visitor names the row of their session.

A ring of sessions that has turned has forgotten its oldest. A larger ring would take their ordinals, which the lists of
items still hold, for those of sessions that it knows. They are removed from the lists, as `entities.sessions` does it
from time to time, so that answers stay what they were.

This file decides where a row is in a larger table.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream.models.entities.eviction import POSITION
from stream.models.had.kept import copy_kept
from stream.models.kernels.ordinals import LOW_MASK, whole_column
from stream.models.kernels.row_pool import CLASS_SHIFT, ROW_MASK
from stream.models.merging.counts import copy_seen
from stream.models.schema import (
    EVENT_IDS_SEEN,
    EVICT_ITEMS,
    EVICT_VISITORS,
    KEPT_NUMBERED,
    KEPT_VISITORS,
    SESSIONS_BEGUN,
)
from stream.state.tables import Table, Tables

PART_BYTES = 1 << 20
"""Bytes that are copied at once. A part of zeros is left out, so that memory which was never written stays free."""

ROWS_AT_ONCE = 1 << 16
"""Rows of lists that are looked through at once."""

PLACED = ("sessions", "session_items", "event_ids", "seen", "kept_visitors", "kept_items")
"""Tables that find a place by arithmetic with their size."""

KEPT = ("kept_visitors", "kept_items")
"""Tables of which each place of one belongs to a place of the other."""


def grow(old: Tables, new: Tables) -> None:
    """Fill larger tables.

    Args:
        old: of the state; they stay as they are.
        new: empty, with the same columns and at least as many rows. `seen` has a multiple of the rows, or as many.
    """
    for name, table in old.items():
        if name not in PLACED or table.spec == new[name].spec:
            _copy(table, new[name])
    _begin_sweeps_again(new)
    if old["sessions"].spec != new["sessions"].spec:
        _turn_sessions(old, new)
    if old["event_ids"].spec != new["event_ids"].spec:
        _turn_event_ids(old, new)
    if old["seen"].spec != new["seen"].spec:
        copy_seen(new["seen"].data, old["seen"].data)
    if any(old[name].spec != new[name].spec for name in KEPT):
        _move_kept(old, new)


def _copy(old: Table, new: Table) -> None:
    """Copy all rows to the rows of the same numbers."""
    source, target = old.raw().reshape(-1), new.raw().reshape(-1)
    for at in range(0, source.size, PART_BYTES):
        part = source[at : at + PART_BYTES]
        if part.any():
            target[at : at + len(part)] = part


def _begin_sweeps_again(new: Tables) -> None:
    """Let rounds of eviction look at all rows again: sessions move, and the steps of a round are counted by rows."""
    scalars = new["scalars"].data[0]
    for base in (EVICT_ITEMS, EVICT_VISITORS):
        scalars[base + POSITION] = min(1.0, scalars[base + POSITION])


def _turn_sessions(old: Tables, new: Tables) -> None:
    """Place sessions by their ordinals, and everything that names one."""
    sessions, rows = old["sessions"].data, new["sessions"].spec.rows
    ordinals = whole_column(sessions, "ordinal")
    live = np.flatnonzero(ordinals)
    live = live[live > 0]
    places = _ring_rows(ordinals[live], rows)
    for name in ("sessions", "session_items"):
        new[name].data[places] = old[name].data[live]
    visitors = new["visitors"].data
    named = np.flatnonzero(visitors["session"])
    visitors["session"][named] = _ring_rows(whole_column(visitors[named], "session_ordinal"), rows)
    begun = int(new["scalars"].data[0, SESSIONS_BEGUN])
    listed = _rows_of_runs(new["items"].data["postings"], new["postings"].spec.rows)
    _drop_forgotten(new["postings"].data, listed, begun, len(sessions) - 1)


def _move_kept(old: Tables, new: Tables) -> None:
    """Give every visitor whose purchases and dislikes are kept a place in the larger tables."""
    scalars = new["scalars"].data[0]
    scalars[KEPT_VISITORS] = scalars[KEPT_NUMBERED] = 0
    for name in KEPT:
        new[name].data[:] = np.zeros(1, new[name].data.dtype)
    into = (new["kept_visitors"].data, new["kept_items"].data, scalars)
    same_rows = np.arange(old["items"].spec.rows)
    copy_kept(*into, *_with_rows(old["kept_visitors"]), *_with_rows(old["kept_items"]), same_rows)


def _with_rows(table: Table) -> tuple[NDArray, NDArray[np.int32]]:
    return table.data, np.arange(table.spec.rows, dtype=np.int32)


def _ring_rows(ordinals: NDArray[np.int64], rows: int) -> NDArray[np.int64]:
    """Rows of ordinals in a ring: `row_pool.ring_row` of arrays."""
    return 1 + ordinals % (rows - 1)


def _rows_of_runs(pointers: NDArray[np.uint32], rows: int) -> NDArray[np.int64]:
    """Rows of a pool that are in the runs of these pointers. Runs that are free are left out."""
    taken = pointers[pointers != 0]
    firsts = (taken & ROW_MASK).astype(np.int64)
    bounds = np.zeros(rows + 1, np.int8)  # runs don't overlap
    np.add.at(bounds, firsts, 1)
    np.add.at(bounds, firsts + (1 << (2 * (taken >> CLASS_SHIFT).astype(np.int64))), -1)
    return np.flatnonzero(np.cumsum(bounds[:-1], dtype=np.int8))


def _drop_forgotten(postings: NDArray[np.uint32], rows: NDArray[np.int64], begun: int, kept: int) -> None:
    """Remove the words of sessions that a ring had forgotten.

    Args:
        postings: (rows, entries) words; they change.
        rows: those that belong to an item.
        begun: sessions that had begun.
        kept: rows of the ring.
    """
    if begun < kept:
        return
    for at in range(0, len(rows), ROWS_AT_ONCE):
        part = rows[at : at + ROWS_AT_ONCE]
        words = postings[part]
        behind = (begun - words.astype(np.int64)) & LOW_MASK
        words[behind >= kept] = 0
        postings[part] = words


def _turn_event_ids(old: Tables, new: Tables) -> None:
    """Place event ids by the number of ids before each."""
    source, target = old["event_ids"].data.reshape(-1), new["event_ids"].data.reshape(-1)
    written = int(new["scalars"].data[0, EVENT_IDS_SEEN])
    numbers = np.arange(max(0, written - source.size), written)
    target[numbers % target.size] = source[numbers % source.size]
