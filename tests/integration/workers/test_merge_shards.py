"""Shards are merged while producers write: workers of the old shards are stopped, and every event counts once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from benchmarks.harness.waiting import wait_until
from stream.ingest.merge import journaled_batches
from stream.ingest.origins import origin_of
from stream.ingest.records import Record
from stream.models.schema import table_specs
from stream.settings import load_settings
from stream.shard.shard import Shard
from stream.state.table_writer import TableWriter
from stream.state.tables import Tables, differing_tables
from stream.versions import Version, VersionStore
from tests.integration.harness.checking import store_of
from tests.integration.harness.kafka_client import read_all
from tests.integration.harness.worker_process import WorkerProcess
from tests.integration.workers.test_exactly_once import Load, wait_for_progress

PARTITIONS = 4


def corrente(environment: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `corrente` with the settings of a test."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CORRENTE_")}
    return subprocess.run(
        [Path(sys.executable).parent / "corrente", *arguments],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def logs_of(environment: Mapping[str, str]) -> dict[str, list[Record]]:
    """Every record that Kafka holds, by the name of its origin in shard 0 of one."""
    settings = load_settings(environment)
    ours = {kafka_name: topic for topic, kafka_name in settings.topics.items()}
    logs: dict[str, list[Record]] = {}
    for stored in read_all(settings.kafka, list(ours)):
        origin = origin_of(ours[stored.topic], stored.partition, 0)
        record = Record(origin, stored.offset, stored.timestamp_ms, stored.value, stored.key)
        logs.setdefault(origin, []).append(record)
    return logs


def restored(environment: Mapping[str, str], store: VersionStore, version: Version) -> Shard:
    """Shard 0 of a version, in memory."""
    settings = load_settings(environment)
    tables = Tables(table_specs(settings.model))
    state = store.load(0, version.shards[0], TableWriter(tables))
    options = {"fields": settings.fields, "max_future_seconds": settings.max_future_seconds}
    return Shard.restore(settings.model, tables, state, partition=0, shards=1, **options)


@pytest.mark.timeout(240, func_only=True)
def test_shards_are_merged_while_events_flow_and_every_event_counts_once(
    environment: dict[str, str], make_topics: Callable[..., None], worker: Callable[..., WorkerProcess]
) -> None:
    seed = int(os.environ.get("SEED") or time.time_ns())
    print(f"SEED={seed} repeats the load")
    environment |= {
        "CORRENTE_SESSION_TIMEOUT_SECONDS": "2",
        "CORRENTE_KEEP_LAST": "1000000",
        "CORRENTE_PARTITIONS": str(PARTITIONS),
    }
    make_topics(PARTITIONS)
    load = Load(environment, seed).start()
    four = worker(CORRENTE_SHARDS=str(PARTITIONS))
    wait_for_progress(environment, 500)

    merge = corrente(environment, "versions", "merge-shards", "--to", "1", "--json")
    assert merge.returncode == 0, merge.stderr + four.tail()
    merged = json.loads(merge.stdout)
    assert (merged["merged"], merged["shards_before"], merged["shards"]) == (True, PARTITIONS, 1)
    four.wait_for_log("set CORRENTE_SHARDS=1")
    four.kill()

    one = worker(CORRENTE_SHARDS="1")
    wait_for_progress(environment, 500)
    load.stop()
    logs, store = logs_of(environment), store_of(environment)
    ends = {origin: records[-1].offset + 1 for origin, records in logs.items()}

    def reached_the_ends() -> bool:
        newest = store.latest()
        return newest is not None and {key: newest.shards[0].offsets.get(key) for key in ends} == ends

    wait_until(reached_the_ends, f"{ends} to be learned and published", 60.0)
    assert one.stop() == 0
    newest = store.latest()
    assert newest is not None
    counters = newest.shards[0].counters
    assert sum(counts["read"] for counts in counters.values()) == sum(map(len, logs.values()))
    assert sum(map(len, logs.values())) == load.acknowledged.total()
    for origin, records in logs.items():
        counts = counters[origin]
        assert counts["read"] == len(records), (origin, counts)
        assert counts["read"] == sum(counts.values()) - counts["read"], (origin, counts)

    # From the merge on, the log and the journal give back the tables bit for bit.
    start = store.version(merged["version"])
    shard = restored(environment, store, start)
    journal = store.journal(0, start.shards[0], newest.shards[0])
    for batch in journaled_batches(journal, logs, start.shards[0].offsets):
        shard.apply(*batch)
    published = restored(environment, store, newest)
    assert list(differing_tables(published.tables, shard.tables)) == []
    store.close()
