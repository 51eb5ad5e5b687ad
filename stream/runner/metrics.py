"""What the worker tells Prometheus.

Every name starts with `corrente_worker_`. This file decides names, labels and buckets; who counts is
`stream.runner.task`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from stream.runner.rolling_max import LargestLately

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class WorkerMetrics:
    """One worker's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        name = "corrente_worker_"
        self.records = Counter(
            f"{name}records",
            "Records that became part of the state, by what became of them.",
            ["topic", "outcome"],
            registry=self.registry,
        )
        self.lag = Gauge(
            f"{name}lag_records",
            "Records in Kafka that are not learned yet.",
            ["topic", "partition"],
            registry=self.registry,
        )
        self.catch_up = Gauge(
            f"{name}catch_up_seconds",
            "Estimated time until nothing is behind, at the present pace; 0 when up to date, +Inf when falling behind.",
            ["partition"],
            registry=self.registry,
        )
        self.clock = Gauge(
            f"{name}event_time_seconds",
            "Time of the latest event that was learned.",
            ["partition"],
            registry=self.registry,
        )
        self.version = Gauge(f"{name}version", "Number of the newest version from here.", registry=self.registry)
        self.publish_seconds = Histogram(
            f"{name}publish_seconds", "From cut to visible version.", buckets=_SECONDS, registry=self.registry
        )
        self.cut_seconds = Histogram(
            f"{name}cut_seconds",
            "How long learning is held for a piece of a cut.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.longest_hold = Gauge(
            f"{name}longest_hold_seconds",
            "Longest in the last seconds that learning was held for a piece of a cut, or the event loop by anything.",
            ["held"],
            registry=self.registry,
        )
        self._held = {what: LargestLately() for what in ("learning", "loop")}
        for what, lately in self._held.items():
            self.longest_hold.labels(what).set_function(partial(_now, lately))
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
        self.redis_failures = Counter(
            f"{name}redis_failures", "Attempts that failed because Redis could not be reached.", registry=self.registry
        )
        self.unpublished = Gauge(
            f"{name}unpublished_records",
            "Records that are learned but in no version yet.",
            ["partition"],
            registry=self.registry,
        )
        self.restores = Counter(f"{name}restores", "Shards that were restored after a claim.", registry=self.registry)
        self.restore_seconds = Histogram(
            f"{name}restore_seconds", "From claim to first fetch.", buckets=_SECONDS, registry=self.registry
        )
        self.lost = Counter(
            f"{name}lost_records",
            "Records that Kafka's retention removed before they were learned.",
            ["topic"],
            registry=self.registry,
        )
        self.sample_rate = Gauge(
            f"{name}sample_rate", "Share of the events that is tested before it is learned.", registry=self.registry
        )
        self.learn_seconds = Gauge(
            f"{name}learn_seconds_per_event", "CPU time to learn an event.", registry=self.registry
        )
        self.test_seconds = Gauge(
            f"{name}test_seconds_per_event", "CPU time of testing an event, on top.", registry=self.registry
        )
        self.learning_cpu = Gauge(
            f"{name}learning_cpu_seconds", "CPU time of learning so far, tests included.", registry=self.registry
        )
        self.testing_cpu = Gauge(
            f"{name}testing_cpu_seconds", "Of that, for the sample (estimated).", registry=self.registry
        )
        self.partitions = Gauge(f"{name}partitions", "Partitions that are learned here.", registry=self.registry)
        self.prequential = Gauge(
            f"{name}prequential",
            "Windowed prequential measurements, by their path in the version's metrics.",
            ["partition", "name"],
            registry=self.registry,
        )
        self.drift = Gauge(
            f"{name}drift",
            "Drift detectors, by their path in the version's drift part.",
            ["partition", "name"],
            registry=self.registry,
        )

    def serve(self, port: int) -> None:
        """Answer `GET /metrics` on this port, from a thread."""
        start_http_server(port, registry=self.registry)

    def held(self, what: str, seconds: float) -> None:
        """`learning` or the `loop` was held for so long, and is free again."""
        self._held[what].note(seconds, time.monotonic())

    def state(self, partition: int, state: Mapping[str, Any]) -> None:
        """Every number in a published state's `metrics` and `drift`."""
        for gauge, part in ((self.prequential, "metrics"), (self.drift, "drift")):
            for path, number in numbers_in(state.get(part) or {}):
                gauge.labels(str(partition), path).set(number)

    def forget(self, partition: int, topics: list[str]) -> None:
        """The partition is another worker's now."""
        label = str(partition)
        for topic in topics:
            _remove(self.lag, topic, label)
        for gauge in (self.catch_up, self.clock, self.unpublished):
            _remove(gauge, label)
        for gauge in (self.prequential, self.drift):
            for labels in [key for key in list(gauge._metrics) if key[0] == label]:
                gauge.remove(*labels)


def numbers_in(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Every number in nested objects, by its dotted path.

    >>> list(numbers_in({"hr": {"10": 0.25}, "drifts": 2, "since": None, "name": "x"}))
    [('hr.10', 0.25), ('drifts', 2.0)]
    """
    for name, value in tree.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from numbers_in(value, f"{path}.")
        elif isinstance(value, bool | int | float):
            yield path, float(value)


def _now(lately: LargestLately) -> float:
    return lately.value(time.monotonic())


def _remove(gauge: Gauge, *labels: str) -> None:
    try:
        gauge.remove(*labels)
    except KeyError:  # never set
        return
