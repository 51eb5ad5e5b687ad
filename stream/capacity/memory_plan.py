"""How much memory a planned size takes, from the sizes of rows: `corrente size --visitors … --items … --shards …`.

Tables are bounded by their capacities, so what is computed here is what a process grows to and never beyond: every row
written. Pages that were never written cost nothing, so a shop that has not filled its capacities takes less, in
proportion. The program itself, with everything it imports and compiles, comes on top (`PROGRAM_BYTES`).

This file decides how memory is added up. Shapes and capacities are decided in `stream.models.schema`; the measurement
beside it is `corrente bench scale`.
"""

from __future__ import annotations

from dataclasses import dataclass

from stream.models.schema import table_specs
from stream.models.settings import ModelSettings

PROGRAM_BYTES = 350_000_000
"""Python with NumPy, Numba and River, and the compiled kernels: measured, not computed."""

INDEX_BYTES = 4
"""Of a row in a version that serving holds: where in the arena it lies."""

CELL_BYTES = 4
"""Of a place in a directory. Directories are a power of two of places, at least twice as many as rows."""

FOUND = ("items", "visitors", "sessions")
"""Tables whose rows are found by their key, in the learner and in serving."""

SCRATCH_BYTES = 9
"""A row of the largest table that evicts: a flag and a number."""


@dataclass(frozen=True)
class Size:
    """Bytes at most, by what they are for.

    Attributes:
        settings: of each shard: all items, and its part of the visitors and sessions.
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


def size(visitors: int, items: int, shards: int = 1, settings: ModelSettings | None = None) -> Size:
    """What is needed for so many visitors and items.

    >>> one, eight = size(1_000_000, 100_000), size(1_000_000, 100_000, shards=8)
    >>> eight.worker_bytes < one.worker_bytes        # an eighth of the visitors, and every item
    True
    """
    plan = settings or ModelSettings()
    per_shard = max(64, -(-visitors // shards))
    planned = plan.model_copy(
        update={"max_items": max(64, items), "max_visitors": per_shard, "max_sessions": per_shard}
    )
    tables = marks = rows = 0
    for spec in table_specs(planned):
        tables += spec.rows * spec.row_bytes
        marks += spec.blocks
        rows += spec.rows
    directories = _directories(planned)
    worker = {
        "tables": tables,
        "marks": marks,
        "directories": directories + CELL_BYTES * _places(planned.max_event_ids),
        "scratch": SCRATCH_BYTES * max(planned.max_items, planned.max_visitors),
    }
    server = {"rows": shards * tables, "indexes": shards * 2 * INDEX_BYTES * rows, "directories": shards * directories}
    if shards > 1:
        whole = planned.model_copy(update={"max_visitors": max(64, visitors), "max_sessions": max(64, visitors)})
        server["merged"] = sum(spec.rows * spec.row_bytes for spec in table_specs(whole)) + _directories(whole)
    few, more = size_of_rows(planned), size_of_rows(planned.model_copy(update={"max_items": planned.max_items + 1000}))
    visitor = size_of_rows(
        planned.model_copy(
            update={"max_visitors": planned.max_visitors + 1000, "max_sessions": planned.max_sessions + 1000}
        )
    )
    return Size(planned, shards, worker, server, round((more - few) / 1000), round((visitor - few) / 1000))


def size_of_rows(settings: ModelSettings) -> int:
    """Bytes of all tables with these capacities."""
    return sum(spec.rows * spec.row_bytes for spec in table_specs(settings))


def _directories(settings: ModelSettings) -> int:
    specs = {spec.name: spec for spec in table_specs(settings)}
    return sum(CELL_BYTES * _places(specs[name].rows) for name in FOUND)


def _places(rows: int) -> int:
    return 1 << max(6, int(rows * 2 - 1).bit_length())
