"""Every route with every scope and every kind of key: let in with the right one, refused with every other one."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

import httpx
import pytest

from serving.access.route_scopes import ROUTE_SCOPES, UndeclaredRoute, scope_of
from serving.app import Server, create_app
from stream.access.acts import Caller
from stream.access.key_store import KeyStore
from stream.access.lifecycle import create_key, revoke_key
from stream.access.scopes import SCOPES
from stream.settings import load_settings
from stream.versions import VersionStore
from tests.serving.awaiting import eventually, served_version
from tests.serving.conftest import Publisher, RedisServer, running, settings_for

ADA = Caller("ada", "a test")
NOW = time.time()
ROUTES = sorted(ROUTE_SCOPES)
BODIES = {
    "POST /v1/recommendations": {},
    "POST /v1/recommendations/batch": {"requests": [{}]},
    "POST /v1/rerank": {"items": ["1"]},
    "PUT /v1/items": [{"item": "1"}],
    **{f"{method} /v1/{kind}": {} for method in ("PUT", "PATCH") for kind in ("items/{item}", "users/{user}")},
    "POST /v1/versions/{version}/rollback": {},
    "DELETE /v1/pin": {},
}


class Keys(NamedTuple):
    """Keys of each kind: one for each scope, and some that must open nothing."""

    by_scope: dict[str, str]
    wrong: dict[str, str]


def made_keys(store: VersionStore, other: VersionStore) -> Keys:
    keys, scopes = KeyStore(store.space), list(SCOPES)
    by_scope = {
        scope: create_key(keys, scopes=[scope], owner=f"only {scope}", now=NOW, caller=ADA).text for scope in scopes
    }
    revoked = create_key(keys, scopes=scopes, owner="revoked", now=NOW, caller=ADA)
    revoke_key(keys, revoked.record.id, now=NOW, caller=ADA)
    expired = create_key(keys, scopes=scopes, owner="expired", now=NOW - 10, caller=ADA, expires_at=NOW - 5)
    others = create_key(KeyStore(other.space), scopes=scopes, owner="of another model", now=NOW, caller=ADA)
    never_made = "corrente_" + "0f" * 32
    wrong = {"revoked": revoked.text, "expired": expired.text, "another model's": others.text, "wrong": never_made}
    return Keys(by_scope, wrong)


@asynccontextmanager
async def shop(redis_server: RedisServer, store: VersionStore) -> AsyncIterator[tuple[Server, httpx.AsyncClient, Keys]]:
    """A server with two versions, and keys of every kind."""
    publisher = Publisher(store)
    publisher.learn(("u", "a"), ("v", "b"))
    version = publisher.learn(("w", "b"))
    other = VersionStore.connect(redis_server.url, "other")
    keys = made_keys(store, other)
    other.close()
    async with running(settings_for(redis_server)) as (app, client):
        metrics = bearer(keys.by_scope["metrics:read"])
        await served_version(client, version.number, headers=metrics)
        yield app, client, keys


def bearer(key: str | None) -> dict[str, str]:
    return {} if key is None else {"authorization": f"Bearer {key}"}


async def ask(client: httpx.AsyncClient, route: str, headers: Mapping[str, str]) -> httpx.Response:
    """A request of a route that is right but for its key."""
    method, template = route.split()
    path = re.sub(r"\{\w+\}", "1", template)
    if template.startswith("/v1/events/"):
        body = {"item": "a", "user": "u", **({"kind": "view"} if "feedback" in template else {})}
        return await client.request(method, path, json=body, headers=headers)
    return await client.request(method, path, json=BODIES.get(route), headers=headers)


def let_in(answer: httpx.Response) -> bool:
    """True if a request reached its route: it was answered, or there is no such document, or no Kafka, as it says."""
    says = {404: "there is no document of", 503: "Kafka"}.get(answer.status_code)
    return answer.status_code == 200 or (says is not None and says in answer.text)


async def test_every_route_with_every_scope_and_every_kind_of_key(
    redis_server: RedisServer, store: VersionStore
) -> None:
    tried = 0
    async with shop(redis_server, store) as (_, client, keys):
        for route in ROUTES:
            needed = ROUTE_SCOPES[route]
            for scope, key in keys.by_scope.items():
                answer = await ask(client, route, bearer(key))
                if needed in {None, scope}:
                    assert let_in(answer), (route, scope, answer.text)
                else:
                    assert answer.status_code == 403, (route, scope)
                    assert needed in answer.json()["detail"], "the missing scope is named"
                tried += 1
            for kind, key in {"none": None, **keys.wrong}.items():
                answer = await ask(client, route, bearer(key))
                if needed is None:
                    assert let_in(answer), (route, kind)
                else:
                    assert answer.status_code == 401, (route, kind)
                    assert answer.headers["www-authenticate"].startswith('Bearer realm="corrente"')
                    assert answer.headers["content-type"] == "application/problem+json"
                if key:
                    assert key not in answer.text, "a key is echoed"
                tried += 1
    assert tried == len(ROUTES) * (len(SCOPES) + 5)


async def test_the_same_key_as_another_header_opens_the_same(redis_server: RedisServer, store: VersionStore) -> None:
    async with shop(redis_server, store) as (_, client, keys):
        key = keys.by_scope["recommendations:read"]
        assert (await client.get("/v1/popular", headers={"x-api-key": key})).status_code == 200
        assert (await client.get("/v1/popular", headers={"authorization": f"bearer  {key} "})).status_code == 200
        assert (await client.get("/v1/popular", headers={"authorization": f"Basic {key}"})).status_code == 401
        twice = await client.get("/v1/popular", headers=[("x-api-key", key), *bearer(key).items()])
        assert twice.status_code == 401
        assert "more than one key" in twice.json()["detail"]
        assert (await client.get(f"/v1/popular?key={key}")).status_code == 401, "not in an address"


def test_every_route_of_the_application_declares_its_scope() -> None:
    """A route without a row would be refused as an error of the server."""
    paths = create_app(load_settings({})).openapi()["paths"]
    there = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    assert there == set(ROUTE_SCOPES)
    assert {scope for scope in ROUTE_SCOPES.values() if scope} <= set(SCOPES)


def test_a_route_without_a_scope_is_refused() -> None:
    with pytest.raises(UndeclaredRoute, match="GET /v1/hot declares no scope: add a row to ROUTE_SCOPES"):
        scope_of("GET", "/v1/hot")


async def test_the_document_says_which_scope_each_route_needs(redis_server: RedisServer, store: VersionStore) -> None:
    async with shop(redis_server, store) as (_, client, _keys):
        document = (await client.get("/openapi.json")).json()
    assert set(document["components"]["securitySchemes"]) == {"bearer", "apiKey", "publicKey", "visitorToken"}
    assert "Calls need a key" in document["info"]["description"]
    for route, scope in ROUTE_SCOPES.items():
        method, path = route.split()
        operation = document["paths"][path][method.lower()]
        ours = [{"bearer": [scope]}, {"apiKey": [scope]}] if scope else None
        assert (operation.get("security") or [None, None])[:2] == (ours or [None, None]), route
        assert ({"401", "403", "503"} <= set(operation["responses"])) is (scope is not None), route


async def test_health_is_brief_for_those_without_a_key(redis_server: RedisServer, store: VersionStore) -> None:
    async with shop(redis_server, store) as (_, client, keys):
        for key in (None, keys.by_scope["events:write"], *keys.wrong.values()):
            answer = await client.get("/health/ready", headers=bearer(key))
            assert answer.status_code == 200
            assert answer.json() == {"status": "degraded", "access": "keys"}
        whole = (await client.get("/health/ready", headers=bearer(keys.by_scope["metrics:read"]))).json()
    assert whole["access"] == "keys"
    assert whole["version"] == 2


async def test_reasons_of_a_visitors_list_need_the_scope_of_visitors_too(
    redis_server: RedisServer, store: VersionStore
) -> None:
    """They name what the visitor had. Lists that name no visitor have nothing of one."""
    async with shop(redis_server, store) as (_, client, keys):
        scopes = ["recommendations:read", "visitors:read"]
        both = create_key(KeyStore(store.space), scopes=scopes, owner="support", now=NOW, caller=ADA)

        async def reasons(key: str) -> list[int]:
            of_visitor = [
                await client.get("/v1/recommendations/u?explain=true", headers=bearer(key)),
                await client.post("/v1/recommendations", json={"user": "u", "explain": True}, headers=bearer(key)),
                await client.post("/v1/recommendations", json={"session": "s", "explain": True}, headers=bearer(key)),
            ]
            for answer in of_visitor:
                assert answer.status_code == 200 or "needs a key with the scope" in answer.json()["detail"]
            of_none = [
                await client.post("/v1/recommendations", json={"recent": ["a"], "explain": True}, headers=bearer(key)),
                await client.get("/v1/popular?explain=true", headers=bearer(key)),
            ]
            return [answer.status_code for answer in of_visitor + of_none]

        async def known() -> bool:
            return (await client.get("/v1/popular", headers=bearer(both.text))).status_code == 200

        await eventually(known, "the server knows the key")
        assert await reasons(both.text) == [200] * 5
        assert await reasons(keys.by_scope["recommendations:read"]) == [403, 403, 403, 200, 200]
        assert await reasons(keys.by_scope["visitors:read"]) == [403] * 5
        revoke_key(KeyStore(store.space), both.record.id, now=time.time(), caller=ADA)
        assert (await client.get("/v1/recommendations/u?explain=true", headers=bearer(both.text))).status_code == 401


async def test_what_is_known_of_a_visitor_is_in_no_answer_to_a_key_that_reads_lists(
    redis_server: RedisServer, store: VersionStore
) -> None:
    """What a page shows to its visitor needs `recommendations:read`, what is looked up about one `visitors:read`."""
    async with shop(redis_server, store) as (_, client, keys):
        write = {"labels": {"tier": "gold"}}
        lists, profiles = (bearer(keys.by_scope[scope]) for scope in ("recommendations:read", "visitors:read"))
        assert (
            await client.put("/v1/users/u", json=write, headers=bearer(keys.by_scope["catalogue:write"]))
        ).status_code == 200
        viewed = await client.get("/v1/users/u/recently-viewed", headers=lists)
        assert [each["item"] for each in viewed.json()["items"]] == ["a"]
        for answer in (viewed, await client.get("/v1/recommendations/u", headers=lists)):
            assert all(set(each) == {"item", "score"} for each in answer.json()["items"]), "items and nothing else"
            assert "gold" not in answer.text
        looked_up = ("/v1/users/u", "/v1/users", "/v1/recommendations/u?explain=true")
        for path in looked_up:
            assert (await client.get(path, headers=lists)).status_code == 403, path
        assert (await client.get("/v1/users/u", headers=profiles)).json()["labels"] == write["labels"]
        assert (await client.get("/v1/users/u/recently-viewed", headers=profiles)).status_code == 403
        redis_server.stop()
        assert (await client.get("/v1/users/u/recently-viewed", headers=lists)).status_code == 200
        assert (await client.get("/v1/users/u", headers=profiles)).status_code == 503


async def test_refusals_are_counted_by_reason_and_no_metric_has_a_key(
    redis_server: RedisServer, store: VersionStore
) -> None:
    async with shop(redis_server, store) as (_, client, keys):
        for kind in ("revoked", "expired", "wrong"):
            await client.get("/v1/popular", headers=bearer(keys.wrong[kind]))
        await client.get("/v1/popular")
        await client.get("/v1/popular", headers=bearer(keys.by_scope["events:write"]))
        text = (await client.get("/metrics", headers=bearer(keys.by_scope["metrics:read"]))).text
    for reason in ("revoked", "expired", "unknown", "no key", "scope"):
        assert f'corrente_access_refused_total{{reason="{reason}"}} 1.0' in text
    assert "corrente_" + "0f" * 4 not in text
    for key in (*keys.by_scope.values(), *keys.wrong.values()):
        assert key[:20] not in text


async def test_a_burst_of_requests_needs_no_task_and_no_redis_for_each(
    redis_server: RedisServer, store: VersionStore
) -> None:
    async with shop(redis_server, store) as (_, client, keys):
        before = redis_server.client.info("commandstats")["cmdstat_hgetall"]["calls"]
        started = time.monotonic()
        answers = await asyncio.gather(
            *(client.get("/v1/popular", headers=bearer(keys.by_scope["recommendations:read"])) for _ in range(300))
        )
        polls = 2 * (time.monotonic() - started) + 2
        after = redis_server.client.info("commandstats")["cmdstat_hgetall"]["calls"]
    assert {answer.status_code for answer in answers} == {200}
    assert after - before <= 2 * polls, "keys are read twice a second, however many requests there are"
