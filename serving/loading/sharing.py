"""Server processes of one machine answer from one copy of the rows.

One process loads versions, as a server of its own would, but into segments (`serving.memory.shared_segments`); the others are told
over a Unix socket where each version's rows, indexes and hints lie, and map them. Rows of a version never change and a
version is told of when it is complete, so a reader needs no lock and can't see a half-written one. The loading process
keeps a version for as long as somebody has not said that they have let go of it, or has gone: a socket closes with its
process, however that ends. If the loading process goes, readers keep what they have mapped, go on answering, say that
they are degraded, and turn to its successor.

The socket's name is abstract (Linux): there is no file of it either. Only processes of the same user are listened to.

This file decides what the processes say to each other. Which versions are loaded and which one answers is decided by
`serving.loading.loader`, here as everywhere.
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
import weakref
from concurrent.futures import Future
from typing import Any

import msgspec
import numpy as np
import structlog

from serving.loading.loader import CAUGHT_UP_SECONDS, STOP_SECONDS, LoadedVersion, Loader, warm_up
from serving.loading.shard_memory import empty_model
from serving.memory.arena import Views
from serving.memory.shared_segments import Bytes, Segments, mapped
from serving.metrics import Metrics, Totals
from serving.upstream_health import UpstreamHealth
from serving.web.problems import Problem
from stream.models.kernels.key_hints import KeyHints
from stream.models.model import Model
from stream.models.schema import table_specs
from stream.versions import Version, VersionStore, settings_of
from stream.versions.manifest import canonical_json, read_manifest

log = structlog.get_logger(__name__)

MOST_FILES = 250
"""Of one message (Linux takes 253)."""
MESSAGE_BYTES = 65_536
SEND_SECONDS = 5.0
"""How long a reader may be deaf before it is dropped."""
COUNT_SECONDS = 0.5
"""TcpProxy two times that a reader tells what it has counted."""
ASKED = 3
"""How often a version is asked for before it counts as lost on the way."""
AWAY_SECONDS = 0.1
"""TcpProxy two attempts to find the loading process."""


def send(connection: socket.socket, message: dict[str, Any], files: list[int] | None = None) -> None:
    """One message and open files. What it says travels in a file too, because datagrams are short."""
    said = msgspec.json.encode(message)
    document = os.memfd_create("corrente-message", os.MFD_CLOEXEC)
    try:
        os.write(document, said)
        socket.send_fds(connection, [struct.pack("<q", len(said))], [document, *(files or [])])
    finally:
        os.close(document)


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The next message, or None when the other side has gone. The files are the receiver's to close."""
    head, files, _, _ = socket.recv_fds(connection, 8, MOST_FILES + 1)
    if len(head) < struct.calcsize("<q"):
        return None
    document, *others = files
    try:
        (size,) = struct.unpack("<q", head)
        return msgspec.json.decode(os.pread(document, size, 0)), others
    finally:
        os.close(document)


class SnapshotServer:
    """In the loading process: tells every connected reader what is in memory."""

    def __init__(self, name: str, loader: Loader, segments: Segments, metrics: Metrics) -> None:
        self._loader = loader
        self._segments = segments
        self._metrics = metrics
        self._totals = Totals()
        self._readers: dict[socket.socket, dict[str, LoadedVersion]] = {}
        """By connection: what its process was told of and has not let go of."""
        self._lock = threading.RLock()
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listening.bind(name)
        self._listening.listen(64)

    def run(self) -> None:
        """Take connections until the process ends."""
        while True:
            connection, _ = self._listening.accept()
            peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            if struct.unpack("3i", peer)[1] != os.getuid():
                connection.close()
                continue
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(SEND_SECONDS), 0))
            with self._lock:
                self._readers[connection] = {}
            threading.Thread(target=self._hear, args=(connection,), daemon=True).start()
            self.tell_all()

    def tell_all(self) -> None:
        """Tell every reader what it does not know yet."""
        with self._lock:
            for connection in list(self._readers):
                self._tell(connection)

    def _tell(self, connection: socket.socket) -> None:
        loader = self._loader
        served = loader.served
        resident = list(loader.in_memory())
        known = self._readers[connection]
        try:
            for each in resident:
                if each.version.id not in known:
                    known[each.version.id] = each
                    send(connection, *self._described(each))
            send(
                connection,
                {
                    "kind": "state",
                    "served": served.version.id if served else None,
                    "resident": [each.version.id for each in resident],
                    "ready": loader.ready,
                    "problem": loader.problem,
                    "problem_since": loader.problem_since,
                    "redis": [loader.redis.up, loader.redis.since, loader.redis.reason],
                },
            )
        except OSError:
            self._drop(connection)

    def _described(self, served: LoadedVersion) -> tuple[dict[str, Any], list[int]]:
        """Where a version lies: its segments by number and bytes, and their files in the same order."""
        model = served.model
        found = [self._segments.of(part) for name in model.views for part in model.views[name]]
        found += [self._segments.of(model.hints[name].cells) for name in Model.HINTED]
        message = {
            "kind": "version",
            "manifest": canonical_json(served.version.manifest).decode(),
            "tables": {name: len(index) for name, (_, index) in model.views.items()},
            "segments": [(segment.number, segment.nbytes) for segment in found],
        }
        return message, [segment.file for segment in found]

    def _hear(self, connection: socket.socket) -> None:
        while True:
            try:
                received = receive(connection)
            except OSError:
                received = None
            if received is None:
                with self._lock:
                    self._drop(connection)
                return
            self._answer(connection, received[0])

    def _answer(self, connection: socket.socket, message: dict[str, Any]) -> None:
        match message["kind"]:
            case "released":
                with self._lock:
                    self._readers.get(connection, {}).pop(message["id"], None)
            case "again":
                with self._lock:
                    if connection in self._readers:
                        self._readers[connection].pop(message["id"], None)
                        self._tell(connection)
            case "counted":
                self._totals.put(message["process"], message["samples"])
            case "totals":
                self._totals.put(0, self._metrics.samples())
                self._reply(connection, {**message, "kind": "done", "samples": self._totals.samples()})
            case "look":
                self._loader.submitted_look().add_done_callback(
                    lambda _: self._reply(connection, {**message, "kind": "done"})
                )
            case "ask":
                threading.Thread(target=self._ask, args=(connection, message), daemon=True).start()

    def _ask(self, connection: socket.socket, message: dict[str, Any]) -> None:
        try:
            served = asyncio.run(self._loader.answering(message["name"]))
        except Problem as problem:
            details = msgspec.to_builtins(problem.details)
            reply = {"kind": "failed", "status": details["status"], "detail": details["detail"]}
            self._reply(connection, {**message, **reply, "headers": dict(problem.headers or {})})
            return
        with self._lock, contextlib.suppress(OSError):
            known = self._readers.get(connection)
            if known is not None and served is not None and served.version.id not in known:
                known[served.version.id] = served
                send(connection, *self._described(served))
        self._reply(connection, {**message, "kind": "done", "id": served.version.id if served else None})

    def _reply(self, connection: socket.socket, message: dict[str, Any]) -> None:
        with self._lock:
            try:
                if message["kind"] == "done" and connection in self._readers:
                    self._tell(connection)
                send(connection, message)
            except OSError:
                self._drop(connection)

    def _drop(self, connection: socket.socket) -> None:
        self._readers.pop(connection, None)
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


class SnapshotClient(Loader):
    """In a serving process: what the loading process has in memory, as requests use it."""

    def __init__(
        self, name: str, store: VersionStore, redis: UpstreamHealth, metrics: Metrics, *, visitor_salt: str
    ) -> None:
        super().__init__(store, redis, metrics, visitor_salt=visitor_salt)
        self._name = name
        self._connection: socket.socket | None = None
        self._known: dict[str, LoadedVersion] = {}
        self._mapped: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
        self._waiting: dict[int, Future[dict[str, Any]]] = {}
        self._numbers = itertools.count(1)

    # ---- for requests

    async def answering(self, version: str | None) -> LoadedVersion | None:
        if version is None:
            return self.served
        for each in list(self._known.values()):
            if version in (str(each.version.number), each.version.id):
                return each
        for _ in range(ASKED):
            told = await self._said({"kind": "ask", "name": version})
            if told is None:
                break
            if told["kind"] == "failed":
                raise Problem(told["status"], told["detail"], field="version", headers=told["headers"])
            if told["id"] is None or told["id"] in self._known:
                return self._known.get(told["id"])
            # It was let go of here while the other side thought it was held; now that is known there, too.
        raise Problem(
            503,
            "The process that loads versions is away; it is being started again.",
            field="version",
            headers={"Retry-After": "1"},
        )

    async def caught_up(self) -> None:
        await self._said({"kind": "look"})

    async def totals(self) -> list[Any] | None:
        """What all processes have counted, or None while the loading process is away."""
        self._count()
        told = await self._said({"kind": "totals"})
        return told["samples"] if told else None

    async def _said(self, message: dict[str, Any]) -> dict[str, Any] | None:
        number = next(self._numbers)
        future = self._waiting[number] = Future()
        try:
            if self._connection is None:
                return None
            send(self._connection, {**message, "number": number})
            return await asyncio.wait_for(asyncio.wrap_future(future), CAUGHT_UP_SECONDS)
        except (OSError, TimeoutError):
            return None
        finally:
            self._waiting.pop(number, None)

    # ---- starting and stopping

    def start(self) -> None:
        for name, run in (("hear of versions", self._run), ("tell counts", self._keep_counting)):
            thread = threading.Thread(target=run, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    async def stop(self) -> None:
        self._stopping.set()
        if self._connection is not None:
            self._count()
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            await asyncio.to_thread(thread.join, STOP_SECONDS)

    # ---- the thread that hears

    def _run(self) -> None:
        warm_up(empty_model())
        while not self._stopping.is_set():
            try:
                with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
                    connection.connect(self._name)
                    self._connection = connection
                    self._hear(connection)
            except OSError:
                pass  # told in the health, and tried again
            except Exception:  # whatever it is, the last good version must go on answering
                log.exception("hearing of versions failed")
            if self._connection is not None:
                self._connection = None
                self._is_alone()
            self._stopping.wait(AWAY_SECONDS)

    def _is_alone(self) -> None:
        for future in list(self._waiting.values()):
            with contextlib.suppress(Exception):  # somebody else was quicker
                future.set_exception(OSError("the loading process has gone"))
        if not self._stopping.is_set():
            self.problem, self.problem_since = "the process that loads versions is away", time.time()

    def _hear(self, connection: socket.socket) -> None:
        while not self._stopping.is_set():
            received = receive(connection)
            if received is None:
                return
            message, files = received
            match message["kind"]:
                case "version":
                    served = self._made(message, files)
                    self._known[served.version.id] = served
                    weakref.finalize(served.model, self._released, connection, served.version.id).atexit = False
                case "state":
                    self._follow(message)
                case _:
                    future = self._waiting.get(message["number"])
                    if future is not None and not future.done():
                        future.set_result(message)

    def _made(self, message: dict[str, Any], files: list[int]) -> LoadedVersion:
        """A version from its segments. A segment that is mapped already is not mapped again."""
        parts: list[Bytes] = []
        for (number, nbytes), file in zip(message["segments"], files, strict=True):
            known = self._mapped.get(number)
            if known is None:
                known = self._mapped[number] = mapped(file, nbytes)
            else:
                os.close(file)
            parts.append(known)
        version: Version = read_manifest(message["manifest"].encode())
        settings = settings_of(version.settings, self._visitor_salt)
        specs = {spec.name: spec for spec in table_specs(settings)}
        views: Views = {}
        for place, (name, rows) in enumerate(message["tables"].items()):
            kind, shape = specs[name].dtype.subdtype or (specs[name].dtype, ())
            count = parts[2 * place].nbytes // specs[name].row_bytes
            data = parts[2 * place][: count * specs[name].row_bytes].view(kind).reshape(count, *shape)
            views[name] = (data, parts[2 * place + 1].view(np.int32)[:rows])
        cells = parts[2 * len(views) :]
        hints = {name: KeyHints.of_cells(part.view(np.uint64)) for name, part in zip(Model.HINTED, cells, strict=True)}
        model = Model(settings, views, hints=hints)
        if self.served is None:
            warm_up(model)
        return LoadedVersion(version, model, {})

    def _follow(self, state: dict[str, Any]) -> None:
        up, since, reason = state["redis"]
        if up:
            self.redis.answered()
        else:
            self.redis.failed(reason, since or time.time())
        self.problem, self.problem_since = state["problem"], state["problem_since"]
        if state["served"] is not None:
            served = self._known.get(state["served"])
            if served is None:  # let go of here while the other side thought it was held
                assert self._connection is not None
                send(self._connection, {"kind": "again", "id": state["served"]})
            elif served is not self.served:
                self.served = served
                self._metrics.served_version.set(served.version.number)
                self._metrics.served_created_seconds.set(served.version.created_at)
        for gone in set(self._known) - set(state["resident"]):
            del self._known[gone]
        self._metrics.resident_versions.set(len(self._known))
        self.ready = self.ready or state["ready"]

    def _released(self, connection: socket.socket, version_id: str) -> None:
        with contextlib.suppress(OSError):
            send(connection, {"kind": "released", "id": version_id})

    def _keep_counting(self) -> None:
        while not self._stopping.wait(COUNT_SECONDS):
            self._count()

    def _count(self) -> None:
        connection = self._connection
        if connection is not None:
            with contextlib.suppress(OSError):
                send(connection, {"kind": "counted", "process": os.getpid(), "samples": self._metrics.samples()})


__all__ = ["SnapshotClient", "SnapshotServer"]
