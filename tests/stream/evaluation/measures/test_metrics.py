"""Metrics against figures worked out by hand, and against an independent implementation (ir-measures)."""

import math

import ir_measures
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ir_measures import RR, Success, nDCG

from stream.evaluation.measures import metrics
from stream.evaluation.measures.ranks import MISS, count_ranks, rank_of


def test_a_miss_is_worth_nothing_anywhere():
    figures = metrics.figures(count_ranks([0], [0], [False]), [10])
    assert figures["hr"]["10"] == figures["mrr"]["10"] == figures["ndcg"]["10"] == 0


def test_figures_by_hand():
    # ranks 1, 2, 10, 10.5, 11, miss; at 10: hits 1, 1, 1, 0, 0, 0
    rank = np.array([1, 2, 10, 10.5, 11, math.inf])
    figures = metrics.figures(rank, [10, 20])
    assert figures["hr"] == {"10": 0.5, "20": pytest.approx(5 / 6)}
    assert figures["mrr"]["10"] == pytest.approx((1 + 1 / 2 + 1 / 10) / 6)
    assert figures["mrr"]["20"] == pytest.approx((1 + 1 / 2 + 1 / 10 + 1 / 10.5 + 1 / 11) / 6)
    assert figures["ndcg"]["10"] == pytest.approx((1 + 1 / math.log2(3) + 1 / math.log2(11)) / 6)
    assert figures["hr_se"]["10"] == pytest.approx(math.sqrt(0.25 / 6))


def test_a_figure_of_no_tests_is_an_error_and_no_zero():
    with pytest.raises(ValueError, match="no event was tested"):
        metrics.figures(np.array([]), [10])
    with pytest.raises(ValueError, match="no event was tested"):
        metrics.moving_mean(np.array([]), 5)


@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 10**6), min_size=1, max_size=40, unique=True), st.integers(0, 45)),
        min_size=1,
        max_size=12,
    )
)
def test_figures_agree_with_ir_measures(lists):
    """Scores are unique, because ir-measures breaks ties in another way."""
    run, judged, ranks = {}, {}, []
    for number, (scores, target) in enumerate(lists):
        query = f"q{number}"
        run[query] = {f"d{item}": float(score) for item, score in enumerate(scores)}
        judged[query] = {f"d{target}": 1}
        found = target < len(scores)
        ranks.append(rank_of(scores, target) if found else MISS)
    for k in (3, 10, 20):
        theirs = ir_measures.calc_aggregate([Success @ k, RR @ k, nDCG @ k], judged, run)
        ours = metrics.figures(np.array(ranks), [k])
        assert ours["hr"][str(k)] == pytest.approx(theirs[Success @ k])
        assert ours["mrr"][str(k)] == pytest.approx(theirs[RR @ k])
        assert ours["ndcg"][str(k)] == pytest.approx(theirs[nDCG @ k])


def test_gini_is_nothing_for_even_lists_and_near_one_for_one_item():
    assert metrics.gini(np.array([[0, 1], [2, 3]]), 4) == pytest.approx(0)
    assert metrics.gini(np.zeros((50, 1), int), 100) == pytest.approx(0.99)


def test_novelty_by_hand():
    # of 8 events, one item had 4 (1 bit) and one had 1 (3 bits); one place is empty
    lists = np.array([[5, 6, -1]])
    assert metrics.novelty(lists, np.array([[4, 1, 0]]), np.array([8])) == pytest.approx(2.0)


def test_moving_mean_of_a_stream_shorter_than_the_window_is_the_mean():
    ends, means = metrics.moving_mean(np.array([1.0, 0.0]), 50)
    assert ends.tolist() == [2]
    assert means.tolist() == [0.5]
