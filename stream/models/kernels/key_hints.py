"""Key hints: an index from keys to rows that all versions in a server share.

Rows of one key may differ from version to version, and an index for each version would cost as much memory as its
rows. So one index has a *hint* for every key that any version has, and a hint counts only if its row has the key in the
version that asks. Reading while another thread adds is safe.

This file decides what a hint is (32 bits of the key and 32 of the row, so cells can grow without reading keys from any
version) and when hints of evicted rows are dropped: never while a version has the row. The index of a model that learns
is `hash_index`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from stream.models.kernels.compile import kernel
from stream.models.kernels.hash_index import MAX_USED_SHARE, put_cell

MAX_CELLS_PER_ROW = 16
"""Cells for each row of a version beyond which hints are made anew, because most are of rows evicted long ago."""

Version = tuple[NDArray, NDArray]
"""Records with keys, and index, of one version."""


class KeyHints:
    """Rows that a key may have, in any of several versions that share this index.

    Args:
        keys: records with the fields `key0` and `key1`.
        index: (rows,) int32; the record of row r is `keys[index[r]]`. All rows of this version get a hint.
        allocate: memory of its own for the cells, by purpose and bytes; ordinary memory if not given.
    """

    def __init__(
        self, keys: NDArray, index: NDArray, allocate: Callable[[str, int], NDArray[np.uint8]] | None = None
    ) -> None:
        self._allocate = allocate
        self.cells = self._cells(2 * len(index))
        self._used = add_hints(self.cells, keys, index, np.arange(1, len(index)))

    def add(
        self, keys: NDArray, index: NDArray, rows: NDArray, others: Callable[[], Iterable[Version]] = lambda: ()
    ) -> None:
        """Add hints for rows that got a key in a later version.

        Args:
            keys, index: of that version.
            rows: numbers of the rows that may have another key than before.
            others: returns every other version that is in use; asked if hints are made anew, which keeps theirs.
        """
        if self._used + len(rows) > self.cells.size * MAX_USED_SHARE:
            cells = self._cells(2 * self.cells.size)
            if cells.size <= MAX_CELLS_PER_ROW * len(index):
                self._used, self.cells = move_hints(self.cells, cells), cells
            else:
                self._make_anew(keys, index, others())
        self._used += add_hints(self.cells, keys, index, rows.astype(np.int64))

    def _make_anew(self, keys: NDArray, index: NDArray, others: Iterable[Version]) -> None:
        """Hints of a version and of those rows of others that lie elsewhere, with room for as many again."""
        cells = self._cells(2 * len(index))
        used = add_hints(cells, keys, index, np.arange(1, len(index)))
        for other_keys, other_index in others:
            rows = np.flatnonzero(other_index != index)
            used, cells = self._with_room(used, cells, len(rows))
            used += add_hints(cells, other_keys, other_index, rows)
        self._used, self.cells = self._with_room(used, cells, used)

    def _with_room(self, used: int, cells: NDArray[np.uint64], wanted: int) -> tuple[int, NDArray[np.uint64]]:
        while used + wanted > cells.size * MAX_USED_SHARE:
            larger = self._cells(2 * cells.size)
            used, cells = move_hints(cells, larger), larger
        return used, cells

    @classmethod
    def of_cells(cls, cells: NDArray[np.uint64]) -> KeyHints:
        """Hints in cells that another process fills; they are read only."""
        hints = cls.__new__(cls)
        hints.cells = cells
        return hints

    def find(self, keys: NDArray, index: NDArray, key: NDArray) -> int:
        """The row that has a key in the version with these records and this index, or 0."""
        return int(find_hint(self.cells, keys, index, key[0], key[1]))

    def _cells(self, wanted: int) -> NDArray[np.uint64]:
        count = 1 << max(6, int(wanted - 1).bit_length())
        return self._allocate("hints", 8 * count).view(np.uint64) if self._allocate else np.zeros(count, np.uint64)


@kernel
def move_hints(old: NDArray, new: NDArray) -> int:
    """Enter all hints of some cells into others; returns the number of cells in use."""
    moved = 0
    for hint in old:
        if hint:
            moved += put_cell(new, hint >> np.uint64(32), hint)
    return moved


@kernel
def add_hints(cells: NDArray, keys: NDArray, index: NDArray, rows: NDArray) -> int:
    """Enter hints for those of these rows that have a key; returns the number of cells that were taken."""
    added = 0
    for row in rows:
        record = keys[index[row]]
        if record.key0 or record.key1:
            hint = (record.key0 << np.uint64(32)) | np.uint64(row)
            added += put_cell(cells, hint >> np.uint64(32), hint)
    return added


@kernel
def find_hint(cells: NDArray, keys: NDArray, index: NDArray, key0: np.uint64, key1: np.uint64) -> int:
    """The row that has this key in the version with these records and this index, or 0."""
    mask = np.uint64(cells.size - 1)
    tag = key0 & np.uint64(0xFFFFFFFF)
    at = tag & mask
    while cells[at] != 0:
        if cells[at] >> np.uint64(32) == tag:
            row = np.int64(cells[at] & np.uint64(0xFFFFFFFF))
            if row < index.size:
                record = keys[index[row]]
                if record.key0 == key0 and record.key1 == key1:
                    return row  # type: ignore[return-value]  # Numba gives an int
        at = (at + np.uint64(1)) & mask
    return 0
