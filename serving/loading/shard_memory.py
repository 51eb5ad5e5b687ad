"""One shard's versions in memory: an arena of rows, and hints that lead to a visitor or an item in them.

This file decides which hints accompany the rows, so that a model can answer from them, and how a model is made of
several shards. The choice of versions to keep is made by `serving.loading.loader`.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from serving.memory.arena import Arena, Views
from serving.memory.pages import Allocate, allocate_small_pages
from serving.memory.table_arena import TableView
from stream.models.kernels.key_hints import KeyHints
from stream.models.merging.merge import merged
from stream.models.migration.columns import reorder_views
from stream.models.model import Model
from stream.models.schema import LEARNING_ONLY
from stream.models.settings import ModelSettings
from stream.models.state_names import Names
from stream.models.workspace.scoring_view import views_of
from stream.state.table_writer import DeltaSink
from stream.state.tables import Delta, TableSpec

WeakView = tuple[weakref.ref[np.ndarray], weakref.ref[np.ndarray]]
"""A `TableView` that keeps nothing alive."""


class ShardMemory:
    """Memory that all versions of one shard share whose tables have equal shapes.

    Tables that learning alone reads (`LEARNING_ONLY`) are left out.

    Args:
        specs: shapes of the tables.
        allocate: source of the memory.
    """

    def __init__(self, specs: Sequence[TableSpec], allocate: Allocate = allocate_small_pages) -> None:
        read = [spec for spec in specs if spec.name not in LEARNING_ONLY]
        self._arena = Arena(read, without=LEARNING_ONLY, allocate=allocate)
        self._allocate = allocate
        self._blocks_per_row = {spec.name: spec.blocks_per_row for spec in read}
        self.hints: dict[str, KeyHints] = {}
        self._in_use: dict[str, list[WeakView]] = {}
        """Tables of every version, so that a version that is in use keeps its hints whatever comes after it."""

    def load(self, read: Callable[[DeltaSink], object], like: Views | None = None) -> Views:
        """A state made from everything that was ever written, sharing rows that are equal with `like`.

        Raises:
            CorruptDelta: the blocks do not fit the tables; and whatever `read` raises.
        """
        views = self._arena.load(read, like)
        for name in Model.HINTED:
            index = views[name][1]
            self._add_hint(name, views, np.flatnonzero(index if like is None else index != like[name][1]))
        return views

    def apply(self, base: Views, changes: Delta) -> Views:
        """A state made from an older one, which stays as it is.

        Raises:
            CorruptDelta: the blocks do not fit the tables.
        """
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
        in_use = self._in_use.setdefault(name, [])
        if name not in self.hints:
            self.hints[name] = KeyHints(*views[name], self._allocate)
        elif len(rows):
            self.hints[name].add(*views[name], rows, lambda: _alive(in_use))
        in_use[:] = [each for each in in_use if each[1]() is not None]
        in_use.append((weakref.ref(views[name][0]), weakref.ref(views[name][1])))


def _alive(views: list[WeakView]) -> Iterator[TableView]:
    """Those tables of versions that are still in use."""
    for weak_data, weak_index in views:
        data, index = weak_data(), weak_index()
        if data is not None and index is not None:
            yield data, index


def model_of(
    settings: ModelSettings,
    views: Mapping[int, Views],
    memories: Mapping[int, ShardMemory],
    names: Mapping[int, Names],
    allocate: Allocate | None = None,
) -> Model:
    """The model that answers from the shards' states.

    Several shards are merged once, so that a request costs the same however many there are; a single shard is read in
    place. Weights of other features, or in another order, are copied into this program's order; `views` keep that in
    which deltas arrive.

    Args:
        settings: of the model.
        views: state by shard.
        memories: by shard; they have the hints.
        names: by shard, of what the places in its tables stand for.
        allocate: source of the memory of merged tables and of copies; None leaves them where they were made.
    """
    ordered = {partition: reorder_views(each, names[partition]) for partition, each in views.items()}
    if len(views) == 1:
        ((partition, only),) = ordered.items()
        if allocate is not None:
            kept = views[partition]
            moved = {name: _moved_view(view, allocate) for name, view in only.items() if view is not kept.get(name)}
            only = {**only, **moved}
        return Model(settings, only, hints=memories[partition].hints)
    together: Views = views_of(merged(settings, ordered))
    if allocate is not None:
        together = {name: _moved_view(view, allocate) for name, view in together.items()}
    return Model(settings, together, hints={name: KeyHints(*together[name], allocate) for name in Model.HINTED})


def _moved_view(view: TableView, allocate: Allocate) -> TableView:
    """A copy of a table's rows and index in other memory."""
    data, index = view
    return _moved(data, allocate), _moved(index, allocate)


def _moved(array: np.ndarray, allocate: Allocate) -> np.ndarray:
    """A copy of an array in other memory."""
    moved = allocate("merged", array.nbytes).view(array.dtype).reshape(array.shape)
    moved[...] = array
    return moved
