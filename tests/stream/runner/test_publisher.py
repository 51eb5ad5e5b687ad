"""Publishes of one shard: parts, order, interval."""

from __future__ import annotations

import pytest
from structlog import get_logger

from stream.ingest.records import Record
from stream.kafka.identity.errors import OtherTopic
from stream.runner.open_shard import OpenShard, StartOffset, merge_from
from stream.runner.publisher import FAR_BEHIND_PUBLISH_SECONDS, PUBLISH_DUTY_FACTOR, Publisher
from stream.runner.resources import WorkerResources
from stream.shard.shard import Shard
from stream.state.tables import fold
from stream.versions import Fenced
from tests.stream.restoring import tables_of
from tests.stream.runner.conftest import ASSIGNMENT, CLICKS, SETTINGS, TOPICS, Bench, click, eventually


def open_shard(bench: Bench) -> OpenShard:
    starts = {tp: StartOffset(0, 0) for tp in TOPICS}
    claim = bench.store.claim(3, worker="worker 1", token="token", now=0.0, known_offsets={}, known_number=0)
    shard = Shard(SETTINGS.model, partition=3, shards=8)
    return OpenShard(ASSIGNMENT, claim, shard, merge_from(starts), dict.fromkeys(TOPICS, 0), {}, {})


def learn(opened: OpenShard, count: int) -> None:
    offset = opened.shard.offsets.get("clicks", 0)
    records = [Record("clicks", n, 1_700_000_000_000 + n * 1000, click(n)) for n in range(offset, offset + count)]
    opened.count_learned(count, opened.shard.learn(opened.shard.decode(records), 0.0))


def make_publisher(resources: WorkerResources, **options: int) -> tuple[Publisher, list[bool]]:
    """A publisher, and a list that grows whenever it wakes its runner."""
    woken: list[bool] = []
    return Publisher(ASSIGNMENT, resources, get_logger(), lambda: woken.append(True), **options), woken


async def test_nothing_is_due_without_records_while_a_publish_runs_or_before_its_time(bench: Bench) -> None:
    publisher, woken = make_publisher(bench.resources)
    opened = open_shard(bench)
    assert not publisher.due(opened, 0.0, at_once=True)
    learn(opened, 5)
    assert publisher.due(opened, bench.clock.now, at_once=False)
    bench.store.may_publish.clear()
    await publisher.take_part(opened)
    learn(opened, 5)
    assert publisher.busy
    assert not publisher.due(opened, bench.clock.now + 100.0, at_once=True)
    publisher.raise_failure()
    assert publisher.busy, "it has not ended"
    bench.store.may_publish.set()
    await publisher.wait()
    publisher.raise_failure()
    assert not publisher.busy
    assert woken == [True]
    assert not publisher.due(opened, bench.clock.now, at_once=False)
    assert publisher.due(opened, bench.clock.now, at_once=True)
    assert publisher.due_seconds(opened, bench.clock.now) == pytest.approx(SETTINGS.publish_seconds)


async def test_parts_with_learning_in_between_become_one_version_of_the_last_moment(bench: Bench) -> None:
    publisher, _ = make_publisher(bench.resources, part_blocks=20)
    opened = open_shard(bench)
    learn(opened, 200)
    parts = 0
    while not publisher.busy:
        await publisher.take_part(opened)
        parts += 1
        if parts < 5:
            learn(opened, 10)
            assert len(opened.parts) == parts
    await publisher.wait()
    publisher.raise_failure()
    assert parts > 5
    assert opened.parts == []
    assert opened.unpublished == 0
    (version,) = bench.store.published
    assert version.state["offsets"] == {"clicks": 240}
    assert tables_of(SETTINGS.model, version.delta) == opened.shard.tables
    assert bench.metric("cut_seconds_count") == parts


async def test_every_version_contains_what_was_learned_since_the_one_before(bench: Bench) -> None:
    publisher, _ = make_publisher(bench.resources)
    opened = open_shard(bench)
    folded: dict = {}
    for count in (50, 1, 30):
        learn(opened, count)
        await publisher.take_part(opened)
        await publisher.wait()
        publisher.raise_failure()
        folded = fold(folded, bench.store.published[-1].delta)
        assert opened.published == {CLICKS: opened.shard.offsets["clicks"]}
    assert tables_of(SETTINGS.model, folded) == opened.shard.tables


async def test_a_refusal_is_raised_once_and_leaves_the_published_offsets(bench: Bench) -> None:
    publisher, _ = make_publisher(bench.resources)
    opened = open_shard(bench)
    bench.store.take_over(3)
    learn(opened, 5)
    await publisher.take_part(opened)
    await publisher.wait()
    with pytest.raises(Fenced):
        publisher.raise_failure()
    publisher.raise_failure()
    assert opened.published == {}


async def test_slow_publishes_leave_learning_most_of_the_time(bench: Bench) -> None:
    publisher, _ = make_publisher(bench.resources)
    opened = open_shard(bench)
    for _ in range(60):  # publishes of 0.4 seconds each
        learn(opened, 1)
        bench.store.may_publish.clear()
        attempts = bench.store.attempts
        await publisher.take_part(opened)
        await eventually(lambda attempts=attempts: bench.store.attempts > attempts)
        bench.clock.advance(0.4)
        bench.store.may_publish.set()
        await publisher.wait()
        publisher.raise_failure()
        learn(opened, 1)
        bench.clock.advance(publisher.due_seconds(opened, bench.clock.now))
    learn(opened, 1)
    started = bench.clock.now
    await publisher.take_part(opened)
    await publisher.wait()
    publisher.raise_failure()
    learn(opened, 1)
    assert publisher.due_seconds(opened, started) == pytest.approx(PUBLISH_DUTY_FACTOR * 0.4, rel=0.05)
    publisher.speed_up(bench.clock.now)
    assert publisher.due(opened, bench.clock.now, at_once=False)


async def test_a_publisher_that_is_slowed_down_waits_five_seconds(bench: Bench) -> None:
    publisher, _ = make_publisher(bench.resources)
    opened = open_shard(bench)
    publisher.slow_down()
    learn(opened, 1)
    await publisher.take_part(opened)
    await publisher.wait()
    publisher.raise_failure()
    learn(opened, 1)
    assert publisher.due_seconds(opened, bench.clock.now) == FAR_BEHIND_PUBLISH_SECONDS


async def test_a_cancelled_publish_is_forgotten(bench: Bench) -> None:
    publisher, _ = make_publisher(bench.resources)
    opened = open_shard(bench)
    bench.letters.may_acknowledge.clear()
    learn(opened, 1)
    bad = [Record("clicks", 1, 1_700_000_000_000, b"no event")]
    opened.count_learned(1, opened.shard.learn(opened.shard.decode(bad), 0.0))
    await publisher.take_part(opened)
    publisher.cancel()
    publisher.raise_failure()
    assert not publisher.busy
    bench.letters.may_acknowledge.set()
    assert bench.store.attempts == 0, "it waited for the letter"


async def test_topics_are_asked_for_once_a_session_if_fetches_name_them_by_id(bench: Bench) -> None:
    publisher, _ = make_publisher(bench.resources)
    opened = open_shard(bench)
    opened.bound = await bench.topic_ids.look_up([CLICKS])
    await bench.kafka.start_at({CLICKS: 0}, {CLICKS: opened.bound[CLICKS].topic_id})

    async def questions(publishes: int) -> int:
        before = bench.topic_ids.questions
        for _ in range(publishes):
            learn(opened, 1)
            await publisher.flush(opened)
        return bench.topic_ids.questions - before

    assert await questions(3) == 3, "fetches by name are confirmed each time"
    bench.kafka.by_id = True
    assert await questions(3) == 0
    opened.bound = dict(opened.bound)
    assert await questions(3) == 1, "at the start of sessions, offsets were looked up by name"


async def test_the_answer_to_the_first_part_of_a_checkpoint_counts_for_its_version(bench: Bench) -> None:
    publisher, _ = make_publisher(bench.resources, part_blocks=5)
    opened = open_shard(bench)
    opened.bound = await bench.topic_ids.look_up([CLICKS])
    await bench.kafka.start_at({CLICKS: 0}, {CLICKS: opened.bound[CLICKS].topic_id})
    bench.kafka.by_id = True
    bench.topic_ids.recreate(CLICKS.topic)  # while offsets were looked up
    learn(opened, 1)
    await publisher.take_part(opened)
    assert opened.parts, "this checkpoint has several parts"
    with pytest.raises(OtherTopic):
        await publisher.flush(opened)
    assert bench.topic_ids.questions == 1
    assert not bench.store.published


async def test_a_publish_without_letters_begins_when_its_checkpoint_is_taken(bench: Bench) -> None:
    publisher, _ = make_publisher(bench.resources)
    opened = open_shard(bench)
    bench.store.may_publish.clear()
    learn(opened, 1)
    await publisher.take_part(opened)
    await eventually(lambda: bench.store.attempts == 1)  # from the learning thread, before the event loop hears of it
    bench.store.may_publish.set()
    await publisher.wait()
    publisher.raise_failure()
    assert bench.store.attempts == 1


async def test_the_manifest_gets_model_settings_code_version_and_wall_clock_time(bench: Bench) -> None:
    publisher, _ = make_publisher(bench.resources)
    opened = open_shard(bench)
    learn(opened, 1)
    await publisher.take_part(opened)
    await publisher.wait()
    publisher.raise_failure()
    (arguments,) = bench.store.publish_arguments
    assert arguments["settings"] == SETTINGS.model.model_dump(mode="json")
    assert arguments["code_version"] == "1.2.3"
    assert arguments["now"] == bench.clock.time()
