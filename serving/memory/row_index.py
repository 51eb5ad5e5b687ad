"""Indexes from logical rows to arena rows, one for each table of each version that is still read.

An index is derived from another one by giving some rows another place. This history bounds where two indexes can differ
at all, so deriving and freeing one costs what changed between versions, not what the table could hold:

- once an index is gone, only rows in which it differed from its nearest relative can be free;
- its memory becomes the next index, after those few rows have been set to the relative's.

This file decides when an arena row is free. The contents of the rows are decided by `serving.memory.table_arena`.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

RowIndex = NDArray[np.int32]
"""Arena row of each logical row; 0 is the row of zeros."""

Rows = NDArray[np.int32]
"""Row numbers, rising."""

_SPARSE = 4
"""Most rows in which two indexes may differ, as a divisor of all rows, before the difference is forgotten: beyond it,
comparing all rows is as fast."""


@dataclass(eq=False)
class _LiveIndex:
    """One index that is still read. It differs from `parent` at most in `rows`; None: possibly in any row."""

    buffer: RowIndex
    handed: int
    parent: _LiveIndex | None
    rows: Rows | None
    children: list[_LiveIndex] = field(default_factory=list)


class RowIndexes:
    """All indexes of one table that are still read.

    Args:
        rows: logical rows of the table.
        allocate: source of the memory.
    """

    def __init__(self, rows: int, allocate: Callable[[str, int], NDArray[np.uint8]]) -> None:
        self._allocate = allocate
        self._rows = rows
        self.used = 0
        """End of the rows that any version has written; beyond it every index is 0. Copying those rows would turn
        untouched memory, which costs nothing, into zeros that take memory."""
        self.empty: RowIndex = self._zeros()
        """Index of the table in which nothing was ever written."""
        self._living: dict[int, _LiveIndex] = {}
        self._by_handed: dict[int, _LiveIndex] = {}
        self._released: deque[int] = deque()
        self._next_key = 0
        self._spare: tuple[RowIndex, _LiveIndex] | None = None
        """Memory of a freed index, and the living index that it is equal to by now."""

    def __len__(self) -> int:
        return len(self._living)

    @property
    def nbytes(self) -> int:
        """Bytes that have been written: an index takes no more memory than the rows in use."""
        return (len(self._living) + (self._spare is not None)) * self.empty.itemsize * self.used

    def copy(self, base: RowIndex) -> RowIndex:
        """A buffer equal to `base` that no reader has seen yet."""
        if base is self.empty:
            return self._zeros()
        relative = self._by_handed.get(id(base))
        if self._spare is not None and relative is not None:
            buffer, equal_to = self._spare
            if relative is equal_to:
                self._spare = None
                return buffer
            if relative.parent is equal_to and relative.rows is not None:
                self._spare = None
                buffer[relative.rows] = relative.buffer[relative.rows]
                return buffer
        buffer = self._zeros()
        buffer[: self.used] = base[: self.used]
        return buffer

    def _zeros(self) -> RowIndex:
        return self._allocate("index", 4 * self._rows).view(np.int32)

    def hand_out(self, buffer: RowIndex, base: RowIndex, rows: Rows) -> RowIndex:
        """The index that versions hold: `buffer`, a copy of `base` in which `rows` were given other places.

        Its rows become free, if no other index has them, some time after the returned array was garbage-collected.
        """
        self.used = max(self.used, int(rows[-1]) + 1)  # rows rise
        handed = buffer.view()
        parent = self._by_handed.get(id(base)) if base is not self.empty else None
        relative = _LiveIndex(buffer, id(handed), parent, rows if parent is not None else None)
        if parent is not None:
            parent.children.append(relative)
        key, self._next_key = self._next_key, self._next_key + 1
        self._living[key] = self._by_handed[id(handed)] = relative
        weakref.finalize(handed, self._released.append, key).atexit = False
        return handed

    def freed(self) -> Rows:
        """Arena rows that became free since the last call: no index has them any more."""
        freed = [np.zeros(0, np.int32)]
        while self._released:
            freed.append(self._free(self._living.pop(self._released.popleft())))
        return np.concatenate(freed)

    def _free(self, gone: _LiveIndex) -> Rows:
        if self._by_handed.get(gone.handed) is gone:
            del self._by_handed[gone.handed]
        nearest, differing = self._nearest(gone)
        rows = slice(self.used) if differing is None else differing
        places = gone.buffer[rows]
        unneeded = places != 0
        for other in self._living.values():
            unneeded &= places != other.buffer[rows]
        free = places[unneeded]
        if nearest is not None and differing is not None:
            gone.buffer[differing] = nearest.buffer[differing]
            self._spare = gone.buffer, nearest
        elif self._spare is not None and self._spare[1] is gone:
            self._spare = None
        self._unlink(gone)
        return free

    def _nearest(self, gone: _LiveIndex) -> tuple[_LiveIndex | None, Rows | None]:
        for child in gone.children:
            if child.rows is not None:
                return child, child.rows
        return gone.parent, gone.rows

    def _unlink(self, gone: _LiveIndex) -> None:
        """Make the children of a freed index its parent's."""
        for child in gone.children:
            child.parent = gone.parent
            child.rows = self._joined(child.rows, gone.rows) if gone.parent is not None else None
        if gone.parent is not None:
            gone.parent.children.remove(gone)
            gone.parent.children.extend(gone.children)

    def _joined(self, one: Rows | None, other: Rows | None) -> Rows | None:
        if one is None or other is None:
            return None
        joined = np.union1d(one, other)
        return joined if len(joined) * _SPARSE <= len(self.empty) else None
