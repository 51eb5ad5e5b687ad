"""Ranks of targets in a full ranking of all known items, and the list of most popular items.

This file decides which items compete: every item that training has seen, without those that the protocol forbids. Ties
and misses count as everywhere in `stream.evaluation.measures.ranks`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream.evaluation.measures.ranks import count_ranks

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]
Scores = NDArray[np.float32] | NDArray[np.float64]


class Diverged(RuntimeError):
    """Scores that are not numbers: training has diverged, and comparisons with NaN would give rank 1."""


def full_ranks(scores: Scores, target: Numbers, forbidden: tuple[Numbers, Numbers]) -> Floats:
    """Rank of each test's target among all known items.

    Args:
        scores: (tests, items + 1), the score of each item by its number; column 0 is no item. It is overwritten.
        target: (tests,) number of the item that happened, 0 for one that is unknown, which is a miss.
        forbidden: pairs of a test's position and the number of an item that isn't ranked; such a target is a miss.

    Returns:
        float64 ranks, infinite for a miss.

    Raises:
        Diverged: a score is NaN.
    """
    if np.isnan(scores).any():
        raise Diverged("scores are NaN: training has diverged; choose a lower --rate")
    scores[forbidden] = -np.inf
    scores[:, 0] = -np.inf
    own = scores[np.arange(len(target)), target][:, None]
    greater = (scores > own).sum(axis=1)
    equal = (scores == own).sum(axis=1) - 1
    return count_ranks(greater, equal, own[:, 0] > -np.inf)


def popularity(number: Numbers, items: int, recent: NDArray[np.bool_]) -> Floats:
    """Number of recent events of each item, float64 (items + 1,); column 0 is no item.

    Args:
        number: (n,) number of each event's item, 0 if unknown.
        items: count of numbered items.
        recent: (n,) True for events that are counted.
    """
    return np.bincount(number[recent], minlength=items + 1).astype(np.float64)
