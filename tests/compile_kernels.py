"""Compile everything that workers and servers call, so that no test waits while a child process compiles it.

    python -m tests.compile_kernels

Compiled kernels lie beside their modules and every later process reads them from there. On a fresh checkout that takes
minutes, and afterwards a few seconds.
"""

from __future__ import annotations

import numpy as np

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


if __name__ == "__main__":
    main()
