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

from stream.models.schema import DETECTOR_TESTS, OUTCOME_ROWS, RANKINGS
from stream.models.source_names import SOURCES
from stream.state.compiled import compiled_keeping_gil
from stream.state.tables import Table, Tables

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
    """By ranking, measure and cutoff what is in (cutoffs, measures, rankings).

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
    """Add the measures of tests `first` to `last` (not included) to `sums`, (cutoffs, measures, rankings).

    A version has these figures, so this is done while learning waits: a fifth of a millisecond, in which Python's lock
    is kept. NumPy and kernels let go of it, and then wait for it.
    """
    for test in range(first, last):
        coded = outcomes[test % outcomes.shape[0]]
        for ranking in range(sums.shape[2]):
            if coded[ranking] != MISSED:
                rank = coded[ranking] / 2.0
                for at in range(cutoffs.size):
                    if rank <= cutoffs[at]:
                        sums[at, 0, ranking] += 1.0
                        sums[at, 1, ranking] += 1.0 / rank
                        sums[at, 2, ranking] += 1.0 / math.log2(1.0 + rank)
