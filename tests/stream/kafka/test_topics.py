"""Topics at start: found, created, refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import (
    InvalidConfigurationError,
    KafkaConnectionError,
    KafkaError,
    NoError,
    NotControllerError,
    PolicyViolationError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
)

from stream.kafka.refusals import WrongShards, WrongTopics
from stream.kafka.topics import prepare_topics
from stream.settings import Settings

EVENTS = ("clicks", "purchases", "feedback")


class FakeAdmin:
    """An admin client over topics in memory.

    Args:
        topics: name to number of partitions.
        start_errors: raised by the first starts, one each.
        created_by_others: topics that another worker creates between our look and our creation.
        create_error: the broker's answer to every creation.
        known_configs: topic settings that the broker knows; it refuses others.
    """

    def __init__(
        self,
        topics: dict[str, int],
        *,
        start_errors: tuple[Exception, ...] = (),
        created_by_others: tuple[str, ...] = (),
        create_error: type[KafkaError] = NoError,
        known_configs: tuple[str, ...] = ("cleanup.policy", "message.timestamp.after.max.ms"),
    ) -> None:
        self.topics = topics
        self.created: list[Any] = []
        self.closed = 0
        self._start_errors = list(start_errors)
        self._created_by_others = created_by_others
        self._create_error = create_error
        self._known_configs = known_configs

    async def start(self) -> None:
        if self._start_errors:
            raise self._start_errors.pop(0)

    async def close(self) -> None:
        self.closed += 1

    async def list_topics(self) -> list[str]:
        return list(self.topics)

    async def describe_topics(self, names: list[str]) -> list[dict[str, Any]]:
        return [{"topic": name, "partitions": list(range(self.topics[name]))} for name in names]

    async def create_topics(self, topics: list[Any]) -> Any:
        """Create one topic. Kafka answers with an error code; only a client without a connection raises."""
        (topic,) = topics
        error = TopicAlreadyExistsError if topic.name in self._created_by_others else self._create_error
        if not set(topic.topic_configs) <= set(self._known_configs):
            error = InvalidConfigurationError
        if error is NoError:
            self.created.append(topic)
        return SimpleNamespace(topic_errors=[(topic.name, error.errno, "because of a policy")])


async def prepare(admin: FakeAdmin, **settings: Any) -> dict[str, int]:
    return await prepare_topics(Settings(**settings), patience_seconds=0.0, connect=lambda _: admin)


async def test_topics_that_are_there_are_left_alone() -> None:
    admin = FakeAdmin({**dict.fromkeys(EVENTS, 6), "dead-letters": 2, "another": 9})
    assert await prepare(admin) == dict.fromkeys(EVENTS, 6)
    assert admin.created == []
    assert admin.closed == 1


async def test_missing_topics_are_created_with_a_bound_on_times_ahead_and_dead_letters_are_compacted() -> None:
    admin = FakeAdmin({})
    assert await prepare(admin, partitions=4) == dict.fromkeys(EVENTS, 4)
    assert {topic.name: topic.num_partitions for topic in admin.created} == {
        **dict.fromkeys(EVENTS, 4),
        "dead-letters": 1,
    }
    an_hour = {"message.timestamp.after.max.ms": "3600000"}
    assert {topic.name: topic.topic_configs for topic in admin.created} == {
        **dict.fromkeys(EVENTS, an_hour),
        "dead-letters": {"cleanup.policy": "compact"},
    }
    assert {topic.replication_factor for topic in admin.created} == {-1}, "the broker's default"


async def test_a_broker_that_does_not_know_the_bound_gets_topics_without_it() -> None:
    admin = FakeAdmin({}, known_configs=("cleanup.policy",))
    assert await prepare(admin, partitions=4) == dict.fromkeys(EVENTS, 4)
    assert {topic.name: topic.topic_configs for topic in admin.created} == {
        **{topic: {} for topic in EVENTS},
        "dead-letters": {"cleanup.policy": "compact"},
    }


async def test_a_missing_topic_gets_as_many_partitions_as_clicks_have() -> None:
    admin = FakeAdmin({"clicks": 5, "feedback": 10, "dead-letters": 1})
    assert await prepare(admin, partitions=2) == {"clicks": 5, "purchases": 5, "feedback": 10}
    assert [(topic.name, topic.num_partitions) for topic in admin.created] == [("purchases", 5)]


async def test_a_topic_that_another_worker_creates_first_is_taken_as_it_is() -> None:
    admin = FakeAdmin({}, created_by_others=("clicks", "dead-letters"))
    assert await prepare(admin, partitions=3) == dict.fromkeys(EVENTS, 3)
    assert [topic.name for topic in admin.created] == ["purchases", "feedback"]


@pytest.mark.parametrize("missing", ["clicks", "dead-letters"])
async def test_without_clicks_or_dead_letters_a_start_is_refused_if_they_may_not_be_created(missing: str) -> None:
    admin = FakeAdmin({name: 2 for name in ("clicks", "feedback", "dead-letters") if name != missing})
    with pytest.raises(WrongTopics, match=f"has no topic {missing}, and CORRENTE_CREATE_TOPICS is off") as refused:
        await prepare(admin, create_topics=False, kafka="broker:9092")
    purchases = (
        "  kafka-topics.sh --bootstrap-server broker:9092 --create --topic purchases --partitions 2 "
        "--config message.timestamp.after.max.ms=3600000"
    )
    assert purchases in str(refused.value).splitlines()
    assert f"--create --topic {missing} " in str(refused.value)
    assert admin.created == []
    assert admin.closed == 1


async def test_without_purchases_clicks_are_learned_if_topics_may_not_be_created() -> None:
    admin = FakeAdmin({"clicks": 2, "feedback": 4, "dead-letters": 1})
    assert await prepare(admin, create_topics=False) == {"clicks": 2, "purchases": 0, "feedback": 4}
    assert admin.created == []


@pytest.mark.parametrize("shards", [1, 2, 6])
async def test_topics_may_have_different_numbers_of_partitions_that_the_shards_divide(shards: int) -> None:
    counts = {"clicks": 12, "purchases": 6, "feedback": 18}
    assert await prepare(FakeAdmin(counts | {"dead-letters": 1}), shards=shards) == counts


async def test_shards_that_would_tear_visitors_apart_are_refused_with_the_numbers_that_fit() -> None:
    admin = FakeAdmin({"clicks": 12, "purchases": 6, "dead-letters": 1})
    with pytest.raises(WrongShards) as refused:
        await prepare(admin, shards=4)
    text = str(refused.value)
    assert "CORRENTE_SHARDS=4 does not divide" in text
    assert "clicks has 12, purchases has 6, feedback has 12" in text
    assert "Set CORRENTE_SHARDS to 1, 2, 3 or 6" in text
    assert "give purchases a multiple of 4 partitions" in text
    assert "CORRENTE_ALLOW_UNEVEN_SHARDS=true" in text
    assert admin.created == [], "nothing is created before the numbers fit"
    assert await prepare(admin, shards=4, allow_uneven_shards=True)


@pytest.mark.parametrize("uneven", [False, True])
async def test_more_shards_than_partitions_are_refused_whatever_is_allowed(uneven: bool) -> None:
    with pytest.raises(WrongShards, match="CORRENTE_SHARDS=8 is more than there are partitions: clicks has 4"):
        await prepare(FakeAdmin({}), partitions=4, shards=8, allow_uneven_shards=uneven)


async def test_a_broker_that_does_not_answer_in_time_is_an_error_and_every_client_is_closed() -> None:
    admin = FakeAdmin({}, start_errors=(KafkaConnectionError("no broker"),))
    with pytest.raises(KafkaConnectionError):
        await prepare_topics(Settings(), patience_seconds=-1.0, connect=lambda _: admin)
    assert admin.closed == 1


async def test_a_broker_that_answers_late_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.kafka.topics.CONNECT_SECONDS", 0.0)
    admin = FakeAdmin(
        dict.fromkeys((*EVENTS, "dead-letters"), 1), start_errors=(KafkaConnectionError("no broker"),) * 3
    )
    assert await prepare_topics(Settings(), connect=lambda _: admin) == dict.fromkeys(EVENTS, 1)
    assert admin.closed == 4


async def test_an_error_that_waiting_will_not_fix_is_raised_at_once() -> None:
    admin = FakeAdmin({}, start_errors=(TopicAuthorizationFailedError("not allowed"),))
    with pytest.raises(TopicAuthorizationFailedError):
        await prepare_topics(Settings(), connect=lambda _: admin)


async def test_a_topic_that_kafka_refuses_to_create_ends_the_start_with_the_reason_and_the_command() -> None:
    admin = FakeAdmin({}, create_error=PolicyViolationError)
    with pytest.raises(WrongTopics) as refused:
        await prepare(admin)
    assert "refused to create the topic 'clicks'" in str(refused.value)
    assert "because of a policy" in str(refused.value)
    assert "kafka-topics.sh --bootstrap-server localhost:9092 --create --topic clicks" in str(refused.value)
    assert admin.created == []


async def test_a_refusal_that_passes_by_itself_is_tried_again() -> None:
    admin = FakeAdmin({}, create_error=NotControllerError)
    with pytest.raises(NotControllerError):  # the patience of this test is 0 seconds
        await prepare(admin)
