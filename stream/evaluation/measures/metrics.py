"""Hit rate, reciprocal rank and discounted gain of ranks, their standard errors, and figures of whole lists.

Every test has one target, and its rank comes from `stream.evaluation.measures.ranks`; a miss has an infinite rank and
is worth 0 in every metric. This file decides what the figures mean. Which events are tested is decided in
`stream.evaluation.protocol`, and whether two figures differ by more than noise in
`stream.evaluation.measures.significance`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def hits(rank: Floats, k: int) -> Floats:
    """HR@k of each test: 1 if the target is in the first `k`, else 0."""
    return (rank <= k).astype(np.float64)


def reciprocal_ranks(rank: Floats, k: int) -> Floats:
    """MRR@k of each test: 1/rank in the first `k`, else 0."""
    return np.where(rank <= k, 1.0 / rank, 0.0)


def gains(rank: Floats, k: int) -> Floats:
    """NDCG@k of each test: 1/log2(1 + rank) in the first `k`, else 0. With one target the ideal gain is 1."""
    return np.where(rank <= k, 1.0 / np.log2(1.0 + rank), 0.0)


MEASURES = {"hr": hits, "mrr": reciprocal_ranks, "ndcg": gains}
"""The measures, by their names in reports."""


def proportion_error(share: float, n: int) -> float:
    """Standard error of a share of `n` independent tests, √(p(1-p)/n)."""
    return math.sqrt(max(0.0, share * (1.0 - share)) / n)


def figures(rank: Floats, cutoffs: Sequence[int]) -> dict[str, dict[str, float]]:
    """Mean HR, MRR and NDCG, and the standard error of HR (`hr_se`), each by cut-off.

    >>> figures(np.array([1.0, 3.5, np.inf, 2.0]), [2, 10])["hr"]
    {'2': 0.5, '10': 0.75}

    Raises:
        ValueError: there are no tests. The mean of nothing is not 0.
    """
    if rank.size == 0:
        raise ValueError("no event was tested, so there is no figure")
    result: dict[str, dict[str, float]] = {
        name: {str(k): float(measure(rank, k).mean()) for k in cutoffs} for name, measure in MEASURES.items()
    }
    result["hr_se"] = {k: proportion_error(share, rank.size) for k, share in result["hr"].items()}
    return result


def moving_mean(values: Floats, window: int) -> tuple[NDArray[np.int64], Floats]:
    """Means over a sliding window of tests.

    Returns:
        The number of tests at the end of each window, and the mean of the last `window` values up to there. A stream
        shorter than the window gives one mean over all tests.

    >>> [part.tolist() for part in moving_mean(np.array([1.0, 0.0, 1.0, 1.0]), 2)]
    [[2, 3, 4], [0.5, 0.5, 1.0]]

    Raises:
        ValueError: there are no tests.
    """
    if values.size == 0:
        raise ValueError("no event was tested, so there is no curve")
    window = max(1, min(window, values.size))
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(window, values.size + 1)
    return ends, (sums[ends] - sums[ends - window]) / window


def coverage(lists: NDArray[np.integer], catalogue: int) -> float:
    """Share of the `catalogue` (items that could have been shown) that was in at least one list; -1 pads short lists.

    >>> coverage(np.array([[0, 1], [1, -1]]), catalogue=4)
    0.5
    """
    shown = np.unique(lists)
    return float((shown >= 0).sum() / catalogue) if catalogue else 0.0


def gini(lists: NDArray[np.integer], catalogue: int) -> float:
    """Gini coefficient of the catalogue's exposure: 0 if every item has as many places, near 1 if one item has all.

    >>> gini(np.array([[0, 1], [2, 3]]), catalogue=4)
    0.0
    """
    counts = np.bincount(lists[lists >= 0].ravel(), minlength=catalogue).astype(np.float64)
    if counts.sum() == 0:
        return 0.0
    counts.sort()
    position = np.arange(1, counts.size + 1)
    return float((2 * position - counts.size - 1) @ counts / (counts.size * counts.sum()))


def novelty(lists: NDArray[np.integer], popularity: NDArray[np.integer], events: NDArray[np.integer]) -> float:
    """Mean self-information of the shown items, in bits: -log2 of the item's share of the events so far.

    After Zhou et al., "Solving the apparent diversity-accuracy dilemma of recommender systems" (PNAS 2010). An item
    without events counts as if it had one.

    Args:
        lists: (tests, k) items; -1 pads.
        popularity: (tests, k) number of events that each item had before that test.
        events: (tests,) number of events before each test.
    """
    shown = lists >= 0
    if not shown.any():
        return 0.0
    seen = np.maximum(popularity, 1).astype(np.float64)
    before = np.broadcast_to(np.maximum(events, 1)[:, None], lists.shape).astype(np.float64)
    return float(-np.log2(seen[shown] / before[shown]).mean())
