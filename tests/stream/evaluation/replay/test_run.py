"""The walk over a history, with a learner that is plain enough to be checked by eye."""

import ir_measures
import numpy as np
import pytest
from ir_measures import RR, Success, nDCG

from stream.evaluation.protocol import Protocol, WrongInput
from stream.evaluation.replay.history import attribute, load
from stream.evaluation.replay.run import evaluate


@pytest.fixture
def walked(plain, made):
    def walk(rows, protocol=None, **options):
        history = made(rows)
        protocol = protocol or Protocol(warmup=0)
        return evaluate(history, protocol, learner=plain.learner_for(history, protocol), **options)

    return walk


def alternating(visitors=20, events=8):
    """Everybody goes from a to b to c to a …: the rule is right, popularity can't be."""
    return [(f"u{visitor}", "abc"[(visitor + step) % 3]) for step in range(events) for visitor in range(visitors)]


def test_what_is_learned_is_tested_right(walked):
    result = walked(alternating(), Protocol(warmup=0.5, cutoffs=(1, 3)))
    assert result.figures["rules"]["hr"]["1"] == 1.0
    assert result.figures["popularity"]["hr"]["1"] < 0.7
    assert result.figures["blend"]["hr"]["3"] == 1.0


def test_an_event_is_tested_before_it_is_learned(walked):
    result = walked([("u", "a"), ("u", "b"), ("u", "a"), ("u", "b")], Protocol(warmup=0, cutoffs=(1,)))
    # a→b is new at the first test (b was never seen: a miss), b→a unseen as a rule (a tie of two), a→b known
    assert result.tests.of("rules").tolist() == [np.inf, 1.5, 1.0]


def test_ties_count_half(walked):
    result = walked([("u", "a"), ("v", "b"), ("w", "c"), ("u", "b")], Protocol(warmup=0, cutoffs=(1, 2)))
    assert result.tests.of("popularity").tolist() == [2.0]  # 1 + 0 + 2/2


def test_nothing_is_learned_from_the_tests_of_a_frozen_split(walked):
    rows = [("u", "a", "train"), ("u", "b", "train"), ("v", "a", "train")]
    tests = [("x", "b", "ctx"), ("x", "a", "test"), ("x", "a", "test"), ("x", "a", "test")]
    result = walked(rows + tests, Protocol(cutoffs=(1,)))
    assert result.plan.frozen
    # popularity stays a 2, b 1, and the rule a→b stays the only one: after the first a, b ranks above a
    assert result.tests.of("popularity").tolist() == [1.0, 1.0, 1.0]
    assert result.tests.of("rules").tolist() == [1.5, 2.0, 2.0]


def test_the_last_item_is_a_miss_where_it_is_excluded(walked):
    result = walked([("u", "a"), ("v", "b"), ("u", "a"), ("u", "b")], Protocol(warmup=0, exclude_last=True))
    assert result.tests.of("blend").tolist() == [np.inf, 1.0]


def test_one_visitor_one_item_and_all_new_items_are_answered_and_explained(walked):
    same = walked([("u", "a"), ("u", "a"), ("u", "a")])
    assert same.figures["blend"]["hr"]["10"] == 1.0
    assert {"there is one item: every list that has it is right"} <= set(same.report()["notes"])
    new = walked([("u", item) for item in "abcdef"])
    assert new.figures["blend"]["hr"]["10"] == 0.0
    assert any("every tested item was new" in note for note in new.report()["notes"])


def test_same_input_same_output_however_it_is_cut_into_spans(walked, plain):
    rows = alternating(60, 30)
    one, again = walked(rows, Protocol(warmup=0.2, every=3)), walked(rows, Protocol(warmup=0.2, every=3))
    assert one.report() == again.report()
    whole = plain.PlainLearner(one.visitor, one.item)
    everything = whole.walk(0, len(rows), one.plan.actions, top=20)
    assert np.array_equal(everything.event, one.tests.event)
    assert np.array_equal(everything.top, one.tests.top)


def test_timing_changes_no_figure(walked):
    moments = iter(range(10**6))
    timed = walked(alternating(), Protocol(warmup=0.2), clock=lambda: float(next(moments)))
    untimed = walked(alternating(), Protocol(warmup=0.2))
    assert timed.seconds > 0
    assert timed.test_microseconds == 0.0  # this clock ticks once a look, so a test takes as long as nothing
    assert timed.figures == untimed.figures


def test_progress_reaches_the_end(walked):
    seen = []
    walked(alternating(100, 30), progress=lambda done, total, walk, names: seen.append((done, total)))
    assert seen[-1] == (3000, 3000)
    assert len(seen) > 1


def test_figures_agree_with_ir_measures_on_exported_rankings(plain, made):
    random = np.random.default_rng(4)
    rows = [(f"u{random.integers(30)}", f"i{min(random.geometric(0.15), 25)}") for _ in range(600)]
    history = made(rows)
    protocol = Protocol(warmup=0.2, cutoffs=(3, 10))
    result = evaluate(history, protocol, learner=plain.PlainLearner(history.data.user.codes, history.data.item.codes))
    learner = plain.PlainLearner(history.data.user.codes, history.data.item.codes)
    walk = learner.walk(0, len(rows), result.plan.actions, top=10, export=True)
    tied = walk.equal[:, 2] > 0
    run, judged = {}, {}
    for test, event in enumerate(walk.event):
        part = slice(walk.offsets[test], walk.offsets[test + 1])
        run[str(event)] = {
            str(item): float(score) for item, score in zip(walk.candidate[part], walk.scores[part, 2], strict=True)
        }
        judged[str(event)] = {str(result.item[event]): 1}
    for k in (3, 10):
        for theirs, ours in ((Success @ k, "hr"), (RR @ k, "mrr"), (nDCG @ k, "ndcg")):
            by_query = {metric.query_id: metric.value for metric in ir_measures.iter_calc([theirs], judged, run)}
            values = np.array([by_query[str(event)] for event in walk.event])
            assert values[~tied] == pytest.approx(result.measured("blend", ours, k)[~tied])
    assert (~tied).sum() > 100


class SameAgain:
    """Likes what this visitor had last."""

    name = "same again"

    def __init__(self):
        self.last = {}

    def learn(self, visitor, item, seconds):
        self.last[visitor] = item

    def score(self, visitor, candidates, seconds):
        return (candidates == self.last.get(visitor)).astype(float)


def test_a_source_of_ones_own_is_judged_on_the_same_tests(walked):
    rows = [(f"u{visitor}", f"i{visitor}") for _ in range(6) for visitor in range(10)]
    result = walked(rows, Protocol(warmup=0.2, cutoffs=(1,)), own_sources=[SameAgain()])
    assert result.figures["same again"]["hr"]["1"] == 1.0
    assert "same again" in result.sources
    assert result.report()["sources"]["same again"]["hr"]["1"] == 1.0


class Clock(SameAgain):
    """Knows that items take turns, a second each."""

    name = "clock"

    def score(self, visitor, candidates, seconds):
        return (candidates == int(seconds) % 10).astype(float)


class Noise(SameAgain):
    name = "noise"

    def score(self, visitor, candidates, seconds):
        return np.random.default_rng(int(seconds)).random(len(candidates))


def test_a_source_that_knows_more_lifts_the_blend_it_joins_and_noise_does_not(walked):
    random = np.random.default_rng(6)
    turns = [n % 10 if random.random() < 0.7 else random.integers(10) for n in range(900)]
    rows = [(f"u{random.integers(30)}", f"i{turn}") for turn in turns]
    protocol = Protocol(warmup=0.2, cutoffs=(1,))
    result = walked(rows, protocol, own_sources=[Clock()])
    joined = result.figures["blend + clock"]["hr"]["1"]
    assert joined > result.figures["blend"]["hr"]["1"] + 0.3
    assert joined > 0.6
    assert "blend + clock" in result.report()["challengers"]
    assert "blend + clock" not in result.sources
    assert not result.compare("blend + clock", "blend").is_noise
    noisy = walked(rows, protocol, own_sources=[Noise()])
    assert noisy.figures["blend + noise"]["hr"]["1"] == pytest.approx(noisy.figures["blend"]["hr"]["1"], abs=0.05)


def test_a_blend_with_ones_own_learns_nothing_from_the_tests_of_a_frozen_split(walked):
    rows = [(f"u{n % 5}", f"i{n % 10}", "train") for n in range(50)]
    rows += [(f"t{n}", f"i{n % 10}", kind) for n in range(30) for kind in ("ctx", "test")]
    result = walked(rows, Protocol(cutoffs=(1,)), own_sources=[Clock()])
    assert result.tests.of("blend + clock").tolist() == result.tests.of("blend").tolist()


class Broken(SameAgain):
    name = "broken"

    def score(self, visitor, candidates, seconds):
        return np.full(len(candidates), np.nan)


def test_a_source_that_scores_nan_is_told(walked):
    with pytest.raises(ValueError, match="scores are NaN"):
        walked(alternating(), own_sources=[Broken()])


# ---- files


def written(tmp_path, text, name="shop.tsv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_kinds_are_kept_and_dropped(tmp_path):
    path = written(tmp_path, "ts\tuser\titem\tevent\n1\tu\ta\tclick\n2\tu\tb\tpurchase\n3\tu\tc\tclick\n")
    assert len(load(path, events=["click"])) == 2
    assert load(path, events=["click", "cart"]).notes == ("no event is of kind 'cart'",)
    with pytest.raises(WrongInput, match="no event is of kind cart; there are click, purchase"):
        load(path, events=["cart"])


def test_a_file_without_users_is_not_evaluated_by_user(tmp_path):
    path = written(tmp_path, "ts\tsession\titem\tevent\n1\ts\ta\tclick\n2\ts\tb\tclick\n")
    with pytest.raises(WrongInput, match="no user column; --by session"):
        evaluate(load(path), Protocol(by="user"))
    assert load(path).default_by == "session"


def test_a_row_without_a_user_counts_for_its_session(tmp_path):
    path = written(tmp_path, "ts\tuser\tsession\titem\tevent\n1\tu\ts\ta\tclick\n2\t\ts\tb\tclick\n3\t\tt\tb\tclick\n")
    visitor = load(path).visitor("user")
    assert [visitor.names[code] for code in visitor.codes] == ["u", "s", "t"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "column"),
        ("ts\tuser\titem\tevent\n", "no event"),
        ("ts\tuser\tevent\n1\tu\tclick\n", "no column 'item'. There are: ts, user, event"),
        ("ts\titem\tevent\n1\ta\tclick\n", "no column 'user' or 'session'"),
        ("ts\tuser\titem\tevent\nnan\tu\ta\tclick\n", "line 2: timestamp"),
        ("ts\tuser\titem\tevent\n1\tu\t\tclick\n", "line 2"),
        ("ts\tuser\titem\tevent\n1\t\ta\tclick\n", "line 2"),
        ("ts\tuser\titem\tevent\nsoon\tu\ta\tclick\n", "line 2"),
    ],
)
def test_files_that_are_wrong_say_what_is_wrong(tmp_path, text, message):
    with pytest.raises(WrongInput, match=message):
        load(written(tmp_path, text))


def test_any_column_can_be_the_group_of_the_visitor(tmp_path):
    rows = ["ts,user,item,event,city", "1,u,a,view,Rome", "2,u,b,click,Rome", "3,v,c,click,", "4,w,a,click,Oslo"]
    text = "\n".join(rows).replace(",", "\t")
    path = written(tmp_path, text)
    kept = load(path, events=["click"])
    city = attribute(path, kept, "city")
    assert [city.names[code] if code >= 0 else None for code in city.codes] == ["Rome", None, "Oslo"]
    with pytest.raises(WrongInput, match="no column 'town'"):
        attribute(path, kept, "town")
