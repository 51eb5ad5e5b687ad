"""Conversion: the probability that a click becomes a purchase, by River's logistic regression on standardised features.

Tested clicks wait in a ring, with what was known when they happened, until the same visitor buys the item or half an
hour has passed. Then the model predicts, is measured, and learns, in that order. A ring that is full takes no more
clicks, which thins the sample and biases nothing. Weights and scalers are one row of numbers in the table `conversion`,
so a version holds the model.

This file decides the features of a click, how long a click waits, and how the model is measured.

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
"""A purchase counts for clicks that are at most this old."""
RATE = 0.02
"""Learning rate of weights and intercept."""
FADE = 0.999
"""Factor on the measurements, per click that is learned."""

(
    ITEM_COUNT,
    ITEM_AGE,
    ITEM_IDLE,
    VISITOR_ITEM_EVENTS,
    HISTORY_LENGTH,
    ITEMS_IN_SESSION,
    VISITOR_IDLE,
    NEIGHBOUR_SIMILARITY,
    CHAMPION_RANK,
    CHALLENGER_RANK,
    DAY_SINE,
    DAY_COSINE,
) = range(CONVERSION_FEATURES)
"""Places of the features, in the order of `CONVERSION_FEATURE_NAMES`."""

PENDING_BOUGHT, PENDING_SECONDS, PENDING_FEATURES = range(3)
"""Cells of a row of the table `pending`: 1 if the item was bought, the time of the click, and the first feature."""

# Cells of the table `conversion`: numbers of the model, then of its measurements.
LEARNED, INTERCEPT, WEIGHTS = 0, 1, 2
COUNTS, MEANS, VARIANCES = (
    WEIGHTS + CONVERSION_FEATURES,
    WEIGHTS + 2 * CONVERSION_FEATURES,
    WEIGHTS + 3 * CONVERSION_FEATURES,
)
WEIGHT, LOSS, BOUGHT = 58, 59, 60


@kernel
def describe(
    reader: Reader, work: Work, item: int, champion_rank: float, challenger_rank: float, features: np.ndarray
) -> None:
    """Fill in the features of a click, from what is known when it happens.

    Args:
        reader: the tables.
        work: the visitor's history and session.
        item: row of the item, 0 if it is new.
        champion_rank, challenger_rank: 4/(4 + rank) by champion and challenger, 0 if it was no candidate.
        features: (CONVERSION_FEATURES,), filled in.
    """
    features[:] = 0
    times = 0
    for place in range(work.counts[UNIQUE]):
        if work.unique[place] == item:
            times = work.unique_of[place]
    if item:
        row = reader.items[reader.items_index[item]]
        features[ITEM_COUNT] = 0.1 * math.log(1.0 + reader.sums[reader.sums_index[item], COUNT])
        features[ITEM_AGE] = 0.07 * math.log(1.0 + max(0.0, work.visit[0].moment - row.first_seconds))
        features[ITEM_IDLE] = 0.07 * math.log(1.0 + max(0.0, work.visit[0].moment - row.last_seconds))
    features[VISITOR_ITEM_EVENTS] = math.log(1.0 + times)
    features[HISTORY_LENGTH] = 0.2 * math.log(1.0 + work.counts[HISTORY])
    features[ITEMS_IN_SESSION] = 0.3 * math.log(1.0 + work.visit[0].session_length)
    if work.counts[HISTORY]:
        features[VISITOR_IDLE] = 0.1 * math.log(1.0 + max(0.0, work.visit[0].moment - work.history_seconds[0]))
    features[NEIGHBOUR_SIMILARITY] = work.visit[0].similarity
    features[CHAMPION_RANK] = champion_rank
    features[CHALLENGER_RANK] = challenger_rank
    day = 2.0 * math.pi * (work.visit[0].moment % 86_400.0) / 86_400.0
    features[DAY_SINE] = math.sin(day)
    features[DAY_COSINE] = math.cos(day)


@kernel
def key_of(visitor: np.uint64, item: np.uint64) -> np.int64:
    """31 bits of a hash of the keys of visitor and item, plus one: 0 is the key of an empty place."""
    return np.int64(mixed(visitor ^ mixed(item)) >> np.uint64(33)) + 1


@kernel
def wait(state: State, visitor: np.uint64, item: np.uint64, seconds: float, features: np.ndarray) -> None:
    """Let a tested click wait for its purchase, if there is room.

    Args:
        state: the tables.
        visitor, item: first halves of the keys.
        seconds: time of the click.
        features: (CONVERSION_FEATURES,), as `describe` fills them in.
    """
    written = np.int64(state.scalars[PENDING_WRITTEN])
    if written - np.int64(state.scalars[PENDING_RESOLVED]) >= PENDING:
        return
    place = written % PENDING
    state.pending_keys[place] = key_of(visitor, item)
    state.pending_keys_dirty[place // 8] = 1
    row = state.pending[place]
    row[PENDING_BOUGHT] = 0
    row[PENDING_SECONDS] = seconds
    for number in range(CONVERSION_FEATURES):
        row[PENDING_FEATURES + number] = features[number]
    state.pending_dirty[place] = 1
    state.scalars[PENDING_WRITTEN] = written + 1


@kernel
def note_purchase(state: State, visitor: np.uint64, item: np.uint64) -> None:
    """Note a purchase for the clicks of this visitor on this item that wait for one."""
    key = key_of(visitor, item)
    for place in range(min(int(state.scalars[PENDING_WRITTEN]), PENDING)):
        if state.pending_keys[place] == key:
            state.pending[place, PENDING_BOUGHT] = 1
            state.pending_dirty[place] = 1


class Conversion:
    """River's pipeline of scaler and logistic regression, kept equal to its row of the table `conversion`.

    Args:
        tables: of the model. The pipeline is made from them when it is first used.
    """

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
        model._weights = utils.VectorDict(weights)  # noqa: SLF001  River has no public way
        model.intercept = float(self._row[INTERCEPT])
        return model

    def learn(self) -> None:
        """Predict, measure and learn every waiting click that was bought or has waited long enough."""
        scalars = self._tables["scalars"].data[0]
        pending = self._tables["pending"].data
        first = resolved = int(scalars[PENDING_RESOLVED])
        while resolved < int(scalars[PENDING_WRITTEN]):
            row = pending[resolved % PENDING]
            bought = bool(row[PENDING_BOUGHT])
            if not bought and scalars[CLOCK] - row[PENDING_SECONDS] <= HORIZON_SECONDS:
                break
            features = row[PENDING_FEATURES : PENDING_FEATURES + CONVERSION_FEATURES].tolist()
            self._learn_one(dict(enumerate(features)), bought)
            resolved += 1
        if resolved > first:
            scalars[PENDING_RESOLVED] = resolved
            self._tables["scalars"].mark_rows([0])
            self._write()

    def _learn_one(self, features: dict[int, float], bought: bool) -> None:
        chance = self._probability(features)
        row = self._row
        row[WEIGHT] = FADE * row[WEIGHT] + 1
        row[LOSS] = FADE * row[LOSS] - math.log(max(1e-9, chance if bought else 1 - chance))
        row[BOUGHT] = FADE * row[BOUGHT] + bought
        self._scaler.learn_one(features)
        self._model.learn_one(self._scaler.transform_one(features), bought)
        row[LEARNED] += 1

    def _probability(self, features: dict[int, float]) -> float:
        return float(self._model.predict_proba_one(self._scaler.transform_one(features))[True])

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
        """Clicks learned, share bought, log loss, and the log loss of a model that always predicts that share."""
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
