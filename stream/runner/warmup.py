"""Warm-up: every kernel that learning calls is compiled, or loaded from Numba's cache on disk, before it is needed.

A worker that joined its group first would hold up its partitions while it compiles. The warm-up learns a few synthetic
events with a shard that is thrown away.

This file decides which code runs before a worker joins its group, and which is imported later. River is imported later:
it takes a CPU second, nearly as much as everything else that a worker imports (each of its packages that are used here
imports scipy.stats or sqlalchemy, and more), and only tested events need it. A worker imports it when it has caught up,
and until then tests no events.
"""

from __future__ import annotations

import importlib
import sys
import time
from types import ModuleType
from typing import cast

import numpy as np

from stream.ingest.decoding import Decoder
from stream.ingest.records import Record
from stream.models.learning.event_loop import TEST, UPDATE
from stream.models.learning.learner import Learner
from stream.models.merging.merge import merged
from stream.models.schema import table_specs
from stream.models.settings import ModelSettings
from stream.shard.shard import Shard
from stream.state.codec import decode_delta, encode_delta
from stream.state.folding import fold_all
from stream.state.table_writer import TableWriter, put_all
from stream.state.tables import Tables
from stream.values import RatingScale

_EVENTS = {
    "clicks": b'{"item": "item %d", "user": "visitor %d", "session": "session %d", "event_id": "%d"}',
    "purchases": b'{"item": "item %d", "user": "visitor %d", "session": "session %d", "event_id": "p%d"}',
    "feedback": b'{"item": "item %d", "user": "visitor %d", "session": "s %d", "event_id": "f%d", "kind": "rating", '
    b'"value": 4}',
}


def warm_up(settings: ModelSettings) -> float:
    """Run every kernel once with tables of these settings, but small; return the seconds that this took."""
    started = time.monotonic()
    sizes = {"max_items": 256, "max_visitors": 256, "max_sessions": 256, "max_event_ids": 256}
    # All of the events here are learned, whatever the settings reject.
    small = settings.model_copy(update={**sizes, "null_ids": (), "rating_scale": RatingScale()._asdict()})
    shard, learner, decoder = Shard(small), Learner(small), Decoder(small, None, 300.0)
    checkpoints = []
    for round_number in range(4):
        records = [
            Record(topic, round_number * 40 + n, 1_700_000_000_000 + n * 1000, form % (n % 7, n % 5, n % 11, n), None)
            for topic, form in _EVENTS.items()
            for n in range(40)
        ]
        shard.apply(records, 0.0)
        checkpoints.append(shard.checkpoint().delta)
        shard.tables.check_finite(checkpoints[-1])
        events = decoder.decode(records)[0]
        outcomes = learner.walk(events._replace(tested=np.full(len(records), TEST | UPDATE, np.uint8)))
        learner.rows_of(events, 0)
        learner.prequential.add(outcomes.greater, outcomes.equal)
    learner.prequential.metrics()
    read = [decode_delta(encode_delta(delta, planes=planes)) for delta in checkpoints for planes in (False, True)]
    fold_all([*checkpoints, *read])  # as learned, and as read from Redis
    tables = Tables(table_specs(small))
    put_all(TableWriter(tables), [*read, shard.snapshot().delta])
    Shard.restore(small, tables, shard.snapshot().state).apply([], 0.0)
    return time.monotonic() - started


def compile_kernels(settings: ModelSettings) -> None:
    """Compile what a worker and the merging of shards call (`corrente compile`)."""
    warm_up(settings)
    small = settings.model_copy(
        update={"max_items": 256, "max_visitors": 256, "max_sessions": 256, "max_event_ids": 256}
    )
    views = {
        partition: {
            name: (table.data, np.arange(table.spec.rows, dtype=np.int32))
            for name, table in Shard(small, partition=partition, shards=2).tables.items()
        }
        for partition in range(2)
    }
    merged(small, views)


NOT_NEEDED = ("sklearn", "sqlalchemy")
"""Packages that River imports, for readers of other data, where something else has installed them."""


def import_river() -> None:
    """Import the packages of River that tested events and drift detectors need, and nothing that is `NOT_NEEDED`.

    SQLAlchemy would take a quarter of its time. River goes on without it, and is then without its reader of databases.
    """
    absent = [name for name in NOT_NEEDED if sys.modules.setdefault(name, cast(ModuleType, None)) is None]
    try:
        for part in ("drift", "linear_model", "optim", "preprocessing", "reco", "utils"):
            importlib.import_module(f"river.{part}")
    finally:
        for name in absent:
            del sys.modules[name]
