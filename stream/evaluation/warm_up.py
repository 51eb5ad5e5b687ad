"""Warm-up of evaluations: a history of twenty clicks is evaluated, so that every kernel of an evaluation is compiled.

This file decides what `corrente compile` runs of this room.
"""

from __future__ import annotations

import numpy as np

from stream.evaluation.protocol import EvaluationProtocol
from stream.evaluation.replay.history import history_of
from stream.evaluation.replay.run import evaluate
from stream.ingest.files.dataset import Coded, Dataset
from stream.models.model import Model
from stream.models.query import Query
from stream.models.settings import ModelSettings
from stream.shard.shard import Shard


def compile_kernels(settings: ModelSettings) -> None:
    """Compile what `corrente evaluate` calls, and a model that is used as a library."""
    small = settings.model_copy(
        update={"max_items": 256, "max_visitors": 256, "max_sessions": 256, "max_event_ids": 256}
    )
    evaluate(history_of(small_history(), "small"), EvaluationProtocol(warmup=0.5), small)
    model: Model = Shard(small).model()
    model.popular(5)
    model.popular(5, half_life="2h")
    model.recommend(Query(user="ada", session="visit", recent=["teapot"], exclude_seen=True))
    model.recommend(Query(user="ada", candidates=["teapot"]))
    model.similar("teapot", 5)


def small_history() -> Dataset:
    """Twenty clicks of two visitors on five items."""
    events = np.arange(20, dtype=np.int32)
    return Dataset(
        (1_700_000_000 + 60.0 * events).astype(np.float64),
        Coded(events % 5, [f"item {number}" for number in range(5)]),
        Coded(np.zeros(20, np.int32), ["click"]),
        Coded(events % 2, ["ada", "bob"]),
        None,
    )
