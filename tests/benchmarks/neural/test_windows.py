"""Rounds: training never reads the window that it is tested on, and no test is lost unnoticed."""

import numpy as np
import pytest

from benchmarks.neural.windows import DAY_SECONDS, rounds_of
from stream.evaluation.protocol import EvaluationProtocol, WrongInput, plan


def planned(seconds, kinds=("click",), kind=None, protocol=None, weights=None):
    n = len(seconds)
    return plan(
        visitor=np.arange(n) % 3,
        item=np.arange(n) % 5,
        kind=np.zeros(n, np.int32) if kind is None else np.array(kind),
        kinds=kinds,
        time=np.asarray(seconds, float),
        protocol=protocol or EvaluationProtocol(warmup=0),
        kind_weights=weights,
    )


def test_each_window_is_tested_by_what_was_learned_before_it_began():
    seconds = np.arange(40) * DAY_SECONDS / 8  # five days of eight events
    rounds = rounds_of(planned(seconds), seconds)
    assert [each.name for each in rounds] == ["window 2", "window 3", "window 4", "window 5"]
    for number, each in enumerate(rounds, 1):
        assert each.tests.tolist() == list(range(8 * number, 8 * number + 8))
        assert np.flatnonzero(each.readable).tolist() == list(range(8 * number))
        assert np.flatnonzero(each.recent).tolist() == list(range(8 * number - 8, 8 * number))


def test_after_a_quiet_window_popularity_is_of_the_newest_one_with_events():
    seconds = np.array([0, 1, 2, 3, 4, 5, 1000, 1001, 1002], float)
    (only,) = rounds_of(planned(seconds), seconds, 100)
    assert only.name == "window 11"
    assert np.flatnonzero(only.recent).tolist() == [0, 1, 2, 3, 4, 5]


def test_a_late_row_stays_in_the_window_of_the_row_before_it():
    seconds = np.array([0, 1, 2, 3, 150, 20, 151, 152], float)
    (only,) = rounds_of(planned(seconds), seconds, 100)
    assert only.tests.tolist() == [4, 5, 6, 7]
    assert np.flatnonzero(only.readable).tolist() == [0, 1, 2, 3]


def test_events_that_weigh_nothing_are_read_and_not_learned():
    seconds = np.arange(12, dtype=float)
    steps = planned(seconds, ("click", "dislike"), [0, 1] * 6, weights={"dislike": -1.0})
    only = rounds_of(steps, seconds, 6)[0]
    assert np.flatnonzero(only.readable).tolist() == [0, 1, 2, 3, 4, 5]
    assert np.flatnonzero(only.learned).tolist() == [0, 2, 4]


def test_a_frozen_split_is_one_round_whatever_its_times():
    seconds = np.arange(9) * DAY_SECONDS
    steps = planned(seconds, ("train", "ctx", "test"), [0, 0, 0, 1, 1, 1, 2, 2, 2])
    (only,) = rounds_of(steps, seconds)
    assert np.flatnonzero(only.readable).tolist() == np.flatnonzero(only.learned).tolist() == [0, 1, 2]
    assert only.tests.tolist() == steps.tested.tolist() == [6, 7, 8]


def test_a_stream_of_one_window_is_refused_with_its_duration():
    with pytest.raises(
        WrongInput, match=r"first window of 86400 seconds.*shorter window \(the stream lasts 11 seconds"
    ):
        rounds_of(planned(np.arange(12.0)), np.arange(12.0))


@pytest.mark.parametrize("window", [0.0, -5.0, float("nan")])
def test_a_window_has_a_positive_duration(window):
    with pytest.raises(WrongInput, match="a window has a positive duration"):
        rounds_of(planned(np.arange(12.0)), np.arange(12.0), window)
