"""Kafka to agents, one whole fetch at a time, starting at the offsets that the learned state names.

Faust hands an agent one record at a time: two tasks and three turns of the event loop each, which ends near 8,000
records a second. This transport hands it everything that one fetch brought for one partition as one message, and the
loop turns once for thousands of records.

It differs from Faust's own in what an offset means. Here **the learned state is the truth**: a partition is not fetched
until somebody has restored its state and called `start_at` with the offsets found in it, and the offsets that Kafka is
told (`commit`) are those of the published state. They serve the lag monitor of whoever runs Kafka, and show whether
Redis came back with less than was published. Faust's own acknowledgements and read offsets are therefore not kept.

Each `start_at` begins a new **session** of its partitions, and every `Fetch` names the session that it belongs to. What
was fetched before a seek and is still under way after it can be told apart that way, and dropped.

This file decides how records travel and when a partition is fetched. What is done with them, which offsets they start
at and what was published is decided by the `PartitionOwner` that the worker sets.
"""



from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any, ClassVar, NamedTuple, Protocol

import faust
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from structlog import get_logger

from stream.ingest.records import Record

log = get_logger(__name__)

FETCH_WAIT_MILLISECONDS = 100
"""How long the broker may hold back an answer when there is nothing new. A partition that was left out of a request can
be asked for only when that request has ended, so this bounds what waiting costs in freshness."""

POLL_SECONDS = 0.1


class Fetch(NamedTuple):
    """What one fetch brought for one topic-partition: the message that an agent receives."""

    topic: str
    """Our name of the topic."""
    partition: int
    session: int
    since: int
    """Where this fetch started: all below was handed over before, or was never there."""
    records: list[Record]
    next_offset: int
    """Where the next fetch starts; may be further than behind the last record."""
    end: int | None
    """The offset that the topic-partition's next record will get, as far as is known."""


class PartitionOwner(Protocol):
    """Who learns from the partitions."""

    async def assigned(self, partitions: set[TP]) -> None:
        """These topic-partitions, and no others, are ours now. Each needs a `start_at` before it is fetched."""

    def has_room(self, tp: TP) -> bool:
        """Whether more of this topic-partition is wanted now."""

    def reached(self, tp: TP, session: int, *, handed: int, position: int, end: int | None) -> None:
        """Nothing was fetched: all below `handed` was handed to an agent, and below `position` nothing follows."""

    def published(self) -> Mapping[TP, int]:
        """Next offsets of the published state, to be committed."""


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """The consumer itself, on an event loop in a thread of its own."""

    consumer: Consumer

    def __init__(self, *args: Any, **options: Any) -> None:
        self._sessions: dict[TopicPartition, int] = {}
        self._handed: dict[TopicPartition, int] = {}
        self._numbers = itertools.count(1)
        super().__init__(*args, **options)
        self._makers = {kafka_name: record_maker(topic) for kafka_name, topic in self.consumer.our_names.items()}

    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MILLISECONDS  # Faust has no setting for it
        return consumer

    async def start_at(self, offsets: Mapping[TP, int]) -> dict[TP, int]:
        """Seek, and number the sessions that begin. Raises `IllegalStateError` if a partition isn't ours any more."""
        return await self.call_thread(self._start_at, offsets)

    async def _start_at(self, offsets: Mapping[TP, int]) -> dict[TP, int]:
        consumer = self._ensure_consumer()
        sessions = {}
        for tp, offset in offsets.items():
            target = driver.ensure_aiokafka_TP(tp)
            consumer.seek(target, offset)
            self._handed[target] = offset
            sessions[tp] = self._sessions[target] = next(self._numbers)
        return sessions

    async def ranges(self, partitions: Iterable[TP]) -> dict[TP, tuple[int, int]]:
        """First offset that Kafka still has, and the one behind the last, of each partition."""
        return await self.call_thread(self._ranges, [driver.ensure_aiokafka_TP(tp) for tp in partitions])

    async def _ranges(self, partitions: list[TopicPartition]) -> dict[TP, tuple[int, int]]:
        consumer = self._ensure_consumer()
        first, end = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
        return {TP(tp.topic, tp.partition): (first[tp], end[tp]) for tp in partitions}

    async def committed(self, partitions: Iterable[TP]) -> dict[TP, int]:
        """Offsets that were committed, of those partitions that have any."""
        return await self.call_thread(self._committed_offsets, [driver.ensure_aiokafka_TP(tp) for tp in partitions])

    async def _committed_offsets(self, partitions: list[TopicPartition]) -> dict[TP, int]:
        consumer = self._ensure_consumer()
        offsets = {tp: await consumer.committed(tp) for tp in partitions}
        return {TP(tp.topic, tp.partition): offset for tp, offset in offsets.items() if offset is not None}

    async def fetch(self, wanted: set[TP], started: set[TP]) -> tuple[list[Fetch], list[tuple[TP, int, int, int, Any]]]:
        """What has arrived for the wanted partitions, after a short wait if nothing has; how far the others are."""
        return await self.call_thread(
            self._fetch,
            {driver.ensure_aiokafka_TP(tp) for tp in wanted},
            {driver.ensure_aiokafka_TP(tp) for tp in started},
        )

    async def _fetch(
        self, wanted: set[TopicPartition], started: set[TopicPartition]
    ) -> tuple[list[Fetch], list[tuple[TP, int, int, int, Any]]]:
        consumer = self._ensure_consumer()
        fetcher = consumer._fetcher
        if consumer._closed or fetcher._closed:
            raise driver.ConsumerStoppedError
        with fetcher._subscriptions.fetch_context():  # also says that this consumer is alive
            if not wanted or not self.consumer.flow_active:
                await asyncio.sleep(POLL_SECONDS)
                return [], []
            drained = await self._drain(fetcher, wanted)
            if not drained:
                waiter = fetcher._create_fetch_waiter()
                await asyncio.wait([waiter], timeout=POLL_SECONDS)
                if waiter.done():
                    waiter.result()  # raises what keeps us from fetching at all, such as missing permission
                else:
                    waiter.cancel()
                drained = await self._drain(fetcher, wanted)
        subscription = fetcher._subscriptions.subscription
        assignment = subscription.assignment if subscription is not None else None
        if assignment is None or not assignment.active:
            return [], []
        fetches, idle = [], []
        for tp in started:
            if tp not in assignment.tps or tp not in self._sessions:
                continue
            state = assignment.state_value(tp)
            if not state.has_valid_position:
                continue
            if records := drained.get(tp):
                topic = self.consumer.our_names[tp.topic]
                since, self._handed[tp] = self._handed[tp], state.position
                fetches.append(
                    Fetch(topic, tp.partition, self._sessions[tp], since, records, state.position, state.highwater)
                )
            else:
                ours = TP(tp.topic, tp.partition)
                idle.append((ours, self._sessions[tp], self._handed[tp], state.position, state.highwater))
        return fetches, idle

    async def _drain(self, fetcher: Any, wanted: set[TopicPartition]) -> Mapping[TopicPartition, list[Record]]:
        # What is still packed becomes our records at once, instead of first becoming aiokafka's: half the time.
        for result in fetcher._records.values():
            packed = getattr(result, "_partition_records", None)
            if packed is not None:
                packed._consumer_record = self._makers[result._topic_partition.topic]
        return await fetcher.fetched_records(wanted, timeout=0)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        # Faust ends the worker when a commit fails. Ours are a courtesy: the next one will do.
        try:
            await self._ensure_consumer().commit(
                {driver.ensure_aiokafka_TP(tp): OffsetAndMetadata(offset, "") for tp, offset in offsets.items()}
            )
        except KafkaError as error:
            log.warning("could not commit offsets; the next commit will", error=repr(error))
            return False
        return True


class Consumer(driver.Consumer):
    """Faust's consumer with whole fetches for messages and the learned state for offsets."""

    _thread: ConsumerThread
    owner: PartitionOwner
    our_names: Mapping[str, str]

    def __init__(self, transport: Transport, *args: Any, **options: Any) -> None:
        self.owner = transport.owner
        self.our_names = transport.our_names
        self._fetched_partitions: set[TP] = set()
        self._committed: dict[TP, int] = {}
        super().__init__(transport, *args, **options)
        self._read_offset = _NoReadOffsets()

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def start_at(self, offsets: Mapping[TP, int]) -> dict[TP, int]:
        """Fetch these partitions from these offsets on; gives the number of the session that each of them begins.

        Raises:
            IllegalStateError: one of them isn't ours any more.
        """
        sessions = await self._thread.start_at(offsets)
        self._fetched_partitions |= set(sessions)
        return sessions

    def halt(self, partitions: Iterable[TP]) -> None:
        """Don't fetch these until they are started again."""
        self._fetched_partitions -= set(partitions)

    async def ranges(self, partitions: Iterable[TP]) -> dict[TP, tuple[int, int]]:
        """First offset that Kafka still has, and the one behind the last, of each partition."""
        return await self._thread.ranges(partitions)

    async def committed(self, partitions: Iterable[TP]) -> dict[TP, int]:
        """Offsets that were committed, of those partitions that have any: how far some published state was."""
        return await self._thread.committed(partitions)

    async def perform_seek(self) -> None:
        """Called after each rebalance, when records may flow again."""
        assigned = self.assignment()
        self._fetched_partitions &= assigned
        self._committed.clear()
        await self.owner.assigned(assigned)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        """One message for each partition that something has arrived for."""
        if not self.flow_active:
            await self.wait(self.can_resume_flow)
        started = set(self._fetched_partitions)
        wanted = {tp for tp in started if self.owner.has_room(tp)}
        fetches, idle = await self._thread.fetch(wanted, started)
        for tp, session, handed, position, end in idle:
            self.owner.reached(tp, session, handed=handed, position=position, end=end)
        for fetch in fetches:
            if not self.flow_active or self.should_stop:
                break  # the next session fetches it again
            message = self._message_of(fetch)
            yield message.tp, message

    def _message_of(self, fetch: Fetch) -> ConsumerMessage:
        tp = TP(self.transport.kafka_names[fetch.topic], fetch.partition)
        first = fetch.records[0]
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            first.offset,
            first.timestamp_ms / 1000.0,
            0,
            [],
            None,
            fetch,
            None,
            None,
            None,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Tell Kafka how far the published state is."""
        if self._thread._consumer is None:  # stopped before it began
            return False
        assignment = self.assignment()
        offsets = {
            tp: offset
            for tp, offset in self.owner.published().items()
            if tp in assignment and self._committed.get(tp) != offset
        }
        if not offsets or not await self._commit(offsets):
            return False
        self._committed.update(offsets)
        return True

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust looks here for records that were not acknowledged; our metrics tell the lag instead."""


class Transport(driver.Transport):
    """Faust's aiokafka transport with our consumer."""

    Consumer: ClassVar[Any] = Consumer

    def __init__(self, url: Any, app: Any, *, owner: PartitionOwner, topics: Mapping[str, str]) -> None:
        """`topics`: our name of each topic to its name in Kafka."""
        super().__init__(url, app)
        self.owner = owner
        self.kafka_names = dict(topics)
        self.our_names = {kafka_name: name for name, kafka_name in topics.items()}


class FetchSchema(faust.Schema):
    """The identity: an agent receives the `Fetch` as the transport made it."""

    def loads_key(self, app: Any, message: Any, **options: Any) -> None:
        return None

    def loads_value(self, app: Any, message: Any, **options: Any) -> Fetch:
        return message.value


class _NoReadOffsets(dict[TP, Any]):
    """Faust drops a message whose offset is below one that it has seen: a loss after a seek backwards."""

    def __missing__(self, tp: TP) -> None:
        return None

    def __setitem__(self, tp: TP, offset: Any) -> None:
        """Nothing is remembered."""


def record_maker(topic: str) -> Callable[[TopicPartition, Any], Record]:
    """A function that makes our records of a topic from aiokafka's. It is called for every record there is."""
    new = tuple.__new__  # what `Record(…)` does, without a second call of a Python function

    def make(_: TopicPartition, record: Any) -> Record:
        return new(Record, (topic, record.offset, record.timestamp, record.value, record.key))

    return make
