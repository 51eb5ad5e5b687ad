"""Which arena row stands for each row of a table, in every version that somebody still reads.

An index is derived from another by giving some rows another place. That history says where two indexes can differ at
all, so deriving one and burying one cost what changed between versions, not what the table could hold:

- when an index is gone, only rows in which it differed from its nearest relative can be free;
- its memory becomes the next index, after those few rows have been set to the relative's.

This file decides when an arena row is free. What is in the rows is decided by `serving.memory.arena`.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.int32]
Rows = NDArray[np.int32]

_SPARSE = 4
"""Beyond one row in so many, where two indexes differ is no longer remembered: looking at all rows is as quick."""


@dataclass(eq=False)
class _Relative:
    """One index that is read. It differs from `parent` in `rows` at most; None says that it might in any."""

    buffer: Index
    handed: int
    parent: _Relative | None
    rows: Rows | None
    children: list[_Relative] = field(default_factory=list)


class Indexes:
    """All indexes of one table that are still read."""

    def __init__(self, rows: int, allocate: Callable[[str, int], NDArray[np.uint8]]) -> None:
        self._allocate = allocate
        self._rows = rows
        self.used = 0
        """Rows from here on were never written by anyone, so they are 0 in every index. To copy them would only turn
        untouched memory, which costs nothing, into zeros that are there."""
        self.empty: Index = self._zeros()
        """Of the table in which nothing was ever written."""
        self._living: dict[int, _Relative] = {}
        self._by_handed: dict[int, _Relative] = {}
        self._released: deque[int] = deque()
        self._next_key = 0
        self._spare: tuple[Index, _Relative] | None = None
        """Memory of a buried index, and the living one that it equals by now."""

    def __len__(self) -> int:
        return len(self._living)

    @property
    def nbytes(self) -> int:
        """Bytes that have been written: an index takes no more than the rows in use."""
        return (len(self._living) + (self._spare is not None)) * self.empty.itemsize * self.used

    def copy(self, base: Index) -> Index:
        """Memory that equals `base` and that nobody else sees yet."""
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

    def _zeros(self) -> Index:
        return self._allocate("index", 4 * self._rows).view(np.int32)

    def hand_out(self, buffer: Index, base: Index, rows: Rows) -> Index:
        """The index that versions hold: a copy of `base` that was given other places for `rows`."""
        self.used = max(self.used, int(rows[-1]) + 1)  # they rise
        handed = buffer.view()
        parent = self._by_handed.get(id(base)) if base is not self.empty else None
        relative = _Relative(buffer, id(handed), parent, rows if parent is not None else None)
        if parent is not None:
            parent.children.append(relative)
        key, self._next_key = self._next_key, self._next_key + 1
        self._living[key] = self._by_handed[id(handed)] = relative
        weakref.finalize(handed, self._released.append, key).atexit = False
        return handed

    def freed(self) -> Rows:
        """Arena rows that no index has any more, since the last call."""
        freed = [np.zeros(0, np.int32)]
        while self._released:
            freed.append(self._bury(self._living.pop(self._released.popleft())))
        return np.concatenate(freed)

    def _bury(self, gone: _Relative) -> Rows:
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
        self._leave(gone)
        return free

    def _nearest(self, gone: _Relative) -> tuple[_Relative | None, Rows | None]:
        for child in gone.children:
            if child.rows is not None:
                return child, child.rows
        return gone.parent, gone.rows

    def _leave(self, gone: _Relative) -> None:
        """Children of a buried index become its parent's."""
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
