"""Warm-up before the first request: a model that has learned nothing gets each kind of question once.

This file decides what is compiled, or read from the compilers' cache, before a server says that it is ready.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from serving.loading.shard_memory import ShardMemory
from stream.catalogue.columns import Change
from stream.catalogue.filters import Filter
from stream.catalogue.item import Item
from stream.catalogue.snapshot import Catalogue, Served
from stream.models.model import Model
from stream.models.query import Query
from stream.models.schema import table_specs
from stream.models.settings import ModelSettings
from stream.models.workspace.scoring_view import reader_of
from stream.state.codec import decode_delta, encode_delta
from stream.state.folding import fold_all
from stream.state.table_writer import put_all
from stream.state.tables import TableDelta


def warm_up(model: Model) -> None:
    """Ask each kind of question once, so that no visitor waits while kernels are compiled or read from disk."""
    items = model.popular(5).items or ["an item"]  # a model that has learned nothing looks for items, too
    model.popular(5, half_life="2h")
    model.recommend(Query(user="nobody", session="nothing", recent=items, exclude_seen=True))
    model.recommend(Query(user="nobody", candidates=items))
    model.similar(items[0], 5)
    model.explain(Query(user="nobody", recent=items))
    model.names(np.zeros(1, np.int64))
    catalogue = Catalogue()
    catalogue.apply([Change(item, 1, Item(tags=["a tag"])) for item in items], 1)
    allowed = catalogue.view(Filter(tags=("a tag",)), Served("", "", model)).allowed
    assert allowed is not None
    model.recommend(Query(user="nobody", recent=items, n=len(items) + 1), allowed)
    allowed.compare_counts(reader_of(model.views))


def compile_kernels(_: ModelSettings) -> None:
    """Compile what a server calls (`corrente compile`)."""
    warm_up(empty_model())


def empty_model() -> Model:
    """A model that has learned nothing; the code that kernels are compiled to does not depend on the rows.

    It is loaded from made-up pieces in both ways in which versions are kept (whole and as changes), so that everything
    that a first version needs is compiled or read from disk.
    """
    settings = ModelSettings(max_items=64, max_visitors=64, max_sessions=64, max_event_ids=64)
    memory = ShardMemory(table_specs(settings))
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
