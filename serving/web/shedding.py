"""Load shedding: requests that would wait too long are refused with 503 before anything is done for them.

An event loop takes turns: it reads what has arrived on all connections, answers, and looks again. Whatever arrives in
the meantime waits in the system, where nothing can be refused, so a turn may not take long. A server that keeps up has
turns of a few requests. If one has more than `most_waiting`, the process doesn't keep up: the rest of that turn is
refused, and each turn answers a sixth of that number only, so that those which are answered have waited for two short
turns at most. Once nothing has been refused for `CALM_SECONDS` a turn may be long again. Clients that send a refused
request again at once would keep turns short for ever, although all of them together may fit into a long one: so half of
a long turn is tried every `TRY_SECONDS`, which costs some answers of one turn their time.

The number of requests decides, not a time: the same setting is right for fast machines and for slow ones.

This file decides which requests are refused, and with which answer. `serving.web.fast_protocol` refuses them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import msgspec

from serving.web.problems import MEDIA_TYPE, Problem

CALM_SECONDS = 0.25
"""Time without a refusal after which a turn may be long again."""

TRY_SECONDS = 5.0
"""Interval at which a longer turn is tried."""

SHED_SHARE = 6
"""A turn of a process that does not keep up answers this part of `most_waiting`."""

IDLE_SECONDS = 0.0005
IDLE_FACTOR = 3
"""A turn of a process that does not keep up answers so many times as many if the process had nothing to do for
`IDLE_SECONDS` before: nothing has waited for an earlier turn, and what comes in bursts is not refused for nothing."""

NEVER_SHED = (b"/health/", b"/metrics", b"/v1/versions", b"/v1/pin")
"""Beginnings of targets that are always answered: of those who look after the server."""

RETRY_SECONDS = 1

PLAIN_STARTS = tuple(b"GET /v1/" + name for name in (b"recommendations/", b"items/", b"popular", b"trending", b"new"))
"""Beginnings of requests that may be refused before they are parsed."""

MOST_PLAIN_BYTES = 2048

_NOT_PLAIN = (b"content-length", b"transfer-encoding", b"connection", b"expect", b"upgrade")
"""Words that a request has if it is longer than its head, or changes the connection."""


class DefaultLines:
    """The lines of the headers of every answer; uvicorn makes a new list of them once a second, for the date."""

    def __init__(self) -> None:
        self._headers: list[tuple[bytes, bytes]] = []
        self._lines = b""

    def of(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        """The lines of a list of headers, each with a line break before it."""
        if headers is not self._headers:
            self._headers, self._lines = headers, b"".join(b"\r\n%s: %s" % header for header in headers)
        return self._lines


class Shedder:
    """Decides for each request of a process whether it is refused.

    Args:
        most_waiting: most requests of one turn.
        most_concurrent: most requests that the application answers at the same time.
        count: is called with the reason and the number of refused requests, at the end of a turn.

    Attributes:
        full: True while further requests of this turn are refused.
    """

    def __init__(
        self,
        most_waiting: int = 1 << 62,
        most_concurrent: int = 1 << 62,
        count: Callable[[str, int], None] = lambda *_: None,
    ) -> None:
        self._most = most_waiting
        self.most_concurrent = most_concurrent
        self._count = count
        self._allowed = most_waiting
        self._in_turn = 0
        self._refused = 0
        self._calm_at = 0.0
        self._try_at = 0.0
        self._ended_at = 0.0
        self._few = max(1, most_waiting // SHED_SHARE)
        self._sheds = False
        self._tries = False
        self._answer_headers: object = None
        self._answer = b""
        self._head, self._body = _refusal()
        self.full = False

    def refuses(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Count a request of this turn; True if it has to be refused."""
        in_turn = self._in_turn
        if not in_turn:
            loop.call_soon(self._end_turn, loop)
            if self._sheds:
                self._begin_turn(loop)
        self._in_turn = in_turn = in_turn + 1
        if in_turn < self._allowed:
            return False
        self.full = True
        if in_turn == self._allowed:
            return False
        self._refused += 1
        return True

    def count_concurrent(self) -> None:
        """Count a request that was refused because the application answers too many."""
        self._count("concurrent", 1)

    def count_connections(self, number: int) -> None:
        """Count connections that were refused, or closed to make room."""
        self._count("connections", number)

    def answer(self, default_headers: list[tuple[bytes, bytes]]) -> bytes:
        """The whole answer of a refused request, on a connection that stays open.

        Args:
            default_headers: uvicorn's list of them, which is another one each second.
        """
        if default_headers is not self._answer_headers:
            lines = b"".join(b"\r\n%s: %s" % header for header in default_headers)
            self._answer = self._head + lines + b"\r\n\r\n" + self._body
            self._answer_headers = default_headers
        return self._answer

    def closing_answer(self, default_headers: list[tuple[bytes, bytes]]) -> bytes:
        """The whole answer of a refused request, on a connection that is closed afterwards."""
        return self.answer(default_headers).replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n", 1)

    def _begin_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Decide how many requests a turn answers while load is shed."""
        if loop.time() > self._calm_at:
            self._sheds = self._tries = False
            self._allowed = self._most
        elif self._tries:
            self._allowed = self._most // 2
        elif time.monotonic() - self._ended_at > IDLE_SECONDS:
            self._allowed = self._few * IDLE_FACTOR
        else:
            self._allowed = self._few

    def _end_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self._in_turn = 0
        self.full = False
        if self._refused:
            now = loop.time()
            if not self._sheds or self._tries:
                self._sheds, self._tries = True, False
                self._try_at = now + TRY_SECONDS
            elif now > self._try_at:
                self._tries = True
            self._calm_at = now + CALM_SECONDS
            self._count("waiting", self._refused)
            self._refused = 0
        self._ended_at = time.monotonic()


def is_plain_get(data: bytes) -> bool:
    r"""True if these bytes are one whole GET of a list, and nothing else. Only such a request is refused unparsed.

    >>> is_plain_get(b"GET /v1/popular HTTP/1.1\r\nhost: a\r\n\r\n")
    True
    >>> is_plain_get(b"GET /v1/popular HTTP/1.1\\r\\nhost: a\r\nContent-Length: 1\r\n\r\n")
    False
    """
    if not data.startswith(PLAIN_STARTS) or len(data) > MOST_PLAIN_BYTES:
        return False
    if data.find(b"\r\n\r\n") != len(data) - 4 or b" HTTP/1.1\r\n" not in data:
        return False
    lowered = data.lower().replace(b"\r\nconnection: keep-alive\r\n", b"\r\n")
    return not any(word in lowered for word in _NOT_PLAIN)


def _refusal() -> tuple[bytes, bytes]:
    details = Problem(
        503,
        "More requests wait for this server than it can answer in time (CORRENTE_MAX_WAITING_REQUESTS). "
        f"Try again in {RETRY_SECONDS} s, and not all at once.",
    ).details
    body = msgspec.json.encode(details)
    head = f"HTTP/1.1 503 Service Unavailable\r\ncontent-type: {MEDIA_TYPE}\r\nretry-after: {RETRY_SECONDS}"
    return f"{head}\r\ncontent-length: {len(body)}".encode(), body
