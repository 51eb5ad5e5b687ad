"""What a model is made of: flat tables of rows, cut into small blocks that know whether they were written.

A `Table` is a NumPy array of equal rows. Each row is a whole number of *blocks* (16 to 128 bytes), and every block has
one byte that says "written since the last cut". Learning writes rows and sets those bytes; nothing else has to be
remembered for a snapshot, because

- a **delta** is the blocks that were written since the last cut,
- a **keyframe** is all blocks that are not zero, which is a delta from the empty table,
- **restoring** is applying deltas in order, and **folding** two deltas is keeping the newer of each block.

An empty table is all zeros. Untouched rows therefore cost neither memory (the operating system commits pages when they
are first written) nor bytes in a version, and every row layout has to read zeros as "nothing here": row 0 of a table
that others point into is never used, so that a pointer of 0 means none.

This file decides how tables are stored, copied and compared. What the rows mean is decided in `stream.models`; where
deltas are kept is decided in `stream.versions`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numba as nb
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load as read_safetensors
from safetensors.numpy import save as write_safetensors

Bytes = NDArray[np.uint8]
Blocks = NDArray[np.uint32]


class CorruptDelta(ValueError):
    """A delta names a table, block or width that its layout does not have."""


@dataclass(frozen=True)
class TableSpec:
    """The shape of one table: `rows` rows of `dtype`, copied in blocks of `block_bytes`.

    Raises:
        ValueError: a row is not a whole number of blocks, or a block is not a whole number of 4-byte words.
    """

    name: str
    rows: int
    dtype: np.dtype
    block_bytes: int = 64

    def __post_init__(self) -> None:
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


class Table:
    """One table in memory: `data` (rows,) of `spec.dtype`, and `dirty`, one byte a block, set by whoever writes it.

    >>> spec = TableSpec("counts", rows=4, dtype=np.dtype([("n", "<f4", (4,))]), block_bytes=16)
    >>> table = Table(spec)
    >>> table.data["n"][2] = 7
    >>> table.mark_rows([2])
    >>> table.cut().blocks.tolist()
    [2]
    >>> table.cut().blocks.tolist()     # a cut clears what it took
    []
    """

    def __init__(self, spec: TableSpec) -> None:
        self.spec = spec
        self.data = np.zeros(spec.rows, spec.dtype)
        self.dirty = np.zeros(spec.blocks, np.uint8)

    def raw(self) -> Bytes:
        """The same memory as (blocks, block_bytes) bytes."""
        return self.data.view(np.uint8).reshape(self.spec.blocks, self.spec.block_bytes)

    def _blocks(self, blocks: Blocks) -> Bytes:
        """A copy of these blocks (`take` copies a block at once; indexing would go byte by byte, five times slower)."""
        return self.raw().take(blocks, axis=0)

    def mark_rows(self, rows: Iterable[int]) -> None:
        """Say that whole rows were written (compiled kernels set `dirty` themselves, block by block)."""
        width = self.spec.blocks_per_row
        for row in rows:
            self.dirty[row * width : (row + 1) * width] = 1

    def cut(self) -> TableDelta:
        """What was written since the last cut; the marks are cleared."""
        blocks = take_marks(self.dirty)
        return TableDelta(blocks, self._blocks(blocks))

    def whole(self) -> TableDelta:
        """Every block that is not zero. Marks stay as they are."""
        blocks = nonzero_blocks(self.raw())
        return TableDelta(blocks, self._blocks(blocks))

    def write(self, delta: TableDelta) -> None:
        """Put blocks in place. They are not marked: they come from a version, which has them already.

        Raises:
            CorruptDelta: a block is outside the table, or blocks have another width.
        """
        if len(delta.blocks) == 0:
            return
        if delta.data.shape[1] != self.spec.block_bytes or int(delta.blocks.max()) >= self.spec.blocks:
            raise CorruptDelta(
                f"table {self.spec.name!r} has {self.spec.blocks} blocks of {self.spec.block_bytes} bytes; the delta "
                f"has blocks of {delta.data.shape[1]} bytes up to number {int(delta.blocks.max())}. "
                "Was it written with other capacity settings?"
            )
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
"""What was written, by table name. A table that is missing was not written."""


class Tables(Mapping[str, Table]):
    """All tables of one model, by name.

    >>> spec = TableSpec("counts", rows=4, dtype=np.dtype([("n", "<f4", (4,))]), block_bytes=16)
    >>> ours, theirs = Tables([spec]), Tables([spec])
    >>> ours["counts"].data["n"][1] = 3
    >>> ours["counts"].mark_rows([1])
    >>> theirs.write(ours.cut())
    >>> theirs == ours
    True
    """

    def __init__(self, specs: Iterable[TableSpec]) -> None:
        self._tables = {spec.name: Table(spec) for spec in specs}

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

    __hash__ = None  # type: ignore[assignment]

    def cut(self) -> Delta:
        """What was written since the last cut, of every table; the marks are cleared."""
        return {name: delta for name, table in self.items() if len((delta := table.cut()).blocks)}

    def whole(self) -> Delta:
        """A keyframe: every block that is not zero."""
        return {name: delta for name, table in self.items() if len((delta := table.whole()).blocks)}

    def write(self, delta: Delta) -> None:
        """Apply a delta. Raises `CorruptDelta` where it does not fit."""
        for name, part in delta.items():
            if name not in self._tables:
                raise CorruptDelta(f"the delta has a table {name!r}; this model has {', '.join(self)}")
            self._tables[name].write(part)


def differing_tables(a: Tables, b: Tables) -> Iterator[str]:
    """Names of tables that are missing on one side or whose bytes differ."""
    for name in {**a, **b}:
        if name not in a or name not in b or not np.array_equal(a[name].raw(), b[name].raw()):
            yield name


def fold(older: Delta, newer: Delta) -> Delta:
    """One delta that does what applying `older` and then `newer` does: of each block, the last write.

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


def delta_bytes(delta: Delta) -> int:
    """Bytes of a delta in memory (and, but for a short header, encoded)."""
    return sum(part.nbytes for part in delta.values())


def encode_delta(delta: Delta) -> bytes:
    """A delta as safetensors: `<table>.blocks` and `<table>.data` for each table."""
    arrays: dict[str, NDArray] = {}
    for name, part in delta.items():
        arrays[f"{name}.blocks"] = np.ascontiguousarray(part.blocks)
        arrays[f"{name}.data"] = np.ascontiguousarray(part.data)
    return write_safetensors(arrays)


def decode_delta(encoded: bytes) -> Delta:
    """The delta that `encode_delta` wrote.

    Raises:
        CorruptDelta: the bytes are no such thing.
    """
    try:
        arrays = read_safetensors(encoded)
        return {
            name.removesuffix(".blocks"): TableDelta(blocks, arrays[f"{name.removesuffix('.blocks')}.data"])
            for name, blocks in arrays.items()
            if name.endswith(".blocks")
        }
    except Exception as error:  # safetensors raises its own type, KeyError means a table without data
        raise CorruptDelta(f"{len(encoded)} bytes are no encoded delta: {error}") from error


@nb.njit(cache=True, nogil=True)
def take_marks(dirty: Bytes) -> Blocks:
    """Numbers of the marked blocks, rising; the marks are cleared. Eight marks are looked at at once."""
    words = dirty[: dirty.size // 8 * 8].view(np.uint64)
    count = 0
    for word in range(words.size):
        if words[word]:
            for block in range(word * 8, word * 8 + 8):
                count += dirty[block]
    for block in range(words.size * 8, dirty.size):
        count += dirty[block]
    blocks = np.empty(count, np.uint32)
    at = 0
    for word in range(words.size):
        if words[word]:
            for block in range(word * 8, word * 8 + 8):
                if dirty[block]:
                    blocks[at] = block
                    at += 1
            words[word] = 0
    for block in range(words.size * 8, dirty.size):
        if dirty[block]:
            blocks[at] = block
            at += 1
            dirty[block] = 0
    return blocks


def nonzero_blocks(raw: Bytes) -> Blocks:
    """Numbers of the blocks of a (blocks, block_bytes) array that are not all zero."""
    words = raw.view(np.uint32)
    return np.flatnonzero(words.any(axis=1)).astype(np.uint32)
