"""Several versions in memory at the cost of their differences.

For each table there is one flat buffer of rows, the *arena*, and for each resident version an *index*: logical row →
arena row. A delta writes new copies of the rows it touches and a new index; rows that it doesn't touch are shared.
Arena row 0 is all zeros and stands for every row that was never written.

Versions are freed by reference counting: rows become free when the last index that names them is collected, that is,
when the last request that reads them has ended. A reader needs no lock and never sees a row change: it keeps the views
it was given for as long as it reads (the arrays themselves, not copies of an index).

One thread at a time writes to a table; a lock enforces it. The buffers are reserved as address space and cost memory
only where rows were written.

This file decides how a version of several tables is written, whole or as changes. The place of each row is decided by
`serving.memory.table_arena`; which versions are resident is decided by the holders of their views.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from serving.memory.pages import Allocate, allocate_small_pages
from serving.memory.table_arena import TableArena, TableLoad, TableView, Usage
from stream.state.table_writer import DeltaSink
from stream.state.tables import CorruptDelta, Delta, TableSpec

Views = dict[str, TableView]
"""A version: (arena rows, index) by table name. Row r of a table is `data[index[r]]`."""


class Arena:
    """The rows of all resident versions of one shard.

    Args:
        specs: shapes of the tables.
        without: names of further tables, whose blocks are left out of every version: no reader needs them.
        allocate: source of the memory: small or large pages of this process, or segments that processes share.

    >>> import numpy as np
    >>> from stream.state.tables import TableDelta
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

    def __init__(
        self,
        specs: Iterable[TableSpec],
        *,
        without: Collection[str] = (),
        allocate: Allocate = allocate_small_pages,
    ) -> None:
        self._without = frozenset(without)
        self._tables = {spec.name: TableArena(spec, allocate) for spec in specs}

    def load(self, read: Callable[[DeltaSink], object], like: Views | None = None) -> Views:
        """A version made from everything that was ever written.

        Args:
            read: writes a state to the sink that it is given.
            like: a resident version that has much in common with it. Rows that are equal are shared, so that a state
                whose changes are not known costs its differences, too.

        Raises:
            CorruptDelta: the blocks do not fit these tables; and whatever `read` raises. Nothing was changed then.
        """
        loads = {name: table.begin_load(like[name] if like else None) for name, table in self._tables.items()}
        try:
            read(_LoadSink(loads, self._check))
            return {name: load.finish() for name, load in loads.items()}
        except BaseException:
            for load in loads.values():
                load.give_up()
            raise
        finally:
            for table in self._tables.values():
                table.end_load()

    def apply(self, base: Views, delta: Delta) -> Views:
        """The version that differs from `base` by `delta`. `base` stays as it is.

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
            if name in self._without:
                continue
            if name not in self._tables:
                raise CorruptDelta(f"the delta has a table {name!r}; this model has {', '.join(self._tables)}")
            self._tables[name].spec.check(part)

    def usage(self) -> dict[str, Usage]:
        """Rows and indexes in use by table, after freeing those that no version needs any more."""
        return {name: table.usage() for name, table in self._tables.items()}


class _LoadSink:
    """A version that is being written (a `DeltaSink`): each delta is checked and split by table."""

    def __init__(self, tables: dict[str, TableLoad], check: Callable[[Delta], None]) -> None:
        self._tables = tables
        self._check = check

    def begin(self) -> None:
        for table in self._tables.values():
            table.begin()

    def put(self, age: int, piece: Delta) -> None:
        self._check(piece)
        for name, part in piece.items():
            if name in self._tables:
                self._tables[name].put(age, part)
