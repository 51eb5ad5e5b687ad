"""Row life cycle: rows of items and visitors are handed out, given back, and freed when all are in use.

Rows are handed out in order, and rows that were given back first. When none is left, the weakest rows are freed in one
batch of a sixty-fourth of the table, because a batch costs one pass over everything that points at rows, and so would a
single row. The free rows are a list: `next_free` of a row is the row after it, and a cell of `scalars` has the first.

Sessions have another life cycle: their row is a ring position (`row_pool.ring_row`). Runs are handed out by
`row_pool`, cells of names by `items`.

This file decides which row a new owner gets, and which rows are freed when there is none. What the rows hold is decided
by `items` and `visitors`, which give it their table and their cells of `scalars`.
"""

from __future__ import annotations

import numpy as np

from stream.models.kernels.compile import inlined, kernel
from stream.models.kernels.quickselect import smallest

EVICTION_DIVISOR = 64
"""One eviction frees the number of rows of the table, divided by this, and at least one."""


@inlined
def no_row_left(records: np.ndarray, scalars: np.ndarray, rows_cell: int, free_cell: int) -> bool:
    """True if every row is in use."""
    return scalars[free_cell] == 0 and scalars[rows_cell] >= records.size


@inlined
def take_row(records: np.ndarray, scalars: np.ndarray, rows_cell: int, free_cell: int, live_cell: int) -> int:
    """Hand out a row; there is one (see `no_row_left`).

    Args:
        records: the table, whose records have the field `next_free`.
        scalars: the table with the next three cells.
        rows_cell: cell with the number of rows that were ever handed out, row 0 included.
        free_cell: cell with the first free row, 0 if there is none.
        live_cell: cell with the number of rows in use.
    """
    row = int(scalars[free_cell])
    if row:
        scalars[free_cell] = records[row].next_free
    else:
        row = max(1, int(scalars[rows_cell]))
        scalars[rows_cell] = row + 1
    scalars[live_cell] += 1
    records[row].next_free = 0
    return row


@inlined
def give_back_row(records: np.ndarray, scalars: np.ndarray, free_cell: int, live_cell: int, row: int) -> None:
    """Put a row on the list of free rows and clear its key. The caller clears the rest."""
    record = records[row]
    record.key0 = 0
    record.key1 = 0
    record.next_free = np.uint32(scalars[free_cell])
    scalars[free_cell] = row
    scalars[live_cell] -= 1


@kernel
def flag_weakest(
    records: np.ndarray, strengths: np.ndarray, rows: int, evict_flags: np.ndarray, evict_order: np.ndarray
) -> int:
    """Flag the rows that are freed next: those with the least strength, ties to the lower row.

    Args:
        records: the table; a row is in use if it has a key.
        strengths: by row.
        rows: number of rows that were ever handed out.
        evict_flags: by row; set to 1 for a row that is to be freed, else to 0.
        evict_order: scratch, a number a row.

    Returns:
        The number of rows that were flagged.
    """
    count = 0
    for row in range(rows):
        evict_flags[row] = 0
        if records[row].key0 or records[row].key1:
            evict_order[count] = strengths[row]
            count += 1
    wanted = min(count, max(1, (records.size - 1) // EVICTION_DIVISOR))
    limit = smallest(evict_order, count, wanted - 1)
    left = wanted
    for row in range(1, rows):
        if (records[row].key0 or records[row].key1) and strengths[row] < limit:
            evict_flags[row] = 1
            left -= 1
    for row in range(1, rows):
        if left > 0 and (records[row].key0 or records[row].key1) and strengths[row] == limit:
            evict_flags[row] = 1
            left -= 1
    return wanted
