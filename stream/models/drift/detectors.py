"""Drift detectors: one River `ADWIN` for each ranking, on hit or miss at 20.

ADWIN's state can't be written down from outside, so it is made again from the ring of the last tests: at every 4,096th
test, in every run, all detectors begin again with the 4,096 values before it. A restored shard does this as well and
then catches up, so that it and an undisturbed one agree about every signal that follows.

A model that begins with nothing gets better for a long time, and that is no drift. So the first tests are left out (the
setting `drift_burn_in`), and a change for the better is counted by itself, as a *rise*; a *drift* is a fall. A change
in the world makes a model fall first, and rise when it has learned the new one.

With a delta of 1e-7, ten million stationary coin flips give no false alarm (three at River's default). After 4,000
tests at the old rate, a fall from 0.8 to 0.2 is found after some 60 tests, from 0.5 to 0.3 after 450, from 0.5 to 0.4
after 1,700 (medians; the last one after at most 3,300).

This file decides when a ranking counts as having changed, and what is reported of it.

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
"""Tests after which all detectors begin again, and values that they begin with."""
HIT = 20.0
"""Last rank that is a hit."""

DRIFTS, LAST_SECONDS, BEFORE, AFTER, RISES, HIT_RATE = range(6)
"""Cells of a row of the table `drifts`. `LAST_SECONDS`, `BEFORE` and `AFTER` describe the last fall."""


class Detectors:
    """Detectors of changes in the ring of tests. Their counts of changes are in the table `drifts`.

    Args:
        tables: of the model.
        prequential: the ring of tests in these tables.
        burn_in: number of tests that are left out at the start.
    """

    _seen: int
    """Tests that the detectors have had."""

    def __init__(self, tables: Tables, prequential: Prequential, burn_in: int = 0) -> None:
        self._table: Table = tables["drifts"]
        self._clock: NDArray[np.float64] = tables["scalars"].data[0]
        self._prequential = prequential
        self._burn_in = burn_in
        self._detectors: list[Any] = []
        self._seen = prequential.tests
        self._begun = False

    def begin(self) -> None:
        """Catch up with the tests that the tables had at first, before others are written over them."""
        if not self._begun:
            self._begun = True
            tests = self._seen
            self._begin_again(tests // BEGIN_AGAIN_TESTS * BEGIN_AGAIN_TESTS)
            self._feed(self._seen, tests, counted=False)
            self._seen = tests

    def update(self) -> None:
        """Feed the detectors with the tests that were written since the last call."""
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
        """Changes of each ranking's hit rate, by name of the ranking.

        `drifts` and `rises` count falls and rises. `last_seconds`, `before` and `after` describe the last fall, and are
        missing if there was none. `hit_rate` is that of the tests since the last change, and is missing during the
        burn-in.
        """
        signals: dict[str, Any] = {}
        for number, name in enumerate(NAMES):
            drifts, last_seconds, before, after, rises, hit_rate = self._table.data[number, : HIT_RATE + 1].tolist()
            signals[name] = {"drifts": int(drifts), "rises": int(rises)}
            if self._seen > self._burn_in:
                signals[name]["hit_rate"] = round(hit_rate, 5)
            if drifts:
                signals[name] |= {"last_seconds": last_seconds, "before": round(before, 5), "after": round(after, 5)}
        return signals

    def _begin_again(self, test: int) -> None:
        self._detectors = []
        self._feed(max(0, test - BEGIN_AGAIN_TESTS), test, counted=False)
        self._seen = test

    def _feed(self, first: int, last: int, *, counted: bool) -> None:
        """Feed the detectors with tests number `first` to `last` (not included).

        Args:
            first, last: numbers of tests.
            counted: true if changes that are found are written down; false if the tests were seen before.
        """
        first = max(first, self._burn_in)
        if first >= last:
            return
        if not self._detectors:
            from river import drift  # imported late: it takes half a second, which would delay the start of a worker

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
