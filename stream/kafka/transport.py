"""Faust's Kafka transport, changed to deliver whole fetches from the offsets that the learned state names.

Faust hands an agent one record at a time: two tasks and three turns of the event loop each, which limits a worker to
about 8,000 records a second. This transport hands it everything that has arrived of one topic as a single message, a
`Fetch` for each partition, and the loop turns once for thousands of records.

It differs from Faust's own in the meaning of an offset. Here **the learned state is the truth**: a topic-partition is
not fetched until its owner has restored its state and called `start_at` with the offsets found in it, and the offsets
that are committed to Kafka are those of the published state. They serve Kafka's own lag monitoring, and reveal a Redis
that came back with less than was published. Faust's own acknowledgements and read offsets are therefore not kept.

This file decides how records travel and when a topic-partition is fetched. What is done with them, which offsets they
start at and what was published is decided by the `PartitionOwner` (`stream.kafka.fetch`).
"""

# ruff: noqa: SLF001  Faust and aiokafka have no public way to most of what a transport needs

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, ClassVar

import faust
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from structlog import get_logger

from stream.ingest.merge import full_share
from stream.kafka.connection.bootstrap import patiently
from stream.kafka.fetch import NO_IDS, Fetch, PartitionOwner, Position
from stream.kafka.group import commit_note, other_model
from stream.kafka.identity.fetch_by_id import FetchById, id_bytes
from stream.kafka.record_maker import Maker, drain, record_maker

log = get_logger(__name__)

FETCH_WAIT_MILLISECONDS = 100
"""Longest time for which the broker may hold back an answer when there is nothing new. A partition that was left out of
a request can be asked for only when that request has ended, so this bounds the loss of freshness by waiting."""

POLL_SECONDS = 0.1
"""Longest wait for records before the positions of all partitions are reported."""


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """The aiokafka consumer, on an event loop in a thread of its own."""

    consumer: Consumer

    def __init__(self, *args: Any, **options: Any) -> None:
        self._sessions: dict[TopicPartition, int] = {}
        self._delivered: dict[TopicPartition, int] = {}
        self._numbers = itertools.count(1)
        super().__init__(*args, **options)
        self._makers: dict[TopicPartition, Maker] = {}
        self._topic_ids: dict[TopicPartition, bytes] = {}
        self._by_name: set[TopicPartition] = set()

    async def on_start(self) -> None:
        """Start the consumer. Nothing is fetched yet: no topic is subscribed to."""
        await super().on_start()
        self._fetch_by_id(self._ensure_consumer()._fetcher)

    def _fetch_by_id(self, fetcher: Any) -> None:
        """Let aiokafka's fetcher name topics by their ids."""
        by_name = fetcher._proc_fetch_request

        async def by_id(assignment: Any, node: int, request: Any) -> bool:
            asked = [TopicPartition(name, each[0]) for name, partitions in request.topics for each in partitions]
            ids = {tp: self._topic_ids.get(tp, b"") for tp in asked}
            sent = FetchById(request, ids) if all(ids.values()) else None
            found = bool(await by_name(assignment, node, sent or request))
            for tp in asked:  # no other task has run since the records arrived
                if self._topic_ids.get(tp, b"") != ids[tp]:
                    fetcher._records.pop(tp, None)  # fetched before the seek, perhaps from another topic
                elif tp in fetcher._records and not (sent and sent.used):
                    self._by_name.add(tp)
            if sent and sent.refused:
                await asyncio.sleep(POLL_SECONDS)  # the owner sees by itself that a topic is gone
            return found

        fetcher._proc_fetch_request = by_id

    def fetches_by_id(self, partitions: Iterable[TP]) -> bool:
        """See `Consumer.fetches_by_id`."""
        targets = list(map(driver.ensure_aiokafka_TP, partitions))
        return all(self._topic_ids.get(tp) and tp not in self._by_name for tp in targets)

    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        # Private attributes, read when the consumer starts: Faust has no setting for either. Records of transactions
        # that are open or were aborted never happened, so they are not fetched.
        consumer._fetch_max_wait_ms = FETCH_WAIT_MILLISECONDS
        consumer._isolation_level = "read_committed"
        consumer.start = patiently(consumer.start, self.consumer.transport.owner.refuse_kafka)
        return consumer

    async def start_at(self, offsets: Mapping[TP, int], topic_ids: Mapping[TP, str] = NO_IDS) -> dict[TP, int]:
        """Seek, and number the sessions that begin; see `Consumer.start_at`."""
        return await self.call_thread(self._start_at, offsets, topic_ids)

    async def _start_at(self, offsets: Mapping[TP, int], topic_ids: Mapping[TP, str] = NO_IDS) -> dict[TP, int]:
        consumer = self._ensure_consumer()
        sessions = {}
        for tp, offset in offsets.items():
            target = driver.ensure_aiokafka_TP(tp)
            self._topic_ids[target] = id_bytes(topic_ids.get(tp, ""))
            self._by_name.discard(target)
            consumer.seek(target, offset)
            self._delivered[target] = offset
            sessions[tp] = self._sessions[target] = next(self._numbers)
        return sessions

    async def ranges(self, partitions: Iterable[TP]) -> dict[TP, tuple[int, int]]:
        """First offset and end of each topic-partition; see `Consumer.ranges`."""
        return await self.call_thread(self._ranges, [driver.ensure_aiokafka_TP(tp) for tp in partitions])

    async def _ranges(self, partitions: list[TopicPartition]) -> dict[TP, tuple[int, int]]:
        consumer = self._ensure_consumer()
        first, end = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
        return {TP(tp.topic, tp.partition): (first[tp], end[tp]) for tp in partitions}

    async def committed(self, partitions: Iterable[TP]) -> dict[TP, int]:
        """Committed offsets; see `Consumer.committed`."""
        return await self.call_thread(self._committed_offsets, [driver.ensure_aiokafka_TP(tp) for tp in partitions])

    async def _committed_offsets(self, partitions: list[TopicPartition]) -> dict[TP, int]:
        # Asked of the coordinator, because `committed` of aiokafka drops the text that was committed with an offset.
        found = await self._ensure_consumer()._coordinator.fetch_committed_offsets(partitions)
        return {
            TP(tp.topic, tp.partition): each.offset
            for tp, each in found.items()
            if each.offset >= 0 and not other_model(each.metadata, self.consumer.model)
        }

    async def group_error(self) -> KafkaError | None:
        """The error that keeps this consumer out of its group, if there is one; see `Consumer.group_error`."""
        if self._consumer is None:
            return None
        return await self.call_thread(self._group_error)

    async def _group_error(self) -> KafkaError | None:
        try:
            self._ensure_consumer()._coordinator.check_errors()  # aiokafka tries again when the error is taken
        except KafkaError as error:
            return error
        return None

    async def fetch(self, wanted: set[TP], started: set[TP]) -> tuple[list[Fetch], list[Position]]:
        """Fetches of the wanted topic-partitions, and the positions of those started ones without any.

        Waits up to `POLL_SECONDS` if nothing has arrived.

        Raises:
            ConsumerStoppedError: the consumer was closed.
            KafkaError: something prevents fetching altogether, such as a missing permission.
        """
        return await self.call_thread(
            self._fetch,
            {driver.ensure_aiokafka_TP(tp) for tp in wanted},
            {driver.ensure_aiokafka_TP(tp) for tp in started},
        )

    async def _fetch(
        self, wanted: set[TopicPartition], started: set[TopicPartition]
    ) -> tuple[list[Fetch], list[Position]]:
        consumer = self._ensure_consumer()
        fetcher = consumer._fetcher
        if consumer._closed or fetcher._closed:
            raise driver.ConsumerStoppedError
        with fetcher._subscriptions.fetch_context():  # also says that this consumer is alive
            if not wanted or not self.consumer.flow_active:
                await asyncio.sleep(POLL_SECONDS)
                return [], []
            most = full_share(len(started))
            drained = await drain(fetcher, wanted, most, self._maker)
            if not drained:
                waiter = fetcher._create_fetch_waiter()
                await asyncio.wait([waiter], timeout=POLL_SECONDS)
                if waiter.done():
                    waiter.result()  # raises if fetching is not possible at all
                else:
                    waiter.cancel()
                drained = await drain(fetcher, wanted, most, self._maker)
        subscription = fetcher._subscriptions.subscription
        assignment = subscription.assignment if subscription is not None else None
        if assignment is None or not assignment.active:
            return [], []
        fetches, positions = [], []
        for tp in started:
            if tp not in assignment.tps or tp not in self._sessions:
                continue
            state = assignment.state_value(tp)
            if not state.has_valid_position:
                continue
            target, session, delivered = TP(tp.topic, tp.partition), self._sessions[tp], self._delivered[tp]
            position, records = state.position, drained.get(tp)
            end = state.highwater if state.lso is None or state.lso < 0 else state.lso  # old brokers have no other
            if position < delivered or (records and records[0].offset < delivered):
                del self._sessions[tp]  # nothing that is fetched from here on follows what was delivered
                positions.append(Position(target, session, delivered, position, end, restarted=True))
                continue
            lost = await self._lost(consumer, tp, delivered, records[0].offset if records else position)
            if self._sessions.get(tp) != session:
                continue  # a seek came while the broker was asked
            if records:
                self._delivered[tp] = position
                fetches.append(Fetch(target, session, delivered, records, position, end, lost))
            else:
                self._delivered[tp] = max(delivered, position) if lost else delivered
                positions.append(Position(target, session, delivered, position, end, lost))
        return fetches, positions

    @staticmethod
    async def _lost(consumer: AIOKafkaConsumer, tp: TopicPartition, delivered: int, reached: int) -> int:
        """Number of offsets from `delivered` on that retention removed before they were fetched.

        Kafka itself leaves offsets out (transaction markers, compaction), so a gap alone is no loss. aiokafka continues
        at the first record that is kept, without a word.
        """
        if reached <= delivered:
            return 0
        first = (await consumer.beginning_offsets([tp]))[tp]
        return max(0, min(first, reached) - delivered)

    def _maker(self, tp: TopicPartition) -> Maker:
        if tp not in self._makers:
            self._makers[tp] = record_maker(
                self.consumer.owner.origin(TP(tp.topic, tp.partition)), schema_headers=self.consumer.schema_headers
            )
        return self._makers[tp]

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        # Faust ends the worker when a commit fails. The published state is the truth here: the next commit suffices.
        try:
            await self._ensure_consumer().commit(
                {
                    driver.ensure_aiokafka_TP(tp): OffsetAndMetadata(offset, commit_note(self.consumer.model))
                    for tp, offset in offsets.items()
                }
            )
        except KafkaError as error:
            log.warning("could not commit offsets; the next commit will", error=repr(error))
            return False
        return True


class Consumer(driver.Consumer):
    """Faust's consumer, with whole fetches as messages and the offsets of the learned state.

    It is the `SeekableConsumer` of the runners (`stream.kafka.fetch`).
    """

    _thread: ConsumerThread
    owner: PartitionOwner
    model: str
    schema_headers: bool

    def __init__(self, transport: Transport, *args: Any, **options: Any) -> None:
        self.owner = transport.owner
        self.model = transport.model
        self.schema_headers = transport.schema_headers
        self._wanted: frozenset[str] = frozenset()
        self._read: frozenset[str] = frozenset()
        self._fetched_partitions: set[TP] = set()
        self._committed: dict[TP, int] = {}
        super().__init__(transport, *args, **options)
        self._read_offset = _NoReadOffsets()

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Read those of these topics that are there. aiokafka would let the broker create the others."""
        self._wanted = frozenset(topics)
        await self.read_present_topics()

    async def read_present_topics(self) -> None:
        """Read topics that have appeared since the last call too, which starts a rebalance. A topic stays read."""
        read = self._read | (self._wanted & self.owner.present_topics())
        if read != self._read:
            self._read = read
            await super().subscribe(read)

    async def start_at(self, offsets: Mapping[TP, int], topic_ids: Mapping[TP, str] = NO_IDS) -> dict[TP, int]:
        """Fetch from these offsets on; return the number of the session that each topic-partition begins.

        Args:
            offsets: of the first records.
            topic_ids: id of each one's topic, empty if it has none. No record of another topic is fetched, if the
                broker understands ids.

        Raises:
            IllegalStateError: one of them isn't assigned to this worker any more.
        """
        sessions = await self._thread.start_at(offsets, topic_ids)
        self._fetched_partitions |= set(sessions)
        return sessions

    def fetches_by_id(self, partitions: Iterable[TP]) -> bool:
        """Return True if all records since `start_at` came from the topics whose ids were given then."""
        return self._thread.fetches_by_id(partitions)

    async def ranges(self, partitions: Iterable[TP]) -> dict[TP, tuple[int, int]]:
        """First offset that Kafka still holds, and the last stable offset, of each topic-partition."""
        return await self._thread.ranges(partitions)

    async def committed(self, partitions: Iterable[TP]) -> dict[TP, int]:
        """Committed offsets of those topic-partitions that have one: how far some published state was."""
        return await self._thread.committed(partitions)

    async def group_error(self) -> KafkaError | None:
        """Take the error that keeps this consumer out of its group; aiokafka then tries again. None while all is well.

        aiokafka keeps such an error until it is taken, and does nothing until then.
        """
        return await self._thread.group_error()

    async def perform_seek(self) -> None:
        """Hand the assignment to its owner. Faust calls this after each rebalance, when records may flow again."""
        assigned = self.assignment()
        self._fetched_partitions &= assigned
        self._committed.clear()
        await self.owner.assigned(assigned)

    async def getmany(
        self,
        timeout: float,  # noqa: ARG002, ASYNC109  Faust's signature
    ) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        """One message for each topic of which something has arrived: a `Fetch` for each of its partitions."""
        if not self.flow_active:
            await self.wait(self.can_resume_flow)
        started = set(self._fetched_partitions)
        wanted = {tp for tp in started if self.owner.has_room(tp)}
        fetches, positions = await self._thread.fetch(wanted, started)
        for position in positions:
            self.owner.note_position(position)
        by_topic: dict[str, list[Fetch]] = {}
        for fetch in fetches:
            by_topic.setdefault(fetch.tp.topic, []).append(fetch)
        for of_topic in by_topic.values():
            if not self.flow_active or self.should_stop:
                break  # a later session fetches it again
            message = self._message_of(of_topic)
            yield message.tp, message

    def _message_of(self, fetches: list[Fetch]) -> ConsumerMessage:
        tp = fetches[0].tp
        first = fetches[0].records[0]
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            first.offset,
            first.timestamp_ms / 1000.0,
            0,
            [],
            None,
            fetches,
            None,
            None,
            None,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    async def force_commit(
        self,
        topics: Any = None,  # noqa: ARG002  Faust's signature
        start_new_transaction: bool = True,  # noqa: ARG002  Faust's signature
    ) -> bool:
        """Commit the offsets of the published states; return whether anything was committed."""
        if self._thread._consumer is None:  # stopped before it was started
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
        """Do nothing. Faust checks here for records without acknowledgement; our lag metrics replace that."""


class Producer(driver.Producer):
    """Faust's producer, which the app starts before its consumer. Nothing is sent with it."""

    def _new_producer(self, transactional_id: str | None = None) -> AIOKafkaProducer:
        producer = super()._new_producer(transactional_id)
        producer.start = patiently(producer.start, self.transport.owner.refuse_kafka)
        return producer


class Transport(driver.Transport):
    """Faust's aiokafka transport with our consumer.

    Args:
        url, app: as Faust gives them.
        owner: of the partitions that are assigned to this worker.
        model: name of the model, which is committed with every offset.
        schema_headers: True to look for headers that name a record's schema.
    """

    Consumer: ClassVar[Any] = Consumer
    Producer: ClassVar[Any] = Producer

    def __init__(self, url: Any, app: Any, *, owner: PartitionOwner, model: str, schema_headers: bool = False) -> None:
        super().__init__(url, app)
        self.owner = owner
        self.model = model
        self.schema_headers = schema_headers


class FetchSchema(faust.Schema):
    """The identity schema: an agent receives the fetches as the transport made them."""

    def loads_key(self, app: Any, message: Any, **options: Any) -> None:  # noqa: ARG002  Faust's signature
        return None

    def loads_value(self, app: Any, message: Any, **options: Any) -> list[Fetch]:  # noqa: ARG002  Faust's signature
        return message.value


class _NoReadOffsets(dict[TP, Any]):
    """An always empty map. Faust drops messages whose offset is below one in it: a loss after a seek backwards."""

    def __missing__(self, tp: TP) -> None:
        return None

    def __setitem__(self, tp: TP, offset: Any) -> None:
        """Remember nothing."""
