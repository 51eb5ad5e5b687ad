"""Prequential measures: the ranks of every test in a ring, and the usual measures over the newest of them.

A test ranks before it learns, so these are figures of lists as they would have been served (Gama, Sebastião &
Rodrigues, "On evaluating stream learning algorithms", 2013). The rank of the target is 1 + greater + equal/2, where
`greater` and `equal` count candidates with a larger and an equal value. A target that was no candidate is a miss in
every ranking.

This file decides how ranks are stored, and what is measured over which window.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.models.schema import DETECTOR_TESTS, OUTCOME_ROWS, RANKINGS
from stream.models.source_names import RANKING_NAMES, SOURCES
from stream.state.compiled import compiled_keeping_gil
from stream.state.tables import Table, Tables

NAMES = RANKING_NAMES
"""Rankings, in the order of the columns of the table `outcomes`."""
WINDOW = 2000
"""Newest tests that are measured."""
CUTOFFS = (10, 20)
"""Lengths of lists that are measured."""
MEASURES = ("hr", "mrr", "ndcg")
HIT_RATE, RECIPROCAL_RANK, GAIN = range(3)
"""Places of the measures in sums over tests."""
MISSED = 65_535
"""Stored value of a miss."""
FARTHEST = 65_000
"""Largest stored value of a rank."""

Ranks = NDArray[np.float64]


class Prequential:
    """Ring of the newest tests, in the table `outcomes`: twice the rank as 16 bits, `MISSED` for a miss.

    Args:
        tables: of the model.
    """

    def __init__(self, tables: Tables) -> None:
        self._outcomes: Table = tables["outcomes"]
        self._scalars: Table = tables["scalars"]

    @property
    def tests(self) -> int:
        """Number of tests that were ever written."""
        return int(self._scalars.data[0, DETECTOR_TESTS])

    def add(self, greater: NDArray[np.float32], equal: NDArray[np.float32]) -> None:
        """Write the outcomes of some tests.

        Args:
            greater, equal: (n, rankings), number of candidates with a larger and an equal value than the target's.
        """
        if not len(greater):
            return
        doubled = np.minimum(2 * (1 + greater.astype(np.float64)) + equal, FARTHEST).astype(np.uint16)
        coded = np.where(greater > FARTHEST, MISSED, doubled)
        places = (self.tests + np.arange(len(coded))) % OUTCOME_ROWS
        self._outcomes.data[places[-OUTCOME_ROWS:], :RANKINGS] = coded[-OUTCOME_ROWS:]
        self._outcomes.mark_rows(np.unique(places).tolist())
        self._scalars.data[0, DETECTOR_TESTS] += len(coded)
        self._scalars.mark_rows([0])

    def ranks(self, first: int, last: int) -> Ranks:
        """Ranks of tests number `first` to `last` (not included): (n, rankings) float64, infinite for a miss."""
        coded = self._outcomes.data[np.arange(first, last) % OUTCOME_ROWS, :RANKINGS].astype(np.float64)
        return np.where(coded == MISSED, np.inf, coded / 2)

    def metrics(self) -> dict[str, Any]:
        """Measures over the window: `blend`, `challenger` and each of `sources`, and the numbers of tests."""
        tests = self.tests
        first = max(0, tests - WINDOW)
        if tests == first:
            return {"tests": 0}
        sums = np.zeros((len(CUTOFFS), len(MEASURES), len(NAMES)))
        add_up(self._outcomes.data, first, tests, np.array(CUTOFFS, np.float64), sums)
        measured = named(sums / (tests - first))
        return {
            "tests": tests,
            "window": tests - first,
            "blend": measured["blend"],
            "challenger": measured["challenger"],
            "sources": {name: measured[name] for name in SOURCES},
        }


def named(means: NDArray[np.float64]) -> dict[str, dict[str, dict[str, float]]]:
    """Give means of shape (cutoffs, measures, rankings) names: by ranking, measure and cutoff.

    >>> named(np.full((2, 3, 15), 0.25))["blend"]
    {'hr': {'10': 0.25, '20': 0.25}, 'mrr': {'10': 0.25, '20': 0.25}, 'ndcg': {'10': 0.25, '20': 0.25}}
    """
    values = means.tolist()
    return {
        name: {
            measure: {str(cutoff): round(values[at][kind][ranking], 5) for at, cutoff in enumerate(CUTOFFS)}
            for kind, measure in enumerate(MEASURES)
        }
        for ranking, name in enumerate(NAMES)
    }


@compiled_keeping_gil
def add_up(outcomes: np.ndarray, first: int, last: int, cutoffs: np.ndarray, sums: np.ndarray) -> None:
    """Add up the measures of tests `first` to `last` (not included).

    A version has these figures, so this is done while learning waits: a fifth of a millisecond. Python's lock is kept
    meanwhile, because whatever releases it has to wait for it afterwards.

    Args:
        outcomes: (rows, at least rankings), the ring.
        first, last: numbers of tests.
        cutoffs: lengths of lists.
        sums: (cutoffs, measures, rankings), added to.
    """
    for test in range(first, last):
        coded = outcomes[test % outcomes.shape[0]]
        for ranking in range(sums.shape[2]):
            if coded[ranking] != MISSED:
                rank = coded[ranking] / 2.0
                for at in range(cutoffs.size):
                    if rank <= cutoffs[at]:
                        sums[at, HIT_RATE, ranking] += 1.0
                        sums[at, RECIPROCAL_RANK, ranking] += 1.0 / rank
                        sums[at, GAIN, ranking] += 1.0 / math.log2(1.0 + rank)
