"""Canary for uvicorn's internals: every attribute that the fast protocol uses is there and means what it must mean.

`serving/web/connection.py` and `serving/web/fast_protocol.py` subclass uvicorn's `HttpToolsProtocol`
(`uvicorn.protocols.http.httptools_impl`), which uvicorn may change with any minor release. If a test here fails after
an upgrade, compare that file of both releases at the place that the message names, adapt those two, and only then raise
the upper bound in `pyproject.toml`.
"""

from __future__ import annotations

import ast
import asyncio
import re
import tomllib
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from packaging.requirements import Requirement
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from serving.web import connection, fast_protocol
from serving.web.connection import Connection
from serving.web.fast_protocol import Protocol, fast_protocol_class

ROOT = Path(__file__).parents[3]
PREFIX = b"/fast/"

USED = {
    "client": "address and port of the other end, or None; look at `connection_made`",
    "connections": "the open ones of the server; look at `connection_made`",
    "cycle": "None, or the request that is being answered; look at `on_headers_complete`",
    "cycle.disconnected": "true once the client is gone: what is received then is `http.disconnect`; look at `receive`",
    "cycle.keep_alive": "false: the connection is closed after the answer; look at `RequestResponseCycle.send`",
    "cycle.message_event": "set: `receive` goes on; look at `RequestResponseCycle.receive`",
    "cycle.more_body": "true until the body is complete; look at `on_message_complete`",
    "cycle.response_complete": "true once its answer has been sent; look at `RequestResponseCycle.send`",
    "cycle.response_started": "true once the head of its answer has been sent; look at `RequestResponseCycle.send`",
    "expect_100_continue": "true if the client waits for `100 Continue`; look at `on_header`",
    "flow.read_paused": "true while nothing is read; look at `flow_control.FlowControl`",
    "flow.resume_reading": "of `flow_control.FlowControl`",
    "flow.write_paused": "true while the client reads too slowly; look at `flow_control.FlowControl`",
    "headers": "pairs of bytes, names in small letters; look at `on_header`",
    "loop.time": "of asyncio",
    "parser": "of httptools; look at `__init__` for its leniencies",
    "parser.feed_data": "of httptools: raises `HttpParserUpgrade` with the place where the other protocol begins",
    "parser.get_http_version": "of httptools: '1.0' or '1.1'",
    "parser.get_method": "of httptools: the method in bytes",
    "parser.set_dangerous_leniencies": "of httptools; look at `__init__`",
    "parser.should_keep_alive": "of httptools: false if the client asked to close",
    "parser.should_upgrade": "of httptools: true if the client offers another protocol",
    "pipeline": "requests that wait for the present one, the next one last; look at `on_response_complete`",
    "pipeline.pop": "of `collections.deque`",
    "scope": "of ASGI, with the request's own list of headers; look at `on_message_begin`",
    "server_state.default_headers": "date and server as pairs of bytes; look at `server.ServerState`",
    "server_state.total_requests": "requests that were answered; look at `on_response_complete`",
    "tasks": "those of requests that the application answers; look at `_start_asgi_task`",
    "transport.abort": "of asyncio",
    "transport.can_write_eof": "of asyncio",
    "transport.close": "of asyncio",
    "transport.is_closing": "of asyncio",
    "transport.write": "of asyncio",
    "transport.write_eof": "of asyncio",
    "url": "the target as it was sent, complete when `on_headers_complete` is called; look at `on_url`",
    "connection_made": "called by the event loop",
    "data_received": "feeds the parser; called by the event loop",
    "on_message_begin": "begins a request; called by httptools before its first byte",
    "on_headers_complete": "starts the application's task; called by httptools after the last header",
    "on_body": "adds to the request's body; called by httptools for each piece",
    "on_message_complete": "ends the request's body; called by httptools after the last byte",
    "on_response_complete": "counts the request, arms the keep-alive timeout, starts the next request of a pipeline",
    "pause_writing": "called by the event loop when a client reads too slowly",
    "shutdown": "closes the connection, or lets it end with the present answer; called by a stopping server",
    "_start_asgi_task": "runs the application for a cycle; look at `on_headers_complete`",
}
"""Attributes of `HttpToolsProtocol` that the two files use or override, and what each of them must be."""


class Transport:
    """Transport that keeps what was written."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def can_write_eof(self) -> bool:
        return False

    def write_eof(self) -> None:
        pass

    def abort(self) -> None:
        self.closed = True

    def get_extra_info(self, name: str) -> Any:
        return None

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


async def application(scope, receive, send) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": b"full"})


def connected(protocol_class: type[HttpToolsProtocol]) -> tuple[HttpToolsProtocol, Transport]:
    """A protocol with a connection, inside a running event loop."""
    protocol = protocol_class(uvicorn.Config(application, log_config=None), ServerState(), {})
    transport = Transport()
    protocol.connection_made(transport)
    return protocol, transport


def attributes_used() -> set[str]:
    """Every `self.a`, `self.a.b` and `cycle.a` of the two files, and every method of uvicorn's that they override."""
    ours = (Connection, Protocol)
    found = {name for each in ours for name in vars(each) if hasattr(HttpToolsProtocol, name)}
    for file in (connection, fast_protocol):
        for node in ast.walk(ast.parse(Path(file.__file__).read_text())):
            if isinstance(node, ast.Attribute):
                use = re.match(r"(?:self\.|super\(\)\.|(?=cycle\.))(\w+(?:\.\w+)?)$", ast.unparse(node))
                found |= {use[1]} if use else set()
    own = {name for each in ours for name in (*vars(each), *each.__annotations__)} - set(dir(HttpToolsProtocol))
    return {name for name in found if name.partition(".")[0] not in own and not name.startswith(("__", "url."))}


def test_every_attribute_of_uvicorn_that_is_used_is_in_the_list():
    containers = {name.partition(".")[0] for name in USED if "." in name}
    assert attributes_used() - containers == set(USED) - containers


@pytest.mark.parametrize("name", USED)
async def test_an_attribute_of_uvicorn_is_there(name: str):
    protocol, _ = connected(HttpToolsProtocol)
    protocol.data_received(b"GET /x HTTP/1.1\r\nhost: a\r\n\r\n")
    found: Any = protocol
    for part in name.split("."):
        assert hasattr(found, part), f"uvicorn {version('uvicorn')} has no {name}: {USED[name]}"
        found = getattr(found, part)
    await finished(protocol)


async def finished(protocol: HttpToolsProtocol) -> None:
    """Wait until the application's tasks have ended, and disarm the keep-alive timeout."""
    while protocol.tasks:
        await asyncio.sleep(0)
    if protocol.timeout_keep_alive_task is not None:
        protocol.timeout_keep_alive_task.cancel()


async def test_attributes_mean_what_the_fast_protocol_takes_them_for():
    protocol, transport = connected(HttpToolsProtocol)
    assert protocol.cycle is None, USED["cycle"]
    protocol.data_received(b"GET /x?a=%2F HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\n\r\n")
    assert protocol.url == b"/x?a=%2F", USED["url"]
    assert protocol.expect_100_continue is True, USED["expect_100_continue"]
    assert protocol.cycle.response_complete is False, USED["cycle.response_complete"]
    await finished(protocol)
    assert protocol.cycle.response_complete is True, USED["cycle.response_complete"]
    assert transport.written.endswith(b"full")
    assert protocol.server_state.total_requests == 1, USED["on_response_complete"]
    assert protocol.flow.write_paused is False, USED["flow.write_paused"]
    protocol.pause_writing()
    assert protocol.flow.write_paused is True, USED["flow.write_paused"]


@pytest.mark.parametrize(
    ("request_bytes", "fast"),
    [
        (b"GET /fast/u?n=1 HTTP/1.1\r\nhost: a\r\n\r\n", True),
        (b"GET /fast/u HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi", True),
        (b"GET /fast/left HTTP/1.1\r\nhost: a\r\n\r\n", False),
        (b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n", False),
        (b"POST /fast/u HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi", False),
        (b"GET /fast/u HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\n\r\n", False),
    ],
)
async def test_only_gets_with_the_prefix_are_answered_inside_the_protocol(request_bytes: bytes, fast: bool):
    targets = []

    def fast_answer(target: bytes, headers: Iterable[tuple[bytes, bytes]], peer: str) -> bytes | None:
        assert (b"host", b"a") in headers, "names in lower case"
        targets.append(target)
        return None if target == b"/fast/left" else b'"fast"'

    protocol, transport = connected(fast_protocol_class(PREFIX, fast_answer))
    for byte in request_bytes:  # byte by byte: the target is complete only after the head
        protocol.data_received(bytes([byte]))
    assert (b'"fast"' in transport.written) == fast
    await finished(protocol)
    assert transport.written.endswith(b'"fast"' if fast else b"full")
    assert protocol.server_state.total_requests == 1
    assert all(target in request_bytes for target in targets)


async def test_a_client_that_reads_too_slowly_is_left_to_uvicorn():
    protocol, transport = connected(fast_protocol_class(PREFIX, lambda *_: b'"fast"'))
    protocol.pause_writing()
    protocol.data_received(b"GET /fast/u HTTP/1.1\r\nhost: a\r\n\r\n")
    assert b"fast" not in transport.written
    protocol.resume_writing()
    await finished(protocol)
    assert transport.written.endswith(b"full")


async def test_a_fast_answer_does_not_overtake_one_that_is_being_made():
    protocol, transport = connected(fast_protocol_class(PREFIX, lambda *_: b'"fast"'))
    protocol.data_received(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\nGET /fast/u HTTP/1.1\r\nhost: a\r\n\r\n")
    assert b"fast" not in transport.written
    await finished(protocol)
    assert transport.written.count(b"full") == 2


def test_uvicorn_is_bounded_below_the_next_minor_release():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (bound,) = [each for each in map(Requirement, project["dependencies"]) if each.name == "uvicorn"]
    major, minor, *_ = map(int, version("uvicorn").split("."))
    assert bound.specifier.contains(f"{major}.{minor}.99")
    assert not bound.specifier.contains(f"{major}.{minor + 1}.0")
