"""Does the model still do as well as it did? One River `ADWIN` for each ranking, on hit or miss at 20.

ADWIN's state can't be written down from outside, so it is made again from the ring of the last tests: at every 4,096th
test, in every run, all detectors begin again with the 4,096 values before it. A restored shard does the same and then
catches up, so that it and an undisturbed one agree about every signal that follows.

With a delta of 1e-7 ten million stationary coin flips give no false alarm (three at River's default).

Bifet & Gavaldà, "Learning from time-changing data with adaptive windowing", SDM 2007.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from river import drift

from stream.models.layout import CLOCK
from stream.models.prequential import NAMES, Prequential, Ranks
from stream.tables import Table, Tables

DELTA = 1e-7
BEGIN_AGAIN_TESTS = 4096
HIT = 20.0

DRIFTS, LAST_SECONDS, BEFORE, AFTER = range(4)


class Detectors:
    """Watches what `Prequential` wrote. How often each signal changed is in the table `drifts`."""

    _seen: int
    """Tests that the detectors have been told of."""

    def __init__(self, tables: Tables, prequential: Prequential) -> None:
        self._table: Table = tables["drifts"]
        self._clock: NDArray[np.float64] = tables["scalars"].data[0]
        self._prequential = prequential
        self._begin_again(prequential.tests // BEGIN_AGAIN_TESTS * BEGIN_AGAIN_TESTS)
        self._feed(prequential.ranks(self._seen, prequential.tests), counted=False)
        self._seen = prequential.tests

    def update(self) -> None:
        """Look at the tests that were written since the last time."""
        while self._seen < self._prequential.tests:
            next_begin = (self._seen // BEGIN_AGAIN_TESTS + 1) * BEGIN_AGAIN_TESTS
            last = min(next_begin, self._prequential.tests)
            self._feed(self._prequential.ranks(self._seen, last), counted=True)
            self._seen = last
            if last == next_begin:
                self._begin_again(last)

    def signals(self) -> dict[str, Any]:
        """By ranking: how often its hit rate changed, when it did last, and from what to what."""
        told = {}
        for number, name in enumerate(NAMES):
            drifts, last_seconds, before, after = self._table.data[number, :4].tolist()
            told[name] = {"drifts": int(drifts), "hit_rate": round(self._detectors[number].estimation, 5)}
            if drifts:
                told[name] |= {"last_seconds": last_seconds, "before": round(before, 5), "after": round(after, 5)}
        return told

    def _begin_again(self, test: int) -> None:
        self._detectors = [drift.ADWIN(delta=DELTA) for _ in NAMES]
        self._feed(self._prequential.ranks(max(0, test - BEGIN_AGAIN_TESTS), test), counted=False)
        self._seen = test

    def _feed(self, ranks: Ranks, *, counted: bool) -> None:
        for number, detector in enumerate(self._detectors):
            for hit in (ranks[:, number] <= HIT).tolist():
                before = detector.estimation if counted else 0.0
                detector.update(hit)
                if counted and detector.drift_detected:
                    row = self._table.data[number]
                    row[DRIFTS] += 1
                    row[LAST_SECONDS] = self._clock[CLOCK]
                    row[BEFORE] = before
                    row[AFTER] = detector.estimation
                    self._table.mark_rows([number])
