"""Writing a state that comes in many pieces, in any order and from several threads: of each block the newest stays.

A state is a keyframe and the deltas after it, some hundred pieces. Folding them first would take as much memory again
as the state has, and memory that nobody has touched yet takes longer to get than the folding.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Protocol

import numba as nb
import numpy as np
from numpy.typing import NDArray

from stream.state.tables import Blocks, Delta, Tables, Words, words_of


class DeltaSink(Protocol):
    """Where a state is written that comes in many pieces, from several threads."""

    def begin(self) -> None:
        """All pieces come now; what came before was not all."""

    def put(self, age: int, piece: Delta) -> None:
        """Write blocks, each only where no newer one has been written. The piece is read before this returns.

        Args:
            age: 0 for the newest pieces, `OLDEST` at most. Of pieces of the same age that have blocks in common the
                first one stays.
            piece: some blocks.

        Raises:
            CorruptDelta: it does not fit.
        """


OLDEST = 2**16 - 2
"""The largest age."""


class TableWriter:
    """Empty tables that a state is written into (a `DeltaSink`). Nothing is marked.

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
        for name, ages in self._ages.items():  # what had been written may be no part of the state
            self._tables[name].raw()[ages != 0] = 0
        self._ages = {name: np.zeros(table.spec.blocks, np.uint16) for name, table in self._tables.items()}

    def put(self, age: int, piece: Delta) -> None:
        self._tables.check(piece)
        for name, part in piece.items():
            with self._locks[name]:
                put_newer(words_of(self._tables[name].raw()), self._ages[name], age, part.blocks, words_of(part.data))


def put_all(destination: DeltaSink, pieces: Iterable[Delta]) -> None:
    """Write a state that is given by deltas, newest first."""
    destination.begin()
    for age, piece in enumerate(pieces):
        destination.put(age, piece)


@nb.njit(cache=True, nogil=True)
def put_newer(table: Words, ages: NDArray[np.uint16], age: int, blocks: Blocks, data: Words) -> None:
    """Copy each block to its place unless a newer one is there. `ages` are larger by one; 0 where nothing is."""
    for at in range(blocks.size):
        block = blocks[at]
        if ages[block] == 0 or ages[block] > age + 1:
            ages[block] = age + 1
            for word in range(table.shape[1]):
                table[block, word] = data[at, word]
