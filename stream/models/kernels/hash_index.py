"""From a key to its row: open addressing over keys that live in the rows themselves.

The cells are no part of a version. They are rebuilt from the rows on restore, and a cell that points at a row which
meanwhile belongs to another key is harmless, because a hit is only ever a row whose own key matches. So nothing is ever
deleted from the cells; they are rebuilt when too many are used.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream.models.kernels.compile import kernel

Cells = NDArray[np.uint32]
MOST_USED_SHARE = 0.6


def cells_for(rows: int) -> Cells:
    """Empty cells for so many rows: a power of two, at least twice as many."""
    return np.zeros(1 << max(6, int(rows * 2 - 1).bit_length()), np.uint32)


@kernel
def find(cells, rows, key0, key1):  # type: ignore[no-untyped-def]
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
def enter(cells, used, which, rows, row):  # type: ignore[no-untyped-def]
    """Make a row findable by the key it now has. `used[which]` counts cells; too many, and all are rebuilt."""
    if used[which] > cells.size * MOST_USED_SHARE:
        used[which] = rebuild(cells, rows)
    mask = np.uint64(cells.size - 1)
    at = rows[row].key0 & mask
    while cells[at] != 0:
        if cells[at] == row:
            return
        at = (at + np.uint64(1)) & mask
    cells[at] = row
    used[which] += 1


@kernel
def rebuild(cells, rows):  # type: ignore[no-untyped-def]
    """Cells for every row that has a key; returns how many."""
    cells[:] = 0
    mask = np.uint64(cells.size - 1)
    count = 0
    for row in range(1, rows.size):
        if rows[row].key0 or rows[row].key1:
            at = rows[row].key0 & mask
            while cells[at] != 0:
                at = (at + np.uint64(1)) & mask
            cells[at] = row
            count += 1
    return count


@kernel
def rebuild_words(cells, words):  # type: ignore[no-untyped-def]
    """The same over a flat ring of 64-bit keys: a cell holds the place in the ring plus one."""
    cells[:] = 0
    mask = np.uint64(cells.size - 1)
    count = 0
    for place in range(words.size):
        if words[place]:
            at = words[place] & mask
            while cells[at] != 0:
                at = (at + np.uint64(1)) & mask
            cells[at] = place + 1
            count += 1
    return count


@kernel
def find_word(cells, words, key):  # type: ignore[no-untyped-def]
    """True if the ring holds this key."""
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
def enter_word(cells, used, which, words, place):  # type: ignore[no-untyped-def]
    """Make a place of the ring findable by the key it now has."""
    if used[which] > cells.size * MOST_USED_SHARE:
        used[which] = rebuild_words(cells, words)
    mask = np.uint64(cells.size - 1)
    at = words[place] & mask
    while cells[at] != 0:
        if cells[at] == place + 1:
            return
        at = (at + np.uint64(1)) & mask
    cells[at] = place + 1
    used[which] += 1
