"""Bodies: size, gzip, other encodings, and the media type of administrative calls."""

from __future__ import annotations

import gzip
import random
import zlib
from collections.abc import Iterable

import httpx
import pytest

from serving.app import create_app
from serving.web.body import MAX_MEMBERS, read_body
from serving.web.problems import Problem
from stream.settings import load_settings
from tests.serving.awaiting import kafka_up, served_version
from tests.serving.conftest import Broker, Publisher, RedisServer, running, settings_for

MAX_BYTES = 10_000
TEXT = b'{"item": "a", "user": "u"}'


async def read(body: bytes | Iterable[bytes], *encodings: bytes, max_bytes: int = MAX_BYTES) -> bytes:
    """A body as it is read, in one piece or in those that are given."""
    pieces = [body] if isinstance(body, bytes) else list(body)
    messages = iter(
        {"type": "http.request", "body": each, "more_body": at < len(pieces)} for at, each in enumerate(pieces, 1)
    )

    async def receive():
        return next(messages)

    return await read_body({"headers": [(b"content-encoding", each) for each in encodings]}, receive, max_bytes)


@pytest.mark.parametrize(
    "encodings", [(b"gzip",), (b"GZIP",), (b"x-gzip",), (b"identity, gzip",), (b"identity", b"gzip")]
)
async def test_gzip_is_unpacked(encodings: tuple[bytes, ...]):
    assert await read(gzip.compress(TEXT), *encodings) == TEXT


@pytest.mark.parametrize("encodings", [(), (b"identity",), (b"",)])
async def test_a_body_without_encoding_is_taken_as_it_is(encodings: tuple[bytes, ...]):
    assert await read(gzip.compress(TEXT), *encodings) == gzip.compress(TEXT)


async def test_gzip_is_unpacked_in_pieces_of_any_size():
    chance = random.Random(7)
    packed = gzip.compress(TEXT) + gzip.compress(TEXT * 50)  # two members are one body
    for _ in range(50):
        cuts = sorted(chance.choices(range(len(packed)), k=chance.randrange(6)))
        pieces = [packed[start:end] for start, end in zip([0, *cuts], [*cuts, len(packed)], strict=True)]
        assert await read(pieces, b"gzip") == TEXT * 51, (7, cuts)


async def test_an_empty_body_needs_no_gzip():
    assert await read(b"", b"gzip") == b""


@pytest.mark.parametrize("size", [MAX_BYTES, MAX_BYTES + 1, 2_000_000_000 // 1000])
async def test_an_unpacked_body_is_limited_like_any_other(size: int):
    packed = gzip.compress(b" " * size)
    if size <= MAX_BYTES:
        assert await read(packed, b"gzip") == b" " * size
        return
    with pytest.raises(Problem, match=f"larger than {MAX_BYTES} bytes") as refused:
        await read(packed, b"gzip")
    assert refused.value.details.status == 413


async def test_packed_bytes_are_limited_too():
    noise = random.Random(8).randbytes(2 * MAX_BYTES)
    with pytest.raises(Problem, match="larger than"):
        await read([noise[:MAX_BYTES], noise[MAX_BYTES:]], max_bytes=MAX_BYTES)


@pytest.mark.parametrize(
    ("packed", "said"),
    [
        (TEXT, "not gzip"),
        (gzip.compress(TEXT)[:-1], "ends early"),
        (gzip.compress(TEXT)[:5], "ends early"),
        (gzip.compress(TEXT) + b"more", "not gzip"),
        (gzip.compress(TEXT)[:-8] + b"\0" * 8, "not gzip"),
        (zlib.compress(TEXT), "not gzip"),
        (gzip.compress(b"") * (MAX_MEMBERS + 1), "gzip members"),
    ],
)
async def test_what_is_no_gzip_is_refused(packed: bytes, said: str):
    with pytest.raises(Problem, match=said) as refused:
        await read(packed, b"gzip")
    assert refused.value.details.status == 400


@pytest.mark.parametrize(
    "encodings", [(b"br",), (b"deflate",), (b"zstd",), (b"gzip, gzip",), (b"gzip", b"gzip"), (b"br, gzip",)]
)
async def test_other_encodings_are_415_and_name_the_one_that_is_read(encodings: tuple[bytes, ...]):
    with pytest.raises(Problem, match="Send it with gzip") as refused:
        await read(gzip.compress(TEXT), *encodings)
    assert refused.value.details.status == 415
    assert refused.value.headers["Accept-Encoding"] == "gzip"


async def test_packed_events_arrive_and_packed_questions_are_answered(
    redis_server: RedisServer, broker: Broker, publisher: Publisher
):
    version = publisher.learn(("u", "a"), ("v", "b"))
    packed = {"content-encoding": "gzip"}
    async with running(settings_for(redis_server, broker)) as (_, client):
        await served_version(client, version.number)
        await kafka_up(client)
        events = gzip.compress(b"[" + b",".join([TEXT] * 1000) + b"]")
        posted = await client.post("/v1/events/clicks", content=events, headers=packed)
        assert (posted.status_code, posted.json()["accepted"]) == (202, 1000)
        question = gzip.compress(b'{"user": "u", "n": 1}')
        answer = await client.post("/v1/recommendations", content=question, headers=packed)
        assert (answer.status_code, len(answer.json()["items"])) == (200, 1)
        reason = {**packed, "content-type": "application/json"}
        pinned = await client.post(
            "/v1/versions/1/rollback", content=gzip.compress(b'{"why": "packed"}'), headers=reason
        )
        assert pinned.status_code == 200
        assert (await client.get("/v1/versions")).json()["history"][0]["why"] == "packed"
    assert len(broker.records("clicks", 1000)) == 1000


SIMPLE = [None, "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=a", "text/json"]
"""Media types that a page of another site may send without asking, and one that isn't JSON's."""


@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/versions/1/rollback"), ("DELETE", "/v1/pin")])
@pytest.mark.parametrize("media_type", SIMPLE)
@pytest.mark.parametrize("content", [b"", b'{"who": "a page"}'])
async def test_an_administrative_call_that_is_not_json_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, method: str, path: str, media_type: str | None, content: bytes
):
    app = create_app(load_settings({}))
    asked = []
    for name in ("version", "move_alias"):
        monkeypatch.setattr(app.state.store, name, lambda *_, **__: asked.append(1))
    headers = {} if media_type is None else {"content-type": media_type}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://corrente") as client:
        answer = await client.request(method, path, content=content, headers=headers)
        assert answer.status_code == 415
        assert "Content-Type: application/json" in answer.json()["detail"]
        assert not asked
        preflight = await client.options(
            path, headers={"origin": "http://a.example", "access-control-request-method": method}
        )
        assert preflight.status_code == 405
        assert not [name for name in (*answer.headers, *preflight.headers) if name.startswith("access-control-")]


@pytest.mark.parametrize("media_type", ["application/json", "Application/JSON ; charset=utf-8"])
async def test_an_administrative_call_in_json_needs_no_body(
    redis_server: RedisServer, publisher: Publisher, media_type: str
):
    version = publisher.learn(("u", "a"))
    headers = {"content-type": media_type}
    async with running(settings_for(redis_server)) as (_, client):
        await served_version(client, version.number)
        pinned = await client.post("/v1/versions/1/rollback", headers=headers)
        assert (pinned.status_code, pinned.json()["pinned"]) == (200, 1)
        followed = await client.delete("/v1/pin", headers=headers)
        assert (followed.status_code, followed.json()["pinned"]) == (200, None)
