"""Canaries for River's private weights and means: models are restored from tables, and River has no public way to set
either."""

from __future__ import annotations

from importlib.metadata import version

import pytest
from river import linear_model, optim, preprocessing, reco, utils

WHERE = (
    f"River {version('river')}: look at `_weights` in stream/models/outcomes/conversion.py and "
    "stream/models/ranking/challenger.py, and in River at river.linear_model.base and river.utils"
)


def model() -> linear_model.LogisticRegression:
    return linear_model.LogisticRegression(optimizer=optim.SGD(0.5), intercept_lr=0.0)


def test_weights_that_are_put_in_are_those_that_predict() -> None:
    restored = model()
    assert hasattr(restored, "_weights"), WHERE
    restored._weights = utils.VectorDict({0: 2.0, 1: -2.0})
    assert dict(restored.weights) == {0: 2.0, 1: -2.0}, WHERE
    assert restored.predict_proba_one({0: 1.0, 1: 0.0})[True] == pytest.approx(0.8808, abs=1e-4), WHERE


def test_learning_goes_on_from_weights_that_were_put_in() -> None:
    whole, restored = model(), model()
    events = [({0: 1.0, 1: float(number % 3)}, number % 2 == 0) for number in range(20)]
    for features, happened in events[:10]:
        whole.learn_one(features, happened)
    restored._weights = utils.VectorDict(dict(whole.weights))
    for features, happened in events[10:]:
        whole.learn_one(features, happened)
        restored.learn_one(features, happened)
    assert dict(restored.weights) == dict(whole.weights), WHERE


@pytest.mark.parametrize("name", ["counts", "means", "vars"])
def test_a_scaler_keeps_what_it_has_learned_by_feature(name: str) -> None:
    scaler = preprocessing.StandardScaler()
    scaler.learn_one({7: 3.0})
    assert 7 in getattr(scaler, name), f"{WHERE}; the scaler's `{name}` is restored too"


def test_a_matrix_factorisation_goes_on_from_rows_and_a_mean_that_were_put_in() -> None:
    where = f"River {version('river')}: look at stream/models/outcomes/ratings.py, and in River at river.reco.biased_mf"

    def factorisation() -> reco.BiasedMF:
        return reco.BiasedMF(n_factors=2, bias_optimizer=optim.SGD(0.1), latent_optimizer=optim.SGD(0.1), seed=7)

    whole, restored = factorisation(), factorisation()
    for value in (4.0, 2.0, 5.0):
        whole.learn_one(0, 0, value)
    assert hasattr(restored.global_mean, "_mean"), where
    restored.global_mean.n, restored.global_mean._mean = whole.global_mean.n, whole.global_mean.get()
    restored.u_biases, restored.i_biases = {0: whole.u_biases[0]}, {0: whole.i_biases[0]}
    restored.u_latents, restored.i_latents = {0: whole.u_latents[0].copy()}, {0: whole.i_latents[0].copy()}
    for model in (whole, restored):
        model.learn_one(0, 0, 3.0)
    assert restored.predict_one(0, 0) == whole.predict_one(0, 0), where
    assert restored.global_mean.get() == whole.global_mean.get() == pytest.approx(3.5), where
