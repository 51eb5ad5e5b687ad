"""Reports of workers about their shards, which servers read: a shard goes on, or stands still since when and why.

A worker renews its report every few seconds, under the claim of the shard. A worker whose claim is no longer valid is
refused. A worker that can't open its shard has no claim; it is heard while no other worker reports the shard. All times
are compared by Redis's clock, so clocks of workers and servers may differ.

A report that isn't renewed is void. If the shard has not been claimed since, no worker learns it any more. A shard that
was claimed after its last report is learned by a worker that doesn't report (release 0.1), or that is about to: nothing
is known of it.

This file decides how a report is made and replaced, and which shards count as standing still.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from stream.versions.storage import scripts
from stream.versions.storage.namespace import Namespace, text
from stream.versions.storage.requests import ReportRequest, ReportRow

REPORT_SECONDS = 2.0
"""Interval at which a worker renews its reports."""

SILENT_SECONDS = 15.0
"""Age at which a report is void: longer than another worker needs to take a shard over, with default settings."""

NO_WORKER = "no worker"
"""Reason of a shard whose worker reports no longer. All other reasons are the worker's."""


class ShardReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """The state of a shard as its worker sees it.

    Attributes:
        partitions: topic-partitions in which records wait, in Kafka's notation.
        since: seconds since the epoch at which the shard began to stand still; None while it doesn't.
        reason: in a word.
        detail: the error, for people.
        mend: the command or setting that mends it.
        caught_up: True if at most one batch of what Kafka has was left to learn when the shard was last looked at.
    """

    partitions: list[str] = []
    since: float | None = None
    reason: str = ""
    detail: str = ""
    mend: str = ""
    caught_up: bool = False


class StoppedShard(msgspec.Struct, frozen=True):
    """A shard that stands still, as a server shows it; see `ShardReport`.

    Attributes:
        shard: its number.
        worker: name of the worker that has it, or had it last.
    """

    shard: int
    since: float
    reason: str
    detail: str
    mend: str
    worker: str
    partitions: list[str]


class Reports:
    """The reports about one model's shards."""

    def __init__(self, space: Namespace) -> None:
        self._model = space.model
        self._report = space.script(scripts.REPORT)
        self._reports = space.script(scripts.REPORTS)

    def put(self, shard: int, worker: str, report: ShardReport, *, epoch: int | None, token: str) -> bool:
        """Replace the report of a shard; see `VersionStore.report`."""
        encoded = msgspec.json.encode(report)
        held = "" if epoch is None else epoch
        status, *_ = self._report(ReportRequest(shard, held, token, worker, SILENT_SECONDS, encoded))
        return text(status) == "ok"

    def reporting(self, seconds: float) -> list[str]:
        """Workers that have reported a shard in the last so many seconds, as Redis's clock has it."""
        rows = [ReportRow(*cells) for cells in self._reports()]
        return sorted({text(row.worker) for row in rows if float(row.age_seconds) < seconds})

    def stopped(self, now: float, *, silence_counts: bool) -> list[StoppedShard]:
        """Shards that stand still; see `VersionStore.stopped_shards`."""
        rows = [ReportRow(*cells) for cells in self._reports()]
        return list(stopped_among(rows, self._model, now, silence_counts=silence_counts))

    def caught_up(self, shards: Iterable[int]) -> bool:
        """True if these shards have caught up with Kafka; see `VersionStore.caught_up`."""
        return all_caught_up([ReportRow(*cells) for cells in self._reports()], shards)


def all_caught_up(rows: Iterable[ReportRow], shards: Iterable[int]) -> bool:
    """True if each of these shards has caught up with Kafka, as its present worker reported a moment ago."""
    caught_up = {
        int(row.partition)
        for row in rows
        if row.epoch == row.held_epoch
        and float(row.age_seconds) < SILENT_SECONDS
        and msgspec.json.decode(row.report, type=ShardReport).caught_up
    }
    return set(shards) <= caught_up


def stopped_among(rows: Iterable[ReportRow], model: str, now: float, *, silence_counts: bool) -> Iterable[StoppedShard]:
    """The shards that stand still, by number.

    Args:
        rows: the last report of each shard.
        model: name of the model.
        now: seconds since the epoch.
        silence_counts: False if it is too early to conclude anything from a report that wasn't renewed.
    """
    for row in sorted(rows, key=lambda each: int(each.partition)):
        if row.epoch != row.held_epoch:
            continue
        shard, age, worker = int(row.partition), float(row.age_seconds), text(row.worker)
        report = msgspec.json.decode(row.report, type=ShardReport)
        if age >= SILENT_SECONDS:
            if silence_counts:
                yield StoppedShard(
                    shard,
                    now - age,
                    NO_WORKER,
                    f"worker {worker} had shard {shard} of model {model!r} and reports it no longer, and no other "
                    "worker does: records that arrive wait in Kafka",
                    f"start a worker: CORRENTE_MODEL_NAME={model} corrente worker. If one runs, its log says why it "
                    "has not got the shard, or can't write to Redis",
                    worker,
                    report.partitions,
                )
        elif report.since is not None:
            yield StoppedShard(
                shard, report.since, report.reason, report.detail, report.mend, worker, report.partitions
            )
