"""The comparison as a whole without a network: the same tests and ranks as `corrente evaluate`, and no look ahead."""

import numpy as np
import pytest

from benchmarks.neural.comparison import compare, prepare, round_ranks
from benchmarks.neural.networks import NetworkSettings
from benchmarks.neural.sequences import sequences_of
from benchmarks.neural.windows import rounds_of
from stream.evaluation.protocol import EvaluationProtocol
from stream.evaluation.replay.run import evaluate
from tests.stream.evaluation.simple_learner import learner_for

SETTINGS = NetworkSettings(length=5)


@pytest.fixture(params=[0, 1], ids="seed {}".format)
def random_split(request, history_from):
    """A frozen split of random events, in which visitors repeat items and some test items are new."""
    random = np.random.default_rng(request.param)

    def rows(kind, visitors, count, items):
        picks = zip(random.choice(visitors, count), random.integers(0, items, count), strict=True)
        return [(0, f"{kind}{user}", f"i{item}", kind) for user, item in picks]

    train = rows("train", 20, 200, 12)
    shown = [(0, f"v{place % 15}", item, "ctx") for place, (_, _, item, _) in enumerate(rows("ctx", 15, 60, 12))]
    tests = [(0, f"v{place % 15}", item, "test") for place, (_, _, item, _) in enumerate(rows("test", 15, 60, 16))]
    return history_from(train + shown + tests)


@pytest.mark.parametrize("rules", [{}, {"no_repeats": True}, {"exclude_last": True}], ids=str)
def test_popularity_ranks_every_test_of_a_split_as_the_evaluation_s_own_popularity_does(random_split, rules):
    protocol = EvaluationProtocol(by="user", warmup=0, **rules)
    theirs = evaluate(random_split, protocol, learner=learner_for(random_split, protocol))
    visitor, item = random_split.visitor("user").codes, random_split.data.item.codes
    (only,) = rounds_of(theirs.plan, random_split.data.seconds)
    prepared = prepare(item, only, sequences_of(visitor), SETTINGS.length)
    ranks = round_ranks(prepared, only, sequences_of(visitor), protocol, None)
    assert only.tests.tolist() == theirs.tests.event.tolist()
    assert ranks.tolist() == theirs.tests.of("popularity").tolist()
    assert np.isinf(ranks).any()
    assert np.isfinite(ranks).any()


def test_a_network_s_scores_rank_visitors_with_a_context_and_popularity_the_others(history_from, circle):
    rows = circle(day=0) + circle(day=1, seed=1)
    history, protocol = history_from(rows), EvaluationProtocol(warmup=0, no_repeats=True)
    visitor, item = history.visitor("user").codes, history.data.item.codes
    (only,) = rounds_of(evaluate(history, protocol, learner=learner_for(history, protocol)).plan, history.data.seconds)
    prepared = prepare(item, only, sequences_of(visitor), SETTINGS.length)

    def next_on_the_circle(contexts):
        """The right answer: items are numbered along the circle, i0 is 1."""
        last = contexts[np.arange(len(contexts)), (contexts > 0).sum(axis=1) - 1]
        scores = np.zeros((len(contexts), prepared.items + 1), np.float32)
        scores[np.arange(len(contexts)), last % prepared.items + 1] = 1
        return scores

    ranks = round_ranks(prepared, only, sequences_of(visitor), protocol, next_on_the_circle)
    popular = round_ranks(prepared, only, sequences_of(visitor), protocol, None)
    first = ~prepared.contexts.any(axis=1)
    assert first.sum() == 40
    assert (ranks[first] == popular[first]).all()
    assert (ranks[~first] == 1).all()


def test_the_most_popular_items_are_those_of_the_window_before(history_from):
    """Each day all visitors want one item, and the next day another one: i0, i1, i2, and i0 again."""
    rows = [(day * 86_400 + n, f"d{day}v{n}", f"i{day % 3}", "click") for day in range(4) for n in range(20)]
    report = compare(history_from(rows), EvaluationProtocol(warmup=0, no_repeats=True), [], SETTINGS, blend=False)
    figures = report["rankings"]["popular"]["by_round"]
    assert [round_["unknown_target_share"] for round_ in report["rounds"]] == [1.0, 1.0, 0.0]
    assert [each["mrr"]["10"] for each in figures] == pytest.approx([0.0, 0.0, 1 / 2.5])  # i2 first; i0 ties with i1


def test_events_weigh_as_they_do_for_the_default_model_so_a_dislike_is_no_target(history_from):
    rows = [
        (day * 86_400 + n, f"d{day}v{n % 5}", f"i{n % 3}", "dislike" if n % 4 == 0 else "click")
        for day in range(2)
        for n in range(20)
    ]
    report = compare(history_from(rows), EvaluationProtocol(warmup=0), [], SETTINGS, blend=False)
    assert [each["learned_events"] for each in report["rounds"]] == [15]


def test_figures_have_standard_errors_and_the_blend_is_paired_with_each_ranking(history_from, circle):
    rows = circle(day=0) + circle(day=1, seed=1) + circle(day=2, seed=2)
    protocol = EvaluationProtocol(warmup=0, cutoffs=(1, 3))
    history = history_from(rows)
    report = compare(history, protocol, [], SETTINGS)
    alone = evaluate(history, protocol)
    later = alone.tests.event >= 480
    popular, blend = (report["rankings"][name]["figures"] for name in ("popular", "blend"))
    assert report["n"] == later.sum() == 2 * 11 * 40
    assert report["tests_before_second_window"] == (~later).sum()
    assert blend["hr"]["1"] == (alone.tests.of("blend")[later] <= 1).mean() > 0.9
    assert popular["hr_se"]["1"] == pytest.approx(np.sqrt(popular["hr"]["1"] * (1 - popular["hr"]["1"]) / report["n"]))
    assert popular["mrr_se"]["1"] == pytest.approx(popular["hr_se"]["1"])  # with one place, both are the same
    difference = report["blend_minus"]["popular"]["hr@1"]
    assert difference["difference"] == pytest.approx(blend["hr"]["1"] - popular["hr"]["1"])
    assert difference["low"] > 0
