"""From Kafka to learned tables: events a second through the worker with everything on, beside three baselines.

Each run has a Kafka and a Redis of its own data, topics that were filled before anything is measured, and one process
that is measured, whose counter is read from outside while it works. The pace is taken from the first counted event to
the last, so that starting up is in no figure.

This file decides what is measured and how. The load is in `benchmarks.events`, the baselines in `benchmarks.baselines`.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from benchmarks.events import load_events, preload
from benchmarks.machine import machine
from benchmarks.processes import TOPIC_NAMES, WORKER, cpu_seconds, learned, metrics, running, tests, worker_settings
from benchmarks.servers import KafkaServer, RedisServer, free_port

PARTITIONS = 4
PATIENCE_SECONDS = 300.0


class Pace(NamedTuple):
    """How fast one run was."""

    events_per_second: float
    events_per_cpu_second: float


@dataclass
class Measured:
    """All runs of everything, by name."""

    paces: dict[str, list[Pace]] = field(default_factory=dict)

    def median(self, name: str) -> float:
        return statistics.median(pace.events_per_second for pace in self.paces[name])


def measure(runs: int, events: int, slow_events: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """The JSON object of `corrente bench ingest`.

    Args:
        runs: of everything.
        events: how many are in the topics; the worker and raw aiokafka read all of them.
        slow_events: how many of them the plain Faust agent reads, and how many BiasedMF learns.
        tell: is told what happens.
    """
    measured = Measured()
    with tempfile.TemporaryDirectory(prefix="corrente-bench-") as folder, _servers(Path(folder)) as (kafka, redis):
        tell(f"filling topics with {events:,} events")
        asyncio.run(_fill(kafka, events))
        for run in range(1, runs + 1):
            for name, pace in _one_run(run, kafka, redis, Path(folder), events, slow_events):
                measured.paces.setdefault(name, []).append(pace)
                tell(f"run {run}  {name:<22}{pace.events_per_second:>12,.0f} events/s")
    ours = measured.median("corrente worker")
    return {
        "leg": "ingest",
        "machine": machine(),
        "runs": runs,
        "events": events,
        "figures": {
            "events_per_second": round(ours),
            "events_per_cpu_second": round(
                statistics.median(pace.events_per_cpu_second for pace in measured.paces["corrente worker"])
            ),
            "plain_faust_agent": round(measured.median("plain Faust agent")),
            "raw_aiokafka": round(measured.median("raw aiokafka")),
            "river_biasedmf": round(measured.median("River BiasedMF")),
        },
        "spread": {
            name: [
                round(min(pace.events_per_second for pace in paces)),
                round(max(pace.events_per_second for pace in paces)),
            ]
            for name, paces in measured.paces.items()
        },
        "ratios": {
            "to_plain_faust_agent": round(ours / measured.median("plain Faust agent"), 2),
            "to_raw_aiokafka": round(ours / measured.median("raw aiokafka"), 3),
            "to_river_biasedmf": round(ours / measured.median("River BiasedMF"), 2),
        },
    }


def _one_run(
    run: int, kafka: KafkaServer, redis: RedisServer, folder: Path, events: int, slow_events: int
) -> Iterator[tuple[str, Pace]]:
    topics = list(TOPIC_NAMES.values())
    yield "corrente worker", _worker_pace(run, kafka, redis, folder, events)
    yield "raw aiokafka", _counted_pace("raw_aiokafka", [kafka.bootstrap, f"raw-{run}", str(events), *topics])
    yield (
        "plain Faust agent",
        _counted_pace("plain_faust", [kafka.bootstrap, f"plain-{run}", str(slow_events), *topics]),
    )
    yield "River BiasedMF", _counted_pace("river_biasedmf", [str(slow_events)])


@contextmanager
def _servers(folder: Path) -> Iterator[tuple[KafkaServer, RedisServer]]:
    kafka, redis = KafkaServer(folder / "kafka"), RedisServer(folder / "redis")
    try:
        yield kafka.start(), redis.start()
    finally:
        kafka.stop(kill=True)
        redis.stop(kill=True)


async def _fill(kafka: KafkaServer, events: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        # The events have times of their own, and Kafka would soon remove what is old by them.
        kept = {"retention.ms": "-1"}
        await admin.create_topics([NewTopic(name, PARTITIONS, 1, topic_configs=kept) for name in TOPIC_NAMES.values()])
    finally:
        await admin.close()
    await preload(kafka.bootstrap, TOPIC_NAMES, PARTITIONS, load_events(events))


def _worker_pace(run: int, kafka: KafkaServer, redis: RedisServer, folder: Path, events: int) -> Pace:
    port = free_port()
    settings = worker_settings(kafka.bootstrap, redis.url, str(run), port)
    with running(WORKER, settings, folder / f"worker-{run}.log") as it:
        points = list(_watch(it, lambda: _learned_in_full_work(port, events), events))
    if len(points) < 2:
        raise RuntimeError(f"all {events} events were learned before any was tested; take more")
    return _pace(points)


def _learned_in_full_work(port: int, events: int) -> int:
    """0 until a third is learned and events are tested, too.

    The first ones are cheaper, because tables are small and none is tested until River is imported, and while it is,
    importing takes half of the cores.
    """
    samples = metrics(port)
    count = learned(samples)
    return count if (count >= events / 3 and tests(samples)) or count >= events else 0


def _counted_pace(module: str, arguments: list[str]) -> Pace:
    started = os.times()
    finished = subprocess.run(  # noqa: S603  our own module
        [sys.executable, "-m", f"benchmarks.baselines.{module}", *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    ended = os.times()
    lines = [line.split() for line in finished.stdout.splitlines() if line.startswith("pace ")]
    points = [(float(seconds), int(count), 0.0) for _, seconds, count in lines]
    if len(points) < 2:
        raise RuntimeError(f"{module} counted nothing:\n{finished.stdout[-1000:]}{finished.stderr[-2000:]}")
    cpu = ended.children_user + ended.children_system - started.children_user - started.children_system
    first, last = points[0], points[-1]
    return Pace((last[1] - first[1]) / (last[0] - first[0]), last[1] / cpu)


def _watch(
    process: subprocess.Popen[bytes], learned: Callable[[], int], most: int
) -> Iterator[tuple[float, int, float]]:
    """(seconds, events, CPU seconds) from the first event to the last."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the worker ended with {process.returncode}")
        count = learned()
        if count:
            yield time.monotonic(), count, cpu_seconds(process.pid)
        if count >= most:
            return
        time.sleep(0.05)
    raise TimeoutError(f"{most} events were not learned within {PATIENCE_SECONDS:.0f} seconds")


def _pace(points: list[tuple[float, int, float]]) -> Pace:
    first, last = points[0], points[-1]
    count = last[1] - first[1]
    return Pace(count / (last[0] - first[0]), count / max(last[2] - first[2], 1e-9))
