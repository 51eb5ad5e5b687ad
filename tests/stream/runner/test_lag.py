"""Lag: known rates in, the right estimates out."""

from __future__ import annotations

import math

import pytest

from stream.runner.lag import LOG_SECONDS, LagEstimator


def test_the_time_to_catch_up_follows_from_what_is_gained() -> None:
    lag = LagEstimator()
    for second in range(30):  # 3000 a second are learned, 1000 arrive
        lag.update(float(second), behind=100_000 - 2000 * second)
        lag.learned += 3000
    assert lag.records_per_second == pytest.approx(3000)
    assert lag.catch_up_seconds == pytest.approx((100_000 - 2000 * 29) / 2000)


def test_a_shard_that_loses_ground_never_catches_up_and_one_without_lag_has() -> None:
    lag = LagEstimator()
    lag.update(0.0, behind=100)
    lag.update(1.0, behind=200)
    assert lag.catch_up_seconds == math.inf
    lag.update(2.0, behind=0)
    assert lag.catch_up_seconds == 0.0


def test_far_behind_is_more_than_a_batch_and_more_than_two_seconds_of_learning() -> None:
    lag = LagEstimator()
    lag.update(0.0, behind=5000)
    assert lag.far_behind(4096)
    lag.learned = 10_000
    lag.update(1.0, behind=19_000)
    assert not lag.far_behind(4096), "that is learned in 1.9 seconds"
    lag.learned = 10_000
    lag.update(2.0, behind=21_000)
    assert lag.far_behind(4096)
    assert not lag.far_behind(22_000)


def test_it_is_logged_at_most_once_in_ten_seconds() -> None:
    lag = LagEstimator()
    moments = [now for now in range(100, 131) if lag.log_due(float(now))]
    assert moments == [100, 110, 120, 130]
    assert LOG_SECONDS == 10.0


def test_two_updates_at_one_moment_are_no_rate() -> None:
    lag = LagEstimator()
    lag.update(1.0, behind=10)
    lag.learned = 5
    lag.update(1.0, behind=5)
    assert lag.records_per_second == 0.0
