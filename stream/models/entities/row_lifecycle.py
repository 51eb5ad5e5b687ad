"""Row life cycle: rows of items and visitors are handed out in order, and rows that were given back first.

The free rows are a list: `next_free` of a row is the row after it, and a cell of `scalars` has the first.

Sessions have another life cycle: their row is a ring position (`row_pool.ring_row`). Runs are handed out by
`row_pool`, cells of names by `items`.

This file decides which row a new owner gets. Which rows are freed is decided by `eviction`, what they hold by `items`
and `visitors`, which give their table and their cells of `scalars`.
"""

from __future__ import annotations

import numpy as np

from stream.models.kernels.compile import inlined


@inlined
def no_row_left(records: np.ndarray, scalars: np.ndarray, rows_cell: int, free_cell: int) -> bool:
    """True if every row is in use."""
    return scalars[free_cell] == 0 and scalars[rows_cell] >= records.size


@inlined
def rows_left(records: np.ndarray, scalars: np.ndarray, live_cell: int) -> int:
    """Number of rows that are not in use; row 0 is none."""
    return records.size - 1 - int(scalars[live_cell])


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
