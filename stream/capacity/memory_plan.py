"""The memory plan of a size: bytes of all tables with every row written, for worker and server.

Tables are bounded by their capacities, so the plan is what a process grows to and never beyond. Pages that were never
written cost nothing, so a shop that has not filled its capacities takes less, in proportion. The program itself, with
everything it imports and compiles, comes on top (`PROGRAM_BYTES`).

This file decides how memory is added up. Shapes and capacities are decided in `stream.models.schema`; `corrente bench
scale` measures the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from stream.models.schema import EVICTION_SAMPLE, ID_CELLS, LEARNING_ONLY, table_specs
from stream.models.settings import ModelSettings
from stream.state.tables import TableSpec

PROGRAM_BYTES = 350_000_000
"""Memory of Python with NumPy, Numba and River, and the compiled kernels: measured, not computed."""

INDEX_BYTES = 4
"""Bytes per row of a version in serving: its place in the arena."""

CELL_BYTES = 4
"""Bytes per cell of a hash index. An index has a power of two of cells, at least twice as many as rows."""

INDEXED = ("items", "visitors", "sessions")
"""Tables whose rows are found by their key, in the learner and in serving."""

SCRATCH_BYTES = 1
"""Bytes per row of a table that evicts: a flag."""

PLANNED_NAME_CELLS = 2
"""Cells of a name that are planned for: ids of up to 56 bytes. The table has room for longer ones, which take 32 bytes
for each further 28."""


@dataclass(frozen=True)
class MemoryPlan:
    """Largest memory, in bytes, by its use.

    Attributes:
        settings: of each shard: all items, and its part of the visitors and sessions.
        shards: number of partitions.
        worker: of one shard in its worker: `tables`, `marks`, `directories`, `scratch`.
        server: of all shards in one server: `rows`, `indexes` of two versions, `directories`, and for more than one
            shard the `merged` tables that answer.
        per_item, per_visitor: bytes of a row of everything that each of them has, the shortest runs included.
    """

    settings: ModelSettings
    shards: int
    worker: dict[str, int]
    server: dict[str, int]
    per_item: int
    per_visitor: int

    @property
    def worker_bytes(self) -> int:
        """One shard in its worker, without the program."""
        return sum(self.worker.values())

    @property
    def server_bytes(self) -> int:
        """All shards in one server process, without the program."""
        return sum(self.server.values())


def plan_memory(visitors: int, items: int, shards: int = 1, settings: ModelSettings | None = None) -> MemoryPlan:
    """The memory for a number of visitors and items.

    Args:
        visitors, items: to remember, over all shards.
        shards: partitions of the topics. Each has every item and its part of the visitors.
        settings: of the model, whose capacities for items, visitors and sessions are replaced.

    >>> one, eight = plan_memory(1_000_000, 100_000), plan_memory(1_000_000, 100_000, shards=8)
    >>> eight.worker_bytes < one.worker_bytes        # an eighth of the visitors, and every item
    True
    """
    per_shard = max(64, -(-visitors // shards))
    planned = (settings or ModelSettings()).model_copy(
        update={"max_items": max(64, items), "max_visitors": per_shard, "max_sessions": per_shard}
    )
    specs = _written_specs(planned)
    read = [spec for spec in specs if spec.name not in LEARNING_ONLY]
    hash_indexes = _hash_index_bytes(planned)
    worker = {
        "tables": _bytes_of(specs),
        "marks": sum(spec.blocks for spec in specs),
        "directories": hash_indexes + CELL_BYTES * _cells(planned.max_event_ids),
        "scratch": SCRATCH_BYTES * (planned.max_items + planned.max_visitors) + 8 * EVICTION_SAMPLE,
    }
    server = {
        "rows": shards * _bytes_of(read),
        "indexes": shards * 2 * INDEX_BYTES * sum(spec.rows for spec in read),
        "directories": shards * hash_indexes,
    }
    if shards > 1:
        whole = planned.model_copy(update={"max_visitors": max(64, visitors), "max_sessions": max(64, visitors)})
        server["merged"] = _bytes_of(_written_specs(whole)) + _hash_index_bytes(whole)
    more_items = {"max_items": planned.max_items + 1000}
    more_visitors = {"max_visitors": planned.max_visitors + 1000, "max_sessions": planned.max_sessions + 1000}
    per_item, per_visitor = (
        round((_bytes_of(_written_specs(planned.model_copy(update=more))) - _bytes_of(specs)) / 1000)
        for more in (more_items, more_visitors)
    )
    return MemoryPlan(planned, shards, worker, server, per_item, per_visitor)


def _written_specs(settings: ModelSettings) -> list[TableSpec]:
    """The tables with the rows that are written at most, if names are as long as planned."""
    return [
        replace(spec, rows=-(-spec.rows * PLANNED_NAME_CELLS // ID_CELLS)) if spec.name == "names" else spec
        for spec in table_specs(settings)
    ]


def _bytes_of(specs: Iterable[TableSpec]) -> int:
    return sum(spec.rows * spec.row_bytes for spec in specs)


def _hash_index_bytes(settings: ModelSettings) -> int:
    specs = {spec.name: spec for spec in _written_specs(settings)}
    return sum(CELL_BYTES * _cells(specs[name].rows) for name in INDEXED)


def _cells(rows: int) -> int:
    return 1 << max(6, int(rows * 2 - 1).bit_length())
