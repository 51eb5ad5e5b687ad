"""One HTTP/1.1 connection: limits on its time and size, upgrades that are not taken, and an end in time.

uvicorn's own protocol waits for ever for the rest of a request, takes heads of any size, and loses the body of a
request that offers another protocol (`Upgrade: h2c`, as Java's standard client and `curl --http2` send). This subclass
counts bytes and keeps one moment for each connection; `close_overdue` compares the moments of all connections twice a
second, which costs less than a timer for each request.

This file decides when a connection is closed, and the answer to a client that sends too much or too slowly. The
requests that are answered inside the protocol are decided by `serving.web.fast_protocol`.

It overrides internals of uvicorn: `tests/serving/web/test_fast_protocol.py` names every attribute that is used.
"""

from __future__ import annotations

import asyncio
import heapq
import resource
from collections import Counter
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, ClassVar, NamedTuple

import httptools
import msgspec
import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from serving.web.body import too_large
from serving.web.problems import MEDIA_TYPE, Problem
from serving.web.shedding import RETRY_SECONDS, DefaultLines, Shedder
from stream.settings import Settings

log = structlog.get_logger(__name__)

SWEEP_SECONDS = 0.5
"""Interval at which connections are compared with their limits; a limit may be exceeded by as much."""

LINGER_SECONDS = 2.0
"""Longest time for which bytes of a refused request are still read and thrown away. A socket that is closed with unread
bytes is reset, and the client would lose the answer that says why."""

STOPPING_SECONDS = 5.0
"""Longest time that a client may still take for the rest of a request, or of an answer, once the server stops."""


OTHER_FILES = 200
"""Files that a process needs beside its connections: those of a model's memory, and connections to Redis and Kafka."""

ROOM_SHARE = 20
"""Part of all connections that is closed at once to make room, so that it has to be made less often."""


class ConnectionLimits(NamedTuple):
    """Limits of every connection.

    Attributes:
        head_bytes: largest request line with headers; trailers may exceed it by one read (256 KiB).
        head_seconds: longest time from the first byte of a request to the end of its headers.
        body_seconds: longest time for the body, and for a client to take its answer.
        keep_alive_seconds: longest time without a request.
        connections: most connections of the process.
        body_bytes: largest body.
    """

    head_bytes: int = 65_536
    head_seconds: float = 10.0
    body_seconds: float = 30.0
    keep_alive_seconds: float = 75.0
    connections: int = 8192
    body_bytes: int = 4_194_304

    @classmethod
    def of(cls, settings: Settings) -> ConnectionLimits:
        """The limits that the settings name."""
        return cls(
            settings.max_head_bytes,
            settings.head_seconds,
            settings.body_seconds,
            settings.keep_alive_seconds,
            min(settings.max_connections, most_files() - OTHER_FILES),
            settings.max_body_bytes,
        )


def most_files() -> int:
    """Files, sockets included, that this process may open once it has raised its soft limit to the hard one."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


DEFAULT_LIMITS = ConnectionLimits()


class _Refused(Exception):
    """Raised in a callback of the parser to make it stop: the request was refused."""


class Connection(HttpToolsProtocol):
    """HTTP/1.1 of one connection, with limits."""

    limits: ClassVar[ConnectionLimits] = DEFAULT_LIMITS
    count_refusal: ClassVar[Callable[[int], None]] = staticmethod(lambda _: None)
    """Is called with the status of each refusal."""
    shedder: ClassVar[Shedder] = Shedder()
    """Decides which requests and connections are refused because there are too many."""
    default_lines: ClassVar[DefaultLines] = DefaultLines()
    """Writes the headers that every answer has."""
    root_path_bytes: ClassVar[bytes] = b""
    """Path under which a proxy offers this server. The proxy may strip it or hand it on."""

    _since = 0.0
    """Moment of the event loop's clock since which the present step takes: a head, a body, an answer, or silence."""
    _in_head = False
    _between = True
    """True while no request is being read."""
    _unparsed = 0
    """Bytes received since the last progress: the end of a head, a piece of a body, or the end of a message."""
    _ends = False
    """True once a request was refused: what else arrives is thrown away."""
    _stops = False
    """True once the server stops."""

    # ---- what arrives

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]  # uvicorn names the subclass
        self._since = self.loop.time()
        if len(self.connections) > self.limits.connections:
            self._make_room()

    def _make_room(self) -> None:
        """Close connections that wait for a client, or refuse this one if there are none.

        Those go first that come from the address with most of them, and of these the ones that have been silent for
        longest: many idle connections of one client can't keep out others.
        """
        connections: Iterable[Any] = self.connections
        silent = [each for each in connections if each is not self and each.is_silent()]
        if not silent:
            self.shedder.count_connections(1)
            self.refuse(
                503, "This server has as many connections as it may (CORRENTE_MAX_CONNECTIONS). Try again soon."
            )
            return
        by_address = Counter(each.client[0] if each.client else "" for each in silent)
        most = by_address.most_common(1)[0][0]
        of_one = [each for each in silent if (each.client[0] if each.client else "") == most]
        closed = heapq.nsmallest(max(1, len(of_one) // ROOM_SHARE), of_one, key=Connection.silent_since)
        for each in closed:
            each.transport.close()
        self.shedder.count_connections(len(closed))

    def silent_since(self) -> float:
        """Moment of the event loop's clock of its last progress."""
        return self._since

    def is_silent(self) -> bool:
        """True if the connection has no whole request that waits for its answer."""
        cycle = self.cycle
        return (cycle is None or cycle.response_complete) and not self.transport.is_closing()

    def data_received(self, data: bytes) -> None:
        if self._ends or (self.shedder.full and self.shed_unparsed(data)):
            return
        self._unparsed += len(data)
        rest: bytes | memoryview = data
        try:
            while True:
                try:
                    self.parser.feed_data(rest)
                    break
                except httptools.HttpParserUpgrade as upgrade:
                    rest = memoryview(rest)[upgrade.args[0] :]
                    self._parse_head_without_upgrade()
                    self._unparsed = len(rest)
        except httptools.HttpParserError as error:
            if not self._ends:
                self._refuse_parsing(error)
        else:
            if self._unparsed > self.limits.head_bytes and not self._ends:
                self._refuse_size()

    def shed_unparsed(self, data: bytes) -> bool:  # noqa: ARG002  for subclasses
        """Refuse what arrived before it is parsed, and return True, if it may be; called while load is shed."""
        return False

    def _parse_head_without_upgrade(self) -> None:
        """Parse a head again without its offer of another protocol.

        A server may ignore such an offer and answer in HTTP/1.1 (RFC 9110, section 7.8). The parser can't: it takes
        every byte after the head for the other protocol.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":
            self.refuse(405, "This server is no proxy: it takes no CONNECT.")
            raise httptools.HttpParserError
        head = [method, b" ", self.url, b" HTTP/", self.parser.get_http_version().encode(), b"\r\n"]
        for name, value in self.headers:
            if name != b"upgrade":
                head += [name, b": ", value, b"\r\n"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.parser.feed_data(b"".join([*head, b"\r\n"]))

    # ---- callbacks of the parser

    def on_message_begin(self) -> None:
        """Begin a request. uvicorn would also make its scope here; `start_request` does, if it is needed."""
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._between = False
        self._in_head = True
        self._since = self.loop.time()

    def on_headers_complete(self) -> None:
        self.head_complete()
        self.start_request()

    def start_request(self) -> None:
        """Hand the request to the application, unless it will be parsed again without an offer to upgrade.

        A body whose length is too large is refused here, where the rest of it can be thrown away: a connection that is
        closed while a client still sends is reset, and the client would lose the answer.
        """
        for name, value in self.headers:
            if name == b"content-length" and int(value) > self.limits.body_bytes:
                self.refuse(413, too_large(self.limits.body_bytes))
                raise _Refused
        if not self.parser.should_upgrade():
            read = self.url, self.headers, self.expect_100_continue
            super().on_message_begin()
            self.url, self.headers, self.expect_100_continue = read
            self.scope["headers"] = self.headers
            super().on_headers_complete()

    def head_complete(self) -> None:
        """Take note that a head is complete. One that is too large is refused, and the parser stops."""
        if self._unparsed > self.limits.head_bytes:
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > self.limits.head_bytes:
                self._refuse_size()
                raise _Refused
        self._in_head = False
        self._unparsed = 0
        self._since = self.loop.time()
        if self.root_path_bytes:
            under = self.url.removeprefix(self.root_path_bytes)
            if under[:1] in {b"/", b"?", b""}:
                self.url = under or b"/"

    def on_body(self, body: bytes) -> None:
        self._unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._between = True
        if not self.parser.should_upgrade():
            self._unparsed = 0
            super().on_message_complete()

    # ---- answers

    def on_response_complete(self) -> None:
        """Count the request, and start the next one of a pipeline. uvicorn would also set a timer here."""
        self.server_state.total_requests += 1
        self._since = self.loop.time()
        if not self.transport.is_closing():
            self.flow.resume_reading()
            if self.pipeline:
                self._start_asgi_task(*self.pipeline.pop())

    def pause_writing(self) -> None:
        self._since = self.loop.time()
        super().pause_writing()

    def refuse(self, status: int, detail: str) -> None:
        """Answer a request that is not complete, and close the connection.

        An answer to an earlier request that is being made is finished first, and takes the place of this one: a client
        would take the refusal for that answer.

        Args:
            status: of HTTP.
            detail: what was wrong, and what would be right.
        """
        self._ends = True
        self._since = self.loop.time()
        type(self).count_refusal(status)
        cycle = self.cycle
        answering = cycle is not None and not (cycle.response_complete or cycle.disconnected)
        if answering and (self._in_head or self.pipeline or cycle.response_started):
            cycle.keep_alive = False
            return
        if answering:
            cycle.disconnected = True  # whatever waits for the rest of the body ends, and its answer is thrown away
            cycle.message_event.set()
        body = msgspec.json.encode(Problem(status, detail).details)
        head = [STATUS_LINE[status], b"content-type: ", MEDIA_TYPE.encode(), b"\r\ncontent-length: %d" % len(body)]
        head.append(self.default_lines.of(self.server_state.default_headers))
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            head.append(b"\r\nretry-after: %d" % RETRY_SECONDS)
        self.transport.write(b"".join([*head, b"\r\nconnection: close\r\n\r\n", body]))
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self.flow.resume_reading()
        else:
            self.transport.close()

    def _refuse_parsing(self, error: httptools.HttpParserError) -> None:
        cause = error.__context__
        if cause is not None and not isinstance(cause, httptools.HttpParserError):
            log.error("reading a request failed", exc_info=cause)
        self.refuse(400, f"This is no HTTP/1.1 request ({cause or error}). Send one, over plain HTTP without TLS.")

    def _refuse_size(self) -> None:
        self.refuse(
            431,
            f"The request line and headers are larger than {self.limits.head_bytes} bytes (CORRENTE_MAX_HEAD_BYTES). "
            "Send long lists as the body of a POST.",
        )

    # ---- the end

    def end_if_overdue(self, now: float) -> None:
        """Refuse, close or abort this connection if its client has exceeded a limit.

        Args:
            now: moment of the event loop's clock.
        """
        waited = now - self._since
        slow = STOPPING_SECONDS if self._stops else self.limits.body_seconds
        cycle = self.cycle
        answering = cycle is not None and not (cycle.response_complete or cycle.disconnected)
        if self._ends and not answering:
            if waited > LINGER_SECONDS:
                self.transport.abort()
        elif self.transport.is_closing() or self.flow.write_paused:
            if waited > slow:  # the client doesn't take its answer
                self.transport.abort()
        elif self._ends:
            pass  # an answer is being made, and the connection closes after it
        elif self.flow.read_paused:
            self._since = now  # the client's bytes wait for this server
        elif self._in_head:
            if waited > self.limits.head_seconds:
                self.refuse(408, f"The headers took longer than {self.limits.head_seconds:g} s.")
        elif not answering:
            if waited > self.limits.keep_alive_seconds:
                self._since = now
                self.transport.close()
        elif cycle.more_body and waited > slow:
            if self._stops:
                self.refuse(503, "The server stops, and the body was not complete in time. Send the request again.")
            else:
                self.refuse(408, f"The body took longer than {slow:g} s. Send fewer events at once.")

    def shutdown(self) -> None:
        self._stops = True
        self._since = self.loop.time()
        super().shutdown()


async def close_overdue(connections: Iterable[Any]) -> None:
    """Close connections that exceed their limits, until the task is cancelled.

    Args:
        connections: uvicorn's set of the open ones, which changes meanwhile.
    """
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        now = loop.time()
        for connection in list(connections):
            try:
                connection.end_if_overdue(now)
            except Exception:  # one connection must not keep others from being closed
                log.exception("closing an overdue connection failed")
                connection.transport.abort()
