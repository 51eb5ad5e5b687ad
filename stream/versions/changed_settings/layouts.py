"""Tables for a state that is about to be read.

A state says which capacities it has. One of an earlier release doesn't; no worker of those releases went on with other
capacities, so it has those of its version's settings.

This file decides which shapes the tables have into which a state is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stream.models.migration.layout import learned_settings, stored_specs
from stream.models.settings import ModelSettings
from stream.models.state_names import Names
from stream.state.tables import Tables, TableSpec
from stream.versions.manifest import ShardState, Version
from stream.versions.salt import comparable
from stream.versions.store import VersionStore


def specs_of(settings: ModelSettings, version: Version, state: ShardState, names: Names) -> list[TableSpec]:
    """Shapes of the tables of a state.

    Args:
        settings: of this process.
        version: that has the state, or a later one of the same settings.
        state: of one of its shards.
        names: that the state carries.
    """
    return stored_specs(learned_settings(settings, state.layout, comparable(version.settings)), names)


def tables_for(store: VersionStore, settings: ModelSettings, version: Version, shard: int, state: ShardState) -> Tables:
    """Empty tables into which a state can be read.

    Args:
        store: of the version.
        settings, version, state: as for `specs_of`.
        shard: number of the shard.

    Raises:
        UnknownVersion: the state is no longer kept.
        WrongNames: this process can't bring its names to its own.
    """
    return Tables(specs_of(settings, version, state, store.names(shard, state)))


def layout_known(version: Version, state: ShardState) -> Mapping[str, Any]:
    """Settings that the tables of a state were made with, by name."""
    return {**comparable(version.settings), **state.layout}
