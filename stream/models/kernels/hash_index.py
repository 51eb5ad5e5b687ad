"""Hash index of one model: from a key to its row, by open addressing over keys that are in the rows themselves.

A cell holds the number of a row, and the row has the key, so a cell is four bytes. The cells are no part of a version:
they are rebuilt from the rows on restore. Before a row gets another key or none, its cell is removed, and the cells
behind it move up, so that no search ends too early (Knuth, "Sorting and Searching", 1998, algorithm 6.4R). A rebuild
while events are learned would take a tenth of a second in a million rows, and is not needed: an index has at least
twice as many cells as rows. Should a row change its key all the same, its old cell is harmless, because a row is only
found if its own key matches.

Two kinds of keys are indexed. Rows of items, visitors and sessions have 128 bits in the fields `key0` and `key1`, and
row 0 is no row. The window of event ids is a flat ring of 64-bit words whose place 0 is in use, so its cells hold the
place plus one. Filling a cell is the same code for both (`put_cell`); finding is not, because keys are read and
compared differently. Two other hash tables of the project stay apart: `key_hints` serves several versions at once, so
its cells keep 32 bits of the key, and `workspace.scratch` numbers the items of one answer, keeps whole keys in its
cells and is emptied for each answer.

This file decides where a key is looked up, and how cells are freed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream.models.kernels.compile import inlined, kernel

Cells = NDArray[np.uint32]

MAX_USED_SHARE = 0.6
"""Share of cells in use at which all are rebuilt."""


def cells_for(rows: int) -> Cells:
    """Empty cells for a number of rows: a power of two, at least twice as many as rows.

    >>> cells_for(100).size
    256
    """
    return np.zeros(1 << max(6, int(rows * 2 - 1).bit_length()), np.uint32)


@inlined
def put_cell(cells, start, content):
    """Write into the first free cell from `start` on, unless a cell before it has the same content.

    Args:
        cells: a power of two; 0 is a free cell.
        start: unsigned; its lowest bits are the first place.
        content: not 0.

    Returns:
        The number of cells that were taken: 0 or 1.
    """
    mask = np.uint64(cells.size - 1)
    at = start & mask
    while cells[at] != 0:
        if cells[at] == content:
            return 0
        at = (at + np.uint64(1)) & mask
    cells[at] = content
    return 1


@kernel
def find(cells, rows, key0, key1):
    """The row with this key, or 0."""
    mask = np.uint64(cells.size - 1)
    at = key0 & mask
    while True:
        row = cells[at]
        if row == 0:
            return 0
        if rows[row].key0 == key0 and rows[row].key1 == key1:
            return np.int64(row)
        at = (at + np.uint64(1)) & mask


@kernel
def enter(cells, used, which, rows, row):
    """Make a row findable by the key that it has now.

    Args:
        cells: of this index.
        used: by index, the number of cells in use.
        which: number of this index in `used`. If too many cells are in use, all are rebuilt.
        rows: the table.
        row: the row.
    """
    if used[which] > cells.size * MAX_USED_SHARE:
        used[which] = rebuild(cells, rows)
    used[which] += put_cell(cells, rows[row].key0, row)


@kernel
def remove(cells, used, which, rows, row):
    """Remove the cell of a row, which is about to get another key. Arguments are those of `enter`."""
    mask = np.uint64(cells.size - 1)
    at = rows[row].key0 & mask
    while cells[at] != row:
        if cells[at] == 0:
            return
        at = (at + np.uint64(1)) & mask
    used[which] -= 1
    after = (at + np.uint64(1)) & mask
    while cells[after] != 0:
        home = rows[cells[after]].key0 & mask
        if ((after - home) & mask) >= ((after - at) & mask):  # a search for it passes the gap
            cells[at] = cells[after]
            at = after
        after = (after + np.uint64(1)) & mask
    cells[at] = 0


@kernel
def rebuild(cells, rows):
    """Fill the cells with every row that has a key; returns the number of cells in use."""
    cells[:] = 0
    count = 0
    for row in range(1, rows.size):
        if rows[row].key0 or rows[row].key1:
            count += put_cell(cells, rows[row].key0, row)
    return count


@kernel
def find_word(cells, words, key):
    """True if a ring of 64-bit words holds this key."""
    mask = np.uint64(cells.size - 1)
    at = key & mask
    while True:
        place = cells[at]
        if place == 0:
            return False
        if words[place - 1] == key:
            return True
        at = (at + np.uint64(1)) & mask


@kernel
def enter_word(cells, used, which, words, place):
    """Make a place of a ring of words findable by the key that it has now. Arguments are those of `enter`."""
    if used[which] > cells.size * MAX_USED_SHARE:
        used[which] = rebuild_words(cells, words)
    used[which] += put_cell(cells, words[place], place + 1)


@kernel
def remove_word(cells, used, which, words, place):
    """Remove the cell of a place in a ring of words, whose key is about to be overwritten; see `remove`."""
    mask = np.uint64(cells.size - 1)
    at = words[place] & mask
    while cells[at] != place + 1:
        if cells[at] == 0:
            return
        at = (at + np.uint64(1)) & mask
    used[which] -= 1
    after = (at + np.uint64(1)) & mask
    while cells[after] != 0:
        home = words[cells[after] - 1] & mask
        if ((after - home) & mask) >= ((after - at) & mask):
            cells[at] = cells[after]
            at = after
        after = (after + np.uint64(1)) & mask
    cells[at] = 0


@kernel
def rebuild_words(cells, words):
    """Fill the cells with every place of a ring of words that has a key; returns the number of cells in use."""
    cells[:] = 0
    count = 0
    for place in range(words.size):
        if words[place]:
            count += put_cell(cells, words[place], place + 1)
    return count
