"""Ranks of targets among their candidates.

This file decides how ties and misses count: a target that shares its score gets the mean of the tied places, and a
target that is no candidate gets an infinite rank, so that every metric of it is 0 and it stays in every mean.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

MISS = math.inf
"""The rank of a target that is not among the candidates."""


def count_ranks(greater: ArrayLike, equal: ArrayLike, found: ArrayLike = True) -> Floats:
    """Ranks from counts: `1 + greater + equal / 2`, the expected rank if ties were broken at random.

    Args:
        greater: number of candidates that score more than the target; any shape.
        equal: number of *other* candidates that score the same; the same shape.
        found: True where the target was among the candidates; broadcast against the others.

    >>> count_ranks([0, 2, 0], [0, 1, 0], [True, True, False]).tolist()
    [1.0, 3.5, inf]

    Raises:
        ValueError: a count is negative.
    """
    above, ties = np.asarray(greater, np.float64), np.asarray(equal, np.float64)
    if (above < 0).any() or (ties < 0).any():
        raise ValueError("greater and equal are counts of candidates, at least one of them is negative")
    return np.where(found, 1.0 + above + ties / 2.0, MISS)


def rank_of(scores: ArrayLike, target: int) -> float:
    """Rank of `scores[target]` among `scores`, by the rule of `count_ranks`.

    >>> rank_of([3.0, 1.0, 1.0, 0.5], 2)
    2.5

    Raises:
        ValueError: a score is NaN. Comparisons with NaN are false both ways, so the rank would come out as 1.
    """
    values = np.asarray(scores, np.float64)
    if np.isnan(values).any():
        raise ValueError(f"{int(np.isnan(values).sum())} of {values.size} scores are NaN; a score is a number")
    own = values[target]
    return float(count_ranks((values > own).sum(), (values == own).sum() - 1))
