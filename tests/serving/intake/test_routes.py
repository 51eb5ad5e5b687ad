"""Posted events reach Kafka as the worker reads them, or the answer says which did not, and why."""

from __future__ import annotations

import json
import struct

import pytest
from aiokafka.partitioner import murmur2

from stream.events import check_event, decoder
from tests.serving.awaiting import eventually, kafka_up
from tests.serving.conftest import Broker, RedisServer, running, settings_for


@pytest.mark.parametrize(
    ("key", "expected"),
    [  # from Kafka's own UtilsTest.testMurmur2
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_keys_are_partitioned_as_by_java(key: bytes, expected: int):
    assert struct.unpack(">i", struct.pack(">I", murmur2(key)))[0] == expected


async def test_one_event_arrives_with_an_id_and_a_time(redis_server: RedisServer, broker: Broker):
    async with running(settings_for(redis_server, broker)) as (_, client):
        await kafka_up(client)
        answer = await client.post("/v1/events/clicks", json={"item": 42, "user": "ada", "unknown": 1})
        assert answer.status_code == 202
        (event_id,) = answer.json()["event_ids"]
    (record,) = broker.records("clicks", 1)
    assert record.key() == b"ada"
    event = decoder("clicks").decode(record.value())
    assert (event.item, event.user, event.event_id) == (42, "ada", event_id)
    check_event(event, now=record.timestamp()[1] / 1000, max_future_seconds=1)


async def test_an_array_arrives_whole_under_the_visitors_keys(redis_server: RedisServer, broker: Broker):
    events = [
        {"item": "a", "user": "u", "session": "s", "kind": "cart", "timestamp": 1_700_000_000.5, "event_id": "e1"},
        {"item": "b", "session": "s", "kind": "rating", "value": 4, "timestamp": "2026-01-01T00:00:00Z", "event_id": 2},
    ]
    async with running(settings_for(redis_server, broker)) as (_, client):
        await kafka_up(client)
        answer = await client.post("/v1/events/feedback", json=events)
        assert (answer.status_code, answer.json()) == (202, {"accepted": 2, "event_ids": ["e1", "2"], "repeated": 0})
        empty = await client.post("/v1/events/feedback", json=[])
        assert (empty.status_code, empty.json()["accepted"]) == (202, 0)
    records = {record.key(): json.loads(record.value()) for record in broker.records("feedback", 2)}
    assert records == {b"u": events[0], b"s": events[1]}


async def test_lines_under_one_event_id_are_accepted_and_told_to_count_once(redis_server: RedisServer, broker: Broker):
    lines = [{"item": item, "user": "ada", "event_id": "order 7"} for item in ("cup", "teapot", "spoon")]
    async with running(settings_for(redis_server, broker)) as (_, client):
        await kafka_up(client)
        answer = await client.post("/v1/events/purchases", json=[*lines, {"item": "cup", "user": "bob"}])
        assert (answer.status_code, answer.json()["accepted"], answer.json()["repeated"]) == (202, 4, 2)
        metrics = (await client.get("/metrics")).text
    assert 'corrente_http_events_repeated_total{topic="purchases"} 2.0' in metrics


async def test_field_names_of_producers_hold_for_http_too(redis_server: RedisServer, broker: Broker):
    fields = {"item": "product_id", "user": "customer"}
    async with running(settings_for(redis_server, broker, fields=fields)) as (_, client):
        await kafka_up(client)
        answer = await client.post("/v1/events/purchases", json={"product_id": "a", "customer": 7, "price": 9.5})
        assert answer.status_code == 202
        wrong = await client.post("/v1/events/purchases", json={"item": "a", "user": 7})
        assert (wrong.status_code, wrong.json()["field"]) == (422, "product_id")
        schema = (await client.get("/openapi.json")).json()["components"]["schemas"]["Purchase"]
        assert "product_id" in schema["properties"]
    (record,) = broker.records("purchases", 1)
    assert decoder("purchases", fields).decode(record.value()).item == "a"


@pytest.mark.parametrize(
    ("body", "status", "index", "field"),
    [
        (b"", 400, None, None),
        (b"[", 400, None, None),
        (b'"text"', 422, None, None),
        (b"null", 422, None, None),
        (b'{"item": "a", "user": "u"} trailing', 400, None, None),
        (b'{"item": "\xff", "user": "u"}', 400, None, None),
        (b'{"item": "\\ud800", "user": "u"}', 400, None, None),
        (b'{"item": NaN, "user": "u"}', 400, None, None),
        (b'{"user": "u"}', 422, None, "item"),
        (b'{"item": "a"}', 422, None, "user"),
        (b'{"item": "", "user": "u"}', 422, None, "item"),
        (b'{"item": 1.5, "user": "u"}', 422, None, "item"),
        (b'{"item": "a\\u0007", "user": "u"}', 422, None, "item"),
        (b'[{"item": "a", "user": "u"}, {"item": "a", "user": ["u"]}]', 422, 1, "user"),
        (b'[{"item": "a", "user": "u"}, 7]', 422, 1, None),
        (b'[{"item": "a", "user": "u"}, {"user": "u"}]', 422, 1, "item"),
        (b'[{"item": "a", "user": "u", "timestamp": 1e300}]', 422, 0, "timestamp"),
        (b'[{"item": "a", "user": "u", "timestamp": "yesterday"}]', 422, 0, "timestamp"),
        (b'[{"item": "a", "user": "u", "timestamp": 4000000000}]', 422, 0, "timestamp"),
        (b'{"item": "' + b"x" * 257 + b'", "user": "u"}', 422, None, "item"),
        (b'{"item": "a", "user": "u", "context": {"text": "' + b"x" * 1_000_000 + b'"}}', 422, None, "context"),
        (b'{"item": "a", "user": "u", "context": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001, 400, None, None),
        (b'{"item": "a", "user": "u", "context": ' + b'{"a":' * 300 + b"1" + b"}" * 301, 422, None, "context"),
        (b'{"item": "' + b"x" * 10_000_000 + b'", "user": "u"}', 413, None, None),
    ],
)
async def test_wrong_events_are_refused_by_element_and_field(redis_server: RedisServer, body, status, index, field):
    async with running(settings_for(redis_server)) as (_, client):
        answer = await client.post("/v1/events/clicks", content=body)
        assert answer.status_code == status, answer.text
        assert (answer.json().get("index"), answer.json().get("field")) == (index, field)
        if field:
            assert field in answer.json()["detail"]


async def test_a_body_without_a_declared_length_is_limited_too(redis_server: RedisServer):
    async def endless():
        while True:
            yield b" " * 65536

    async with running(settings_for(redis_server)) as (_, client):
        answer = await client.post("/v1/events/clicks", content=endless())
        assert answer.status_code == 413


async def test_feedback_needs_a_kind(redis_server: RedisServer):
    async with running(settings_for(redis_server)) as (_, client):
        answer = await client.post("/v1/events/feedback", json={"item": "a", "user": "u"})
        assert (answer.status_code, answer.json()["field"]) == (422, "kind")


async def test_without_kafka_posts_are_refused_with_a_status_for_each_event(redis_server: RedisServer):
    async with running(settings_for(redis_server)) as (_, client):
        answer = await client.post("/v1/events/clicks", json=[{"item": "a", "user": "u", "event_id": "e"}])
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
        (element,) = answer.json()["elements"]
        assert (element["event_id"], element["status"]) == ("e", "failed")


async def test_missing_topics_are_named_until_they_exist(redis_server: RedisServer):
    broker = Broker()
    async with running(settings_for(redis_server, broker)) as (_, client):

        async def missing() -> bool:
            return "no topic" in ((await client.get("/health/ready")).json()["kafka"].get("reason") or "")

        await eventually(missing, "the health names the missing topics")
        assert (await client.post("/v1/events/clicks", json={"item": "a", "user": "u"})).status_code == 503
        broker.create("clicks", "purchases", "feedback")
        await kafka_up(client)
        assert (await client.post("/v1/events/clicks", json={"item": "a", "user": "u"})).status_code == 202
    broker.stop()


async def test_lists_are_answered_while_kafka_is_down_and_the_health_says_so(redis_server: RedisServer, broker: Broker):
    async with running(settings_for(redis_server, broker)) as (_, client):
        await kafka_up(client)
        broker.stop()

        async def down() -> bool:
            return not (await client.get("/health/ready")).json()["kafka"]["up"]

        await eventually(down, "the health says that Kafka is down")
        health = await client.get("/health/ready")
        assert (health.status_code, health.json()["status"]) == (200, "degraded")
        assert health.json()["kafka"]["since"]
        assert (await client.post("/v1/events/clicks", json={"item": "a", "user": "u"})).status_code == 503
        assert (await client.get("/v1/popular")).status_code == 200


async def test_accepted_and_refused_events_are_counted(redis_server: RedisServer, broker: Broker):
    async with running(settings_for(redis_server, broker)) as (_, client):
        await kafka_up(client)
        await client.post("/v1/events/clicks", json=[{"item": "a", "user": "u"}] * 3)
        await client.post("/v1/events/clicks", json={"item": "a"})
        text = (await client.get("/metrics")).text
    assert 'corrente_http_events_accepted_total{topic="clicks"} 3.0' in text
    assert 'corrente_http_events_refused_total{reason="invalid",topic="clicks"} 1.0' in text
