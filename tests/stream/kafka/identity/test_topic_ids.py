"""Identities of topics: asked of Kafka, unknown without an answer, and empty where a broker has none."""

from __future__ import annotations

import asyncio
import base64
import io
from collections import Counter
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaError, StaleMetadata
from confluent_kafka.admin import AdminClient
from faust.types import TP

from simulators.embedded import embedded_kafka
from stream.kafka.connection.metadata import NO_ID, MetadataReply
from stream.kafka.identity.errors import IdentitiesUnknown, OtherTopic
from stream.kafka.identity.topic_ids import TopicIds
from stream.settings import Settings
from stream.shard.logs import LogId

CLICKS, PURCHASES = TP("shop.clicks", 0), TP("shop.purchases", 1)


def id_of(number: int) -> bytes:
    return number.to_bytes(16, "big")


def text(number: int) -> str:
    return base64.b64encode(id_of(number)).decode().rstrip("=")


class FakeCluster:
    """aiokafka's client over topics in memory: requests and replies pass through their bytes.

    Attributes:
        ids: number of each topic, which makes its id; of one broker: `ids_of`.
        leaders: broker of each topic-partition.
        versions: versions of the request for metadata that the brokers know.
        asked: number of questions that each broker was asked.
        restless: if every question finds other leaders.
        error: of the next question.
        records_error: the answer to every question for records.
    """

    def __init__(self) -> None:
        self.ids = {"shop.clicks": 1, "shop.purchases": 2}
        self.ids_of: dict[int, dict[str, int]] = {}
        self.leaders = {CLICKS: 1, PURCHASES: 1}
        self.versions = (0, 13)
        self.asked: Counter[int] = Counter()
        self.restless = False
        self.error: Exception | None = None
        self.records_error: KafkaError | None = None
        self.connections = 0
        self.open = 0

    async def bootstrap(self) -> None:
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        self.connections += 1
        self.open += 1

    async def close(self) -> None:
        self.open = 0

    def get_random_node(self) -> int:
        return 1

    async def send(self, node: int, question: Any) -> Any:
        self.asked[node] += 1
        if self.restless:
            self.leaders = {tp: leader + 1 for tp, leader in self.leaders.items()}
        if self.error is not None:
            raise self.error
        if self.records_error is not None and question.API_KEY == 1:
            raise self.records_error
        request = question.prepare({3: self.versions})
        ids = {**self.ids, **self.ids_of.get(node, {})}
        has_ids = request.API_VERSION == 10
        read = type(request).decode(io.BytesIO(request.encode()))
        await asyncio.sleep(0)
        topics: list[Any] = []
        for each in read.topics:
            name = each[1] if has_ids else each
            partitions: list[Any] = [
                (0, tp.partition, leader, 5, [leader], [leader], [], {})
                if has_ids
                else (0, tp.partition, leader, [leader], [leader])
                for tp, leader in self.leaders.items()
                if tp.topic == name
            ]
            code = 0 if name in ids else 3
            if has_ids:
                topics.append((code, name, id_of(ids.get(name, 0)), False, partitions, 0, {}))
            else:
                topics.append((code, name, False, partitions))
        reply: Any = MetadataReply if has_ids else request.RESPONSE_TYPE
        brokers = [(1, "kafka-1", 9092, None, {}) if has_ids else (1, "kafka-1", 9092, None)]
        made = reply(0, brokers, "production", 1, topics, *((0, {}) if has_ids else ()))
        return request.RESPONSE_TYPE.decode(io.BytesIO(made.encode()))


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def ids(cluster: FakeCluster) -> TopicIds:
    return TopicIds(Settings(kafka="kafka:9092"), lambda _: cluster)


async def test_a_log_is_known_by_cluster_topic_id_name_and_partition(ids: TopicIds) -> None:
    assert await ids.look_up([PURCHASES]) == {PURCHASES: LogId("production", text(2), "shop.purchases", 1)}


async def test_a_topic_that_is_as_it_was_is_confirmed(ids: TopicIds) -> None:
    await ids.confirm(await ids.look_up([CLICKS, PURCHASES]))


async def test_a_topic_that_was_created_again_is_another(ids: TopicIds, cluster: FakeCluster) -> None:
    bound = await ids.look_up([CLICKS])
    cluster.ids["shop.clicks"] = 7
    with pytest.raises(OtherTopic, match=rf"shop\.clicks was created again: its id was {text(1)} and is {text(7)}"):
        await ids.confirm(bound)


async def test_each_leader_is_asked_for_its_partitions_because_another_broker_may_know_less(
    ids: TopicIds, cluster: FakeCluster
) -> None:
    cluster.leaders[PURCHASES] = 2
    bound = await ids.look_up([CLICKS, PURCHASES])
    await ids.confirm(bound)
    assert cluster.asked == {1: 2, 2: 1}
    cluster.ids_of[2] = {"shop.purchases": 7}
    with pytest.raises(OtherTopic):
        await ids.confirm(bound)


async def test_a_partition_that_moved_is_asked_of_its_new_leader(ids: TopicIds, cluster: FakeCluster) -> None:
    bound = await ids.look_up([CLICKS])
    cluster.leaders[CLICKS] = 2
    await ids.confirm(bound)
    assert cluster.asked == {1: 2, 2: 1}


async def test_a_partition_that_moves_with_every_question_is_unknown(ids: TopicIds, cluster: FakeCluster) -> None:
    bound = await ids.look_up([CLICKS])
    cluster.restless = True
    with pytest.raises(IdentitiesUnknown, match=r"does not say who leads the partitions of shop\.clicks"):
        await ids.confirm(bound)


async def test_a_missing_topic_is_unknown_and_not_another(ids: TopicIds, cluster: FakeCluster) -> None:
    bound = await ids.look_up([CLICKS])
    del cluster.ids["shop.clicks"]
    with pytest.raises(IdentitiesUnknown, match=r"does not say what the topic shop\.clicks is: UnknownTopicOr"):
        await ids.confirm(bound)


@pytest.mark.parametrize("error", [KafkaConnectionError("no broker"), StaleMetadata("no such broker"), OSError("gone")])
async def test_without_an_answer_nothing_is_known_and_the_next_question_connects_anew(
    ids: TopicIds, cluster: FakeCluster, error: Exception
) -> None:
    cluster.error = error
    with pytest.raises(IdentitiesUnknown, match="Kafka at kafka:9092 does not say which topics it has"):
        await ids.look_up([CLICKS])
    cluster.error = None
    bound = await ids.look_up([CLICKS])
    cluster.error = error
    with pytest.raises(IdentitiesUnknown):
        await ids.confirm(bound)
    assert cluster.open == 0
    cluster.error = None
    await ids.confirm(bound)
    assert cluster.connections == 2


async def test_many_questions_at_once_share_a_connection(ids: TopicIds, cluster: FakeCluster) -> None:
    await asyncio.gather(*(ids.look_up([CLICKS]) for _ in range(5)))
    assert cluster.connections == 1


async def test_a_closed_one_connects_again(ids: TopicIds, cluster: FakeCluster) -> None:
    await ids.close()
    await ids.look_up([CLICKS])
    await ids.close()
    assert cluster.open == 0
    await ids.look_up([CLICKS])
    assert cluster.connections == 2


async def test_brokers_before_topic_ids_give_the_cluster_alone(ids: TopicIds, cluster: FakeCluster) -> None:
    cluster.versions = (0, 9)
    bound = await ids.look_up([CLICKS])
    assert bound == {CLICKS: LogId("production", "", "shop.clicks", 0)}
    await ids.confirm(bound)
    assert sum(cluster.asked.values()) == 1, "there is nothing to ask"


async def test_an_id_of_zeros_is_no_id(ids: TopicIds, cluster: FakeCluster) -> None:
    cluster.ids["shop.clicks"] = int.from_bytes(NO_ID, "big")
    bound = await ids.look_up([CLICKS])
    assert bound[CLICKS].topic_id == ""
    await ids.confirm(bound)


async def test_a_broker_that_is_too_old_is_told(ids: TopicIds, cluster: FakeCluster) -> None:
    cluster.versions = (0, 2)
    with pytest.raises(IdentitiesUnknown, match=r"Brokers before Kafka 0\.11 are not supported"):
        await ids.look_up([CLICKS])


async def test_the_embedded_broker_gives_ids_that_another_client_library_reads_too() -> None:
    with embedded_kafka(["shop.clicks"]) as kafka:
        ids = TopicIds(Settings(kafka=kafka))
        bound = await ids.look_up([CLICKS])
        await ids.confirm(bound)
        await ids.close()
        cluster = AdminClient({"bootstrap.servers": kafka, "log_level": 0}).list_topics(timeout=10.0).cluster_id
    (found,) = bound.values()
    assert found == LogId(cluster, found.topic_id, "shop.clicks", 0)
    assert len(base64.b64decode(found.topic_id + "==")) == 16
