"""Comparison of what Redis holds with what an undisturbed shard makes of what Kafka holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stream.ingest.merge import journaled_batches
from stream.ingest.records import Record
from stream.settings import Settings, load_settings
from stream.shard.shard import Shard
from stream.state.table_writer import TableWriter
from stream.state.tables import Tables, differing_tables
from stream.versions import ShardState, VersionStore
from tests.integration.kafka_client import read_all


def store_of(environment: Mapping[str, str]) -> VersionStore:
    settings = load_settings(environment)
    return VersionStore.connect(settings.redis, settings.model_name)


def learned_everything(environment: Mapping[str, str], ends: Mapping[tuple[str, int], int]) -> bool:
    """True once the newest version has reached these ends, by Kafka's name of the topic and partition."""
    store, names = store_of(environment), load_settings(environment).topics
    newest = store.latest()
    store.close()
    shards = newest.shards if newest else {}
    ours = {kafka_name: topic for topic, kafka_name in names.items()}
    return all(
        partition in shards and shards[partition].offsets.get(ours[topic], 0) >= end
        for (topic, partition), end in ends.items()
        if end
    )


def logs_of(settings: Settings, partitions: int) -> list[dict[str, list[Record]]]:
    """Every record that Kafka holds, by partition and Corrente's name of the topic."""
    ours = {kafka_name: topic for topic, kafka_name in settings.topics.items()}
    logs: list[dict[str, list[Record]]] = [{topic: [] for topic in settings.topics} for _ in range(partitions)]
    for stored in read_all(settings.kafka, list(ours)):
        topic = ours[stored.topic]
        logs[stored.partition][topic].append(
            Record(topic, stored.offset, stored.timestamp_ms, stored.value, stored.key)
        )
    return logs


def undisturbed_shard(
    settings: Settings,
    *,
    store: VersionStore,
    partition: int,
    partitions: int,
    head: ShardState,
    log: Mapping[str, list[Record]],
) -> Shard:
    """A shard in memory that has learned the records of the log in the journal's order."""
    shard = Shard(
        settings.model,
        partition=partition,
        shards=partitions,
        fields=settings.fields,
        max_future_seconds=settings.max_future_seconds,
    )
    for batch in journaled_batches(store.journal(partition, None, head), log):
        shard.apply(*batch)
    return shard


def assert_every_event_counted_once(
    environment: Mapping[str, str], partitions: int, logs: Sequence[Mapping[str, list[Record]]] | None = None
) -> dict[int, Shard]:
    """Assert that counters close, logs were read to their ends, and tables equal an undisturbed shard's bit for bit.

    Args:
        environment: settings of the system.
        partitions: number of its shards.
        logs: everything that should be learned, as `logs_of` returns it; by default, what Kafka holds.

    Returns:
        The undisturbed shards by partition.
    """
    settings, store = load_settings(environment), store_of(environment)
    version, shards = store.latest(), {}
    assert version is not None
    assert sorted(version.shards) == list(range(partitions))
    for partition, log in enumerate(logs or logs_of(settings, partitions)):
        head = version.shards[partition]
        for topic, records in log.items():
            counts = head.counters[topic]
            lost = counts.get("lost", 0)
            assert counts["read"] - lost == len(records), (partition, topic, len(records), counts)
            outcomes = counts["learned"] + counts["duplicates"] + counts["refused"] + counts["dead_letters"]
            assert counts["read"] == outcomes + lost, (partition, topic, counts)
            assert head.offsets.get(topic, 0) == (records[-1].offset + 1 if records else 0)
        shard = undisturbed_shard(settings, store=store, partition=partition, partitions=partitions, head=head, log=log)
        for origin, counts in head.counters.items():
            if counts.get("lost"):  # removed from Kafka, so that no replay meets them
                shard.note_lost(origin, counts["lost"])
        published = Tables([table.spec for table in shard.tables.values()])
        state = store.load(partition, head, TableWriter(published))
        assert list(differing_tables(published, shard.tables)) == []
        unbound = {"logs": None}  # a shard without Kafka doesn't know the identities of its logs
        assert state | unbound == shard.snapshot().state | unbound
        shards[partition] = shard
    store.close()
    return shards
