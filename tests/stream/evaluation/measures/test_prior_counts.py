"""Counts before an event, against a plain count of the earlier events."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream.evaluation.measures import prior_counts

codes = st.lists(st.integers(0, 5), max_size=40)


@given(codes)
def test_earlier_of_same(values):
    assert prior_counts.earlier_of_same(np.array(values, int)).tolist() == [
        values[:place].count(value) for place, value in enumerate(values)
    ]


@given(codes.filter(bool), st.data())
def test_counts_before(values, data):
    queries = data.draw(st.lists(st.tuples(st.integers(0, len(values)), st.integers(-1, 6)), min_size=1, max_size=10))
    event, code = (np.array(part) for part in zip(*queries, strict=True))
    assert prior_counts.counts_before(np.array(values), event, code).tolist() == [
        values[:place].count(value) for place, value in queries
    ]


def test_age_is_since_the_first_event_and_never_negative():
    time = np.array([10.0, 20.0, 5.0, 30.0])
    assert prior_counts.seconds_since_first(np.array([1, 1, 1, 2]), time).tolist() == [0, 10, 0, 0]


def test_the_position_in_a_session_counts_from_one():
    assert prior_counts.position_in_session(np.array([4, 9, 4, 4])).tolist() == [1, 1, 2, 3]
