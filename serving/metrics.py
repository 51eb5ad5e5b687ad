"""Counters and gauges of the server, for Prometheus.

This file decides which metrics the server exports and how several processes are added up. Each application has a
registry of its own, so that two of them in one process don't mix. Labels are route templates and a few fixed words,
never ids: the number of series is bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

from serving.request_times import RequestTimes

SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """Metrics of one application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, namespace="corrente", registry=self.registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, labels, namespace="corrente", registry=self.registry)

        def histogram(name: str, text: str, *labels: str) -> Histogram:
            return Histogram(name, text, labels, namespace="corrente", registry=self.registry, buckets=SECONDS)

        self._request_times = RequestTimes(self.registry, SECONDS)
        self.refused = counter(
            "http_refused", "Requests refused before they were complete: too slow, too large, or no HTTP.", "status"
        )
        self.access_refused = counter("access_refused", "Requests refused for want of a key or a scope.", "reason")
        self.limited = counter("limited", "Requests refused with 429 because a limit was used up.", "limit")
        self.shed = counter("shed", "Requests refused with 503 because too much waited.", "reason")
        self.batch_lists = counter("batch_lists", "Lists that batches asked for, by what became of them.", "outcome")
        self.events_accepted = counter("http_events_accepted", "Events that Kafka acknowledged.", "topic")
        self.events_repeated = counter(
            "http_events_repeated", "Accepted events that repeat an event id of the same post, and count once.", "topic"
        )
        self.events_refused = counter("http_events_refused", "Events that were not accepted.", "topic", "reason")
        self.served_version = gauge("served_version", "Number of the version that answers.")
        self.served_created_seconds = gauge(
            "served_version_created_seconds", "When the version that answers was made, in seconds since the epoch."
        )
        self.held_back = gauge(
            "version_held_back",
            "1 while the newest version is not served because it has learned less than the one that answers.",
        )
        self.resident_versions = gauge("resident_versions", "Versions held in memory.")
        self.loads = counter("version_loads", "Versions loaded, whole or by what changed.", "how")
        self.load_seconds = histogram("version_load_seconds", "Time to load a version.", "how")
        self.catalogue_items = gauge("catalogue_items", "Items in the catalogue that are not deleted.")
        self.catalogue_revision = gauge("catalogue_revision", "Number of the catalogue's last change that is applied.")
        self.catalogue_behind = gauge("catalogue_behind", "1 while changes of the catalogue can't be read.")
        self.filter_violations = counter(
            "filter_violations", "Items that were taken out of a finished list because its filter forbids them."
        )
        self.dependency_up = gauge("dependency_up", "1 while the dependency answers.", "dependency")
        self.learning_stopped = gauge(
            "learning_stopped",
            "1 while a shard is not learned for this reason, as its worker says, or because no worker has it.",
            "shard",
            "reason",
        )
        self._stopped: frozenset[tuple[int, str]] = frozenset()

    def show_stopped(self, stopped: Iterable[tuple[int, str]]) -> None:
        """Show the shards that are not learned, with the reason of each. The series of all others end."""
        before, self._stopped = self._stopped, frozenset(stopped)
        for shard, reason in before - self._stopped:
            self.learning_stopped.remove(str(shard), reason)
        for shard, reason in self._stopped:
            self.learning_stopped.labels(str(shard), reason).set(1)

    def samples(self) -> list[Any]:
        """Samples of all counters and histograms, as (name of the sample, (label, value) pairs in order, value)."""
        return [
            (sample.name, sorted(sample.labels.items()), sample.value)
            for family in self.registry.collect()
            if family.type in {"counter", "histogram"}
            for sample in family.samples
            if not sample.name.endswith("_created")
        ]

    def text(self, totals: list[Any] | None) -> bytes:
        """The page that Prometheus reads.

        Args:
            totals: samples of all processes, to be shown instead of the counters and histograms of this one; None: show
                this process's own.
        """
        if totals is None:
            return generate_latest(self.registry)
        return generate_latest(_RegistryWithTotals(self.registry, totals))

    def count_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request.

        Args:
            method: of HTTP.
            route: its template, never a path with ids.
            status: of the answer.
            seconds: time to the answer.
        """
        self._request_times.counter(method, route, status)(seconds)

    def request_counter(self, method: str, route: str, status: int) -> Callable[[float], None]:
        """`count_request` for one kind of request, whose labels are looked up once."""
        return self._request_times.counter(method, route, status)

    def count_refusal(self, status: int) -> None:
        """Count one request that was refused before it was complete."""
        self.refused.labels(str(status)).inc()

    def count_access_refusal(self, reason: str) -> None:
        """Count one request that was refused for want of a key or a scope, by a reason of a few words."""
        self.access_refused.labels(reason).inc()

    def count_limit(self, limit: str) -> None:
        """Count one request that was refused because a limit was used up."""
        self.limited.labels(limit).inc()

    def count_shed(self, reason: str, requests: int) -> None:
        """Count requests that were refused because too much waited, by a reason of a word or two."""
        self.shed.labels(reason).inc(requests)

    def count_answer(self, fallback: str) -> None:
        """Count one answered list by its fallback, `personal` if it has none."""
        self._request_times.answers[fallback] += 1

    def count_batch(self, answered: int, refused: int) -> None:
        """Count the lists of one batch, and the elements that got none."""
        self.batch_lists.labels("answered").inc(answered)
        self.batch_lists.labels("refused").inc(refused)


class Totals:
    """Sums of the counters of several processes. The counts of a process that has ended stay in them."""

    def __init__(self) -> None:
        self._by_process: dict[int, list[Any]] = {}

    def put(self, process: int, samples: list[Any]) -> None:
        """Replace the samples of a process by its newest."""
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
                key = name, tuple((label, text) for label, text in labels)
                sums[key] = sums.get(key, 0.0) + value
        return [(name, labels, value) for (name, labels), value in sums.items()]


class _RegistryWithTotals(CollectorRegistry):
    """Registry as it is read, with sums over all processes instead of its own counters and histograms."""

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
