"""Slices of the tests: the hit rate by what was known when each test was made.

This file decides into which groups tests are cut. A slice is HR (and its error) of the blend and of the best source for
visitors with a short or a long history, for new and old items, for rare and popular ones, early and late in a session.
`by_group` does the same for an attribute of the visitor, and adds how far the groups are apart and whether that is more
than noise.

Edges of slices are fixed numbers, not quantiles of the stream, so that two streams and two runs can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import erfc, sqrt

import numpy as np
from numpy.typing import NDArray

from stream.evaluation.measures.metrics import proportion_error
from stream.evaluation.measures.prior_counts import earlier_of_same, position_in_session, seconds_since_first
from stream.evaluation.measures.result import BLEND, Evaluation

MIN_COMPARED_TESTS = 30
"""Groups with fewer tests are listed but not compared."""


@dataclass(frozen=True)
class Slice:
    """One row of a table of slices.

    Attributes:
        label: what these tests have in common.
        tests: number of tests.
        hr, error: HR@k of the blend and its standard error, clustered by visitor; None without tests.
        best_source_hr: HR@k, in this slice, of the source that is best over all tests.
    """

    label: str
    tests: int
    hr: float | None
    error: float | None
    best_source_hr: float | None


@dataclass(frozen=True)
class Fairness:
    """Differences in hit rate between groups of visitors.

    Attributes:
        slices: one for each group, largest first.
        gap: HR of the best served group minus HR of the worst served, among groups with enough tests.
        best, worst: names of these two groups.
        error: standard error of the gap.
        p: probability that by chance one group is as far from the rest as the farthest one is, corrected for the
            number of groups (Bonferroni); None with fewer than two comparable groups.
    """

    slices: list[Slice]
    gap: float | None
    best: str | None
    worst: str | None
    error: float | None
    p: float | None


SPANS = {"a minute": 60.0, "an hour": 3600.0, "a day": 86_400.0, "a week": 604_800.0, "30 days": 2_592_000.0}
EVENT_SPANS = (100, 1000, 10_000, 100_000)


def error_analysis(evaluation: Evaluation, session: NDArray[np.integer] | None = None) -> dict[str, list[Slice]]:
    """Slices by history length, item age, item popularity and session position.

    Args:
        evaluation: the result.
        session: (events,) code of the session of each event; by default all events of a visitor are one session.
    """
    tested = evaluation.tests.event
    history = earlier_of_same(evaluation.visitor)[tested]
    popularity = earlier_of_same(evaluation.item)[tested]
    position = position_in_session(evaluation.visitor if session is None else session)[tested]
    age = seconds_since_first(evaluation.item, evaluation.time)[tested]
    steps = bool(
        np.array_equal(evaluation.time, np.arange(evaluation.events))
    )  # times that only number the events are no ages
    return {
        "visitor's earlier events": by_count(evaluation, history, (0, 1, 2, 4, 9, 19, 49, 99)),
        "item's age": _by_age(evaluation, age, popularity, in_events=steps),
        "item's earlier events": by_count(evaluation, popularity, (0, 1, 4, 9, 29, 99, 299, 999)),
        "position in the session": by_count(evaluation, position, (1, 2, 3, 5, 10, 20)),
    }


def by_count(evaluation: Evaluation, value: NDArray[np.integer], tops: Sequence[int]) -> list[Slice]:
    """Slices by a whole number: up to and including each of `tops`, and beyond. Empty slices are left out."""
    edges = [-1, *tops]
    slices = []
    for low, high in pairwise(edges):
        label = f"{high}" if low + 1 == high or low < 0 else f"{low + 1} to {high}"
        slices.append(slice_of(evaluation, (value > low) & (value <= high), label))
    slices.append(slice_of(evaluation, value > tops[-1], f"more than {tops[-1]}"))
    return [part for part in slices if part.tests]


def by_group(evaluation: Evaluation, codes: NDArray[np.integer], names: Sequence[str]) -> Fairness:
    """Slices by an attribute of the visitor, and the distance between the groups.

    Args:
        evaluation: the result.
        codes: (events,) group of the visitor of each event; negative if it is unknown.
        names: names of the groups.
    """
    group = codes[evaluation.tests.event]
    slices = []
    for code in np.unique(group):
        label = names[code] if code >= 0 else "(unknown)"
        slices.append((slice_of(evaluation, group == code, label), int(code)))
    slices.sort(key=lambda pair: -pair[0].tests)
    ordered = [part for part, _ in slices]
    comparable = [pair for pair in slices if pair[0].tests >= MIN_COMPARED_TESTS and pair[1] >= 0]
    if len(comparable) < 2:
        return Fairness(ordered, None, None, None, None, None)
    best, worst = (pick(comparable, key=lambda pair: pair[0].hr or 0.0) for pick in (max, min))
    gap, error = _gap(evaluation, group == best[1], group == worst[1])
    p = min(_against_the_rest(evaluation, group == code, group >= 0) for _, code in comparable) * len(comparable)
    return Fairness(ordered, gap, best[0].label, worst[0].label, error, min(1.0, p))


def slice_of(evaluation: Evaluation, chosen: NDArray[np.bool_], label: str) -> Slice:
    """HR of the tests where `chosen` is True."""
    tests = int(chosen.sum())
    if not tests:
        return Slice(label, 0, None, None, None)
    hits = evaluation.measured(BLEND)[chosen]
    best = float(evaluation.measured(evaluation.sources[0])[chosen].mean()) if evaluation.sources else None
    return Slice(label, tests, float(hits.mean()), _error(hits, _visitors(evaluation)[chosen]), best)


def _by_age(
    evaluation: Evaluation, age: NDArray[np.float64], popularity: NDArray[np.integer], *, in_events: bool
) -> list[Slice]:
    slices = [slice_of(evaluation, popularity == 0, "never seen before")]
    known = popularity > 0
    spans = {f"{count:,} events": float(count) for count in EVENT_SPANS} if in_events else SPANS
    low = -1.0
    for name, high in spans.items():
        slices.append(slice_of(evaluation, known & (age > low) & (age <= high), f"up to {name}"))
        low = high
    slices.append(slice_of(evaluation, known & (age > low), f"more than {name}"))
    return [part for part in slices if part.tests]


def _visitors(evaluation: Evaluation) -> NDArray[np.integer]:
    return evaluation.visitor[evaluation.tests.event]


def _error(values: NDArray[np.float64], visitor: NDArray[np.integer]) -> float:
    """Standard error of a mean, clustered by visitor (linearised ratio estimator), at least that of a proportion."""
    mean = float(values.mean())
    _, group = np.unique(visitor, return_inverse=True)
    sums = np.bincount(group, values - mean)
    clustered = float(np.sqrt((sums**2).sum())) / values.size
    return max(clustered, proportion_error(mean, values.size))


def _gap(evaluation: Evaluation, one: NDArray[np.bool_], other: NDArray[np.bool_]) -> tuple[float, float]:
    """Difference of two groups' hit rates, and its standard error."""
    hits, visitor = evaluation.measured(BLEND), _visitors(evaluation)
    gap = float(hits[one].mean() - hits[other].mean())
    return gap, float(np.hypot(_error(hits[one], visitor[one]), _error(hits[other], visitor[other])))


def _against_the_rest(evaluation: Evaluation, one: NDArray[np.bool_], all_known: NDArray[np.bool_]) -> float:
    """Two-sided p-value of one group's hit rate against that of all other known groups (a normal approximation)."""
    gap, error = _gap(evaluation, one, all_known & ~one)
    if error == 0:
        return 0.0 if gap else 1.0
    return erfc(abs(gap) / error / sqrt(2))
