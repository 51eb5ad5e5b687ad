"""The search finds better settings if there are any, and recommends the default if there are none."""

import numpy as np
import pytest

from stream.evaluation.protocol import EvaluationProtocol, WrongInput
from stream.evaluation.replay.run import evaluate
from stream.evaluation.tuning.search import tune
from stream.evaluation.tuning.verdict import read_settings_file
from stream.models.settings import ModelSettings
from stream.settings import load_settings

pytestmark = pytest.mark.unmeasured


@pytest.fixture
def run(simple):
    def evaluate_simply(history, protocol, settings, **options):
        return evaluate(history, protocol, settings, learner=simple.learner_for(history, protocol, settings), **options)

    return evaluate_simply


def with_a_misleading_kind(events=1500):
    """Visitors who click follow a cycle of items; visitors who view pick items at random."""
    random = np.random.default_rng(0)
    rows = []
    for step in range(events):
        visitor = f"u{step % 25}"
        rows.append((visitor, f"i{(step % 25 + step // 25) % 12}", "click"))
        rows += [(f"v{random.integers(25)}", f"i{random.integers(12)}", "view") for _ in range(2)]
    return rows


PROTOCOL = EvaluationProtocol(warmup=0.2, cutoffs=(1,))


def test_a_misleading_kind_loses_weight_and_the_settings_are_better_on_unseen_events(history_from, run):
    history = history_from(with_a_misleading_kind())
    base = ModelSettings(weights={"click": 0.5, "view": 6.0})
    found = tune(history, PROTOCOL, base=base, trials=12, run=run)
    assert found.chosen["weights"]["view"] < found.chosen["weights"]["click"]
    assert found.following[1] > found.following[0]
    assert found.better
    settings = load_settings(read_settings_file(found.settings_file())).model
    assert settings.weights["view"] == found.chosen["weights"]["view"]


def test_the_default_stays_if_there_is_nothing_to_gain(history_from, run):
    random = np.random.default_rng(1)
    rows = [(f"u{random.integers(20)}", f"i{random.integers(9)}", random.choice(["a", "b"])) for _ in range(900)]
    found = tune(history_from(rows), PROTOCOL, trials=8, run=run)
    assert not found.better
    assert read_settings_file(found.settings_file()) == {}
    assert "the default stays" in found.settings_file()


def test_the_following_part_is_seen_by_no_trial(history_from, run):
    history = history_from(with_a_misleading_kind(600))
    lengths, warmups = [], []

    def recording(part, protocol, settings, **options):
        lengths.append(len(part))
        warmups.append(protocol.warmup)
        return run(part, protocol, settings, **options)

    tune(history, PROTOCOL, trials=4, share=0.5, run=recording)
    assert lengths == [len(history) // 2] * 4 + [len(history)] * 2
    assert warmups[-2:] == [0.5, 0.5]


def test_the_tests_of_a_frozen_split_are_not_tuned_on(history_from, run):
    rows = [(f"u{n % 5}", f"i{n % 3}", "train") for n in range(200)] + [("x", "i0", "test"), ("x", "i1", "test")]
    with pytest.raises(WrongInput, match="no setting of the model has bounds"):  # train rows alone are of one kind
        tune(history_from(rows), PROTOCOL, trials=2, run=run)


def test_trials_without_a_chance_are_given_up(history_from, run):
    found = tune(history_from(with_a_misleading_kind()), PROTOCOL, trials=20, run=run)
    assert found.pruned > 0
