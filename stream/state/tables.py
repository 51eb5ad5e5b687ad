"""Tables: flat arrays of rows, divided into small blocks, each with a mark that it was written.

A `Table` is a NumPy array of equal rows. Each row is a whole number of *blocks* (16 to 128 bytes), and every block has
one byte that says "written since the last checkpoint". Learning writes rows and sets those bytes; nothing else has to
be remembered for a version, because

- a **delta** is the blocks that were written since the last checkpoint,
- a **keyframe** is all blocks that are not zero, which is a delta from the empty table,
- **restoring** is applying deltas in order, and **folding** two deltas is keeping the newer write of each block.

An empty table is all zeros. Untouched rows therefore cost neither memory (the operating system commits pages when they
are first written) nor bytes in a version, and every row layout has to read zeros as "nothing here": row 0 of a table
that others point into is never used, so that a pointer of 0 means none.

This file decides how tables are stored, copied and compared. The meaning of rows is decided in `stream.models`, the
keeping of deltas in `stream.versions`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.state.finite import check_finite
from stream.state.marks import mark, marks_for, take_blocks

Bytes = NDArray[np.uint8]
Blocks = NDArray[np.uint32]
Words = NDArray[np.uint64] | NDArray[np.uint32]


class CorruptDelta(ValueError):
    """A delta names a table, block or width that its layout does not have."""


@dataclass(frozen=True)
class TableSpec:
    """The shape of one table: `rows` rows of `dtype`, copied in blocks of `block_bytes`.

    If it is `grouped`, marks are found by groups of blocks, and kernels set them with `mark_block` alone
    (`stream.state.marks`).

    Raises:
        ValueError: a row is not a whole number of blocks, a block is not a whole number of 4-byte words, or a grouped
            table has one row: kernels find its number of blocks in a row by the size of its marks.
    """

    name: str
    rows: int
    dtype: np.dtype
    block_bytes: int = 64
    grouped: bool = False

    def __post_init__(self) -> None:
        if self.grouped and self.rows < 2:
            raise ValueError(f"table {self.name!r}: a grouped table has at least two rows")
        row_bytes = self.dtype.itemsize
        if self.block_bytes <= 0 or self.block_bytes % 4 or row_bytes % self.block_bytes:
            raise ValueError(
                f"table {self.name!r}: a row of {row_bytes} bytes is not a whole number of blocks of "
                f"{self.block_bytes} bytes (a block is a multiple of 4 bytes that divides the row)"
            )

    @property
    def row_bytes(self) -> int:
        return self.dtype.itemsize

    @property
    def blocks_per_row(self) -> int:
        return self.row_bytes // self.block_bytes

    @property
    def blocks(self) -> int:
        return self.rows * self.blocks_per_row

    @property
    def nbytes(self) -> int:
        return self.rows * self.row_bytes

    def check(self, delta: TableDelta) -> None:
        """Check a delta. Raises `CorruptDelta` if a block is outside the table, or blocks have another width."""
        if len(delta.blocks) and (delta.data.shape[1] != self.block_bytes or int(delta.blocks.max()) >= self.blocks):
            raise CorruptDelta(
                f"table {self.name!r} has {self.blocks} blocks of {self.block_bytes} bytes; the delta has blocks of "
                f"{delta.data.shape[1]} bytes up to number {int(delta.blocks.max())}. "
                "Was the version published with other capacity settings?"
            )


CACHE_LINE = 64
"""Bytes of a cache line."""


def aligned_zeros(rows: int, dtype: np.dtype) -> NDArray[Any]:
    """Zeros, (rows,) of `dtype`, that begin at a cache line.

    NumPy's begin anywhere, and then most rows of 64 bytes lie on two lines.
    """
    size = rows * dtype.itemsize
    memory = np.zeros(size + CACHE_LINE, np.uint8)
    start = -memory.ctypes.data % CACHE_LINE
    return np.ndarray((rows, *dtype.shape), dtype.base, memory, start)


class Table:
    """One table in memory: `data` (rows,) of `spec.dtype`, and `dirty`, one byte per block, set with each write
    (and one for each group of blocks, if its spec says so).

    >>> spec = TableSpec("counts", rows=4, dtype=np.dtype([("n", "<f4", (4,))]), block_bytes=16)
    >>> table = Table(spec)
    >>> table.data["n"][2] = 7
    >>> table.mark_rows([2])
    >>> table.checkpoint().blocks.tolist()
    [2]
    >>> table.checkpoint().blocks.tolist()     # taking a block clears its mark
    []
    """

    def __init__(self, spec: TableSpec) -> None:
        self.spec = spec
        self.data = aligned_zeros(spec.rows, spec.dtype)
        self.dirty = marks_for(spec.blocks, grouped=spec.grouped)

    def raw(self) -> Bytes:
        """A view of the data as (blocks, block_bytes) bytes."""
        return self.data.view(np.uint8).reshape(self.spec.blocks, self.spec.block_bytes)

    def mark_rows(self, rows: Iterable[int]) -> None:
        """Mark whole rows as written (compiled kernels set `dirty` themselves, block by block)."""
        first = np.fromiter(rows, np.int64) * self.spec.blocks_per_row
        self.mark((first[:, None] + np.arange(self.spec.blocks_per_row)).reshape(-1))

    def mark(self, blocks: NDArray[np.integer]) -> None:
        """Mark these blocks as written."""
        mark(self.dirty, blocks, grouped=self.spec.grouped)

    def mark_nonzero(self) -> None:
        """Mark every block that is not zero as written, so that the next checkpoint has all of them."""
        self.mark(nonzero_blocks(self.raw()))

    def checkpoint(self) -> TableDelta:
        """The blocks written since the last checkpoint. Their marks are cleared."""
        return self.take(0, self.spec.blocks)[0]

    def take(self, start: int, most: int) -> tuple[TableDelta, int]:
        """At most `most` marked blocks from block `start` on, and the block before which all marks are cleared now."""
        word = np.uint64 if self.spec.block_bytes % 8 == 0 else np.uint32
        blocks, words, stopped_at = take_blocks(self.dirty, self.raw().view(word), start, most, self.spec.grouped)
        return TableDelta(blocks, words.view(np.uint8)), stopped_at

    def snapshot(self) -> TableDelta:
        """Every block that is not zero. Marks stay as they are."""
        blocks = nonzero_blocks(self.raw())
        # NumPy's `take` copies a block at once; indexing would go byte by byte, five times slower.
        return TableDelta(blocks, self.raw().take(blocks, axis=0))

    def write(self, delta: TableDelta) -> None:
        """Put blocks in place. They are not marked: they come from a version, which has them already.

        Raises:
            CorruptDelta: a block is outside the table, or blocks have another width.
        """
        self.spec.check(delta)
        block = np.dtype((np.void, self.spec.block_bytes))  # copied at once, not byte by byte
        self.raw().view(block)[:, 0][delta.blocks] = np.ascontiguousarray(delta.data).view(block)[:, 0]


@dataclass(frozen=True)
class TableDelta:
    """Blocks of one table: `blocks` (n,) uint32, rising and unique; `data` (n, block_bytes) uint8."""

    blocks: Blocks
    data: Bytes

    @property
    def nbytes(self) -> int:
        return self.blocks.nbytes + self.data.nbytes


Delta = dict[str, TableDelta]
"""Written blocks by table name. A table that is missing was not written."""


class Tables(Mapping[str, Table]):
    """All tables of one model, by name.

    >>> spec = TableSpec("counts", rows=4, dtype=np.dtype([("n", "<f4", (4,))]), block_bytes=16)
    >>> ours, theirs = Tables([spec]), Tables([spec])
    >>> ours["counts"].data["n"][1] = 3
    >>> ours["counts"].mark_rows([1])
    >>> theirs.write(ours.checkpoint())
    >>> theirs == ours
    True
    """

    def __init__(self, specs: Iterable[TableSpec]) -> None:
        self._tables = {spec.name: Table(spec) for spec in specs}
        self._next_part = (0, 0)  # number of the table and of the block in it

    @classmethod
    def of(cls, tables: Iterable[Table]) -> Tables:
        """These tables themselves, no copies."""
        made = cls(())
        made._tables = {table.spec.name: table for table in tables}
        return made

    def __getitem__(self, name: str) -> Table:
        return self._tables[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tables)

    def __len__(self) -> int:
        return len(self._tables)

    def __eq__(self, other: object) -> bool:
        """Bit for bit the same content (marks do not count)."""
        if not isinstance(other, Tables):
            return NotImplemented
        return not list(differing_tables(self, other))

    __hash__ = None  # type: ignore[assignment]  # tables change

    def checkpoint(self) -> Delta:
        """The blocks of every table written since the last checkpoint. Their marks are cleared."""
        return {name: delta for name, table in self.items() if len((delta := table.checkpoint()).blocks)}

    def next_part(self, most_blocks: int) -> tuple[Delta, bool]:
        """The next part of a checkpoint, and True if it is the last one. The marks of its blocks are cleared.

        A checkpoint that would take too long at once is taken in parts, with learning in between; the last part
        completes it. A block that was written again after a part took it is in a later part too, so folding the parts
        in their order gives the tables at the moment of the last. Each part starts where the one before it stopped, so
        that blocks which are written all the time don't keep the others waiting.

        Args:
            most_blocks: largest number of blocks in a part.
        """
        tables = list(self._tables.items())
        first, start = self._next_part
        ranges = [(first, start), *((at % len(tables), 0) for at in range(first + 1, first + len(tables)))]
        delta: Delta = {}
        left = most_blocks
        for at, begin in ranges:
            name, table = tables[at]
            part, stopped_at = table.take(begin, left)
            if len(part.blocks):
                delta[name] = part
            left -= len(part.blocks)
            if stopped_at < table.spec.blocks:
                self._next_part = at, stopped_at
                return delta, False
        done = start == 0
        if not done:  # the blocks of the first table before the one at which this part started
            name, table = tables[first]
            part, stopped_at = table.take(0, left)
            if len(part.blocks):
                delta[name] = joined(part, delta[name]) if name in delta else part
            done = stopped_at >= start
        self._next_part = (0, 0) if done else (first, stopped_at)
        return delta, done

    def snapshot(self) -> Delta:
        """A keyframe: every block that is not zero."""
        return {name: delta for name, table in self.items() if len((delta := table.snapshot()).blocks)}

    def write(self, delta: Delta) -> None:
        """Apply a delta. Raises `CorruptDelta` if it does not fit, and then writes nothing."""
        self.check(delta)
        for name, part in delta.items():
            self._tables[name].write(part)

    def check_finite(self, delta: Delta) -> None:
        """Check the numbers of a delta.

        Raises:
            NotFinite: one of them is NaN or infinite.
        """
        for name, part in delta.items():
            check_finite(self._tables[name].spec, part.blocks, part.data)

    def check(self, delta: Delta) -> None:
        """Check a delta. Raises `CorruptDelta` if it does not fit."""
        for name, part in delta.items():
            if name not in self._tables:
                raise CorruptDelta(f"the delta has a table {name!r}; this model has {', '.join(self)}")
            self._tables[name].spec.check(part)


def differing_tables(a: Tables, b: Tables) -> Iterator[str]:
    """Names of tables that are missing on one side or whose bytes differ."""
    for name in {**a, **b}:
        if name not in a or name not in b or not np.array_equal(a[name].raw(), b[name].raw()):
            yield name


def fold(older: Delta, newer: Delta) -> Delta:
    """One delta with the effect of applying `older` and then `newer`: the last write of each block.

    >>> block = lambda number, byte: TableDelta(np.array([number], np.uint32), np.full((1, 4), byte, np.uint8))
    >>> folded = fold({"t": block(1, 7)}, {"t": block(1, 9), "u": block(0, 1)})
    >>> folded["t"].data.tolist(), sorted(folded)
    ([[9, 9, 9, 9]], ['t', 'u'])
    """
    folded = dict(older)
    for name, part in newer.items():
        if name in folded:
            kept = folded[name]
            keep = ~np.isin(kept.blocks, part.blocks, assume_unique=True)
            blocks = np.concatenate([kept.blocks[keep], part.blocks])
            order = np.argsort(blocks, kind="stable")
            folded[name] = TableDelta(blocks[order], np.concatenate([kept.data[keep], part.data])[order])
        else:
            folded[name] = part
    return folded


def joined(lower: TableDelta, higher: TableDelta) -> TableDelta:
    """One delta of two deltas of a table; all blocks of `lower` come before all of `higher`."""
    return TableDelta(np.concatenate([lower.blocks, higher.blocks]), np.concatenate([lower.data, higher.data]))


def delta_bytes(delta: Delta) -> int:
    """Bytes of a delta in memory (and, but for a short header, encoded)."""
    return sum(part.nbytes for part in delta.values())


def words_of(data: Bytes) -> Words:
    """A view of blocks in 8-byte words, or in 4-byte words: copying single bytes takes several times as long."""
    data = np.ascontiguousarray(data)
    return data.view(np.uint64) if data.shape[1] % 8 == 0 else data.view(np.uint32)


def nonzero_blocks(raw: Bytes) -> Blocks:
    """Numbers of the blocks of a (blocks, block_bytes) array that are not all zero."""
    words = raw.view(np.uint32)
    return np.flatnonzero(words.any(axis=1)).astype(np.uint32)
