"""Writing a state that comes in many parts, in any order and from several threads: the newest write of a block stays.

A state is a keyframe and the deltas after it, some hundred parts. Folding them first would take as much memory again as
the state has, and fresh memory takes longer to get from the system than the folding.

This file decides how parts of different ages end up as one state.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stream.state.compiled import compiled
from stream.state.tables import Blocks, Delta, Tables, Words, words_of


class DeltaSink(Protocol):
    """A destination for a state that comes in many parts, from several threads."""

    def begin(self) -> None:
        """Start a state. Parts put before belonged to an attempt that did not end, and count no longer."""

    def put(self, age: int, part: Delta) -> None:
        """Write blocks, each only where no newer one has been written. The part is read before this returns.

        Args:
            age: 0 for parts of the newest delta, `OLDEST` at most. If parts of one age have blocks in common, the first
                one put stays.
            part: some blocks.

        Raises:
            CorruptDelta: it does not fit.
        """


OLDEST = 2**16 - 2
"""Largest age."""


class TableWriter:
    """A `DeltaSink` that writes into empty tables. It marks nothing.

    >>> from stream.state.tables import TableDelta, TableSpec
    >>> spec = TableSpec("counts", rows=4, dtype=np.dtype([("n", "<f4", (4,))]), block_bytes=16)
    >>> block = lambda number, byte: TableDelta(np.array([number], np.uint32), np.full((1, 16), byte, np.uint8))
    >>> tables = Tables([spec])
    >>> put_all(TableWriter(tables), [{"counts": block(2, 9)}, {"counts": block(2, 1)}, {"counts": block(3, 1)}])
    >>> tables["counts"].raw()[:, 0].tolist()
    [0, 0, 9, 1]
    """

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._locks = {name: threading.Lock() for name in tables}
        self._ages: dict[str, NDArray[np.uint16]] = {}

    def begin(self) -> None:
        for name, ages in self._ages.items():  # the attempt before may have written blocks that the state doesn't have
            self._tables[name].raw()[ages != 0] = 0
        self._ages = {name: np.zeros(table.spec.blocks, np.uint16) for name, table in self._tables.items()}

    def put(self, age: int, part: Delta) -> None:
        self._tables.check(part)
        for name, blocks in part.items():
            table = words_of(self._tables[name].raw())
            with self._locks[name]:
                put_newer(table, self._ages[name], age, blocks.blocks, words_of(blocks.data))


def put_all(sink: DeltaSink, pieces: Iterable[Delta]) -> None:
    """Write a state that is given by deltas, newest first."""
    sink.begin()
    for age, piece in enumerate(pieces):
        sink.put(age, piece)


@compiled
def put_newer(table: Words, ages: NDArray[np.uint16], age: int, blocks: Blocks, data: Words) -> None:
    """Copy each block to its place unless a newer one is there. `ages` holds age + 1; 0 means never written."""
    for at in range(blocks.size):
        block = blocks[at]
        if ages[block] == 0 or ages[block] > age + 1:
            ages[block] = age + 1
            for word in range(table.shape[1]):
                table[block, word] = data[at, word]
