"""Housekeeping beside learning: lag and rates for people, and the compaction of old versions.

This file decides when metrics are updated, when a shard that is far behind publishes less often, and when old versions
are folded and thinned out. A compaction that fails is logged, counted and tried again later: old versions in the way
are no reason to stop learning. If it finds that Redis has lost a part of the newest version, a keyframe is published.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Mapping
from typing import Any

from faust.types import TP
from redis.exceptions import RedisError

from stream.health.rejections import RejectionLog
from stream.health.values import ValueCautions
from stream.ingest.origins import topic_of
from stream.runner.assignment import ShardAssignment
from stream.runner.lag import LagEstimator
from stream.runner.open_shard import BATCH_RECORDS, OpenShard
from stream.runner.publisher import Publisher
from stream.runner.resources import WorkerResources
from stream.shard.counters import EVENTS
from stream.shard.shard import LearnResult
from stream.versions import Policy, VersionError
from stream.versions.compaction import Compacted
from stream.versions.damage.healing import KEEP_KEYS

UPDATE_SECONDS = 0.5
"""Interval between updates of the metrics."""

COMPACT_SECONDS = 10.0
"""Interval between compactions."""

FAR_BEHIND_COMPACT_SECONDS = 30.0
"""Interval between compactions while the shard is far behind: few versions come then."""


class Housekeeping:
    """Lag, metrics and compaction of one shard.

    Args:
        assignment: number of the shard and its topic-partitions.
        resources: metrics, threads, settings and clock.
        publisher: of this shard; it is slowed down while the shard is far behind.
        log: of this shard.

    Attributes:
        waiting: topic-partitions with records that were not learned yet when the metrics were last updated.
    """

    def __init__(self, assignment: ShardAssignment, resources: WorkerResources, publisher: Publisher, log: Any) -> None:
        self._assignment = assignment
        self._resources = resources
        self._publisher = publisher
        self._log = log
        self._lag = LagEstimator()
        self._behind = math.inf
        self._measured = False
        self.waiting: frozenset[TP] = assignment.partitions
        self._far_behind = False
        self._next_update = 0.0
        self._compacted = 0.0
        self._compacting: asyncio.Task[None] | None = None
        self._lost = 0
        self._rejections = RejectionLog(resources.metrics.rejections, log)
        self._cautions = ValueCautions(resources.metrics.unknown_kinds, resources.settings.model, log)

    @property
    def behind(self) -> float:
        """Records that were not learned yet when the metrics were last updated."""
        return self._behind

    @property
    def up_to_date(self) -> bool:
        """True if at most one batch was left to learn when the metrics were last updated, since the last start."""
        return self._measured and self._behind <= BATCH_RECORDS

    def reassign(self, assignment: ShardAssignment) -> None:
        """Learn from these topic-partitions from now on."""
        left = self._assignment.partitions - assignment.partitions
        self._resources.metrics.remove_lag(self._lag_labels(left))
        self._assignment = assignment

    def restart(self) -> None:
        """Measure lag anew, and put compaction off: a shard that starts has more urgent work."""
        self._lag = LagEstimator()
        self._measured = False
        self._compacted = self._resources.clock.monotonic()

    def count_learned(self, records: int, result: LearnResult) -> None:
        """Count the records of a learned batch, for the learning rate and by topic and outcome."""
        self._lag.learned += records
        self._rejections.note(result.rejections, self._resources.clock.monotonic())
        self._cautions.note(result)
        for origin, by_outcome in result.counts.items():
            for outcome, count in by_outcome.items():
                if count:
                    self._resources.metrics.records.labels(topic_of(origin), outcome).inc(count)
        for origin, by_outcome in result.events.items():
            for outcome, count in by_outcome.items():
                if count and outcome != f"{EVENTS}records":
                    self._resources.metrics.events.labels(topic_of(origin), outcome.removeprefix(EVENTS)).inc(count)
        for origin, count in result.ahead.items():
            self._resources.metrics.ahead.labels(topic_of(origin)).inc(count)

    def count_lost(self, by_origin: Mapping[str, int]) -> None:
        """Count records that became part of the state as lost ones."""
        for origin, count in by_origin.items():
            for outcome in ("read", "lost"):
                self._resources.metrics.records.labels(topic_of(origin), outcome).inc(count)

    def update(self, opened: OpenShard, now: float) -> None:
        """Update metrics, publish interval and compaction, if `UPDATE_SECONDS` have passed."""
        if now < self._next_update:
            return
        self._next_update = now + UPDATE_SECONDS
        self._update_metrics(opened, now)
        self._update_far_behind(now)
        every = FAR_BEHIND_COMPACT_SECONDS if self._far_behind else COMPACT_SECONDS
        if now >= self._compacted + every and self._compacting is None and opened.published:
            self._compacted = now
            self._compacting = asyncio.create_task(self._compact())

    def close(self) -> None:
        """Stop the present compaction and remove the shard's metrics."""
        if self._compacting is not None:
            self._compacting.cancel()
        self._resources.metrics.remove_shard(self._assignment.shard)
        self._resources.metrics.remove_lag(self._lag_labels(self._assignment.partitions))

    def _lag_labels(self, partitions: Iterable[TP]) -> list[tuple[str, str]]:
        return [(self._assignment.topic_of(tp), str(tp.partition)) for tp in partitions]

    def _update_metrics(self, opened: OpenShard, now: float) -> None:
        metrics, rate, shard = self._resources.metrics, self._resources.sample_rate, str(self._assignment.shard)
        lag = opened.lag()
        for tp, records in lag.items():
            metrics.lag.labels(self._assignment.topic_of(tp), str(tp.partition)).set(records)
        self.waiting = frozenset(tp for tp, records in lag.items() if records)
        behind = sum(lag.values())
        self._behind, self._measured = behind, True
        self._lag.update(now, behind)
        metrics.catch_up.labels(shard).set(self._lag.catch_up_seconds)
        metrics.unpublished.labels(shard).set(opened.unpublished + opened.publishing)
        metrics.clock.labels(shard).set(opened.shard.clock)
        metrics.sample_rate.set(rate.wanted(now) if self._resources.may_test else 0.0)
        metrics.learn_seconds.set(rate.learn_seconds)
        metrics.test_seconds.set(rate.test_seconds)
        metrics.learning_cpu.set(rate.spent_learning)
        metrics.testing_cpu.set(rate.spent_testing)

    def _update_far_behind(self, now: float) -> None:
        """Slow the publisher down while the shard is far behind, and log changes and progress."""
        far = self._lag.far_behind(BATCH_RECORDS)
        if far != self._far_behind:
            self._far_behind = far
            if far:
                self._publisher.slow_down()
                self._log_lag("far behind; publishing less often")
            else:
                self._publisher.speed_up(now)
                self._log_lag("up to date; publishing as usual")
        elif far and self._lag.log_due(now):
            self._log_lag("catching up")

    def _log_lag(self, event: str) -> None:
        self._log.info(
            event,
            records=self._behind,
            records_a_second=round(self._lag.records_per_second),
            catch_up_seconds=round(self._lag.catch_up_seconds, 1),
        )

    async def _compact(self) -> None:
        """Fold keyframes and thin out old versions, in a thread of its own."""
        resources, settings = self._resources, self._resources.settings
        policy = Policy(
            keep_last=settings.keep_last,
            keep_minutes=settings.keep_minutes,
            keep_hours=settings.keep_hours,
            keep_days=settings.keep_days,
        )
        try:
            done = await asyncio.get_running_loop().run_in_executor(
                resources.compacting, resources.compact, self._assignment.shard, policy, resources.clock.time()
            )
            self._log.debug("compacted old versions", **done._asdict())
            self._note_lost_chunks(done)
        except (RedisError, VersionError) as error:
            resources.metrics.compaction_failures.inc()
            self._log.warning("could not compact old versions; trying again later", error=str(error) or repr(error))
        except Exception:  # whatever it is, old versions in the way are no reason to stop learning
            resources.metrics.compaction_failures.inc()
            self._log.exception("compacting old versions failed; trying again later")
        finally:
            self._compacting = None

    def _note_lost_chunks(self, done: Compacted) -> None:
        """Show how many parts of versions are lost, and have a keyframe published if the newest version needs one."""
        self._resources.metrics.lost_chunks.labels(str(self._assignment.shard)).set(done.lost_chunks)
        if done.broken_heads:
            self._publisher.want_keyframe()
        lost = done.lost_chunks + done.broken_heads
        if lost > self._lost:
            self._log.error(
                "Redis has lost parts of versions; a keyframe is published from the live tables, if the newest one "
                "needs it",
                chunks=done.lost_chunks,
                newest_is_damaged=bool(done.broken_heads),
                mend=KEEP_KEYS,
            )
        self._lost = lost
