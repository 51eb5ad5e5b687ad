"""Numbers of answered requests and lists, and their durations, for Prometheus, at a tenth of a microsecond each.

The library's counters and histograms take a lock each, which cost a hundredth of a list. Requests are counted by the
event loop alone, so plain numbers do, and they become samples when Prometheus reads them.

This file decides how requests and lists are counted. Which labels they have is decided by those who count them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class PlainMetric(Collector):
    """A metric that makes its samples from plain numbers when Prometheus reads it.

    Args:
        family: makes a metric family of the library without samples.
        fill: adds the samples.
    """

    def __init__(self, family: Callable[[], Any], fill: Callable[[Any], None]) -> None:
        self._family = family
        self._fill = fill
        self._labelnames: tuple[str, ...] = family()._labelnames  # noqa: SLF001  named as in the library's metrics

    def describe(self) -> list[Metric]:
        """The family without samples."""
        return [self._family()]

    def collect(self) -> Iterator[Metric]:
        """The family with its samples."""
        family = self._family()
        self._fill(family)
        yield family


class RequestTimes:
    """Counts of requests by method, route and status, their durations by route, and counts of lists.

    Args:
        registry: shows them.
        bounds: upper bounds of the buckets of durations in seconds, rising.

    Attributes:
        answers: number of lists by what they were made from. Only one thread may count.

    >>> registry = CollectorRegistry()
    >>> times = RequestTimes(registry, [0.01, 0.1])
    >>> count = times.counter("GET", "/v1/popular", 200)
    >>> count(0.002), count(0.02)
    (None, None)
    >>> registry.get_sample_value("corrente_http_request_seconds_bucket", {"route": "/v1/popular", "le": "0.01"})
    1.0
    """

    def __init__(self, registry: CollectorRegistry, bounds: Sequence[float]) -> None:
        self.answers: Counter[str] = Counter()
        self._bounds = list(bounds)
        self._counts: dict[tuple[str, str, int], tuple[list[int], list[float]]] = {}
        self._counters: dict[tuple[str, str, int], Callable[[float], None]] = {}
        for family, name, text, labels, fill in (
            (CounterMetricFamily, "http_requests", "Requests answered.", ("method", "route", "status"), self._requests),
            (HistogramMetricFamily, "http_request_seconds", "Time to the answer.", ("route",), self._durations),
            (
                CounterMetricFamily,
                "answers",
                "Lists answered, by what they were made from.",
                ("fallback",),
                self._answers,
            ),
        ):
            registry.register(PlainMetric(partial(family, f"corrente_{name}", text, labels=labels), fill))

    def counter(self, method: str, route: str, status: int) -> Callable[[float], None]:
        """A function that counts one request of this kind, given its seconds. Only one thread may call it.

        Args:
            method: of HTTP.
            route: its template, never a path with ids.
            status: of the answer.
        """
        kind = (method, route, status)
        found = self._counters.get(kind)
        if found is not None:
            return found
        bounds = self._bounds
        counts, seconds_total = self._counts[kind] = [0] * (len(bounds) + 1), [0.0]

        def count(seconds: float) -> None:
            counts[bisect_left(bounds, seconds)] += 1
            seconds_total[0] += seconds

        self._counters[kind] = count
        return count

    def _requests(self, family: CounterMetricFamily) -> None:
        for (method, route, status), (counts, _) in list(self._counts.items()):
            family.add_metric((method, route, str(status)), sum(counts))

    def _durations(self, family: HistogramMetricFamily) -> None:
        by_route: dict[str, tuple[list[int], float]] = {}
        for (_, route, _), (counts, total) in list(self._counts.items()):
            before, seconds = by_route.get(route, ([0] * len(counts), 0.0))
            by_route[route] = [a + b for a, b in zip(before, counts, strict=True)], seconds + total[0]
        for route, (counts, total_seconds) in by_route.items():
            buckets = []
            so_far = 0
            for bound, held in zip([*self._bounds, float("inf")], counts, strict=True):
                so_far += held
                buckets.append((floatToGoString(bound), float(so_far)))  # type: ignore[no-untyped-call]
            family.add_metric((route,), buckets, total_seconds)

    def _answers(self, family: CounterMetricFamily) -> None:
        for fallback, count in list(self.answers.items()):
            family.add_metric((fallback,), count)
