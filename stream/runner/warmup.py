"""Compiles, or loads from Numba's cache on disk, everything that learning calls, before it is needed.

A worker that joined its group first would hold up its partitions while it compiles. This file learns a few made-up
events with a shard that is thrown away; it decides nothing else.

River is no part of it. Importing it takes a CPU second, nearly as much as everything else that a worker imports (any
one of its packages that are used here imports scipy.stats or sqlalchemy, and more), and only lessons need it. So a
worker imports it when it has caught up, and until then tests no events.
"""

from __future__ import annotations

import importlib
import time

import numpy as np

from stream.ingest.decoding import Decoder
from stream.ingest.records import Record
from stream.models.learning.learner import TEST, UPDATE, Learner
from stream.models.schema import table_specs
from stream.models.settings import ModelSettings
from stream.shard.shard import Shard
from stream.state.codec import decode_delta, encode_delta
from stream.state.folding import fold_all
from stream.state.table_writer import TableWriter, put_all
from stream.state.tables import Tables

_EVENTS = {
    "clicks": b'{"item": "item %d", "user": "visitor %d", "session": "session %d", "event_id": "%d"}',
    "purchases": b'{"item": "item %d", "user": "visitor %d", "session": "session %d", "event_id": "p%d"}',
    "feedback": b'{"item": "item %d", "user": "visitor %d", "session": "s %d", "event_id": "f%d", "kind": "rating", '
    b'"value": 4}',
}


def warm_up(settings: ModelSettings) -> float:
    """Gives the seconds it took."""
    started = time.monotonic()
    small = settings.model_copy(
        update={"max_items": 256, "max_visitors": 256, "max_sessions": 256, "max_event_ids": 256}
    )
    shard, learner, decoder = Shard(small), Learner(small), Decoder(small, None, 300.0)
    cuts = []
    for round_number in range(4):
        records = [
            Record(topic, round_number * 40 + n, 1_700_000_000_000 + n * 1000, form % (n % 7, n % 5, n % 11, n), None)
            for topic, form in _EVENTS.items()
            for n in range(40)
        ]
        shard.apply(records, 0.0)
        cuts.append(shard.checkpoint().delta)
        columns = decoder.decode(records)[0]
        learner.walk(columns._replace(tested=np.full(len(records), TEST | UPDATE, np.uint8)))
    read = [decode_delta(encode_delta(cut, planes=planes)) for cut in cuts for planes in (False, True)]
    fold_all([*cuts, *read])  # as learned, and as read from Redis
    tables = Tables(table_specs(small))
    put_all(TableWriter(tables), [*read, shard.snapshot().delta])
    Shard.restore(small, tables, shard.snapshot().state).apply([], 0.0)
    return time.monotonic() - started


def import_river() -> None:
    """What lessons and detectors need of River."""
    for part in ("drift", "linear_model", "optim", "preprocessing", "reco", "utils"):
        importlib.import_module(f"river.{part}")
