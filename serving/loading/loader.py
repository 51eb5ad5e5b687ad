"""From versions in Redis to the model that answers: one thread that loads, one reference that is swapped.

Of a new version only what changed is loaded, into arenas that the versions share; while it loads, the one before
answers. The one before also stays in memory, so that going back to it costs nothing, and so do some that were asked for
by number. What is away or broken never takes the last good version away.

All loading happens in one thread, as jobs in a queue. Another thread listens to announcements and, because an
announcement may be lost, looks by itself after every silence.

This file decides which versions are in memory and which one answers. What "served" means (pinned, else the newest) is
decided by the version store, and how versions share memory by the arena.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import redis.exceptions
import structlog

from serving.loading.shard_memory import ShardMemory, empty_model, model_of
from serving.memory.arena import Views
from serving.memory.pages import Allocate, in_large_pages, private_memory
from serving.metrics import Metrics
from serving.upstream_health import UpstreamHealth
from serving.web.problems import Problem
from stream.models.model import Model
from stream.models.query import Query
from stream.models.settings import ModelSettings
from stream.state.tables import CorruptDelta
from stream.versions import ShardState, UnknownVersion, Version, VersionError, VersionStore, settings_of

log = structlog.get_logger(__name__)

T = TypeVar("T")

RETRY_SECONDS = 0.5
"""TcpProxy two attempts to hear announcements while Redis is away."""

CAUGHT_UP_SECONDS = 10.0
"""How long a rollback waits for this server to follow it before it answers anyway."""

STOP_SECONDS = 10.0

OLDER_VERSIONS = 20
"""How many versions a starting server tries when the one to be served can't be read."""

UNREADABLE = (VersionError, CorruptDelta, ValueError)
"""What a broken version raises; ValueError comes from settings that this release doesn't know."""


@dataclass(frozen=True)
class LoadedVersion:
    """One version in memory, as requests use it."""

    version: Version
    model: Model
    views: dict[int, Views]
    """By shard. They keep the version's rows in the arena."""


class Loader:
    """Keeps the served version in memory, and a few more.

    Args:
        store: of versions.
        redis: where it is told how Redis is doing.
        metrics: of the server.
        visitor_salt: of the model, which manifests don't carry.
        poll_seconds: how often to look when nothing is announced.
        resident_versions: most versions in memory: the served one, the one before, and those asked for.
        allocate: where what requests read lies; memory of this process if None.
    """

    def __init__(
        self,
        store: VersionStore,
        redis: UpstreamHealth,
        metrics: Metrics,
        *,
        visitor_salt: str,
        poll_seconds: float = 1.0,
        resident_versions: int = 6,
        allocate: Allocate | None = None,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.model_name = store.model
        self._visitor_salt = visitor_salt
        self.redis = redis
        self.served: LoadedVersion | None = None
        """What answers. None until something was learned."""
        self.ready = False
        """Whether the store was asked and what it had is loaded."""
        self.problem: str | None = None
        """Why the version that should be served can't be loaded."""
        self.problem_since: float | None = None
        self._store = store
        self._metrics = metrics
        self._allocate = allocate
        self._changed_state = changed
        self._poll_seconds = poll_seconds
        self._most_asked = max(0, resident_versions - 2)
        self._previous: LoadedVersion | None = None
        self._asked: tuple[LoadedVersion, ...] = ()
        self._memories: dict[tuple[int, str, bool], ShardMemory] = {}
        """By shard and settings (as JSON: other capacities are other tables)."""
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._look_pending = threading.Event()
        self._rests_until = 0.0
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    # ---- for requests

    async def answering(self, version: str | None) -> LoadedVersion | None:
        """The served version, or the one of this number, alias or id; loaded if need be.

        Raises:
            Problem: 404 there is no such version, 409 it can't be read, 503 Redis is away.
        """
        if version is None:
            return self.served
        for each in self.in_memory():
            if version in (str(each.version.number), each.version.id):
                return each
        try:
            return await asyncio.wrap_future(self._submit(lambda: self._asked_for(version)))
        except UnknownVersion as error:
            raise Problem(404, str(error), field="version") from None
        except (VersionError, CorruptDelta) as error:
            raise Problem(409, f"version {version!r} can't be loaded: {error}", field="version") from None
        except redis.exceptions.RedisError as error:
            raise Problem(
                503,
                f"Version {version!r} is not in memory, and the store of versions (Redis) does not answer: {error}. "
                "The served version still answers.",
                field="version",
                headers={"Retry-After": "1"},
            ) from None

    async def caught_up(self) -> None:
        """Wait until this server has looked at what is to be served, and has loaded it."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.wrap_future(self.submitted_look()), CAUGHT_UP_SECONDS)

    def submitted_look(self) -> Future[None]:
        """Look at what is to be served, in the loading thread."""
        return self._submit(self.look)

    async def totals(self) -> list[Any] | None:
        """What all processes that share this one's port have counted; None: there are no others."""
        return None

    # ---- starting and stopping

    def start(self) -> None:
        """Start loading, in threads of its own."""
        for name, run in (("load versions", self._work), ("hear announcements", self._listen)):
            thread = threading.Thread(target=run, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    async def stop(self) -> None:
        """Stop loading; what is in memory goes on answering."""
        self._stopping.set()
        self._jobs.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join, STOP_SECONDS)

    # ---- the loading thread

    def look(self) -> None:
        """Load and swap in what is to be served, if that is another version than what is."""
        try:
            wanted = self._store.served()
            self.redis.answered()
            if not self.ready:
                for caution in self._store.redis_problems():
                    log.warning("caution", dependency="redis", caution=caution)
            if wanted is not None and (self.served is None or wanted.id != self.served.version.id):
                self._swap(self._in_memory_or_loaded(wanted))
        except redis.exceptions.RedisError as error:
            self.redis.failed(f"{type(error).__name__}: {error}", time.time())
        except UNREADABLE as error:
            self._troubled(str(error))
            if self.served is None:
                self._serve_an_older_one()
        except Exception as error:  # whatever it is, the last good version must go on answering
            log.exception("loading failed")
            self._troubled(f"{type(error).__name__}: {error}")
        else:
            self.problem, self.problem_since = None, None
            self._is_ready()
        self._changed_state()

    def _serve_an_older_one(self) -> None:
        """At a start there is no last good version yet: the newest that can be read is better than none."""
        try:
            for version in self._store.versions()[:OLDER_VERSIONS]:
                with contextlib.suppress(*UNREADABLE):
                    self._swap(self._in_memory_or_loaded(version))
                    self._is_ready()
                    return
        except redis.exceptions.RedisError as error:
            self.redis.failed(f"{type(error).__name__}: {error}", time.time())

    def _is_ready(self) -> None:
        if not self.ready:
            log.info("ready", version=self.served.version.number if self.served else None)
        self.ready = True

    def _work(self) -> None:
        warm_up(empty_model())  # before the first look, so that a shop's first version answers as soon as it is there
        while (job := self._jobs.get()) is not None:
            job()

    def _listen(self) -> None:
        while not self._stopping.is_set():
            self._look_soon()
            try:
                for _ in self._store.announcements(self._poll_seconds):
                    if self._stopping.is_set():
                        return
                    self._look_soon()
            except redis.exceptions.RedisError as error:
                self.redis.failed(f"{type(error).__name__}: {error}", time.time())
            except Exception:  # a message that nobody of ours has sent must not end the listening
                log.exception("listening to announcements failed")
            self._stopping.wait(RETRY_SECONDS)

    def _look_soon(self) -> None:
        """Many announcements while one version loads are one look afterwards."""
        if time.monotonic() >= self._rests_until and not self._look_pending.is_set():
            self._look_pending.set()
            self._jobs.put(self._look_now)

    def _look_now(self) -> None:
        self._look_pending.clear()
        self.look()

    def _submit(self, work: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()

        def job() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(work())
            except Exception as error:  # told to who asked
                future.set_exception(error)

        self._jobs.put(job)
        return future

    def _swap(self, served: LoadedVersion) -> None:
        before, self.served = self.served, served
        if before is not None and before.version.lineage != served.version.lineage:
            # Numbers may have been given twice: what is in memory can't be asked for by number any more.
            before, self._asked = None, ()
        self._previous = before
        self._forget_unused_memories()
        version = served.version
        self._metrics.served_version.set(version.number)
        self._metrics.served_created_seconds.set(version.created_at)
        self._metrics.resident_versions.set(len(list(self.in_memory())))
        log.debug("serving", version=version.number, id=version.id[:12])

    def _asked_for(self, name: str) -> LoadedVersion:
        version = self._store.version(name)
        self.redis.answered()
        served = self._in_memory_or_loaded(version)
        if served is not self.served and served is not self._previous and self._most_asked:
            others = tuple(each for each in self._asked if each is not served)
            self._asked = (served, *others)[: self._most_asked]
        self._metrics.resident_versions.set(len(list(self.in_memory())))
        return served

    def in_memory(self) -> Iterator[LoadedVersion]:
        """Every version that is held."""
        seen = set()
        for each in (self.served, self._previous, *self._asked):
            if each is not None and id(each) not in seen:
                seen.add(id(each))
                yield each

    def _in_memory_or_loaded(self, version: Version) -> LoadedVersion:
        for each in self.in_memory():
            if each.version.id == version.id:
                return each
        started = time.perf_counter()
        settings = settings_of(version.settings, self._visitor_salt)
        views: dict[int, Views] = {}
        memories: dict[int, ShardMemory] = {}
        how = "changes"
        for partition, state in sorted(version.shards.items()):
            memory = memories[partition] = self._memory(partition, settings, alone=len(version.shards) == 1)
            found = self._changed(partition, settings, state, memory, alone=len(version.shards) == 1)
            if found is None:
                how = "whole"
                like = self._nearest(partition, settings, state, alone=len(version.shards) == 1)
                found = memory.load(partial(self._store.load, partition, state), like)
            views[partition] = found
        model = model_of(settings, views, memories, self._allocate)
        if self.served is None:
            warm_up(model)
        if len(views) > 1:
            # Shards are merged whole, whatever has changed: at most half of the time, or requests would wait for it.
            # A version of several shards is so at most two merges and one `poll_seconds` late.
            self._rests_until = time.monotonic() + time.perf_counter() - started
        self._metrics.loads.labels(how).inc()
        self._metrics.load_seconds.labels(how).observe(time.perf_counter() - started)
        return LoadedVersion(version, model, views)

    def _memory(self, partition: int, settings: ModelSettings, *, alone: bool) -> ShardMemory:
        """Where a shard's versions lie. Of several shards nobody else reads: what answers is made of them here."""
        key = (partition, settings.model_dump_json(), alone)
        if key not in self._memories:
            self._memories[key] = ShardMemory(settings, (self._allocate or in_large_pages) if alone else private_memory)
        return self._memories[key]

    def _changed(
        self, partition: int, settings: ModelSettings, state: ShardState, memory: ShardMemory, *, alone: bool
    ) -> Views | None:
        """A shard's state made from the nearest older one in memory, or None if there is none to make it from."""
        older = [found for found in self._residents(partition, settings, alone=alone) if found[0].seq <= state.seq]
        if not older:
            return None
        base, views = max(older, key=lambda found: found[0].seq)
        changes = self._store.changes(partition, base, state)
        return None if changes is None else memory.apply(views, changes)

    def _nearest(self, partition: int, settings: ModelSettings, state: ShardState, *, alone: bool) -> Views | None:
        """The version in memory that a shard's state is likely to have most in common with."""
        found = self._residents(partition, settings, alone=alone)
        return min(found, key=lambda found: abs(found[0].seq - state.seq))[1] if found else None

    def _residents(self, partition: int, settings: ModelSettings, *, alone: bool) -> list[tuple[ShardState, Views]]:
        """A shard's states in memory, of versions with the same settings."""
        return [
            (each.version.shards[partition], each.views[partition])
            for each in self.in_memory()
            if each.model.settings == settings and (len(each.views) == 1) == alone and partition in each.version.shards
        ]

    def _forget_unused_memories(self) -> None:
        used = {
            (partition, each.model.settings.model_dump_json(), len(each.views) == 1)
            for each in self.in_memory()
            for partition in each.views
        }
        self._memories = {key: memory for key, memory in self._memories.items() if key in used}

    def _troubled(self, problem: str) -> None:
        if self.problem != problem:
            log.warning("the version to be served can't be loaded", problem=problem)
        if self.problem is None:
            self.problem_since = time.time()
        self.problem = problem


def warm_up(model: Model) -> None:
    """Ask each kind of question once, so that no visitor waits while kernels are compiled or read from disk."""
    popular = model.popular(5).items
    model.popular(5, half_life="2h")
    model.recommend(Query(user="nobody", session="nothing", recent=popular, exclude_seen=True))
    model.recommend(Query(user="nobody", candidates=popular))
    for item in popular[:1]:
        model.similar(item, 5)
