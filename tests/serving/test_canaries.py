"""Canary for prometheus_client: names of labels are a private attribute, and a class of ours has one of that name."""

from __future__ import annotations

from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import CounterMetricFamily


def test_metrics_and_families_keep_the_names_of_their_labels_alike() -> None:
    counter = Counter("canary", "A counter.", ["route"], registry=CollectorRegistry())
    family = CounterMetricFamily("canary", "A counter.", labels=["route"])
    for each in (counter, family):
        assert getattr(each, "_labelnames", None) == ("route",), (
            f"prometheus_client {version('prometheus_client')}: {type(each).__name__} keeps the names of its labels "
            "elsewhere than in `_labelnames`; look at `PlainMetric` in serving/request_times.py"
        )
