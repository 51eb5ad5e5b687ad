"""Sources of one's own, in plain Python: judged by themselves, and in a blend with the model.

Slow, and enough to see whether an idea is worth a file in the model (`stream/models/sources/custom.py`). A source scores the
candidates of each test. Then it joins the blend: a linear ranker starts as the model's own score and learns online,
from the outcome of each test after it was ranked, how much the source's value and rank should count beside it. What
this blend wins over the model's is what the idea adds there; one that only repeats what the blend knows adds nothing.

The blend with sources of one's own is learned by softmax over the candidates with AdaGrad, as the ranker is
(`stream/models/ranking/ranker.py`); unlike a source in the model it brings no candidates and no crosses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol as Interface

import numpy as np
from numpy.typing import NDArray

from stream.evaluation.measures import metrics

Floats = NDArray[np.float64]

RATE = 0.05
RANK_SHIFT = 4.0


class OwnSource(Interface):
    """What a source of one's own has."""

    name: str

    def learn(self, visitor: int, item: int, seconds: float) -> None:
        """One learned event."""

    def score(self, visitor: int, candidates: NDArray[np.int32], seconds: float) -> Floats:
        """A score for each candidate, from what was learned before."""


class OwnBlend:
    """The model's blend and some sources of one's own, as one ranking that learns how much each counts.

    Args:
        sources: what joins the blend.
    """

    def __init__(self, sources: Sequence[OwnSource]) -> None:
        self.name = "blend + " + ", ".join(source.name for source in sources)
        self.weights = np.array([1.0] + [0.0] * (2 * len(sources)))
        self._squares = np.zeros(len(self.weights))

    def scores(self, blend: NDArray[np.float32], own: Sequence[Floats]) -> tuple[Floats, Floats]:
        """Scores of the candidates, and the features they were made of: the model's score, then two a source."""
        features = np.column_stack([blend, *(feature for values in own for feature in features_of(values))])
        return features @ self.weights, features

    def learn(self, scores: Floats, features: Floats, target: int) -> None:
        """Candidate `target` is what happened."""
        chances = np.exp(scores - scores.max())
        chances /= chances.sum()
        slope = chances @ features - features[target]
        self._squares += slope**2
        self.weights -= RATE * slope / (np.sqrt(self._squares) + 1e-6)


def features_of(values: Floats) -> tuple[Floats, Floats]:
    """Value over the largest, and a rank score; 0 for what the source says nothing about.

    >>> [feature.tolist() for feature in features_of(np.array([0.0, 2.0, 1.0, 1.0]))]
    [[0.0, 1.0, 0.5, 0.5], [0.0, 1.0, 0.8, 0.8]]
    """
    said = values > 0
    largest = values.max(initial=0.0)
    above = np.searchsorted(np.sort(-values), -values)
    return values * said / (largest or 1.0), said * RANK_SHIFT / (RANK_SHIFT + above)


def own_ranks(
    sources: Sequence[OwnSource],
    blend: OwnBlend,
    tests: Sequence[tuple[int, NDArray[np.int32], NDArray[np.float32]]],
    visitor: NDArray[np.integer],
    item: NDArray[np.integer],
    seconds: Floats,
    *,
    learned: NDArray[np.bool_],
    span: tuple[int, int],
) -> Floats:
    """Ranks of the targets by each source and by the blend with all of them, (tests, sources + 1).

    Args:
        sources: asked and taught event by event.
        blend: what they join; it learns from tests whose event is learned.
        tests: of this span: number of the event, candidates as item codes, their scores by the model's blend.
        visitor, item, seconds: of all events.
        learned: which events teach.
        span: first event, and the one after the last.

    Raises:
        ValueError: a score is NaN.
    """
    ranks = np.full((len(tests), len(sources) + 1), metrics.MISS)
    by_event = {event: number for number, (event, _, _) in enumerate(tests)}
    for event in range(*span):
        who, what, when = int(visitor[event]), int(item[event]), float(seconds[event])
        if event in by_event:
            number = by_event[event]
            _, candidates, model_scores = tests[number]
            own = [np.asarray(source.score(who, candidates, when), np.float64) for source in sources]
            place = np.flatnonzero(candidates == what)
            if len(place):
                target = int(place[0])
                ranks[number, :-1] = [metrics.rank_of(scores, target) for scores in own]
                scores, features = blend.scores(model_scores, own)
                ranks[number, -1] = metrics.rank_of(scores, target)
                if learned[event]:
                    blend.learn(scores, features, target)
        if learned[event]:
            for source in sources:
                source.learn(who, what, when)
    return ranks
