"""Reader of event topics beside the worker: every partition, without a group.

This file decides which records are read: committed ones, from the newest, the oldest, an offset or a time on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from stream.ingest.origins import origin_of
from stream.ingest.records import Record
from stream.kafka.connection.diagnosis import KafkaUnusable, require_kafka
from stream.kafka.connection.options import client_options
from stream.kafka.connection.rights import READ, Needs
from stream.kafka.record_maker import record_maker
from stream.settings import Settings

NEWEST, OLDEST = "newest", "oldest"

Start = str | int | float
"""`newest`, `oldest`, an offset (int), or a time in seconds since the epoch (float)."""


async def read_records(
    settings: Settings, topics: Mapping[str, str], start: Start
) -> AsyncIterator[tuple[TopicPartition, Record]]:
    """Records of topics as they arrive, each with its partition; ends never.

    Args:
        settings: addresses and security.
        topics: our names to those in Kafka.
        start: where every partition begins.

    Raises:
        KafkaUnusable: no broker answered, one refuses, or a topic isn't there; the text says why.
    """
    await require_kafka(settings, Needs(dict.fromkeys(topics.values(), (READ,))))
    consumer = AIOKafkaConsumer(**client_options(settings), isolation_level="read_committed", enable_auto_commit=False)
    await consumer.start()
    try:
        makers = {}
        for ours, name in topics.items():
            found = consumer.partitions_for_topic(name) or await _looked_up(consumer, name)
            if not found:
                raise KafkaUnusable(
                    f"Kafka has no topic {name!r}; the worker makes it, or CORRENTE_{ours.upper()}_TOPIC"
                )
            for number in found:
                makers[TopicPartition(name, number)] = record_maker(
                    origin_of(ours, number, shard=0), schema_headers=bool(settings.schema_registry)
                )
        consumer.assign(list(makers))
        for partition, offset in (await _starts(consumer, list(makers), start)).items():
            consumer.seek(partition, offset)
        while True:
            for partition, records in (await consumer.getmany(timeout_ms=500)).items():
                for record in makers[partition](records):
                    yield partition, record
    finally:
        await consumer.stop()


async def _looked_up(consumer: Any, topic: str) -> set[int]:
    """Partitions of a topic of which the client has not heard yet."""
    await consumer._client.set_topics([topic])  # noqa: SLF001  its public ways subscribe to the topic
    found: set[int] | None = consumer.partitions_for_topic(topic)
    return found or set()


async def _starts(consumer: Any, partitions: list[TopicPartition], start: Start) -> dict[TopicPartition, int]:
    first: dict[TopicPartition, int] = await consumer.beginning_offsets(partitions)
    ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
    if start == OLDEST:
        return first
    if start == NEWEST:
        return ends
    if isinstance(start, int):
        return {each: min(max(start, first[each]), ends[each]) for each in partitions}
    assert isinstance(start, float), start
    found = await consumer.offsets_for_times(dict.fromkeys(partitions, int(start * 1000)))
    return {each: ends[each] if found[each] is None else found[each].offset for each in partitions}
