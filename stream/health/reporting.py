"""Reports of this worker's shards to the servers, through Redis.

A server can't ask workers: it doesn't know their addresses. So a worker writes a line for each of its shards beside the
versions, from a thread that waits for Redis anyway, and learning is not held up.

This file decides how often a worker reports, and what of a standing leaves the worker. The text of an unforeseen error
stays in its log: it may hold the id of a visitor, and Redis has none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from redis.exceptions import RedisError
from structlog import get_logger

from stream.health.standing import Standing
from stream.versions import Claim, ShardReport, VersionStore
from stream.versions.storage.reports import REPORT_SECONDS

log = get_logger(__name__)


class ReportedShard(Protocol):
    """A shard on this worker."""

    @property
    def claim(self) -> Claim | None:
        """The right to publish it; None while it isn't open."""

    @property
    def standing(self) -> Standing | None:
        """The reason why it stands still; None while it doesn't."""

    @property
    def up_to_date(self) -> bool:
        """True if it was measured since it was opened, and at most one batch was left to learn."""

    @property
    def waiting(self) -> Sequence[str]:
        """Topic-partitions in which records wait, in Kafka's notation."""


class Sleeper(Protocol):
    """A clock that can be waited for."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


class ReportingWorker(Protocol):
    """The parts of a worker's resources that reports need."""

    store: VersionStore
    name: str

    @property
    def clock(self) -> Sleeper:
        """Time between reports."""

    async def with_redis(self, function: Callable[[], Any]) -> Any:
        """Run a function that waits for Redis in a thread for that."""


async def keep_reporting(shards: Mapping[int, ReportedShard], worker: ReportingWorker) -> None:
    """Report every shard again and again, until cancelled. A Redis that is away is no reason to say so here.

    Args:
        shards: those of this worker now, by number.
        worker: its name, its store, its threads and its clock.
    """
    while True:
        for number, shard in list(shards.items()):
            report = partial(worker.store.report, number, shard.claim, worker.name, report_of(shard))
            try:
                await worker.with_redis(report)
            except RedisError as error:
                log.debug("could not report a shard to the servers", partition=number, error=str(error) or repr(error))
            except Exception:  # whatever it is, reports are no reason to stop learning
                log.exception("reporting a shard to the servers failed; trying again", partition=number)
        await worker.clock.sleep(REPORT_SECONDS)


def report_of(shard: ReportedShard) -> ShardReport:
    """The report of one shard."""
    standing, waiting = shard.standing, list(shard.waiting)
    if standing is None:
        return ShardReport(waiting, caught_up=shard.claim is not None and shard.up_to_date)
    detail = standing.detail
    if standing.reason == "failures":
        detail = f"learning fails ({detail.partition(':')[0]}); the worker's log and its /health/ready have the error"
    return ShardReport(waiting, standing.since, standing.reason, detail, standing.command)
