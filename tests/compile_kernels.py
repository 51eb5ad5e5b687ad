"""Compile what workers, servers and evaluations call, so that no test compiles it or waits for a child that does.

    python -m tests.compile_kernels

Compiled kernels lie beside their modules and every later process reads them from there. On a fresh checkout that takes
minutes, and afterwards a few seconds. A test that compiled them would take a third longer for it, because coverage
traces the compiler.
"""

from __future__ import annotations

import numpy as np

from serving.loading.warm_up import empty_model
from serving.loading.warm_up import warm_up as warm_up_server
from stream.evaluation import EvaluationProtocol, evaluate, history_of
from stream.ingest.files import Coded, Dataset
from stream.models.merging.merge import merged
from stream.models.model import Model
from stream.models.query import Query
from stream.models.settings import ModelSettings
from stream.runner.warmup import warm_up
from stream.shard.shard import Shard


def main() -> None:
    settings = ModelSettings(max_items=256, max_visitors=256, max_sessions=256, max_event_ids=256)
    warm_up(settings)
    views = {
        partition: {
            name: (table.data, np.arange(table.spec.rows, dtype=np.int32))
            for name, table in Shard(settings, partition=partition, shards=2).tables.items()
        }
        for partition in range(2)
    }
    merged(settings, views)
    model: Model = Shard(settings).model()
    model.popular(5)
    model.popular(5, half_life="2h")
    model.recommend(Query(user="ada", session="visit", recent=["teapot"], exclude_seen=True))
    model.recommend(Query(user="ada", candidates=["teapot"]))
    model.similar("teapot", 5)
    warm_up_server(empty_model())
    evaluate(history_of(small_history(), "small"), EvaluationProtocol(warmup=0.5), settings)


def small_history() -> Dataset:
    """Twenty clicks of two visitors on five items."""
    events = np.arange(20, dtype=np.int32)
    return Dataset(
        1_700_000_000 + 60.0 * events,
        Coded(events % 5, [f"item {number}" for number in range(5)]),
        Coded(np.zeros(20, np.int32), ["click"]),
        Coded(events % 2, ["ada", "bob"]),
        None,
    )


if __name__ == "__main__":
    main()
