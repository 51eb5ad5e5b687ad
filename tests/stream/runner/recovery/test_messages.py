"""Messages about learning: each says what is wrong, where, and what mends it.

Every message is provoked on the part that writes it. `MESSAGES` says what has to stand in each, and
`test_no_message_is_missing` that no refusal, warning or error of these parts is missing there. In place of a command, a
message may say what happens by itself, if that is all that is needed.
"""

from __future__ import annotations

import ast
import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    InvalidGroupIdError,
    InvalidSessionTimeoutError,
    KafkaConnectionError,
    NotLeaderForPartitionError,
    PolicyViolationError,
    UnknownTopicOrPartitionError,
)
from prometheus_client import CollectorRegistry, Counter, Gauge
from redis.exceptions import ConnectionError as RedisConnectionError
from structlog import get_logger
from structlog.testing import capture_logs

from stream.health.endpoints import serve
from stream.health.progress import Progress
from stream.health.reporting import keep_reporting
from stream.health.values import ENOUGH_RATINGS, ValueCautions
from stream.kafka.group import Group, client_id, commit_note, refusal, stranger
from stream.kafka.identity.errors import IdentitiesUnknown, OtherTopic
from stream.kafka.identity.topic_ids import TopicIds
from stream.kafka.refusals import CannotLearn
from stream.kafka.shard_count import _other_number
from stream.kafka.topics import log_missing, prepare_topics
from stream.kafka.watch import KafkaWatch
from stream.models.migration.migrate import Migration
from stream.runner.publisher import _wait
from stream.runner.recovery.checks import check_cluster, check_eviction, check_settings
from stream.runner.recovery.restore import log_migration
from stream.runner.recovery.start import confirm_logs
from stream.runner.task import ShardRunner
from stream.settings import Settings, WrongSetting, load_settings
from stream.shard.shard import LearnResult, RatingRange
from stream.versions import Claim, Fenced, LostData, StaleParent
from stream.versions.damage.suspicion import DAMAGE_SECONDS
from stream.versions.publishing import _fenced, _stale
from stream.worker import Worker
from tests.stream.health.test_reporting import Shard as ReportedShard
from tests.stream.health.test_reporting import Worker as ReportingWorker
from tests.stream.kafka.identity.test_topic_ids import CLICKS as SHOP_CLICKS
from tests.stream.kafka.identity.test_topic_ids import FakeCluster
from tests.stream.kafka.test_letter_writer import FakeProducer, letter_of, writer
from tests.stream.kafka.test_topics import FakeAdmin as TopicsAdmin
from tests.stream.kafka.test_watch import FakeAdmin as GroupAdmin
from tests.stream.runner.conftest import ASSIGNMENT, CLICKS, PURCHASES, SETTINGS, Bench, click, eventually
from tests.stream.runner.recovery.test_failures import Failing, pass_time

SHOP = Settings(model_name="shop", group="learners", session_timeout_seconds=1.0)
CLAIM = Claim(3, 1, "token", "worker 1", "lineage", None, False, 1)


class Message(NamedTuple):
    """Pieces that have to stand in a message: of its fixed text, the cause, the place, and what mends it."""

    text: str
    cause: str
    place: str
    mend: str


MESSAGES = {
    # ---- refusals: the worker ends
    "no topics": Message(
        "has no topic", "CORRENTE_CREATE_TOPICS is off", "dead-letters", "kafka-topics.sh --bootstrap"
    ),
    "topic refused": Message(
        "refused to create the topic", "because of a policy", "'clicks'", "--create --topic clicks --partitions 1"
    ),
    "more shards": Message("is more than there are", "would learn nothing", "clicks has 3", "Set CORRENTE_SHARDS to"),
    "uneven shards": Message("does not divide", "of one visitor", "clicks has 12", "Set CORRENTE_SHARDS to 1, 2, 3"),
    "other shards": Message("was learned with", "with 4 shards", "CORRENTE_SHARDS=1", "set CORRENTE_SHARDS=4"),
    "merged shards": Message("To make", "with 4 shards", "model 'shop'", "corrente versions merge-shards --to 1"),
    "missing topics": Message("topics are missing", "are missing", "'purchases'", "--create --topic purchases"),
    "other program": Message("belongs to another program", "'billing'", "'learners'", "set CORRENTE_GROUP"),
    "other model": Message("is shared by model", "a part of the events", "'learners'", "Set CORRENTE_GROUP"),
    "session timeout": Message(
        "it is outside of", "group.min.session.timeout", "CORRENTE_SESSION_TIMEOUT_SECONDS=1", "Set it between them"
    ),
    "group id": Message("refuses the consumer group", "refuses", "'learners'", "set another CORRENTE_GROUP"),
    "kept out": Message("keeps this worker out", "GroupAuthorizationFailed", "'learners'", "the right to READ it"),
    "two topics": Message(
        "both name the topic", "decides as what", "CORRENTE_PURCHASES_TOPIC", "each needs a topic of its own"
    ),
    "metrics port": Message(
        "metrics can't be served", "already in use", "127.0.0.1, port", "CORRENTE_METRICS_PORT to a free port"
    ),
    "no Kafka": Message("can't be used", "no broker", "localhost:9092", "Check CORRENTE_KAFKA"),
    "worker ends": Message("this worker can't learn, and ends", "no broker", "localhost:9092", "Check CORRENTE_KAFKA"),
    "other cluster": Message(
        "in this Redis learns from", "'production'", "localhost:9092", "Set another CORRENTE_MODEL_NAME"
    ),
    "other settings": Message(
        ". To learn with the new settings from what Kafka has, stop all workers",
        "has CORRENTE_MODEL__MAX_ITEMS=64",
        "version 1 of model",
        "begin anew with corrente versions new-lineage",
    ),
    "dropped sources": Message(
        "goes on without sources that it had", "what they learned is dropped", "weekday", "install their packages"
    ),
    "evicting Redis": Message(
        "may evict any key", "maxmemory-policy allkeys-lru", "CORRENTE_REDIS", "Set maxmemory-policy noeviction"
    ),
    # ---- before and while the group is joined
    "Kafka away": Message("Kafka does not answer yet", "no broker", "localhost:9092", "check CORRENTE_KAFKA"),
    "can't join": Message("can't join the consumer group yet", "GroupAuthorization", "'learners'", "right to READ"),
    "strange workers": Message("another model's workers are", "'books'", "'corrente-shop'", "should end by themselves"),
    "no identities": Message("does not say which topics", "no broker", "kafka:9092", "asked again until it answers"),
    "no identity": Message(
        "does not say what the topic", "UnknownTopic", "shop.other", "--describe --topic shop.other"
    ),
    "no leaders": Message("does not say who leads", "who leads", "shop.clicks", "it is asked again"),
    "no confirmation": Message("Kafka did not say within", "the same", "the topics", "it is asked again"),
    "created again": Message("was created again: its id", "its id was", "shop.clicks", "learned from its beginning"),
    "no record": Message("does not give a record of", "no broker", "shop.clicks-0", "It is asked again"),
    "no leader": Message("Kafka does not say who leads", "who leads", "shop.clicks-0", "it is asked again"),
    "other record": Message(
        "has another record at offset", "was created again", "shop-clicks", "it is learned from its beginning"
    ),
    # ---- opening a shard
    "log refused": Message(
        "is not the log that model", "CORRENTE_OTHER_TOPICS=refuse", "shop-clicks-3", "CORRENTE_OTHER_TOPICS=learn"
    ),
    "log shorter": Message("it lost records", "ends at 5", "shop-clicks-3", "set another CORRENTE_MODEL_NAME"),
    "other topic": Message(
        "another topic than before", "topic id", "kafka_partition=3", "CORRENTE_OTHER_TOPICS=refuse"
    ),
    "retention": Message("retention removed", "retention removed", "first_lost=20", "raise the topic's retention.ms"),
    "lost keyframe": Message("Redis has lost a keyframe", "has lost a keyframe", "partition=3", "noeviction"),
    "lost keys": Message("Redis has lost keys", "lost keys of the model", "keys=['latest']", "they are rebuilt"),
    "new lineage": Message("a new lineage of versions", "Redis is older", "clicks", "keep its data (appendonly yes)"),
    "processor": Message(
        "learned on another family of processors", "before=x86_64 without FMA", "partition=3", "on one family"
    ),
    "mended": Message("numbers that are not finite", "are 0 now", "numbers={'sums': 1}", "nothing"),
    "can't open": Message("can't open the shard yet", "no answer", "partition=3", "trying again"),
    # ---- learning and publishing
    "lost fetch": Message(
        "fetching again from what", "was lost", "shop-clicks-3: the fetch of offsets 0 to 5", "again"
    ),
    "fetch": Message(
        "the fetch of offsets", "was lost", "shop-clicks-3: the fetch of offsets 0 to 5", "fetching again"
    ),
    "refused": Message("a publish was refused", "claimed with epoch 2", "shard 3", "claim, restore and seek again"),
    "stale": Message("a publish was refused", "is state 7", "shard 3", "claim, restore and seek again"),
    "shorter topic": Message("ends before offset", "or lost records", "shop-clicks-3 ends before offset 20", "anew"),
    "going back": Message("going back to the last published state", "lost records", "shop-clicks-3", "going back"),
    "topic exchanged": Message("not the topic whose records", "not the topic", "shop-clicks", "looked at anew"),
    "can't publish": Message("could not publish a version", "no answer", "partition=3", "CORRENTE_REDIS"),
    "search": Message("to search for the record by halves", "ZeroDivisionError", "'clicks'", "going back to the last"),
    "isolated": Message("a record is isolated", "a kernel's bug", "offset=4", "corrente dead-letters list"),
    "learning failed": Message("learning failed; going back", "ZeroDivisionError", "partition=3", "going back"),
    "machine": Message("this machine is short", "MemoryError", "partition=3", "going back to the last published"),
    "rejected": Message(
        "records were rejected", "Input data was truncated", "example_offset=0", "corrente dead-letters list"
    ),
    "left out": Message("left out on purpose", "'NULL' stands for no id", "example_offset=1", "leave out the field"),
    "unknown kind": Message("unknown kind of event", "'addtocart'", "partition=3", "CORRENTE_MODEL__WEIGHTS"),
    "unused scale": Message("do not use their scale", "from 0 to 1", "partition=3", "CORRENTE_MODEL__RATING_SCALE"),
    "no letters": Message("dead letters could not be written", "UnknownTopic", "clicks-0-1", "kafka-topics.sh"),
    "lost letter": Message("a dead letter is lost", "sha256", "clicks-0-2", "raise max.message.bytes"),
    "reports": Message("reporting a shard to the servers", "ValueError", "partition=3", "trying again"),
    "stands": Message("the partition stands still", "the cause", "partition=3", "the remedy"),
}


def text_of(line: Mapping[str, Any]) -> str:
    """A log line with all its fields."""
    shown = {name: repr(value) if name == "exc_info" else value for name, value in line.items()}
    return f"{shown.pop('event')} " + " ".join(f"{name}={value}" for name, value in shown.items())


def check(name: str, text: str, message: Message) -> None:
    for what in ("text", "cause", "place", "mend"):
        assert getattr(message, what) in text, f"{name}: no {what} {getattr(message, what)!r} in {text!r}"


class Said:
    """Messages by name, each checked when it is noted."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def note(self, name: str, text: str) -> None:
        check(name, text, MESSAGES[name])
        self.names.add(name)

    def note_log(self, name: str, lines: list[Any]) -> None:
        """Check every log line that begins as a message does; at least one has to."""
        found = [text for line in lines if MESSAGES[name].text in (text := text_of(line))]
        assert found, f"{name}: nothing was logged"
        self.note(name, found[0])


Provoke = Callable[[Said, Bench, Any], Awaitable[None]]
PROVOCATIONS: dict[str, tuple[Provoke, tuple[str, ...]]] = {}


def provokes(*names: str) -> Callable[[Provoke], Provoke]:
    """Register a function that provokes the messages of these names."""

    def register(provoke: Provoke) -> Provoke:
        PROVOCATIONS[provoke.__name__] = provoke, names
        return provoke

    return register


async def raised(awaited: Awaitable[Any], error: type[BaseException] = CannotLearn) -> str:
    with pytest.raises(error) as caught:
        await awaited
    return str(caught.value)


# ---- refusals


@provokes("no topics", "missing topics", "topic refused", "more shards", "uneven shards", "Kafka away")
async def topics_at_the_start(said: Said, _: Bench, patched: Any) -> None:
    async def prepare(admin: TopicsAdmin, **more: Any) -> str:
        return await raised(prepare_topics(Settings(**more), patience_seconds=0.0, connect=lambda _: admin))

    said.note("no topics", await prepare(TopicsAdmin({"clicks": 1, "feedback": 1}), create_topics=False))
    said.note("topic refused", await prepare(TopicsAdmin({}, create_error=PolicyViolationError)))
    said.note("more shards", await prepare(TopicsAdmin({"clicks": 3, "dead-letters": 1}), shards=6))
    said.note("uneven shards", await prepare(TopicsAdmin({"clicks": 12, "dead-letters": 1}), shards=5))
    patched.setattr("stream.kafka.topics.log", get_logger())
    with capture_logs() as lines:
        log_missing(Settings(create_topics=False), ["purchases"], 2)
    said.note_log("missing topics", lines)
    patched.setattr("stream.kafka.topics.CONNECT_SECONDS", 0.0)
    late = TopicsAdmin(dict.fromkeys(("clicks", "purchases", "feedback", "dead-letters"), 1))
    late._start_errors = [KafkaConnectionError("no broker")]
    with capture_logs() as lines:
        await prepare_topics(Settings(), connect=lambda _: late)
    said.note_log("Kafka away", lines)


@provokes(
    "other shards",
    "merged shards",
    "other program",
    "other model",
    "session timeout",
    "group id",
    "kept out",
    "can't join",
)
async def groups(said: Said, _: Bench, __: Any) -> None:
    learned = _other_number("shop", 1, 4)
    said.note("other shards", learned)
    said.note("merged shards", learned)
    said.note("other program", str(stranger(Group("range", ("billing",), frozenset()), SHOP)))
    said.note("other model", str(stranger(Group("faust", (client_id("books"),), frozenset()), SHOP)))
    said.note("session timeout", str(refusal(InvalidSessionTimeoutError(), SHOP)))
    said.note("group id", str(refusal(InvalidGroupIdError(), SHOP)))
    said.note("kept out", str(refusal(GroupAuthorizationFailedError("learners"), SHOP)))
    with capture_logs() as lines:
        watching(SHOP, GroupAdmin()).check_joining(GroupAuthorizationFailedError("learners"), 0.0)
    said.note_log("can't join", lines)


def watching(settings: Settings, admin: GroupAdmin) -> KafkaWatch:
    async def none(*_: Any) -> None:
        return None

    return KafkaWatch(settings, none, none, none, connect=lambda _: admin)


@provokes("strange workers")
async def a_group_that_another_model_came_into(said: Said, _: Bench, __: Any) -> None:
    admin = GroupAdmin()
    admin.clients, admin.notes = [client_id("shop"), client_id("books")], [commit_note("shop")]
    with capture_logs() as lines:
        await watching(Settings(model_name="shop"), admin).look(0.0)
    said.note_log("strange workers", lines)


@provokes("two topics", "metrics port", "no Kafka", "worker ends")
async def settings_and_addresses(said: Said, bench: Bench, patched: Any) -> None:
    with pytest.raises(WrongSetting) as caught:
        load_settings({"CORRENTE_PURCHASES_TOPIC": "clicks"})
    said.note("two topics", str(caught.value))
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(CannotLearn) as refused:
        serve(taken.getsockname()[1], CollectorRegistry(), dict, "127.0.0.1")
    said.note("metrics port", str(refused.value))

    class AwayWorker(Worker):
        async def prepare(self) -> None:
            raise KafkaConnectionError("no broker")

    patched.setattr("stream.worker.log", get_logger())
    with capture_logs() as lines:
        said.note("no Kafka", await raised(AwayWorker(bench.resources).prepare_or_refuse()))
    said.note_log("worker ends", lines)


@provokes("evicting Redis", "lost keys", "lost keyframe")
async def a_redis_that_loses_keys(said: Said, bench: Bench, _: Any) -> None:
    bench.store.lost_keys = ["latest"]
    await bench.open()
    said.note_log("lost keys", bench.logs)
    await bench.learn(5)
    await bench.publish()
    await bench.runner.drop()
    bench.runner = ShardRunner(ASSIGNMENT, bench.resources)
    bench.store.fail("load", LostData("chunk 7 is gone"), LostData("chunk 7 is gone"))
    bench.runner.start()
    await pass_time(bench, lambda: bench.logged("Redis has lost a keyframe"), "the second look", step=DAMAGE_SECONDS)
    said.note_log("lost keyframe", bench.logs)
    bench.store.evicts = "allkeys-lru"
    with pytest.raises(CannotLearn) as caught:
        check_eviction(bench.store, SETTINGS)
    said.note("evicting Redis", str(caught.value))


@provokes("other cluster", "other settings", "dropped sources")
async def a_model_that_this_worker_can_not_go_on_with(said: Said, bench: Bench, _: Any) -> None:
    await bench.open()
    await bench.learn(5)
    await bench.publish()
    with pytest.raises(CannotLearn) as caught:
        check_cluster("staging", bench.store, SETTINGS)
    said.note("other cluster", str(caught.value))
    other = SETTINGS.model_copy(update={"model": SETTINGS.model.model_copy(update={"max_items": 32})})
    with pytest.raises(CannotLearn) as caught:
        check_settings(bench.store, other)
    said.note("other settings", str(caught.value))
    with capture_logs() as lines:
        log_migration(Migration({}, (), ("weekday",), other_names=True), get_logger())
    said.note_log("dropped sources", lines)


# ---- identities of topics


@provokes("no identities", "no identity", "no leaders", "created again", "no confirmation", "no record", "no leader")
async def identities(said: Said, _: Bench, __: Any) -> None:
    cluster = FakeCluster()
    ids = TopicIds(Settings(kafka="kafka:9092"), lambda _: cluster)
    cluster.error = KafkaConnectionError("no broker")
    said.note("no identities", await raised(ids.look_up([SHOP_CLICKS]), IdentitiesUnknown))
    cluster.error = None
    missing = SHOP_CLICKS._replace(topic="shop.other")
    said.note("no identity", await raised(ids.look_up([missing]), IdentitiesUnknown))
    bound = await ids.look_up([SHOP_CLICKS])
    cluster.restless = True
    said.note("no leaders", await raised(ids.confirm(bound), IdentitiesUnknown))
    cluster.restless = False
    cluster.ids["shop.clicks"] = 7
    said.note("created again", await raised(ids.confirm(bound), OtherTopic))
    with pytest.raises(IdentitiesUnknown) as caught:
        _wait(_NoAnswer())  # type: ignore[arg-type]
    said.note("no confirmation", str(caught.value))
    cluster.records_error = KafkaConnectionError("no broker")
    said.note("no record", await raised(ids.witness(SHOP_CLICKS, 0), IdentitiesUnknown))
    cluster.records_error = NotLeaderForPartitionError()
    said.note("no leader", await raised(ids.witness(SHOP_CLICKS, 0), IdentitiesUnknown))


@provokes("other record")
async def another_record(said: Said, bench: Bench, _: Any) -> None:
    bench.topic_ids.without_ids = bench.kafka
    bench.write(5)
    await bench.open()
    bench.kafka.recreate(CLICKS)
    bench.kafka.append(CLICKS, *[b"{}"] * 9)
    opened = bench.runner._opened
    assert opened is not None
    looked = confirm_logs(ASSIGNMENT, opened, bench.resources)
    said.note("other record", await raised(looked, OtherTopic))


class _NoAnswer:
    """An answer that does not come in time."""

    def result(self, _: float) -> None:
        raise TimeoutError


# ---- opening a shard


async def learned_and_left(bench: Bench) -> None:
    """20 clicks, learned and published by a worker that has ended."""
    await bench.open()
    await bench.learn(20)
    await bench.publish()
    await bench.runner.drop()
    bench.runner = ShardRunner(ASSIGNMENT, bench.resources)


async def reason_for_not_opening(bench: Bench) -> str:
    bench.runner.start()
    await eventually(lambda: bench.logged("can't open the shard yet") and bench.idle)
    return str(bench.logged("can't open the shard yet")[-1]["error"])


@provokes("log refused")
async def another_log_that_is_refused(said: Said, bench: Bench, patched: Any) -> None:
    await learned_and_left(bench)
    bench.topic_ids.recreate("shop-clicks")
    patched.setattr(bench.resources, "settings", SETTINGS.model_copy(update={"other_topics": "refuse"}))
    said.note("log refused", await reason_for_not_opening(bench))


@provokes("log shorter")
async def a_log_that_is_shorter(said: Said, bench: Bench, _: Any) -> None:
    await learned_and_left(bench)
    bench.kafka.recreate(CLICKS)
    bench.write(5)
    said.note("log shorter", await reason_for_not_opening(bench))


@provokes("other topic", "retention", "new lineage")
async def logs_that_differ(said: Said, bench: Bench, _: Any) -> None:
    await learned_and_left(bench)
    bench.topic_ids.recreate("shop-purchases")
    bench.kafka.append(PURCHASES, click(1))
    bench.write(9)
    bench.kafka.first[CLICKS] = 26
    bench.kafka.committed_offsets = {CLICKS: 21}
    await bench.open()
    for name in ("other topic", "retention", "new lineage"):
        said.note_log(name, bench.logs)


@provokes("processor", "mended")
async def what_the_state_before_was_learned_on(said: Said, bench: Bench, _: Any) -> None:
    await learned_and_left(bench)
    newest = bench.store.published[-1]
    newest.state["processor"] = "x86_64 without FMA"
    del newest.state["finite"]
    newest.delta["sums"].data.view("<f8")[1, 2] = float("inf")
    await bench.open()
    said.note_log("processor", bench.logs)
    said.note_log("mended", bench.logs)


@provokes("can't open", "can't publish")
async def a_redis_that_is_away(said: Said, bench: Bench, _: Any) -> None:
    bench.store.fail("claim", RedisConnectionError("no answer"))
    bench.runner.start()
    await eventually(lambda: bench.logged("can't open the shard yet") and bench.idle)
    said.note_log("can't open", bench.logs)
    bench.clock.advance(1.0)
    await eventually(lambda: bench.kafka.starts and bench.idle, "the shard to be opened")
    bench.store.fail("publish", RedisConnectionError("no answer"))
    await bench.learn(3)
    await eventually(lambda: bench.logged("could not publish"), "the failure")
    said.note_log("can't publish", bench.logs)


# ---- learning


@provokes("lost fetch", "fetch")
async def a_fetch_that_is_lost(said: Said, bench: Bench, _: Any) -> None:
    await bench.open()
    bench.write(10)
    assert bench.kafka.fetch(CLICKS, 5) is not None
    bench.runner.deliver(bench.kafka.fetch(CLICKS))
    await eventually(lambda: len(bench.kafka.starts) == 2 and bench.idle, "the shard to start again")
    said.note_log("lost fetch", bench.logs)
    said.note_log("fetch", bench.logs)


@provokes("refused", "stale")
async def publishes_that_are_refused(said: Said, bench: Bench, _: Any) -> None:
    errors: list[Exception] = [_fenced(CLAIM, "2", "worker 2"), _stale(CLAIM, "7", "digest")]
    assert [type(error) for error in errors] == [Fenced, StaleParent]
    for name, error in zip(("refused", "stale"), errors, strict=True):
        bench.logs.clear()
        bench.store.fail("publish", error)
        if name == "refused":
            await bench.open()
        bench.write(3)
        await pass_time(bench, lambda: bench.logged("a publish was refused"), "the refusal", step=1.0)
        said.note_log(name, bench.logs)
        await pass_time(bench, lambda: bench.runner.published.get(CLICKS), "everything to be published", step=4.0)


@provokes("shorter topic", "going back", "topic exchanged")
async def a_topic_that_is_exchanged_while_it_is_read(said: Said, bench: Bench, _: Any) -> None:
    await bench.open()
    await bench.learn(20)
    await bench.publish()
    bench.kafka.recreate(CLICKS)
    bench.topic_ids.recreate("shop-clicks")
    bench.write(5)
    position = bench.kafka.position(CLICKS)
    bench.runner.note_position(position._replace(delivered=20, position=0, end=5, restarted=True))
    await eventually(lambda: len(bench.kafka.starts) == 2 and bench.idle, "the shard to start again")
    said.note_log("shorter topic", bench.logs)
    said.note_log("going back", bench.logs)
    bench.topic_ids.recreate("shop-clicks")
    bench.write(8)
    assert bench.kafka.fetch(CLICKS, 5) is not None
    bench.runner.deliver(bench.kafka.fetch(CLICKS))  # a gap: the shard is opened with the state that it has
    await eventually(lambda: len(bench.logged("going back")) == 2, "the exchange to be noticed")
    said.note_log("topic exchanged", bench.logs)


@provokes("search", "isolated")
async def a_record_on_which_learning_fails(said: Said, bench: Bench, patched: Any) -> None:
    failing = Failing(patched)
    await bench.open()
    failing.offsets = {4}
    bench.write(9)
    await pass_time(bench, lambda: bench.logged("a record is isolated"), "the record to be isolated")
    said.note_log("search", bench.logs)
    said.note_log("isolated", bench.logs)


@provokes("learning failed", "machine")
async def failures_that_no_record_causes(said: Said, bench: Bench, patched: Any) -> None:
    def fail(_: Any) -> None:
        raise errors.pop()

    errors: list[Exception] = [MemoryError(), ZeroDivisionError("a bug")]
    patched.setattr(bench.runner._housekeeping, "update", lambda *_: fail(None) if errors else None)
    bench.runner.start()
    await pass_time(bench, lambda: not errors and bench.idle, "both failures")
    for line in bench.logs:
        if line.get("exc_info") is True:
            line["exc_info"] = "MemoryError, ZeroDivisionError"
    said.note_log("learning failed", bench.logs)
    said.note_log("machine", bench.logs)


@provokes("rejected", "left out", "unknown kind", "unused scale", "no letters", "lost letter", "reports", "stands")
async def letters_and_reports(said: Said, bench: Bench, patched: Any) -> None:
    await bench.open()
    bench.kafka.append(CLICKS, b"{", b'{"item": "tea", "user": "NULL"}')
    bench.poll()
    await eventually(lambda: bench.logged("records are left out on purpose"), "both rejections")
    said.note_log("rejected", bench.logs)
    said.note_log("left out", bench.logs)
    patched.setattr("stream.kafka.letter_writer.RETRY_SECONDS", (0.001, 0.002))
    patched.setattr("stream.kafka.letter_writer.CUT_SECONDS", 0.0)
    patched.setattr("stream.kafka.letter_writer.log", get_logger())
    patched.setattr("stream.health.reporting.log", get_logger())
    with capture_logs() as lines:
        await writer(FakeProducer(errors=(UnknownTopicOrPartitionError(),))).send([letter_of(1)])
        await writer(FakeProducer(invalid=frozenset({b"clicks-0-2"}))).send([letter_of(2, b"x" * 50)])
        await one_failed_report()
        doubtful = LearnResult([], {}, {}, {"addtocart": 1}, RatingRange(ENOUGH_RATINGS, 0.0, 1.0))
        ValueCautions(KINDS, SETTINGS.model, get_logger().bind(partition=3)).note(doubtful)
        Progress(3, GAUGE, get_logger().bind(partition=3), lambda: 0.0, lambda: 0.0).stop(
            "kafka", "the cause", "the remedy"
        )
    for line in lines:
        if line.get("exc_info") is True:
            line["exc_info"] = "ValueError"
    for name in ("unknown kind", "unused scale", "no letters", "lost letter", "reports", "stands"):
        said.note_log(name, lines)


KINDS = Counter("unknown_kinds", "Events.", ["kind"], registry=CollectorRegistry())
GAUGE = Gauge("stopped", "Stopped.", ["partition", "reason"], registry=CollectorRegistry())


async def one_failed_report() -> None:
    worker = ReportingWorker()
    worker.store.fail("report", ValueError("unforeseen"))
    running = asyncio.create_task(keep_reporting({3: ReportedShard()}, worker))
    await eventually(lambda: worker.clock.waits, "the first round")
    running.cancel()


@pytest.mark.parametrize("provocation", PROVOCATIONS)
async def test_a_message_says_what_is_wrong_where_and_what_mends_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, provocation: str
) -> None:
    provoke, names = PROVOCATIONS[provocation]
    said = Said()
    await provoke(said, bench, monkeypatch)
    assert said.names == set(names)


# ---- completeness

ROOT = Path(__file__).parents[4]
SOURCES = (
    *("stream/kafka/topics.py", "stream/kafka/group.py", "stream/kafka/watch.py", "stream/kafka/letter_writer.py"),
    *(
        "stream/kafka/shard_count.py",
        "stream/kafka/identity/topic_ids.py",
        "stream/kafka/identity/witness.py",
        "stream/runner/task.py",
    ),
    *("stream/runner/publisher.py", "stream/runner/open_shard.py"),
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "stream/runner/recovery").glob("*.py")),
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "stream/health").glob("*.py")),
)
REFUSALS = {
    "WrongTopics",
    "WrongShards",
    "WrongGroup",
    "CannotLearn",
    "WrongCluster",
    "WrongModelSettings",
    "EvictingRedis",
    "KafkaLostRecords",
}
REFUSALS |= {"OtherTopic", "IdentitiesUnknown", "MissingRecords"}


def literal(node: ast.expr) -> str | None:
    """The fixed text of a message, with a zero byte for each value."""
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.BinOp):
        left, right = literal(node.left), literal(node.right)
        return left if right is None else right if left is None else left + right
    return None


def messages_of(path: str) -> Iterator[str]:
    """Every warning, error and refusal in a file."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        called = ast.unparse(node.func)
        if called in REFUSALS or re.fullmatch(r"(self\._)?log\.(warning|error|exception)", called):
            text = literal(node.args[0])
            if text is not None:
                yield text


@pytest.mark.parametrize("path", SOURCES)
def test_no_message_is_missing(path: str) -> None:
    missing = [text for text in messages_of(path) if not any(each.text in text for each in MESSAGES.values())]
    assert missing == [], "add these to MESSAGES, and provoke them"


def test_every_message_of_the_table_is_provoked() -> None:
    assert sorted(name for _, names in PROVOCATIONS.values() for name in names) == sorted(MESSAGES)
