"""Sessions: a broker may end an authenticated connection after a while, and it is replaced before.

With `connections.max.reauth.ms`, or tokens that run out, each client is given the length of its session, and the broker
closes the connection at the first request after that (KIP-368). Java's client authenticates again on the same
connection; aiokafka doesn't, loses the connection with the request that was on it, and logs errors.

Here a connection whose session is about to end takes no new request: the next one opens another connection, and the old
one is closed when everything that was asked on it is answered. So no request is lost, and none is answered late but for
the time of a new connection. Order is kept as well: aiokafka sends the next batch of a partition only after the last
one is acknowledged.

This file decides when a connection is replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import ssl
import threading
import time
from collections.abc import Awaitable
from typing import Any

import aiokafka.client
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.protocol.admin import SaslAuthenticateRequest
from structlog import get_logger

from stream.kafka.connection.tls import FileContext

log = get_logger(__name__)

RENEWAL_SHARES = (0.7, 0.85)
"""Shares of a session's lifetime between which its connection is replaced. They are drawn: connections that were
made together are not replaced together. Java's client uses 0.85 to 0.95; a request on its way needs a margin."""

CLOSE_SECONDS = 0.5
"""Longest wait for the socket of a connection that was refused."""

_announced = threading.Event()
"""Set once this process has logged that sessions end."""


class Connection(AIOKafkaConnection):
    """A connection that takes no request when its session is about to end."""

    _renew_at: float | None = None
    _replaced = False

    async def connect(self) -> Any:
        """Open the connection; leave no socket open if it is refused later than that."""
        try:
            return await super().connect()
        except BaseException:
            if self._protocol is not None:
                await asyncio.wait([self.close()], timeout=CLOSE_SECONDS)
            raise

    def connected(self) -> bool:
        """Return True if the connection is open and takes requests."""
        due = self._renew_at is not None and time.monotonic() >= self._renew_at
        if due and not self._replaced and not self._loop.is_closed():
            self._replace()
        return bool(super().connected()) and not self._replaced

    def send(self, request: Any, expect_response: bool = True) -> Awaitable[Any]:
        """Send a request; the value is its answer. Notes the session's lifetime that an authentication was given."""
        answer = super().send(request, expect_response)
        return self._noting_lifetime(answer) if isinstance(request, SaslAuthenticateRequest) else answer

    async def _noting_lifetime(self, answer: Awaitable[Any]) -> Any:
        answered = await answer
        lifetime_ms = getattr(answered, "session_lifetime_ms", 0)
        if lifetime_ms > 0:
            self._renew_at = time.monotonic() + lifetime_ms / 1000 * random.uniform(*RENEWAL_SHARES)
            _announce(lifetime_ms / 1000)
        return answered

    def _replace(self) -> None:
        self._replaced = True
        # aiokafka forgets a connection that isn't connected. The timer keeps this one until its requests have ended.
        self._loop.call_later(self._request_timeout, self.close, CloseReason.SHUTDOWN)
        self._loop.call_soon(self._close_if_answered)

    def _close_if_answered(self) -> None:
        if not self._requests:
            self.close(CloseReason.SHUTDOWN)

    def _handle_frame(self, resp: bytes) -> None:
        super()._handle_frame(resp)
        if self._replaced:
            self._close_if_answered()


async def connect(host: str, port: int, **options: Any) -> Connection:
    """Open a connection; the arguments are those of aiokafka's own `create_conn`.

    Raises:
        OSError, TimeoutError, KafkaError: it can't be opened.
    """
    context = options.get("ssl_context")
    if isinstance(context, FileContext):
        with contextlib.suppress(OSError, ssl.SSLError):  # half-written files: those that were read before still serve
            context.refresh()
    connection = Connection(host, port, **options)
    await connection.connect()
    return connection


def install() -> None:
    """Let all clients of aiokafka in this process use `connect`. Further calls change nothing."""
    if aiokafka.client.create_conn is not connect:
        aiokafka.client.create_conn = connect
        logging.getLogger("aiokafka.conn").addFilter(_Once())


class _Once(logging.Filter):
    """Lets a warning through once. aiokafka repeats one about passwords in the clear for each connection."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno != logging.WARNING:
            return True
        seen = record.msg in self._seen
        self._seen.add(str(record.msg))
        return not seen


def _announce(lifetime_seconds: float) -> None:
    if not _announced.is_set():
        _announced.set()
        log.info("Kafka ends sessions; connections are replaced before", session_seconds=round(lifetime_seconds, 1))
