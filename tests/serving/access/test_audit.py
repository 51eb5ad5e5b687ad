"""Administrative calls and readings of personal data over HTTP are recorded with the key; what is refused is not."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from stream.access.acts import READ_VISITORS, Act, Caller, hidden_visitor
from stream.access.audit import AuditTrail
from stream.access.key_store import KeyStore
from stream.access.lifecycle import create_key
from stream.versions import PINNED, VersionStore
from tests.serving.awaiting import served_version
from tests.serving.conftest import Publisher, RedisServer, running, settings_for

REASON = {"who": "Ada", "why": "bad lists"}


async def test_a_rollback_over_http_is_recorded_with_key_owner_reason_and_address(
    redis_server: RedisServer, store: VersionStore, publisher: Publisher
) -> None:
    publisher.learn(("u", "a"), ("v", "b"))
    version = publisher.learn(("w", "b"))
    key = create_key(KeyStore(store.space), scopes=["all"], owner="operators", now=time.time(), caller=Caller("a"))
    headers = {"authorization": f"Bearer {key.text}"}
    async with running(settings_for(redis_server)) as (_, client):
        await served_version(client, version.number, headers=headers)
        assert (await client.post("/v1/versions/1/rollback", json=REASON)).status_code == 401
        assert store.aliases().get(PINNED) is None, "a refused call changes nothing"
        done = await client.post("/v1/versions/1/rollback", json=REASON, headers=headers)
        assert done.json()["pinned"] == 1
        assert (await client.request("DELETE", "/v1/pin", json={}, headers=headers)).status_code == 200
    follow, rollback, made = [record.act for record in AuditTrail(store.space).newest(10)]
    who = f"key {key.record.id} of operators"
    assert rollback == Act(who, "alias.move", "pinned to version 1", "bad lists", "127.0.0.1", "Ada")
    assert follow == Act(who, "alias.move", "pinned to no version", "", "127.0.0.1")
    assert made.what == "keys.create"


async def test_on_an_open_server_the_record_says_that_anyone_did_it(
    redis_server: RedisServer, store: VersionStore, publisher: Publisher
) -> None:
    version = publisher.learn(("u", "a"), ("v", "b"))
    async with running(settings_for(redis_server)) as (_, client):
        await served_version(client, version.number)
        await client.post("/v1/versions/1/rollback", json=REASON)
    (record,) = AuditTrail(store.space).newest(10)
    assert (record.act.who, record.act.called, record.act.why) == ("anyone on this machine", "Ada", "bad lists")
    assert abs(record.at - time.time()) < 600


@asynccontextmanager
async def supported(
    redis_server: RedisServer, store: VersionStore, publisher: Publisher
) -> AsyncIterator[tuple[httpx.AsyncClient, str]]:
    """A client with the key of people who help visitors, and the name of that key."""
    version = publisher.learn(("u", "a"), ("v", "b"))
    key = create_key(
        KeyStore(store.space),
        scopes=["recommendations:read", "visitors:read", "catalogue:write", "metrics:read"],
        owner="support",
        now=time.time(),
        caller=Caller("a"),
    )
    async with running(settings_for(redis_server)) as (_, client):
        client.headers["authorization"] = f"Bearer {key.text}"
        await served_version(client, version.number)
        yield client, f"key {key.record.id} of support"


def readings(store: VersionStore) -> list[Act]:
    acts = [record.act for record in AuditTrail(store.space).newest(100)]
    return [act for act in acts if act.what == READ_VISITORS][::-1]


async def test_every_reading_of_personal_data_is_recorded_with_the_key_and_without_the_visitors_id(
    redis_server: RedisServer, store: VersionStore, publisher: Publisher
) -> None:
    salt = settings_for(redis_server).model.visitor_salt
    async with supported(redis_server, store, publisher) as (client, who):
        assert (await client.put("/v1/users/visitor-u", json={"labels": {"tier": "gold"}})).status_code == 200
        assert (await client.get("/v1/users/visitor-u")).json()["labels"] == {"tier": "gold"}
        assert (await client.get("/v1/users")).status_code == 200
        assert (await client.get("/v1/recommendations/u?explain=true")).status_code == 200
        body = {"user": "u", "session": "s", "explain": True}
        assert (await client.post("/v1/recommendations", json=body)).status_code == 200
        for path in ("/v1/recommendations/u", "/v1/users/u/recently-viewed", "/v1/popular?explain=true"):
            assert (await client.get(path)).status_code == 200, "lists that pages show are no look-up of a visitor"
    of_u = f"user {hidden_visitor('u', salt)}"
    assert [act.target for act in readings(store)] == [
        f"GET /v1/users/{{user}} of user {hidden_visitor('visitor-u', salt)}",
        "GET /v1/users",
        f"reasons of a list of {of_u}",
        f"reasons of a list of {of_u} and session {hidden_visitor('s', salt)}",
    ]
    assert {(act.who, act.origin) for act in readings(store)} == {(who, "127.0.0.1")}
    assert "visitor-u" not in str(readings(store))


async def test_a_reading_is_recorded_with_the_reason_that_the_caller_gives(
    redis_server: RedisServer, store: VersionStore, publisher: Publisher
) -> None:
    body = {"user": "u", "explain": True}
    async with supported(redis_server, store, publisher) as (client, _):
        await client.get("/v1/users", headers={"x-why": "ticket 1"})
        await client.get("/v1/users/u", headers={"x-why": "caf%C3%A9 %0Afor 100 %"})
        await client.get("/v1/recommendations/u?explain=true", headers=[(b"x-why", "Größe".encode())])
        await client.post("/v1/recommendations", json=body, headers=[(b"x-why", "Größe".encode("latin-1"))])
        await client.get("/v1/users/u", headers=[(b"x-why", b"one"), (b"x-why", b"two")])
        await client.get("/v1/users/u", headers={"x-why": "x" * 501})
        await client.get("/v1/users/u")
    assert [act.why for act in readings(store)] == [
        "ticket 1",
        "café  for 100 %",
        "Größe",
        "Größe",
        "one, two",
        "x" * 499 + "…",
        "",
    ]


async def test_a_reading_that_can_not_be_recorded_is_refused(
    redis_server: RedisServer, store: VersionStore, publisher: Publisher
) -> None:
    async with supported(redis_server, store, publisher) as (client, _):
        await client.put("/v1/users/u", json={"labels": {"tier": "gold"}})
        redis_server.client.delete(store.keys.audit)
        redis_server.client.set(store.keys.audit, "no stream")
        for path in ("/v1/users/u", "/v1/users", "/v1/recommendations/u?explain=true"):
            answer = await client.get(path)
            assert answer.status_code == 503, path
            assert "personal data is read with a record only" in answer.json()["detail"]
            assert "gold" not in answer.text
            assert "items" not in answer.json()
        assert (await client.get("/v1/recommendations/u")).status_code == 200
