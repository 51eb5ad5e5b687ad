"""The protocol against a loop that reads like its description, and on streams whose plan is known by construction."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.evaluation.protocol import RANKER_EVENTS, Action, EvaluationProtocol, WrongInput, plan, ranker_sample


def planned(rows, protocol=None, weights=None):
    """`rows`: (visitor, item) or (visitor, item, kind), a second apart."""
    visitor, item = (np.array([row[place] for row in rows], np.int32) for place in (0, 1))
    names = [row[2] if len(row) > 2 else "click" for row in rows]
    kinds = sorted(set(names)) or ["click"]
    return plan(
        visitor=visitor,
        item=item,
        kind=np.array([kinds.index(name) for name in names], np.int32),
        kinds=kinds,
        time=np.arange(len(rows), dtype=np.float64),
        protocol=protocol or EvaluationProtocol(warmup=0),
        kind_weights=weights,
    )


def by_a_loop(rows, protocol):
    """Numbers of the learned and of the tested events, decided one event at a time."""
    had, learned, tested, testable_seen = {}, [], [], 0
    for number, (visitor, item) in enumerate(rows):
        own = had.setdefault(visitor, set())
        if protocol.no_repeats:
            testable = learn = item not in own
        else:
            testable, learn = bool(own), True
        if testable and number >= int(protocol.warmup * len(rows)):
            if testable_seen % protocol.every == 0:
                tested.append(number)
            testable_seen += 1
        if learn:
            learned.append(number)
        own.add(item)
    return learned, tested


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5)), min_size=1, max_size=60),
    st.booleans(),
    st.sampled_from([0, 0.2, 0.3, 0.9]),
    st.integers(1, 4),
)
def test_the_plan_agrees_with_the_loop(rows, no_repeats, warmup, every):
    protocol = EvaluationProtocol(no_repeats=no_repeats, warmup=warmup, every=every)
    learned, tested = by_a_loop(rows, protocol)
    if not tested:
        with pytest.raises(WrongInput, match="nothing can be tested"):
            planned(rows, protocol)
        return
    result = planned(rows, protocol)
    assert result.tested.tolist() == tested
    assert np.flatnonzero(result.actions & Action.LEARN).tolist() == learned
    assert not result.frozen


def test_first_event_of_a_visitor_is_tested_only_without_repeats():
    rows = [(0, 1), (1, 1), (0, 2)]
    assert planned(rows).tested.tolist() == [2]
    assert planned(rows, EvaluationProtocol(warmup=0, no_repeats=True)).tested.tolist() == [0, 1, 2]


def test_an_event_on_an_item_the_visitor_had_is_only_shown_without_repeats():
    result = planned([(0, 1), (0, 1), (0, 2), (0, 1)], EvaluationProtocol(warmup=0, no_repeats=True))
    assert result.actions[1] == result.actions[3] == Action.SHOW


def test_every_second_testable_event_starting_with_the_first():
    rows = [(0, item) for item in range(6)]
    assert planned(rows, EvaluationProtocol(warmup=0, every=2)).tested.tolist() == [1, 3, 5]


def test_warmup_is_a_share_of_the_events_and_not_of_the_tests():
    rows = [(0, item) for item in range(10)]
    assert planned(rows, EvaluationProtocol(warmup=0.35)).tested.tolist() == [3, 4, 5, 6, 7, 8, 9]


def test_a_frozen_split_learns_train_keeps_ctx_as_context_and_ranks_test():
    rows = [(0, 1, "train"), (0, 2, "train"), (7, 1, "ctx"), (7, 2, "test"), (7, 3, "test"), (8, 1, "test")]
    result = planned(rows, EvaluationProtocol(warmup=0.9))
    assert result.frozen
    assert [Action(int(bits)) & ~Action.TRAIN_RANKER for bits in result.actions] == [
        Action.LEARN,
        Action.LEARN,
        Action.SHOW,
        Action.SHOW | Action.TEST,
        Action.SHOW | Action.TEST,
        Action.SHOW,  # visitor 8 has no earlier row as context
    ]
    assert not (result.actions[2:] & Action.TRAIN_RANKER).any()


def test_rows_revealed_one_by_one_are_tested_against_all_earlier_rows_of_the_visitor():
    rows = [(0, 1, "train"), (0, 2, "train"), (0, 3, "test"), (5, 1, "test"), (5, 2, "test"), (5, 3, "test")]
    assert planned(rows).tested.tolist() == [2, 4, 5]  # visitor 0's train rows are context too


def test_train_alone_is_a_stream_like_any_other():
    result = planned([(0, 1, "train"), (0, 2, "train")])
    assert not result.frozen
    assert result.tested.tolist() == [1]


def test_a_split_with_rows_of_another_kind_is_refused():
    with pytest.raises(WrongInput, match="also 'click'"):
        planned([(0, 1, "train"), (0, 2, "click"), (0, 3, "test")])


def test_kinds_weigh_as_set_unknown_kinds_weigh_one():
    result = planned([(0, 1, "click"), (0, 2, "purchase"), (0, 3, "r5")], weights={"click": 1, "purchase": 3})
    assert result.weights.tolist() == [1, 3, 1]


def test_in_a_stream_of_one_kind_every_event_weighs_one():
    assert planned([(0, 1, "purchase"), (0, 2, "purchase")], weights={"purchase": 3}).weights.tolist() == [1, 1]


def test_the_ranker_does_not_learn_to_recommend_returned_items():
    rows = [(0, 1, "purchase"), (0, 2, "purchase"), (0, 1, "return")]
    result = planned(rows, weights={"purchase": 3, "return": -3})
    assert result.actions[1] & Action.TRAIN_RANKER
    assert not result.actions[2] & Action.TRAIN_RANKER
    assert result.actions[2] & Action.TEST


def test_ranker_learns_from_every_event_at_first_and_then_ever_more_rarely():
    sample = ranker_sample(np.ones(400_000, bool), seed=3)
    assert sample[:RANKER_EVENTS].all()
    assert sample[300_000:].mean() == pytest.approx(np.log(4 / 3) * RANKER_EVENTS / 100_000, abs=0.005)
    assert not np.array_equal(sample, ranker_sample(np.ones(400_000, bool), seed=4))
    assert np.array_equal(sample, ranker_sample(np.ones(400_000, bool), seed=3))


def test_ranker_sample_counts_learned_events_only():
    learned = np.zeros(3 * RANKER_EVENTS, bool)
    learned[-RANKER_EVENTS:] = True
    assert np.array_equal(ranker_sample(learned, 0), learned)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "the stream is empty"),
        ([(0, 1), (1, 1), (2, 1)], "no visitor has a second event"),
        ([(0, 1, "train"), (5, 1, "test")], "no `test` row's visitor has an earlier row"),
    ],
)
def test_streams_that_can_not_be_tested_are_refused_with_the_reason(rows, message):
    with pytest.raises(WrongInput, match=message):
        planned(rows)


def test_a_warmup_that_leaves_no_test_is_refused():
    with pytest.raises(WrongInput, match="in the warm-up"):
        planned([(0, 1), (0, 2), (1, 3)], EvaluationProtocol(warmup=0.9))


def test_nan_time_is_refused():
    with pytest.raises(WrongInput, match="event 2 has a time that is not a number"):
        plan(
            visitor=np.zeros(2, int),
            item=np.arange(2),
            kind=np.zeros(2, int),
            kinds=["click"],
            time=np.array([0, np.nan]),
            protocol=EvaluationProtocol(),
        )


@pytest.mark.parametrize(
    "wrong", [{"warmup": 1}, {"warmup": float("nan")}, {"every": 0}, {"cutoffs": ()}, {"cutoffs": (0,)}, {"by": "item"}]
)
def test_impossible_protocols_are_refused(wrong):
    with pytest.raises(WrongInput):
        EvaluationProtocol(**wrong)


def test_unsorted_time_and_repeated_rows_are_noted_and_not_dropped():
    result = plan(
        visitor=np.zeros(4, int),
        item=np.array([1, 1, 2, 3]),
        kind=np.zeros(4, int),
        kinds=["click"],
        time=np.array([5.0, 5.0, 3.0, 4.0]),
        protocol=EvaluationProtocol(warmup=0),
    )
    assert len(result.tested) == 3
    assert any("1 of 4 rows are older" in note for note in result.notes)
    assert any("1 rows repeat the row before" in note for note in result.notes)
    assert any("one visitor" in note for note in result.notes)
