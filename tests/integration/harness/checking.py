"""Comparison of what Redis holds with what an undisturbed shard makes of what Kafka holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from stream.ingest.merge import journaled_batches
from stream.ingest.origins import origin_of
from stream.ingest.records import UNLEARNED, Record
from stream.settings import Settings, load_settings
from stream.shard.shard import Shard
from stream.state.table_writer import TableWriter
from stream.state.tables import Tables, differing_tables
from stream.versions import ShardState, VersionStore
from tests.integration.harness.kafka_client import read_all


def store_of(environment: Mapping[str, str]) -> VersionStore:
    settings = load_settings(environment)
    return VersionStore.connect(settings.redis_address, settings.model_name)


class Layout(NamedTuple):
    """Number of partitions of each topic, and of the shards that learn them."""

    partitions: int
    shards: int

    def __str__(self) -> str:
        return f"{self.partitions} partitions, {self.shards} shards"


def shards_of(environment: Mapping[str, str]) -> int:
    return int(environment.get("CORRENTE_SHARDS", "1"))


def learned_everything(environment: Mapping[str, str], ends: Mapping[tuple[str, int], int]) -> bool:
    """True once the newest version has reached these ends, by Kafka's name of the topic and partition."""
    store, names, count = store_of(environment), load_settings(environment).topics, shards_of(environment)
    newest = store.latest()
    store.close()
    shards = newest.shards if newest else {}
    ours = {kafka_name: topic for topic, kafka_name in names.items()}
    return all(
        partition % count in shards
        and shards[partition % count].offsets.get(origin_of(ours[topic], partition, partition % count), 0) >= end
        for (topic, partition), end in ends.items()
        if end
    )


def ends_of(environment: Mapping[str, str]) -> dict[tuple[str, int], int]:
    """Number of records in each partition of the event topics that has some, by Kafka's name of the topic."""
    settings = load_settings(environment)
    return Counter((each.topic, each.partition) for each in read_all(settings.kafka, list(settings.topics.values())))


def logs_of(settings: Settings, shards: int) -> list[dict[str, list[Record]]]:
    """Every record that Kafka holds, by shard and origin."""
    ours = {kafka_name: topic for topic, kafka_name in settings.topics.items()}
    logs: list[dict[str, list[Record]]] = [{topic: [] for topic in settings.topics} for _ in range(shards)]
    for stored in read_all(settings.kafka, list(ours)):
        origin = origin_of(ours[stored.topic], stored.partition, stored.partition % shards)
        logs[stored.partition % shards].setdefault(origin, []).append(
            Record(origin, stored.offset, stored.timestamp_ms, stored.value, stored.key)
        )
    return logs


def undisturbed_shard(
    settings: Settings,
    *,
    store: VersionStore,
    number: int,
    shards: int,
    head: ShardState,
    log: Mapping[str, list[Record]],
) -> Shard:
    """A shard in memory that has learned the records of the log in the journal's order."""
    shard = Shard(
        settings.model,
        partition=number,
        shards=shards,
        fields=settings.fields,
        mapping=settings.mapping_plan,
        max_future_seconds=settings.max_future_seconds,
    )
    for batch in journaled_batches(store.journal(number, None, head), log):
        shard.apply(*batch)
    return shard


def assert_every_event_counted_once(
    environment: Mapping[str, str], count: int = 1, logs: Sequence[Mapping[str, list[Record]]] | None = None
) -> dict[int, Shard]:
    """Assert that counters close, logs were read to their ends, and tables equal an undisturbed shard's bit for bit.

    Args:
        environment: settings of the system.
        count: number of its shards.
        logs: everything that should be learned, as `logs_of` returns it; by default, what Kafka holds.

    Returns:
        The undisturbed shards by number.
    """
    settings, store = load_settings(environment), store_of(environment)
    version, shards = store.latest(), {}
    assert version is not None
    assert sorted(version.shards) == list(range(count))
    for number, log in enumerate(logs or logs_of(settings, count)):
        head = version.shards[number]
        for origin, records in log.items():
            counts = head.counters[origin]
            lost = counts.get("lost", 0)
            assert counts["read"] - lost == len(records), (number, origin, len(records), counts)
            outcomes = counts["learned"] + counts["duplicates"] + counts["refused"] + counts["dead_letters"]
            left_out = sum(count for outcome, count in counts.items() if outcome.startswith(UNLEARNED))
            assert counts["read"] == outcomes + left_out + lost, (number, origin, counts)
            assert head.offsets.get(origin, 0) == (records[-1].offset + 1 if records else 0)
        shard = undisturbed_shard(settings, store=store, number=number, shards=count, head=head, log=log)
        for origin, counts in head.counters.items():
            if counts.get("lost"):  # removed from Kafka, so that no replay meets them
                shard.note_lost(origin, counts["lost"])
        published = Tables([table.spec for table in shard.tables.values()])
        state = store.load(number, head, TableWriter(published))
        assert list(differing_tables(published, shard.tables)) == []
        unbound = {"logs": None}  # a shard without Kafka doesn't know the identities of its logs
        assert state | unbound == shard.snapshot().state | unbound
        shards[number] = shard
    store.close()
    return shards
