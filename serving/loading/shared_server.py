"""The loading process of a server with several processes: it sends every version in memory to those that answer.

It loads as a server of its own would, but into segments (`serving.memory.shared_segments`). Clients receive the files
of each version's rows, indexes and hints over a Unix socket, and map them. Rows of a version never change, and a
version is sent when it is complete, so a reader needs no lock and can't see a half-written one. A version is held until
every client has released it or is gone: a socket closes with its process, however that ends.

The socket's name is abstract (Linux), so no file remains of it. Only processes of the same user are accepted.

This file decides what clients are sent, and how long their versions are held. Which versions are loaded and which one
answers is decided by `serving.loading.loader`, here as everywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import threading
from concurrent.futures import Future

import structlog

from serving.loading.loader import Loader
from serving.loading.messages import (
    CatchUp,
    Counted,
    Done,
    Failed,
    GetTotals,
    GetVersion,
    Released,
    SendAgain,
    StateMessage,
    ToServer,
    VersionMessage,
    decode_to_server,
    error_name,
    receive,
    send,
)
from serving.loading.served import LoadedVersion
from serving.memory.shared_segments import SharedSegments
from serving.metrics import Metrics, Totals
from stream.models.model import Model
from stream.versions.manifest import canonical_json

log = structlog.get_logger(__name__)

SEND_SECONDS = 5.0
"""Longest time that a client may leave its socket full before it is dropped."""

BACKLOG = 64
"""Most clients that wait to be accepted."""

_PEER = struct.Struct("3i")
"""Linux's `struct ucred`: process, user, group."""


class SnapshotServer:
    """Sends the versions of a loader to every connected `SnapshotClient`.

    Args:
        name: of the socket, abstract (it begins with a zero byte).
        loader: it allocates from `segments` and calls `send_to_all` after each change.
        segments: where the loader's versions lie.
        metrics: what this process counts itself.
    """

    def __init__(self, name: str, loader: Loader, segments: SharedSegments, metrics: Metrics) -> None:
        self._loader = loader
        self._segments = segments
        self._metrics = metrics
        self._totals = Totals()
        self._sent: dict[socket.socket, dict[str, LoadedVersion]] = {}
        """Versions by connection and id that were sent and not released. The references keep their memory."""
        self._lock = threading.RLock()
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listening.bind(name)
        self._listening.listen(BACKLOG)

    def run(self) -> None:
        """Accept clients until the process ends."""
        while True:
            connection, _ = self._listening.accept()
            _, user, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
            if user != os.getuid():
                connection.close()
                continue
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(SEND_SECONDS), 0))
            with self._lock:
                self._sent[connection] = {}
            threading.Thread(target=self._follow, args=(connection,), name="serve a client", daemon=True).start()
            self.send_to_all()

    def send_to_all(self) -> None:
        """Send every client the versions that it lacks, and the loader's state."""
        with self._lock:
            for connection in list(self._sent):
                self._send_to(connection)

    def _send_to(self, connection: socket.socket) -> None:
        loader = self._loader
        served = loader.served
        residents = list(loader.in_memory())
        try:
            for each in residents:
                self._send_version(connection, each)
            send(
                connection,
                StateMessage(
                    served=served.version.id if served else None,
                    resident=[each.version.id for each in residents],
                    ready=loader.ready,
                    problem=loader.problem,
                    problem_since=loader.problem_since,
                    redis_up=loader.redis.up,
                    redis_since=loader.redis.since,
                    redis_reason=loader.redis.reason,
                    stopped=loader.stopped,
                ),
            )
        except OSError:
            self._drop(connection)

    def _send_version(self, connection: socket.socket, loaded: LoadedVersion) -> None:
        """Send a version, unless the client has it."""
        sent = self._sent[connection]
        if loaded.version.id in sent:
            return
        sent[loaded.version.id] = loaded
        model = loaded.model
        segments = [self._segments.segment_of(part) for view in model.views.values() for part in view]
        segments += [self._segments.segment_of(model.hints[name].cells) for name in Model.HINTED]
        message = VersionMessage(
            manifest=canonical_json(loaded.version.manifest).decode(),
            tables={name: len(index) for name, (_, index) in model.views.items()},
            segments=[(segment.number, segment.nbytes) for segment in segments],
        )
        send(connection, message, [segment.file for segment in segments])

    def _follow(self, connection: socket.socket) -> None:
        """Answer one client's messages until it is gone."""
        while True:
            try:
                received = receive(connection, decode_to_server)
            except OSError:
                received = None
            if received is None:
                with self._lock:  # nothing is sent meanwhile
                    self._drop(connection)
                    connection.close()
                return
            self._answer(connection, received[0])

    def _answer(self, connection: socket.socket, message: ToServer) -> None:
        match message:
            case Released(version_id):
                with self._lock:
                    self._sent.get(connection, {}).pop(version_id, None)
            case SendAgain(version_id):
                with self._lock:
                    if connection in self._sent:
                        self._sent[connection].pop(version_id, None)
                        self._send_to(connection)
            case Counted(process, samples):
                self._totals.put(process, samples)
            case GetTotals(number):
                self._totals.put(0, self._metrics.samples())
                self._reply(connection, Done(number, samples=self._totals.samples()))
            case CatchUp(number):

                def reply(_: Future[None]) -> None:
                    self._reply(connection, Done(number))

                self._loader.submit_check().add_done_callback(reply)
            case GetVersion(number, name):
                # The version may have to be loaded first, which must not hold up the client's other messages.
                threading.Thread(target=self._load, args=(connection, number, name), daemon=True).start()

    def _load(self, connection: socket.socket, number: int, name: str) -> None:
        try:
            loaded = asyncio.run(self._loader.answering(name))
        except Exception as error:  # raised again in the client; logged here if its class does not cross
            kind = error_name(error)
            if not kind:
                log.exception("loading a requested version failed", version=name)
            self._reply(connection, Failed(number, kind, str(error)))
            return
        with self._lock, contextlib.suppress(OSError):  # `_reply` drops the client if it is gone
            if loaded is not None and connection in self._sent:
                self._send_version(connection, loaded)
        self._reply(connection, Done(number, version_id=loaded.version.id if loaded else None))

    def _reply(self, connection: socket.socket, message: Done | Failed) -> None:
        with self._lock:
            try:
                if isinstance(message, Done) and connection in self._sent:
                    self._send_to(connection)
                send(connection, message)
            except OSError:
                self._drop(connection)

    def _drop(self, connection: socket.socket) -> None:
        self._sent.pop(connection, None)
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
