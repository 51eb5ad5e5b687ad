"""Health of a server while learning stands still: lists are answered, and it says which shard, why and since when."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from stream.versions import ShardReport, VersionStore
from tests.serving.awaiting import eventually, kafka_up, served_version
from tests.serving.conftest import Broker, Publisher, RedisServer, running, settings_for

STANDS = ShardReport(
    ["clicks-0"],
    1_700_000_000.0,
    "dead letters",
    "dead letters can't be written to letters",
    "kafka-topics.sh --create",
)
CLICKS = [("u", "a"), ("v", "b")]


async def health_once(client: httpx.AsyncClient, status: str) -> dict[str, Any]:
    """The body of `/health/ready` once it has this status."""

    async def has_status() -> dict[str, Any] | None:
        body = (await client.get("/health/ready")).json()
        return body if body["status"] == status else None

    return await eventually(has_status, f"the status is {status}")


async def test_a_shard_that_stands_still_is_told_with_everything_and_lists_are_answered(
    redis_server: RedisServer, store: VersionStore, publisher: Publisher, broker: Broker
) -> None:
    version = publisher.learn(*CLICKS)
    store.report(0, publisher.claim, "worker:1", ShardReport())
    with capture_logs() as logs:
        async with running(settings_for(redis_server, broker)) as (_, client):
            await served_version(client, version.number)
            await kafka_up(client)
            assert (await client.get("/health/ready")).json()["stopped"] == []
            store.report(0, publisher.claim, "worker:1", STANDS)
            body = await health_once(client, "degraded")
            assert body["stopped"] == [
                {
                    "shard": 0,
                    "since": "2023-11-14T22:13:20.000Z",
                    "reason": "dead letters",
                    "detail": "dead letters can't be written to letters",
                    "mend": "kafka-topics.sh --create",
                    "worker": "worker:1",
                    "partitions": ["clicks-0"],
                }
            ]
            assert body["since"] == "2023-11-14T22:13:20.000Z"
            assert (await client.get("/health/ready")).status_code == 200, "a load balancer keeps it"
            assert [each["item"] for each in (await client.get("/v1/popular")).json()["items"]] == ["b", "a"]
            metric = 'corrente_learning_stopped{reason="dead letters",shard="0"} 1.0'
            assert metric in (await client.get("/metrics")).text
            newer = publisher.learn(("w", "c"))
            await served_version(client, newer.number)
            store.report(0, publisher.claim, "worker:1", ShardReport())
            body = await health_once(client, "ready")
            assert (body["stopped"], body["since"]) == ([], None)
            assert "corrente_learning_stopped{" not in (await client.get("/metrics")).text
    stands, goes_on = [line for line in logs if line["event"].startswith("learning ")]
    assert (stands["shard"], stands["reason"], stands["mend"]) == (0, "dead letters", "kafka-topics.sh --create")
    assert (goes_on["event"], goes_on["shard"]) == ("learning goes on", 0)


async def test_a_shard_whose_worker_is_gone_has_no_worker_until_another_one_reports(
    redis_server: RedisServer,
    store: VersionStore,
    publisher: Publisher,
    broker: Broker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("serving.loading.learning.SILENT_SECONDS", 0.5)
    version = publisher.learn(*CLICKS)
    store.report(0, publisher.claim, "worker:1", ShardReport(["clicks-0"]))
    async with running(settings_for(redis_server, broker)) as (_, client):
        await served_version(client, version.number)
        await kafka_up(client)
        store.redis.zincrby(store.keys.prefix + "reports", -60, "0")
        (stopped,) = (await health_once(client, "degraded"))["stopped"]
        assert (stopped["shard"], stopped["reason"], stopped["worker"]) == (0, "no worker", "worker:1")
        assert "no other worker does" in stopped["detail"]
        assert "corrente worker" in stopped["mend"]
        store.report(0, publisher.claim, "worker:2", ShardReport())
        await health_once(client, "ready")


async def test_a_report_that_can_not_be_read_keeps_no_version_from_being_served(
    redis_server: RedisServer, store: VersionStore, publisher: Publisher, broker: Broker
) -> None:
    publisher.learn(*CLICKS)
    store.report(0, publisher.claim, "worker:1", STANDS)
    store.redis.hset(store.keys.shard(0) + "report", "report", b"not JSON")
    async with running(settings_for(redis_server, broker)) as (_, client):
        newer = publisher.learn(("w", "c"))
        await served_version(client, newer.number)


async def test_every_route_that_answers_get_answers_head(redis_server: RedisServer, publisher: Publisher) -> None:
    version = publisher.learn(*CLICKS)
    async with running(settings_for(redis_server)) as (app, client):
        await served_version(client, version.number)
        paths = [path for path, methods in app.openapi()["paths"].items() if "get" in methods]
        assert len(paths) > 8
        for path in (*paths, "/docs", "/openapi.json"):
            target = re.sub(r"\{.*?\}", "1", path)
            head, get = await client.head(target), await client.get(target)
            assert head.status_code == get.status_code, target
            assert head.headers["content-type"] == get.headers["content-type"], target
        assert (await client.head("/v1/events/clicks")).status_code == 405
        counted = (await client.get("/metrics")).text
    assert 'corrente_http_requests_total{method="HEAD",route="/health/live",status="200"} 1.0' in counted
