"""The reader of the topics of documents, one of which is active among the workers of a model.

The workers take turns by a claim in Redis that runs out: if the one that reads is gone, another goes on after
`CLAIM_SECONDS` at the latest. Two that both take themselves for the reader do no harm, because a part of a log is
written only if the log is at the place where that part begins.

This file decides which worker reads, how much at a time, and what happens if Kafka or Redis doesn't answer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from redis.exceptions import RedisError
from structlog import get_logger

from stream.catalogue_store.keys import Kind
from stream.catalogue_store.store import CatalogueStore, DocumentStore, Moved, Span, Write, Written
from stream.catalogue_topics.document_records import read_record
from stream.catalogue_topics.places import Place, go_on_from, place_of
from stream.ingest.records import Record, Rejection
from stream.kafka.connection.options import client_options
from stream.kafka.dead_letters import DeadLetter, dead_letter
from stream.kafka.identity.errors import IdentitiesUnknown
from stream.kafka.identity.topic_ids import TopicIds
from stream.kafka.letter_writer import DeadLetters
from stream.settings import Settings

log = get_logger(__name__)

CLAIM_SECONDS = 5.0
"""Time after which another worker may read if the one that does says nothing."""

RENEW_SECONDS = 1.0
"""Interval at which a worker asks to read, or to go on reading."""

LOOK_SECONDS = 2.0
"""Interval at which topics and their partitions are looked at."""

WAIT_SECONDS = 0.2
"""Longest wait for records before the clock is looked at again; records that come end it at once."""

READ_TOGETHER = 500
"""Documents that are written in one step of Redis, which answers nothing else meanwhile."""

PARTITION_BYTES = 512 * 1024
"""Bytes that are fetched of a partition at a time. The loop that takes them apart is the one that learning uses."""

RETRY_SECONDS = 1.0
"""Pause after Kafka or Redis did not answer."""

KINDS: Mapping[str, Kind] = {"items": "item", "users": "user"}
"""Kind of the documents of each topic, by our name of the topic."""


class Counts(NamedTuple):
    """Outcomes of the records of one part of a log."""

    written: int
    deleted: int
    unchanged: int
    older: int
    dead_letters: int


class Log(NamedTuple):
    """A partition that is read.

    Attributes:
        topic: our name of its topic.
        topic_id: id of the topic in Kafka.
        place: stored place from which the next part goes on.
    """

    topic: str
    topic_id: str
    place: str


class DocumentReader:
    """Reads the topics of documents while no other worker does.

    Args:
        settings: names of the topics, addresses and security of Kafka.
        store: of the model's catalogue.
        name: of the worker; no other one may have it.
        letters: writes the dead letters of documents that can't be read.
        with_redis: runs a function in a thread that waits for Redis.
        count: takes our name of a topic and what became of its records.
        show_lag: takes our name of a topic and the number of its records that are not read yet; None if another worker
            reads it.
    """

    def __init__(
        self,
        settings: Settings,
        store: CatalogueStore,
        name: str,
        letters: DeadLetters,
        with_redis: Callable[[Callable[[], Any]], Awaitable[Any]],
        count: Callable[[str, Counts], None] = lambda _topic, _counts: None,
        show_lag: Callable[[str, int | None], None] = lambda _topic, _lag: None,
    ) -> None:
        self._settings = settings
        self._topics = settings.document_topics
        self._store = store
        self._name = name
        self._letters = letters
        self._with_redis = with_redis
        self._count = count
        self._show_lag = show_lag
        self._topic_ids = TopicIds(settings)
        self._logs: dict[TopicPartition, Log] = {}
        self._failing = False
        self._said: set[str] = set()

    async def run(self) -> None:
        """Read whenever this worker may, until cancelled. A failure is logged once, and what failed is tried again."""
        if not self._topics:
            return
        try:
            while True:
                try:
                    if await self._may_read():
                        await self._read()
                    await asyncio.sleep(RENEW_SECONDS)
                except (KafkaError, RedisError, IdentitiesUnknown, OSError, TimeoutError) as error:
                    self._note(error)
                    await asyncio.sleep(RETRY_SECONDS)
                except Exception as error:  # no reason to stop learning; it is logged, and reading goes on
                    log.exception("reading documents failed")
                    self._note(error)
                    await asyncio.sleep(RETRY_SECONDS)
        finally:
            await self._topic_ids.close()

    async def give_up(self) -> None:
        """Let another worker read at once."""
        if self._topics:
            with contextlib.suppress(RedisError):
                await self._with_redis(lambda: self._store.claim_reading(self._name, 0.0))

    async def _may_read(self) -> bool:
        return bool(await self._with_redis(lambda: self._store.claim_reading(self._name, CLAIM_SECONDS)))

    async def _read(self) -> None:
        """Read until another worker does."""
        loop = asyncio.get_running_loop()
        consumer = AIOKafkaConsumer(
            **client_options(self._settings),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            max_partition_fetch_bytes=PARTITION_BYTES,
        )
        self._logs = {}
        look_at = renew_at = loop.time()
        await consumer.start()
        try:
            while True:
                if loop.time() >= renew_at:
                    if not await self._may_read():
                        return
                    renew_at = loop.time() + RENEW_SECONDS
                if loop.time() >= look_at:
                    await self._look(consumer)
                    look_at = loop.time() + LOOK_SECONDS
                if not self._logs:
                    await asyncio.sleep(WAIT_SECONDS)
                    continue
                found = await consumer.getmany(timeout_ms=int(1000 * WAIT_SECONDS), max_records=READ_TOGETHER)
                for partition, records in found.items():
                    await self._take(consumer, partition, records)
                await self._measure(consumer)
                self._note(None)
        finally:
            for topic in self._topics:
                self._show_lag(topic, None)
            await consumer.stop()

    async def _look(self, consumer: AIOKafkaConsumer) -> None:
        """Read the partitions that there are now."""
        present: dict[TopicPartition, tuple[str, str]] = {}
        for topic, name in self._topics.items():
            try:
                found = await self._topic_ids.partitions(name)
            except IdentitiesUnknown as error:
                if topic not in self._said:
                    self._said.add(topic)
                    log.info("no documents are read from this topic until it appears", topic=name, reason=str(error))
                continue
            present |= {TopicPartition(tp.topic, tp.partition): (topic, each.topic_id) for tp, each in found.items()}
        if present == {partition: (each.topic, each.topic_id) for partition, each in self._logs.items()}:
            return
        consumer.assign(list(present))
        self._logs = {}
        first, ends = await consumer.beginning_offsets(list(present)), await consumer.end_offsets(list(present))
        for partition, (topic, topic_id) in present.items():
            text = await self._stored_place(partition)
            offset, problem = go_on_from(place_of(text), topic_id, first[partition], ends[partition])
            if problem is not None:
                log.warning("documents are not read from where reading ended", log=_name_of(partition), reason=problem)
            consumer.seek(partition, offset)
            self._logs[partition] = Log(topic, topic_id, text)
        log.info("reading documents", partitions=sorted(map(_name_of, present)))

    async def _take(self, consumer: AIOKafkaConsumer, partition: TopicPartition, records: list[Any]) -> None:
        """Write the documents of some records, and the place after them. Dead letters are acknowledged before."""
        reading = self._logs[partition]
        store: DocumentStore[Any] = self._store.items if reading.topic == "items" else self._store.users
        kind = KINDS[reading.topic]
        after = Place(reading.topic_id, records[-1].offset + 1).text()

        def read() -> tuple[list[Write[Any]], list[DeadLetter]]:
            writes, letters = [], []
            for each in records:
                found = read_record(store.documents, kind, each.key, each.value)
                if isinstance(found, str):
                    record = Record(_name_of(partition), each.offset, each.timestamp, each.value, each.key)
                    rejection = Rejection(record, found)
                    letters.append(dead_letter(rejection, topic=partition.topic, partition=partition.partition))
                else:
                    writes.append(found)
            return writes, letters

        writes, letters = await self._with_redis(read)
        await self._letters.send(letters)
        span = Span(_name_of(partition), reading.place, after)
        try:
            written: Written = await self._with_redis(lambda: store.write_from(span, writes))
        except Moved as moved:
            place = place_of(moved.place)
            log.info("another worker has read documents", log=span.log, to=moved.place)
            self._logs[partition] = reading._replace(place=moved.place)
            if place is not None and place.topic_id == reading.topic_id:
                consumer.seek(partition, place.offset)
            return
        self._logs[partition] = reading._replace(place=after)
        deleted = sum(each.document is None for each in writes)
        kept = len(writes) - deleted - written.unchanged - written.older
        self._count(reading.topic, Counts(kept, deleted, written.unchanged, written.older, len(letters)))

    async def _stored_place(self, partition: TopicPartition) -> str:
        return str(await self._with_redis(lambda: self._store.place_in(_name_of(partition))))

    async def _measure(self, consumer: AIOKafkaConsumer) -> None:
        lag = dict.fromkeys((each.topic for each in self._logs.values()), 0)
        for partition, each in self._logs.items():
            end = consumer.highwater(partition)
            if end is not None:
                lag[each.topic] += max(0, end - await consumer.position(partition))
        for topic, records in lag.items():
            self._show_lag(topic, records)

    def _note(self, error: Exception | None) -> None:
        if self._failing != (error is not None):
            self._failing = error is not None
            if error is not None:
                log.warning("documents are not read for now; it is tried again", error=str(error) or repr(error))
            else:
                log.info("documents are read again")


def _name_of(partition: TopicPartition) -> str:
    """The name of a log, under which its place is stored."""
    return f"{partition.topic}/{partition.partition}"
