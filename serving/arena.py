"""Several versions in memory at the price of their differences.

For each table there is one flat buffer of rows, the *arena*, and for each resident version an *index*: logical row →
arena row. A delta writes new copies of the rows it touches and a new index; rows that it leaves alone are shared. Arena
row 0 is all zeros and stands for every row that was never written.

Nobody says that a version is no longer needed: its rows are free when its index arrays are gone, that is, when the last
request that still reads them has ended. So a reader needs no lock and never sees a row change: it keeps the views it
was given for as long as it reads (the arrays themselves, not copies of an index).

One thread at a time writes (a lock sees to it). The buffers are reserved as address space and cost memory only where
rows were written. This file decides where rows lie. Which versions are resident is decided by whoever holds their
views.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numba as nb
import numpy as np
from numpy.typing import NDArray

from serving.indexes import Index, Indexes
from stream.tables import CorruptDelta, Delta, TableDelta, TableSpec

Words = NDArray[np.uint32]
Views = dict[str, tuple[np.ndarray, Index]]
"""By table: the arena's rows, and where in them each logical row lies. Row r of the version is `data[index[r]]`."""

Allocate = Callable[[str, int], NDArray[np.uint8]]
"""Table name and bytes to a zeroed buffer: private memory, or memory that processes share."""

CACHE_LINE = 64

RESERVED_PER_ROW = 1.5
"""Arena rows reserved at first for each logical row: the served version, and half as much for those beside it."""


def private_memory(name: str, nbytes: int) -> NDArray[np.uint8]:  # noqa: ARG001  shared memory needs the name
    """Zeroed memory that is committed page by page as it is written.

    It begins where a line of the caches does, so that a row of 64 bytes comes from memory at once, not in two halves.
    """
    memory = np.zeros(nbytes + CACHE_LINE, np.uint8)
    begin = -memory.ctypes.data % CACHE_LINE
    return memory[begin : begin + nbytes]


@dataclass(frozen=True)
class Usage:
    """How much of one table's arena is in use: `rows` of `row_bytes` bytes, held by `indexes` different indexes."""

    rows: int
    row_bytes: int
    indexes: int
    index_bytes: int

    @property
    def nbytes(self) -> int:
        return self.rows * self.row_bytes + self.index_bytes


class Arena:
    """The rows of all resident versions of one shard.

    >>> spec = TableSpec("counts", rows=3, dtype=np.dtype([("n", "<f4", (4,))]), block_bytes=16)
    >>> one_block = lambda number, value: {"counts": TableDelta(
    ...     np.array([number], np.uint32), np.full((1, 4), value, "<f4").view(np.uint8))}
    >>> arena = Arena([spec])
    >>> first = arena.load(one_block(2, 7.0))
    >>> second = arena.apply(first, one_block(1, 5.0))
    >>> row = lambda views, number: float(views["counts"][0]["n"][views["counts"][1][number]][0])
    >>> [row(first, r) for r in range(3)], [row(second, r) for r in range(3)]
    ([0.0, 0.0, 7.0], [0.0, 5.0, 7.0])
    >>> arena.usage()["counts"].rows        # row 2 is shared
    2
    >>> del first
    >>> arena.usage()["counts"].rows, [row(second, r) for r in range(3)]
    (2, [0.0, 5.0, 7.0])
    """

    def __init__(self, specs: Iterable[TableSpec], *, allocate: Allocate = private_memory) -> None:
        self._lock = threading.Lock()
        self._tables = {spec.name: _TableArena(spec, allocate) for spec in specs}

    def load(self, delta: Delta, like: Views | None = None) -> Views:
        """A version from everything that was ever written.

        Args:
            delta: a state's blocks, rising in each table; all others are zeros.
            like: a version that has much in common with it. What is equal is shared, so that a state that nobody has
                the changes of costs its differences, too.

        Raises:
            CorruptDelta: the blocks do not fit these tables.
        """
        if like is None:
            return self.apply({}, delta)
        with self._lock:
            self._check(delta)
            changes = {name: table.differing(like[name], delta.get(name)) for name, table in self._tables.items()}
        return self.apply(like, changes)

    def apply(self, base: Views, delta: Delta) -> Views:
        """The version that differs from `base` by `delta`. `base` stays what it is.

        Raises:
            CorruptDelta: the blocks do not fit these tables; nothing was changed.
        """
        with self._lock:
            self._check(delta)
            return {
                name: table.write(base[name] if name in base else table.empty(), delta.get(name))
                for name, table in self._tables.items()
            }

    def _check(self, delta: Delta) -> None:
        for name, part in delta.items():
            if name not in self._tables:
                raise CorruptDelta(f"the delta has a table {name!r}; this model has {', '.join(self._tables)}")
            self._tables[name].check(part)

    def usage(self) -> dict[str, Usage]:
        """What is in use, by table, after freeing what no version needs any more."""
        with self._lock:
            return {name: table.usage() for name, table in self._tables.items()}


class _TableArena:
    """One table's rows, and the indexes into them."""

    def __init__(self, spec: TableSpec, allocate: Allocate) -> None:
        self.spec = spec
        self._allocate = allocate
        self._reserved = max(int(spec.rows * RESERVED_PER_ROW), 64) + 1
        self._data = self._reserve()
        self._end = 1
        """Rows from here on were never used."""
        self._free = np.zeros(64, np.int32)
        self._free_count = 0
        self._indexes = Indexes(spec.rows, allocate)

    def empty(self) -> tuple[np.ndarray, Index]:
        return self._data, self._indexes.empty

    def check(self, delta: TableDelta) -> None:
        if len(delta.blocks) and (
            delta.data.shape[1] != self.spec.block_bytes or int(delta.blocks.max()) >= self.spec.blocks
        ):
            raise CorruptDelta(
                f"table {self.spec.name!r} has {self.spec.blocks} blocks of {self.spec.block_bytes} bytes; the delta "
                f"has blocks of {delta.data.shape[1]} bytes up to number {int(delta.blocks.max())}. "
                "Was the version published with other capacity settings?"
            )

    def write(self, base: tuple[np.ndarray, Index], delta: TableDelta | None) -> tuple[np.ndarray, Index]:
        if delta is None or len(delta.blocks) == 0:
            return base
        self._put_back(self._indexes.freed())
        width = self.spec.blocks_per_row
        rows = _distinct_rows(delta.blocks, width)
        places = self._take(len(rows))
        index = self._indexes.copy(base[1])
        _copy_and_write(self._words(), index, rows, places, delta.blocks, _words_of(delta.data), width)
        return self._data, self._indexes.hand_out(index, base[1], rows)

    def differing(self, base: tuple[np.ndarray, Index], state: TableDelta | None) -> TableDelta:
        """What a state, given by everything that was ever written, has that `base` has not."""
        if state is None:
            state = TableDelta(np.empty(0, np.uint32), np.empty((0, self.spec.block_bytes), np.uint8))
        blocks, words = _differing(
            self._words(),
            base[1][: self._indexes.used],
            state.blocks,
            _words_of(state.data),
            self.spec.blocks_per_row,
        )
        return TableDelta(blocks, words.view(np.uint8))

    def usage(self) -> Usage:
        self._put_back(self._indexes.freed())
        return Usage(
            rows=self._end - 1 - self._free_count,
            row_bytes=self.spec.row_bytes,
            indexes=len(self._indexes),
            index_bytes=self._indexes.nbytes,
        )

    def _words(self) -> Words:
        """The same memory as (blocks, 32-bit words of a block)."""
        return self._data.reshape(self._reserved, -1).view(np.uint32).reshape(-1, self.spec.block_bytes // 4)

    def _reserve(self) -> np.ndarray:
        kind, shape = self.spec.dtype.subdtype or (self.spec.dtype, ())
        buffer = self._allocate(self.spec.name, self._reserved * self.spec.row_bytes)
        return buffer.view(kind).reshape(self._reserved, *shape)

    def _put_back(self, rows: Index) -> None:
        count = self._free_count + len(rows)
        if count > len(self._free):
            self._free = np.resize(self._free, count * 2)
        self._free[self._free_count : count] = rows
        self._free_count = count

    def _take(self, count: int) -> Index:
        """Arena rows that no version reads: freed ones first, then new ones."""
        reused = min(count, self._free_count)
        self._free_count -= reused
        start = self._end
        self._end += count - reused
        if self._end > self._reserved:
            self._grow(start)
        return np.concatenate(
            [self._free[self._free_count : self._free_count + reused], np.arange(start, self._end, dtype=np.int32)]
        )

    def _grow(self, used: int) -> None:
        """A larger buffer with the same rows. Versions that are already out go on reading the old one."""
        old = self._data
        self._reserved = max(self._end, self._reserved + self._reserved // 2)
        self._data = self._reserve()
        self._data[:used] = old[:used]


def _words_of(data: NDArray[np.uint8]) -> Words:
    """Blocks of a delta as 32-bit words: copying words instead of bytes is several times faster."""
    return np.ascontiguousarray(data).view(np.uint32)


@nb.njit(cache=True, nogil=True)
def _distinct_rows(blocks: NDArray[np.uint32], width: int) -> NDArray[np.int32]:
    """Logical rows of rising block numbers."""
    rows = np.empty(blocks.size, np.int32)
    count = 0
    for at in range(blocks.size):
        row = blocks[at] // width
        if count == 0 or rows[count - 1] != row:
            rows[count] = row
            count += 1
    return rows[:count]


@nb.njit(cache=True, nogil=True)
def _copy_and_write(
    words: Words,
    index: Index,
    rows: Index,
    places: Index,
    blocks: NDArray[np.uint32],
    data: Words,
    width: int,
) -> None:
    """Copy rows to their new places, point the index there, and write the blocks."""
    for at in range(rows.size):
        source = np.int64(index[rows[at]]) * width
        target = np.int64(places[at]) * width
        for block in range(width):
            for word in range(words.shape[1]):
                words[target + block, word] = words[source + block, word]
        index[rows[at]] = places[at]
    for at in range(blocks.size):
        row = blocks[at] // width
        target = np.int64(index[row]) * width + np.int64(blocks[at] - row * width)
        for word in range(words.shape[1]):
            words[target, word] = data[at, word]


@nb.njit(cache=True, nogil=True)
def _differing(
    words: Words, index: Index, blocks: NDArray[np.uint32], data: Words, width: int
) -> tuple[NDArray[np.uint32], Words]:
    """The numbers, rising, of blocks in which a state differs from a version, and what the state has there.

    Args:
        words: the arena, as (blocks, words of a block).
        index: of the version, as far as rows are in use.
        blocks, data: of the state, rising; what is not among them is zeros.
        width: blocks of a row.
    """
    rows = max(index.size, int(blocks[-1]) // width + 1) if blocks.size else index.size
    most = blocks.size + width * np.count_nonzero(index)
    found = np.empty(most + 1, np.uint32)  # costs memory only where it is written
    written = np.empty((most + 1, data.shape[1]), np.uint32)
    count = 0
    at = 0
    for row in range(rows):
        place = np.int64(index[row]) if row < index.size else 0
        if place == 0 and (at == blocks.size or np.int64(blocks[at]) >= (row + 1) * width):
            continue
        for block in range(width):
            given = at < blocks.size and np.int64(blocks[at]) == row * width + block
            same = True
            for word in range(data.shape[1]):
                value = data[at, word] if given else np.uint32(0)
                written[count, word] = value
                same &= words[place * width + block, word] == value
            found[count] = row * width + block
            count += not same
            at += given
    return found[:count], written[:count]
