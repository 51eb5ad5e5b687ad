"""Evaluation of a history, with a learner that is simple enough to be checked by hand."""

import ir_measures
import numpy as np
import pytest
from ir_measures import RR, Success, nDCG

from stream.evaluation.protocol import Action, EvaluationProtocol
from stream.evaluation.replay.learner import SpanOutcomes
from stream.evaluation.replay.run import evaluate


def alternating(visitors=20, events=8):
    """All visitors go from a to b to c to a …: the rule is always right, popularity can't be."""
    return [(f"u{visitor}", "abc"[(visitor + step) % 3]) for step in range(events) for visitor in range(visitors)]


def test_a_rule_that_always_holds_is_learned(evaluated):
    result = evaluated(alternating(), EvaluationProtocol(warmup=0.5, cutoffs=(1, 3)))
    assert result.figures["rules"]["hr"]["1"] == 1.0
    assert result.figures["popularity"]["hr"]["1"] < 0.7
    assert result.figures["blend"]["hr"]["3"] == 1.0


def test_an_event_is_tested_before_it_is_learned(evaluated):
    result = evaluated([("u", "a"), ("u", "b"), ("u", "a"), ("u", "b")], EvaluationProtocol(warmup=0, cutoffs=(1,)))
    # a→b is new at the first test (b was never seen: a miss), b→a unseen as a rule (a tie of two), a→b known
    assert result.tests.of("rules").tolist() == [np.inf, 1.5, 1.0]


def test_ties_count_half(evaluated):
    result = evaluated([("u", "a"), ("v", "b"), ("w", "c"), ("u", "b")], EvaluationProtocol(warmup=0, cutoffs=(1, 2)))
    assert result.tests.of("popularity").tolist() == [2.0]  # 1 + 0 + 2/2


def test_nothing_is_learned_from_the_tests_of_a_frozen_split(evaluated):
    rows = [("u", "a", "train"), ("u", "b", "train"), ("v", "a", "train")]
    tests = [("x", "b", "ctx"), ("x", "a", "test"), ("x", "a", "test"), ("x", "a", "test")]
    result = evaluated(rows + tests, EvaluationProtocol(cutoffs=(1,)))
    assert result.plan.frozen
    # popularity stays a 2, b 1, and the rule a→b stays the only one: after the first a, b ranks above a
    assert result.tests.of("popularity").tolist() == [1.0, 1.0, 1.0]
    assert result.tests.of("rules").tolist() == [1.5, 2.0, 2.0]


def test_the_last_item_is_a_miss_where_it_is_excluded(evaluated):
    result = evaluated(
        [("u", "a"), ("v", "b"), ("u", "a"), ("u", "b")], EvaluationProtocol(warmup=0, exclude_last=True)
    )
    assert result.tests.of("blend").tolist() == [np.inf, 1.0]


def test_one_visitor_one_item_and_all_new_items_are_answered_and_explained(evaluated):
    same = evaluated([("u", "a"), ("u", "a"), ("u", "a")])
    assert same.figures["blend"]["hr"]["10"] == 1.0
    assert {"there is one item: every list that has it is right"} <= set(same.report()["notes"])
    new = evaluated([("u", item) for item in "abcdef"])
    assert new.figures["blend"]["hr"]["10"] == 0.0
    assert any("every tested item was new" in note for note in new.report()["notes"])


def test_same_input_same_output_however_it_is_cut_into_spans(evaluated, simple):
    rows = alternating(60, 30)
    one, again = (
        evaluated(rows, EvaluationProtocol(warmup=0.2, every=3)),
        evaluated(rows, EvaluationProtocol(warmup=0.2, every=3)),
    )
    assert one.report() == again.report()
    whole = simple.SimpleLearner(one.visitor, one.item)
    everything = whole.replay(0, len(rows), one.plan.actions, top=20)
    assert np.array_equal(everything.event, one.tests.event)
    assert np.array_equal(everything.top, one.tests.top)


def test_timing_changes_no_figure(evaluated):
    moments = iter(range(10**6))
    timed = evaluated(alternating(), EvaluationProtocol(warmup=0.2), clock=lambda: float(next(moments)))
    untimed = evaluated(alternating(), EvaluationProtocol(warmup=0.2))
    assert timed.seconds > 0
    assert timed.test_microseconds == 0.0  # the clock advances by one per call: a test takes no longer than nothing
    assert timed.figures == untimed.figures


def test_progress_reaches_the_end(evaluated):
    seen = []
    evaluated(alternating(100, 30), progress=lambda done, total, span, names: seen.append((done, total)))
    assert seen[-1] == (3000, 3000)
    assert len(seen) > 1


def test_figures_agree_with_ir_measures_on_exported_rankings(simple, history_from):
    random = np.random.default_rng(4)
    rows = [(f"u{random.integers(30)}", f"i{min(random.geometric(0.15), 25)}") for _ in range(600)]
    history = history_from(rows)
    protocol = EvaluationProtocol(warmup=0.2, cutoffs=(3, 10))
    result = evaluate(history, protocol, learner=simple.SimpleLearner(history.data.user.codes, history.data.item.codes))
    learner = simple.SimpleLearner(history.data.user.codes, history.data.item.codes)
    outcomes = learner.replay(0, len(rows), result.plan.actions, top=10, export=True)
    tied = outcomes.equal[:, 2] > 0
    run, judged = {}, {}
    for test, event in enumerate(outcomes.event):
        part = slice(outcomes.offsets[test], outcomes.offsets[test + 1])
        run[str(event)] = {
            str(item): float(score)
            for item, score in zip(outcomes.candidate[part], outcomes.scores[part, 2], strict=True)
        }
        judged[str(event)] = {str(result.item[event]): 1}
    for k in (3, 10):
        for theirs, ours in ((Success @ k, "hr"), (RR @ k, "mrr"), (nDCG @ k, "ndcg")):
            by_query = {metric.query_id: metric.value for metric in ir_measures.iter_calc([theirs], judged, run)}
            values = np.array([by_query[str(event)] for event in outcomes.event])
            assert values[~tied] == pytest.approx(result.measured("blend", ours, k)[~tied])
    assert (~tied).sum() > 100


class CountingLearner:
    """Nothing but a record of the spans that were replayed."""

    names = ("blend",)
    challengers = ()

    def __init__(self):
        self.spans = []

    def model_metrics(self):
        return {"conversion": {"learned": 7}}

    def replay(self, start, stop, actions, *, top, export=False):
        self.spans.append((start, stop, int(np.count_nonzero(actions[start:stop] & ~np.uint8(Action.TEST)))))
        tests = np.flatnonzero(actions[start:stop] & Action.TEST) + start
        zeros = np.zeros((len(tests), 1), np.int32)
        return SpanOutcomes(
            event=tests,
            greater=zeros,
            equal=zeros,
            found=np.ones(len(tests), bool),
            candidates=np.ones(len(tests), np.int32),
            fallback=np.zeros(len(tests), np.uint8),
            top=np.full((len(tests), top), -1, np.int32),
        )


def test_spans_cover_every_event_once_and_the_learner_s_own_figures_are_reported(history_from):
    learner = CountingLearner()
    result = evaluate(history_from(alternating(100, 30)), EvaluationProtocol(warmup=0), learner=learner)
    assert [start for start, _, _ in learner.spans] == [0, *(stop for _, stop, _ in learner.spans[:-1])]
    assert learner.spans[-1][1] == 3000
    assert result.report()["beside"] == {"conversion": {"learned": 7}}


def test_a_timed_test_is_replayed_where_it_stands_and_learns_nothing_more(history_from):
    learner = CountingLearner()
    ticks = iter(range(10**6))
    evaluate(history_from(alternating()), EvaluationProtocol(warmup=0.9), learner=learner, clock=lambda: next(ticks))
    single = [span for span in learner.spans if span[1] == span[0] + 1]
    assert len(single) >= 3
    assert sum(learned for _, _, learned in learner.spans) == 160, "every event is learned once"
