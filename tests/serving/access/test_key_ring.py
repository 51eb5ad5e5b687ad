"""Keys in memory: followed within a second, in force for a limited time without Redis, and open on loopback only."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from serving.access import guard, key_ring
from serving.access.key_ring import KeyRing
from serving.answers.fast_path import FastPath
from serving.app import Server, create_app
from stream.access.acts import Caller
from stream.access.key_store import KeyStore
from stream.access.lifecycle import MadeKey, create_key, revoke_key, rotate_key
from stream.access.scopes import RECOMMENDATIONS_READ, SCOPES
from stream.versions import VersionStore
from tests.serving.awaiting import eventually, served_version
from tests.serving.conftest import Publisher, RedisServer, running, settings_for

ADA = Caller("ada", "a test")
LIST = "/v1/popular"


def made(store: VersionStore, *scopes: str, **more: Any) -> MadeKey:
    return create_key(KeyStore(store.space), scopes=scopes or SCOPES, owner="ada", now=time.time(), caller=ADA, **more)


def bearer(key: MadeKey) -> dict[str, str]:
    return {"authorization": f"Bearer {key.text}"}


def answers(client: httpx.AsyncClient, status: int, key: MadeKey | None = None) -> Callable[[], Awaitable[bool]]:
    """A condition: a list is answered with this status."""

    async def has_status() -> bool:
        answer = await client.get(LIST, headers=bearer(key) if key else None)
        return answer.status_code == status

    return has_status


@asynccontextmanager
async def reachable(redis_server: RedisServer, **more: Any) -> AsyncIterator[tuple[Server, httpx.AsyncClient]]:
    """The application as it runs where other machines can reach it."""
    app = create_app(settings_for(redis_server, **more), reachable=True)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://corrente") as client,
    ):
        yield app, client


async def test_on_loopback_everyone_may_call_until_the_first_key_is_made_and_never_again(
    redis_server: RedisServer, store: VersionStore
) -> None:
    with capture_logs() as logs:
        async with running(settings_for(redis_server)) as (_, client):
            assert (await client.get("/health/ready")).json()["access"] == "open"
            assert "No key was made yet" in (await client.get("/openapi.json")).json()["info"]["description"]
            assert (await client.get(LIST)).status_code == 200
            key = made(store)
            await eventually(answers(client, 401), "a key is needed")
            assert (await client.get(LIST, headers=bearer(key))).status_code == 200
            assert "Calls need a key" in (await client.get("/openapi.json")).json()["info"]["description"]
            store.redis.delete(store.keys.keys)  # a Redis that has lost everything
            await eventually(answers(client, 401, key), "the lost key is unknown")
            assert (await client.get(LIST)).status_code == 401, "it doesn't open again"
    events = [line["event"] for line in logs]
    assert "every program of this machine may call, because no key was made yet" in events
    assert "keys are required from now on" in events


async def test_a_key_that_is_made_or_revoked_takes_effect_within_a_second(
    redis_server: RedisServer, store: VersionStore
) -> None:
    """The interval of looks bounds it: two of them, and the time of one look, which is milliseconds."""
    assert 2 * key_ring.POLL_SECONDS <= 1.0
    async with reachable(redis_server) as (_, client):
        key = made(store)
        await eventually(answers(client, 200, key), "the new key opens")
        revoke_key(KeyStore(store.space), key.record.id, now=time.time(), caller=ADA)
        await eventually(answers(client, 401, key), "the revoked key is refused")


async def test_after_a_rotation_both_keys_are_valid_until_the_old_one_ends(
    redis_server: RedisServer, store: VersionStore
) -> None:
    old = made(store)
    async with reachable(redis_server) as (app, client):
        new, ending = rotate_key(
            KeyStore(store.space), old.record.id, overlap_seconds=3600.0, now=time.time(), caller=ADA
        )
        await eventually(answers(client, 200, new), "the new key opens")
        assert (await client.get(LIST, headers=bearer(old))).status_code == 200
        await asyncio.to_thread(
            KeyStore(store.space).records
        )  # as another process would see it: the old one has an end now
        held = app.state.key_ring.find(bytes.fromhex(old.record.digest))
        assert held.expires_at == ending.expires_at


async def test_without_redis_keys_go_on_reading_and_administrative_calls_are_refused_at_once(
    redis_server: RedisServer, store: VersionStore, publisher: Publisher
) -> None:
    version = publisher.learn(("u", "a"), ("v", "b"))
    key = made(store)
    async with reachable(redis_server) as (app, client):
        await served_version(client, version.number, headers=bearer(key))
        redis_server.stop()
        refused = await client.post("/v1/versions/1/rollback", json={}, headers=bearer(key))
        assert refused.status_code == 503
        assert "it is not known whether this key still holds" in refused.json()["detail"]
        assert refused.headers["retry-after"] == "1"
        assert (await client.get(LIST, headers=bearer(key))).status_code == 200
        assert (await client.get(LIST)).status_code == 401
        app.state.key_ring.trusted_until = time.monotonic() - 0.001  # as after CORRENTE_KEYS_STALE_SECONDS
        stale = await client.get(LIST, headers=bearer(key))
        assert stale.status_code == 503
        assert "CORRENTE_KEYS_STALE_SECONDS" in stale.json()["detail"]
        redis_server.start()
        await eventually(answers(client, 200, key), "Redis is back, and the key counts again")


async def test_a_key_that_was_revoked_while_redis_was_away_is_void_when_it_is_back(
    redis_server: RedisServer, store: VersionStore
) -> None:
    key = made(store)
    async with reachable(redis_server) as (_, client):
        await eventually(answers(client, 200, key), "the key opens")
        revoke_key(KeyStore(store.space), key.record.id, now=time.time(), caller=ADA)
        redis_server.stop()
        redis_server.start()
        await eventually(answers(client, 401, key), "the key is void")


async def test_keys_stay_in_force_for_the_time_that_is_set(redis_server: RedisServer, store: VersionStore) -> None:
    ring = KeyRing(KeyStore(store.space), may_open=False, stale_seconds=40.0)
    before = time.monotonic()
    await asyncio.to_thread(ring.look)
    assert before + 40.0 <= ring.trusted_until <= time.monotonic() + 40.0


async def test_beyond_loopback_nothing_is_open_while_redis_is_away_or_has_no_key(
    redis_server: RedisServer, store: VersionStore
) -> None:
    redis_server.stop()
    with capture_logs() as logs:
        async with reachable(redis_server) as (_, client):
            assert (await client.get(LIST)).status_code == 401
            unread = await client.get(LIST, headers={"x-api-key": "corrente_" + "0f" * 32})
            assert unread.status_code == 503
            assert "has not read its keys" in unread.json()["detail"]
            assert (await client.get("/health/live")).status_code == 200
            redis_server.start()
            await eventually(
                answers(client, 401, MadeKey("corrente_" + "0f" * 32, None)), "keys are read, and there is none"
            )
    assert [line["log_level"] for line in logs if line["event"] == "no key was made yet, so every call is refused"] == [
        "warning"
    ]


async def test_on_loopback_a_redis_that_never_answered_leaves_the_server_open_unless_keys_are_required(
    redis_server: RedisServer,
) -> None:
    redis_server.stop()
    async with running(settings_for(redis_server)) as (_, client):
        assert (await client.get(LIST)).status_code == 200
    async with running(settings_for(redis_server, require_keys=True)) as (_, client):
        assert (await client.get(LIST)).status_code == 401


async def test_a_record_that_can_not_be_read_opens_nothing_and_keeps_the_keys_that_are_known(
    redis_server: RedisServer, store: VersionStore
) -> None:
    store.redis.hset(store.keys.keys, "0123456789ab", b"no JSON")
    with capture_logs() as logs:
        async with running(settings_for(redis_server)) as (app, client):
            assert (await client.get(LIST)).status_code == 401, "there may be keys"
            assert (await client.get(LIST, headers={"x-api-key": "corrente_" + "0f" * 32})).status_code == 503
            store.redis.delete(store.keys.keys)
            key = made(store)
            await eventually(answers(client, 200, key), "the keys can be read")
            store.redis.hset(store.keys.keys, "0123456789ab", b"no JSON")

            async def noticed() -> bool:
                return app.state.key_ring.away

            await eventually(noticed, "the record is noticed")
            assert (await client.get(LIST, headers=bearer(key))).status_code == 200
            refused = await client.post("/v1/versions/1/rollback", json={}, headers=bearer(key))
            assert refused.status_code == 503
    assert [line["event"] for line in logs].count("keys can't be read") == 2


async def test_a_redis_that_hangs_holds_no_administrative_call_up(
    redis_server: RedisServer, store: VersionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A paused Redis keeps its connections open; the call is refused long before they time out."""
    monkeypatch.setattr(guard, "LOOK_SECONDS", 0.05)
    key = made(store)
    async with reachable(redis_server) as (_, client):
        await eventually(answers(client, 200, key), "the key opens")
        process = redis_server._process
        process.send_signal(signal.SIGSTOP)
        try:
            rollback = client.post("/v1/versions/1/rollback", json={}, headers=bearer(key))
            async with asyncio.timeout(4.0):  # a connection would time out after five seconds
                refused = await rollback
            assert refused.status_code == 503
            assert (await client.get(LIST, headers=bearer(key))).status_code == 200
        finally:
            process.send_signal(signal.SIGCONT)


async def test_the_first_key_is_made_once_with_every_scope_and_stays_revoked(
    redis_server: RedisServer, store: VersionStore
) -> None:
    text = "corrente_" + "5f" * 32
    first = MadeKey(text, None)
    keys = KeyStore(store.space)
    for _ in range(2):
        async with running(settings_for(redis_server, first_key=text)) as (_, client):
            await eventually(answers(client, 200, first), "the first key opens")
            assert (await client.get(LIST)).status_code == 401, "also on loopback"
    (record,) = keys.records()
    assert record.scopes == list(SCOPES)
    revoke_key(keys, record.id, now=time.time(), caller=ADA)
    async with running(settings_for(redis_server, first_key=text)) as (_, client):
        assert (await client.get(LIST, headers=bearer(first))).status_code == 401
    assert len(keys.records()) == 1


async def test_the_metrics_token_opens_metrics_and_nothing_else_also_without_redis(redis_server: RedisServer) -> None:
    token = {"authorization": "Bearer a-token-of-a-test"}
    redis_server.stop()
    async with reachable(redis_server, metrics_token="a-token-of-a-test") as (_, client):
        assert (await client.get("/metrics", headers=token)).status_code == 200
        assert "redis" in (await client.get("/health/ready", headers=token)).json()
        assert (await client.get("/metrics")).status_code == 401
        assert (await client.get("/metrics", headers={"authorization": "Bearer another"})).status_code == 503
        assert (await client.get(LIST, headers=token)).status_code == 503, "it is no key"


async def test_a_key_for_pages_of_an_origin_is_refused_elsewhere(
    redis_server: RedisServer, store: VersionStore
) -> None:
    key = made(store, origins=["https://shop.example"])
    async with reachable(redis_server) as (_, client):
        await eventually(
            lambda: _has(client, 200, {**bearer(key), "origin": "https://shop.example"}), "its own page may call"
        )
        for origin in ({"origin": "https://other.example"}, {}, {"origin": "https://shop.example.evil.example"}):
            assert await _has(client, 403, {**bearer(key), **origin})


async def _has(client: httpx.AsyncClient, status: int, headers: dict[str, str]) -> bool:
    return (await client.get(LIST, headers=headers)).status_code == status


async def test_the_fast_path_asks_for_the_same_key(
    redis_server: RedisServer, store: VersionStore, publisher: Publisher
) -> None:
    version = publisher.learn(("u", "a"), ("v", "b"))
    key, other = made(store, RECOMMENDATIONS_READ), made(store, "events:write")
    target = b"/v1/recommendations/u"
    async with reachable(redis_server) as (app, client):
        fast = FastPath(app.state)
        await eventually(lambda: _loaded(app, version.number), "the version is served")
        await eventually(answers(client, 200, key), "keys are read")
        assert b'"item"' in fast(target, [(b"authorization", b"Bearer " + key.text.encode())])
        assert b'"item"' in fast(target, [(b"x-api-key", key.text.encode())])
        for headers in ([], [(b"authorization", b"Bearer " + other.text.encode())], [(b"x-api-key", b"wrong")]):
            assert fast(target, headers) is None, "the full path refuses it"


async def _loaded(app: Server, number: int) -> bool:
    served = app.state.loader.served
    return served is not None and served.version.number == number


async def test_last_uses_are_written_back(
    redis_server: RedisServer, store: VersionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_ring, "USE_SECONDS", 0.0)
    key, unused = made(store), made(store)
    async with reachable(redis_server) as (_, client):
        await eventually(answers(client, 200, key), "the key opens")

        async def written() -> bool:
            return key.record.id in await asyncio.to_thread(KeyStore(store.space).last_uses)

        await eventually(written, "the use is written back")
    uses = KeyStore(store.space).last_uses()
    assert set(uses) == {key.record.id}
    assert abs(uses[key.record.id] - time.time()) < 600
    assert unused.record.id not in uses


async def test_the_last_uses_are_written_back_at_the_end(redis_server: RedisServer, store: VersionStore) -> None:
    key = made(store)
    async with reachable(redis_server) as (_, client):
        await eventually(answers(client, 200, key), "the key opens")
    assert set(KeyStore(store.space).last_uses()) == {key.record.id}


async def test_docs_can_be_closed(redis_server: RedisServer) -> None:
    async with running(settings_for(redis_server, docs=False)) as (_, client):
        for path in ("/docs", "/openapi.json", "/docs/program/swagger-ui.css"):
            assert (await client.get(path)).status_code == 404, path
        assert (await client.get(LIST)).status_code == 200
