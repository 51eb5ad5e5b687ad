"""Messages to another process, sent in order by a thread of their own.

A send to a process that is paused waits once its socket is full, for as long as the pause lasts. So no thread that has
anything else to do sends: neither the one that loads versions nor an event loop.

This file decides which thread waits for a process that doesn't read, and when sending is tried again or given up.
"""

from __future__ import annotations

import errno
import queue
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any

import structlog

from serving.loading.messages import Message, send

log = structlog.get_logger(__name__)

RETRY_SECONDS = 0.1
"""Pause before a message is sent again that the kernel had no room for, such as for its open files."""

_GONE = {errno.EPIPE, errno.ECONNRESET, errno.EBADF, errno.ENOTCONN, errno.ESHUTDOWN, errno.ECONNABORTED}


class Outbox:
    """Messages that wait to be sent over a connection. Putting never waits, and may happen in a finalizer.

    Args:
        connection: to send over; closing it is left to its owner.
        name: of the thread.
    """

    def __init__(self, connection: socket.socket, name: str) -> None:
        self._connection = connection
        self._queue: queue.SimpleQueue[tuple[Message, Sequence[int], Any] | threading.Event | None] = (
            queue.SimpleQueue()
        )
        threading.Thread(target=self._work, name=name, daemon=True).start()

    @property
    def is_empty(self) -> bool:
        """True if no message waits; one may be on its way."""
        return self._queue.empty()

    def put(self, message: Message, files: Sequence[int] = (), keep: Any = None) -> None:
        """Send a message after those that wait.

        Args:
            message: to be sent.
            files: open files to be sent with it.
            keep: object that owns the files; it is held until they are sent.
        """
        self._queue.put((message, files, keep))

    def wait_until_sent(self, seconds: float) -> None:
        """Wait until every message that waits now is sent, but at most so many seconds."""
        sent = threading.Event()
        self._queue.put(sent)
        sent.wait(seconds)

    def close(self) -> None:
        """End the thread after the messages that wait, or at once if the connection is shut down."""
        self._queue.put(None)

    def _work(self) -> None:
        while self._send_next():
            pass

    def _send_next(self) -> bool:
        """Send the next message; return False after the last one. Nothing of a message outlives this call."""
        item = self._queue.get()
        if item is None:
            return False
        if isinstance(item, threading.Event):
            item.set()
            return True
        message, files, _keep = item
        complained = False
        while True:
            try:
                send(self._connection, message, files)
            except OSError as error:
                if error.errno in _GONE:  # the reader of the connection notices it too
                    return False
                if not complained:
                    complained = True
                    log.warning(
                        "a message to another process has to wait", kind=type(message).__name__, error=str(error)
                    )
                time.sleep(RETRY_SECONDS)
            else:
                return True
