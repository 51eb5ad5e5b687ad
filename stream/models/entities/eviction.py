"""Eviction: rows become free a little with every new row, so that no event waits for a pass over whole tables.

When fewer than a thirty-second of the rows of items (or visitors) are free, a *round* begins. It has three steps, and
each new row does a part of them, so that the round ends before the free rows do:

1. *Choose.* A sample of the rows gives the strength below which a thirty-second of them lie. A hand that goes round the
   table marks the rows up to that strength as *leaving*, until it has as many. In a table of up to `EVICTION_SAMPLE`
   rows they are the weakest; in a larger one they are among the weakest few percent.
2. *Sweep.* Everything that points at rows is looked at once: references to leaving rows are removed. No new one is
   made, because an event never meets a leaving item in a history, and an event on a leaving row lets it stay (`stay`).
3. *Free.* Leaving rows are cleared and go to the list of free rows.

Until the last step a leaving row is in use as any other. How far a round is stands in `scalars`, and the marks stand in
the rows, so a restored shard goes on with the round exactly as the original. The flags beside the tables (`State`)
repeat the marks, one byte a row, for the sweep.

If a table is full all the same (a version of a release without rounds, or a merge of shards), one whole round is done
at once.

This file decides when a round begins, how much of it a new row does, and which rows leave. The sweep is decided by
`items` and `visitors`.
"""

from __future__ import annotations

import numpy as np

from stream.models.entities.row_lifecycle import rows_left
from stream.models.kernels.compile import inlined, kernel
from stream.models.kernels.hashing import mixed
from stream.models.kernels.quickselect import smallest

RESERVE_DIVISOR = 32
"""A round begins when no more than the rows of the table, divided by this, are free, and frees about as many."""
SAMPLE_MARGIN = 1.25
"""Factor on the part of the sample up to which rows are chosen: a small sample would often find too few."""

FREE_STEPS = 64
"""Steps for which the freeing of a row counts: it takes as long as looking at some fifty rows. Leaving rows may be
neighbours, and a new row would free hundreds of them otherwise."""

POSITION = 0
"""Cell of an eviction, after its base: how far the round is, from 1; 0 while there is none."""
LIMIT = 1
"""Cell: strength up to which rows are chosen."""
LEAVING = 2
"""Cell: number of rows that are marked."""
HAND = 3
"""Cell: row at which the next choice begins."""
WIDER = 4
"""Cell: rounds in a row that freed nothing. Each doubles the part of the rows that may be chosen."""
DEADLINE = 5
"""Cell: new rows until the round has to be done."""
WANTED = 6
"""Cell: rows that the round is to free."""


@inlined
def reserve(records: np.ndarray) -> int:
    """Number of free rows at which a round begins."""
    return max(1, (records.size - 1) // RESERVE_DIVISOR)


@inlined
def due(records: np.ndarray, scalars: np.ndarray, base: int, live_cell: int) -> bool:
    """True if a new row has to do a part of a round."""
    return scalars[base + POSITION] > 0 or rows_left(records, scalars, live_cell) <= reserve(records)


@inlined
def share(left: int, scalars: np.ndarray, base: int) -> int:
    """Steps that a new row does of the `left` ones, so that the round ends with the rows that were free at its start.

    Rows that the round frees meanwhile count for the next one.
    """
    left += FREE_STEPS * int(scalars[base + LEAVING])
    rows = max(1, int(scalars[base + DEADLINE]))
    scalars[base + DEADLINE] = rows - 1
    return -(-left // rows)


@kernel
def begin(
    records: np.ndarray, strengths: np.ndarray, scalars: np.ndarray, base: int, live_cell: int, order: np.ndarray
) -> None:
    """Begin a round: find the strength up to which rows are chosen.

    Args:
        records: the table; a row is in use if it has a key.
        strengths: by row.
        scalars: the table with the cells of this eviction, from `base`.
        base, live_cell: see there.
        order: (EVICTION_SAMPLE,) scratch.
    """
    rows = records.size - 1
    count = 0
    drawn_for = np.int64(scalars[live_cell]) + np.int64(scalars[base + WIDER])
    draw = np.uint64(np.int64(scalars[base + HAND])) ^ mixed(np.uint64(drawn_for))
    for number in range(min(rows, order.size)):
        row = np.int64(1 + number)
        if rows > order.size:
            draw = mixed(draw + np.uint64(0x9E3779B97F4A7C15))
            row = np.int64(draw % np.uint64(rows)) + 1
        if may_leave(records, row):
            order[count] = strengths[row]
            count += 1
    free = rows_left(records, scalars, live_cell)
    scalars[base + DEADLINE] = free
    scalars[base + WANTED] = max(1, 2 * reserve(records) - free)  # then twice the reserve is free, until it is used
    wanted = scalars[base + WANTED]
    if rows > order.size:
        wanted = SAMPLE_MARGIN * wanted * order.size / rows
    wanted *= 2.0 ** min(40.0, scalars[base + WIDER])
    scalars[base + LIMIT] = -1.0
    if count:
        scalars[base + LIMIT] = smallest(order, count, min(count, max(1, int(wanted))) - 1)
    scalars[base + POSITION] = 1


@inlined
def may_leave(records: np.ndarray, row: int) -> bool:
    """True for a row in use that is on no list (that of visitors with held events)."""
    return (records[row].key0 != 0 or records[row].key1 != 0) and records[row].next_free == 0


@kernel
def choose(
    records: np.ndarray,
    dirty: np.ndarray,
    strengths: np.ndarray,
    flags: np.ndarray,
    scalars: np.ndarray,
    base: int,
    most: int,
) -> int:
    """Let the hand go on over at most `most` rows; returns the number of rows, fewer if enough are leaving.

    Args:
        records, dirty: the table and its marks.
        strengths, flags: by row; `flags` repeats the marks of leaving rows.
        scalars, base: the cells of this eviction.
        most: largest number of rows.
    """
    rows = records.size - 1
    wanted = scalars[base + WANTED]
    limit = scalars[base + LIMIT]
    hand = np.int64(scalars[base + HAND]) % rows
    done = 0
    while done < most and scalars[base + LEAVING] < wanted:
        row = 1 + hand
        if strengths[row] <= limit and may_leave(records, row) and not flags[row]:
            records[row].leaving = 1
            flags[row] = 1
            scalars[base + LEAVING] += 1
            mark_last_block(records, dirty, row)
        hand = (hand + 1) % rows
        done += 1
    scalars[base + HAND] = hand
    return done


@inlined
def stay(records: np.ndarray, dirty: np.ndarray, flags: np.ndarray, scalars: np.ndarray, base: int, row: int) -> None:
    """Let a row stay, if it is leaving: an event is about it."""
    if records[row].leaving:
        records[row].leaving = 0
        flags[row] = 0
        scalars[base + LEAVING] -= 1
        mark_last_block(records, dirty, row)


@inlined
def mark_last_block(records: np.ndarray, dirty: np.ndarray, row: int) -> None:
    """Mark the block of a row that holds `leaving`, the last one, as written."""
    dirty[(row + 1) * (dirty.size // records.size) - 1] = 1


@inlined
def end(scalars: np.ndarray, base: int, freed: bool) -> None:
    """End a round."""
    scalars[base + POSITION] = 0
    scalars[base + WIDER] = 0 if freed else scalars[base + WIDER] + 1
