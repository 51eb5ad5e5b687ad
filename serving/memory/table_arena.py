"""The rows of one table in all resident versions: one buffer, the free rows in it, and writing a version's rows.

This file decides where a row lies and which rows are free to be written. Which indexes are still read is decided by
`serving.memory.row_index`, and how blocks are copied by `serving.memory.row_copies`.

One thread at a time writes to a table; a lock enforces it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.memory.pages import Allocate, allocate_large_pages, use_large_pages_from, use_small_pages_from
from serving.memory.row_copies import (
    clear_unwritten_blocks,
    copy_and_write,
    distinct_rows,
    partly_written_rows,
    put_newer_blocks,
)
from serving.memory.row_index import RowIndex, RowIndexes
from stream.state.tables import TableDelta, TableSpec, Words, words_of

TableView = tuple[np.ndarray, RowIndex]
"""A table of one version: the arena's rows, and the arena row of each logical row."""

RESERVED_PER_ROW = 4
"""Arena rows reserved at first for each logical row: the served version, the one before, a pinned one and a canary may
differ in every row. Growing later means copying everything."""


@dataclass(frozen=True)
class Usage:
    """Used part of one table's arena: `rows` of `row_bytes` bytes, held by `indexes` different indexes."""

    rows: int
    row_bytes: int
    indexes: int
    index_bytes: int

    @property
    def nbytes(self) -> int:
        return self.rows * self.row_bytes + self.index_bytes


class TableArena:
    """One table's rows, and the indexes into them.

    Args:
        spec: shape of the table.
        allocate: source of the memory.
    """

    def __init__(self, spec: TableSpec, allocate: Allocate) -> None:
        self.spec = spec
        self.lock = threading.Lock()
        self._allocate = allocate
        self._large_pages = allocate is allocate_large_pages
        self._reserved = max(int(spec.rows * RESERVED_PER_ROW), 64) + 1
        self.data = self._reserve()
        self._end = 1
        """End of the rows that were ever used."""
        self._free = np.zeros(64, np.int32)
        self._free_count = 0
        self.indexes = RowIndexes(spec.rows, allocate)

    def empty(self) -> TableView:
        """The table in which nothing was ever written."""
        return self.data, self.indexes.empty

    def write(self, base: TableView, delta: TableDelta | None) -> TableView:
        """The table that differs from `base` by `delta`. The rows of `base` stay as they are."""
        if delta is None or len(delta.blocks) == 0:
            return base
        with self.lock:
            self.put_back(self.indexes.freed())
            width = self.spec.blocks_per_row
            rows = distinct_rows(delta.blocks, width)
            places = self.take(len(rows))
            index = self.indexes.copy(base[1])
            copy_and_write(self.words(), index, rows, places, delta.blocks, words_of(delta.data), width)
            return self.data, self.indexes.hand_out(index, base[1], rows)

    def begin_load(self, like: TableView | None) -> TableLoad:
        """Begin to write a whole table, sharing rows that are equal with `like`.

        Rows that differ are few and scattered then, so they are written to small pages until `end_load`.
        """
        with self.lock:
            self.put_back(self.indexes.freed())
            if like is not None and self._large_pages:
                use_small_pages_from(self.data, self._end)
            return TableLoad(self, like or self.empty())

    def end_load(self) -> None:
        """Return to large pages after a load that succeeded or failed."""
        if self._large_pages:
            use_large_pages_from(self.data, self._end)

    def usage(self) -> Usage:
        """Rows and indexes in use, after freeing those that no version needs any more."""
        with self.lock:
            self.put_back(self.indexes.freed())
            return Usage(
                rows=self._end - 1 - self._free_count,
                row_bytes=self.spec.row_bytes,
                indexes=len(self.indexes),
                index_bytes=self.indexes.nbytes,
            )

    def words(self) -> Words:
        """The buffer as (blocks, words of a block)."""
        rows = self.data.reshape(self._reserved, -1).view(np.uint8)
        return words_of(rows.reshape(-1, self.spec.block_bytes))

    def _reserve(self) -> np.ndarray:
        kind, shape = self.spec.dtype.subdtype or (self.spec.dtype, ())
        buffer = self._allocate(self.spec.name, self._reserved * self.spec.row_bytes)
        return buffer.view(kind).reshape(self._reserved, *shape)

    def put_back(self, rows: RowIndex) -> None:
        """Make arena rows free again. The caller holds the lock."""
        count = self._free_count + len(rows)
        if count > len(self._free):
            self._free = np.resize(self._free, count * 2)
        self._free[self._free_count : count] = rows
        self._free_count = count

    def take(self, count: int) -> RowIndex:
        """Arena rows that no version reads: freed ones first, then new ones. The caller holds the lock."""
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
        """Move to a larger buffer with equal rows. Versions that are already out go on reading the old one."""
        old = self.data
        self._reserved = max(self._end, self._reserved + self._reserved // 2)
        self.data = self._reserve()
        self.data[:used] = old[:used]


class TableLoad:
    """One table of a version that is being written. It begins as a copy of the version that it resembles.

    Args:
        table: arena to write to.
        like: the table in a version that has much in common with this one.
    """

    def __init__(self, table: TableArena, like: TableView) -> None:
        self._table = table
        self._like = like
        self._index = table.indexes.copy(like[1])
        self._used = table.indexes.used
        self._ages = np.zeros(0, np.uint16)

    def begin(self) -> None:
        """Forget which blocks were written: the deltas come (again) from the first on."""
        self._ages = np.zeros(self._table.spec.blocks, np.uint16)

    def put(self, age: int, piece: TableDelta) -> None:
        """Write the blocks of a delta that no newer one (of a smaller age) has written."""
        table, width = self._table, self._table.spec.blocks_per_row
        if len(piece.blocks) == 0:
            return
        with table.lock:
            self._used = max(self._used, int(piece.blocks[-1]) // width + 1)
            places = table.take(len(piece.blocks))  # the most that may be needed; unneeded ones are put back
            taken = put_newer_blocks(
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

    def finish(self) -> TableView:
        """The table as it was written.

        Rows that no delta wrote become zero, even where the version `like` has values.
        """
        table, width = self._table, self._table.spec.blocks_per_row
        with table.lock:
            rows = partly_written_rows(table.words(), self._index[: self._used], self._ages, width)
            places = table.take(len(rows))
            taken = clear_unwritten_blocks(table.words(), self._index, self._like[1], rows, places, self._ages, width)
            table.put_back(places[taken:])
            index, differing = self._index, self._differing()
            if len(differing) == 0:
                return self._like
            self._index = self._like[1]  # from here on `give_up` must not free the rows that are handed out
            return table.data, table.indexes.hand_out(index, self._like[1], differing)

    def give_up(self) -> None:
        """Free the rows that were written."""
        with self._table.lock:
            own = self._index[self._differing()]
            self._table.put_back(own[own != 0])

    def _differing(self) -> NDArray[np.int32]:
        """Logical rows that lie elsewhere than in the version `like`."""
        return np.flatnonzero(self._index[: self._used] != self._like[1][: self._used]).astype(np.int32)
