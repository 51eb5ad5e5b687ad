"""The bias of an item: how often it was chosen, against how often the ranker had expected it.

In each update the ranker gives a probability to each of the candidates it compares. An item's probabilities are summed
up (`expected`), and so are the times that it was what happened (`chosen`). The feature is
ln((chosen + 1)/(expected + 1)): 0 for an item that does as well as its other features predict, more for one that does
better. It is what a bias per item is in factor models, but as two sums over updates it depends little on their order,
and because it is a feature, the ranker learns how far to trust it. It belongs to one ranker's expectations: the one
that shards are merged into makes its own (`merging/rehearsal.py`). For items in the visitor's own history it is 0:
their last updates may come from this very visitor.

This file decides how the sums are kept, in the table `merits`, and how they become the feature.

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
MAX_SUM = 65_536.0
"""Both sums of an item are halved at this size, which leaves the feature as it is. A float32 that is larger than that
loses small probabilities, and `chosen` would go on rising while `expected` stands still."""
START = 0.5
"""Weight of the feature before the first update of the ranker."""


@kernel
def learn(state: State, work: Work, compared: int) -> None:
    """Add one update of the ranker to the sums.

    Args:
        compared: how many candidates the ranker compared, as `ranker.learn` returns it.
    """
    for place in range(compared):
        item = work.items[work.candidates[work.chosen[place]]]
        happened = np.float32(1 if place == 0 else 0)
        sums = state.merits[item]
        sums[EXPECTED] += work.slopes[place] + happened
        sums[CHOSEN] += happened
        if sums[EXPECTED] >= MAX_SUM or sums[CHOSEN] >= MAX_SUM:
            sums[EXPECTED] *= np.float32(0.5)
            sums[CHOSEN] *= np.float32(0.5)
        state.merits_dirty[item] = 1


@kernel
def describe(reader: Reader, work: Work, out: np.ndarray) -> None:
    """Fill in the feature of each candidate; `features.own_features` resets it for the visitor's own items."""
    for number in range(work.counts[CANDIDATE]):
        sums = reader.merits[reader.merits_index[work.items[work.candidates[number]]]]
        out[number] = math.log((sums[CHOSEN] + PRIOR) / (sums[EXPECTED] + PRIOR))


@kernel
def forget(state: State, item: int) -> None:
    """Empty the sums of an item that is evicted."""
    state.merits[item] = 0
    state.merits_dirty[item] = 1
