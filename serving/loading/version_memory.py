"""From a version in the store to a model in memory, by the cheapest way.

If an older version with tables of the same shapes is in memory, only what changed since is fetched. Otherwise the whole
state is fetched, and rows that are equal with the nearest resident version are shared all the same.

This file decides how a version is loaded and which versions share memory. The choice of versions to load and to keep is
made by `serving.loading.loader`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

from serving.loading.served import LoadedVersion
from serving.loading.shard_memory import ShardMemory, model_of
from serving.memory.arena import Views
from serving.memory.pages import Allocate, allocate_large_pages, allocate_small_pages
from stream.models.settings import ModelSettings
from stream.models.state_names import Names
from stream.state.tables import TableSpec
from stream.versions import ShardState, Version, VersionStore, settings_of
from stream.versions.changed_settings.layouts import specs_of

How = Literal["changes", "whole"]
"""Label of the metrics: every shard was made from an older one, or at least one was fetched whole."""

Resident = tuple[ShardState, Views]
"""A shard's state in memory."""


class MemoryKey(NamedTuple):
    """Versions with equal keys share memory: one shard, tables of equal shapes."""

    partition: int
    specs: tuple[TableSpec, ...]
    only_shard: bool
    """Requests read the memory of a version's only shard; several shards are merged, and requests read the result."""


class VersionMemory:
    """Loads versions, into memory that they share.

    Args:
        store: of versions.
        visitor_salt: of the model, which manifests don't carry.
        allocate: source of the memory that requests read; large pages of this process if None.
    """

    def __init__(self, store: VersionStore, visitor_salt: str, allocate: Allocate | None) -> None:
        self._store = store
        self._visitor_salt = visitor_salt
        self._allocate = allocate
        self._memories: dict[MemoryKey, ShardMemory] = {}
        self._settings: tuple[Mapping[str, Any], ModelSettings] | None = None
        self._specs: dict[int, tuple[Mapping[str, Any], Mapping[str, Any], Names, list[TableSpec]]] = {}

    @property
    def nbytes(self) -> int:
        """Bytes of rows and indexes that some version needs."""
        return sum(memory.nbytes for memory in self._memories.values())

    def load(self, version: Version, residents: Sequence[LoadedVersion]) -> tuple[LoadedVersion, How]:
        """A version in memory, and how it came there.

        Args:
            version: as the store describes it.
            residents: versions that are in memory now.

        Raises:
            VersionError, CorruptDelta, ValueError: the version can't be read (ValueError: its settings are unknown).
            RedisError: the store does not answer.
        """
        settings = self._settings_of(version)
        only_shard = len(version.shards) == 1
        views: dict[int, Views] = {}
        memories: dict[int, ShardMemory] = {}
        names = {partition: self._store.names(partition, state) for partition, state in version.shards.items()}
        how: How = "changes"
        for partition, state in sorted(version.shards.items()):
            specs = self._specs_of(settings, version, state, names[partition], partition)
            memory = memories[partition] = self._memory(partition, specs, only_shard=only_shard)
            states = [
                (each.version.shards[partition], each.views[partition])
                for each in residents
                if each.memories.get(partition) is memory
            ]
            found = self._changed(partition, state, memory, states)
            if found is None:
                how = "whole"
                found = memory.load(partial(self._store.load, partition, state), _nearest(state, states))
            views[partition] = found
        model = model_of(settings, views, memories, names, self._allocate)
        return LoadedVersion(version, model, views, memories), how

    def forget_unused(self, residents: Sequence[LoadedVersion]) -> None:
        """Free the memories that none of these versions uses."""
        used = {id(memory) for each in residents for memory in each.memories.values()}
        self._memories = {key: memory for key, memory in self._memories.items() if id(memory) in used}

    def _settings_of(self, version: Version) -> ModelSettings:
        """The settings of a version; most versions have those of the one before, which are not checked twice."""
        if self._settings is None or self._settings[0] != version.settings:
            self._settings = version.settings, settings_of(version.settings, self._visitor_salt)
        return self._settings[1]

    def _specs_of(
        self, settings: ModelSettings, version: Version, state: ShardState, names: Names, partition: int
    ) -> list[TableSpec]:
        """Shapes of a shard's tables; most states have those of the state before."""
        made_from = (version.settings, state.layout, names)
        known = self._specs.get(partition)
        if known is None or known[:3] != made_from:
            known = self._specs[partition] = (*made_from, specs_of(settings, version, state, names))
        return known[3]

    def _memory(self, partition: int, specs: Sequence[TableSpec], *, only_shard: bool) -> ShardMemory:
        """The memory of a shard's versions.

        If there are several shards, requests read the merged tables instead, so small private pages do.
        """
        key = MemoryKey(partition, tuple(specs), only_shard)
        if key not in self._memories:
            allocate = (self._allocate or allocate_large_pages) if only_shard else allocate_small_pages
            self._memories[key] = ShardMemory(specs, allocate)
        return self._memories[key]

    def _changed(
        self, partition: int, state: ShardState, memory: ShardMemory, residents: Sequence[Resident]
    ) -> Views | None:
        """A shard's state made from the nearest older one in memory; None if that is not possible."""
        older = [found for found in residents if found[0].seq <= state.seq]
        if not older:
            return None
        base, views = max(older, key=lambda found: found[0].seq)
        changes = self._store.changes(partition, base, state)
        return None if changes is None else memory.apply(views, changes)


def _nearest(state: ShardState, residents: Sequence[Resident]) -> Views | None:
    """The state in memory that is likely to have most in common with this one."""
    return min(residents, key=lambda found: abs(found[0].seq - state.seq))[1] if residents else None
