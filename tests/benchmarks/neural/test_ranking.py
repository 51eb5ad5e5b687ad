"""Full ranking on planted scores."""

import math

import numpy as np
import pytest

from benchmarks.neural.ranking import Diverged, full_ranks, popularity
from stream.evaluation.measures.ranks import rank_of

NOTHING = (np.zeros(0, np.int64), np.zeros(0, np.int64))


def test_the_rank_counts_better_items_and_half_of_the_ties():
    scores = np.array([[9, 3.0, 2.0, 2.0, 1.0]] * 4)  # column 0 is no item, however high its score
    assert full_ranks(scores, np.array([1, 2, 3, 4]), NOTHING).tolist() == [1.0, 2.5, 2.5, 4.0]


def test_an_unknown_target_is_a_miss():
    assert full_ranks(np.ones((1, 4)), np.array([0]), NOTHING).tolist() == [math.inf]


def test_forbidden_items_compete_with_nothing_and_are_a_miss_as_targets():
    scores = np.tile(np.array([0, 4.0, 3.0, 2.0, 1.0]), (2, 1))
    forbidden = (np.array([0, 0, 0, 1]), np.array([1, 2, 2, 4]))
    assert full_ranks(scores, np.array([3, 4]), forbidden).tolist() == [1.0, math.inf]


@pytest.mark.parametrize("seed", [0, 1])
def test_ranks_are_those_of_the_evaluation(seed):
    random = np.random.default_rng(seed)
    scores = random.integers(0, 6, (50, 21)).astype(np.float32)
    target = random.integers(1, 21, 50)
    expected = [rank_of(row[1:], number - 1) for row, number in zip(scores, target, strict=True)]
    assert full_ranks(scores, target, NOTHING).tolist() == expected


def test_scores_that_are_no_numbers_are_refused():
    with pytest.raises(Diverged, match="lower --rate"):
        full_ranks(np.array([[0.0, math.nan]]), np.array([1]), NOTHING)


def test_popularity_counts_recent_events_only():
    number = np.array([1, 2, 2, 0, 3])
    assert popularity(number, 3, np.array([True, True, True, False, False])).tolist() == [0, 1, 2, 0]
