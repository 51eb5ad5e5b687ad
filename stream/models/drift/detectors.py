"""Does the model still do as well as it did? One River `ADWIN` for each ranking, on hit or miss at 20.

ADWIN's state can't be written down from outside, so it is made again from the ring of the last tests: at every 4,096th
test, in every run, all detectors begin again with the 4,096 values before it. A restored shard does the same and then
catches up, so that it and an undisturbed one agree about every signal that follows.

A model that begins with nothing gets better for a long time, and that is no drift. So the first tests are left out (the
setting `drift_burn_in`), and a change for the better is counted by itself, as a *rise*: a *drift* is a fall. What a
world that changes does to a model is a fall first, then the rise of a model that has learned the new one.

With a delta of 1e-7 ten million stationary coin flips give no false alarm (three at River's default). After 4,000 tests
at the old rate, a fall from .8 to .2 is told after some 60 tests, from .5 to .3 after 450, from .5 to .4 after 1,700
(medians; the last one at most 3,300).

Bifet & Gavaldà, "Learning from time-changing data with adaptive windowing", SDM 2007.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.models.drift.prequential import NAMES, Prequential
from stream.models.schema import CLOCK
from stream.state.tables import Table, Tables

DELTA = 1e-7
BEGIN_AGAIN_TESTS = 4096
HIT = 20.0

DRIFTS, LAST_SECONDS, BEFORE, AFTER, RISES, HIT_RATE = range(6)
"""Cells of a row of the table `drifts`. The three after the first are about the last fall."""


class Detectors:
    """Watches what `Prequential` wrote. How often each signal changed is in the table `drifts`.

    Args:
        tables: of the model.
        prequential: the ring of tests in the same tables.
        burn_in: how many tests are left out at the start.
    """

    _seen: int
    """Tests that the detectors have been told of."""

    def __init__(self, tables: Tables, prequential: Prequential, burn_in: int = 0) -> None:
        self._table: Table = tables["drifts"]
        self._clock: NDArray[np.float64] = tables["scalars"].data[0]
        self._prequential = prequential
        self._burn_in = burn_in
        self._detectors: list[Any] = []
        self._seen = prequential.tests
        self._begun = False

    def begin(self) -> None:
        """Catch up with the tests that these tables came with, before others are written over them."""
        if not self._begun:
            self._begun = True
            tests = self._seen
            self._begin_again(tests // BEGIN_AGAIN_TESTS * BEGIN_AGAIN_TESTS)
            self._feed(self._seen, tests, counted=False)
            self._seen = tests

    def update(self) -> None:
        """Look at the tests that were written since the last time."""
        if self._seen == self._prequential.tests:
            return
        self.begin()
        while self._seen < self._prequential.tests:
            next_begin = (self._seen // BEGIN_AGAIN_TESTS + 1) * BEGIN_AGAIN_TESTS
            last = min(next_begin, self._prequential.tests)
            self._feed(self._seen, last, counted=True)
            self._seen = last
            if last == next_begin:
                self._begin_again(last)
        for number, detector in enumerate(self._detectors):
            self._table.data[number, HIT_RATE] = detector.estimation
        self._table.mark_rows(range(len(self._detectors)))

    def signals(self) -> dict[str, Any]:
        """By ranking: how often its hit rate fell (`drifts`) and rose, when it fell last, and from what to what.

        `hit_rate` is that of the tests since the last change; it is missing during the burn-in.
        """
        told: dict[str, Any] = {}
        for number, name in enumerate(NAMES):
            drifts, last_seconds, before, after, rises, hit_rate = self._table.data[number, :6].tolist()
            told[name] = {"drifts": int(drifts), "rises": int(rises)}
            if self._seen > self._burn_in:
                told[name]["hit_rate"] = round(hit_rate, 5)
            if drifts:
                told[name] |= {"last_seconds": last_seconds, "before": round(before, 5), "after": round(after, 5)}
        return told

    def _begin_again(self, test: int) -> None:
        self._detectors = []
        self._feed(max(0, test - BEGIN_AGAIN_TESTS), test, counted=False)
        self._seen = test

    def _feed(self, first: int, last: int, *, counted: bool) -> None:
        """Tell the detectors of tests number `first` to `last`; changes that they find are only news if `counted`."""
        first = max(first, self._burn_in)
        if first >= last:
            return
        if not self._detectors:
            from river import drift  # takes half a second, which a worker that starts has better use for

            self._detectors = [drift.ADWIN(delta=DELTA) for _ in NAMES]
        ranks = self._prequential.ranks(first, last)
        for number, detector in enumerate(self._detectors):
            for hit in (ranks[:, number] <= HIT).tolist():
                before = detector.estimation if counted else 0.0
                detector.update(hit)
                if counted and detector.drift_detected:
                    row = self._table.data[number]
                    if detector.estimation < before:
                        row[DRIFTS] += 1
                        row[LAST_SECONDS : AFTER + 1] = self._clock[CLOCK], before, detector.estimation
                    else:
                        row[RISES] += 1
                    self._table.mark_rows([number])
