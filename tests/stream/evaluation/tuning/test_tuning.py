"""Tuning finds what is there to be found, and doesn't claim what isn't."""

import numpy as np
import pytest

from stream.evaluation.protocol import Protocol, WrongInput
from stream.evaluation.replay.run import evaluate
from stream.evaluation.tuning.search import Knob, knobs_of, read_settings_file, tune, turned
from stream.models.settings import ModelSettings
from stream.settings import load_settings


@pytest.fixture
def run(plain):
    def evaluated(history, protocol, settings, **options):
        return evaluate(history, protocol, settings, learner=plain.learner_for(history, protocol, settings), **options)

    return evaluated


def with_a_misleading_kind(events=1500):
    """Those who click follow a cycle; those who view look at the same items at random."""
    random = np.random.default_rng(0)
    rows = []
    for step in range(events):
        visitor = f"u{step % 25}"
        rows.append((visitor, f"i{(step % 25 + step // 25) % 12}", "click"))
        rows += [(f"v{random.integers(25)}", f"i{random.integers(12)}", "view") for _ in range(2)]
    return rows


PROTOCOL = Protocol(warmup=0.2, cutoffs=(1,))


def test_a_kind_that_misleads_loses_weight_and_wins_where_it_was_not_tuned(made, run):
    history = made(with_a_misleading_kind())
    base = ModelSettings(weights={"click": 0.5, "view": 6.0})
    found = tune(history, PROTOCOL, base=base, trials=12, run=run)
    assert found.chosen["weights"]["view"] < found.chosen["weights"]["click"]
    assert found.following[1] > found.following[0]
    assert found.better
    settings = load_settings(read_settings_file(found.settings_file())).model
    assert settings.weights["view"] == found.chosen["weights"]["view"]


def test_where_nothing_can_be_won_the_default_stays(made, run):
    random = np.random.default_rng(1)
    rows = [(f"u{random.integers(20)}", f"i{random.integers(9)}", random.choice(["a", "b"])) for _ in range(900)]
    found = tune(made(rows), PROTOCOL, trials=8, run=run)
    assert not found.better
    assert read_settings_file(found.settings_file()) == {}
    assert "the default stays" in found.settings_file()


def test_the_following_part_is_seen_by_no_trial(made, run):
    history = made(with_a_misleading_kind(600))
    lengths, warmups = [], []

    def watched(part, protocol, settings, **options):
        lengths.append(len(part))
        warmups.append(protocol.warmup)
        return run(part, protocol, settings, **options)

    tune(history, PROTOCOL, trials=4, share=0.5, run=watched)
    assert lengths == [len(history) // 2] * 4 + [len(history)] * 2
    assert warmups[-2:] == [0.5, 0.5]


def test_the_tests_of_a_frozen_split_are_not_tuned_on(made, run):
    rows = [(f"u{n % 5}", f"i{n % 3}", "train") for n in range(200)] + [("x", "i0", "test"), ("x", "i1", "test")]
    with pytest.raises(WrongInput, match="no setting of the model has bounds"):  # train rows alone are of one kind
        tune(made(rows), PROTOCOL, trials=2, run=run)


def test_hopeless_trials_are_given_up(made, run):
    found = tune(made(with_a_misleading_kind()), PROTOCOL, trials=20, run=run)
    assert found.pruned > 0


def test_capacities_and_the_seed_are_no_knobs():
    assert not {"items", "visitors", "sessions", "event_ids", "seed"} & {
        knob.name for knob in knobs_of(ModelSettings, ["click"])
    }


def test_turning_a_weight_leaves_the_others():
    settings = turned(ModelSettings(), [Knob("weights", -6, 6, kind="cart")], {"weights.cart": 4.0})
    assert settings.weights == {**ModelSettings().weights, "cart": 4.0}


def test_a_line_that_sets_nothing_is_refused():
    with pytest.raises(WrongInput, match="line 2"):
        read_settings_file("# fine\nCORRENTE_SEED\n")
