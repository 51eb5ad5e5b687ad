"""Progress of a partition: standing still is said with the reason and since when, and pauses grow until it goes on."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, Gauge
from structlog import get_logger
from structlog.testing import capture_logs

from stream.health.progress import STOPPED_SECONDS, Progress
from stream.health.standing import NO_PROGRESS_SECONDS


class Bench:
    def __init__(self) -> None:
        self.now, self.registry = 100.0, CollectorRegistry()
        gauge = Gauge("stopped", "Stopped.", ["partition", "reason"], registry=self.registry)
        self.progress = Progress(3, gauge, get_logger(), lambda: self.now, lambda: 1_700_000_000.0 + self.now)

    def metric(self, reason: str) -> float | None:
        return self.registry.get_sample_value("stopped", {"partition": "3", "reason": reason})


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_partition_stands_still_since_the_first_failure_for_a_reason_until_it_goes_on(bench: Bench) -> None:
    bench.progress.stop("redis", "no answer", "start Redis")
    bench.now += 50
    bench.progress.stop("redis", "still no answer", "start Redis")
    standing = bench.progress.standing(behind=0)
    assert standing == (1_700_000_100.0, "redis", "still no answer", "start Redis")
    assert (bench.metric("redis"), bench.metric("kafka")) == (1, 0)
    bench.progress.stop("kafka", "no broker", "start Kafka")
    assert bench.progress.standing(behind=0) == (1_700_000_150.0, "kafka", "no broker", "start Kafka")
    assert (bench.metric("redis"), bench.metric("kafka")) == (0, 1)
    bench.progress.resume(10)
    assert bench.progress.standing(behind=0) is None
    assert bench.metric("kafka") == 0


def test_learning_the_same_records_again_is_no_progress_and_pauses_grow_meanwhile(bench: Bench) -> None:
    bench.progress.resume(500)
    pauses = []
    for _ in range(9):
        bench.progress.resume(500)
        bench.progress.stop("failures", "a bug", "report it")
        pauses.append(bench.progress.pause_seconds())
    first, longest = STOPPED_SECONDS
    assert pauses[:3] == [first, 2 * first, 4 * first]
    assert pauses[-1] == longest
    bench.progress.resume(501)
    assert bench.progress.standing(behind=9) is None
    assert bench.progress.pause_seconds() == first


def test_no_progress_while_records_wait_is_standing_still_without_any_error(bench: Bench) -> None:
    bench.now += NO_PROGRESS_SECONDS + 5
    assert bench.progress.standing(behind=0) is None
    assert not bench.metric("no progress")
    with capture_logs() as lines:
        for _ in range(3):
            standing = bench.progress.standing(behind=1)
            assert standing is not None
            assert (standing.reason, standing.since) == ("no progress", 1_700_000_100.0)
            assert bench.metric("no progress") == 1
        bench.progress.resume()
    assert bench.progress.standing(behind=1) is None
    assert bench.metric("no progress") == 0
    assert [(line["event"], line["reason"]) for line in lines] == [
        ("the partition stands still", "no progress"),
        ("the partition goes on", "no progress"),
    ]
