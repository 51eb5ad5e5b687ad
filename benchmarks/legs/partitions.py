"""Hit rate of a history that is replayed at full speed into several partitions, beside the same in one partition.

Kafka, Redis, `corrente worker` and `corrente replay` run as they are shipped, with every event tested
(`CORRENTE_TEST_CPU_SHARE=1`). Afterwards the log is learned once more in memory, in the order that the worker's journal
says: that gives the rank of every test of the run, where a version only measures its newest ones, and the measures of
the two have to agree.

Records of several partitions have no common order but their time. The records of the first run in several partitions
are therefore learned once more in the order of the file: what is left of the difference is not the order's.

This file decides what is replayed, how the mean is taken and how order is measured. The order in which a worker learns
is decided in `stream.ingest.merge`.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from aiokafka import AIOKafkaConsumer, TopicPartition

from benchmarks.harness.events import make_topics
from benchmarks.harness.machine import machine
from benchmarks.harness.processes import (
    WORKER,
    check_running,
    learned,
    metrics,
    running,
    total,
    worker_settings,
)
from benchmarks.harness.servers import KafkaServer, RedisServer, free_port, running_servers
from benchmarks.harness.waiting import wait_until
from stream.ingest.merge import journaled_batches
from stream.ingest.origins import origin_of
from stream.ingest.records import Record
from stream.models.drift.prequential import NAMES, Prequential
from stream.settings import load_settings
from stream.shard.shard import Shard
from stream.versions import VersionStore

REPLAY = ["-c", "from stream.cli import main; main()", "replay"]
START_SECONDS = 120.0
LEARN_SECONDS = 600.0
CUTOFF = 10
BATCH = 4096


class Learned(NamedTuple):
    """A run that was learned once more in memory.

    Attributes:
        hits: sum of HR@10 over all tests.
        tests: number of tests.
        lines: line of the file of each record, in the order in which records were learned.
    """

    hits: float
    tests: int
    lines: list[int]

    @property
    def hit_rate(self) -> float:
        return self.hits / self.tests


def measure(
    file: Path, runs: int, partitions: int, shards: int, limit: int | None, progress: Callable[[str], None]
) -> dict[str, Any]:
    """The JSON object of `corrente bench partitions`.

    Args:
        file: history, in a form that `corrente replay` reads.
        runs: number of repetitions.
        partitions: number of partitions of each topic, compared with one.
        shards: number of shards that the worker learns them as.
        limit: largest number of rows.
        progress: is called with one line of text for each step.

    Raises:
        MissingServer: Kafka or redis-server can't be had on this machine.
        RuntimeError: the replay failed, or learning in memory gave other measures than the worker had.
    """
    values: dict[str, list[float]] = {}
    in_file_order: Learned | None = None
    with (
        tempfile.TemporaryDirectory(prefix="corrente-bench-") as folder,
        running_servers(Path(folder)) as (kafka, redis),
    ):
        for run in range(1, runs + 1):
            for count in (1, partitions) if run % 2 else (partitions, 1):
                name = f"{count}-partitions-{run}"
                settings = _replay(kafka, redis, Path(folder), name, file, count, 1 if count == 1 else shards, limit)
                logs = asyncio.run(_read(kafka.bootstrap, load_settings(settings).topics, count))
                found = _learn_again(settings, logs)
                case = f"{count}_partitions"
                values.setdefault(f"hit_rate_{case}", []).append(found.hit_rate)
                values.setdefault(f"tests_{case}", []).append(found.tests)
                for figure, value in order_of(found.lines).items():
                    values.setdefault(f"{figure}_{case}", []).append(value)
                progress(f"run {run}  {case:<16} HR@10 {found.hit_rate:.4f} of {found.tests:,} tests")
                if count > 1 and in_file_order is None:
                    in_file_order = _learn_in_file_order(settings, logs)
                    progress(f"run {run}  in file order    HR@10 {in_file_order.hit_rate:.4f}")
    return _result(file, runs, partitions, shards, values, in_file_order)


def _result(
    file: Path,
    runs: int,
    partitions: int,
    shards: int,
    values: Mapping[str, list[float]],
    in_file_order: Learned | None,
) -> dict[str, Any]:
    figures = {name: round(statistics.mean(each), 5) for name, each in values.items()}
    one, several = figures["hit_rate_1_partitions"], figures[f"hit_rate_{partitions}_partitions"]
    figures["difference"] = round(several - one, 5)
    if in_file_order is not None:
        figures["hit_rate_in_file_order"] = round(in_file_order.hit_rate, 5)
        figures["difference_by_order"] = round(several - in_file_order.hit_rate, 5)
    return {
        "leg": "partitions",
        "machine": machine(),
        "file": file.name,
        "runs": runs,
        "partitions": partitions,
        "shards": shards,
        "figures": figures,
        "spread": {name: [round(min(each), 5), round(max(each), 5)] for name, each in values.items()},
        "ratios": {"to_one_partition": round(several / one, 4)},
    }


# ---- the run itself


def _replay(
    kafka: KafkaServer,
    redis: RedisServer,
    folder: Path,
    name: str,
    file: Path,
    partitions: int,
    shards: int,
    limit: int | None,
) -> dict[str, str]:
    """Replay the file into new topics, with a worker that learns meanwhile; returns the worker's settings."""
    topics = {topic: f"{topic}-{name}" for topic in ("clicks", "purchases", "feedback")}
    asyncio.run(make_topics(kafka.bootstrap, topics.values(), partitions))
    port, log = free_port(), folder / f"worker-{name}.log"
    settings = worker_settings(kafka.bootstrap, redis.url, name, port, topics=topics, shards=shards)
    settings["CORRENTE_TEST_CPU_SHARE"] = "1"
    with ExitStack() as stack:
        worker = stack.enter_context(running(WORKER, settings, log))

        def sample(name: str) -> float:
            check_running(worker, log)
            return total(metrics(port), name)

        wait_until(lambda: sample("corrente_worker_sample_rate") == 1, "the worker tests every event", START_SECONDS)
        sent = _sent(settings, file, limit)
        wait_until(lambda: learned(metrics(port)) >= sent, "everything is learned", LEARN_SECONDS, every=0.2)
        wait_until(lambda: sample("corrente_worker_unpublished_records") == 0, "and published", START_SECONDS)
    return settings


def _sent(settings: Mapping[str, str], file: Path, limit: int | None) -> int:
    """Run `corrente replay`, and return the number of events that Kafka has acknowledged."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CORRENTE_")}
    rows = ["--limit", str(limit)] if limit else []
    run = subprocess.run(  # noqa: S603  our own program
        [sys.executable, *REPLAY, str(file), "--via", "kafka", "--json", *rows],
        env={**inherited, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        raise RuntimeError(f"corrente replay ended with {run.returncode}:\n{run.stderr[-2000:]}")
    return int(json.loads(run.stdout.splitlines()[-1])["acknowledged"])


async def _read(
    kafka: str, topics: Mapping[str, str], partitions: int
) -> dict[TopicPartition, list[tuple[int, int, bytes, bytes]]]:
    """Offset, time, value and key of every record of these topics, by topic-partition."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False)
    await consumer.start()
    try:
        found = [TopicPartition(name, partition) for name in topics.values() for partition in range(partitions)]
        consumer.assign(found)
        await consumer.seek_to_beginning(*found)
        ends = await consumer.end_offsets(found)
        logs: dict[TopicPartition, list[tuple[int, int, bytes, bytes]]] = {tp: [] for tp in found}
        while sum(map(len, logs.values())) < sum(ends.values()):
            for tp, records in (await consumer.getmany(timeout_ms=500)).items():
                logs[tp] += [(each.offset, each.timestamp, each.value, each.key) for each in records]
        return logs
    finally:
        await consumer.stop()


# ---- the run once more, in memory


def _learn_again(
    environment: Mapping[str, str], logs: Mapping[TopicPartition, list[tuple[int, int, bytes, bytes]]]
) -> Learned:
    """Learn the log in the order of the journals, shard by shard.

    Raises:
        RuntimeError: the measures of the newest tests are not those of the newest version.
    """
    settings = load_settings(environment)
    store = VersionStore.connect(settings.redis_address, settings.model_name, timeout_seconds=60.0)
    try:
        version = store.latest()
        assert version is not None, "something was published"
        hits, tests = 0.0, 0
        lines: list[int] = []
        for number, head in version.shards.items():
            shard = Shard(settings.model, partition=number, shards=len(version.shards))
            own = records_by_origin(logs, settings.topics, number, len(version.shards))
            for batch in journaled_batches(store.journal(number, None, head), own):
                more, count = _learn(shard, batch.records, batch.rate)
                hits, tests = hits + more, tests + count
                lines += map(_line_of, batch.records)
            measured, published = shard.readable_state()["metrics"], store.state(number, head)["metrics"]
            if measured != published:
                raise RuntimeError(f"shard {number} measured {published['blend']}, and in memory {measured['blend']}")
        return Learned(hits, tests, lines)
    finally:
        store.close()


def _learn_in_file_order(
    environment: Mapping[str, str], logs: Mapping[TopicPartition, list[tuple[int, int, bytes, bytes]]]
) -> Learned:
    """Learn the log as one shard, in the order of the file, with new offsets."""
    settings = load_settings(environment)
    ours = {kafka_name: topic for topic, kafka_name in settings.topics.items()}
    records = [Record(ours[tp.topic], *each) for tp, log in logs.items() for each in log]
    records.sort(key=_line_of)
    counts = dict.fromkeys(ours.values(), 0)
    shard, hits, tests = Shard(settings.model), 0.0, 0
    for first in range(0, len(records), BATCH):
        batch = []
        for record in records[first : first + BATCH]:
            batch.append(record._replace(offset=counts[record.origin]))
            counts[record.origin] += 1
        more, count = _learn(shard, batch, 1.0)
        hits, tests = hits + more, tests + count
    return Learned(hits, tests, list(map(_line_of, records)))


def _learn(shard: Shard, records: list[Record], rate: float) -> tuple[float, int]:
    """Learn a batch; the sum of HR@10 over its tests, and their number."""
    ring = Prequential(shard.tables)
    first = ring.tests
    shard.apply(records, rate)
    ranks = ring.ranks(first, ring.tests)[:, NAMES.index("blend")]
    return float((ranks <= CUTOFF).sum()), ring.tests - first


def records_by_origin(
    logs: Mapping[TopicPartition, list[tuple[int, int, bytes, bytes]]],
    topics: Mapping[str, str],
    shard: int,
    shards: int,
) -> dict[str, list[Record]]:
    """The records of a shard by their origin.

    Args:
        logs: offset, time, value and key of every record, by topic-partition.
        topics: our name of each topic to Kafka's.
        shard, shards: number of the shard, and of all.
    """
    ours = {kafka_name: topic for topic, kafka_name in topics.items()}
    found = {}
    for tp, log in logs.items():
        if tp.partition % shards == shard:
            origin = origin_of(ours[tp.topic], tp.partition, shard)
            found[origin] = [Record(origin, *each) for each in log]
    return found


def _line_of(record: Record) -> int:
    """The line of the file that a record comes from: `corrente replay` puts it into the event's id."""
    assert record.value is not None
    return int(json.loads(record.value)["event_id"].rpartition("-")[2])


def order_of(lines: Iterable[int]) -> dict[str, float]:
    """Measures of how far an order is from the file's.

    `late_share`: records that follow one of a later line. `places_moved`: mean distance between a record's place in
    this order and in the file's.

    >>> order_of([1, 2, 5, 4])
    {'late_share': 0.25, 'places_moved': 0.5}
    """
    order = np.fromiter(lines, np.int64)
    places = np.argsort(np.argsort(order, kind="stable"), kind="stable")
    return {
        "late_share": float((order < np.maximum.accumulate(order)).mean()),
        "places_moved": float(np.abs(places - np.arange(order.size)).mean()),
    }
