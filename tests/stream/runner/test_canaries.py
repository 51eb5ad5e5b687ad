"""Canary for prometheus_client: the series of a metric are listed by a private attribute."""

from __future__ import annotations

from importlib.metadata import version

from prometheus_client import CollectorRegistry, Gauge


def test_series_of_a_gauge_are_listed_by_their_labels() -> None:
    gauge = Gauge("canary", "A gauge.", ["partition", "name"], registry=CollectorRegistry())
    gauge.labels("0", "hr").set(1.0)
    gauge.labels("1", "hr").set(2.0)
    assert list(getattr(gauge, "_metrics", {})) == [("0", "hr"), ("1", "hr")], (
        f"prometheus_client {version('prometheus_client')}: a metric no longer lists its series by `_metrics`; look at "
        "`remove_shard` in stream/runner/metrics.py"
    )
