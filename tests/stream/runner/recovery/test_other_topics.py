"""A topic that is another one than it was is learned from its beginning; none of its records is lost or mixed up."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from aiokafka.errors import KafkaConnectionError

from stream.kafka.identity.errors import IdentitiesUnknown
from stream.runner.recovery.checks import check_cluster
from stream.runner.recovery.errors import WrongCluster
from stream.runner.task import ShardRunner
from tests.stream.runner.conftest import ASSIGNMENT, CLICKS, FEEDBACK, PURCHASES, SETTINGS, Bench, eventually


def learned(bench: Bench) -> float:
    return bench.metric("records_total", topic="clicks", outcome="learned")


def recreate(bench: Bench) -> None:
    bench.kafka.recreate(CLICKS)
    bench.topic_ids.recreate("shop-clicks")


async def start_again(bench: Bench) -> None:
    """Let another worker process take the shard over."""
    await bench.runner.drop()
    bench.runner = ShardRunner(ASSIGNMENT, bench.resources)


async def test_a_topic_that_was_created_again_while_the_worker_was_down_is_learned_from_its_beginning(
    bench: Bench,
) -> None:
    await bench.open()
    await bench.learn(20)
    await bench.publish()
    await start_again(bench)
    recreate(bench)
    bench.write(50)
    await bench.open()
    assert bench.kafka.starts[-1] == {CLICKS: 0, PURCHASES: 0, FEEDBACK: 0}
    bench.poll()
    await eventually(lambda: learned(bench) == 70 and bench.idle, "all of the new topic")
    await bench.publish()
    assert bench.store.published[-1].state["offsets"] == {"clicks": 20, "clicks#2": 50}
    assert bench.store.published[-1].state["counters"]["clicks"]["learned"] == 70
    (line,) = bench.logged("another topic than before")
    assert (line["learned_before"], line["offset"]) == (20, 0)
    assert bench.metric("other_topics_total", topic="clicks") == 1


async def test_records_of_a_new_topic_that_passed_for_the_old_ones_are_never_published(bench: Bench) -> None:
    """The new topic is longer than the old one was, so that Kafka answers the next fetch as if nothing had happened."""
    await bench.open()
    await bench.learn(20)
    await bench.publish()
    recreate(bench)
    bench.write(50)
    bench.poll()
    await eventually(lambda: learned(bench) == 50 and bench.idle, "30 records to be learned as if they were old ones")
    bench.clock.advance(1.0)
    await eventually(lambda: len(bench.kafka.starts) == 2 and bench.idle, "the shard to start again")
    assert bench.logged("going back to the last published state")
    assert bench.kafka.starts[-1][CLICKS] == 0
    bench.poll()
    await eventually(lambda: learned(bench) == 100 and bench.idle, "all of the new topic")
    await bench.publish()
    assert [each.state["counters"]["clicks"]["learned"] for each in bench.store.published] == [20, 70]


async def test_a_shard_that_starts_again_with_unpublished_records_of_either_topic_drops_them(bench: Bench) -> None:
    await bench.open()
    await bench.learn(20)
    await bench.publish()
    bench.store.may_publish.clear()
    recreate(bench)
    bench.write(50)
    bench.poll()
    await eventually(lambda: learned(bench) == 50 and bench.idle, "30 records to be learned as if they were old ones")
    bench.write(10)
    assert bench.kafka.fetch(CLICKS, 5) is not None  # lost on its way, so that the shard has to start again
    bench.runner.deliver(bench.kafka.fetch(CLICKS))
    bench.store.may_publish.set()
    await eventually(lambda: len(bench.kafka.starts) == 2 and bench.idle, "the shard to start again")
    assert bench.kafka.starts[-1][CLICKS] == 0
    bench.poll()
    await bench.publish()
    assert bench.store.published[-1].state["counters"]["clicks"]["learned"] == 80


async def test_a_topic_that_ends_before_what_was_read_starts_the_shard_again(bench: Bench) -> None:
    await bench.open()
    await bench.learn(20)
    await bench.publish()
    recreate(bench)
    bench.write(5)
    bench.runner.note_position(bench.kafka.position(CLICKS)._replace(position=0, end=5, restarted=True))
    await eventually(lambda: len(bench.kafka.starts) == 2 and bench.idle, "the shard to start again")
    bench.poll()
    await eventually(lambda: learned(bench) == 25, "all of the new topic")


async def test_an_idle_shard_notices_a_new_topic_when_it_is_asked_to_confirm(bench: Bench) -> None:
    await bench.open()
    await bench.learn(20)
    await bench.publish()
    await bench.runner.confirm_topics()
    assert len(bench.kafka.starts) == 1
    recreate(bench)
    bench.write(5)
    await bench.runner.confirm_topics()
    await eventually(lambda: len(bench.kafka.starts) == 2 and bench.idle, "the shard to start again")
    assert bench.kafka.starts[-1][CLICKS] == 0


async def test_nothing_becomes_visible_while_kafka_does_not_say_what_the_topics_are(bench: Bench) -> None:
    await bench.open()
    bench.topic_ids.fail("confirm", IdentitiesUnknown("no broker"), IdentitiesUnknown("no broker"))
    await bench.learn(10)
    for attempt, pause in enumerate((0.2, 0.4), 1):
        await eventually(lambda attempt=attempt: len(bench.logged("could not publish")) == attempt, "an attempt")
        await eventually(lambda: len(bench.clock.waits) == 2, "the pause before the next attempt")
        assert bench.store.published == []
        bench.clock.advance(pause)
    await eventually(lambda: bench.store.published, "the version")
    assert bench.metric("redis_failures_total") == 0


async def test_another_topic_is_refused_if_the_setting_says_so(
    make_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make_bench()
    await bench.open()
    await bench.learn(20)
    await bench.publish()
    await start_again(bench)
    recreate(bench)
    bench.write(50)
    monkeypatch.setattr(bench.resources, "settings", SETTINGS.model_copy(update={"other_topics": "refuse"}))
    bench.runner.start()
    await eventually(lambda: bench.logged("can't open the shard yet") and bench.idle)
    reason = bench.logged("can't open")[0]["error"]
    assert "shop-clicks-3 is not the log that model 'default' has learned up to offset 20" in reason
    assert "CORRENTE_OTHER_TOPICS=refuse" in reason
    assert len(bench.kafka.starts) == 1


async def test_a_log_that_lost_records_is_not_learned_and_says_so(bench: Bench) -> None:
    await bench.open()
    await bench.learn(20)
    await bench.publish()
    await start_again(bench)
    bench.kafka.recreate(CLICKS)  # the same id: the topic lost its records
    bench.write(5)
    bench.runner.start()
    await eventually(lambda: bench.logged("can't open the shard yet") and bench.idle)
    assert "up to offset 20, but Kafka's topic ends at 5: it lost records" in bench.logged("can't open")[0]["error"]


async def test_a_model_of_another_cluster_is_refused_before_its_shard_is_claimed(bench: Bench) -> None:
    await bench.open()
    await bench.learn(20)
    await bench.publish()
    await bench.runner.halt(240.0)
    claims = len(bench.store.claims)
    bench.topic_ids.cluster = "staging"
    staging = ShardRunner(ASSIGNMENT, bench.resources)
    staging.start()
    await eventually(lambda: bench.logged("can't open the shard yet") and bench.idle)
    reason = bench.logged("can't open")[0]["error"]
    assert "model 'default' in this Redis learns from the Kafka cluster 'production'" in reason
    assert "CORRENTE_MOVED_TO_CLUSTER=staging" in reason
    assert len(bench.store.claims) == claims, "production's workers go on"
    await staging.drop()


async def test_a_model_may_move_to_a_cluster_that_is_named(bench: Bench) -> None:
    await bench.open()
    await bench.learn(20)
    await bench.publish()
    check_cluster("production", bench.store, SETTINGS)
    check_cluster("", bench.store, SETTINGS)
    with pytest.raises(WrongCluster):
        check_cluster("new", bench.store, SETTINGS)
    check_cluster("new", bench.store, SETTINGS.model_copy(update={"moved_to_cluster": "new"}))


@pytest.mark.parametrize("error", [IdentitiesUnknown("no answer"), KafkaConnectionError("no broker")])
async def test_a_shard_is_opened_once_kafka_says_what_the_topics_are(bench: Bench, error: Exception) -> None:
    bench.topic_ids.fail("look_up", error)
    bench.runner.start()
    await eventually(lambda: bench.logged("can't open the shard yet") and bench.idle)
    assert bench.store.claims == []
    bench.clock.advance(0.2)
    await eventually(lambda: bench.kafka.starts and bench.idle, "the shard to be opened")


# ---- brokers that give topics no id


async def test_without_ids_a_topic_that_is_longer_than_before_is_known_by_its_first_record(bench: Bench) -> None:
    bench.topic_ids.without_ids = bench.kafka
    bench.write(20)
    await bench.open()
    bench.poll()
    await bench.publish()
    await start_again(bench)
    bench.kafka.recreate(CLICKS)
    bench.kafka.append(CLICKS, *(b'{"item": "other", "user": "u%d"}' % number for number in range(50)))
    await bench.open()
    assert bench.kafka.starts[-1][CLICKS] == 0
    bench.poll()
    await eventually(lambda: learned(bench) == 70 and bench.idle, "all of the new topic")
    assert len(bench.logged("another topic than before")) == 1


async def test_without_ids_a_topic_that_goes_on_is_the_same_also_when_retention_took_its_first_record(
    bench: Bench,
) -> None:
    bench.topic_ids.without_ids = bench.kafka
    bench.write(20)
    await bench.open()
    bench.poll()
    await bench.publish()
    await start_again(bench)
    bench.kafka.first[CLICKS] = 15
    bench.write(5)
    await bench.open()
    assert bench.kafka.starts[-1][CLICKS] == 20
    assert not bench.logged("another topic than before")


async def test_without_ids_a_topic_that_was_empty_at_first_is_known_once_it_is_looked_at(bench: Bench) -> None:
    bench.topic_ids.without_ids = bench.kafka
    await bench.open()
    await bench.learn(20)
    await bench.runner.confirm_topics()
    bench.kafka.recreate(CLICKS)
    bench.kafka.append(CLICKS, *(b'{"item": "other", "user": "u%d"}' % number for number in range(50)))
    await bench.runner.confirm_topics()
    await eventually(lambda: len(bench.kafka.starts) == 2, "the shard to be opened again")
    assert bench.kafka.starts[-1][CLICKS] == 0
    (line,) = bench.logged("going back to the last published state")
    assert "shop-clicks was created again: partition 3 has another record at offset 0" in line["reason"]


async def test_without_an_answer_about_witnesses_learning_goes_on(bench: Bench) -> None:
    bench.topic_ids.without_ids = bench.kafka
    await bench.open()
    await bench.learn(20)
    bench.topic_ids.fail("witness", IdentitiesUnknown("no answer"))
    await bench.runner.confirm_topics()
    await bench.learn(20)
    assert bench.topic_ids.failures_left("witness") == 0
