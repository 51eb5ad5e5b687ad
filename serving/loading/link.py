"""The connection of a process that answers to the one that loads versions for it.

The loading process takes the end of a connection for the end of every reader of what it has sent over it. So a
connection stays open here as long as a version that came over it is in use, also if nothing is read from it any more.

This file decides when a version is released, and when a connection to the loading process is closed.
"""

from __future__ import annotations

import contextlib
import socket
import weakref
from typing import Any

from serving.loading.messages import Released
from serving.loading.outbox import Outbox


class Link:
    """One connection, and what was mapped from it.

    Attributes:
        connection: to read from.
        outbox: of messages to the loading process.
        mapped: segments that some version here still uses, by number. Another process numbers its own.

    Args:
        connection: connected to the loading process.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.outbox = Outbox(connection, "send to the loading process")
        self.mapped: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
        self._leases: set[int] = set()
        self._retired = False

    def hold(self, reader: object, lease: int) -> None:
        """Release what was sent under a lease once an object that reads it is collected."""
        self._leases.add(lease)
        weakref.finalize(reader, self._release, lease).atexit = False

    def retire(self) -> None:
        """Close the connection as soon as nothing that came over it is in use."""
        self._retired = True
        self._close_if_unused()

    def hang_up(self) -> None:
        """End reading and sending at once, because this process ends."""
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _release(self, lease: int) -> None:
        # A finalizer runs in any thread at any moment: it takes no lock, and sends nothing itself.
        self.outbox.put(Released(lease))
        self._leases.discard(lease)
        self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self._retired and not self._leases:
            self.outbox.close()
            self.hang_up()
            self.connection.close()
