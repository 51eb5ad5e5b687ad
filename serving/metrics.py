"""What the server counts about itself, for Prometheus.

A registry of its own for each application, so that two of them in one process don't mix. Labels are route templates and
a few fixed words, never ids: the number of series is bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """Counters of one application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, namespace="corrente", registry=self.registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, labels, namespace="corrente", registry=self.registry)

        def histogram(name: str, text: str, *labels: str) -> Histogram:
            return Histogram(name, text, labels, namespace="corrente", registry=self.registry, buckets=SECONDS)

        self.requests = counter("http_requests", "Requests answered.", "method", "route", "status")
        self.request_seconds = histogram("http_request_seconds", "Time to the answer.", "route")
        self.fallbacks = counter("answers", "Lists answered, by what they were made from.", "fallback")
        self.events_accepted = counter("http_events_accepted", "Events that Kafka acknowledged.", "topic")
        self.events_refused = counter("http_events_refused", "Events that were not accepted.", "topic", "reason")
        self.served_version = gauge("served_version", "Number of the version that answers.")
        self.served_created_seconds = gauge(
            "served_version_created_seconds", "When the version that answers was made, in seconds since the epoch."
        )
        self.resident_versions = gauge("resident_versions", "Versions held in memory.")
        self.loads = counter("version_loads", "Versions loaded, whole or by what changed.", "how")
        self.load_seconds = histogram("version_load_seconds", "Time to load a version.", "how")
        self.dependency_up = gauge("dependency_up", "1 while the dependency answers.", "dependency")
        self._fallback_children: dict[str, Counter] = {}
        self._request_children: dict[tuple[str, str, int], Counter] = {}
        self._seconds_children: dict[str, Histogram] = {}

    def samples(self) -> list[Any]:
        """What was counted so far, as (name of the sample, labels and their values, value): counters and histograms."""
        return [
            (sample.name, sorted(sample.labels.items()), sample.value)
            for family in self.registry.collect()
            if family.type in {"counter", "histogram"}
            for sample in family.samples
            if not sample.name.endswith("_created")
        ]

    def text(self, totals: list[Any] | None) -> bytes:
        """The page that Prometheus reads. `totals` stand in the place of what this process has counted."""
        if totals is None:
            return generate_latest(self.registry)
        return generate_latest(_Totalled(self.registry, totals))

    def count_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """One answered request. Labelled children are kept, because looking them up costs more than counting."""
        key = (method, route, status)
        child = self._request_children.get(key)
        if child is None:
            child = self._request_children[key] = self.requests.labels(method, route, str(status))
        child.inc()
        timer = self._seconds_children.get(route)
        if timer is None:
            timer = self._seconds_children[route] = self.request_seconds.labels(route)
        timer.observe(seconds)

    def count_answer(self, fallback: str) -> None:
        """One list that was answered."""
        child = self._fallback_children.get(fallback)
        if child is None:
            child = self._fallback_children[fallback] = self.fallbacks.labels(fallback)
        child.inc()


class Totals:
    """What several processes have counted. Processes come and go; what one has counted stays."""

    def __init__(self) -> None:
        self._by_process: dict[int, list[Any]] = {}

    def put(self, process: int, samples: list[Any]) -> None:
        """All that a process has counted since it began."""
        self._by_process[process] = samples

    def samples(self) -> list[Any]:
        """Sums over the processes.

        >>> totals = Totals()
        >>> totals.put(1, [("seen_total", [("topic", "a")], 2.0)])
        >>> totals.put(2, [("seen_total", [["topic", "a"]], 3.0)])
        >>> totals.samples()
        [('seen_total', (('topic', 'a'),), 5.0)]
        """
        sums: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        for samples in list(self._by_process.values()):
            for name, labels, value in samples:
                key = name, tuple((label, said) for label, said in labels)
                sums[key] = sums.get(key, 0.0) + value
        return [(name, labels, value) for (name, labels), value in sums.items()]


class _Totalled(CollectorRegistry):
    """A registry as it is read, with sums over all processes in the place of its own counts."""

    def __init__(self, registry: CollectorRegistry, totals: list[Any]) -> None:
        super().__init__()
        self._own = registry
        self._counted = totals

    def collect(self) -> Iterator[Metric]:
        for family in self._own.collect():
            if family.type in {"counter", "histogram"}:
                endings = ("_total",) if family.type == "counter" else ("_bucket", "_count", "_sum")
                names = {family.name + ending for ending in endings}
                family.samples = [
                    Sample(name, dict(labels), value) for name, labels, value in self._counted if name in names
                ]
            yield family
