"""The loading process of a server with several processes: it sends every version in memory to those that answer.

It loads as a server of its own would, but into segments (`serving.memory.shared_segments`). Clients receive the files
of each version's rows, indexes and hints over a Unix socket, and map them. Rows of a version never change, and a
version is sent when it is complete, so a reader needs no lock and can't see a half-written one. A version is held until
every client has released it or is gone: a socket closes with its process, however that ends.

A client may be paused at any moment, for any time. Its versions are held all the while, and no other client waits for
it: it is sent the next state only once it has taken the last one, and then the newest.

The socket's name is abstract (Linux), so no file remains of it. Only processes of the same user are accepted.

This file decides what clients are sent, and how long their versions are held. Which versions are loaded and which one
answers is decided by `serving.loading.loader`, here as everywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
import struct
import threading
import time
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
    Taken,
    ToServer,
    VersionMessage,
    decode_to_server,
    error_name,
    receive,
)
from serving.loading.outbox import Outbox
from serving.loading.served import LoadedVersion
from serving.memory.shared_segments import SharedSegments
from serving.metrics import Metrics, Totals
from stream.models.model import Model
from stream.versions.manifest import canonical_json

log = structlog.get_logger(__name__)

SILENT_SECONDS = 10.0
"""Time after which a client that doesn't take what it was sent is logged."""

BACKLOG = 64
"""Most clients that wait to be accepted."""

_PEER = struct.Struct("3i")
"""Linux's `struct ucred`: process, user, group."""

Reply = Done | Failed


class _Client:
    """A process that answers, as this one knows it.

    Attributes:
        outbox: of messages to it.
        leases: versions that it may read, by the number under which they were sent. The references keep their memory.
        known: lease by id of the versions that it has been sent and not released.
        waits_since: moment (monotonic) of the state that it has not taken yet; None if it has taken the last one.
        stale: True if the loader's state has changed since.
        replies: to be sent with the next state, each with the version that it is about.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.outbox = Outbox(connection, "send to a client")
        self.leases: dict[int, LoadedVersion] = {}
        self.known: dict[str, int] = {}
        self.waits_since: float | None = None
        self.stale = False
        self.silent = False
        self.replies: list[tuple[LoadedVersion | None, Reply]] = []


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
        self._clients: dict[socket.socket, _Client] = {}
        self._leases = itertools.count(1)
        self._lock = threading.RLock()
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listening.bind(name)
        self._listening.listen(BACKLOG)

    def run(self) -> None:
        """Accept clients until the process ends."""
        while True:
            self._add(self._listening.accept()[0])

    def _add(self, connection: socket.socket) -> None:
        _, user, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        if user != os.getuid():
            connection.close()
            return
        client = _Client(connection)
        with self._lock:
            self._clients[connection] = client
            self._send_state(client)
        threading.Thread(target=self._follow, args=(connection, client), name="serve a client", daemon=True).start()

    def send_to_all(self) -> None:
        """Send every client the versions that it lacks, and the loader's state, once it takes them."""
        with self._lock:
            for client in self._clients.values():
                self._send_state(client)

    def _send_state(self, client: _Client, *replies: tuple[LoadedVersion | None, Reply]) -> None:
        """Send versions, state and replies to one client, now or once it has taken the last state.

        The caller holds the lock. Nothing here waits for the client.
        """
        client.replies += replies
        client.stale = True
        if client.waits_since is not None:
            self._note_silence(client, time.monotonic() - client.waits_since)
            return
        client.stale, client.waits_since = False, time.monotonic()
        loader = self._loader
        served = loader.served
        residents = list(loader.in_memory())
        for each in residents:
            self._send_version(client, each)
        client.outbox.put(
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
            )
        )
        for loaded, reply in client.replies:
            if loaded is not None:
                self._send_version(client, loaded)
            client.outbox.put(reply)
        client.replies.clear()

    def _send_version(self, client: _Client, loaded: LoadedVersion) -> None:
        """Send a version, unless the client has it."""
        if loaded.version.id in client.known:
            return
        lease = client.known[loaded.version.id] = next(self._leases)
        client.leases[lease] = loaded
        model = loaded.model
        arrays = [part for view in model.views.values() for part in view]
        arrays += [model.hints[name].cells for name in Model.HINTED]  # others may take their place before they are sent
        segments = [self._segments.segment_of(array) for array in arrays]
        message = VersionMessage(
            lease=lease,
            manifest=canonical_json(loaded.version.manifest).decode(),
            tables={name: len(index) for name, (_, index) in model.views.items()},
            segments=[(segment.number, segment.nbytes) for segment in segments],
        )
        client.outbox.put(message, [segment.file for segment in segments], keep=(loaded, arrays))

    def _note_silence(self, client: _Client, seconds: float) -> None:
        if not client.silent and seconds >= SILENT_SECONDS:
            client.silent = True
            log.warning(
                "a server process takes no versions; it may be paused, and keeps its memory", seconds=round(seconds)
            )

    def _follow(self, connection: socket.socket, client: _Client) -> None:
        """Answer one client's messages until it is gone."""
        while True:
            try:
                received = receive(connection, decode_to_server)
            except OSError:
                received = None
            if received is None:
                with self._lock:  # nothing is put into its outbox from here on
                    del self._clients[connection]
                client.outbox.close()
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)  # ends a send that waits
                connection.close()
                return
            self._answer(client, received[0])

    def _answer(self, client: _Client, message: ToServer) -> None:
        match message:
            case Taken():
                with self._lock:
                    client.waits_since, client.silent = None, False
                    if client.stale:
                        self._send_state(client)
            case Released(lease):
                with self._lock:
                    released = client.leases.pop(lease, None)
                    if released is not None and client.known.get(released.version.id) == lease:
                        del client.known[released.version.id]
            case SendAgain(version_id):
                with self._lock:
                    client.known.pop(version_id, None)
                    self._send_state(client)
            case Counted(process, samples):
                self._totals.put(process, samples)
            case GetTotals(number):
                self._totals.put(0, self._metrics.samples())
                self._reply(client, Done(number, samples=self._totals.samples()))
            case CatchUp(number):

                def reply(_: Future[None]) -> None:
                    self._reply(client, Done(number))

                self._loader.submit_check().add_done_callback(reply)
            case GetVersion(number, name):
                # The version may have to be loaded first, which must not hold up the client's other messages.
                threading.Thread(target=self._load, args=(client, number, name), daemon=True).start()

    def _load(self, client: _Client, number: int, name: str) -> None:
        try:
            loaded = asyncio.run(self._loader.answering(name))
        except Exception as error:  # raised again in the client; logged here if its class does not cross
            kind = error_name(error)
            if not kind:
                log.exception("loading a requested version failed", version=name)
            self._reply(client, Failed(number, kind, str(error)))
            return
        self._reply(client, Done(number, version_id=loaded.version.id if loaded else None), loaded)

    def _reply(self, client: _Client, message: Reply, loaded: LoadedVersion | None = None) -> None:
        with self._lock:
            self._send_state(client, (loaded, message))
