"""Tables to restore a shard from, without a store."""

from __future__ import annotations

from stream.models.schema import table_specs
from stream.models.settings import ModelSettings
from stream.state.tables import Delta, Tables


def tables_of(settings: ModelSettings, *deltas: Delta) -> Tables:
    """What these deltas give, one after the other."""
    tables = Tables(table_specs(settings))
    for delta in deltas:
        tables.write(delta)
    return tables
