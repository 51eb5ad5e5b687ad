"""Versions mapped from the loading process, in a process that answers.

If the loading process is gone, this one keeps its mapped versions, continues to answer from them, reports that it is
degraded, and connects to the successor.

This file decides when a version is mapped and served, and what happens while the loading process is away. Its release
is decided by `serving.loading.link`, the messages by `serving.loading.messages`; the other side is
`serving.loading.shared_server`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
import threading
import time
from collections import deque
from collections.abc import MutableMapping
from concurrent.futures import Future
from typing import Any

import numpy as np
import structlog

from serving.loading.link import Link
from serving.loading.messages import (
    CatchUp,
    Counted,
    Done,
    Failed,
    GetTotals,
    GetVersion,
    SendAgain,
    StateMessage,
    Taken,
    VersionMessage,
    decode_to_client,
    receive,
    restored_error,
)
from serving.loading.served import CAUGHT_UP_SECONDS, STOP_SECONDS, LoadedVersion, LoaderAway, VersionSource
from serving.loading.warm_up import empty_model, warm_up
from serving.memory.arena import Views
from serving.memory.shared_segments import Bytes, map_segment
from serving.metrics import Metrics
from serving.upstream_health import UpstreamHealth
from stream.models.kernels.key_hints import KeyHints
from stream.models.model import Model
from stream.models.schema import table_specs
from stream.versions import VersionStore, settings_of
from stream.versions.manifest import read_manifest

log = structlog.get_logger(__name__)

COUNT_SECONDS = 0.5
"""Interval at which the loading process is sent what this one has counted."""

REQUESTS = 3
"""Most requests for one version. The loading process skips a version that it believes is still mapped here, so one that
was just released has to be requested again."""

LAST_COUNT_SECONDS = 1.0
"""Longest time that a stopping process waits until its last counts are sent."""

AWAY_SECONDS = 0.1
"""Pause between two attempts to connect to the loading process."""

Request = GetVersion | CatchUp | GetTotals
Reply = Done | Failed


class SnapshotClient(VersionSource):
    """Versions that the loading process has in memory, mapped into this process.

    Args:
        name: of the loading process's socket.
        store: only its model's name is read; the loading process asks the store.
        redis: state of the loading process's connection to the store.
        metrics: of this process.
        visitor_salt: of the model, which manifests don't carry.
    """

    def __init__(
        self, name: str, store: VersionStore, redis: UpstreamHealth, metrics: Metrics, *, visitor_salt: str
    ) -> None:
        super().__init__(store.model, redis)
        self._visitor_salt = visitor_salt
        self._metrics = metrics
        self._name = name
        self._link: Link | None = None
        self._known: dict[str, LoadedVersion] = {}
        """Versions that the loading process has in memory, by id."""
        self._waiting: dict[int, Future[Reply]] = {}
        """Requests without a reply, by number."""
        self._numbers = itertools.count(1)
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    # ---- for requests

    def in_memory(self) -> list[LoadedVersion]:
        return list(self._known.values())

    async def answering(self, version: str | None) -> LoadedVersion | None:
        if version is None:
            return self.served
        if held := self.held(version):
            return held
        for _ in range(REQUESTS):
            reply = await self._request(GetVersion(next(self._numbers), version))
            if reply is None:
                break
            if isinstance(reply, Failed):
                raise restored_error(reply)
            if reply.version_id is None or reply.version_id in self._known:
                return self._known.get(reply.version_id or "")
            # Released here while the other side believed it was mapped; it has read the release by now.
        raise LoaderAway("the process that loads versions does not answer")

    async def caught_up(self, begun: int | None = None) -> None:  # noqa: ARG002  checks begin in another process
        await self._request(CatchUp(next(self._numbers)))

    async def totals(self) -> list[Any] | None:
        self._send_counts()
        reply = await self._request(GetTotals(next(self._numbers)))
        return reply.samples if isinstance(reply, Done) else None

    async def _request(self, request: Request) -> Reply | None:
        """The reply to a request; None if the loading process is away or takes too long."""
        link = self._link
        if link is None:
            return None
        future = self._waiting[request.number] = Future()
        try:
            link.outbox.put(request)
            async with asyncio.timeout(CAUGHT_UP_SECONDS):
                return await asyncio.wrap_future(future)
        except (OSError, TimeoutError):
            return None
        finally:
            self._waiting.pop(request.number, None)

    # ---- starting and stopping

    def start(self) -> None:
        for name, run in (("map versions", self._run), ("send counts", self._keep_sending_counts)):
            thread = threading.Thread(target=run, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    async def stop(self) -> None:
        self._stopping.set()
        link = self._link  # the other thread may set it to None at any moment
        if link is not None:
            self._send_counts()
            await asyncio.to_thread(link.outbox.wait_until_sent, LAST_COUNT_SECONDS)
            link.hang_up()
        for thread in self._threads:
            await asyncio.to_thread(thread.join, STOP_SECONDS)

    # ---- the thread that maps versions

    def _run(self) -> None:
        warm_up(empty_model())
        while not self._stopping.is_set():
            try:
                self._link = self._connect()
                self._follow(self._link)
            except OSError:
                pass  # health shows it, and the next attempt follows
            except Exception:  # an unforeseen error is logged; the last good version continues to answer
                log.exception("following the process that loads versions failed")
            if self._link is not None:
                self._link.retire()
                self._link = None
                self._note_away()
            self._stopping.wait(AWAY_SECONDS)

    def _connect(self) -> Link:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            connection.connect(self._name)
        except OSError:
            connection.close()
            raise
        return Link(connection)

    def _note_away(self) -> None:
        """End the requests that wait for the process that has gone, and report the problem."""
        for future in list(self._waiting.values()):
            with contextlib.suppress(Exception):  # it was answered or cancelled a moment ago
                future.set_exception(OSError("the process that loads versions has ended"))
        if not self._stopping.is_set():
            self.problem, self.problem_since = "the process that loads versions is away", time.time()

    def _follow(self, link: Link) -> None:
        """Take messages until the loading process is gone."""
        while not self._stopping.is_set():
            received = receive(link.connection, decode_to_client)
            if received is None:
                return
            message, files = received
            match message:
                case VersionMessage():
                    loaded = self._map(message, files, link.mapped)
                    link.hold(loaded.model, message.lease)
                    self._known[loaded.version.id] = loaded
                case StateMessage():
                    self._take_state(link, message)
                    link.outbox.put(Taken())
                case Done() | Failed():
                    future = self._waiting.get(message.number)
                    if future is not None and not future.done():
                        future.set_result(message)

    def _map(self, message: VersionMessage, files: list[int], mapped: MutableMapping[int, Any]) -> LoadedVersion:
        """A version from its segments. A segment that is mapped already is not mapped again."""
        parts: list[Bytes] = []
        unread = deque(files)
        try:
            for number, nbytes in message.segments:
                file = unread.popleft()
                known = mapped.get(number)
                if known is None:
                    known = mapped[number] = map_segment(file, nbytes)
                else:
                    os.close(file)
                parts.append(known)
        finally:
            for file in unread:
                os.close(file)
        version = read_manifest(message.manifest.encode())
        settings = settings_of(version.settings, self._visitor_salt)
        specs = {spec.name: spec for spec in table_specs(settings)}
        views: Views = {}
        for place, (name, rows) in enumerate(message.tables.items()):
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

    def _take_state(self, link: Link, state: StateMessage) -> None:
        if state.redis_up:
            self.redis.answered()
        else:
            self.redis.failed(state.redis_reason, state.redis_since or time.time())
        self.problem, self.problem_since = state.problem, state.problem_since
        self.note_stopped(state.stopped, self._metrics)
        if state.served is not None:
            served = self._known.get(state.served)
            if served is None:  # released here while the other side believed it was mapped
                link.outbox.put(SendAgain(state.served))
            elif served is not self.served:
                self.prepare(served)
                self.served = served
                self._metrics.served_version.set(served.version.number)
                self._metrics.served_created_seconds.set(served.version.created_at)
        for gone in set(self._known) - set(state.resident):
            del self._known[gone]
        self._metrics.resident_versions.set(len(self._known))
        self.ready = self.ready or state.ready

    def _keep_sending_counts(self) -> None:
        while not self._stopping.wait(COUNT_SECONDS):
            self._send_counts()

    def _send_counts(self) -> None:
        link = self._link
        if (
            link is not None and link.outbox.is_empty
        ):  # the loading process may be paused; counts are sums, so the next will do
            link.outbox.put(Counted(os.getpid(), self._metrics.samples()))
