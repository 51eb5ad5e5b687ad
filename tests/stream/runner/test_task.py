"""The life of a shard on a worker: every way to open, learn, publish, be refused, halt and drop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from aiokafka.errors import IllegalStateError, KafkaConnectionError
from redis.exceptions import ConnectionError as RedisConnectionError

from stream.ingest.records import Record
from stream.kafka.fetch import Fetch, Position
from stream.runner.task import ShardRunner
from stream.shard.shard import Shard
from stream.versions import CorruptVersion, WrongSalt
from tests.stream.runner.conftest import (
    ASSIGNMENT,
    CLICKS,
    FEEDBACK,
    PURCHASES,
    SETTINGS,
    TOPICS,
    Bench,
    click,
    eventually,
)

# ---- open


async def test_a_shard_without_a_state_starts_at_the_beginning_of_every_topic(bench: Bench) -> None:
    assert not bench.runner.has_room(CLICKS)
    await bench.open()
    assert bench.kafka.starts == [{CLICKS: 0, PURCHASES: 0, FEEDBACK: 0}]
    assert bench.store.claims[0]["partition"] == 3
    assert bench.store.claims[0]["worker"] == "worker 1"
    assert bench.store.claims[0]["visitor_salt"] == SETTINGS.model.visitor_salt
    assert bench.runner.published == {}
    assert all(bench.runner.has_room(tp) for tp in TOPICS)
    assert bench.metric("restores_total") == 1


async def test_events_are_learned_and_published_with_their_offsets(bench: Bench) -> None:
    await bench.open()
    await bench.learn(50)
    await bench.publish()
    assert bench.runner.published == {CLICKS: 50}
    assert bench.store.published[-1].state["counters"]["clicks"]["learned"] == 50
    assert bench.metric("records_total", topic="clicks", outcome="learned") == 50
    assert bench.metric("version") == bench.resources.newest_number == 1


async def test_an_event_ahead_of_the_stream_clock_is_learned_and_counted_by_topic(bench: Bench) -> None:
    await bench.open()
    await bench.learn(50)
    assert bench.metric("ahead_events_total", topic="clicks") == 0
    ten_years = Record("clicks", 50, 1_700_000_000_000 + 315_576_000_000, click(1))
    bench.kafka.logs[CLICKS].append(ten_years)
    bench.poll()
    await eventually(lambda: bench.metric("ahead_events_total", topic="clicks") == 1)
    await bench.publish()
    assert bench.metric("records_total", topic="clicks", outcome="learned") == 51
    assert bench.store.published[-1].state["ahead"] == {"clicks": 1, "purchases": 0, "feedback": 0}
    assert bench.store.published[-1].state["clock"] == 1_700_000_049


async def test_the_next_owner_restores_the_state_and_learns_what_an_undisturbed_shard_would(
    make_bench: Callable[..., Bench],
) -> None:
    first, second = make_bench(), make_bench()
    second.store, second.resources.store = first.store, first.store
    second.kafka = first.kafka
    await first.open()
    await first.learn(40)
    await first.publish()
    await first.learn(10)  # learned and never published
    await first.runner.drop()
    await second.open()
    assert second.kafka.starts[-1] == {CLICKS: 40, PURCHASES: 0, FEEDBACK: 0}
    assert second.runner.published == {CLICKS: 40}
    second.poll()
    await second.learn(20)
    await second.publish()
    undisturbed = Shard(SETTINGS.model, partition=3, shards=8)
    undisturbed.apply(first.kafka.logs[CLICKS], 0.0)
    assert second.store.published[-1].state["counters"] == undisturbed.readable_state()["counters"]
    assert second.store.published[-1].state["offsets"] == {"clicks": 70}


async def test_offsets_that_kafka_committed_beyond_the_state_begin_a_new_lineage(bench: Bench) -> None:
    bench.write(100)
    bench.kafka.committed_offsets = {CLICKS: 70}
    bench.resources.newest_number = 12
    await bench.open()
    assert bench.store.claims[0]["known_offsets"] == {"clicks": 70}
    assert bench.store.claims[0]["known_number"] == 12
    (line,) = bench.logged("Redis is older than what was published before")
    assert (line["committed"], line["found"]) == ({"clicks": 70}, {})
    assert bench.kafka.starts == [{CLICKS: 0, PURCHASES: 0, FEEDBACK: 0}], "everything is learned again"


async def test_a_topic_that_ends_before_the_state_is_not_learned_from_until_it_is_the_old_one_again(
    bench: Bench,
) -> None:
    await bench.open()
    await bench.learn(30)
    await bench.publish()
    await bench.runner.drop()
    old, bench.kafka.logs[CLICKS] = bench.kafka.logs[CLICKS], []
    bench.runner = ShardRunner(ASSIGNMENT, bench.resources)
    bench.write(5)
    bench.runner.start()
    await eventually(lambda: bench.logged("can't open the shard yet"), "the refusal")
    assert "shop-clicks-3 up to offset 30, but Kafka's topic ends at 5" in bench.logged("can't open")[0]["error"]
    assert len(bench.kafka.starts) == 1
    assert not bench.runner.has_room(CLICKS)
    bench.kafka.logs[CLICKS] = old
    await eventually(lambda: bench.idle)
    bench.clock.advance(0.2)
    await eventually(lambda: len(bench.kafka.starts) == 2, "the shard to be opened")


async def test_records_that_retention_removed_are_counted_as_lost_and_the_rest_is_learned(bench: Bench) -> None:
    await bench.open()
    await bench.learn(30)
    await bench.publish()
    await bench.runner.drop()
    bench.write(70)
    bench.kafka.first[CLICKS] = 45
    bench.runner = ShardRunner(ASSIGNMENT, bench.resources)
    await bench.open()
    assert bench.kafka.starts[-1] == {CLICKS: 45, PURCHASES: 0, FEEDBACK: 0}
    assert bench.metric("lost_records_total", topic="clicks") == 15
    (line,) = bench.logged("Kafka's retention removed records")
    assert (line["first_lost"], line["first_kept"]) == (30, 45)


async def test_records_that_retention_removes_while_a_shard_learns_are_lost_and_the_rest_is_learned(
    bench: Bench,
) -> None:
    await bench.open()
    await bench.learn(20)
    bench.write(30)
    session, log = bench.kafka.sessions[CLICKS], bench.kafka.logs[CLICKS]
    bench.runner.deliver(Fetch(CLICKS, session, 20, log[35:], 50, 50, lost=15))
    bench.kafka.positions[CLICKS] = 50
    bench.poll()
    await eventually(lambda: bench.metric("records_total", topic="clicks", outcome="learned") == 35)
    assert bench.metric("lost_records_total", topic="clicks") == 15
    bench.runner.note_position(Position(CLICKS, session, 50, 60, 60, lost=10))
    assert bench.metric("lost_records_total", topic="clicks") == 25, "none came after them"
    bench.runner.note_position(Position(CLICKS, session - 1, 50, 70, 70, lost=10))
    assert bench.metric("lost_records_total", topic="clicks") == 25, "of an earlier session"
    await bench.publish()
    assert bench.store.published[-1].state["counters"]["clicks"]["lost"] == 15
    said = [(line["first_lost"], line["first_kept"]) for line in bench.logged("Kafka's retention removed records")]
    assert said == [(20, 35), (50, 60)]


async def test_a_runner_without_a_shard_confirms_no_topics(bench: Bench) -> None:
    await bench.runner.confirm_topics()
    assert bench.topic_ids.questions == 0


async def test_a_new_shard_on_an_old_topic_starts_at_its_first_record_and_nothing_counts_as_lost(bench: Bench) -> None:
    bench.write(20)
    bench.kafka.first[CLICKS] = 5
    await bench.open()
    assert bench.kafka.starts == [{CLICKS: 5, PURCHASES: 0, FEEDBACK: 0}]
    assert bench.metric("lost_records_total", topic="clicks") == 0
    assert bench.logged("Kafka no longer has the beginning of a topic")


@pytest.mark.parametrize(
    ("place", "method", "error"),
    [
        ("store", "claim", RedisConnectionError("Redis is away")),
        ("store", "claim", WrongSalt("the version was published with another visitor salt")),
        ("kafka", "committed", KafkaConnectionError("no broker")),
        ("kafka", "ranges", KafkaConnectionError("no broker")),
        ("kafka", "start_at", IllegalStateError("not assigned")),
    ],
)
async def test_a_shard_that_cannot_be_opened_is_tried_again_after_growing_pauses(
    bench: Bench, place: str, method: str, error: Exception
) -> None:
    failing = getattr(bench, place)
    failing.fail(method, error, error, error)
    bench.runner.start()
    for attempt, pause in enumerate((0.2, 0.4, 0.8), 1):
        await eventually(
            lambda attempt=attempt: len(bench.logged("can't open the shard yet")) == attempt and bench.idle
        )
        assert bench.clock.waits == pytest.approx([pause])
        assert not bench.runner.has_room(CLICKS)
        bench.clock.advance(pause)
    await eventually(lambda: bench.kafka.starts and bench.idle, "the shard to be opened")
    await bench.learn(10)
    assert bench.logged("can't open the shard yet")[0]["error"] == str(error)
    assert bench.metric("redis_failures_total") == (3 if isinstance(error, RedisConnectionError) else 0)


async def test_a_damaged_version_is_not_learned_upon(bench: Bench) -> None:
    await bench.open()
    await bench.learn(30)
    await bench.publish()
    await bench.runner.drop()
    bench.store.fail("load", CorruptVersion("a checksum differs"))
    bench.runner = ShardRunner(ASSIGNMENT, bench.resources)
    bench.runner.start()
    await eventually(lambda: bench.logged("can't open the shard yet") and bench.idle)
    assert bench.logged("can't open")[0]["error"] == "a checksum differs"
    bench.clock.advance(0.2)
    await eventually(lambda: len(bench.kafka.starts) == 2, "the shard to be opened")


async def test_a_model_whose_names_can_not_be_mapped_is_not_claimed(bench: Bench) -> None:
    await bench.open()
    await bench.learn(30)
    await bench.publish()
    await bench.runner.drop()
    state, claims = bench.store.shards[ASSIGNMENT.shard].state, len(bench.store.claims)
    names = state["names"]
    state["names"] = {**names, "conversion_features": [*names["conversion_features"], "weekday"]}
    bench.runner = ShardRunner(ASSIGNMENT, bench.resources)
    bench.runner.start()
    await eventually(lambda: bench.logged("can't open the shard yet") and bench.idle)
    assert "weekday is missing here" in bench.logged("can't open")[0]["error"]
    assert len(bench.store.claims) == claims, "a worker that can read it goes on"
    state["names"] = names
    bench.clock.advance(0.2)
    await eventually(lambda: len(bench.kafka.starts) == 2, "the shard to be opened")


# ---- learn


async def test_nothing_is_tested_before_river_is_imported(bench: Bench) -> None:
    await bench.open()
    await bench.learn(40)
    await bench.publish()
    assert bench.metric("sample_rate") == 0.0
    bench.resources.may_test = True
    bench.clock.advance(1.0)
    await bench.learn(40)
    await bench.publish()
    assert bench.metric("sample_rate") > 0.0
    before, after = [each.journal.rates.tolist() for each in bench.store.published]
    assert set(before) == {0.0}
    assert min(after) > 0.0


async def test_a_topic_without_records_holds_the_others_up_only_while_its_end_is_ahead(bench: Bench) -> None:
    await bench.open()
    bench.kafka.append(PURCHASES, *(click(number) for number in range(3)))
    bench.write(10)
    for tp in TOPICS:
        bench.runner.note_position(bench.kafka.position(tp))
    bench.runner.deliver(bench.kafka.fetch(CLICKS))
    await eventually(lambda: bench.idle)
    assert bench.metric("records_total", topic="clicks", outcome="read") == 0, "an earlier purchase may be on its way"
    skipped = bench.kafka.position(PURCHASES)._replace(position=3)  # compacted away, or a marker of a transaction
    bench.runner.note_position(skipped)
    await eventually(lambda: bench.metric("records_total", topic="clicks", outcome="read") == 10)


async def test_a_lost_fetch_is_fetched_again_by_the_same_claim(bench: Bench) -> None:
    await bench.open()
    await bench.learn(20)
    bench.write(30)
    assert bench.kafka.fetch(CLICKS, 10) is not None  # lost on its way
    bench.runner.deliver(bench.kafka.fetch(CLICKS))
    await eventually(lambda: len(bench.kafka.starts) == 2 and bench.idle, "the shard to start again")
    (line,) = bench.logged("fetching again from what is learned")
    assert line["reason"] == "shop-clicks-3: the fetch of offsets 20 to 30 was lost"
    assert bench.kafka.starts[-1] == {CLICKS: 20, PURCHASES: 0, FEEDBACK: 0}
    bench.poll()
    await eventually(lambda: bench.metric("records_total", topic="clicks", outcome="read") == 50 and bench.idle)
    await bench.publish()
    assert bench.store.published[-1].state["counters"]["clicks"]["learned"] == 50
    assert len(bench.store.claims) == 1


async def test_a_fetch_or_position_of_an_earlier_session_is_dropped(bench: Bench) -> None:
    await bench.open()
    bench.write(5)
    late, position = bench.kafka.fetch(CLICKS), bench.kafka.position(PURCHASES)
    await bench.runner.halt(240.0)
    await bench.open()
    bench.runner.deliver(late)
    bench.runner.note_position(position._replace(position=1000))
    bench.poll()
    await eventually(lambda: bench.metric("records_total", topic="clicks", outcome="read") == 5 and bench.idle)
    assert len(bench.kafka.starts) == 2, "nothing was taken for missing"


async def test_learning_waits_when_too_much_is_learned_and_in_no_version(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(max_unpublished_records=50)
    await bench.open()
    bench.store.may_publish.clear()
    await bench.learn(10)
    await eventually(lambda: bench.store.attempts == 1, "the publish to begin")
    await bench.learn(50)
    bench.write(40)
    bench.poll()
    await eventually(lambda: bench.idle)
    bench.clock.advance(1.0)
    await eventually(lambda: bench.idle)
    assert bench.metric("records_total", topic="clicks", outcome="read") == 60
    bench.store.may_publish.set()
    await eventually(lambda: len(bench.store.published) == 2, "the checkpoint of everything that waited")
    assert bench.store.published[-1].state["offsets"] == {"clicks": 60}
    await eventually(lambda: bench.metric("records_total", topic="clicks", outcome="read") == 100, "the rest")


async def test_an_unexpected_error_leads_back_to_the_last_published_state(bench: Bench) -> None:
    await bench.open()
    await bench.learn(20)
    await bench.publish()
    bench.store.fail("publish", ZeroDivisionError("a bug"))
    await bench.learn(10)
    bench.clock.advance(1.0)
    await eventually(lambda: bench.logged("learning failed; going back") and bench.idle)
    bench.clock.advance(5.0)
    await eventually(lambda: len(bench.kafka.starts) == 2 and bench.idle)
    assert bench.kafka.starts[-1][CLICKS] == 20
    bench.poll()
    await eventually(lambda: bench.metric("records_total", topic="clicks", outcome="read") == 40 and bench.idle)
    await bench.publish()
    assert bench.store.published[-1].state["counters"]["clicks"]["learned"] == 30


# ---- publish


async def test_without_redis_learning_goes_on_and_the_kept_checkpoint_is_published_first(bench: Bench) -> None:
    await bench.open()
    bench.store.fail("publish", *(RedisConnectionError("Redis is away") for _ in range(3)))
    for attempt, pause in enumerate((0.2, 0.4, 0.8), 1):
        await bench.learn(10)
        await eventually(lambda attempt=attempt: len(bench.logged("could not publish")) == attempt, "an attempt")
        await eventually(lambda: len(bench.clock.waits) == 2, "the pause before the next attempt")
        assert pause in [pytest.approx(wait) for wait in bench.clock.waits]
        bench.clock.advance(pause)
    await bench.learn(10)
    await eventually(lambda: len(bench.store.published) == 2, "both checkpoints")
    assert [each.state["offsets"]["clicks"] for each in bench.store.published] == [10, 40]
    assert bench.metric("redis_failures_total") == 3
    assert len(bench.kafka.starts) == len(bench.store.claims) == 1


async def test_no_state_becomes_visible_before_its_dead_letters_are_acknowledged(bench: Bench) -> None:
    await bench.open()
    bench.letters.may_acknowledge.clear()
    bench.kafka.append(CLICKS, click(1), b"{broken", None)
    bench.poll()
    await eventually(lambda: bench.letters.sent, "the letters")
    assert [letter.name for letter in bench.letters.sent] == ["shop-clicks-3-1", "shop-clicks-3-2"]
    await bench.learn(10)
    assert bench.store.attempts == 0
    assert bench.runner.published == {}
    bench.letters.may_acknowledge.set()
    await eventually(lambda: bench.runner.published == {CLICKS: 3}, "the state")
    await bench.publish()
    assert len(bench.letters.sent) == 2, "letters are sent once"


@pytest.mark.parametrize("reason", ["fenced", "stale"])
async def test_a_refused_publish_drops_the_state_and_claims_again_only_after_half_a_session_timeout(
    bench: Bench, reason: str
) -> None:
    await bench.open()
    await bench.learn(20)
    await bench.publish()
    if reason == "fenced":
        bench.store.take_over(3)
    else:
        bench.store.replace_head(3)
    await bench.learn(10)
    bench.clock.advance(1.0)
    await eventually(lambda: bench.logged("a publish was refused") and bench.idle)
    assert bench.metric("publish_refusals_total", reason=reason) == 1
    assert not bench.runner.has_room(CLICKS)
    assert bench.runner.published == {}, "nothing may be committed for a state that is another worker's"
    bench.clock.advance(SETTINGS.session_timeout_seconds / 2 - 0.1)
    await eventually(lambda: bench.idle)
    assert len(bench.store.claims) == 1
    bench.clock.advance(0.2)
    await eventually(lambda: len(bench.store.claims) == 2 and bench.idle, "the next claim")
    assert bench.kafka.starts[-1][CLICKS] == 20


async def test_a_shard_far_behind_publishes_every_five_seconds_and_as_usual_when_it_has_caught_up(
    bench: Bench,
) -> None:
    await bench.open()
    bench.clock.advance(1.0)
    await eventually(lambda: bench.idle)
    end = bench.kafka.position(CLICKS)._replace(end=10_000)
    bench.runner.note_position(end)
    bench.clock.advance(1.0)
    await eventually(lambda: bench.logged("far behind; publishing less often") and bench.idle)
    assert bench.metric("lag_records", topic="clicks", partition="3") == 10_000
    assert bench.metric("catch_up_seconds", partition="3") == float("inf")
    assert not bench.runner.up_to_date
    await bench.learn(10)
    await eventually(lambda: len(bench.store.published) == 1 and bench.runner.published and bench.idle)
    bench.runner.note_position(bench.kafka.position(CLICKS)._replace(end=10_000))
    await bench.learn(10)
    bench.runner.note_position(bench.kafka.position(CLICKS)._replace(end=10_000))
    bench.clock.advance(2.0)
    await eventually(lambda: bench.idle)
    assert len(bench.store.published) == 1, "the interval is five seconds now"
    bench.clock.advance(3.0)
    await eventually(lambda: len(bench.store.published) == 2 and bench.idle)
    bench.runner.note_position(bench.kafka.position(CLICKS)._replace(end=10_000))
    bench.clock.advance(11.0)
    await eventually(lambda: bench.logged("catching up") and bench.idle)
    bench.poll()
    bench.clock.advance(1.0)
    await eventually(lambda: bench.logged("up to date; publishing as usual") and bench.idle)
    assert bench.runner.up_to_date
    await bench.learn(10)
    await bench.publish()


# ---- compaction


async def test_old_versions_are_compacted_every_ten_seconds_once_something_is_published(bench: Bench) -> None:
    await bench.open()
    bench.clock.advance(11.0)
    await eventually(lambda: bench.idle)
    assert bench.compaction.calls == [], "there is nothing yet"
    await bench.learn(10)
    await bench.publish()
    bench.clock.advance(11.0)
    await eventually(lambda: len(bench.compaction.calls) == 1 and bench.idle)
    shard, policy, now = bench.compaction.calls[0]
    assert (shard, policy.keep_last, now) == (3, SETTINGS.keep_last, bench.clock.time())
    bench.clock.advance(9.0)
    await eventually(lambda: bench.idle)
    assert len(bench.compaction.calls) == 1
    bench.clock.advance(1.0)
    await eventually(lambda: len(bench.compaction.calls) == 2)


async def test_a_compaction_that_takes_long_is_not_started_twice(bench: Bench) -> None:
    await bench.open()
    await bench.learn(10)
    await bench.publish()
    bench.compaction.may_end.clear()
    for _ in range(3):
        bench.clock.advance(11.0)
        await eventually(lambda: bench.compaction.calls and bench.idle)
    assert len(bench.compaction.calls) == 1


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (RedisConnectionError("Redis is away"), "could not compact old versions; trying again later"),
        (CorruptVersion("a checksum differs"), "could not compact old versions; trying again later"),
        (ZeroDivisionError("a bug"), "compacting old versions failed; trying again later"),
    ],
)
async def test_a_failed_compaction_is_logged_and_stops_nothing(bench: Bench, error: Exception, line: str) -> None:
    await bench.open()
    await bench.learn(10)
    await bench.publish()
    bench.compaction.fail("compact", error)
    bench.clock.advance(11.0)
    await eventually(lambda: bench.logged(line) and bench.idle)
    await bench.learn(10)
    await bench.publish()
    bench.clock.advance(11.0)
    await eventually(lambda: len(bench.compaction.calls) == 2)


# ---- halt, start, drop


async def test_a_halt_publishes_what_was_learned_and_the_state_goes_on_afterwards(bench: Bench) -> None:
    await bench.open()
    await bench.learn(20)
    await bench.publish()
    await bench.learn(10)
    await bench.runner.halt(240.0)
    assert bench.store.published[-1].state["offsets"] == {"clicks": 30}
    assert bench.runner.published == {CLICKS: 30}
    await bench.open()
    assert len(bench.store.claims) == 1, "the state that there is goes on"
    assert bench.kafka.starts[-1][CLICKS] == 30
    await bench.learn(5)
    await bench.publish()
    assert bench.store.published[-1].state["counters"]["clicks"]["learned"] == 35


async def test_a_halt_that_takes_too_long_gives_the_state_up(bench: Bench) -> None:
    await bench.open()
    await bench.learn(20)
    await bench.publish()
    bench.store.may_publish.clear()
    await bench.learn(10)
    bench.clock.advance(1.0)
    await eventually(lambda: bench.store.attempts == 2, "the publish to begin")
    await bench.runner.halt(0.0)
    assert bench.runner.published == {}
    assert not bench.runner.has_room(CLICKS)
    bench.store.take_over(3)  # the publish that is still under way is fenced, as the next claim would do
    bench.store.may_publish.set()
    await bench.open()
    assert len(bench.store.claims) == 2
    assert bench.kafka.starts[-1][CLICKS] == 20
    bench.poll()
    await eventually(lambda: bench.metric("records_total", topic="clicks", outcome="read") == 40 and bench.idle)


async def test_a_halt_while_the_shard_is_being_opened_accepts_no_fetch(bench: Bench) -> None:
    bench.kafka.before_start.clear()
    bench.runner.start()
    await eventually(lambda: bench.store.claims)
    halting = asyncio.ensure_future(bench.runner.halt(240.0))
    await asyncio.sleep(0)
    bench.kafka.before_start.set()
    await halting
    bench.write(5)
    bench.runner.deliver(bench.kafka.fetch(CLICKS))
    await bench.open()
    assert len(bench.store.claims) == 1
    assert bench.metric("records_total", topic="clicks", outcome="read") == 0


async def test_a_halt_ends_the_pause_before_another_attempt(bench: Bench) -> None:
    bench.store.fail("claim", RedisConnectionError("Redis is away"))
    bench.runner.start()
    await eventually(lambda: bench.logged("can't open the shard yet") and bench.idle)
    await bench.runner.halt(240.0)
    assert bench.kafka.starts == []


async def test_a_runner_that_never_started_can_be_halted_and_dropped(bench: Bench) -> None:
    await bench.runner.halt(0.0)
    await bench.runner.drop()
    assert bench.runner.published == {}


async def test_a_second_start_changes_nothing(bench: Bench) -> None:
    await bench.open()
    bench.runner.start()
    await bench.learn(10)
    assert len(bench.store.claims) == 1


async def test_a_dropped_shard_leaves_no_metrics_and_accepts_nothing(bench: Bench) -> None:
    await bench.open()
    await bench.learn(10)
    await bench.publish()
    bench.clock.advance(1.0)
    await eventually(lambda: bench.metric("event_time_seconds", partition="3") > 0)
    await bench.runner.drop()
    names = [
        sample.name
        for family in bench.resources.metrics.registry.collect()
        for sample in family.samples
        if sample.labels.get("partition") == "3"
    ]
    assert names == []
    assert bench.runner.published == {}
    bench.write(5)
    bench.runner.deliver(bench.kafka.fetch(CLICKS))
    bench.runner.note_position(bench.kafka.position(PURCHASES))
    assert not bench.runner.has_room(CLICKS)
