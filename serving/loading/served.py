"""Versions in memory as requests see them: the interface that both loaders keep.

`serving.loading.loader.Loader` loads versions into this process. `serving.loading.shared.SnapshotClient` maps the
versions that another process of this machine has loaded. Routes, health and metrics work with either.

This file decides what a request may ask of a loader, and which errors it has to expect.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import structlog

from serving.loading.shard_memory import ShardMemory
from serving.memory.arena import Views
from serving.metrics import Metrics
from serving.upstream_health import UpstreamHealth
from stream.catalogue.item_rows import same_rows_key
from stream.catalogue.snapshot import Served
from stream.models.model import Model
from stream.versions import StoppedShard, Version
from stream.versions.manifest import rfc3339

log = structlog.get_logger(__name__)

CAUGHT_UP_SECONDS = 10.0
"""Longest time that a rollback waits for this server to follow it before it is answered anyway."""

STOP_SECONDS = 10.0
"""Longest time that a stopping loader waits for each of its threads."""


class LoaderAway(ConnectionError):
    """The process that loads versions for this one doesn't answer. The supervisor restarts it within a second."""


@dataclass(frozen=True)
class LoadedVersion:
    """One version in memory."""

    version: Version
    model: Model
    views: dict[int, Views]
    """Views by shard, which keep the version's rows in the arena; empty in a process that maps another one's rows."""
    memories: dict[int, ShardMemory] = field(default_factory=dict)
    """Memory of each of these views."""

    @cached_property
    def for_catalogue(self) -> Served:
        """The version as the catalogue needs it. Several shards are numbered anew with every version."""
        version = self.version
        same_rows: Hashable = version.id
        if len(version.shards) == 1:
            same_rows = same_rows_key(self.model, (version.lineage, *version.shards))
        return Served(version.id, same_rows, self.model)


class VersionSource(ABC):
    """The served version, and others on request.

    Attributes:
        model_name: name under which versions are published.
        redis: state of the connection to the version store.
        served: the version that answers; None until one was published. It is replaced as a whole, so a request reads
            this attribute once and needs no lock.
        ready: True once the store was asked and the version it named is loaded; it stays True.
        problem: reason why the version that should be served can't be loaded; None if there is none.
        problem_since: seconds since the epoch at which the problem began.
        stopped: shards that are not learned at present; lists are answered all the same.
        checks_begun: number of checks of the store that have begun in this process.
        origin: name of this process in announcements of what it changes itself, which it then passes over; empty if
            versions are loaded by another process.
        prepare: is called with every version before it answers, in the thread that loads it.
    """

    def __init__(self, model_name: str, redis: UpstreamHealth) -> None:
        self.model_name = model_name
        self.redis = redis
        self.served: LoadedVersion | None = None
        self.ready = False
        self.problem: str | None = None
        self.problem_since: float | None = None
        self.stopped: tuple[StoppedShard, ...] = ()
        self.checks_begun = 0
        self.origin = ""
        self.prepare: Callable[[LoadedVersion], None] = lambda _: None

    def note_stopped(self, stopped: Sequence[StoppedShard], metrics: Metrics) -> bool:
        """Take note of the shards that are not learned at present; return True if it were others before.

        Each change is logged once, and shown as a metric.
        """
        before = {(each.shard, each.reason) for each in self.stopped}
        now = {(each.shard, each.reason) for each in stopped}
        self.stopped = tuple(stopped)
        if before == now:
            return False
        metrics.show_stopped(now)
        for each in stopped:
            if (each.shard, each.reason) not in before:
                log.warning(
                    "learning stands still; lists are answered from the last version",
                    shard=each.shard,
                    reason=each.reason,
                    detail=each.detail,
                    since=rfc3339(each.since),
                    mend=each.mend,
                )
        for shard, reason in sorted(before - now):
            log.info("learning goes on", shard=shard, reason=reason)
        return True

    @abstractmethod
    def start(self) -> None:
        """Start loading, in threads of its own."""

    @abstractmethod
    async def stop(self) -> None:
        """Stop loading. Versions in memory go on answering."""

    @abstractmethod
    def in_memory(self) -> Iterable[LoadedVersion]:
        """Every version that is held, each once."""

    def held(self, name: str) -> LoadedVersion | None:
        """The version of this number or id if it is in memory; None for others, and for aliases."""
        for each in self.in_memory():
            if name in (str(each.version.number), each.version.id):
                return each
        return None

    @abstractmethod
    async def answering(self, version: str | None) -> LoadedVersion | None:
        """The served version, or the one of this number, alias or id, which is loaded if it is not in memory.

        Raises:
            UnknownVersion: the store has no such version.
            VersionError, CorruptDelta: it has, and the version can't be read.
            RedisError: the version is not in memory, and the store does not answer.
            LoaderAway: it is not in memory, and the process that loads versions does not answer.
        """

    def store_changed(self) -> int:
        """Take note that this process has changed the store; return the value for `caught_up`.

        May be called in any thread, and has to be after every change under the name `origin`. If the store is checked
        in this process, that begins now.
        """
        return self.checks_begun

    @abstractmethod
    async def caught_up(self, begun: int | None = None) -> None:
        """Wait until the version that the store names now is served, but at most `CAUGHT_UP_SECONDS`.

        Args:
            begun: value of `checks_begun` when the store changed: a check that has begun since will do.
        """

    @abstractmethod
    async def totals(self) -> list[Any] | None:
        """Samples of counters and histograms, summed over all processes of this server.

        None if there are no other processes, or if the process that has the sums does not answer.
        """
