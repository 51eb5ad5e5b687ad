"""How good the lists were lately: every test's ranks in a ring, and the usual measures over the newest of them.

A test ranks before it learns, so these are figures of lists as they would have been served (Gama, Sebastião &
Rodrigues, "On evaluating stream learning algorithms", 2013). The rank of the target is 1 + greater + equal/2; a target
that was no candidate is a miss everywhere.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.models.kernels import kernel
from stream.models.layout import DETECTOR_TESTS, OUTCOME_ROWS, RANKINGS, SOURCES
from stream.tables import Table, Tables

NAMES = (*SOURCES, "blend", "challenger")
WINDOW = 2000
CUTOFFS = (10, 20)
MEASURES = ("hr", "mrr", "ndcg")
MISSED = 65_535
FARTHEST = 65_000

Ranks = NDArray[np.float64]


class Prequential:
    """The ring of the newest tests, in the table `outcomes`: twice the rank as 16 bits, `MISSED` for a miss."""

    def __init__(self, tables: Tables) -> None:
        self._outcomes: Table = tables["outcomes"]
        self._scalars: Table = tables["scalars"]

    @property
    def tests(self) -> int:
        """Tests ever written."""
        return int(self._scalars.data[0, DETECTOR_TESTS])

    def add(self, greater: NDArray[np.float32], equal: NDArray[np.float32]) -> None:
        """Write the outcomes of some tests, (n, rankings) each."""
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
        """Ranks of tests number `first` to `last` (not included), (n, rankings); infinite for a miss."""
        coded = self._outcomes.data[np.arange(first, last) % OUTCOME_ROWS, :RANKINGS].astype(np.float64)
        return np.where(coded == MISSED, np.inf, coded / 2)

    def metrics(self) -> dict[str, Any]:
        """Measures over the window, by ranking: `tests`, `blend`, `challenger` and `sources`."""
        tests = self.tests
        ranks = self.ranks(max(0, tests - WINDOW), tests)
        if not len(ranks):
            return {"tests": 0}
        measured = measure(ranks)
        return {
            "tests": tests,
            "window": len(ranks),
            "blend": measured["blend"],
            "challenger": measured["challenger"],
            "sources": {name: measured[name] for name in SOURCES},
        }


def measure(ranks: Ranks) -> dict[str, dict[str, dict[str, float]]]:
    """Hit rate, reciprocal rank and discounted gain at each cutoff, by ranking.

    >>> measure(np.array([[1.0] * 15, [4.0] * 15]))["blend"]
    {'hr': {'10': 1.0, '20': 1.0}, 'mrr': {'10': 0.625, '20': 0.625}, 'ndcg': {'10': 0.71534, '20': 0.71534}}
    """
    sums = np.zeros((len(CUTOFFS), len(MEASURES), len(NAMES)))
    add_up(ranks, np.array(CUTOFFS, np.float64), sums)
    means = (sums / len(ranks)).tolist()
    return {
        name: {
            measure: {str(cutoff): round(means[at][kind][ranking], 5) for at, cutoff in enumerate(CUTOFFS)}
            for kind, measure in enumerate(MEASURES)
        }
        for ranking, name in enumerate(NAMES)
    }


@kernel
def add_up(ranks: np.ndarray, cutoffs: np.ndarray, sums: np.ndarray) -> None:
    """Add the measures of every test to `sums`, (cutoffs, measures, rankings).

    A version has these figures, so this is done while learning waits: in one call, because each of numpy's lets go of
    Python's lock and then waits for it.
    """
    for test in range(ranks.shape[0]):
        for ranking in range(ranks.shape[1]):
            rank = ranks[test, ranking]
            for at in range(cutoffs.size):
                if rank <= cutoffs[at]:
                    sums[at, 0, ranking] += 1.0
                    sums[at, 1, ranking] += 1.0 / rank
                    sums[at, 2, ranking] += 1.0 / math.log2(1.0 + rank)
