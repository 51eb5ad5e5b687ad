"""From versions in Redis to the model that answers: one thread that loads, one reference that is swapped.

Only the changes of a new version are loaded, into arenas that the versions share; meanwhile the previous version
answers. The previous version also stays in memory, so that a rollback to it costs nothing, and so do some versions that
were requested by name. While the store is down or a version is broken, the last good version answers.

All loading happens in one thread, as jobs in a queue. Another thread listens to announcements and, because an
announcement may be lost, makes the loading thread check the store after every `poll_seconds` of silence.

This file decides which versions are in memory and which one answers. The version to be served (pinned, else the newest)
is decided by the version store, and the way in which a version is loaded by `serving.loading.version_memory`.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar

import redis.exceptions
import structlog

from serving.loading.hold_back import HoldBack
from serving.loading.learning import LearningWatch
from serving.loading.served import CAUGHT_UP_SECONDS, STOP_SECONDS, LoadedVersion, VersionSource
from serving.loading.version_memory import VersionMemory
from serving.loading.warm_up import empty_model, warm_up
from serving.memory.pages import Allocate
from serving.metrics import Metrics
from serving.upstream_health import UpstreamHealth
from stream.state.tables import CorruptDelta
from stream.versions import Version, VersionError, VersionStore

log = structlog.get_logger(__name__)

T = TypeVar("T")

RETRY_SECONDS = 0.5
"""Pause between two attempts to listen to announcements while Redis is away."""

OLDER_VERSIONS = 20
"""Most versions that a starting server tries if the one to be served can't be read."""

UNREADABLE = (VersionError, CorruptDelta, ValueError)
"""Errors of a version that can't be read; ValueError comes from settings that this release doesn't know."""


class Loader(VersionSource):
    """Keeps the served version in memory, and a few more.

    Args:
        store: of versions.
        redis: state of the connection to the store, which the loader updates.
        metrics: of the server.
        visitor_salt: of the model, which manifests don't carry.
        poll_seconds: longest time between two checks of the store if nothing is announced.
        resident_versions: most versions in memory: the served one, the previous one, and those requested by name.
        allocate: source of the memory that requests read; memory of this process if None.
        changed: called in the loading thread after each check of the store.
        origin: name of this process in announcements of its own, which are passed over (see `store_changed`).
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
        origin: str = "",
    ) -> None:
        super().__init__(store.model, redis)
        self.origin = origin
        self._store = store
        self._metrics = metrics
        self._call_changed = changed
        self._poll_seconds = poll_seconds
        self._max_requested = max(0, resident_versions - 2)
        self._previous: LoadedVersion | None = None
        self._requested: tuple[LoadedVersion, ...] = ()
        self._learning = LearningWatch(store)
        self._hold_back, self._holding = HoldBack(store), False
        self.memory = VersionMemory(store, visitor_salt, allocate)
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._check_pending = threading.Event()
        self._checks_lock = threading.Lock()
        self._checks_ended = 0
        self._awaited_checks: list[tuple[int, Future[None]]] = []
        """Numbers of checks whose end is awaited."""
        self._rests_until = 0.0
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    # ---- for requests

    async def answering(self, version: str | None) -> LoadedVersion | None:
        if version is None:
            return self.served
        if held := self.held(version):
            return held
        return await asyncio.wrap_future(self._submit(lambda: self._load_requested(version)))

    def store_changed(self) -> int:
        begun = self.checks_begun
        self._check_soon()
        return begun

    async def caught_up(self, begun: int | None = None) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CAUGHT_UP_SECONDS):
                await asyncio.wrap_future(self.submit_check(begun))

    def submit_check(self, begun: int | None = None) -> Future[None]:
        """Check the store in the loading thread; done once the version that it names is served, or can't be.

        Args:
            begun: number of checks that had begun when the store changed; a later one will do, also one that runs or
                is queued by now. By default it is one that begins after this call.
        """
        ended: Future[None] = Future()
        with self._checks_lock:
            wanted = (self.checks_begun if begun is None else begun) + 1
            if wanted <= self._checks_ended:
                ended.set_result(None)
                return ended
            self._awaited_checks.append((wanted, ended))
            begins = wanted <= self.checks_begun or self._check_pending.is_set()
        if not begins:
            self._jobs.put(self.check_store)
        return ended

    async def totals(self) -> list[Any] | None:
        return None

    # ---- starting and stopping

    def start(self) -> None:
        for name, run in (("load versions", self._work), ("listen for announcements", self._listen)):
            thread = threading.Thread(target=run, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    async def stop(self) -> None:
        self._stopping.set()
        self._jobs.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join, STOP_SECONDS)

    # ---- the loading thread

    def check_store(self) -> None:
        """Load and swap in the version that the store names, unless it is served already or held back."""
        with self._checks_lock:
            self.checks_begun += 1
        self._serve_what_the_store_names()
        self._call_changed()
        self._end_check()
        if self.redis.up and self._look_at_learning():
            self._call_changed()

    def _end_check(self) -> None:
        with self._checks_lock:
            self._checks_ended = self.checks_begun
            awaited = self._awaited_checks
            self._awaited_checks = [each for each in awaited if each[0] > self._checks_ended]
        for wanted, ended in awaited:
            if wanted <= self._checks_ended and ended.set_running_or_notify_cancel():
                ended.set_result(None)

    def _serve_what_the_store_names(self) -> None:
        held = None
        try:
            wanted = self._store.served()
            self.redis.answered()
            if not self.ready:
                for problem in self._store.redis_problems():
                    log.warning("redis is not configured for versions", dependency="redis", problem=problem)
            if wanted is not None and (self.served is None or wanted.id != self.served.version.id):
                held = self._hold_back.reason(self.served, wanted)
                if held is None:
                    self._swap(self._in_memory_or_loaded(wanted))
        except redis.exceptions.RedisError as error:
            self._note_redis_failure(error)
        except UNREADABLE as error:
            self._note_problem(str(error))
            if self.served is None:
                self._serve_an_older_one()
        except Exception as error:  # an unforeseen error is logged and shown by health; the last good version answers
            log.exception("loading failed")
            self._note_problem(f"{type(error).__name__}: {error}")
        else:
            self._note_held(held)
            self._note_ready()

    def _look_at_learning(self) -> bool:
        """Take note of the shards that stand still; return True if others did before.

        This comes after a new version is served, so that it makes none later, and no failure keeps one from being
        served.
        """
        try:
            return self.note_stopped(self._learning.look(time.monotonic(), time.time()), self._metrics)
        except redis.exceptions.RedisError as error:
            self._note_redis_failure(error)
            return True
        except Exception:  # a report that can't be read is logged; versions are served all the same
            log.exception("looking at the reports of workers failed")
            return False

    def _note_redis_failure(self, error: Exception) -> None:
        self._learning.redis_failed()
        self.redis.failed(f"{type(error).__name__}: {error}", time.time())

    def _serve_an_older_one(self) -> None:
        """Serve the newest version that can be read: at a start there is no last good one yet."""
        try:
            for version in self._store.readable_versions(OLDER_VERSIONS):
                with contextlib.suppress(*UNREADABLE):
                    self._swap(self._in_memory_or_loaded(version))
                    self._note_ready()
                    return
        except redis.exceptions.RedisError as error:
            self._note_redis_failure(error)

    def _note_ready(self) -> None:
        if not self.ready:
            log.info("ready", version=self.served.version.number if self.served else None)
        self.ready = True

    def _note_problem(self, problem: str) -> None:
        if self.problem != problem:
            log.warning("the version to be served can't be loaded", problem=problem)
        if self.problem is None:
            self.problem_since = time.time()
        self.problem = problem

    def _note_held(self, held: str | None) -> None:
        """Take note of the reason why the newest version is held back; None if it isn't, and nothing is wrong."""
        self._metrics.held_back.set(held is not None)
        if held is None:
            self.problem, self.problem_since, self._holding = None, None, False
            return
        if not self._holding:
            log.warning("a version is held back, because it has learned less than the one that answers", problem=held)
            self.problem_since = time.time()
        self.problem, self._holding = held, True

    def _work(self) -> None:
        warm_up(empty_model())  # before the first check, so that a shop's first version answers as soon as it is there
        while (job := self._jobs.get()) is not None:
            job()

    def _listen(self) -> None:
        refused = False
        while not self._stopping.is_set():
            self._check_soon()
            try:
                for heard in self._store.announcements(self._poll_seconds):
                    if self._stopping.is_set():
                        return
                    own = heard is not None and heard.origin and heard.origin == self.origin
                    if not own:
                        self._check_soon()
            except redis.exceptions.NoPermissionError as error:  # it answers, and polling does as well
                if not refused:
                    log.warning(
                        "Redis refuses announcements; this server looks for versions by itself",
                        error=str(error),
                        every_seconds=self._poll_seconds,
                        mend="give the user of CORRENTE_REDIS the channels: ACL SETUSER NAME &corrente:*",
                    )
                refused = True
                self._stopping.wait(self._poll_seconds)
                continue
            except redis.exceptions.RedisError as error:
                self._note_redis_failure(error)
            except Exception:  # a foreign message on the channel must not end the thread; it is logged
                log.exception("listening to announcements failed")
            self._stopping.wait(RETRY_SECONDS)

    def _check_soon(self) -> None:
        """Queue one check, however many announcements arrive while a version loads."""
        if time.monotonic() >= self._rests_until and not self._check_pending.is_set():
            self._check_pending.set()
            self._jobs.put(self._check_now)

    def _check_now(self) -> None:
        self._check_pending.clear()
        self.check_store()

    def _submit(self, work: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()

        def job() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(work())
            except Exception as error:  # raised again where the future is awaited
                future.set_exception(error)

        self._jobs.put(job)
        return future

    def _swap(self, served: LoadedVersion) -> None:
        self.prepare(served)
        before, self.served = self.served, served
        if before is not None and before.version.lineage != served.version.lineage:
            # The store was emptied and its numbers start again, so a number no longer identifies a resident version.
            before, self._requested = None, ()
        self._previous = before
        residents = list(self.in_memory())
        self.memory.forget_unused(residents)
        version = served.version
        self._metrics.served_version.set(version.number)
        self._metrics.served_created_seconds.set(version.created_at)
        self._metrics.resident_versions.set(len(residents))
        log.debug("serving", version=version.number, id=version.id[:12])

    def _load_requested(self, name: str) -> LoadedVersion:
        version = self._store.version(name)
        self.redis.answered()
        loaded = self._in_memory_or_loaded(version)
        if loaded is not self.served and loaded is not self._previous and self._max_requested:
            others = tuple(each for each in self._requested if each is not loaded)
            self._requested = (loaded, *others)[: self._max_requested]
        self._metrics.resident_versions.set(len(list(self.in_memory())))
        return loaded

    def in_memory(self) -> Iterator[LoadedVersion]:
        seen = set()
        for each in (self.served, self._previous, *self._requested):
            if each is not None and id(each) not in seen:
                seen.add(id(each))
                yield each

    def _in_memory_or_loaded(self, version: Version) -> LoadedVersion:
        residents = list(self.in_memory())
        for each in residents:
            if each.version.id == version.id:
                return each
        started = time.perf_counter()
        loaded, how = self.memory.load(version, residents)
        if self.served is None:
            warm_up(loaded.model)
        seconds = time.perf_counter() - started
        if len(loaded.views) > 1:
            # Shards are merged as a whole, whatever has changed. Merging at most half of the time leaves the other half
            # to requests; a version of several shards is then at most two merges and one `poll_seconds` late.
            self._rests_until = time.monotonic() + seconds
        self._metrics.loads.labels(how).inc()
        self._metrics.load_seconds.labels(how).observe(seconds)
        return loaded
