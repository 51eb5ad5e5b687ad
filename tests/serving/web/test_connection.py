"""Connections over real sockets: upgrades, limits of size and time, answers in order, and an end in time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple

import pytest
import uvicorn

from serving.process.server import HttpServer, bound_socket
from serving.web import connection
from serving.web.connection import ConnectionLimits
from serving.web.fast_protocol import fast_protocol_class
from tests.serving.awaiting import eventually
from tests.serving.raw_client import Client, connected

PREFIX = b"/fast/"
LARGE = 8_000_000
"""Bytes of an answer that fits into no buffer of a socket."""
UNHURRIED = ConnectionLimits(head_bytes=2048)
SHORT_HEAD = UNHURRIED._replace(head_seconds=0.2)
SHORT_BODY = UNHURRIED._replace(body_seconds=0.3)


class Running(NamedTuple):
    server: HttpServer
    serving: asyncio.Task
    port: int
    held: asyncio.Event
    """Answers to `/held` wait for it."""
    refusals: list[int]
    bodies: list[bytes | None]
    """Body of each request that the application read to its end; None if the client disconnected before."""

    def connected(self) -> AbstractAsyncContextManager[Client]:
        return connected(self.port)

    async def open_connections(self, count: int) -> None:
        async def holds() -> bool:
            return len(self.server.server_state.connections) == count

        await eventually(holds, f"{count} connections are open", 30.0)


@contextlib.asynccontextmanager
async def running(limits: ConnectionLimits = UNHURRIED, **more: Any) -> AsyncIterator[Running]:
    """An application that answers with what it was asked, behind the protocol, on a port of its own."""
    held, refusals, bodies = asyncio.Event(), [], []

    async def application(scope, receive, send) -> None:
        if scope["type"] != "http":
            return
        body, message = b"", {"more_body": True}
        while message.get("more_body"):
            message = await receive()
            if message["type"] == "http.disconnect":
                bodies.append(None)
                return
            body += message["body"]
        bodies.append(body)
        if scope["path"].endswith("/held"):
            await held.wait()
        text = b"x" * LARGE
        if not scope["path"].endswith("/large"):
            asked = {name: scope[name] for name in ("method", "path", "root_path", "scheme", "client")}
            names = [name.decode() for name, _ in scope["headers"]]
            text = json.dumps({**asked, "headers": names, "body": body.decode("latin-1")}).encode()
        headers = [(b"content-length", b"%d" % len(text))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": text})

    root_path = more.get("root_path", "")
    protocol = fast_protocol_class(
        PREFIX, lambda *_: b'"fast"', limits=limits, root_path=root_path, count_refusal=refusals.append
    )
    config = uvicorn.Config(application, http=protocol, ws="none", lifespan="off", log_config=None, **more)
    server, listening = HttpServer(config), bound_socket("127.0.0.1", 0)
    listening.listen()
    serving = asyncio.create_task(server.serve([listening]))
    try:
        yield Running(server, serving, listening.getsockname()[1], held, refusals, bodies)
    finally:
        held.set()
        server.should_exit = True
        async with asyncio.timeout(30.0):
            await serving


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits are compared often, so that tests are quick."""
    monkeypatch.setattr(connection, "SWEEP_SECONDS", 0.02)
    monkeypatch.setattr(connection, "LINGER_SECONDS", 0.3)
    monkeypatch.setattr(connection, "STOPPING_SECONDS", 0.3)


UPGRADE = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: %s\r\nhttp2-settings: AAEAAEAAAAIAAAAB\r\n"
BODIES = {
    "with a length": b"content-length: 5\r\n\r\nhello",
    "in chunks": b"transfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("offered", [b"h2c", b"websocket"])
async def test_a_request_that_offers_another_protocol_keeps_its_body_and_its_connection(offered: bytes, body: bytes):
    post = b"POST /a HTTP/1.1\r\nhost: a\r\n" + UPGRADE % offered + body
    async with running() as served, served.connected() as client:
        for pieces in ([post + post], [post[:40], post[40:-3], post[-3:]], [bytes([byte]) for byte in post]):
            for piece in pieces:
                await client.send(piece)
            for _ in range(post_count := b"".join(pieces).count(b"POST")):
                answer = await client.answer()
                assert (answer.status, answer.body["body"]) == (200, "hello")
                assert "upgrade" not in answer.body["headers"]
            assert post_count
        await client.send(b"GET /fast/u HTTP/1.1\r\nhost: a\r\n" + UPGRADE % offered + b"\r\n")
        assert (await client.answer()).status == 200
        await client.send(b"GET /fast/u HTTP/1.1\r\nhost: a\r\n\r\n")
        assert (await client.answer()).body == b'"fast"'
    assert served.refusals == []


async def test_thousands_of_offers_in_one_piece_are_all_answered():
    get = b"GET /a HTTP/1.1\r\nhost: a\r\n" + UPGRADE % b"h2c" + b"\r\n"
    async with running() as served, served.connected() as client:
        client.writer.write(get * 1500)
        for _ in range(1500):
            assert (await client.answer()).status == 200


async def test_connect_is_refused():
    async with running() as served, served.connected() as client:
        await client.send(b"CONNECT example.org:443 HTTP/1.1\r\nhost: example.org\r\n\r\n")
        assert (await client.answer()).status in {400, 405}
        assert await client.closed() == b""


@pytest.mark.parametrize(
    "sent", [b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/9.9\r\n\r\n", b"GET /\x00 HTTP/1.1\r\n\r\n"]
)
async def test_what_is_no_http_is_refused_in_json(sent: bytes):
    async with running() as served, served.connected() as client:
        await client.send(sent)
        answer = await client.answer()
        assert (answer.status, answer.headers["content-type"]) == (400, "application/problem+json")
        assert "HTTP/1.1" in answer.body["detail"]
        assert await client.closed() == b""
        assert served.refusals == [400]


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * 3000 + b" HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\ncookie: " + b"a" * 3000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\n" + b"a: b\r\n" * 600 + b"\r\n",
        b"GET /fast/u?" + b"a" * 3000 + b" HTTP/1.1\r\nhost: a\r\n\r\n",
    ],
    ids=["target", "one header", "many headers", "fast path"],
)
@pytest.mark.parametrize("piece", [1 << 20, 700], ids=["at once", "in pieces"])
async def test_a_head_beyond_the_limit_is_refused(head: bytes, piece: int):
    async with running() as served, served.connected() as client:
        for start in range(0, len(head), piece):
            await client.send(head[start : start + piece])
            await asyncio.sleep(0)
        answer = await client.answer()
        assert answer.status == 431
        assert "2048 bytes (CORRENTE_MAX_HEAD_BYTES)" in answer.body["detail"]
        assert await client.closed() == b""
        assert served.refusals == [431]


async def test_a_head_below_the_limit_and_a_large_body_are_read():
    async with running() as served, served.connected() as client:
        body = b"b" * 1_000_000
        head = b"POST / HTTP/1.1\r\nhost: a\r\ncookie: " + b"a" * 1900 + b"\r\ncontent-length: %d\r\n\r\n" % len(body)
        await client.send(head + body)
        assert len((await client.answer()).body["body"]) == len(body)
        await client.send(b"GET /fast/u HTTP/1.1\r\nhost: a\r\ncontent-length: 5000\r\n\r\n" + b"b" * 5000)
        assert (await client.answer()).body == b'"fast"'


@pytest.mark.parametrize(
    "begin",
    [
        b"GET / HTTP/1.1\r\nhost: a\r\ncookie: ",
        b"GET /fast/",
        b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\na: ",
    ],
    ids=["header", "target", "trailer"],
)
async def test_an_endless_header_is_refused_while_it_is_sent_and_holds_up_nobody(begin: bytes):
    """The refusal comes before the header ends, because it never does; meanwhile another client is answered."""
    async with running(UNHURRIED._replace(head_bytes=65_536)) as served, served.connected() as client:
        await client.send(begin)

        async def send_without_end() -> None:
            with contextlib.suppress(ConnectionError):
                while True:
                    await client.send(b"a" * 1_000_000)

        sending = asyncio.create_task(send_without_end())
        async with served.connected() as other:
            for _ in range(50):
                await other.send(b"GET /fast/u HTTP/1.1\r\nhost: a\r\n\r\n")
                assert (await other.answer()).body == b'"fast"'
        assert (await client.answer()).status == 431
        await served.open_connections(0)
        sending.cancel()


@pytest.mark.parametrize("sent", [b"G", b"GET / HTTP/1.1\r\nhost: a\r\n", b"\r\nGET /fast/u HTTP/1.1\r\n"])
async def test_half_a_head_is_refused_after_its_time(sent: bytes):
    async with running(SHORT_HEAD) as served, served.connected() as client:
        await client.send(b"GET /fast/u HTTP/1.1\r\nhost: a\r\n\r\n")
        await client.answer()
        await client.send(sent)
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (408, "close")
        assert await client.closed() == b""
        assert served.refusals == [408]
        assert served.bodies == []


async def test_half_a_body_is_refused_after_its_time_and_its_request_ends():
    async with running(SHORT_BODY) as served, served.connected() as client:
        await client.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhel")
        answer = await client.answer()
        assert (answer.status, answer.body["title"]) == (408, "Request Timeout")
        assert await client.closed() == b""
        assert served.bodies == [None]

        async def no_task() -> bool:
            return not served.server.server_state.tasks

        await eventually(no_task, "the request has ended", 30.0)


async def test_a_client_that_never_closes_after_a_refusal_is_dropped():
    async with running(SHORT_BODY) as served, served.connected() as client:
        await client.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhel")
        await client.answer()
        await served.open_connections(0)


@pytest.mark.parametrize(
    "first", [b"", b"GET /fast/u HTTP/1.1\r\nhost: a\r\n\r\n", b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"]
)
async def test_an_idle_connection_is_closed_after_its_time(first: bytes):
    async with running() as served, served.connected() as client:
        await served.open_connections(1)
        if first:
            await client.send(first)
            assert (await client.answer()).status == 200
        (idle,) = served.server.server_state.connections
        idle.end_if_overdue(idle._since + UNHURRIED.keep_alive_seconds - 1)
        assert not idle.transport.is_closing()
        idle.end_if_overdue(idle._since + UNHURRIED.keep_alive_seconds + 1)
        assert await client.closed() == b""
        assert served.refusals == []


async def test_a_connection_without_a_request_is_closed_by_the_server():
    async with running(UNHURRIED._replace(keep_alive_seconds=0.1)) as served, served.connected() as client:
        assert await client.closed() == b""


async def test_a_connection_that_is_used_is_kept():
    """Each request begins the time of silence anew."""
    async with running() as served, served.connected() as client:
        moments = []
        for _ in range(3):
            await client.send(b"GET /fast/u HTTP/1.1\r\nhost: a\r\n\r\n")
            assert (await client.answer()).body == b'"fast"'
            (used,) = served.server.server_state.connections
            moments.append(used._since)
            used.end_if_overdue(used._since + UNHURRIED.keep_alive_seconds - 1)
            assert not used.transport.is_closing()
        assert moments == sorted(set(moments))


async def test_an_answer_that_takes_long_is_no_reason_to_close():
    async with running() as served, served.connected() as client:
        await client.send(b"POST /held HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi")

        async def read() -> bool:
            return bool(served.bodies)

        await eventually(read, "the body was read", 30.0)
        (answering,) = served.server.server_state.connections
        answering.end_if_overdue(answering._since + 1_000_000)
        served.held.set()
        assert (await client.answer()).status == 200


@pytest.mark.parametrize(
    "second", [b"GET / HTTP/1.1\r\nhost", b"\x16\x03", b"GET /" + b"a" * 9000], ids=["half", "no", "431"]
)
async def test_a_refusal_does_not_take_the_place_of_an_earlier_answer(second: bytes):
    async with running(SHORT_HEAD) as served, served.connected() as client:
        await client.send(b"GET /held HTTP/1.1\r\nhost: a\r\n\r\n" + second)

        async def refused() -> bool:
            return len(served.refusals) == 1

        await eventually(refused, "the second request is refused", 30.0)
        served.held.set()
        assert (await client.answer()).body["path"] == "/held"
        assert await client.closed() == b""


async def test_a_client_that_does_not_take_its_answer_is_dropped():
    async with running(SHORT_BODY) as served, served.connected() as client:
        await client.send(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n")

        async def asked() -> bool:
            return bool(served.bodies)

        await eventually(asked, "the application has the request", 30.0)
        await served.open_connections(0)


async def test_a_slow_client_gets_a_large_answer_whole():
    async with running() as served, served.connected() as client:
        await client.send(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n")
        assert len((await client.answer()).body) == LARGE


# ---- behind a proxy


@pytest.mark.parametrize("path", ["/v1/x%2Fy?n=1", "/shop/v1/x%2Fy?n=1"], ids=["stripped", "handed on"])
async def test_a_proxy_may_strip_the_root_path_or_hand_it_on(path: str):
    async with running(root_path="/shop") as served, served.connected() as client:
        await client.send(f"GET {path} HTTP/1.1\r\nhost: a\r\n\r\n".encode())
        body = (await client.answer()).body
        assert (body["path"], body["root_path"]) == ("/shop/v1/x/y", "/shop")


@pytest.mark.parametrize("target", ["/fast/u", "/shop/fast/u"])
async def test_lists_under_a_root_path_are_answered_inside_the_protocol(target: str):
    async with running(root_path="/shop") as served, served.connected() as client:
        await client.send(f"GET {target} HTTP/1.1\r\nhost: a\r\n\r\n".encode())
        assert (await client.answer()).body == b'"fast"'


async def test_a_path_that_only_begins_like_the_root_path_is_another_one():
    async with running(root_path="/shop") as served, served.connected() as client:
        await client.send(b"GET /shopping HTTP/1.1\r\nhost: a\r\n\r\n")
        assert (await client.answer()).body["path"] == "/shop/shopping"


@pytest.mark.parametrize(
    ("trusted", "scheme", "address"),
    [
        ("127.0.0.1", "https", "203.0.113.9"),
        ("127.0.0.0/8", "https", "203.0.113.9"),
        ("10.0.0.0/8", "http", "127.0.0.1"),
    ],
)
async def test_forwarded_headers_count_from_trusted_addresses_only(trusted: str, scheme: str, address: str):
    forwarded = b"x-forwarded-proto: https\r\nx-forwarded-for: 203.0.113.9\r\n"
    async with running(forwarded_allow_ips=trusted) as served, served.connected() as client:
        await client.send(b"GET / HTTP/1.1\r\nhost: a\r\n" + forwarded + b"\r\n")
        body = (await client.answer()).body
        assert (body["scheme"], body["client"][0]) == (scheme, address)


# ---- the end


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        (b"", b""),
        (b"GET / HTTP/1.1\r\nho", b""),
        (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhel", b"HTTP/1.1 503 "),
        (b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n", None),
    ],
    ids=["idle", "half a head", "half a body", "an answer that is not taken"],
)
async def test_a_stopping_server_waits_for_no_client_that_does_nothing(sent: bytes, answered: bytes | None):
    async with running() as served, served.connected() as client:
        await client.send(sent)
        await served.open_connections(1)
        if sent.startswith(b"POST"):

            async def begun() -> bool:
                return bool(served.server.server_state.tasks)

            await eventually(begun, "the request has begun", 30.0)
        served.server.should_exit = True
        async with asyncio.timeout(30.0):
            await served.serving
        if answered is not None:
            assert re.match(re.escape(answered), await client.closed())
        assert not served.server.server_state.connections


async def test_a_stopping_server_finishes_a_body_that_is_being_sent(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connection, "STOPPING_SECONDS", 30.0)
    async with running() as served, served.connected() as client:
        await client.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhel")

        async def begun() -> bool:
            return bool(served.server.server_state.tasks)

        await eventually(begun, "the request has begun", 30.0)
        served.server.should_exit = True

        async def stopping() -> bool:
            return any(each._stops for each in served.server.server_state.connections)

        await eventually(stopping, "the server stops", 30.0)
        await client.send(b"lo")
        answer = await client.answer()
        assert (answer.status, answer.body["body"], answer.headers["connection"]) == (200, "hello", "close")
