"""The cost of more workers, more partitions, more items and more shards, and of losing a worker.

- **Workers, shards and partitions.** Topics are filled first, and the producer is gone. One worker, and two of one
  group, learn the same events of 4 partitions as 4 shards; one worker learns them as one shard from 1, 4 and 8
  partitions. Pace and CPU time are taken of the last two thirds, and only while every worker learns and tests, so that
  neither start-up nor the first rebalance is in them, and the same events are compared: the first ones cost less,
  because histories are short. Two workers share the machine with the broker, so the ratio that counts is the one by CPU
  time; the one by the clock is beside it.
- **Memory of partitions**: `benchmarks.legs.partition_memory`. **Takeover**: `benchmarks.legs.takeover`.
- **Items and memory.** Models of 10,000, 100,000 and a million visitors and items, each in a process of its own
  (`benchmarks.legs.large_model`): CPU time of learning one more event, and memory of learner and server beside the
  bytes that `stream.capacity.memory_plan` computes. 10 million visitors and a million items are only computed.
- **Shards.** The same events learned by one shard and by eight, each loaded as a server loads them; CPU time of the
  same requests on both.

This file decides the cases and the part of each run that is measured.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka.partitioner import murmur2

from benchmarks.harness.events import fill_topics, load_events
from benchmarks.harness.machine import machine
from benchmarks.harness.processes import (
    WORKER,
    check_running,
    cpu_seconds,
    learned,
    metrics,
    running,
    tests,
    worker_settings,
)
from benchmarks.harness.servers import KafkaServer, RedisServer, free_port, running_servers
from benchmarks.legs.partition_memory import memories
from benchmarks.legs.takeover import takeovers
from serving.loading.shard_memory import ShardMemory, model_of
from stream.capacity.memory_plan import plan_memory
from stream.ingest.records import Record
from stream.models.model import Model
from stream.models.query import Query
from stream.models.schema import table_specs
from stream.models.settings import ModelSettings
from stream.models.state_names import TODAY
from stream.shard.shard import Shard

PARTITIONS = (1, 4, 8)
WORKER_SHARDS = 4
"""Shards of the runs that compare two workers with one."""
LARGE_MODELS = {"10k": 10_000, "100k": 100_000, "1m": 1_000_000}
SHARDS = 8
SHARD_EVENTS = 200_000
SHARD_ITEMS = 20_000
SHARD_VISITORS = 20_000
ANSWERS = 2_000
BATCH = 4096
PATIENCE_SECONDS = 300.0


def measure(runs: int, events: int, progress: Callable[[str], None]) -> dict[str, Any]:
    """The JSON object of `corrente bench scale`.

    Args:
        runs: number of repetitions of everything but large models, which are measured once at each size.
        events: number of events in the topics of each number of partitions.
        progress: is called with one line of text for each step.

    Raises:
        MissingServer: Kafka or redis-server can't be had on this machine.
    """
    values: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="corrente-bench-") as temporary, ExitStack() as stack:
        folder = Path(temporary)
        kafka, redis = stack.enter_context(running_servers(folder))
        for partitions in PARTITIONS:
            progress(f"filling topics of {partitions} partitions with {events:,} events")
            asyncio.run(fill_topics(kafka.bootstrap, _names(partitions), partitions, load_events(events)))
        cases = {
            "two_workers": Case(4, WORKER_SHARDS, 2),
            "one_worker": Case(4, WORKER_SHARDS, 1),
            **{f"{partitions}_partitions": Case(partitions, 1, 1) for partitions in PARTITIONS},
        }
        for run in range(1, runs + 1):
            for name, case in cases.items():
                pace, by_cpu, first = _pace(kafka, redis, folder, f"{name}-{run}", case, events)
                values.setdefault(f"{name}_events_per_second", []).append(pace)
                values.setdefault(f"{name}_events_per_cpu_second", []).append(by_cpu)
                values.setdefault("start_to_first_event_seconds", []).append(first)
                progress(
                    f"run {run}  {name:<14}{pace:>10,.0f} events/s {by_cpu:>10,.0f} per CPU second, "
                    f"first event after {first:.1f} s"
                )
        values |= memories(kafka, redis, folder, runs, progress)
        values["takeover_seconds"] = takeovers(kafka, redis, folder, runs, progress)
    one, eight = _models()
    for run in range(1, runs + 1):
        for name, model in (("1_shard", one), (f"{SHARDS}_shards", eight)):
            values.setdefault(f"request_microseconds_{name}", []).append(_answer_microseconds(model))
        progress(
            f"run {run}  " + "  ".join(f"{name} {each[-1]:.0f}" for name, each in values.items() if "request" in name)
        )
    del one, eight
    large = {name: _large_model(number, progress) for name, number in LARGE_MODELS.items()}
    return _result(runs, events, values, large)


def _result(
    runs: int, events: int, values: dict[str, list[float]], large: dict[str, dict[str, float]]
) -> dict[str, Any]:
    medians = {name: statistics.median(each) for name, each in values.items()}
    figures = {name: round(value, 2 if name == "takeover_seconds" else 1) for name, value in medians.items()}
    for name, found in large.items():
        figures[f"learn_microseconds_{name}"] = round(found["microseconds"], 2)
        figures[f"worker_mb_{name}"] = round(found["worker_bytes"] / 1e6)
        figures[f"server_mb_{name}"] = round(found["server_bytes"] / 1e6)
    planned = plan_memory(10_000_000, 1_000_000)
    figures["program_mb"] = round(large["1m"]["program_bytes"] / 1e6)
    figures["worker_gb_planned_10m_visitors_1m_items"] = round(planned.worker_bytes / 1e9, 2)
    figures["server_gb_planned_10m_visitors_1m_items"] = round(planned.server_bytes / 1e9, 2)

    def ratio(one: str, other: str) -> float:
        return round(medians[one] / medians[other], 3)

    return {
        "leg": "scale",
        "machine": machine(),
        "runs": runs,
        "events": events,
        "figures": figures,
        "spread": {name: [round(min(each), 2), round(max(each), 2)] for name, each in values.items()},
        "ratios": {
            "two_workers_per_cpu_second": ratio(
                "two_workers_events_per_cpu_second", "one_worker_events_per_cpu_second"
            ),
            "two_workers_wall": ratio("two_workers_events_per_second", "one_worker_events_per_second"),
            "worker_memory_12_partitions": ratio("worker_mb_12_partitions", "worker_mb_1_partitions"),
            "server_memory_12_partitions": ratio("server_mb_12_partitions", "server_mb_1_partitions"),
            "8_partitions_to_1_per_cpu_second": ratio(
                "8_partitions_events_per_cpu_second", "1_partitions_events_per_cpu_second"
            ),
            "4_partitions_to_1_per_cpu_second": ratio(
                "4_partitions_events_per_cpu_second", "1_partitions_events_per_cpu_second"
            ),
            "learn_1m_to_10k": round(large["1m"]["microseconds"] / large["10k"]["microseconds"], 3),
            "request_8_shards": ratio(f"request_microseconds_{SHARDS}_shards", "request_microseconds_1_shard"),
            "worker_memory_to_computed_1m": round(large["1m"]["worker_bytes"] / large["1m"]["worker_computed"], 3),
            "server_memory_to_computed_1m": round(large["1m"]["server_bytes"] / large["1m"]["server_computed"], 3),
        },
    }


# ---- workers, shards and partitions


class Case(NamedTuple):
    """Number of partitions of each topic, of shards that they are learned as, and of workers."""

    partitions: int
    shards: int
    workers: int


def _names(partitions: int) -> dict[str, str]:
    return {topic: f"scale-{partitions}-{topic}" for topic in ("clicks", "purchases", "feedback")}


def _pace(
    kafka: KafkaServer, redis: RedisServer, folder: Path, name: str, case: Case, events: int
) -> tuple[float, float, float]:
    """Run workers on filled topics; events per second, per CPU second, and seconds until every worker has learned."""
    topics = _names(case.partitions)
    with ExitStack() as stack:
        ports = [free_port() for _ in range(case.workers)]
        logs = [folder / f"{name}-{worker}.log" for worker in range(case.workers)]
        settings = [
            worker_settings(kafka.bootstrap, redis.url, name, port, topics=topics, shards=case.shards) for port in ports
        ]
        processes = [stack.enter_context(running(WORKER, own, log)) for own, log in zip(settings, logs, strict=True)]
        started = time.monotonic()
        first: tuple[float, int, float] | None = None
        begun = 0.0
        while time.monotonic() - started < PATIENCE_SECONDS:
            for process, log in zip(processes, logs, strict=True):
                check_running(process, log)
            pages = [metrics(port) for port in ports]
            counts = [learned(page) for page in pages]
            now = time.monotonic(), sum(counts), sum(cpu_seconds(process.pid) for process in processes)
            if not begun and all(counts):
                begun = now[0] - started
            if first is None and sum(counts) >= events / 3 and all(tests(page) for page in pages):
                first = now
            if now[1] >= events:
                if first is None:
                    raise RuntimeError(
                        f"all {events} events were learned before every worker tested any; use more --events"
                    )
                count, cpu = now[1] - first[1], now[2] - first[2]
                return count / (now[0] - first[0]), count / cpu, begun
            time.sleep(0.02)
    raise TimeoutError(f"{events} events were not learned within {PATIENCE_SECONDS:.0f} seconds")


# ---- large models


def _large_model(number: int, progress: Callable[[str], None]) -> dict[str, float]:
    run = subprocess.run(  # noqa: S603  our own module
        [sys.executable, "-m", "benchmarks.legs.large_model", str(number)], capture_output=True, text=True, check=True
    )
    found: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    progress(
        f"{number:>9,} visitors and items: {found['microseconds']:.2f} us an event, "
        f"worker {found['worker_bytes'] / 1e6:,.0f} MB (computed {found['worker_computed'] / 1e6:,.0f}), "
        f"server {found['server_bytes'] / 1e6:,.0f} MB (computed {found['server_computed'] / 1e6:,.0f})"
    )
    return found


# ---- shards


def _models() -> tuple[Model, Model]:
    """The model of one shard, and the merged model of eight shards of the same events."""
    settings = ModelSettings(
        max_items=2 * SHARD_ITEMS, max_visitors=2 * SHARD_VISITORS, max_sessions=2 * SHARD_VISITORS
    )
    return _model(settings, 1), _model(settings, SHARDS)


def _model(settings: ModelSettings, shards: int) -> Model:
    learners = [Shard(settings, partition=number, shards=shards) for number in range(shards)]
    batches: list[list[Record]] = [[] for _ in learners]
    for offset, event in enumerate(load_events(SHARD_EVENTS, visitors=SHARD_VISITORS, items=SHARD_ITEMS)):
        number = (murmur2(event.key) & 0x7FFFFFFF) % shards
        batches[number].append(Record(event.topic, offset, event.timestamp_ms, event.value, event.key))
        if len(batches[number]) == BATCH:
            learners[number].apply(batches[number], rate=0.05)
            batches[number] = []
    for shard, batch in zip(learners, batches, strict=True):
        shard.apply(batch, rate=0.05)
    memories = {number: ShardMemory(table_specs(settings)) for number in range(shards)}
    views = {number: memories[number].apply({}, shard.snapshot().delta) for number, shard in enumerate(learners)}
    return model_of(settings, views, memories, dict.fromkeys(views, TODAY))


def _answer_microseconds(model: Model) -> float:
    queries = [Query(user=f"visitor-{number % SHARD_VISITORS}") for number in range(ANSWERS)]
    model.recommend(queries[0])
    started = time.thread_time()
    for query in queries:
        model.recommend(query)
    return 1e6 * (time.thread_time() - started) / ANSWERS
