"""What an item is worth that no source knows: how often it was right, against how often the ranker had expected it.

In each lesson the ranker gives a probability to each of the candidates it compares. An item's are summed up
(`expected`), and so are the times that it was what happened (`chosen`). The feature is ln((chosen + 1)/(expected + 1)):
0 for an item that does as well as its other features say, more for one that does better. It is what a bias per item is
in factor models, but as two sums over lessons it depends little on their order, and because it is a feature, the ranker
learns how far to trust it. It is about one ranker's expectations: the one that shards are merged into makes its own
(`rehearsal`). For items in the visitor's own history it is 0: their last lessons may be this very visitor's.

Koren, Bell & Volinsky, "Matrix factorization techniques for recommender systems", IEEE Computer 2009 (item biases).
"""

from __future__ import annotations

import math

import numpy as np

from stream.models.kernels.compile import kernel
from stream.models.schema import CHOSEN, EXPECTED
from stream.models.workspace.learning_view import State
from stream.models.workspace.scoring_view import Reader
from stream.models.workspace.scratch import CANDIDATE, Work

PRIOR = 1.0
START = 0.5
"""What the feature counts for before the ranker has learned."""


@kernel
def learn(state: State, work: Work, compared: int) -> None:
    """A lesson of the ranker: `chosen[0]` is what happened, `slopes` are probabilities, less 1 for what happened."""
    for place in range(compared):
        item = work.items[work.candidates[work.chosen[place]]]
        happened = np.float32(1 if place == 0 else 0)
        state.merits[item, EXPECTED] += work.slopes[place] + happened
        state.merits[item, CHOSEN] += happened
        state.merits_dirty[item] = 1


@kernel
def describe(reader: Reader, work: Work, out: np.ndarray) -> None:
    """Fill in the feature of each candidate; `candidates.own_features` takes it from those the visitor had."""
    for number in range(work.counts[CANDIDATE]):
        merit = reader.merits[reader.merits_index[work.items[work.candidates[number]]]]
        out[number] = math.log((merit[CHOSEN] + PRIOR) / (merit[EXPECTED] + PRIOR))


@kernel
def forget(state: State, item: int) -> None:
    """An item goes out."""
    state.merits[item] = 0
    state.merits_dirty[item] = 1
