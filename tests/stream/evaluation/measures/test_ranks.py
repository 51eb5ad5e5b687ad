"""Ranks of targets: ties, misses and scores that are no numbers."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.evaluation.measures.ranks import MISS, count_ranks, rank_of


def test_rank_without_ties_counts_what_scores_more():
    assert rank_of([0.9, 0.5, 0.7, 0.1], 1) == 3


def test_rank_with_ties_is_the_mean_of_the_places_that_are_tied():
    # 0.9 first; three items share places 2, 3 and 4, whose mean is 3
    assert rank_of([0.9, 0.5, 0.5, 0.5, 0.1], 2) == 3


def test_a_target_that_shares_the_first_of_ten_places_with_nine_others():
    assert rank_of([0.0] * 10, 4) == 5.5


def test_nan_scores_are_refused_because_they_would_rank_first():
    with pytest.raises(ValueError, match="1 of 3 scores are NaN"):
        rank_of([math.nan, 1.0, 2.0], 0)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8), st.data())
def test_tied_rank_is_the_expected_rank_over_all_ways_to_break_the_ties(scores, data):
    target = data.draw(st.integers(0, len(scores) - 1))
    above = sum(score > scores[target] for score in scores)
    tied = sum(score == scores[target] for score in scores)
    places = range(above + 1, above + tied + 1)
    assert rank_of(scores, target) == sum(places) / tied


def test_a_target_that_is_no_candidate_has_an_infinite_rank_whatever_the_counts():
    assert count_ranks([0, 7], [0, 3], [False, True]).tolist() == [MISS, 9.5]


def test_negative_counts_are_refused():
    with pytest.raises(ValueError, match="counts of candidates"):
        count_ranks([-1], [0])
    with pytest.raises(ValueError, match="counts of candidates"):
        count_ranks([0], [-1])
