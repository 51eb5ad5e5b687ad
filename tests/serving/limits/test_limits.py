"""Limits over real sockets and a real Redis: what one key and one address may do, together on all servers."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from serving.limits import sharing
from serving.limits.bucket import Bucket
from stream.access.acts import Caller
from stream.access.audit import AuditTrail
from stream.access.key_store import KeyStore
from stream.access.lifecycle import MadeKey, create_key
from stream.access.limit_store import LimitStore
from stream.versions import VersionStore
from stream.versions.storage.limit_scripts import LimitRow
from tests.serving.awaiting import eventually
from tests.serving.conftest import Broker, Publisher, RedisServer, settings_for
from tests.serving.limits.live_server import Live, live
from tests.serving.raw_client import Answer, Client

ADA = Caller("ada", "a test")
FAST, SLOW = "/v1/recommendations/u", "/v1/popular"
STRANGER = "x-forwarded-for: 198.51.100.7"
SHOP = "x-forwarded-for: 192.0.2.1"


def made(store: VersionStore, *scopes: str, **more: Any) -> MadeKey:
    keys = KeyStore(store.space)
    return create_key(keys, scopes=scopes or ["all"], owner="ada", now=time.time(), caller=ADA, **more)


def bearer(key: MadeKey | str) -> str:
    return f"authorization: Bearer {key if isinstance(key, str) else key.text}"


@asynccontextmanager
async def shop(redis_server: RedisServer, store: VersionStore, **more: Any) -> AsyncIterator[Live]:
    """A server that other machines could reach, with one version."""
    if store.latest() is None:
        Publisher(store).learn(("u", "a"), ("v", "b"))
    async with live(settings_for(redis_server, **more), reachable=True) as served:
        await eventually_served(served)
        yield served


async def eventually_served(served: Live) -> None:
    async def ready() -> bool:
        return served.app.state.loader.served is not None

    await eventually(ready, "a version is served")


async def until_refused(client: Client, target: str, *headers: str, most: int = 400) -> tuple[int, Answer]:
    """Ask until something is refused; return how many were answered, and the refusal."""
    for answered in range(most):
        answer = await client.ask(target, *headers)
        if answer.status != 200:
            return answered, answer
    pytest.fail(f"{most} requests were answered")


def counted(served: Live, limit: str) -> float:
    return served.app.state.metrics.limited.labels(limit)._value.get()


@pytest.mark.parametrize("target", [FAST, SLOW])
async def test_a_key_may_read_as_many_lists_a_second_as_it_was_made_for(
    redis_server: RedisServer, store: VersionStore, target: str
) -> None:
    key, other = made(store, lists_a_second=5), made(store)
    async with shop(redis_server, store) as served, served.connected() as client:
        answered, refusal = await until_refused(client, target, bearer(key))
        assert answered >= 5
        assert refusal.status == 429
        assert refusal.body["detail"].startswith("This key may read 5 lists a second. Try again in 1 s.")
        assert refusal.headers["content-type"] == "application/problem+json"
        assert refusal.headers["retry-after"] == "1"
        assert refusal.headers["ratelimit-policy"] == '"lists";q=5;w=1'
        assert refusal.headers["ratelimit"] == '"lists";r=0;t=1'
        assert counted(served, "lists") == 1
        assert (await client.ask(target, bearer(other))).status == 200, "another key has nothing to do with it"
        assert (await client.ask("/v1/versions", bearer(key))).status == 200, "only lists are limited"

        async def again() -> bool:
            return (await client.ask(target, bearer(key))).status == 200

        await eventually(again, "the key may read again", 5.0)


async def test_a_body_of_events_that_does_not_fit_into_the_quota_of_the_day_is_refused_whole(
    redis_server: RedisServer, store: VersionStore, broker: Broker
) -> None:
    key = made(store, events_a_day=5)
    async with live(settings_for(redis_server, broker)) as served, served.connected() as client:

        async def post(events: int) -> Answer:
            body = json.dumps([{"user": "u", "item": f"i{at}"} for at in range(events)]).encode()
            return await client.ask("/v1/events/clicks", bearer(key), method="POST", body=body)

        async def accepted() -> bool:
            return (await post(3)).status == 202

        await eventually(accepted, "Kafka takes events; what it did not take was given back")
        refusal = await post(3)
        assert refusal.status == 429
        assert (
            "5 events on a day (UTC), of which 2 are left, and the body has 3. None of them" in refusal.body["detail"]
        )
        assert refusal.headers["ratelimit-policy"] == '"events";q=5;w=86400'
        assert refusal.headers["ratelimit"].startswith('"events";r=2;t=')
        assert 0 < int(refusal.headers["retry-after"]) <= 86_400
        assert (await post(2)).status == 202, "what fits is taken"
        assert (await post(1)).status == 429
        assert len(broker.records("clicks", 5)) == 5


async def test_servers_share_a_quota_and_one_that_starts_later_knows_what_was_used(
    redis_server: RedisServer, store: VersionStore
) -> None:
    key = made(store, lists_a_second=1000, events_a_day=10)
    limits = LimitStore(store.space)
    async with AsyncExitStack() as ends:
        first, second = [await ends.enter_async_context(shop(redis_server, store)) for _ in range(2)]
        held = first.app.state.key_ring.find(bytes.fromhex(key.record.digest))
        first.app.state.limits.take_events(held, 7)

        async def used() -> bool:
            return limits.spend([LimitRow(f"events:{held.id}", 0, 10, 0)]) == [3.0]

        await eventually(used, "Redis knows what was used")
        bucket = second.app.state.limits.buckets.bucket(f"events:{held.id}", 0.0, 10, time.time())

        async def learned() -> bool:
            return bucket.left == 3.0

        await eventually(learned, "the second server knows what is left")


async def test_while_redis_is_away_each_server_counts_by_itself_and_reports_later(
    redis_server: RedisServer, store: VersionStore
) -> None:
    key = made(store, lists_a_second=20, events_a_day=100)
    async with shop(redis_server, store) as served, served.connected() as client:
        held = served.app.state.key_ring.find(bytes.fromhex(key.record.digest))
        redis_server.stop()
        with capture_logs() as logs:
            answered, refusal = await until_refused(client, FAST, bearer(key))
            assert answered >= 20
            assert refusal.status == 429
            served.app.state.limits.take_events(held, 40)

            async def away() -> bool:
                return any(log["event"] == "limits are not shared: each process counts by itself" for log in logs)

            await eventually(away, "it is logged")
        redis_server.start()
        limits = LimitStore(store.space)

        async def reported() -> bool:
            return limits.spend([LimitRow(f"events:{held.id}", 0, 100, 0)]) == [60.0]

        await eventually(reported, "what was used meanwhile is in Redis")


async def test_an_address_without_a_key_of_its_own_is_limited_and_a_backend_is_not(
    redis_server: RedisServer, store: VersionStore
) -> None:
    page = made(store, "recommendations:read", origins=["https://shop.example"])
    backend = made(store, "recommendations:read")
    async with shop(redis_server, store, address_requests_per_second=4) as served, served.connected() as client:
        page_of = (bearer(page), "origin: https://shop.example")
        for target in (FAST, SLOW):
            answered, refusal = await until_refused(client, target, *page_of, STRANGER)
            assert answered >= (8 if target == FAST else 0)
            assert refusal.status == 429
            assert refusal.headers["ratelimit-policy"] == '"address";q=8;w=2'
        assert (await client.ask(FAST, *page_of, SHOP)).status == 200, "another address"
        assert (await client.ask(FAST, *page_of)).status == 200, "the server's own machine"
        for _ in range(40):
            assert (await client.ask(FAST, bearer(backend), STRANGER)).status == 200
        keyless = "x-forwarded-for: 203.0.113.9"
        statuses = [(await client.ask(SLOW, keyless)).status for _ in range(8)]
        assert statuses == [401] * 8

        async def refused() -> bool:
            return (await client.ask(SLOW, keyless)).status == 429

        await eventually(refused, "requests without a key count for their address", 30.0)
        names = [name.decode() for name in redis_server.client.keys("*limit:*")]
        assert names
        assert not any("198.51.100" in name or "203.0.113" in name for name in names), "Redis knows no address"


async def test_an_address_of_ipv6_counts_with_its_network(redis_server: RedisServer, store: VersionStore) -> None:
    page = made(store, "recommendations:read", origins=["https://shop.example"])
    async with shop(redis_server, store, address_requests_per_second=5) as served, served.connected() as client:
        statuses = [
            (
                await client.ask(
                    FAST, bearer(page), "origin: https://shop.example", f"x-forwarded-for: 2001:db8:0:1::{at:x}"
                )
            ).status
            for at in range(1, 40)
        ]
        assert statuses[:10] == [200] * 10
        assert 429 in statuses


async def test_guessing_of_keys_is_limited_by_address_and_recorded_once(
    redis_server: RedisServer, store: VersionStore
) -> None:
    used, unused = made(store), made(store)
    wrong = bearer("corrente_" + "0f" * 32)
    async with shop(redis_server, store) as served, served.connected() as client:
        assert (await client.ask(FAST, bearer(used), STRANGER)).status == 200
        ring = served.app.state.key_ring
        ring._write_uses()
        for target in (SLOW, FAST, "/v1/versions"):
            statuses = [(await client.ask(target, wrong, STRANGER)).status for _ in range(25)]
            assert statuses[-1] == 429
            assert set(statuses) <= {401, 429}
            assert target != SLOW or statuses[:20] == [401] * 20
        refusal = await client.ask(FAST, wrong, STRANGER)
        assert "more than 20 wrong keys a minute" in refusal.body["detail"]
        assert refusal.headers["ratelimit-policy"] == '"guesses";q=20;w=60'
        assert (await client.ask(FAST, bearer(unused), STRANGER)).status == 429, "a guess is not told that it is right"
        assert unused.record.id not in ring.uses
        assert (await client.ask(FAST, bearer(used), STRANGER)).status == 200, "a shop behind the same proxy goes on"
        assert (await client.ask(FAST, bearer(unused), SHOP)).status == 200, "other addresses go on"
        assert (await client.ask(FAST, wrong, SHOP)).status == 401

        async def recorded() -> bool:
            return any(record.act.what == "keys.guess" for record in AuditTrail(store.space).newest(10))

        await eventually(recorded, "the guesses are in the audit trail")
        for _ in range(200):
            await client.ask(FAST, wrong, STRANGER)
        acts = [record.act for record in AuditTrail(store.space).newest(100) if record.act.what == "keys.guess"]
        assert len(acts) == 1, "an attacker can't fill the trail"
        assert acts[0].origin == "198.51.100.7"
        assert "more than 20 wrong keys a minute from 1 addresses" in acts[0].why
        assert "0f0f" not in str(acts[0])


def test_buckets_that_several_servers_spend_at_once_owe_what_was_too_much(store: VersionStore) -> None:
    limits = LimitStore(store.space)
    assert limits.spend([LimitRow("lists:a", 10, 10, 10), LimitRow("lists:b", 10, 10, 4)]) == [0.0, 6.0]
    (left,) = limits.spend([LimitRow("lists:a", 10, 10, 10)])
    assert -10.0 <= left < -9.0, "the second server's ten are missing afterwards"
    assert 0 < store.redis.ttl(store.keys.limit("lists:a")) <= 3, "it expires when it is full again"


def test_a_bucket_of_a_day_is_full_again_with_the_next_day() -> None:
    bucket = Bucket("events", "a", 0, 5, now=86_400.0 - 1)
    assert bucket.take(5, 86_400.0 - 1)
    assert not bucket.take(1, 86_400.0 - 0.5)
    assert bucket.take(5, 86_400.0)


async def test_only_so_many_buckets_are_kept(store: VersionStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "MOST_BUCKETS", 10)
    monkeypatch.setattr(sharing, "MOST_WAITING", 20)
    buckets = sharing.SharedBuckets(LimitStore(store.space), lambda name: name)
    for at in range(1000):
        bucket = buckets.bucket(f"address:{at}", 1, 1, 0.0)
        assert buckets.take(bucket, 1, 0.0)
    assert len(buckets) == 10
    assert len(buckets._waiting) <= 20


@pytest.mark.parametrize("target", [FAST, SLOW])
async def test_a_list_of_a_limited_caller_says_how_many_are_left(
    redis_server: RedisServer, store: VersionStore, target: str
) -> None:
    """So that the caller can slow down before it is refused. A caller without limits is told of none."""
    limited, unlimited = made(store, lists_a_second=500), made(store)
    page = made(store, "recommendations:read", origins=["https://shop.example"], lists_a_second=500)
    async with shop(redis_server, store) as served, served.connected() as client:
        rests = []
        for _ in range(3):
            answer = await client.ask(target, bearer(limited))
            assert answer.status == 200
            assert answer.headers["ratelimit-policy"] == '"lists";q=500;w=1'
            found = re.fullmatch(r'"lists";r=(\d+);t=1', answer.headers["ratelimit"])
            assert found
            rests.append(int(found[1]))
        assert rests[0] == 499
        assert max(rests) < 500
        both = await client.ask(target, bearer(page), "origin: https://shop.example", STRANGER)
        assert both.headers["ratelimit-policy"] == '"address";q=200;w=2, "lists";q=500;w=1'
        assert re.fullmatch(r'"address";r=\d+;t=1, "lists";r=\d+;t=1', both.headers["ratelimit"])
        free = await client.ask(target, bearer(unlimited))
        assert free.status == 200
        assert not {"ratelimit", "ratelimit-policy"} & set(free.headers)


async def test_an_answer_to_posted_events_says_how_many_are_left_of_the_day(
    redis_server: RedisServer, store: VersionStore, broker: Broker
) -> None:
    key = made(store, events_a_day=100)
    async with live(settings_for(redis_server, broker)) as served, served.connected() as client:

        async def post(body: bytes) -> Answer:
            return await client.ask("/v1/events/clicks", bearer(key), method="POST", body=body)

        async def accepted() -> bool:
            return (await post(b'{"user": "u", "item": "a"}')).status == 202

        await eventually(accepted, "Kafka takes events; what it did not take was given back")
        answer = await post(b'[{"user": "u", "item": "a"}, {"user": "u", "item": "b"}]')
        assert answer.status == 202
        assert answer.headers["ratelimit-policy"] == '"events";q=100;w=86400'
        assert re.fullmatch(r'"events";r=97;t=\d+', answer.headers["ratelimit"])


async def test_a_request_without_a_key_learns_what_its_address_may_do(
    redis_server: RedisServer, store: VersionStore
) -> None:
    async with shop(redis_server, store) as served, served.connected() as client:
        answer = await client.ask(SLOW, STRANGER)
        assert answer.status == 401
        assert answer.headers["ratelimit-policy"] == '"address";q=200;w=2'
        guess = await client.ask(SLOW, bearer("corrente_" + "0f" * 32), STRANGER)
        assert guess.status == 401
        assert "ratelimit" not in guess.headers, "nobody is told how many guesses are left"
