"""Events per second from Kafka to learned tables through the worker with everything on, beside three baselines.

All runs have one Kafka, with topics that were filled before anything is measured, and one measured process at a time,
whose counter is read from outside while it works. The pace is taken from the first counted event to the last, so that
start-up is in no figure. The same events lie in topics of one partition too: a worker learns from these right before or
after the other one, in turn, so that the ratio of the two doesn't depend on what else the machine does.

With a mapping, the same events lie in further topics under a producer's names, and a worker reads them by a flat
mapping. With Avro, they lie in further topics in Confluent's wire format, with a schema registry beside. These workers
and one for the events as they are learn at the same time, in turn (`benchmarks.legs.in_turn`).

This file decides what is measured and how. The load is in `benchmarks.harness.events`, the baselines are in
`benchmarks.baselines`.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.harness.avro_events import AvroEvents
from benchmarks.harness.background import background
from benchmarks.harness.events import LoadEvent, fill_topics, load_events
from benchmarks.harness.machine import machine
from benchmarks.harness.processes import (
    TOPIC_NAMES,
    WORKER,
    cpu_seconds,
    learned,
    metrics,
    running,
    total,
    worker_settings,
)
from benchmarks.harness.servers import KafkaServer, RedisServer, free_port, running_servers
from benchmarks.harness.waiting import wait_until
from benchmarks.legs.in_turn import InTurn, ratio, run_in_turn

PATIENCE_SECONDS = 300.0
READY_SECONDS = 120.0
"""Longest time from the start of a worker until it has imported River."""

AFTERWARDS = 1_000
"""Events a second when the worker has caught up."""
SETTLE_SECONDS = 1.0
"""Seconds of that load in which the backlog's last version is published."""
AFTERWARDS_SECONDS = 3.0
"""Seconds of that load in which versions are counted."""


OURS, OURS_ONE, MAPPED = "corrente worker", "the same, 1 partition", "the same, mapped"
IN_AVRO = "the same, in Avro"
"""Names of the worker's runs: on the topics that are asked for, on topics of one partition, with a mapping, in Avro."""

PRODUCERS_NAMES = {"item": "product_id", "user": "customer", "timestamp": "at", "event_id": "id", "kind": "action"}
"""Names of fields of the records that are mapped."""

_FIELDS = "item: product_id, user: customer, timestamp: at, event_id: id"
MAPPING = f"""
topics:
  clicks:
    fields: {{{_FIELDS}}}
  purchases:
    fields: {{{_FIELDS}, quantity: quantity, price: price, currency: currency}}
  feedback:
    kind: cart
    fields: {{{_FIELDS}}}
"""
"""The flat mapping that reads them."""


class Pace(NamedTuple):
    """Speed of one run."""

    events_per_second: float
    events_per_cpu_second: float


@dataclass
class Measured:
    """Results of all runs, by the name of the program and of the figure."""

    paces: dict[str, list[Pace]] = field(default_factory=dict)
    caught_up: dict[str, list[float]] = field(default_factory=dict)
    in_turn: list[dict[str, InTurn]] = field(default_factory=list)

    def median(self, name: str) -> float:
        return statistics.median(pace.events_per_second for pace in self.paces[name])

    def median_by_cpu(self, name: str) -> float:
        return statistics.median(pace.events_per_cpu_second for pace in self.paces[name])


class Topics(NamedTuple):
    """Filled topics: our names to Kafka's, their number of partitions, and of the shards that learn from them.

    Attributes:
        mapped: True if their records have a producer's names.
        avro: True if their records are in Avro.
    """

    names: Mapping[str, str]
    partitions: int
    shards: int
    mapped: bool = False
    avro: bool = False


def measure(
    runs: int,
    events: int,
    slow_events: int,
    partitions: int,
    shards: int,
    progress: Callable[[str], None],
    *,
    mapping: bool = False,
    avro: bool = False,
) -> dict[str, Any]:
    """The JSON object of `corrente bench ingest`.

    Args:
        runs: number of repetitions.
        events: number of events in the topics; the worker and raw aiokafka read all of them.
        slow_events: number of them that the plain Faust agent reads and BiasedMF learns.
        partitions: number of partitions of each topic.
        shards: number of shards that the worker learns them as.
        progress: is called with one line of text for each step.
        mapping: True to measure a worker with a flat mapping, too.
        avro: True to measure a worker that reads Avro, too.

    Raises:
        MissingServer: Kafka or redis-server can't be had on this machine.
    """
    measured = Measured()
    several = Topics(TOPIC_NAMES, partitions, shards)
    one = several if partitions == 1 else Topics({topic: f"{name}-1" for topic, name in TOPIC_NAMES.items()}, 1, 1)
    with (
        tempfile.TemporaryDirectory(prefix="corrente-bench-") as folder,
        running_servers(Path(folder)) as (kafka, redis),
        AvroEvents() as in_avro,
    ):
        cases = {OURS: several} | ({} if one is several else {OURS_ONE: one})
        if mapping:
            names = {topic: f"{name}-mapped" for topic, name in TOPIC_NAMES.items()}
            cases[MAPPED] = Topics(names, partitions, shards, mapped=True)
            Path(folder, "mapping.yaml").write_text(MAPPING, encoding="utf-8")
        if avro:
            names = {topic: f"{name}-avro" for topic, name in TOPIC_NAMES.items()}
            cases[IN_AVRO] = Topics(names, partitions, shards, avro=True)
        for topics in cases.values():
            progress(f"filling topics of {topics.partitions} partitions with {events:,} events")
            load = load_events(events)
            load = map(_as_producers_write, load) if topics.mapped else load
            load = map(in_avro.of, load) if topics.avro else load
            asyncio.run(fill_topics(kafka.bootstrap, topics.names, topics.partitions, iter(load)))
        for run in range(1, runs + 1):
            for name, pace, more in _one_run(run, kafka, redis, Path(folder), cases, events, slow_events):
                measured.paces.setdefault(name, []).append(pace)
                for figure, value in more.items():
                    measured.caught_up.setdefault(figure, []).append(value)
                progress(f"run {run}  {name:<22}{pace.events_per_second:>12,.0f} events/s")
            if mapping or avro:
                found = _in_turn(run, kafka, redis, Path(folder), cases, events, in_avro.registry.url)
                measured.in_turn.append(found)
                for name, each in found.items():
                    progress(f"run {run}  in turn, {name:<22}{each.events_per_second:>12,.0f} events/s")
    return _result(runs, events, several, measured)


def _result(runs: int, events: int, topics: Topics, measured: Measured) -> dict[str, Any]:
    ours = measured.median(OURS)
    same = OURS_ONE if OURS_ONE in measured.paces else OURS
    in_turn, others = measured.in_turn, {}
    if in_turn and MAPPED in in_turn[0]:
        others["mapped_to_unmapped"] = ratio(in_turn, MAPPED, OURS, "events_per_second")
        others["mapped_to_unmapped_by_cpu"] = ratio(in_turn, MAPPED, OURS, "events_per_cpu_second")
    if in_turn and IN_AVRO in in_turn[0]:
        others["avro_cpu_an_event_to_json"] = ratio(in_turn, OURS, IN_AVRO, "events_per_cpu_second")
    one, by_cpu = measured.median(same), measured.median_by_cpu(OURS)
    return {
        "leg": "ingest",
        "machine": machine(),
        "runs": runs,
        "events": events,
        "partitions": topics.partitions,
        "shards": topics.shards,
        "figures": {
            "events_per_second": round(ours),
            "events_per_cpu_second": round(by_cpu),
            "events_per_second_1_partition": round(one),
            "plain_faust_agent": round(measured.median("plain Faust agent")),
            "raw_aiokafka": round(measured.median("raw aiokafka")),
            "river_biasedmf": round(measured.median("River BiasedMF")),
            **{name: round(statistics.median(values), 2) for name, values in measured.caught_up.items()},
        },
        "spread": {
            name: [
                round(min(pace.events_per_second for pace in paces)),
                round(max(pace.events_per_second for pace in paces)),
            ]
            for name, paces in measured.paces.items()
        }
        | {name: [round(min(values), 2), round(max(values), 2)] for name, values in measured.caught_up.items()},
        "ratios": {
            **others,
            "to_one_partition": round(ours / one, 3),
            "to_one_partition_by_cpu": round(by_cpu / measured.median_by_cpu(same), 3),
            "to_plain_faust_agent": round(ours / measured.median("plain Faust agent"), 2),
            "to_raw_aiokafka": round(ours / measured.median("raw aiokafka"), 3),
            "to_river_biasedmf": round(ours / measured.median("River BiasedMF"), 2),
        },
    }


def _one_run(
    run: int,
    kafka: KafkaServer,
    redis: RedisServer,
    folder: Path,
    cases: Mapping[str, Topics],
    events: int,
    slow_events: int,
) -> Iterator[tuple[str, Pace, dict[str, float]]]:
    several = cases[OURS]
    alone = [name for name, topics in cases.items() if not (topics.mapped or topics.avro)]
    for name in alone if run % 2 else reversed(alone):
        topics = cases[name]
        label = f"{topics.partitions}-{run}"
        pace, caught_up = _worker_run(label, kafka, redis, folder, topics, events)
        yield name, pace, caught_up if name == OURS else {}
    names = list(several.names.values())
    yield "raw aiokafka", _counted_pace("raw_aiokafka", [kafka.bootstrap, f"raw-{run}", str(events), *names]), {}
    plain = _counted_pace("plain_faust", [kafka.bootstrap, f"plain-{run}", str(slow_events), *names])
    yield "plain Faust agent", plain, {}
    yield "River BiasedMF", _counted_pace("river_biasedmf", [str(slow_events)]), {}


class Seen(NamedTuple):
    """A worker as seen from outside at one moment."""

    seconds: float
    learned: int
    cpu_seconds: float
    samples: dict[str, float]


def _in_turn(
    run: int,
    kafka: KafkaServer,
    redis: RedisServer,
    folder: Path,
    cases: Mapping[str, Topics],
    events: int,
    registry: str,
) -> dict[str, InTurn]:
    """The paces of a worker on the topics that are asked for, and of those with a mapping and with Avro, in turn.

    As in `_worker_run`, Redis is away until all of them have imported River. Each run begins with another worker.
    """
    names = [name for name in cases if name != OURS_ONE]
    names = names[run % len(names) :] + names[: run % len(names)]
    redis.stop(kill=True)
    with ExitStack() as stack:
        workers: dict[str, tuple[subprocess.Popen[bytes], int]] = {}
        for name in names:
            topics, port = cases[name], free_port()
            label = f"in-turn-{run}{'-mapped' * topics.mapped}{'-avro' * topics.avro}"
            settings = worker_settings(
                kafka.bootstrap, redis.url, label, port, topics=topics.names, shards=topics.shards
            )
            if topics.mapped:
                settings["CORRENTE_MAPPING"] = str(folder / "mapping.yaml")
            if topics.avro:
                settings["CORRENTE_SCHEMA_REGISTRY"] = registry
            workers[name] = stack.enter_context(running(WORKER, settings, folder / f"worker-{label}.log")), port
        for process, port in workers.values():
            wait_until(partial(_has_river, process, port), "the worker imports River", READY_SECONDS)
        return run_in_turn(workers, events, redis.start)


def _worker_run(
    name: str, kafka: KafkaServer, redis: RedisServer, folder: Path, topics: Topics, events: int
) -> tuple[Pace, dict[str, float]]:
    """Start a worker `events` behind; its pace, and figures of its catching up.

    Redis is away until the worker has imported River, so that it can't claim its shards before: every event is learned
    by a worker that tests, however few there are.
    """
    port = free_port()
    settings = worker_settings(kafka.bootstrap, redis.url, name, port, topics=topics.names, shards=topics.shards)
    redis.stop(kill=True)
    with running(WORKER, settings, folder / f"worker-{name}.log") as process:
        wait_until(lambda: _has_river(process, port), "the worker imports River", READY_SECONDS)
        redis.start()
        seen = list(_watch(process, port, events))
        with background(kafka.bootstrap, AFTERWARDS, topics.partitions, topics=topics.names):
            time.sleep(SETTLE_SECONDS)
            before, started = _published(metrics(port)), time.monotonic()
            time.sleep(AFTERWARDS_SECONDS)
            after = (_published(metrics(port)) - before) / (time.monotonic() - started)
    full = [each for each in seen if each.learned >= events / 3]  # tables are small before, and histories short
    if len(full) < 2:
        raise RuntimeError(
            f"two thirds of {events} events were learned within one look at the worker; use more --events"
        )
    half = next(each for each in seen if each.learned >= events / 2)
    first, last = seen[0], seen[-1]
    return _pace(full), {
        "catch_up_seconds": last.seconds - first.seconds,
        "catch_up_told_halfway_seconds": max(
            value for name, value in half.samples.items() if name.startswith("corrente_worker_catch_up_seconds{")
        ),
        "catch_up_left_halfway_seconds": last.seconds - half.seconds,
        "versions_a_second_behind": (_published(last.samples) - _published(first.samples))
        / topics.shards
        / (last.seconds - first.seconds),
        "versions_a_second_afterwards": after / topics.shards,
    }


def _has_river(process: subprocess.Popen[bytes], port: int) -> bool:
    """True once a worker would test events."""
    if process.poll() is not None:
        raise RuntimeError(f"the worker ended with {process.returncode}")
    return total(metrics(port), "corrente_worker_sample_rate") > 0


def _published(samples: dict[str, float]) -> float:
    return total(samples, "corrente_worker_publish_seconds_count")


def _as_producers_write(event: LoadEvent) -> LoadEvent:
    """An event with a producer's names of its fields."""
    value = event.value
    for ours, theirs in PRODUCERS_NAMES.items():
        value = value.replace(b'"%s":' % ours.encode(), b'"%s":' % theirs.encode(), 1)
    return event._replace(value=value)


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


def _watch(process: subprocess.Popen[bytes], port: int, events: int) -> Iterator[Seen]:
    """Look at the worker every 50 ms, from its first learned event to the last."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the worker ended with {process.returncode}")
        samples = metrics(port)
        seen = Seen(time.monotonic(), learned(samples), cpu_seconds(process.pid), samples)
        if seen.learned:
            yield seen
        if seen.learned >= events:
            return
        time.sleep(0.05)
    raise TimeoutError(f"{events} events were not learned within {PATIENCE_SECONDS:.0f} seconds")


def _pace(seen: list[Seen]) -> Pace:
    first, last = seen[0], seen[-1]
    count = last.learned - first.learned
    return Pace(count / (last.seconds - first.seconds), count / max(last.cpu_seconds - first.cpu_seconds, 1e-9))
