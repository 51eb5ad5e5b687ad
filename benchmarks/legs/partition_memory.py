"""Memory of a worker and a server that hold the same history, from topics of one partition and of twelve.

The topics are filled first. A worker as it is shipped learns all of them as one shard, a server follows its versions,
and when both are done and lists were requested, their resident memory is read. What the worker buffered while it caught
up is a part of that, unless it has given the memory back.

This file decides what is learned and when memory is read. `benchmarks.legs.memory` measures what several server
processes share, and how memory develops over time.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from benchmarks.harness.events import fill_topics, load_events
from benchmarks.harness.processes import (
    SERVER,
    WORKER,
    check_running,
    learned,
    metrics,
    request_json,
    resident_bytes,
    running,
    served_version,
    total,
    worker_settings,
)
from benchmarks.harness.servers import KafkaServer, RedisServer, free_port
from benchmarks.harness.waiting import wait_until

PARTITIONS = (1, 12)
EVENTS = 400_000
LISTS = 200
"""Lists that are requested before memory is read."""

LOOKS = 5
LOOK_SECONDS = 0.5
PATIENCE_SECONDS = 300.0


def memories(
    kafka: KafkaServer, redis: RedisServer, folder: Path, runs: int, progress: Callable[[str], None]
) -> dict[str, list[float]]:
    """Megabytes of each run, by `worker_mb_N_partitions` and `server_mb_N_partitions`.

    Args:
        kafka, redis: running servers.
        folder: for logs.
        runs: number of repetitions.
        progress: is called with one line of text for each step.
    """
    names = {n: {topic: f"memory-{n}-{topic}" for topic in ("clicks", "purchases", "feedback")} for n in PARTITIONS}
    for partitions, topics in names.items():
        asyncio.run(fill_topics(kafka.bootstrap, topics, partitions, load_events(EVENTS)))
    values: dict[str, list[float]] = {}
    for run in range(1, runs + 1):
        for partitions, topics in names.items():
            found = measure_memory(kafka, redis, folder, f"memory-{partitions}-{run}", topics, EVENTS)
            values.setdefault(f"worker_mb_{partitions}_partitions", []).append(found.worker)
            values.setdefault(f"server_mb_{partitions}_partitions", []).append(found.server)
            described = f"worker {found.worker:,.0f} MB, server {found.server:,.0f} MB"
            progress(f"run {run}  {partitions} partitions: {described}")
    return values


class Memory(NamedTuple):
    """Resident megabytes of the two processes."""

    worker: float
    server: float


def measure_memory(
    kafka: KafkaServer, redis: RedisServer, folder: Path, name: str, topics: Mapping[str, str], events: int
) -> Memory:
    """Memory after a worker has learned these topics and a server serves the newest version.

    Args:
        kafka, redis: running servers.
        folder: for logs.
        name: of a model that Redis doesn't have yet.
        topics: our name of each filled topic to Kafka's.
        events: number of events in them.
    """
    port, server_port = free_port(), free_port()
    logs = folder / f"worker-{name}.log", folder / f"server-{name}.log"
    settings = worker_settings(kafka.bootstrap, redis.url, name, port, topics=topics)
    with ExitStack() as stack:
        server_settings = {**settings, "CORRENTE_LOG_LEVEL": "warning"}
        serve = [*SERVER, "--port", str(server_port)]
        server = stack.enter_context(running(serve, server_settings, logs[1]))
        worker = stack.enter_context(running(WORKER, settings, logs[0]))

        def caught_up() -> bool:
            check_running(worker, logs[0])
            check_running(server, logs[1])
            page = metrics(port)
            newest = total(page, "corrente_worker_version")
            unpublished = total(page, "corrente_worker_unpublished_records")
            return learned(page) >= events and not unpublished and served_version(server_port) == newest

        wait_until(caught_up, f"{events} events to be learned and served", PATIENCE_SECONDS, every=0.2)
        for number in range(LISTS):
            request_json(server_port, "GET", f"/v1/recommendations/visitor-{number}")
        looks = []
        for _ in range(LOOKS):
            time.sleep(LOOK_SECONDS)
            looks.append((resident_bytes(worker.pid), resident_bytes(server.pid)))
    return Memory(*(statistics.median(each) / 1e6 for each in zip(*looks, strict=True)))
