"""Several versions in memory at the price of their differences.

For each table there is one flat buffer of rows, the *arena*, and for each resident version an *index*: logical row →
arena row. A delta writes new copies of the rows it touches and a new index; rows that it leaves alone are shared. Arena
row 0 is all zeros and stands for every row that was never written.

Nobody says that a version is no longer needed: its rows are free when its index arrays are gone, that is, when the last
request that still reads them has ended. So a reader needs no lock and never sees a row change: it keeps the views it
was given for as long as it reads (the arrays themselves, not copies of an index).

One thread at a time writes to a table (a lock sees to it). The buffers are reserved as address space and cost memory
only where rows were written. This file decides where rows lie. Which versions are resident is decided by whoever holds
their views.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numba as nb
import numpy as np
from numpy.typing import NDArray

from serving.memory.pages import Allocate, in_large_pages, large_pages_from, private_memory, small_pages_from
from serving.memory.row_index import Index, Indexes
from stream.state.table_writer import DeltaSink
from stream.state.tables import CorruptDelta, Delta, TableDelta, TableSpec, Words, words_of

Views = dict[str, tuple[np.ndarray, Index]]
"""By table: the arena's rows, and where in them each logical row lies. Row r of the version is `data[index[r]]`."""

RESERVED_PER_ROW = 4
"""Arena rows reserved at first for each logical row: that of the served version, the one before, a pinned one and a
canary may differ in all. To reserve more later is to copy everything."""


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
    >>> first = arena.apply({}, one_block(2, 7.0))
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
        self._tables = {spec.name: _TableArena(spec, allocate) for spec in specs}

    def load(self, read: Callable[[DeltaSink], object], like: Views | None = None) -> Views:
        """A version from everything that was ever written.

        Args:
            read: writes a state.
            like: a version that has much in common with it. Rows that are equal are shared, so that a state that nobody
                has the changes of costs its differences, too.

        Raises:
            CorruptDelta: the blocks do not fit these tables; and whatever `read` raises. Nothing was changed.
        """
        loading = {name: table.loading(like[name] if like else None) for name, table in self._tables.items()}
        try:
            read(_Loading(loading, self._check))
            return {name: table.finish() for name, table in loading.items()}
        except BaseException:
            for table in loading.values():
                table.give_up()
            raise
        finally:
            for name in loading:
                self._tables[name].loaded()

    def apply(self, base: Views, delta: Delta) -> Views:
        """The version that differs from `base` by `delta`. `base` stays what it is.

        Raises:
            CorruptDelta: the blocks do not fit these tables; nothing was changed.
        """
        self._check(delta)
        return {
            name: table.write(base[name] if name in base else table.empty(), delta.get(name))
            for name, table in self._tables.items()
        }

    def _check(self, delta: Delta) -> None:
        for name, part in delta.items():
            if name not in self._tables:
                raise CorruptDelta(f"the delta has a table {name!r}; this model has {', '.join(self._tables)}")
            self._tables[name].spec.check(part)

    def usage(self) -> dict[str, Usage]:
        """What is in use, by table, after freeing what no version needs any more."""
        return {name: table.usage() for name, table in self._tables.items()}


class _TableArena:
    """One table's rows, and the indexes into them."""

    def __init__(self, spec: TableSpec, allocate: Allocate) -> None:
        self.spec = spec
        self.lock = threading.Lock()
        self._allocate = allocate
        self._large_pages = allocate is in_large_pages
        self._reserved = max(int(spec.rows * RESERVED_PER_ROW), 64) + 1
        self.data = self._reserve()
        self._end = 1
        """Rows from here on were never used."""
        self._free = np.zeros(64, np.int32)
        self._free_count = 0
        self.indexes = Indexes(spec.rows, allocate)

    def empty(self) -> tuple[np.ndarray, Index]:
        return self.data, self.indexes.empty

    def write(self, base: tuple[np.ndarray, Index], delta: TableDelta | None) -> tuple[np.ndarray, Index]:
        if delta is None or len(delta.blocks) == 0:
            return base
        with self.lock:
            self.put_back(self.indexes.freed())
            width = self.spec.blocks_per_row
            rows = _distinct_rows(delta.blocks, width)
            places = self.take(len(rows))
            index = self.indexes.copy(base[1])
            _copy_and_write(self.words(), index, rows, places, delta.blocks, words_of(delta.data), width)
            return self.data, self.indexes.hand_out(index, base[1], rows)

    def loading(self, like: tuple[np.ndarray, Index] | None) -> _LoadingTable:
        with self.lock:
            self.put_back(self.indexes.freed())
            if like is not None and self._large_pages:
                small_pages_from(self.data, self._end)
            return _LoadingTable(self, like or self.empty())

    def loaded(self) -> None:
        if self._large_pages:
            large_pages_from(self.data, self._end)

    def usage(self) -> Usage:
        with self.lock:
            self.put_back(self.indexes.freed())
            return Usage(
                rows=self._end - 1 - self._free_count,
                row_bytes=self.spec.row_bytes,
                indexes=len(self.indexes),
                index_bytes=self.indexes.nbytes,
            )

    def words(self) -> Words:
        """The same memory as (blocks, words of a block)."""
        rows = self.data.reshape(self._reserved, -1).view(np.uint8)
        return words_of(rows.reshape(-1, self.spec.block_bytes))

    def _reserve(self) -> np.ndarray:
        kind, shape = self.spec.dtype.subdtype or (self.spec.dtype, ())
        buffer = self._allocate(self.spec.name, self._reserved * self.spec.row_bytes)
        return buffer.view(kind).reshape(self._reserved, *shape)

    def put_back(self, rows: Index) -> None:
        count = self._free_count + len(rows)
        if count > len(self._free):
            self._free = np.resize(self._free, count * 2)
        self._free[self._free_count : count] = rows
        self._free_count = count

    def take(self, count: int) -> Index:
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
        old = self.data
        self._reserved = max(self._end, self._reserved + self._reserved // 2)
        self.data = self._reserve()
        self.data[:used] = old[:used]


class _Loading:
    """A version that is being written (a `DeltaSink`)."""

    def __init__(self, tables: dict[str, _LoadingTable], check: Callable[[Delta], None]) -> None:
        self._tables = tables
        self._check = check

    def begin(self) -> None:
        for table in self._tables.values():
            table.begin()

    def put(self, age: int, piece: Delta) -> None:
        self._check(piece)
        for name, part in piece.items():
            self._tables[name].put(age, part)


class _LoadingTable:
    """One table of a version that is being written. It begins as the version that it is like."""

    def __init__(self, table: _TableArena, like: tuple[np.ndarray, Index]) -> None:
        self._table = table
        self._like = like
        self._index = table.indexes.copy(like[1])
        self._used = table.indexes.used
        self._ages = np.zeros(0, np.uint16)

    def begin(self) -> None:
        self._ages = np.zeros(self._table.spec.blocks, np.uint16)

    def put(self, age: int, piece: TableDelta) -> None:
        table, width = self._table, self._table.spec.blocks_per_row
        if len(piece.blocks) == 0:
            return
        with table.lock:
            self._used = max(self._used, int(piece.blocks[-1]) // width + 1)
            places = table.take(len(piece.blocks))  # at most; most are put back
            taken = _put_newer(
                table.words(),
                self._index,
                self._like[1],
                self._ages,
                age,
                places,
                piece.blocks,
                words_of(piece.data),
                width,
            )
            table.put_back(places[taken:])

    def finish(self) -> tuple[np.ndarray, Index]:
        """What never came is zeros, whatever the other version has there."""
        table, width = self._table, self._table.spec.blocks_per_row
        with table.lock:
            rows = _wrong_rows(table.words(), self._index[: self._used], self._ages, width)
            places = table.take(len(rows))
            taken = _clear(table.words(), self._index, self._like[1], rows, places, self._ages, width)
            table.put_back(places[taken:])
            index, differing = self._index, self._differing()
            if len(differing) == 0:
                return self._like
            self._index = self._like[1]  # the other is no longer to be given up here
            return table.data, table.indexes.hand_out(index, self._like[1], differing)

    def give_up(self) -> None:
        with self._table.lock:
            own = self._index[self._differing()]
            self._table.put_back(own[own != 0])

    def _differing(self) -> NDArray[np.int32]:
        """Rows that have another place than in the version that this one is like."""
        return np.flatnonzero(self._index[: self._used] != self._like[1][: self._used]).astype(np.int32)


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
def _put_newer(
    words: Words,
    index: Index,
    like: Index,
    ages: NDArray[np.uint16],
    age: int,
    places: Index,
    blocks: NDArray[np.uint32],
    data: Words,
    width: int,
) -> int:
    """Write blocks unless a newer one was written, where they differ from what is there; tells how many places it took.

    A row that is still the other version's is copied to a place of its own first.
    """
    taken = 0
    mark = np.uint16(age + 1)
    divisor = np.uint32(width)  # dividing 32 bits is quicker, and there are millions of blocks
    for at in range(blocks.size):
        number = blocks[at]
        if ages[number] != 0 and ages[number] <= mark:
            continue
        ages[number] = mark
        row = number // divisor
        part = np.int64(number - row * divisor)
        place = np.int64(index[row])
        same = True
        for word in range(words.shape[1]):
            if words[place * width + part, word] != data[at, word]:
                same = False
                break
        if same:
            continue
        if place == like[row]:
            source, place = place, np.int64(places[taken])
            taken += 1
            for block in range(width):
                for word in range(words.shape[1]):
                    words[place * width + block, word] = words[source * width + block, word]
            index[row] = place
        for word in range(words.shape[1]):
            words[place * width + part, word] = data[at, word]
    return taken


@nb.njit(cache=True, nogil=True)
def _wrong_rows(words: Words, index: Index, ages: NDArray[np.uint16], width: int) -> NDArray[np.int32]:
    """Rows of which some blocks were written and others, which were not, are no zeros. A row of which nothing was
    written is the row of zeros from here on.
    """
    found = np.empty(index.size, np.int32)
    count = 0
    for row in range(index.size):
        place = np.int64(index[row])
        if place == 0:
            continue
        written = False
        wrong = False
        for block in range(width):
            if ages[row * width + block]:
                written = True
            else:
                for word in range(words.shape[1]):
                    wrong |= words[place * width + block, word] != 0
        if not written:
            index[row] = 0
        elif wrong:
            found[count] = row
            count += 1
    return found[:count]


@nb.njit(cache=True, nogil=True)
def _clear(
    words: Words, index: Index, like: Index, rows: Index, places: Index, ages: NDArray[np.uint16], width: int
) -> int:
    """Make zeros of what was not written of these rows, in a place of their own; tells how many places it took."""
    taken = 0
    for at in range(rows.size):
        row = np.int64(rows[at])
        source = place = np.int64(index[row])
        if place == like[row]:
            place = np.int64(places[taken])
            taken += 1
            index[row] = place
        for block in range(width):
            for word in range(words.shape[1]):
                if ages[row * width + block]:
                    words[place * width + block, word] = words[source * width + block, word]
                else:
                    words[place * width + block, word] = 0
    return taken
