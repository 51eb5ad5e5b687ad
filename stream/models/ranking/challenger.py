"""The challenger: River's linear model on the same features, learning pairs.

What happened should score above another candidate, so each test gives one example: the difference of their features,
which is positive. A logistic regression without intercept on such differences is a linear ranker; its weights are one
row of the table `challenger`, and scoring with them is one dot product a candidate. It is tested beside the blend, and
the setting `ranker` puts it in charge.

Joachims, "Optimizing search engines using clickthrough data", KDD 2002; https://riverml.xyz (`linear_model`, `optim`).
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.models.ranking.ranker import RANK_START
from stream.models.schema import FEATURES, SOURCE_COUNT
from stream.state.tables import Table

RATE = 0.05


class Challenger:
    """Keeps a River model and its row of weights the same.

    Args:
        table: the table `challenger`; zeros mean that nothing was learned yet.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        weights = table.data[0, :FEATURES]
        if not weights.any():
            weights[[3 * source + 1 for source in range(SOURCE_COUNT)]] = RANK_START
            table.mark_rows([0])

    @cached_property
    def _model(self) -> Any:
        """River's model with the weights of the table, imported when there is something to learn."""
        from river import linear_model, optim, utils

        model = linear_model.LogisticRegression(optimizer=optim.SGD(RATE), intercept_lr=0.0)
        # All features from the start and in order: sums then have one order, before and after a restore.
        weights = self._table.data[0, :FEATURES].tolist()
        model._weights = utils.VectorDict(dict(enumerate(weights)))
        return model

    def learn(self, differences: NDArray[np.float32]) -> None:
        """Learn from (n, features) differences between what happened and another candidate; zeros say nothing."""
        told = differences.any(axis=1)
        if not told.any():
            return
        for row in differences[told].astype(np.float64):
            present = np.flatnonzero(row)
            self._model.learn_one(dict(zip(present.tolist(), row[present].tolist(), strict=True)), True)
        weights = self._model.weights
        self._table.data[0, :FEATURES] = [weights[feature] for feature in range(FEATURES)]
        self._table.mark_rows([0])
