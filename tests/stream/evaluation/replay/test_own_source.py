"""Own sources in plain Python: judged on the same tests as the model, and in a blend with it."""

import numpy as np
import pytest

from stream.evaluation.protocol import EvaluationProtocol


class SameAgain:
    """Scores the visitor's last item."""

    name = "same again"

    def __init__(self):
        self.last = {}

    def learn(self, visitor, item, seconds):
        self.last[visitor] = item

    def score(self, visitor, candidates, seconds):
        return (candidates == self.last.get(visitor)).astype(float)


def test_an_own_source_is_judged_on_the_same_tests(evaluated):
    rows = [(f"u{visitor}", f"i{visitor}") for _ in range(6) for visitor in range(10)]
    result = evaluated(rows, EvaluationProtocol(warmup=0.2, cutoffs=(1,)), own_sources=[SameAgain()])
    assert result.figures["same again"]["hr"]["1"] == 1.0
    assert "same again" in result.sources
    assert result.report()["sources"]["same again"]["hr"]["1"] == 1.0


class Clock(SameAgain):
    """Knows that items take turns, one second each."""

    name = "clock"

    def score(self, visitor, candidates, seconds):
        return (candidates == int(seconds) % 10).astype(float)


class Noise(SameAgain):
    name = "noise"

    def score(self, visitor, candidates, seconds):
        return np.random.default_rng(int(seconds)).random(len(candidates))


def test_a_source_that_knows_more_lifts_the_blend_it_joins_and_noise_does_not(evaluated):
    random = np.random.default_rng(6)
    turns = [n % 10 if random.random() < 0.7 else random.integers(10) for n in range(900)]
    rows = [(f"u{random.integers(30)}", f"i{turn}") for turn in turns]
    protocol = EvaluationProtocol(warmup=0.2, cutoffs=(1,))
    result = evaluated(rows, protocol, own_sources=[Clock()])
    joined = result.figures["blend + clock"]["hr"]["1"]
    assert joined > result.figures["blend"]["hr"]["1"] + 0.3
    assert joined > 0.6
    assert "blend + clock" in result.report()["challengers"]
    assert "blend + clock" not in result.sources
    assert not result.compare("blend + clock", "blend").is_noise
    noisy = evaluated(rows, protocol, own_sources=[Noise()])
    assert noisy.figures["blend + noise"]["hr"]["1"] == pytest.approx(noisy.figures["blend"]["hr"]["1"], abs=0.05)


def test_a_blend_with_an_own_source_learns_nothing_from_the_tests_of_a_frozen_split(evaluated):
    rows = [(f"u{n % 5}", f"i{n % 10}", "train") for n in range(50)]
    rows += [(f"t{n}", f"i{n % 10}", kind) for n in range(30) for kind in ("ctx", "test")]
    result = evaluated(rows, EvaluationProtocol(cutoffs=(1,)), own_sources=[Clock()])
    assert result.tests.of("blend + clock").tolist() == result.tests.of("blend").tolist()


class Broken(SameAgain):
    name = "broken"

    def score(self, visitor, candidates, seconds):
        return np.full(len(candidates), np.nan)


def test_a_source_that_scores_nan_is_refused(evaluated):
    with pytest.raises(ValueError, match="scores are NaN"):
        evaluated([(f"u{n % 3}", f"i{n % 4}") for n in range(60)], own_sources=[Broken()])
