"""Changed settings on a living model: larger tables go on with every event, smaller ones are refused."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from benchmarks.harness.waiting import wait_until
from stream.ingest.merge import journaled_batches
from stream.models.settings import CAPACITIES
from stream.settings import load_settings
from stream.shard.shard import Shard
from stream.state.table_writer import TableWriter
from stream.state.tables import differing_tables
from stream.versions import Version, VersionStore
from stream.versions.changed_settings.layouts import tables_for
from tests.integration.harness.checking import store_of
from tests.integration.harness.kafka_client import Message, produce
from tests.integration.harness.worker_process import WorkerProcess
from tests.integration.workers.test_merge_shards import logs_of


def write(environment: dict[str, str], first: int, count: int) -> None:
    events = [
        {"item": f"item {number * number % 97}", "user": f"visitor {number % 41}"}
        for number in range(first, first + count)
    ]
    topic = environment["CORRENTE_CLICKS_TOPIC"]
    produce(environment["CORRENTE_KAFKA"], [Message(topic, json.dumps(event).encode()) for event in events])


def learned(store: VersionStore, count: int) -> Version:
    """The newest version, once it has learned so many events."""

    def events() -> int:
        newest = store.latest()
        return newest.events if newest else 0

    wait_until(lambda: events() == count, f"{count} clicks to be learned and published", 60.0)
    newest = store.latest()
    assert newest is not None
    return newest


def restored(environment: dict[str, str], store: VersionStore, version: Version) -> Shard:
    settings = load_settings(environment)
    tables = tables_for(store, settings.model, version, 0, version.shards[0])
    state = store.load(0, version.shards[0], TableWriter(tables))
    options = {"fields": settings.fields, "max_future_seconds": settings.max_future_seconds}
    return Shard.restore(settings.model, tables, state, partition=0, shards=1, **options)


@pytest.mark.long
def test_a_worker_goes_on_with_larger_tables_and_every_event_counts_once(
    environment: dict[str, str], make_topics: Callable[..., None], worker: Callable[..., WorkerProcess]
) -> None:
    environment["CORRENTE_KEEP_LAST"] = "1000000"
    make_topics()
    store = store_of(environment)
    write(environment, 0, 400)
    running = worker()
    small = learned(store, 400)
    assert running.stop() == 0

    larger = {f"CORRENTE_MODEL__{name.upper()}": "70000" for name in CAPACITIES if "kept" not in name}
    larger |= {"CORRENTE_MODEL__MAX_KEPT_VISITORS": "200000", "CORRENTE_MODEL__MAX_KEPT_ITEMS": "40"}
    running = worker(**larger)
    running.wait_for_log("the model goes on with a larger capacity")
    write(environment, 400, 300)
    learned(store, 700)
    running.kill()
    write(environment, 700, 300)
    running = worker(**larger)
    newest = learned(store, 1000)
    assert running.stop() == 0
    counts = newest.shards[0].counters["clicks"]
    assert (counts["read"], counts["learned"]) == (1000, 1000)
    first = min(
        (version for version in store.versions() if version.settings["max_items"] == 70_000),
        key=lambda version: version.number,
    )
    assert first.shards[0].seq > small.shards[0].seq
    shard = restored(environment | larger, store, first)
    logs = logs_of(environment)
    for batch in journaled_batches(store.journal(0, first.shards[0], newest.shards[0]), logs, first.shards[0].offsets):
        shard.apply(*batch)
    published = restored(environment | larger, store, newest)
    assert list(differing_tables(published.tables, shard.tables)) == []

    refused = worker()
    assert refused.wait_for_end(60.0) != 0
    assert "CORRENTE_MODEL__MAX_ITEMS has to be 70000 or more" in refused.log.read_text()
    assert "corrente versions new-lineage" in refused.log.read_text()
    assert store.latest() == newest
    store.close()
