"""Canary for uvicorn's internals: every attribute that the fast protocol uses is there and means what it must mean.

`serving/web/fast_protocol.py` subclasses `uvicorn.protocols.http.httptools_impl.HttpToolsProtocol`, which uvicorn may
change with any minor release. If a test here fails after an upgrade, compare that file of both releases at the place
that the message names, adapt `fast_protocol.py`, and only then raise the upper bound in `pyproject.toml`.
"""

from __future__ import annotations

import ast
import asyncio
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from packaging.requirements import Requirement
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from serving.web import fast_protocol
from serving.web.fast_protocol import fast_protocol_class

ROOT = Path(__file__).parents[3]
PREFIX = b"/fast/"

USED = {
    "cycle": "None, or the request that is being answered; look at `on_headers_complete`",
    "cycle.response_complete": "true once its answer has been sent; look at `RequestResponseCycle.send`",
    "expect_100_continue": "true if the client waits for `100 Continue`; look at `on_header`",
    "flow.write_paused": "true while the client reads too slowly; look at `flow_control.FlowControl`",
    "parser.get_http_version": "of httptools: '1.0' or '1.1'",
    "parser.get_method": "of httptools: the method in bytes",
    "parser.should_keep_alive": "of httptools: false if the client asked to close",
    "parser.should_upgrade": "of httptools: true for a websocket",
    "server_state.default_headers": "date and server as pairs of bytes; look at `server.ServerState`",
    "transport.close": "of asyncio",
    "transport.write": "of asyncio",
    "url": "the target as it was sent, complete when `on_headers_complete` is called; look at `on_url`",
    "on_headers_complete": "starts the application's task; called by httptools after the last header",
    "on_body": "adds to the request's body; called by httptools for each piece",
    "on_message_complete": "ends the request's body; called by httptools after the last byte",
    "on_response_complete": "counts the request, arms the keep-alive timeout, starts the next request of a pipeline",
}
"""Attributes of `HttpToolsProtocol` that `fast_protocol.py` uses, and what each of them must be."""

OWN = {"_fast", "prefix", "fast_answer"}


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
    """Every `self.a`, `self.a.b` and `super().a` of the fast protocol, the longest chain of each."""
    found = set()
    for node in ast.walk(ast.parse(Path(fast_protocol.__file__).read_text())):
        if isinstance(node, ast.Attribute):
            chain = ast.unparse(node).removeprefix("super().").removeprefix("self.")
            if ast.unparse(node).startswith(("self.", "super().")):
                found.add(chain)
    return {name for name in found if not any(other.startswith(f"{name}.") for other in found)}


def test_every_attribute_of_uvicorn_that_is_used_is_in_the_list():
    used = attributes_used() - OWN
    assert used - {"url.startswith"} == set(USED) - {"url", "cycle"}


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

    def fast_answer(target: bytes) -> bytes | None:
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
    protocol, transport = connected(fast_protocol_class(PREFIX, lambda _: b'"fast"'))
    protocol.pause_writing()
    protocol.data_received(b"GET /fast/u HTTP/1.1\r\nhost: a\r\n\r\n")
    assert b"fast" not in transport.written
    protocol.resume_writing()
    await finished(protocol)
    assert transport.written.endswith(b"full")


async def test_a_fast_answer_does_not_overtake_one_that_is_being_made():
    protocol, transport = connected(fast_protocol_class(PREFIX, lambda _: b'"fast"'))
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
