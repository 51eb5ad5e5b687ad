"""Kafka as tests use it: make topics, write to them, read them back. Plain functions over aiokafka."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.structs import OffsetAndMetadata

acknowledged: Counter[tuple[str, str]] = Counter()
"""Number of records that this process has written, by bootstrap servers and topic; of transactions, only
committed ones. The table of `make faults` compares it with what was learned."""


class Message(NamedTuple):
    """One record to write. Without a partition, murmur2 of the key decides."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    partition: int | None = None
    timestamp_ms: int | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


class Stored(NamedTuple):
    """One record as Kafka holds it."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


def make_topics(bootstrap: str, topics: Mapping[str, int], config: Mapping[str, str] | None = None) -> None:
    """Make topics, by name with their number of partitions."""

    async def make() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        try:
            await admin.create_topics(
                [
                    NewTopic(name, num_partitions=count, replication_factor=1, topic_configs=dict(config or {}))
                    for name, count in topics.items()
                ]
            )
        finally:
            await admin.close()

    asyncio.run(make())


def produce(
    bootstrap: str, messages: Iterable[Message], *, largest_bytes: int = 1_048_576, compression: str | None = None
) -> None:
    """Write records, and return when all of them are acknowledged."""
    messages = list(messages)

    async def write() -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap,
            acks="all",
            linger_ms=5,
            max_request_size=largest_bytes,
            compression_type=compression,
        )
        await producer.start()
        try:
            sent = [
                await producer.send(
                    message.topic,
                    message.value,
                    key=message.key,
                    partition=message.partition,
                    timestamp_ms=message.timestamp_ms,
                    headers=list(message.headers),
                )
                for message in messages
            ]
            await asyncio.gather(*sent)
        finally:
            await producer.stop()

    asyncio.run(write())
    acknowledged.update((bootstrap, message.topic) for message in messages)


class Transaction(Enum):
    """The end of a transaction, or none yet."""

    COMMITTED = "committed"
    ABORTED = "aborted"
    OPEN = "open"


class TransactionalProducer:
    """A producer with one transaction at a time."""

    def __init__(
        self, bootstrap: str, producer: AIOKafkaProducer, run: Callable[[Coroutine[Any, Any, Any]], Any]
    ) -> None:
        self._bootstrap = bootstrap
        self._producer = producer
        self._run = run
        self._written: list[Message] = []

    def send(self, messages: Iterable[Message], end: Transaction) -> None:
        """Write records in a new transaction, and end it, or leave it open until `finish`."""
        self._written = list(messages)

        async def write() -> None:
            await self._producer.begin_transaction()
            for message in self._written:
                await self._producer.send_and_wait(
                    message.topic, message.value, key=message.key, partition=message.partition
                )

        self._run(write())
        if end is not Transaction.OPEN:
            self.finish(end)

    def finish(self, end: Transaction) -> None:
        """Commit or abort the open transaction."""
        commit = end is Transaction.COMMITTED
        self._run(self._producer.commit_transaction() if commit else self._producer.abort_transaction())
        if commit:
            acknowledged.update((self._bootstrap, message.topic) for message in self._written)


@contextmanager
def transactions(bootstrap: str, transactional_id: str) -> Iterator[TransactionalProducer]:
    """A producer whose records are parts of transactions, until the context ends."""
    with asyncio.Runner() as runner:

        async def connect() -> AIOKafkaProducer:
            producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=transactional_id)
            await producer.start()
            return producer

        producer = runner.run(connect())
        try:
            yield TransactionalProducer(bootstrap, producer, runner.run)
        finally:
            runner.run(producer.stop())


def read_all(bootstrap: str, topics: Sequence[str]) -> list[Stored]:
    """Every record of these topics, in the order of topic, partition and offset."""

    async def read() -> list[Stored]:
        partitions = await _partitions(bootstrap, topics)
        if not partitions:
            return []
        consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest")
        await consumer.start()
        try:
            consumer.assign(partitions)
            await consumer.seek_to_beginning(*partitions)
            ends = await consumer.end_offsets(partitions)
            found: list[Stored] = []
            while any([await consumer.position(partition) < ends[partition] for partition in partitions]):
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    found += [
                        Stored(r.topic, r.partition, r.offset, r.timestamp, r.key, r.value, tuple(r.headers))
                        for r in records
                    ]
            return sorted(found, key=lambda stored: (stored.topic, stored.partition, stored.offset))
        finally:
            await consumer.stop()

    return asyncio.run(read())


def committed(bootstrap: str, group: str) -> dict[tuple[str, int], int]:
    """Offsets that a group has committed, by topic and partition."""

    async def ask() -> dict[tuple[str, int], int]:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        try:
            offsets: Mapping[TopicPartition, OffsetAndMetadata] = await admin.list_consumer_group_offsets(group)
            return {(tp.topic, tp.partition): found.offset for tp, found in offsets.items()}
        finally:
            await admin.close()

    return asyncio.run(ask())


def count_partitions(bootstrap: str, topic: str) -> int:
    """Number of partitions of a topic; 0 if it doesn't exist."""
    return len(asyncio.run(_partitions(bootstrap, [topic])))


async def _partitions(bootstrap: str, topics: Sequence[str]) -> list[TopicPartition]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        existing = set(await admin.list_topics())
        described = await admin.describe_topics([topic for topic in topics if topic in existing])
        return [
            TopicPartition(topic["topic"], partition["partition"])
            for topic in described
            for partition in topic["partitions"]
        ]
    finally:
        await admin.close()


def add_partitions(bootstrap: str, topic: str, count: int) -> None:
    """Let a topic have `count` partitions, more than it has."""

    async def add() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        try:
            await admin.create_partitions({topic: NewPartitions(count)})
        finally:
            await admin.close()

    asyncio.run(add())


def delete_records(bootstrap: str, topic: str, *, before: int, partition: int = 0) -> None:
    """Let a partition begin at offset `before`, as retention does."""

    async def delete() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        try:
            await admin.delete_records({TopicPartition(topic, partition): RecordsToDelete(before_offset=before)})
        finally:
            await admin.close()

    asyncio.run(delete())


def delete_topic(bootstrap: str, topic: str) -> None:
    """Delete a topic, and return when Kafka no longer lists it."""

    async def delete() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        try:
            await admin.delete_topics([topic])
            while topic in await admin.list_topics():
                await asyncio.sleep(0.05)
        finally:
            await admin.close()

    asyncio.run(delete())
