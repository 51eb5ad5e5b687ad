"""The worker's Prometheus metrics.

Every name starts with `corrente_worker_`. This file decides names, labels and buckets. Names and labels are a contract
with dashboards and alerts: they change only together with an alias. The numbers come from `stream.runner.task` and the
files beside it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from stream.catalogue.snapshot import Snapshot
from stream.catalogue_topics.reader import KINDS, Counts
from stream.events import TOPIC_TYPES
from stream.runner.rolling_max import RollingMax

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


WAYS_OF_HEALING = ("index", "keyframe", "older_state", "beginning")
"""Labels of `corrente_worker_healed`: lost keys rebuilt, or done without; a keyframe from the live tables; learning
that went on from an older state, or from the beginning of what Kafka has."""


class WorkerMetrics:
    """The metrics of one worker, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        name = "corrente_worker_"
        self.records = Counter(
            f"{name}records",
            "Records that became part of the state, by outcome.",
            ["topic", "outcome"],
            registry=self.registry,
        )
        self.events = Counter(
            f"{name}events",
            "Events of records that a mapping may cut into several, by outcome; `made` is the sum of the others.",
            ["topic", "outcome"],
            registry=self.registry,
        )
        self.ahead = Counter(
            f"{name}ahead_events",
            "Learned events whose time was ahead of the stream clock: they count at the clock.",
            ["topic"],
            registry=self.registry,
        )
        for topic in TOPIC_TYPES:  # a series that begins with its first event ahead shows no increase
            self.ahead.labels(topic)
        self.lag = Gauge(
            f"{name}lag_records",
            "Records in Kafka that are not learned yet.",
            ["topic", "partition"],
            registry=self.registry,
        )
        self.catch_up = Gauge(
            f"{name}catch_up_seconds",
            "Estimated time until a shard (label `partition`) has caught up; 0 if up to date, +Inf if falling behind.",
            ["partition"],
            registry=self.registry,
        )
        self.clock = Gauge(
            f"{name}event_time_seconds",
            "The latest time at which an event was learned, by shard (label `partition`).",
            ["partition"],
            registry=self.registry,
        )
        self.version = Gauge(
            f"{name}version", "Number of the newest version that this worker published.", registry=self.registry
        )
        self.publish_seconds = Histogram(
            f"{name}publish_seconds",
            "Time from the start of a checkpoint to its visible version.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.cut_seconds = Histogram(
            f"{name}cut_seconds",
            "Time for which learning is held to take one part of a checkpoint.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.longest_hold = Gauge(
            f"{name}longest_hold_seconds",
            "Longest time, in the last seconds, for which a checkpoint's part held learning or anything held the loop.",
            ["held"],
            registry=self.registry,
        )
        self._holds = {held: RollingMax() for held in ("learning", "loop")}
        for held, longest in self._holds.items():
            self.longest_hold.labels(held).set_function(partial(_value_now, longest))
        self.cut_bytes = Histogram(
            f"{name}cut_bytes",
            "Bytes written since the previous version.",
            buckets=[4**n for n in range(4, 15)],
            registry=self.registry,
        )
        self.refusals = Counter(
            f"{name}publish_refusals",
            "Publishes that were refused because another worker owns the shard, or Redis holds other data.",
            ["reason"],
            registry=self.registry,
        )
        self.healed = Counter(
            f"{name}healed",
            "Times at which learning went on without a part of the versions that Redis has lost, by the way taken.",
            ["way"],
            registry=self.registry,
        )
        for way in WAYS_OF_HEALING:  # a series that begins with its first healing shows an alert no increase
            self.healed.labels(way)
        self.compaction_failures = Counter(
            f"{name}compaction_failures",
            "Rounds of folding and thinning out old versions that failed; the log has the error.",
            registry=self.registry,
        )
        self.lost_chunks = Gauge(
            f"{name}lost_chunks",
            "Parts of a shard's kept versions (label `partition`) that Redis has lost.",
            ["partition"],
            registry=self.registry,
        )
        self.redis_failures = Counter(
            f"{name}redis_failures", "Attempts that failed because Redis could not be reached.", registry=self.registry
        )
        self.unpublished = Gauge(
            f"{name}unpublished_records",
            "Records that are learned but in no version yet, by shard (label `partition`).",
            ["partition"],
            registry=self.registry,
        )
        self.restores = Counter(f"{name}restores", "Shards that were restored after a claim.", registry=self.registry)
        self.restore_seconds = Histogram(
            f"{name}restore_seconds",
            "Time from the claim of a shard to its restored state.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.lost = Counter(
            f"{name}lost_records",
            "Records that Kafka's retention removed before they were learned.",
            ["topic"],
            registry=self.registry,
        )
        for topic in TOPIC_TYPES:  # a series that begins with its first loss shows an alert no increase
            self.lost.labels(topic)
        self.other_topics = Counter(
            f"{name}other_topics",
            "Topics that were created again or replaced by another one, and are learned from their beginning.",
            ["topic"],
            registry=self.registry,
        )
        self.rejections = Counter(
            f"{name}rejections",
            "Records that could not be learned, by the field or the failure that is the reason.",
            ["topic", "reason"],
            registry=self.registry,
        )
        self.unknown_kinds = Counter(
            f"{name}unknown_kinds",
            "Learned events by kind, of kinds that are unknown and weigh 1.",
            ["kind"],
            registry=self.registry,
        )
        self.lost_letters = Counter(
            f"{name}lost_dead_letters",
            "Dead letters that their topic refuses in any form; the log has place and digest of each.",
            ["topic"],
            registry=self.registry,
        )
        for topic in TOPIC_TYPES:
            self.lost_letters.labels(topic)
        self.stopped = Gauge(
            f"{name}stopped",
            "1 while a shard (label `partition`) stands still for this reason; the log has the command that mends it.",
            ["partition", "reason"],
            registry=self.registry,
        )
        self.sample_rate = Gauge(
            f"{name}sample_rate",
            "Share of the events that are tested before they are learned; 0 until River is imported.",
            registry=self.registry,
        )
        self.learn_seconds = Gauge(
            f"{name}learn_seconds_per_event", "CPU time to learn an event.", registry=self.registry
        )
        self.test_seconds = Gauge(
            f"{name}test_seconds_per_event", "Additional CPU time to test an event.", registry=self.registry
        )
        self.learning_cpu = Gauge(
            f"{name}learning_cpu_seconds", "Total CPU time of learning, tests included.", registry=self.registry
        )
        self.testing_cpu = Gauge(
            f"{name}testing_cpu_seconds",
            "Part of the learning CPU time that testing the sample took (estimated).",
            registry=self.registry,
        )
        self.partitions = Gauge(
            f"{name}partitions",
            "Partition numbers that this worker learns.",
            registry=self.registry,
        )
        self.shards = Gauge(f"{name}shards", "Shards that this worker learns.", registry=self.registry)
        self.standby = Gauge(
            f"{name}standby",
            "1 while other workers have every shard, and this one is ready to take one over.",
            registry=self.registry,
        )
        self.live_rows = Gauge(
            f"{name}live_rows",
            "Rows in use of a shard (label `partition`), by table; `CORRENTE_MODEL__MAX_*` say how many there can be.",
            ["partition", "table"],
            registry=self.registry,
        )
        self.evicted_rows = Gauge(
            f"{name}evicted_rows",
            "Rows of a shard (label `partition`) that made room for others since the model began, by table.",
            ["partition", "table"],
            registry=self.registry,
        )
        self.documents = Counter(
            f"{name}documents",
            "Records of the topics of documents that this worker has read, by outcome.",
            ["topic", "outcome"],
            registry=self.registry,
        )
        for topic in KINDS:  # a series that begins with its first dead letter shows an alert no increase
            for outcome in Counts._fields:
                self.documents.labels(topic, outcome)
        self.document_lag = Gauge(
            f"{name}document_lag_records",
            "Records of the topics of documents that are not read yet, at the worker that reads them.",
            ["topic"],
            registry=self.registry,
        )
        self.catalogue_items = Gauge(
            f"{name}catalogue_items", "Items in the catalogue that are not deleted.", registry=self.registry
        )
        self.catalogue_revision = Gauge(
            f"{name}catalogue_revision",
            "Number of the catalogue's last change that this worker knows.",
            registry=self.registry,
        )
        self.catalogue_behind = Gauge(
            f"{name}catalogue_behind", "1 while changes of the catalogue can't be read.", registry=self.registry
        )
        self.prequential = Gauge(
            f"{name}prequential",
            "Windowed prequential measurements of a shard (label `partition`), by their path in the version's metrics.",
            ["partition", "name"],
            registry=self.registry,
        )
        self.drift = Gauge(
            f"{name}drift",
            "Drift detectors of a shard (label `partition`), by their path in the version's drift part.",
            ["partition", "name"],
            registry=self.registry,
        )

    def note_hold(self, held: str, seconds: float) -> None:
        """Take note that `learning` or the event `loop` was held for this long, and is free again."""
        self._holds[held].note(seconds, time.monotonic())

    def show_catalogue(self, current: Snapshot, *, behind: bool) -> None:
        """Export the catalogue that this worker knows."""
        self.catalogue_items.set(current.items)
        self.catalogue_revision.set(current.revision)
        self.catalogue_behind.set(behind)

    def count_documents(self, topic: str, counts: Counts) -> None:
        """Count records of a topic of documents by their outcome."""
        for outcome, records in counts._asdict().items():
            self.documents.labels(topic, outcome).inc(records)

    def show_document_lag(self, topic: str, records: int | None) -> None:
        """Export the lag of a topic of documents; None ends the series, because another worker reads it."""
        if records is None:
            _remove(self.document_lag, topic)
        else:
            self.document_lag.labels(topic).set(records)

    def set_state(self, shard: int, state: Mapping[str, Any]) -> None:
        """Export every number in the `metrics`, `drift` and `rows` of a published state."""
        for gauge, part in ((self.prequential, "metrics"), (self.drift, "drift")):
            for path, number in numbers_in(state.get(part) or {}):
                gauge.labels(str(shard), path).set(number)
        for table, rows in (state.get("rows") or {}).items():
            self.live_rows.labels(str(shard), table).set(rows["live"])
            self.evicted_rows.labels(str(shard), table).set(rows["evicted"])

    def remove_lag(self, labels: Iterable[tuple[str, str]]) -> None:
        """Remove the lag of topic-partitions that another worker learns from now: our topic and the partition."""
        for topic, partition in labels:
            _remove(self.lag, topic, partition)

    def remove_shard(self, shard: int) -> None:
        """Remove the series of a shard that is another worker's now."""
        label = str(shard)
        for gauge in (self.catch_up, self.clock, self.unpublished, self.lost_chunks):
            _remove(gauge, label)
        for gauge in (self.prequential, self.drift, self.stopped, self.live_rows, self.evicted_rows):
            for labels in [key for key in list(gauge._metrics) if key[0] == label]:  # noqa: SLF001  no public way
                gauge.remove(*labels)


def numbers_in(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Every number in nested mappings, with its dotted path.

    >>> list(numbers_in({"hr": {"10": 0.25}, "drifts": 2, "since": None, "name": "x"}))
    [('hr.10', 0.25), ('drifts', 2.0)]
    """
    for name, value in tree.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from numbers_in(value, f"{path}.")
        elif isinstance(value, bool | int | float):
            yield path, float(value)


def _value_now(longest: RollingMax) -> float:
    return longest.value(time.monotonic())


def _remove(gauge: Gauge, *labels: str) -> None:
    try:
        gauge.remove(*labels)
    except KeyError:  # it was never set
        return
