"""The transport on a fake of aiokafka's consumer: sessions, room, positions, and the commit of published offsets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import FetchError
from aiokafka.errors import IllegalStateError, InconsistentGroupProtocolError, KafkaConnectionError
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers.aiokafka import ConsumerStoppedError
from faust.types import TP
from structlog.testing import capture_logs

from stream.ingest.merge import full_share
from stream.ingest.records import Record
from stream.kafka.assignor import ShardAssignor
from stream.kafka.fetch import Fetch, Position
from stream.kafka.identity.fetch_by_id import FetchById, id_bytes
from stream.kafka.refusals import CannotLearn
from stream.kafka.transport import Consumer, ConsumerThread, Transport
from stream.settings import Settings
from stream.worker import WorkerApp, make_app

SETTINGS = Settings(
    kafka="127.0.0.1:1", clicks_topic="shop-clicks", purchases_topic="shop-purchases", feedback_topic="shop-feedback"
)
CLICKS, PURCHASES = TP("shop-clicks", 1), TP("shop-purchases", 1)


def record(offset: int, topic: str = "clicks") -> Record:
    return Record(topic, offset, 1_700_000_000_000 + offset, b"{}")


class FakeFetcher:
    """aiokafka's fetcher: records that have arrived, and the positions behind them."""

    def __init__(self, consumer: FakeKafkaConsumer) -> None:
        self._closed = False
        self._records: dict[TopicPartition, Any] = {}
        self._subscriptions = SimpleNamespace(fetch_context=contextlib.nullcontext, subscription=consumer.subscription)
        self._consumer = consumer
        self.later: dict[TopicPartition, Any] = {}
        self.error: Exception | None = None

    def _create_fetch_waiter(self) -> asyncio.Future[None]:
        waiter = asyncio.get_running_loop().create_future()
        if self.error is not None:
            waiter.set_exception(self.error)
        elif self.later:
            self._records.update(self.later)
            self.later = {}
            waiter.set_result(None)
        return waiter

    async def fetched_records(
        self,
        partitions: set[TopicPartition],
        timeout: float,  # noqa: ASYNC109  aiokafka's signature
        max_records: int | None = None,
    ) -> dict[TopicPartition, list[list[Record]]]:
        for tp in partitions & self._records.keys():
            result = self._records[tp]
            if isinstance(result, FetchError):
                del self._records[tp]
                result.check_raise()
            taken, result.portions = result.portions[:max_records], result.portions[max_records:]
            if not result.portions:
                del self._records[tp]
            self._consumer.states[tp].position = taken[-1][-1].offset + 1
            return {tp: taken}
        return {}


class FakeKafkaConsumer:
    """aiokafka's consumer of an assignment, in memory."""

    def __init__(self, *partitions: TP) -> None:
        self._closed = False
        self.states = {
            TopicPartition(*tp): SimpleNamespace(has_valid_position=True, position=0, highwater=104, lso=100)
            for tp in partitions
        }
        self.subscription = SimpleNamespace(
            assignment=SimpleNamespace(active=True, tps=set(self.states), state_value=self.states.__getitem__)
        )
        self._fetcher = FakeFetcher(self)
        self._coordinator = SimpleNamespace(
            fetch_committed_offsets=self._fetch_committed_offsets, check_errors=self._check_errors
        )
        self.first_offset = 0
        self.committed_offsets: dict[TopicPartition, OffsetAndMetadata] = {}
        self.commits: list[dict[TopicPartition, int]] = []
        self.notes: set[str] = set()
        self.subscriptions: list[set[str]] = []
        self.group_error: Exception | None = None
        self.commit_error: Exception | None = None

    def seek(self, tp: TopicPartition, offset: int) -> None:
        if tp not in self.states:
            raise IllegalStateError(f"{tp} is not assigned")
        self.states[tp].position = offset

    async def subscribe(self, topics: set[str], listener: Any) -> None:
        self.subscriptions.append(topics)

    def assignment(self) -> set[TopicPartition]:
        return set(self.states)

    async def beginning_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, self.first_offset)

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return {tp: self.states[tp].lso for tp in partitions}

    async def _fetch_committed_offsets(
        self, partitions: list[TopicPartition]
    ) -> dict[TopicPartition, OffsetAndMetadata]:
        return {tp: self.committed_offsets.get(tp, OffsetAndMetadata(-1, "")) for tp in partitions}

    def _check_errors(self) -> None:
        error, self.group_error = self.group_error, None
        if error is not None:
            raise error

    async def commit(self, offsets: Mapping[TopicPartition, Any]) -> None:
        if self.commit_error is not None:
            raise self.commit_error
        self.commits.append({tp: each.offset for tp, each in offsets.items()})
        self.notes |= {each.metadata for each in offsets.values()}

    def arrive(self, tp: TP, *offsets: int, later: bool = False) -> None:
        """Let records arrive at once, or while the consumer waits for them."""
        arrived = self._fetcher.later if later else self._fetcher._records
        records = [record(offset) for offset in offsets]
        portions = [each for each in (records[:1], records[1:]) if each]
        arrived[TopicPartition(*tp)] = SimpleNamespace(_partition_records=None, portions=portions)


class FakeOwner:
    """An owner of partitions that notes what it is asked."""

    def __init__(self) -> None:
        self.full: set[TP] = set()
        self.present: frozenset[str] = frozenset()
        self.assignments: list[set[TP]] = []
        self.positions: list[Position] = []
        self.offsets: dict[TP, int] = {}

    async def assigned(self, partitions: set[TP]) -> None:
        self.assignments.append(partitions)

    def origin(self, tp: TP) -> str:
        return f"{tp.topic.removeprefix('shop-')}/{tp.partition}"

    def present_topics(self) -> frozenset[str]:
        return self.present

    def has_room(self, tp: TP) -> bool:
        return tp not in self.full

    def note_position(self, position: Position) -> None:
        self.positions.append(position)

    def published(self) -> Mapping[TP, int]:
        return self.offsets

    def refuse_kafka(self, error: Exception) -> Exception:
        return CannotLearn(str(error))


class DirectThread(ConsumerThread):
    """The consumer's thread without a thread: calls run on the loop of the test."""

    async def call_thread(self, fun: Any, *arguments: Any, **options: Any) -> Any:
        return await fun(*arguments, **options)


class DirectConsumer(Consumer):
    """Our consumer over `DirectThread`."""

    def _new_consumer_thread(self) -> ConsumerThread:
        return DirectThread(self, loop=self.loop, beacon=self.beacon)


class DirectTransport(Transport):
    """Our transport with `DirectConsumer`."""

    Consumer = DirectConsumer


class Bench:
    """A consumer between a fake Kafka and a fake owner."""

    def __init__(self, app: WorkerApp) -> None:
        self.owner = FakeOwner()
        app.transport = DirectTransport(app.conf.broker_consumer, app, owner=self.owner, model="shop")
        self.kafka = FakeKafkaConsumer(CLICKS, PURCHASES)
        self.consumer = app.consumer
        self.consumer._thread._consumer = self.kafka

    async def poll(self) -> list[Fetch]:
        return [fetch async for _, message in self.consumer.getmany(timeout=1.0) for fetch in message.value]


@pytest.fixture
def app() -> Iterator[WorkerApp]:
    configured = structlog.get_config()
    app = make_app(SETTINGS)
    yield app
    app.worker._resources.close()
    structlog.configure(**configured)


@pytest.fixture
async def bench(app: WorkerApp) -> Bench:
    return Bench(app)


async def test_topics_that_are_not_there_are_read_once_they_appear(bench: Bench) -> None:
    bench.owner.present = frozenset({"shop-clicks", "another"})
    await bench.consumer.subscribe(["shop-clicks", "shop-purchases"])
    assert bench.kafka.subscriptions == [{"shop-clicks"}]
    await bench.consumer.read_present_topics()
    assert len(bench.kafka.subscriptions) == 1, "the same topics again would start a rebalance"
    bench.owner.present = frozenset({"shop-purchases"})
    await bench.consumer.read_present_topics()
    assert bench.kafka.subscriptions[1:] == [{"shop-clicks", "shop-purchases"}], "a topic stays read"


async def test_the_group_is_joined_with_the_assignor_of_shards(app: WorkerApp) -> None:
    made = app.consumer._thread._create_worker_consumer(app.transport)
    (assignor,) = made._partition_assignment_strategy
    assert isinstance(assignor, ShardAssignor)


async def test_clients_that_start_while_no_broker_answers_wait_for_one(app: WorkerApp) -> None:
    """Kafka may go away between the checks at the start of a worker and this."""
    producer, consumer = app.producer._new_producer(), app.consumer._thread._create_worker_consumer(app.transport)
    for client in (producer, consumer):
        with capture_logs() as logs:
            starting = asyncio.create_task(client.start())
            while not logs and not starting.done():
                await asyncio.sleep(0)
            assert not starting.done()
            starting.cancel()
        assert [(line["event"], line["log_level"]) for line in logs] == [("Kafka does not answer yet", "warning")]
        await client.stop()


async def test_nothing_is_fetched_before_the_owner_has_started_a_partition(bench: Bench) -> None:
    bench.kafka.arrive(CLICKS, 0, 1)
    assert await bench.poll() == []
    assert bench.owner.positions == []
    await bench.consumer.start_at({CLICKS: 0})
    assert [fetch.tp for fetch in await bench.poll()] == [CLICKS]


async def test_a_fetch_says_where_it_began_where_the_next_begins_and_the_known_end(bench: Bench) -> None:
    sessions = await bench.consumer.start_at({CLICKS: 5})
    bench.kafka.arrive(CLICKS, 7, 8)  # 5 and 6 were compacted away
    assert await bench.poll() == [Fetch(CLICKS, sessions[CLICKS], 5, [record(7), record(8)], 9, 100)]
    bench.kafka.arrive(CLICKS, 9, later=True)
    assert await bench.poll() == [Fetch(CLICKS, sessions[CLICKS], 9, [record(9)], 10, 100)]


async def test_every_start_begins_a_session_of_its_own(bench: Bench) -> None:
    first = await bench.consumer.start_at({CLICKS: 0, PURCHASES: 0})
    second = await bench.consumer.start_at({CLICKS: 4})
    assert len({*first.values(), *second.values()}) == 3
    bench.kafka.arrive(CLICKS, 4)
    (fetch,) = await bench.poll()
    assert (fetch.session, fetch.since) == (second[CLICKS], 4)
    assert {position.session for position in bench.owner.positions} == {first[PURCHASES]}


async def test_a_partition_without_records_reports_its_position_and_end(bench: Bench) -> None:
    sessions = await bench.consumer.start_at({CLICKS: 0, PURCHASES: 2})
    bench.kafka.states[TopicPartition(*PURCHASES)].position = 6  # skipped by the client: a transaction's marker
    bench.kafka.arrive(CLICKS, 0)
    assert len(await bench.poll()) == 1
    assert bench.owner.positions == [Position(PURCHASES, sessions[PURCHASES], 2, 6, 100)]


async def test_a_partition_without_room_is_not_fetched_and_loses_nothing(bench: Bench) -> None:
    await bench.consumer.start_at({CLICKS: 0, PURCHASES: 0})
    bench.owner.full = {CLICKS}
    bench.kafka.arrive(CLICKS, 0, 1)
    bench.kafka.arrive(PURCHASES, 0)
    assert [fetch.tp for fetch in await bench.poll()] == [PURCHASES]
    bench.owner.full = set()
    (fetch,) = await bench.poll()
    assert (fetch.tp, fetch.since, len(fetch.records)) == (CLICKS, 0, 2)


async def test_nothing_is_fetched_if_nothing_has_room(bench: Bench) -> None:
    await bench.consumer.start_at({CLICKS: 0})
    bench.owner.full = {CLICKS}
    assert await bench.poll() == []
    assert bench.owner.positions == []


async def test_fetches_that_arrive_while_the_flow_stops_are_left_to_the_next_session(bench: Bench) -> None:
    await bench.consumer.start_at({CLICKS: 0, PURCHASES: 0})
    bench.kafka.arrive(CLICKS, 0)
    bench.kafka.arrive(PURCHASES, 0)
    fetched = []
    async for _, message in bench.consumer.getmany(timeout=1.0):
        fetched += message.value
        bench.consumer.stop_flow()
    assert len(fetched) == 1


async def test_a_partition_gives_whole_batches_until_it_has_its_share_and_keeps_the_others_packed(bench: Bench) -> None:
    await bench.consumer.start_at({CLICKS: 0, PURCHASES: 0})
    bench.kafka.arrive(CLICKS, *range(100_000))
    result = bench.kafka._fetcher._records[TopicPartition(*CLICKS)]
    records = [each for portion in result.portions for each in portion]
    result.portions = [records[start : start + 20_000] for start in range(0, 100_000, 20_000)]
    assert full_share(2) == 30_000
    polls = [[(fetch.since, len(fetch.records), fetch.next_offset) for fetch in await bench.poll()] for _ in range(3)]
    assert polls == [[(0, 40_000, 40_000)], [(40_000, 40_000, 80_000)], [(80_000, 20_000, 100_000)]]


async def test_many_small_batches_of_a_partition_are_taken_with_few_calls(bench: Bench) -> None:
    await bench.consumer.start_at({CLICKS: 0, PURCHASES: 0})
    bench.kafka.arrive(CLICKS, *range(50_000))
    fetcher = bench.kafka._fetcher
    result, asked, fetched = fetcher._records[TopicPartition(*CLICKS)], [], fetcher.fetched_records
    result.portions = [[each] for portion in result.portions for each in portion]

    async def counted(*args: Any, **options: Any) -> Any:
        asked.append(options["max_records"])
        return await fetched(*args, **options)

    fetcher.fetched_records = counted
    assert [len(fetch.records) for fetch in await bench.poll()] == [30_000]
    assert asked == [1, 29_999]


async def test_an_error_of_one_partition_loses_nothing_that_others_have_delivered(bench: Bench) -> None:
    await bench.consumer.start_at({CLICKS: 0, PURCHASES: 0})
    bench.kafka.arrive(CLICKS, 0, 1)
    failed = FetchError(error=KafkaConnectionError("not allowed"), backoff=0.0)
    bench.kafka._fetcher._records[TopicPartition(*PURCHASES)] = failed
    (fetch,) = await bench.poll()
    assert (fetch.tp, len(fetch.records)) == (CLICKS, 2)
    with pytest.raises(KafkaConnectionError, match="not allowed"):
        await bench.poll()


async def test_a_partition_that_is_not_assigned_can_not_be_started(bench: Bench) -> None:
    with pytest.raises(IllegalStateError):
        await bench.consumer.start_at({TP("shop-clicks", 9): 0})


async def test_a_partition_that_moved_away_is_not_fetched_until_it_is_started_again(bench: Bench) -> None:
    await bench.consumer.start_at({CLICKS: 0, PURCHASES: 0})
    del bench.kafka.states[TopicPartition(*PURCHASES)]
    await bench.consumer.perform_seek()
    assert bench.owner.assignments == [{CLICKS}]
    bench.kafka.arrive(PURCHASES, 0)
    bench.kafka.arrive(CLICKS, 0)
    assert [fetch.tp for fetch in await bench.poll()] == [CLICKS]


async def test_while_a_rebalance_goes_on_nothing_is_delivered(bench: Bench) -> None:
    await bench.consumer.start_at({CLICKS: 0})
    bench.kafka.arrive(CLICKS, 0)
    bench.kafka.subscription.assignment.active = False
    assert await bench.poll() == []


async def test_partitions_that_are_not_ready_are_left_out(bench: Bench) -> None:
    await bench.consumer.start_at({CLICKS: 0, PURCHASES: 0})
    bench.kafka.states[TopicPartition(*CLICKS)].has_valid_position = False  # a seek is under way
    bench.kafka.subscription.assignment.tps = {TopicPartition(*CLICKS)}
    assert await bench.poll() == []
    assert bench.owner.positions == []


async def test_ranges_and_committed_offsets_come_from_kafka(bench: Bench) -> None:
    bench.kafka.committed_offsets = {TopicPartition(*CLICKS): OffsetAndMetadata(42, "corrente model shop")}
    bench.kafka.first_offset = 3
    assert await bench.consumer.ranges([CLICKS]) == {CLICKS: (3, 100)}
    assert await bench.consumer.committed([CLICKS, PURCHASES]) == {CLICKS: 42}


async def test_offsets_that_another_model_committed_are_not_ours(bench: Bench) -> None:
    bench.kafka.committed_offsets = {
        TopicPartition(*CLICKS): OffsetAndMetadata(42, "corrente model another"),
        TopicPartition(*PURCHASES): OffsetAndMetadata(7, ""),  # by release 0.1, which committed no name
    }
    assert await bench.consumer.committed([CLICKS, PURCHASES]) == {PURCHASES: 7}


async def test_offsets_are_committed_with_the_name_of_the_model(bench: Bench) -> None:
    bench.owner.offsets = {CLICKS: 10}
    assert await bench.consumer.force_commit()
    assert bench.kafka.notes == {"corrente model shop"}


async def test_records_that_retention_removed_before_a_fetch_are_told_with_it(bench: Bench) -> None:
    sessions = await bench.consumer.start_at({CLICKS: 5})
    bench.kafka.first_offset = 20
    bench.kafka.arrive(CLICKS, 20, 21)
    assert await bench.poll() == [Fetch(CLICKS, sessions[CLICKS], 5, [record(20), record(21)], 22, 100, lost=15)]
    bench.kafka.arrive(CLICKS, 22)
    assert [fetch.lost for fetch in await bench.poll()] == [0]


async def test_records_that_retention_removed_are_told_once_although_none_came_after_them(bench: Bench) -> None:
    sessions = await bench.consumer.start_at({CLICKS: 5})
    bench.kafka.first_offset = 20
    bench.kafka.states[TopicPartition(*CLICKS)].position = 20  # where aiokafka continues by itself
    assert await bench.poll() == []
    assert await bench.poll() == []
    assert bench.owner.positions == [
        Position(CLICKS, sessions[CLICKS], 5, 20, 100, lost=15),
        Position(CLICKS, sessions[CLICKS], 20, 20, 100),
    ]


async def test_offsets_that_kafka_left_out_are_no_loss(bench: Bench) -> None:
    await bench.consumer.start_at({CLICKS: 5})
    bench.kafka.arrive(CLICKS, 9)  # 5 to 8 were compacted away, and the topic still begins at 0
    assert [fetch.lost for fetch in await bench.poll()] == [0]


async def test_an_error_that_keeps_us_out_of_the_group_is_taken_once(bench: Bench) -> None:
    bench.kafka.group_error = InconsistentGroupProtocolError()
    assert isinstance(await bench.consumer.group_error(), InconsistentGroupProtocolError)
    assert await bench.consumer.group_error() is None


async def test_a_broker_that_names_no_stable_offset_gives_its_high_watermark(bench: Bench) -> None:
    await bench.consumer.start_at({CLICKS: 5})
    bench.kafka.states[TopicPartition(*CLICKS)].lso = None
    bench.kafka.arrive(CLICKS, 5)
    assert [fetch.end for fetch in await bench.poll()] == [104]


async def test_published_offsets_of_assigned_partitions_are_committed_once(bench: Bench) -> None:
    bench.owner.offsets = {CLICKS: 10, TP("shop-clicks", 9): 5}
    assert await bench.consumer.force_commit()
    assert bench.kafka.commits == [{TopicPartition(*CLICKS): 10}]
    assert not await bench.consumer.force_commit(), "nothing has changed"
    bench.owner.offsets = {CLICKS: 11, PURCHASES: 1}
    assert await bench.consumer.force_commit()
    assert bench.kafka.commits[1:] == [{TopicPartition(*CLICKS): 11, TopicPartition(*PURCHASES): 1}]


async def test_a_failed_commit_is_made_again_by_the_next_one(bench: Bench) -> None:
    bench.owner.offsets = {CLICKS: 10}
    bench.kafka.commit_error = KafkaConnectionError("no broker")
    assert not await bench.consumer.force_commit()
    bench.kafka.commit_error = None
    assert await bench.consumer.force_commit()
    assert bench.kafka.commits == [{TopicPartition(*CLICKS): 10}]


async def test_after_a_rebalance_everything_published_is_committed_again(bench: Bench) -> None:
    bench.owner.offsets = {CLICKS: 10}
    await bench.consumer.force_commit()
    await bench.consumer.perform_seek()
    assert await bench.consumer.force_commit()
    assert len(bench.kafka.commits) == 2


async def test_a_consumer_that_never_started_commits_nothing(bench: Bench) -> None:
    bench.consumer._thread._consumer = None
    assert not await bench.consumer.force_commit()


async def test_a_closed_consumer_ends_the_fetching(bench: Bench) -> None:
    await bench.consumer.start_at({CLICKS: 0})
    bench.kafka._fetcher._closed = True
    with pytest.raises(ConsumerStoppedError):
        await bench.poll()


async def test_what_makes_fetching_impossible_is_raised(bench: Bench) -> None:
    await bench.consumer.start_at({CLICKS: 0})
    bench.kafka._fetcher.error = KafkaConnectionError("not allowed")
    with pytest.raises(KafkaConnectionError):
        await bench.poll()


async def test_faust_never_takes_a_fetch_for_one_that_it_has_seen(bench: Bench) -> None:
    offsets = bench.consumer._read_offset
    offsets[CLICKS] = 7
    assert offsets[CLICKS] is None


class OneFetcher:
    """aiokafka's fetcher with one partition: each fetch leaves a record, and may be overtaken by a seek."""

    def __init__(self) -> None:
        self._records: dict[TopicPartition, str] = {}
        self.sent: list[Any] = []
        self.meanwhile: Callable[[], None] = lambda: None
        self.understands = True

    async def _proc_fetch_request(self, assignment: Any, node: int, request: Any) -> bool:
        self.sent.append(request)
        self.meanwhile()
        if isinstance(request, FetchById):
            request.used = self.understands
        self._records[TopicPartition(*CLICKS)] = "a record"
        return True


REQUEST = FetchRequest(100, 1, 1 << 20, 1, [(CLICKS.topic, [(CLICKS.partition, 0, 1 << 20)])])
TOPIC_ID, OTHER_ID = "AAAAAAAAAAAAAAAAAAAAAQ", "AAAAAAAAAAAAAAAAAAAAAg"


async def test_topics_are_fetched_by_the_ids_that_the_owner_gave(bench: Bench) -> None:
    fetcher, thread = OneFetcher(), bench.consumer._thread
    thread._fetch_by_id(fetcher)
    await bench.consumer.start_at({CLICKS: 0}, {CLICKS: TOPIC_ID})
    assert await fetcher._proc_fetch_request(None, 1, REQUEST)
    assert isinstance(fetcher.sent[-1], FetchById)
    assert fetcher._records
    assert bench.consumer.fetches_by_id([CLICKS])
    fetcher.understands = False
    await fetcher._proc_fetch_request(None, 1, REQUEST)
    assert not bench.consumer.fetches_by_id([CLICKS]), "a broker that is older was asked by name"
    await bench.consumer.start_at({CLICKS: 0}, {CLICKS: TOPIC_ID})
    assert bench.consumer.fetches_by_id([CLICKS])
    assert not bench.consumer.fetches_by_id([CLICKS, PURCHASES])
    await bench.consumer.start_at({CLICKS: 0}, {CLICKS: ""})
    await fetcher._proc_fetch_request(None, 1, REQUEST)
    assert fetcher.sent[-1] is REQUEST
    assert not bench.consumer.fetches_by_id([CLICKS])


@pytest.mark.parametrize("before", ["", OTHER_ID])
async def test_a_fetch_that_a_seek_overtook_leaves_no_record(bench: Bench, before: str) -> None:
    fetcher, thread = OneFetcher(), bench.consumer._thread
    thread._fetch_by_id(fetcher)
    await bench.consumer.start_at({CLICKS: 0}, {CLICKS: before})
    fetcher.meanwhile = lambda: thread._topic_ids.update({TopicPartition(*CLICKS): id_bytes(TOPIC_ID)})
    await fetcher._proc_fetch_request(None, 1, REQUEST)
    assert not fetcher._records
