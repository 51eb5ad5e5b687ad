"""The challenger: River's linear model on the champion's features, learning pairs.

The event that happened should score above another candidate, so each test gives one example: the difference of their
features, which is positive. A logistic regression without intercept on such differences is a linear ranker; its weights
are one row of the table `challenger`, and scoring with them is one dot product a candidate. It is tested beside the
champion, and the setting `ranker = river` lets it order the lists.

This file decides how the challenger scores and learns, and how River's model and the table are kept the same.

Joachims, "Optimizing search engines using clickthrough data", KDD 2002; https://riverml.xyz (`linear_model`, `optim`).
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.models.feature_names import FEATURES, RANK, SOURCE_PARTS
from stream.models.kernels.compile import kernel, padded, vectored
from stream.models.ranking.ranker import RANK_START
from stream.models.source_names import SOURCE_COUNT
from stream.models.workspace.scoring_view import Reader
from stream.models.workspace.scratch import CANDIDATE, Work
from stream.state.tables import Table

RATE = 0.05


class Challenger:
    """River's model and its row of weights, which are kept the same.

    Args:
        table: the table `challenger`. If its row is all zeros, nothing was learned yet, and the rank features get their
            first weights.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        weights = table.data[0, :FEATURES]
        if not weights.any():
            weights[[SOURCE_PARTS * source + RANK for source in range(SOURCE_COUNT)]] = RANK_START
            table.mark_rows([0])

    @cached_property
    def _model(self) -> Any:
        """River's model with the weights of the table, imported when there is something to learn."""
        from river import linear_model, optim, utils

        model = linear_model.LogisticRegression(optimizer=optim.SGD(RATE), intercept_lr=0.0)
        # All features from the start and in order: sums then have one order, before and after a restore.
        weights = self._table.data[0, :FEATURES].tolist()
        model._weights = utils.VectorDict(dict(enumerate(weights)))  # noqa: SLF001  no public way
        return model

    def learn(self, differences: NDArray[np.float32]) -> None:
        """Learn pairs.

        Args:
            differences: (n, FEATURES) float32, the features of what happened minus those of another candidate. Rows of
                zeros are left out.
        """
        unequal = differences.any(axis=1)
        if not unequal.any():
            return
        for row in differences[unequal].astype(np.float64):
            present = np.flatnonzero(row)
            self._model.learn_one(dict(zip(present.tolist(), row[present].tolist(), strict=True)), True)
        weights = self._model.weights
        self._table.data[0, :FEATURES] = [weights[feature] for feature in range(FEATURES)]
        self._table.mark_rows([0])


@kernel
def score(reader: Reader, work: Work) -> None:
    """Fill in `challenger`, the challenger's scores of all candidates."""
    weights = reader.challenger[reader.challenger_index[0]]
    wide = padded(work.counts[CANDIDATE])
    scores = work.challenger[:wide]
    scores[:] = 0
    for feature in range(FEATURES):
        add_weighted(work.candidate_features[feature, :wide], weights[feature], scores)


@vectored
def add_weighted(values: np.ndarray, weight: float, out: np.ndarray) -> None:
    """Add one feature's part of the scores of all candidates."""
    for number in range(out.size):
        out[number] += weight * values[number]
