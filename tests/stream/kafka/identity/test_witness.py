"""Witnesses: one record of a log, read from a real broker, tells the log from one that was created again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, NotLeaderForPartitionError
from faust.types import TP

from simulators.embedded import embedded_kafka
from stream.kafka.identity.errors import IdentitiesUnknown
from stream.kafka.identity.topic_ids import TopicIds
from stream.settings import Settings
from stream.shard.logs import witness_offset
from tests.stream.kafka.identity.test_topic_ids import CLICKS, FakeCluster

VIEWS = TP("views", 0)


@pytest.fixture
async def kafka() -> AsyncIterator[str]:
    with embedded_kafka(["views", "empty"]) as bootstrap:
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
        await producer.start()
        for number in range(5):
            await producer.send_and_wait("views", b"value %d" % number, key=b"key", partition=0, timestamp_ms=1000)
        await producer.stop()
        yield bootstrap


async def test_a_record_is_the_witness_of_its_offset(kafka: str) -> None:
    ids = TopicIds(Settings(kafka=kafka))
    await ids.look_up([VIEWS])
    first, again, third = [await ids.witness(VIEWS, offset) for offset in (0, 0, 2)]
    assert first == again
    assert [witness_offset(witness) for witness in (first, third)] == [0, 2]
    assert first.partition(":")[2] != third.partition(":")[2]
    await ids.close()


@pytest.mark.parametrize("tp", [VIEWS, TP("empty", 0)], ids=["behind its end", "empty"])
async def test_a_log_without_such_a_record_has_no_witness(kafka: str, tp: TP) -> None:
    ids = TopicIds(Settings(kafka=kafka))
    await ids.look_up([tp])
    assert await ids.witness(tp, 5) == ""
    await ids.close()


async def test_without_an_answer_there_is_none_and_the_next_question_connects_anew() -> None:
    cluster = FakeCluster()
    ids = TopicIds(Settings(kafka="kafka:9092"), lambda _: cluster)
    await ids.look_up([CLICKS])
    cluster.error = KafkaConnectionError("no broker")
    with pytest.raises(IdentitiesUnknown, match=r"does not give a record of shop\.clicks-0: .*no broker"):
        await ids.witness(CLICKS, 0)
    cluster.error = None
    await asyncio.gather(ids.look_up([CLICKS]))
    assert cluster.connections == 2


async def test_a_partition_without_a_leader_is_unknown() -> None:
    cluster = FakeCluster()
    ids = TopicIds(Settings(kafka="kafka:9092"), lambda _: cluster)
    await ids.look_up([CLICKS])
    cluster.records_error = NotLeaderForPartitionError()
    with pytest.raises(IdentitiesUnknown, match=r"does not say who leads shop\.clicks-0"):
        await ids.witness(CLICKS, 0)
