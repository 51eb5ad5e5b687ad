"""The networks, with PyTorch: they learn what is certain, never look ahead, and repeat under a seed.

`make neural` installs PyTorch and runs them; without it they are skipped.
"""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from benchmarks.neural.comparison import compare
from benchmarks.neural.networks import NETWORKS, NetworkSettings, device_of, import_torch, train
from stream.evaluation.protocol import EvaluationProtocol, WrongInput

torch = pytest.importorskip("torch", reason="PyTorch isn't installed: `make neural` installs it and runs these tests")

SMALL = NetworkSettings(dimensions=16, length=6, epochs=40, batch=32, rate=0.01, dropout=0.0, threads=1, device="cpu")
FIRST = EvaluationProtocol(warmup=0, cutoffs=(1, 3))


def rows_of(seed, items=9, rows=64, length=6):
    """Random rows in which each item is followed by the next place's item."""
    random = np.random.default_rng(seed)
    sequences = random.integers(1, items + 1, (rows, length + 1))
    return sequences[:, :-1], sequences[:, 1:]


@pytest.mark.parametrize("network", NETWORKS)
def test_a_network_learns_a_circle_and_answers_visitors_it_never_saw(history_from, split_circle, network):
    report = compare(history_from(split_circle), FIRST, [network], SMALL, blend=False)
    rankings = report["rankings"]
    assert rankings[network]["figures"]["hr"]["1"] > 0.99
    assert rankings["popular"]["figures"]["hr"]["1"] < 0.3
    losses = [epoch["loss"] for epoch in rankings[network]["training"][0]["epochs"]]
    assert losses[-1] < 0.2 < np.log(10) * 0.8 < losses[0]


@pytest.mark.parametrize("network", NETWORKS)
def test_what_is_learned_at_night_answers_the_next_day_and_nothing_newer_is_known(history_from, circle, network):
    """On the second day the circle runs backwards: a network of the first day's night is wrong all day."""
    rows = circle(day=0) + circle(day=1, seed=1, step=-1) + circle(day=2, seed=2, step=-1, visitors=5)
    settings = NetworkSettings(**{**SMALL.__dict__, "epochs": 15})
    report = compare(history_from(rows), FIRST, [network], settings, blend=False)
    second, third = report["rankings"][network]["by_round"]
    assert second["hr"]["1"] < 0.1
    assert third["hr"]["1"] > 0.3  # half of what it learned runs one way, half the other
    assert [each["round"] for each in report["rounds"]] == ["window 2", "window 3"]


@pytest.mark.parametrize("network", NETWORKS)
def test_the_best_epoch_is_the_one_with_the_highest_hit_rate_on_the_tests(history_from, split_circle, network):
    settings = NetworkSettings(**{**SMALL.__dict__, "epochs": 4})
    ranking = compare(history_from(split_circle), FIRST, [network], settings, blend=False)["rankings"][network]
    (training,) = ranking["training"]
    rates = [epoch["hr"] for epoch in training["epochs"]]
    assert ranking["figures"]["hr"]["1"] == max(rates)
    assert training["best_epoch"] == 1 + int(np.argmax(rates))
    assert ranking["last_epoch"]["hr"]["1"] == rates[-1]


@pytest.mark.parametrize("network", NETWORKS)
def test_scores_depend_neither_on_padding_nor_on_the_other_contexts(network):
    (epoch,) = train(network, rows_of(0), 9, NetworkSettings(**{**SMALL.__dict__, "epochs": 1, "dropout": 0.5}))
    long, short = np.array([1, 2, 3, 4, 5, 6]), np.array([7, 8, 0, 0, 0, 0])
    together = epoch.score(np.stack([long, short]))
    assert together.shape == (2, 10)
    np.testing.assert_allclose(together[1:], epoch.score(short[None]), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(together[:1], epoch.score(long[None]), rtol=1e-4, atol=1e-5)
    assert not np.allclose(together[1], epoch.score(np.array([[8, 7, 0, 0, 0, 0]]))[0])  # order counts


@pytest.mark.parametrize("network", NETWORKS)
def test_no_place_sees_what_comes_after_it(network):
    """Rows whose items are pure chance: a loss below that of guessing would mean that places see their targets."""
    *_, last = train(network, rows_of(0, rows=4000), 9, NetworkSettings(**{**SMALL.__dict__, "epochs": 3}))
    assert last.loss > np.log(9) - 0.02


@pytest.mark.parametrize("network", NETWORKS)
def test_the_same_seed_gives_the_same_losses_and_scores(network):
    settings = NetworkSettings(**{**SMALL.__dict__, "epochs": 2, "dropout": 0.3})
    context = np.array([[1, 2, 3, 0, 0, 0]])

    def outcome(seed):
        *_, last = train(network, rows_of(1), 9, NetworkSettings(**{**settings.__dict__, "seed": seed}))
        return last.loss, last.score(context).tolist()

    assert outcome(3) == outcome(3)
    assert outcome(3) != outcome(4)


@pytest.mark.parametrize("network", NETWORKS)
def test_the_seed_decides_the_weights_and_not_only_the_order_of_rows(network):
    one_row, one_epoch = rows_of(1, rows=1), {**SMALL.__dict__, "epochs": 1}
    losses = [next(train(network, one_row, 9, NetworkSettings(**{**one_epoch, "seed": seed}))).loss for seed in (3, 4)]
    assert losses[0] != losses[1]


def test_the_device_is_a_gpu_only_if_there_is_one():
    assert import_torch() is torch
    assert device_of(NetworkSettings()) == ("cuda" if torch.cuda.is_available() else "cpu")
    assert device_of(NetworkSettings(device="cpu")) == "cpu"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(WrongInput, match="PyTorch sees no GPU on this machine; --device cpu works"):
        device_of(NetworkSettings(device="cuda"))


def test_the_command_compares_everything_on_a_file(write_file, split_circle):
    words = ["--k", "1,3", "--dimensions", "16", "--length", "6", "--epochs", "25", "--batch", "32", "--rate", "0.01"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.neural", write_file(split_circle), *words, "--threads", "1", "--json"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert set(report["rankings"]) == {"popular", "gru", "sasrec", "blend"}
    assert min(report["rankings"][name]["figures"]["hr"]["1"] for name in NETWORKS) > 0.99
    assert report["trained_by"]["torch"] == torch.__version__
    assert "chosen by its hit rate on these very tests" in done.stdout
