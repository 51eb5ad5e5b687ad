"""This file decides how a version in serving finds the row of a key: an index that all versions share, of hints that the
version's own row confirms.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from stream.models.kernels.compile import kernel


class KeyHints:
    """Where a key's row may be. Several versions share one: a hit counts only if the version's own row has the key.

    Built from the keys of one version, and told of the rows that later versions wrote. Reading while another thread
    adds is safe. A cell is 32 bits of the key and the row, so cells can grow without asking any version for its keys.
    """

    def __init__(
        self, keys: NDArray, index: NDArray, allocate: Callable[[str, int], NDArray[np.uint8]] | None = None
    ) -> None:
        self._allocate = allocate
        self.cells = self._cells(2 * len(index))
        self._used = add_hints(self.cells, keys, index, np.arange(1, len(index)))

    def add(self, keys: NDArray, index: NDArray, rows: NDArray) -> None:
        """Rows that got a key they may not have had before."""
        if self._used + len(rows) > self.cells.size * 0.6:
            cells = self._cells(2 * self.cells.size)
            if cells.size <= MOST_HINTS_A_ROW * len(index):
                self._used = move_hints(self.cells, cells)
            else:  # mostly keys of rows that were evicted long ago: begin again with those of today
                cells = self._cells(2 * len(index))
                self._used = add_hints(cells, keys, index, np.arange(1, len(index)))
            self.cells = cells
        self._used += add_hints(self.cells, keys, index, rows.astype(np.int64))

    @classmethod
    def of_cells(cls, cells: NDArray[np.uint64]) -> KeyHints:
        """KeyHints that another process fills in: only to be asked."""
        hints = cls.__new__(cls)
        hints.cells = cells
        return hints

    def find(self, keys: NDArray, index: NDArray, key: NDArray) -> int:
        """The row of this version that has the key, or 0."""
        return int(find_hint(self.cells, keys, index, key[0], key[1]))

    def _cells(self, wanted: int) -> NDArray[np.uint64]:
        count = 1 << max(6, int(wanted - 1).bit_length())
        return self._allocate("hints", 8 * count).view(np.uint64) if self._allocate else np.zeros(count, np.uint64)


MOST_HINTS_A_ROW = 16


@kernel
def put_hint(cells: NDArray, hint: np.uint64) -> int:
    """Enter a hint unless it is there; returns how many cells that took."""
    mask = np.uint64(cells.size - 1)
    at = (hint >> np.uint64(32)) & mask
    while cells[at] != 0:
        if cells[at] == hint:
            return 0
        at = (at + np.uint64(1)) & mask
    cells[at] = hint
    return 1


@kernel
def move_hints(old: NDArray, new: NDArray) -> int:
    moved = 0
    for hint in old:
        if hint:
            moved += put_hint(new, hint)
    return moved


@kernel
def add_hints(cells: NDArray, keys: NDArray, index: NDArray, rows: NDArray) -> int:
    added = 0
    for row in rows:
        record = keys[index[row]]
        if record.key0 or record.key1:
            added += put_hint(cells, (record.key0 << np.uint64(32)) | np.uint64(row))
    return added


@kernel
def find_hint(cells: NDArray, keys: NDArray, index: NDArray, key0: np.uint64, key1: np.uint64) -> int:
    mask = np.uint64(cells.size - 1)
    tag = key0 & np.uint64(0xFFFFFFFF)
    at = tag & mask
    while cells[at] != 0:
        if cells[at] >> np.uint64(32) == tag:
            row = np.int64(cells[at] & np.uint64(0xFFFFFFFF))
            if row < index.size:
                record = keys[index[row]]
                if record.key0 == key0 and record.key1 == key1:
                    return row  # type: ignore[return-value]
        at = (at + np.uint64(1)) & mask
    return 0
