"""Identities of topics: asked of Kafka, unknown without an answer, and empty where a broker has none."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from faust.types import TP

from simulators.embedded import embedded_kafka
from stream.kafka.topic_ids import NO_ID, IdentitiesUnknown, OtherTopic, TopicIds
from stream.shard.logs import LogId

CLICKS = TP("shop.clicks", 3)


class FakeAdmin:
    """confluent-kafka's admin client over topics in memory.

    Attributes:
        ids: topic to its id.
        questions: number of times that topics were described.
        error: of the next answer.
    """

    def __init__(self, cluster: str = "production") -> None:
        self.ids = {"shop.clicks": "id-1"}
        self.questions = 0
        self.error: Exception | None = None
        self.cluster = cluster

    def list_topics(self, timeout: float) -> Any:
        if self.error is not None:
            raise self.error
        return SimpleNamespace(cluster_id=self.cluster)

    def describe_topics(self, topics: Any, request_timeout: float) -> dict[str, Future[Any]]:
        self.questions += 1
        answers: dict[str, Future[Any]] = {}
        for name in topics.topic_names:
            answers[name] = Future()
            if self.error is None and name in self.ids:
                answers[name].set_result(SimpleNamespace(topic_id=self.ids[name]))
            else:
                unknown = KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
                answers[name].set_exception(self.error or unknown)
        return answers


@pytest.fixture
def admin() -> FakeAdmin:
    return FakeAdmin()


@pytest.fixture
def ids(admin: FakeAdmin) -> TopicIds:
    return TopicIds("kafka:9092", lambda _: admin)


def test_a_log_is_known_by_cluster_topic_id_name_and_partition(ids: TopicIds) -> None:
    assert ids.look_up([CLICKS]) == {CLICKS: LogId("production", "id-1", "shop.clicks", 3)}


def test_a_topic_that_is_as_it_was_is_confirmed(ids: TopicIds) -> None:
    ids.confirm(ids.look_up([CLICKS]))()


def test_a_topic_that_was_created_again_is_another(ids: TopicIds, admin: FakeAdmin) -> None:
    bound = ids.look_up([CLICKS])
    admin.ids["shop.clicks"] = "id-2"
    with pytest.raises(OtherTopic, match=r"shop\.clicks was created again: its id was id-1 and is id-2"):
        ids.confirm(bound)()


def test_the_question_is_asked_before_the_answer_is_waited_for(ids: TopicIds, admin: FakeAdmin) -> None:
    bound = ids.look_up([CLICKS])
    check = ids.confirm(bound)
    admin.ids["shop.clicks"] = "id-2"  # afterwards: what was fetched before the question came from the old topic
    check()
    assert admin.questions == 2


def test_a_missing_topic_is_unknown_and_not_another(ids: TopicIds, admin: FakeAdmin) -> None:
    bound = ids.look_up([CLICKS])
    del admin.ids["shop.clicks"]
    with pytest.raises(IdentitiesUnknown, match=r"does not say what the topic shop\.clicks is"):
        ids.confirm(bound)()


def test_without_kafka_nothing_is_known_until_it_answers(ids: TopicIds, admin: FakeAdmin) -> None:
    admin.error = KafkaException(KafkaError(KafkaError._TRANSPORT))
    with pytest.raises(IdentitiesUnknown, match="Kafka at kafka:9092 does not say which cluster it is"):
        ids.look_up([CLICKS])
    admin.error = None
    assert ids.look_up([CLICKS])[CLICKS].topic_id == "id-1"


def test_the_embedded_broker_is_not_asked_for_ids() -> None:
    admin = FakeAdmin(cluster="mockCluster7f3a")
    ids = TopicIds("kafka:9092", lambda _: admin)
    bound = ids.look_up([CLICKS])
    assert bound == {CLICKS: LogId("mockCluster7f3a", "", "shop.clicks", 3)}
    ids.confirm(bound)()
    assert admin.questions == 0


def test_the_real_embedded_broker_is_known_by_its_cluster() -> None:
    with embedded_kafka(["shop.clicks"]) as kafka:
        ids = TopicIds(kafka)
        bound = ids.look_up([TP("shop.clicks", 0)])
        ids.confirm(bound)()
    assert [found.topic_id for found in bound.values()] == [""]


def test_an_id_of_zeros_is_no_id(ids: TopicIds, admin: FakeAdmin) -> None:
    admin.ids["shop.clicks"] = NO_ID
    bound = ids.look_up([CLICKS])
    assert bound[CLICKS].topic_id == ""
    ids.confirm(bound)()
