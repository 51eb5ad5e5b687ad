"""One shard's versions in memory: an arena of rows, and where to find a visitor or an item in them.

This file decides what is kept beside the rows so that a model can answer from them. Which versions are kept is decided
by the loader.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from serving.memory.arena import Arena, Views
from serving.memory.pages import Allocate, private_memory
from stream.models.kernels.key_hints import KeyHints
from stream.models.merging.merge import merged
from stream.models.model import Model
from stream.models.schema import table_specs
from stream.models.settings import ModelSettings
from stream.state.codec import decode_delta, encode_delta
from stream.state.folding import fold_all
from stream.state.table_writer import DeltaSink, put_all
from stream.state.tables import Delta, TableDelta


class ShardMemory:
    """Memory that all versions of one shard with the same settings share."""

    def __init__(self, settings: ModelSettings, allocate: Allocate = private_memory) -> None:
        specs = table_specs(settings)
        self._arena = Arena(specs, allocate=allocate)
        self._allocate = allocate
        self._blocks_per_row = {spec.name: spec.blocks_per_row for spec in specs}
        self.hints: dict[str, KeyHints] = {}

    def load(self, read: Callable[[DeltaSink], object], like: Views | None = None) -> Views:
        """A state from everything that was ever written, sharing what is equal with `like`."""
        views = self._arena.load(read, like)
        for name in Model.HINTED:
            index = views[name][1]
            self._add_hint(name, views, np.flatnonzero(index if like is None else index != like[name][1]))
        return views

    def apply(self, base: Views, changes: Delta) -> Views:
        """A state from an older one, which stays what it is."""
        views = self._arena.apply(base, changes)
        for name in Model.HINTED:
            blocks = changes[name].blocks if name in changes else np.empty(0, np.uint32)
            self._add_hint(name, views, np.unique(blocks // self._blocks_per_row[name]))
        return views

    @property
    def nbytes(self) -> int:
        """Bytes of rows and indexes that some version needs."""
        return sum(usage.nbytes for usage in self._arena.usage().values())

    def _add_hint(self, name: str, views: Views, rows: np.ndarray) -> None:
        if name not in self.hints:
            self.hints[name] = KeyHints(*views[name], self._allocate)
        elif len(rows):
            self.hints[name].add(*views[name], rows)


def empty_model() -> Model:
    """A model that has learned nothing: what kernels are compiled for does not depend on the rows.

    It is loaded from made-up pieces in both ways in which versions are kept, so that whatever a first version needs is
    compiled or read from the disk.
    """
    settings = ModelSettings(max_items=64, max_visitors=64, max_sessions=64, max_event_ids=64)
    memory = ShardMemory(settings)
    nothing = {
        spec.name: TableDelta(np.arange(2, dtype=np.uint32), np.zeros((2, spec.block_bytes), np.uint8))
        for spec in table_specs(settings)
        if spec.blocks > 1
    }
    views = None
    for planes in (False, True):
        piece = decode_delta(encode_delta(nothing, planes=planes))
        views = memory.load(partial(put_all, pieces=[piece]), views)
    assert views is not None
    return Model(settings, memory.apply(views, fold_all([nothing, nothing])), hints=memory.hints)


def model_of(
    settings: ModelSettings,
    views: Mapping[int, Views],
    memories: Mapping[int, ShardMemory],
    allocate: Allocate | None = None,
) -> Model:
    """What answers from the shards' states.

    Several shards are merged here and now, so that a request costs the same however many there are; one shard is read
    where it lies.
    """
    if len(views) == 1:
        ((partition, only),) = views.items()
        return Model(settings, only, hints=memories[partition].hints)
    together: Views = {}
    for name, table in merged(settings, views).items():
        data, index = table.data, np.arange(table.spec.rows, dtype=np.int32)
        if allocate is not None:
            data, index = _moved(data, allocate), _moved(index, allocate)
        together[name] = (data, index)
    return Model(settings, together, hints={name: KeyHints(*together[name], allocate) for name in Model.HINTED})


def _moved(array: np.ndarray, allocate: Allocate) -> np.ndarray:
    """A copy of an array in other memory."""
    moved = allocate("merged", array.nbytes).view(array.dtype).reshape(array.shape)
    moved[...] = array
    return moved
