"""Ratings: the value that a visitor would give an item, by River's biased matrix factorisation on explicit ratings.

River keeps a dictionary entry for every visitor and item that it ever met. Here the factors live in rows of the tables
`visitor_tastes` and `item_tastes`, which are bounded and evicted with their owners. For each rating, River gets the two
rows in question, learns, and its factors are written back.

This file decides what a row of factors holds, and how the model is measured.

Koren, Bell & Volinsky, "Matrix factorization techniques for recommender systems", Computer 2009; https://riverml.xyz
(`reco.BiasedMF`).
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.models.schema import FACTORS, RANDOM
from stream.state.tables import Table, Tables

RATE = 0.02
"""Learning rate of biases and factors."""
PENALTY = 0.02
"""L2 penalty on biases and factors."""
SPREAD = 0.1
"""Standard deviation of the factors of a new row."""
FADE = 0.999
"""Factor on the measurements, per rating."""

LEARNED, MEAN, WEIGHT, ERROR, CONSTANT_ERROR = range(5)
"""Cells of the table `ratings`: ratings learned, their mean, and the faded sums of the measurements."""

MAX_FACTOR = 1e4
"""Largest factor and, a million times larger, bias. Ratings far outside any scale let gradient descent diverge: bounded
cells keep one visitor's rows finite, and with them the measurements of the version."""

BIAS = 0
"""Cell of a row of factors: the bias of the visitor or item."""
LATENT = slice(1, FACTORS - 1)
"""Cells of a row of factors: the factors themselves."""
IN_USE = FACTORS - 1
"""Cell of a row of factors: 1 once the row has been drawn."""
LATENT_FACTORS = FACTORS - 2

VISITOR_SIDE, ITEM_SIDE = 1, 2
"""Part of the seed of a new row: visitors and items with equal row numbers draw different factors."""


class Ratings:
    """River's model, which learns with rows of the tables.

    Args:
        tables: of the model. River's model is made from them when it is first used.
    """

    def __init__(self, tables: Tables) -> None:
        self._visitors: Table = tables["visitor_tastes"]
        self._items: Table = tables["item_tastes"]
        self._table: Table = tables["ratings"]
        self._row: NDArray[np.float64] = tables["ratings"].data[0]
        self._scalars: NDArray[np.float64] = tables["scalars"].data[0]

    @cached_property
    def _model(self) -> Any:
        from river import optim, reco

        model = reco.BiasedMF(
            n_factors=LATENT_FACTORS,
            bias_optimizer=optim.SGD(RATE),
            latent_optimizer=optim.SGD(RATE),
            l2_bias=PENALTY,
            l2_latent=PENALTY,
        )
        model.global_mean.n = self._row[LEARNED]
        model.global_mean._mean = float(self._row[MEAN])  # noqa: SLF001  River has no public way
        return model

    def learn(self, visitor: int, item: int, value: float) -> None:
        """Measure and learn one rating.

        Args:
            visitor, item: their rows.
            value: the rating, on any scale.
        """
        model = self._model
        visitor_factors = self._drawn(self._visitors, visitor, VISITOR_SIDE)
        item_factors = self._drawn(self._items, item, ITEM_SIDE)
        model.u_biases, model.u_latents = {0: float(visitor_factors[BIAS])}, {0: visitor_factors[LATENT].copy()}
        model.i_biases, model.i_latents = {0: float(item_factors[BIAS])}, {0: item_factors[LATENT].copy()}
        self._measure(value)
        model.learn_one(0, 0, value)
        _write(visitor_factors, model.u_biases[0], model.u_latents[0])
        _write(item_factors, model.i_biases[0], model.i_latents[0])
        self._visitors.mark_rows([visitor])
        self._items.mark_rows([item])
        self._row[LEARNED] = model.global_mean.n
        self._row[MEAN] = model.global_mean.get()
        self._table.mark_rows([0])

    def _drawn(self, table: Table, row: int, side: int) -> NDArray[np.float64]:
        """A row of factors; if it is new, small random numbers are drawn for it first."""
        factors: NDArray[np.float64] = table.data[row]
        if factors[IN_USE] == 0:
            draw = np.random.default_rng([int(self._scalars[RANDOM]), side, row])
            factors[LATENT] = draw.normal(0.0, SPREAD, LATENT_FACTORS)
            factors[IN_USE] = 1
        return factors

    def _measure(self, value: float) -> None:
        row = self._row
        if row[LEARNED]:
            row[WEIGHT] = FADE * row[WEIGHT] + 1
            row[ERROR] = FADE * row[ERROR] + abs(value - self._model.predict_one(0, 0))
            row[CONSTANT_ERROR] = FADE * row[CONSTANT_ERROR] + abs(value - row[MEAN])

    def metrics(self) -> dict[str, Any]:
        """Ratings learned, mean absolute error, and that of a model that always predicts the mean."""
        row = self._row
        if row[WEIGHT] == 0:
            return {"learned": int(row[LEARNED])}
        return {
            "learned": int(row[LEARNED]),
            "mae": round(float(row[ERROR] / row[WEIGHT]), 5),
            "constant_mae": round(float(row[CONSTANT_ERROR] / row[WEIGHT]), 5),
        }


def _write(factors: NDArray[np.float64], bias: float, latents: NDArray[np.float64]) -> None:
    """Write a bias and factors into a row, bounded."""
    factors[BIAS] = min(MAX_FACTOR * 1e6, max(-MAX_FACTOR * 1e6, bias))
    np.clip(latents, -MAX_FACTOR, MAX_FACTOR, out=factors[LATENT])
