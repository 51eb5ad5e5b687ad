"""Significance of a difference between two rankings of the same tests.

This file decides whether a difference is more than noise. Two rankings are compared on the very same tests, so the
difference is taken test by test and then resampled **by visitor**: the tests of one visitor resemble each other, and a
method that takes them for independent (McNemar's test, or the usual error of a difference) finds significance too
easily where a few visitors make many tests. McNemar's counts of discordant tests are reported beside the p-value,
because they show how many answers really changed.

*Saved* results hold sums over blocks of consecutive tests instead of single tests; `compare_blocks` pairs those. Blocks
keep the tests of a session together, and slow drift affects both sides of a pair alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """The difference between two rankings ("ours" minus "theirs"), and how sure it is.

    Attributes:
        difference: mean of ours - theirs.
        low, high: 95 % confidence interval.
        p: two-sided probability of a difference at least this large if there were none; None if it can't be estimated.
        only_ours, only_theirs: tests in which one side is better (the discordant ones); None for blocks.
        units: number of independent units (visitors or blocks) that were resampled.
        method: one phrase about the method, for the reader.
    """

    difference: float
    low: float
    high: float
    p: float | None
    only_ours: int | None
    only_theirs: int | None
    units: int
    method: str

    @property
    def is_noise(self) -> bool:
        """True if the difference could be chance at the 5 % level, or if that can't be estimated."""
        return self.p is None or self.p >= 0.05


def compare_tests(
    ours: ArrayLike, theirs: ArrayLike, visitor: NDArray[np.integer], *, seed: int = 0, resamples: int = 2000
) -> Difference:
    """Paired bootstrap over visitors of the mean difference of two measures of the same tests.

    Args:
        ours: (n,) one side's value in each test (hits, reciprocal ranks, …).
        theirs: (n,) the other side's value.
        visitor: (n,) code of the visitor of each test.
        seed: seed of the resampling.
        resamples: number of resamples; each draws every visitor a Poisson number of times.

    After Efron & Tibshirani, "An Introduction to the Bootstrap" (1993), with whole visitors as the units. The p-value
    is twice the smaller tail, with one added to each count, so that it is never 0.

    >>> better = compare_tests(np.ones(40), np.zeros(40), np.arange(40))
    >>> better.difference, better.is_noise
    (1.0, False)

    Raises:
        ValueError: the sides have different lengths, or there are no tests.
    """
    mine, other = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if not (mine.shape == other.shape == visitor.shape) or mine.size == 0:
        raise ValueError(
            f"paired tests need the same tests on both sides, not {mine.size}, {other.size} and {visitor.size}"
        )
    gap = mine - other
    _, group = np.unique(visitor, return_inverse=True)
    sums, sizes = np.bincount(group, gap).astype(np.float64), np.bincount(group).astype(np.float64)
    return _by_units(
        sums,
        sizes,
        only_ours=int((gap > 0).sum()),
        only_theirs=int((gap < 0).sum()),
        method=f"paired bootstrap over {sums.size} visitors, {resamples} resamples",
        seed=seed,
        resamples=resamples,
    )


def compare_blocks(
    ours: ArrayLike, theirs: ArrayLike, sizes: ArrayLike, *, seed: int = 0, resamples: int = 2000
) -> Difference:
    """Paired bootstrap over blocks of consecutive tests, for saved results.

    Args:
        ours: (blocks,) sums of a measure over each block.
        theirs: (blocks,) the other side's sums.
        sizes: (blocks,) number of tests in each block.
        seed: seed of the resampling.
        resamples: number of resamples.

    Raises:
        ValueError: the sides have different blocks.
    """
    mine, other, size = (np.asarray(part, np.float64) for part in (ours, theirs, sizes))
    if not (mine.shape == other.shape == size.shape) or mine.size == 0:
        raise ValueError("paired blocks need the same blocks on both sides")
    return _by_units(
        mine - other,
        size,
        only_ours=None,
        only_theirs=None,
        method=f"paired bootstrap over {mine.size} blocks of consecutive tests, {resamples} resamples",
        seed=seed,
        resamples=resamples,
    )


def compare_shares(ours: float, theirs: float, ours_error: float, theirs_error: float) -> Difference:
    """Difference of two figures from different tests, by their standard errors (a normal approximation)."""
    gap, error = ours - theirs, math.hypot(ours_error, theirs_error)
    p = math.erfc(abs(gap) / error / math.sqrt(2)) if error > 0 else None
    return Difference(
        gap, gap - 1.96 * error, gap + 1.96 * error, p, None, None, 0, "unpaired, from the standard errors of both"
    )


def corrected(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for looking at several differences at once (Holm, Scandinavian Journal of Statistics, 1979).

    >>> corrected([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    adjusted, highest = [0.0] * len(p_values), 0.0
    for step, at in enumerate(order):
        highest = max(highest, min(1.0, p_values[at] * (len(p_values) - step)))
        adjusted[at] = highest
    return adjusted


def _by_units(
    sums: Floats,
    sizes: Floats,
    *,
    only_ours: int | None,
    only_theirs: int | None,
    method: str,
    seed: int,
    resamples: int,
) -> Difference:
    """Bootstrap of the ratio of two sums over independent units, which are drawn with Poisson weights."""
    units = sums.size
    gap = float(sums.sum() / sizes.sum())
    if units < 2:
        unknown = "one unit: noise can't be told"  # part of the JSON report, so it stays as it is
        return Difference(gap, -math.inf, math.inf, None, only_ours, only_theirs, units, unknown)
    if not sums.any():
        return Difference(0.0, 0.0, 0.0, 1.0, only_ours, only_theirs, units, method)
    random = np.random.default_rng(seed)
    means = np.empty(resamples)
    for start in range(0, resamples, 50):  # 50 at a time: a hundred thousand visitors stay below 100 MB
        drawn = random.poisson(1.0, (min(50, resamples - start), units))
        means[start : start + 50] = (drawn @ sums) / np.maximum(drawn @ sizes, 1.0)
    low, high = np.percentile(means, [2.5, 97.5])
    tail = min((means <= 0).sum(), (means >= 0).sum())
    p = min(1.0, 2.0 * (int(tail) + 1) / (resamples + 1))
    return Difference(gap, float(low), float(high), p, only_ours, only_theirs, units, method)
