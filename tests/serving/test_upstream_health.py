"""Health of an upstream: down until it answers, logged and measured once for each change."""

from __future__ import annotations

import structlog

from serving.metrics import Metrics
from serving.upstream_health import UpstreamHealth


def gauge(metrics: Metrics) -> float | None:
    return metrics.registry.get_sample_value("corrente_dependency_up", {"dependency": "redis"})


def test_an_upstream_is_down_without_a_date_until_it_was_tried():
    metrics = Metrics()
    health = UpstreamHealth("redis", metrics)
    assert (health.up, health.since, health.reason, gauge(metrics)) == (False, None, "not reached yet", 0.0)


def test_each_change_is_logged_once_and_since_is_the_first_failure():
    metrics = Metrics()
    health = UpstreamHealth("redis", metrics)
    with structlog.testing.capture_logs() as logs:
        health.failed("refused", 10.0)
        health.failed("timed out", 11.0)
        assert (health.up, health.since, health.reason, gauge(metrics)) == (False, 10.0, "timed out", 0.0)
        health.answered()
        health.answered()
        assert (health.up, health.since, health.reason, gauge(metrics)) == (True, None, "", 1.0)
        health.failed("closed", 20.0)
        assert (health.up, health.since, gauge(metrics)) == (False, 20.0, 0.0)
    assert [(each["log_level"], each["upstream"]) for each in logs] == [
        ("warning", "redis"),
        ("info", "redis"),
        ("warning", "redis"),
    ]


def test_an_upstream_without_metrics_is_watched_all_the_same():
    health = UpstreamHealth("kafka")
    health.answered()
    assert health.up
