"""Attacks over real sockets, with the answers that they get. Each of them leaves the server answering."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from serving.app import create_app
from serving.web.shedding import is_plain_get
from stream.access.acts import Caller
from stream.access.key_store import KeyStore
from stream.access.lifecycle import create_key
from stream.versions import VersionStore
from tests.serving.awaiting import eventually
from tests.serving.conftest import Publisher, RedisServer, settings_for
from tests.serving.limits.live_server import Live, live

SMUGGLED = b"GET /v1/versions HTTP/1.1\r\nhost: a\r\n\r\n"
"""A second request, inside what one side takes for the body of the first."""

POST = b"POST /v1/recommendations HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"
CHUNKED = b"0\r\n\r\n"

SMUGGLING = {
    "a length beside chunks": POST + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n" + CHUNKED,
    "chunks beside a length": POST + b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n" + CHUNKED,
    "two lengths": POST + b"content-length: 0\r\ncontent-length: 40\r\n\r\n",
    "the same length twice": POST + b"content-length: 2\r\ncontent-length: 2\r\n\r\n{}",
    "two lengths in one line": POST + b"content-length: 0, 40\r\n\r\n",
    "a length with a sign": POST + b"content-length: +2\r\n\r\n{}",
    "a length below zero": POST + b"content-length: -1\r\n\r\n",
    "a length in hexadecimal": POST + b"content-length: 0x2\r\n\r\n{}",
    "a length that overflows": POST + b"content-length: 18446744073709551618\r\n\r\n{}",
    "a coding that is none": POST + b"transfer-encoding: xchunked\r\n\r\n" + CHUNKED,
    "chunks that are not the last coding": POST + b"transfer-encoding: chunked, identity\r\n\r\n" + CHUNKED,
    "a space before the colon": POST + b"transfer-encoding : chunked\r\n\r\n" + CHUNKED,
    "a folded line": POST + b"x: a\r\n transfer-encoding: chunked\r\ncontent-length : 0\r\n\r\n",
    "a line that ends with LF": POST + b"x: a\ntransfer-encoding: chunked\r\n\r\n" + CHUNKED,
    "a line that ends with CR": POST + b"x: a\rtransfer-encoding: chunked\r\n\r\n" + CHUNKED,
    "NUL in a header": POST + b"x: a\x00b\r\n\r\n",
    "a chunk with a wrong size": POST + b"transfer-encoding: chunked\r\n\r\n-1\r\n{}\r\n0\r\n\r\n",
    "a chunk size that overflows": POST + b"transfer-encoding: chunked\r\n\r\n1ffffffffffffffff\r\n{}\r\n0\r\n\r\n",
}
"""Requests whose end a proxy and a server could see at different places (RFC 9112, section 11.2)."""


@asynccontextmanager
async def shop(redis_server: RedisServer, store: VersionStore, **more: object) -> AsyncIterator[Live]:
    Publisher(store).learn(("u", "a"), ("v", "b"))
    async with live(settings_for(redis_server, **more)) as served:

        async def ready() -> bool:
            return served.app.state.loader.served is not None

        await eventually(ready, "a version is served")
        yield served
        async with served.connected() as client:
            assert (await client.ask("/v1/recommendations/u")).status == 200, "the server answers afterwards"


async def test_a_request_whose_end_is_doubtful_is_refused_and_nothing_after_it_is_read(
    redis_server: RedisServer, store: VersionStore
) -> None:
    async with shop(redis_server, store) as served:
        for name, request in SMUGGLING.items():
            async with served.connected() as client:
                await client.send(request + SMUGGLED)
                sent = await client.closed()
            assert sent.startswith(b"HTTP/1.1 400 "), (name, sent)
            assert len(re.findall(rb"HTTP/1\.1 \d{3} ", sent)) == 1, (name, "the second request was answered")
            assert b'"status":400' in sent, name


@pytest.mark.parametrize("name", SMUGGLING)
def test_no_such_request_is_refused_unparsed(name: str) -> None:
    get = SMUGGLING[name].replace(POST, b"GET /v1/recommendations/u HTTP/1.1\r\nhost: a\r\n")
    words = (b"content-length", b"transfer-encoding")
    assert not is_plain_get(get) or not any(word in get for word in words), "its end would be where its head ends"
    assert not is_plain_get(get + SMUGGLED)


async def test_duplicated_headers_bring_nothing_twice(redis_server: RedisServer, store: VersionStore) -> None:
    keys = KeyStore(store.space)
    made = create_key(keys, scopes=["all"], owner="ada", now=time.time(), caller=Caller("ada", "a test"))
    key = f"authorization: Bearer {made.text}"
    async with live(settings_for(redis_server)) as served, served.connected() as client:
        assert (await client.ask("/v1/popular", key)).status == 200
        for doubled in (key, f"x-api-key: {made.text}"):
            answer = await client.ask("/v1/popular", key, doubled)
            assert answer.status == 401
            assert "more than one key" in answer.body["detail"]
        answer = await client.ask(
            "/v1/recommendations", key, "content-encoding: gzip", "content-encoding: gzip", method="POST", body=b"{}"
        )
        assert answer.status == 415
        assert "encoded" in answer.body["detail"]


async def test_huge_and_countless_headers_are_431(redis_server: RedisServer, store: VersionStore) -> None:
    heads = {
        "one header": b"x: " + b"a" * 70_000,
        "one name": b"x" * 70_000 + b": a",
        "many": b"\r\n".join(b"x%d: a" % at for at in range(10_000)),
        "the same one": b"\r\n".join([b"cookie: a=1"] * 10_000),
    }
    async with shop(redis_server, store) as served:
        for name, lines in heads.items():
            async with served.connected() as client:
                await client.send(b"GET /v1/recommendations/u HTTP/1.1\r\nhost: a\r\n" + lines + b"\r\n\r\n")
                assert (await client.answer()).status == 431, name


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/v1/recommendations/..%2f..%2f..%2fetc%2fpasswd", 200),
        ("/v1/recommendations/%2e%2e%2f%2e%2e%2fmetrics", 200),
        ("/v1/items/%2e%2e/similar", 200),
        ("/v1/items/a%2f..%2fb/similar", 200),
        ("/v1/recommendations/..", 200),
        ("/v1/recommendations/../versions", 404),
        ("/v1/../metrics", 404),
        ("/v1/recommendations/%00", 422),
        ("/v1/recommendations/a%0d%0ax-injected:%20b", 422),
        ("/v1/recommendations/%ff%fe", 422),
        ("/v1/recommendations/" + "a" * 300, 422),
        ("/v1/recommendations/u?n=1&n=500", 422),
        ("/v1/recommendations/u?n=99999999999999999999", 422),
        ("/v1/recommendations/u?n=1e3", 422),
        ("/docs/program/..%2f..%2f..%2f..%2fetc%2fpasswd", 404),
        ("/docs/program/../../../../etc/passwd", 404),
        ("/docs/program//etc/passwd", 404),
    ],
)
async def test_an_id_is_an_id_and_never_a_path(
    redis_server: RedisServer, store: VersionStore, target: str, status: int
) -> None:
    async with shop(redis_server, store) as served, served.connected() as client:
        answer = await client.ask(target)
        assert answer.status == status, answer.body
        assert "x-injected" not in answer.headers
        assert b"root:" not in json.dumps(answer.body, default=str).encode()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[" * 100_000, 422),
        (b"[" * 100_000 + b"]" * 100_000, 422),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, 400),
        (b'{"user": "u", "item": "a", "x": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", 400),
        (b'{"user": "u", "item": "a", "timestamp": ' + b"9" * 1_000_000 + b"}", 422),
        (b'{"user": "u", "item": "a", "timestamp": 1e999999999}', 422),
        (b'{"user": "u", "item": "a", "timestamp": -1e308}', 422),
        (b'{"user": "u", "item": "' + b"a" * 1_000_000 + b'"}', 422),
        (b'{"user": "\\ud800", "item": "a"}', 400),
        (b'{"user": "\xff", "item": "a"}', 400),
        (b'{"user": "u", "item": "a"' + b', "user": "u"' * 100_000 + b"}", 503),
        (b" " * 5_000_000, 413),
        (b'{"user": "u", "item": "a"}' * 10, 400),
    ],
    ids=[
        "depth", "closed depth", "depth of objects", "depth in a field", "digits", "exponent", "past", "string",
        "surrogate", "no utf-8", "names", "size", "several",
    ],
)  # fmt: skip
async def test_a_bomb_of_json_is_refused_in_no_time(
    redis_server: RedisServer, store: VersionStore, body: bytes, status: int
) -> None:
    """The body with one name a hundred thousand times is one event; it is refused because no Kafka is there."""
    more = {"acknowledge_seconds": 0.2}
    async with shop(redis_server, store, **more) as served, served.connected() as client:
        answer = await client.ask("/v1/events/clicks", method="POST", body=body)
        assert answer.status == status, answer.body


BODIES = [
    ("POST", "/v1/events/purchases"),
    ("POST", "/v1/recommendations"),
    ("POST", "/v1/recommendations/batch"),
    ("POST", "/v1/rerank"),
    ("PUT", "/v1/items"),
    ("PUT", "/v1/items/a"),
    ("PATCH", "/v1/items/a"),
    ("PUT", "/v1/users/u"),
    ("PATCH", "/v1/users/u"),
    ("POST", "/v1/versions/1/rollback"),
    ("DELETE", "/v1/pin"),
]
"""Further routes that take a body."""

DEEP = b"[" * 50_000 + b"]" * 50_000
BOMBS = {
    "depth": DEEP,
    "depth of objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "depth in fields": b"{" + b", ".join(b'"%s": %s' % (name, DEEP) for name in (b"labels", b"user", b"who")) + b"}",
    "depth in an element": b'[{"item": "a", "labels": {"a": ' + DEEP + b"}}]",
    "digits": b'{"revision": ' + b"9" * 1_000_000 + b', "n": ' + b"9" * 1_000_000 + b"}",
    "an element's digits": b'[{"item": "a", "price": 1' + b"0" * 1_000_000 + b"}]",
    "exponent": b'{"price": 1e999999999, "n": 1e999999999, "why": 1e999999999}',
    "no end": b'{"requests": [' + b"{}, " * 100_000,
}


async def test_a_bomb_of_json_is_refused_on_every_route_that_takes_a_body(
    redis_server: RedisServer, store: VersionStore
) -> None:
    documented = create_app(settings_for(redis_server)).openapi()["paths"]
    taking = {
        (method.upper(), path)
        for path, methods in documented.items()
        for method, operation in methods.items()
        if "requestBody" in operation
    }
    assert len(taking) == len(BODIES) + 2, "those of clicks and feedback are read as that of purchases"
    async with shop(redis_server, store) as served:
        for method, target in BODIES:
            for name, body in BOMBS.items():
                async with served.connected() as client:
                    headers = ("content-type: application/json",)
                    answer = await client.ask(target, *headers, method=method, body=body)
                    assert answer.status in {400, 422}, (method, target, name, answer)
                    assert answer.body["status"] == answer.status


async def test_a_bomb_in_a_parameter_is_refused(redis_server: RedisServer, store: VersionStore) -> None:
    async with shop(redis_server, store) as served:
        for bomb in ("%5B" * 5_000, "%7B%22a%22:" * 2_000, "1e999999999", "9" * 10_000):
            for name in ("labels", "n", "price_min", "published_after", "window"):
                async with served.connected() as client:
                    answer = await client.ask(f"/v1/popular?{name}={bomb}")
                    assert answer.status == 422, (name, bomb[:20], answer)
