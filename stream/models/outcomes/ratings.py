"""What would this visitor give that item? River's biased matrix factorisation on explicit ratings of the sample.

River keeps a dictionary entry for every visitor and item it ever met. Here the factors live in rows of the tables
`visitor_tastes` and `item_tastes`, which are bounded and evicted with their owners; River is handed the two rows that a
rating is about, learns, and hands them back.

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
PENALTY = 0.02
SPREAD = 0.1
FADE = 0.999
"""Of the measurements, per rating."""

LEARNED, MEAN, WEIGHT, ERROR, CONSTANT_ERROR = range(5)
FACTORS = FACTORS - 2
"""A row: bias, factors, and a last cell that says that the row is in use."""


class Ratings:
    """Teaches River's model with rows of the tables."""

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
            n_factors=FACTORS,
            bias_optimizer=optim.SGD(RATE),
            latent_optimizer=optim.SGD(RATE),
            l2_bias=PENALTY,
            l2_latent=PENALTY,
        )
        model.global_mean.n = self._row[LEARNED]
        model.global_mean._mean = float(self._row[MEAN])
        return model

    def learn(self, visitor: int, item: int, value: float) -> None:
        """One rating of the visitor in this row for the item in that row."""
        model = self._model
        taste, appeal = self._lent(self._visitors, visitor, 1), self._lent(self._items, item, 2)
        model.u_biases, model.u_latents = {0: float(taste[0])}, {0: taste[1:-1].copy()}
        model.i_biases, model.i_latents = {0: float(appeal[0])}, {0: appeal[1:-1].copy()}
        self._measure(value)
        model.learn_one(0, 0, value)
        taste[0], taste[1:-1] = model.u_biases[0], model.u_latents[0]
        appeal[0], appeal[1:-1] = model.i_biases[0], model.i_latents[0]
        self._visitors.mark_rows([visitor])
        self._items.mark_rows([item])
        self._row[LEARNED] = model.global_mean.n
        self._row[MEAN] = model.global_mean.get()
        self._table.mark_rows([0])

    def _lent(self, table: Table, row: int, side: int) -> NDArray[np.float64]:
        """A row of factors; small random ones if it is new."""
        factors: NDArray[np.float64] = table.data[row]
        if factors[-1] == 0:
            draw = np.random.default_rng([int(self._scalars[RANDOM]), side, row])
            factors[1:-1] = draw.normal(0.0, SPREAD, FACTORS)
            factors[-1] = 1
        return factors

    def _measure(self, value: float) -> None:
        row = self._row
        if row[LEARNED]:
            row[WEIGHT] = FADE * row[WEIGHT] + 1
            row[ERROR] = FADE * row[ERROR] + abs(value - self._model.predict_one(0, 0))
            row[CONSTANT_ERROR] = FADE * row[CONSTANT_ERROR] + abs(value - row[MEAN])

    def metrics(self) -> dict[str, Any]:
        """Ratings learned, mean absolute error, and that of always saying the mean."""
        row = self._row
        if row[WEIGHT] == 0:
            return {"learned": int(row[LEARNED])}
        return {
            "learned": int(row[LEARNED]),
            "mae": round(float(row[ERROR] / row[WEIGHT]), 5),
            "constant_mae": round(float(row[CONSTANT_ERROR] / row[WEIGHT]), 5),
        }
