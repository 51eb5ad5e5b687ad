"""Own sources in plain Python: judged alone, and in a blend with the model.

They are slow, and enough to see whether an idea is worth a compiled source in the model
(`stream/models/sources/custom.py`). This file decides how such a source is judged. It scores the candidates of each
test. Then it joins a blend: a linear ranker starts as the model's own score and learns online, from the outcome of each
test after it was ranked, the weight of the source's value and rank beside that score. The gain of this blend over the
model's blend is the gain of the idea; a source that only repeats what the model knows adds nothing.

The blend is learned by softmax over the candidates with AdaGrad, as the ranker is (`stream/models/ranking/ranker.py`).
Unlike a source in the model, an own source proposes no candidates and takes no part in crosses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stream.evaluation.measures.ranks import MISS, rank_of

Floats = NDArray[np.float64]

LEARNING_RATE = 0.05
RANK_SHIFT = 4.0


class OwnSource(Protocol):
    """The interface of an own source: a name, and two methods that are called event by event."""

    name: str

    def learn(self, visitor: int, item: int, seconds: float) -> None:
        """Learn one event of a visitor, given as codes, at a time in seconds."""

    def score(self, visitor: int, candidates: NDArray[np.int32], seconds: float) -> Floats:
        """Return one score per candidate (item codes) for a visitor, from the events learned so far."""


class OwnBlend:
    """The model's blend and some own sources as one ranking that learns the weight of each.

    Args:
        sources: the sources that join the blend.
    """

    def __init__(self, sources: Sequence[OwnSource]) -> None:
        self.name = "blend + " + ", ".join(source.name for source in sources)
        self.weights = np.array([1.0] + [0.0] * (2 * len(sources)))
        self._squares = np.zeros(len(self.weights))

    def scores(self, blend: NDArray[np.float32], own: Sequence[Floats]) -> tuple[Floats, Floats]:
        """Scores of the candidates, and their features: the model's score, then two features for each source.

        Args:
            blend: (candidates,) scores by the model's blend.
            own: (candidates,) scores by each source.
        """
        features = np.column_stack([blend, *(feature for values in own for feature in features_of(values))])
        return features @ self.weights, features

    def learn(self, scores: Floats, features: Floats, target: int) -> None:
        """Take one step of AdaGrad on the softmax loss, where candidate `target` is what happened."""
        chances = np.exp(scores - scores.max())
        chances /= chances.sum()
        slope = chances @ features - features[target]
        self._squares += slope**2
        self.weights -= LEARNING_RATE * slope / (np.sqrt(self._squares) + 1e-6)


def features_of(values: Floats) -> tuple[Floats, Floats]:
    """Each value over the largest one, and a score of its rank; 0 for candidates without a positive value.

    >>> [feature.tolist() for feature in features_of(np.array([0.0, 2.0, 1.0, 1.0]))]
    [[0.0, 1.0, 0.5, 0.5], [0.0, 1.0, 0.8, 0.8]]
    """
    positive = values > 0
    largest = values.max(initial=0.0)
    above = np.searchsorted(np.sort(-values), -values)
    return values * positive / (largest or 1.0), positive * RANK_SHIFT / (RANK_SHIFT + above)


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
        sources: they score each test and learn each learned event, in order.
        blend: the blend that they join; it learns from tests whose event is learned.
        tests: tests of this span: number of the event, candidates as item codes, their scores by the model's blend.
        visitor, item, seconds: columns of all events.
        learned: (events,) True for events that are learned.
        span: first event, and the one after the last.

    Raises:
        ValueError: a score is NaN.
    """
    ranks = np.full((len(tests), len(sources) + 1), MISS)
    by_event = {event: number for number, (event, _, _) in enumerate(tests)}
    for event in range(*span):
        event_visitor, event_item, moment = int(visitor[event]), int(item[event]), float(seconds[event])
        if event in by_event:
            number = by_event[event]
            _, candidates, model_scores = tests[number]
            own = [np.asarray(source.score(event_visitor, candidates, moment), np.float64) for source in sources]
            place = np.flatnonzero(candidates == event_item)
            if len(place):
                target = int(place[0])
                ranks[number, :-1] = [rank_of(scores, target) for scores in own]
                scores, features = blend.scores(model_scores, own)
                ranks[number, -1] = rank_of(scores, target)
                if learned[event]:
                    blend.learn(scores, features, target)
        if learned[event]:
            for source in sources:
                source.learn(event_visitor, event_item, moment)
    return ranks
