"""Fetches by topic ids on a real Kafka: the same answer as by names, and never a record of another topic."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.fetch import FetchRequest
from faust.types import TP

from stream.kafka.identity.fetch_by_id import UNKNOWN_TOPIC_OR_PARTITION, FetchById, id_bytes
from stream.kafka.identity.topic_ids import TopicIds
from stream.settings import Settings
from tests.integration.harness.kafka_client import (
    Message,
    Transaction,
    delete_topic,
    make_topics,
    produce,
    transactions,
)

pytestmark = pytest.mark.integration

READ_COMMITTED = 1


def asked(topic: str, *partitions: tuple[int, int]) -> FetchRequest:
    """The request for some partitions, from an offset on."""
    return FetchRequest(500, 1, 1 << 20, READ_COMMITTED, [(topic, [(*each, 1 << 20) for each in partitions])], "rack")


def answers(kafka: str, *requests: Any) -> list[Any]:
    """The broker's replies, one after the other."""

    async def ask() -> list[Any]:
        client = AIOKafkaClient(bootstrap_servers=kafka)
        await client.bootstrap()
        try:
            return [await client.send(client.get_random_node(), request) for request in requests]
        finally:
            await client.close()

    return asyncio.run(ask())


def topic_id(kafka: str, topic: str) -> bytes:
    async def look_up() -> str:
        ids = TopicIds(Settings(kafka=kafka))
        try:
            return (await ids.look_up([TP(topic, 0)]))[TP(topic, 0)].topic_id
        finally:
            await ids.close()

    return id_bytes(asyncio.run(look_up()))


def test_an_answer_by_id_says_what_one_by_name_says(kafka: str) -> None:
    topic = f"by-id-{uuid.uuid4().hex[:8]}"
    make_topics(kafka, {topic: 2})
    produce(kafka, [Message(topic, b"a" * number, partition=0) for number in range(200)])
    with transactions(kafka, f"{topic}-writer") as writer:
        writer.send([Message(topic, b"aborted", partition=1)], Transaction.ABORTED)
        writer.send([Message(topic, b"committed", partition=1)], Transaction.COMMITTED)
    request = asked(topic, (0, 5), (1, 0))
    ids = dict.fromkeys([TopicPartition(topic, 0), TopicPartition(topic, 1)], topic_id(kafka, topic))
    by_id = FetchById(request, ids)
    named, identified = answers(kafka, request, by_id)
    assert by_id.used
    assert not by_id.refused
    assert identified.API_VERSION > named.API_VERSION
    ((name, partitions),) = identified.topics
    ((_, expected),) = named.topics
    in_order = {each[0]: each for each in partitions}
    assert name == topic
    assert len(in_order[1][5]) == 1, "an aborted transaction"
    assert in_order == {each[0]: (*each[:5], [tuple(one) for one in each[5] or []], *each[6:]) for each in expected}


def test_a_topic_that_was_created_again_gives_no_record_to_a_fetch_by_the_old_id(kafka: str) -> None:
    topic = f"by-id-{uuid.uuid4().hex[:8]}"
    first = TopicPartition(topic, 0)
    make_topics(kafka, {topic: 1})
    produce(kafka, [Message(topic, b"old", partition=0)] * 3)
    old = {first: topic_id(kafka, topic)}
    delete_topic(kafka, topic)
    make_topics(kafka, {topic: 1})
    produce(kafka, [Message(topic, b"new", partition=0)] * 9)
    request = asked(topic, (0, 3))
    by_old, by_new = FetchById(request, old), FetchById(request, {first: topic_id(kafka, topic)})
    named, refused, found = answers(kafka, request, by_old, by_new)
    assert b"new" in named.topics[0][1][0][-1], "by name, the fetch goes on in the other topic"
    assert by_old.refused
    assert refused.topics == [(topic, [(0, UNKNOWN_TOPIC_OR_PARTITION, -1, -1, -1, [], -1, b"")])]
    assert not by_new.refused
    assert found.topics[0][1][0][-1] == named.topics[0][1][0][-1]


def test_an_older_broker_is_asked_by_name() -> None:
    request = asked("clicks", (0, 7))
    by_id = FetchById(request, {TopicPartition("clicks", 0): bytes(16)})
    assert by_id.prepare({1: (0, 11)}) == request.prepare({1: (0, 11)})
    assert not by_id.used
