"""Public keys of web pages: for the visitor of a signed token, from its origins, and for nothing else."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from serving.access.refusals import Refused
from serving.access.route_scopes import PUBLIC_ROUTES, ROUTE_SCOPES
from serving.access.visitors import BEACON_BYTES
from serving.answers.fast_path import FastPath
from serving.intake.mapped_reader import MappedReader
from stream.access.acts import Caller
from stream.access.key_store import KeyStore
from stream.access.lifecycle import MadeKey, create_key, create_public_key, revoke_key
from stream.access.visitor_token import Visitor
from stream.versions import VersionStore
from tests.serving.access.test_matrix import ask, let_in
from tests.serving.awaiting import eventually
from tests.serving.conftest import Broker, Publisher, RedisServer, running, settings_for
from tests.serving.intake.test_mapped_reader import NOW, PLAN, VIEW
from tests.stream.access.test_visitor_token import HS256, signed

ADA = Caller("ada", "a test")
ORIGIN = "https://shop.example"


class Shop:
    """A running server with a public key, and its page."""

    def __init__(self, app: Any, client: httpx.AsyncClient, key: MadeKey, store: VersionStore) -> None:
        self.app, self.client, self.key, self.store = app, client, key, store

    def token(self, **claims: Any) -> str:
        told = {"aud": "shop", "sub": "u", "sid": "s", "exp": time.time() + 600, **claims}
        secret = self.key.record.signing_secret.encode()
        return signed({name: value for name, value in told.items() if value is not None}, secret=secret).decode()

    def headers(self, token: str | None = "", origin: str | None = ORIGIN) -> dict[str, str]:
        named = {
            "x-api-key": self.key.text,
            "origin": origin,
            "x-visitor-token": self.token() if token == "" else token,
        }
        return {name: value for name, value in named.items() if value is not None}

    async def list_of(self, user: str = "u", query: str = "", **headers: Any) -> httpx.Response:
        return await self.client.get(f"/v1/recommendations/{user}{query}", headers=self.headers(**headers))

    async def beacon(self, events: Any, origin: str | None = ORIGIN, **changed: Any) -> httpx.Response:
        body = {"key": self.key.text, "token": self.token(), "events": events, **changed}
        headers = {"content-type": "text/plain;charset=UTF-8", **({"origin": origin} if origin else {})}
        return await self.client.post("/v1/events/clicks", content=json.dumps(body), headers=headers)


@asynccontextmanager
async def shop(
    redis_server: RedisServer, store: VersionStore, broker: Broker | None = None, **settings: Any
) -> AsyncIterator[Shop]:
    Publisher(store).learn(("u", "a"), ("v", "b"))
    key = create_public_key(KeyStore(store.space), origins=[ORIGIN], owner="pages", now=time.time(), caller=ADA)
    async with running(settings_for(redis_server, broker, **settings)) as (app, client):
        made = Shop(app, client, key, store)

        async def answers() -> bool:
            return (await made.list_of()).json().get("version") == 1

        await eventually(answers, "version 1 is served")
        if broker:
            await eventually(lambda: _kafka(app), "Kafka is up")
        yield made


async def _kafka(app: Any) -> bool:
    return app.state.producer.kafka.up


async def test_a_page_reads_its_visitors_lists_and_posts_its_visitors_events(
    redis_server: RedisServer, store: VersionStore, broker: Broker
) -> None:
    async with shop(redis_server, store, broker) as page:
        headers = page.headers()
        assert (await page.list_of()).status_code == 200
        assert (await page.list_of(query="?session=s&n=1")).status_code == 200
        body = {"user": "u", "session": "s", "recent": ["a"]}
        assert (await page.client.post("/v1/recommendations", json=body, headers=headers)).status_code == 200
        clicks = [{"item": "a", "user": "u", "event_id": "1"}, {"item": "b", "session": "s", "event_id": "2"}]
        posted = await page.client.post("/v1/events/clicks", json=clicks, headers=headers)
        assert posted.json() == {"accepted": 2, "event_ids": ["1", "2"], "repeated": 0}
        sent = await page.beacon({"item": "c", "user": "u", "session": "s", "event_id": "3"})
        assert sent.json() == {"accepted": 1, "event_ids": ["3"], "repeated": 0}
        found = {json.loads(record.value())["event_id"] for record in broker.records("clicks", 3)}
    assert found == {"1", "2", "3"}, "a beacon's event is in Kafka as any other, without key and token"


async def test_a_visitor_reads_the_reasons_of_their_own_lists_alone(
    redis_server: RedisServer, store: VersionStore
) -> None:
    async with shop(redis_server, store) as page:
        own = await page.list_of(query="?explain=true")
        assert own.status_code == 200
        assert {part["item"] for each in own.json()["items"] for part in each["reasons"]["history"]} == {"a"}
        assert (await page.list_of("v", query="?explain=true")).status_code == 403


async def test_every_route_with_a_public_key_with_and_without_a_token(
    redis_server: RedisServer, store: VersionStore
) -> None:
    async with shop(redis_server, store) as page:
        for route, needed in ROUTE_SCOPES.items():
            without = await ask(page.client, route, page.headers(token=None))
            assert let_in(without) if needed is None else without.status_code in {401, 403}, (route, without.text)
            user = page.headers(page.token(sub="1" if "{user}" in route else "u"))
            answer = await ask(page.client, route, user)
            if needed is None or route in PUBLIC_ROUTES:
                assert let_in(answer), (route, answer.text)
            else:
                assert answer.status_code == 403, (route, answer.text)
            assert page.key.text not in answer.text


def wrong_tokens(page: Shop) -> dict[str, str | None]:
    now = time.time()
    secret = page.key.record.signing_secret.encode()
    claims = {"aud": "shop", "sub": "u", "sid": "s", "exp": now + 600}
    return {
        "none": None,
        "made up": "x.y.z",
        "expired": page.token(exp=now - 1),
        "too long": page.token(exp=now + 3700),
        "another model": page.token(aud="other"),
        "without end": page.token(exp=None),
        "without model": page.token(aud=None),
        "without visitor": page.token(sub=None, sid=None),
        "alg none": signed(claims, {"alg": "none", "typ": "JWT"}, secret).decode(),
        "alg RS256": signed(claims, {"alg": "RS256", "typ": "JWT"}, secret).decode(),
        "signed by the public key": signed(claims, HS256, page.key.text.encode()).decode(),
        "signed by nothing": signed(claims, HS256, b"").decode(),
    }


async def test_a_stolen_public_key_opens_nothing_without_a_right_token(
    redis_server: RedisServer, store: VersionStore
) -> None:
    async with shop(redis_server, store) as page:
        fast = FastPath(page.app.state)
        click = {"item": "a", "user": "u"}
        for kind, token in wrong_tokens(page).items():
            headers = page.headers(token)
            raw = [(name.encode(), value.encode()) for name, value in headers.items()]
            assert fast(b"/v1/recommendations/u", raw) is None, kind
            for answer in (
                await page.list_of(token=token),
                await page.client.get("/v1/popular", headers=headers),
                await page.client.post("/v1/events/clicks", json=click, headers=headers),
                await page.beacon(click, token=token or ""),
            ):
                assert answer.status_code == 401, (kind, answer.text)
                assert "token" in answer.json()["detail"]
                assert not token or token not in answer.text


async def test_another_visitors_lists_are_refused_on_both_paths(redis_server: RedisServer, store: VersionStore) -> None:
    async with shop(redis_server, store) as page:
        fast = FastPath(page.app.state)
        raw = [(name.encode(), value.encode()) for name, value in page.headers().items()]
        assert fast(b"/v1/recommendations/u?session=s", raw) is not None
        for path in ("v", "u?session=of-another", "U", "u%20"):
            assert fast(f"/v1/recommendations/{path}".encode(), raw) is None
            answer = await page.list_of(path)
            assert answer.status_code == 403, path
            assert "the token names another" in answer.json()["detail"]
        for body in ({"user": "v"}, {"session": "of-another"}, {"user": "u", "session": "of-another"}):
            answer = await page.client.post("/v1/recommendations", json=body, headers=page.headers())
            assert answer.status_code == 403, body
        session_alone = page.headers(page.token(sub=None))
        assert (await page.client.get("/v1/recommendations/u", headers=session_alone)).status_code == 403
        version = await page.list_of(query="?version=1")
        assert version.status_code == 403, "a page can't make a server load versions"
        assert version.json()["field"] == "version"


async def test_another_visitors_events_are_refused_and_none_of_the_body_is_sent(
    redis_server: RedisServer, store: VersionStore, broker: Broker
) -> None:
    own = {"item": "a", "user": "u", "event_id": "own"}
    async with shop(redis_server, store, broker) as page:
        for wrong in ({"user": "v"}, {"session": "of-another"}, {"user": "u", "session": "of-another"}, {"user": 7}):
            events = [own, {"item": "b", **wrong}]
            for answer in (
                await page.client.post("/v1/events/clicks", json=events, headers=page.headers()),
                await page.beacon(events),
            ):
                assert answer.status_code == 403, (wrong, answer.text)
                assert answer.json()["index"] == 1
        await page.beacon({"item": "a", "user": "u", "event_id": "last"})
        found = [json.loads(record.value())["event_id"] for record in broker.records("clicks", 1)]
    assert found == ["last"]


async def test_only_pages_of_its_origins_use_it(redis_server: RedisServer, store: VersionStore) -> None:
    async with shop(redis_server, store) as page:
        for origin in (
            "https://evil.example",
            "https://shop.example.evil.example",
            "http://shop.example",
            "null",
            None,
        ):
            assert (await page.list_of(origin=origin)).status_code == 403, origin
            assert (await page.beacon({"item": "a", "user": "u"}, origin=origin)).status_code == 403, origin
        same = {**page.headers(origin=None), "sec-fetch-site": "same-origin"}
        assert (await page.client.get("/v1/recommendations/u", headers=same)).status_code == 200
        cross = {**page.headers(origin=None), "sec-fetch-site": "cross-site"}
        assert (await page.client.get("/v1/recommendations/u", headers=cross)).status_code == 403
        both = {**page.headers(origin="https://evil.example"), "sec-fetch-site": "same-origin"}
        assert (await page.client.get("/v1/recommendations/u", headers=both)).status_code == 403


async def test_a_page_of_an_allowed_origin_may_send_its_token(redis_server: RedisServer, store: VersionStore) -> None:
    async with shop(redis_server, store, cors_origins=ORIGIN) as page:
        asked = {"origin": ORIGIN, "access-control-request-method": "GET"}
        leave = await page.client.options("/v1/recommendations/u", headers=asked)
        assert {"x-api-key", "x-visitor-token"} <= set(leave.headers["access-control-allow-headers"].split(", "))
        assert (await page.list_of()).headers["access-control-allow-origin"] == ORIGIN


async def test_keys_and_tokens_in_an_address_are_refused_with_the_reason(
    redis_server: RedisServer, store: VersionStore
) -> None:
    async with shop(redis_server, store) as page:
        for query in (f"?token={page.token()}", f"?key={page.key.text}", f"?n=1&q={page.key.text}", "?access_token=x"):
            for headers in ({}, page.headers()):
                answer = await page.client.get(f"/v1/recommendations/u{query}", headers=headers)
                assert answer.status_code == 401
                assert "never stand in an address" in answer.json()["detail"]
                assert page.key.text not in answer.text


async def test_a_beacon_is_for_public_keys_alone_and_small(redis_server: RedisServer, store: VersionStore) -> None:
    async with shop(redis_server, store) as page:
        secret = create_key(KeyStore(store.space), scopes=["all"], owner="o", now=time.time(), caller=ADA)

        async def refused() -> bool:
            answer = await page.beacon({"item": "a", "user": "u"}, key=secret.text)
            assert answer.status_code == 401
            return "Only a public key may stand in a body" in answer.json()["detail"]

        await eventually(refused, "the new key is known")
        large = await page.beacon({"item": "a" * BEACON_BYTES, "user": "u"})
        assert large.status_code == 413
        headers = {"content-type": "text/plain", "origin": ORIGIN}
        for body, status in (("not json", 400), ("{}", 422), ('{"item": "a", "user": "u"}', 422)):
            answer = await page.client.post("/v1/events/clicks", content=body, headers=headers)
            assert answer.status_code == status, body
        json_type = {"key": page.key.text, "token": page.token(), "events": []}
        assert (await page.client.post("/v1/events/clicks", json=json_type)).status_code == 401, (
            "beacons are plain text"
        )


@pytest.mark.parametrize(
    ("record", "refused"),
    [
        (VIEW, None),
        ({**VIEW, "client": {"id": "bob"}}, "user: the token names another"),
        ({**VIEW, "name": "scroll"}, "no event"),
        (
            {"corrente": {"event": {"item": "a", "user": "bob", "event_id": "1", "timestamp": 1}}},
            "user: the token names",
        ),
    ],
)
def test_records_of_a_mapped_topic_are_kept_to_the_visitor_too(record: Any, refused: str | None) -> None:
    reader, body = MappedReader(PLAN.topics["clicks"], 300.0), json.dumps([record]).encode()
    if refused is None:
        assert len(reader.read(body, NOW, Visitor("ada", None))[0]) == 1
        return
    with pytest.raises(Refused, match=refused) as problem:
        reader.read(body, NOW, Visitor("ada", None))
    assert (problem.value.details.status, problem.value.details.index) == (403, 0)


async def test_a_revoked_public_key_loses_its_secret_and_is_refused(
    redis_server: RedisServer, store: VersionStore
) -> None:
    async with shop(redis_server, store) as page:
        headers = page.headers()
        revoke_key(KeyStore(store.space), page.key.record.id, now=time.time(), caller=ADA)

        async def refused() -> bool:
            return (await page.client.get("/v1/recommendations/u", headers=headers)).status_code == 401

        await eventually(refused, "the revocation takes effect")
    secret = page.key.record.signing_secret
    assert not any(secret.encode() in value for value in redis_server.client.hgetall(store.space.keys.keys).values())
    assert page.key.text.encode() not in b"".join(redis_server.client.hgetall(store.space.keys.keys).values())


async def test_refusals_are_counted_by_reason_without_secrets(redis_server: RedisServer, store: VersionStore) -> None:
    async with shop(redis_server, store) as page:
        await page.list_of("v")
        await page.list_of(token="x")
        await page.list_of(origin="https://evil.example")
        await page.list_of(query="?token=x")
        text = page.app.state.metrics.text(None).decode()
    for reason in ("visitor", "token", "origin", "in the address"):
        assert f'corrente_access_refused_total{{reason="{reason}"}} 1.0' in text
    assert page.key.text not in text
    assert page.key.record.signing_secret not in text


def test_every_public_route_keeps_to_the_visitor() -> None:
    assert {ROUTE_SCOPES[route] for route in PUBLIC_ROUTES} == {"events:write", "recommendations:read"}
    assert {route for route, scope in ROUTE_SCOPES.items() if scope == "events:write"} <= PUBLIC_ROUTES
