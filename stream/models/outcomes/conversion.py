"""Will this click become a purchase? River's logistic regression on standardised features of the situation.

Tested clicks wait in a ring, with what was known when they happened, until the same visitor buys the item or half an
hour has passed; then the model is asked, measured and taught, in that order. A ring that is full takes no more clicks,
which thins the sample and biases nothing. Weights and scalers are one row of numbers, so a version holds the model.

McMahan et al., "Ad click prediction: a view from the trenches", KDD 2013; https://riverml.xyz (`preprocessing`,
`linear_model`).
"""

from __future__ import annotations

import collections
import math
from functools import cached_property
from typing import Any

import numpy as np

from stream.models.kernels.compile import kernel
from stream.models.kernels.hashing import mixed
from stream.models.schema import (
    CLOCK,
    CONVERSION_FEATURES,
    COUNT,
    PENDING,
    PENDING_RESOLVED,
    PENDING_WRITTEN,
)
from stream.models.workspace.learning_view import State
from stream.models.workspace.scoring_view import Reader
from stream.models.workspace.scratch import HISTORY, UNIQUE, Work
from stream.state.tables import Tables

HORIZON_SECONDS = 1800.0
RATE = 0.02
FADE = 0.999
"""Of the measurements, per click."""

# Cells of the table `conversion`.
LEARNED, INTERCEPT, WEIGHTS = 0, 1, 2
COUNTS, MEANS, VARIANCES = (
    WEIGHTS + CONVERSION_FEATURES,
    WEIGHTS + 2 * CONVERSION_FEATURES,
    WEIGHTS + 3 * CONVERSION_FEATURES,
)
WEIGHT, LOSS, BOUGHT = 58, 59, 60


@kernel
def describe(reader: Reader, work: Work, item: int, rank: float, other_rank: float, situation: np.ndarray) -> None:
    """What is known of a click when it happens.

    Args:
        item: its row, 0 if it is new.
        rank, other_rank: 4/(4 + rank) by blend and challenger, 0 if it was no candidate.
        situation: room for CONVERSION_FEATURES numbers.
    """
    situation[:] = 0
    times = 0
    for place in range(work.counts[UNIQUE]):
        if work.unique[place] == item:
            times = work.unique_of[place]
    if item:
        row = reader.items[reader.items_index[item]]
        situation[0] = 0.1 * math.log(1.0 + reader.sums[reader.sums_index[item], COUNT])
        situation[1] = 0.07 * math.log(1.0 + max(0.0, work.visit[0].moment - row.first_seconds))
        situation[2] = 0.07 * math.log(1.0 + max(0.0, work.visit[0].moment - row.last_seconds))
    situation[3] = math.log(1.0 + times)
    situation[4] = 0.2 * math.log(1.0 + work.counts[HISTORY])
    situation[5] = 0.3 * math.log(1.0 + work.visit[0].session_length)
    if work.counts[HISTORY]:
        situation[6] = 0.1 * math.log(1.0 + max(0.0, work.visit[0].moment - work.history_seconds[0]))
    situation[7] = work.visit[0].similarity
    situation[8] = rank
    situation[9] = other_rank
    day = 2.0 * math.pi * (work.visit[0].moment % 86_400.0) / 86_400.0
    situation[10] = math.sin(day)
    situation[11] = math.cos(day)


@kernel
def key_of(visitor: np.uint64, item: np.uint64) -> np.int64:
    return np.int64(mixed(visitor ^ mixed(item)) >> np.uint64(33)) + 1


@kernel
def wait(state: State, visitor: np.uint64, item: np.uint64, seconds: float, situation: np.ndarray) -> None:
    """A tested click waits for its purchase, if there is room."""
    written = np.int64(state.scalars[PENDING_WRITTEN])
    if written - np.int64(state.scalars[PENDING_RESOLVED]) >= PENDING:
        return
    place = written % PENDING
    state.pending_keys[place] = key_of(visitor, item)
    state.pending_keys_dirty[place // 8] = 1
    row = state.pending[place]
    row[0] = 0
    row[1] = seconds
    for number in range(CONVERSION_FEATURES):
        row[2 + number] = situation[number]
    state.pending_dirty[place] = 1
    state.scalars[PENDING_WRITTEN] = written + 1


@kernel
def note_purchase(state: State, visitor: np.uint64, item: np.uint64) -> None:
    """A purchase: the clicks that waited for it became one."""
    key = key_of(visitor, item)
    for place in range(min(int(state.scalars[PENDING_WRITTEN]), PENDING)):
        if state.pending_keys[place] == key:
            state.pending[place, 0] = 1
            state.pending_dirty[place] = 1


class Conversion:
    """Keeps a River pipeline and its row of the table `conversion` the same."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._row = tables["conversion"].data[0]

    @cached_property
    def _scaler(self) -> Any:
        from river import preprocessing

        scaler, row, count = preprocessing.StandardScaler(), self._row, range(int(CONVERSION_FEATURES))
        scaler.counts = collections.Counter({number: int(row[COUNTS + number]) for number in count})
        scaler.means = collections.defaultdict(float, {n: float(row[MEANS + n]) for n in count})
        scaler.vars = collections.defaultdict(float, {n: float(row[VARIANCES + n]) for n in count})
        return scaler

    @cached_property
    def _model(self) -> Any:
        from river import linear_model, optim, utils

        model = linear_model.LogisticRegression(optimizer=optim.SGD(RATE), intercept_lr=RATE)
        weights = {number: float(self._row[WEIGHTS + number]) for number in range(int(CONVERSION_FEATURES))}
        model._weights = utils.VectorDict(weights)
        model.intercept = float(self._row[INTERCEPT])
        return model

    def learn(self) -> None:
        """Ask, measure and teach, for every waiting click whose end is known."""
        scalars = self._tables["scalars"].data[0]
        pending = self._tables["pending"].data
        first = resolved = int(scalars[PENDING_RESOLVED])
        while resolved < int(scalars[PENDING_WRITTEN]):
            row = pending[resolved % PENDING]
            bought = bool(row[0])
            if not bought and scalars[CLOCK] - row[1] <= HORIZON_SECONDS:
                break
            self._learn_one(dict(enumerate(row[2 : 2 + CONVERSION_FEATURES].tolist())), bought)
            resolved += 1
        if resolved > first:
            scalars[PENDING_RESOLVED] = resolved
            self._tables["scalars"].mark_rows([0])
            self._write()

    def _learn_one(self, situation: dict[int, float], bought: bool) -> None:
        chance = self._probability(situation)
        row = self._row
        row[WEIGHT] = FADE * row[WEIGHT] + 1
        row[LOSS] = FADE * row[LOSS] - math.log(max(1e-9, chance if bought else 1 - chance))
        row[BOUGHT] = FADE * row[BOUGHT] + bought
        self._scaler.learn_one(situation)
        self._model.learn_one(self._scaler.transform_one(situation), bought)
        row[LEARNED] += 1

    def _probability(self, situation: dict[int, float]) -> float:
        return float(self._model.predict_proba_one(self._scaler.transform_one(situation))[True])

    def _write(self) -> None:
        row, weights = self._row, self._model.weights
        for number in range(CONVERSION_FEATURES):
            row[WEIGHTS + number] = weights[number]
            row[COUNTS + number] = self._scaler.counts[number]
            row[MEANS + number] = self._scaler.means[number]
            row[VARIANCES + number] = self._scaler.vars[number]
        row[INTERCEPT] = self._model.intercept
        self._tables["conversion"].mark_rows([0])

    def metrics(self) -> dict[str, Any]:
        """Clicks learned, share bought, log loss, and the log loss of always saying that share."""
        row = self._row
        if row[WEIGHT] == 0:
            return {"learned": 0}
        share = row[BOUGHT] / row[WEIGHT]
        known = min(1 - 1e-9, max(1e-9, share))
        constant = -(share * math.log(known) + (1 - share) * math.log(1 - known))
        return {
            "learned": int(row[LEARNED]),
            "bought_share": round(float(share), 5),
            "log_loss": round(float(row[LOSS] / row[WEIGHT]), 5),
            "constant_log_loss": round(float(constant), 5),
        }
