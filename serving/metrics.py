"""What the server counts about itself, for Prometheus.

A registry of its own for each application, so that two of them in one process don't mix. Labels are route templates and
a few fixed words, never ids: the number of series is bounded.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """Counters of one application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labelled = {"registry": self.registry, "namespace": "corrente"}
        self.requests = Counter(
            "http_requests", "Requests answered.", ["method", "route", "status"], **labelled
        )
        self.request_seconds = Histogram(
            "http_request_seconds", "Time to the answer.", ["route"], buckets=SECONDS, **labelled
        )
        self.fallbacks = Counter(
            "answers", "Lists answered, by what they were made from.", ["fallback"], **labelled
        )
        self.events_accepted = Counter("http_events_accepted", "Events that Kafka acknowledged.", ["topic"], **labelled)
        self.events_refused = Counter(
            "http_events_refused", "Events that were not accepted.", ["topic", "reason"], **labelled
        )
        self.served_version = Gauge("served_version", "Number of the version that answers.", **labelled)
        self.served_created_seconds = Gauge(
            "served_version_created_seconds", "When the version that answers was made, seconds since the epoch.", **labelled
        )
        self.resident_versions = Gauge("resident_versions", "Versions held in memory.", **labelled)
        self.loads = Counter("version_loads", "Versions loaded, whole or by what changed.", ["how"], **labelled)
        self.load_seconds = Histogram(
            "version_load_seconds", "Time to load a version.", ["how"], buckets=SECONDS, **labelled
        )
        self.dependency_up = Gauge("dependency_up", "1 while the dependency answers.", ["dependency"], **labelled)
        self._fallback_children: dict[str, Counter] = {}
        self._request_children: dict[tuple[str, str, int], Counter] = {}
        self._seconds_children: dict[str, Histogram] = {}

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
