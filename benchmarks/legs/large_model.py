"""A model of a given number of visitors and items, in a process of its own: its memory, and the time to learn an event.

Every item and every visitor has events; the shard's capacities are exactly what is needed. One JSON object is printed:
resident bytes of this process before the shard, bytes that the shard and serving's copy of it added, the bytes that
`stream.capacity.memory_plan` computes for them, and CPU microseconds to learn one more event, decoding left out.

This file decides how such a model is filled and when memory is read.

    python -m benchmarks.legs.large_model SIZE
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time

from benchmarks.harness.events import load_events
from benchmarks.harness.processes import resident_bytes
from serving.loading.shard_memory import ShardMemory
from stream.capacity.memory_plan import plan_memory
from stream.ingest.decoding import Decoder
from stream.ingest.records import Record
from stream.models.batch import EventBatch
from stream.models.learning.learner import Learner
from stream.models.schema import table_specs
from stream.models.settings import ModelSettings
from stream.runner.warmup import warm_up

EVENTS_EACH = 4
LAST_EVENTS = 200_000
BATCH = 20_000


def main(number: int) -> None:
    settings = ModelSettings(max_items=number, max_visitors=number, max_sessions=number)
    warm_up(settings)
    decoder = Decoder(settings)
    before = _resident()
    learner = Learner(settings)
    count = EVENTS_EACH * number + LAST_EVENTS
    batch: list[Record] = []
    last: list[EventBatch] = []
    for at, event in enumerate(load_events(count, visitors=number, items=number), 1):
        batch.append(Record("clicks", at, event.timestamp_ms, event.value))
        if len(batch) == BATCH or at == count:
            columns, _, letters = decoder.decode(batch)
            assert not letters, letters[0].reason
            if at > count - LAST_EVENTS:
                last.append(columns)
            else:
                learner.learn(columns)
            batch = []
    started = time.thread_time()
    for columns in last:
        learner.learn(columns)
    microseconds = 1e6 * (time.thread_time() - started) / LAST_EVENTS
    last.clear()
    with_learner = _resident()
    whole = learner.tables.snapshot()
    del learner
    kept = _resident()
    memory = ShardMemory(table_specs(settings))
    views = memory.apply({}, whole)
    with_server = _resident()
    computed = plan_memory(number, number, settings=settings)
    print(
        json.dumps(
            {
                "microseconds": microseconds,
                "worker_bytes": with_learner - before,
                "worker_computed": computed.worker_bytes,
                "server_bytes": with_server - kept,
                "server_computed": computed.server_bytes,
                "arena_bytes": memory.nbytes,
                "program_bytes": before,
                "tables": len(views),
            }
        )
    )


def _resident() -> int:
    gc.collect()
    return resident_bytes(os.getpid())


if __name__ == "__main__":
    main(int(sys.argv[1]))
