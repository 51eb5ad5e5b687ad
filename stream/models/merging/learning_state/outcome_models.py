"""Conversion, ratings and drift of a merge that learns.

Each of these models is a row of sums and weights. Sums are added; weights are averaged by the number of examples that
each shard has learned, which is exact for means and variances (Chan, Golub & LeVeque, "Updating formulae and a pairwise
algorithm for computing sample variances", 1979) and an average of models for the rest. Latent factors of ratings start
from other random numbers in each shard, so factors of an item that several shards have cancel out to a part: what is
left of it are the biases, which mean the same in every shard.

Clicks that wait for their purchase wait on. If there are too many, those that happened first stay: a ring that is full
takes no more clicks.

This file decides how these rows are merged.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream.models.drift.detectors import AFTER, DRIFTS, HIT_RATE, LAST_SECONDS, RISES
from stream.models.merging.numbering import Numbering, Views
from stream.models.outcomes import conversion, ratings
from stream.models.outcomes.conversion import PENDING_SECONDS
from stream.models.schema import (
    CONVERSION_FEATURES,
    COUNT,
    DETECTOR_TESTS,
    ITEM_ROWS,
    PENDING,
    PENDING_RESOLVED,
    PENDING_WRITTEN,
    VISITOR_ROWS,
)
from stream.state.tables import Tables


def merge_drifts(tables: Tables, views: Sequence[Views]) -> None:
    """Fill the table `drifts`: counts are added, the last fall is the latest of all, hit rates are averaged."""
    rows, out = np.array([_rows(each, "drifts") for each in views]), tables["drifts"].data
    for cell in (DRIFTS, RISES):
        out[:, cell] = rows[:, :, cell].sum(axis=0)
    latest = rows[:, :, LAST_SECONDS].argmax(axis=0)
    described = slice(LAST_SECONDS, AFTER + 1)
    out[:, described] = rows[latest, np.arange(len(out)), described]
    out[:, HIT_RATE] = _average(rows[:, :, HIT_RATE], [_scalar(each, DETECTOR_TESTS) for each in views])


def merge_conversion(tables: Tables, views: Sequence[Views]) -> None:
    """Fill the row of the table `conversion`."""
    rows, out = np.array([_rows(each, "conversion")[0] for each in views]), tables["conversion"].data[0]
    for cell in (conversion.LEARNED, conversion.WEIGHT, conversion.LOSS, conversion.BOUGHT):
        out[cell] = rows[:, cell].sum()
    learned = rows[:, conversion.LEARNED]
    for cell in (conversion.INTERCEPT, *range(conversion.WEIGHTS, conversion.WEIGHTS + CONVERSION_FEATURES)):
        out[cell] = _average(rows[:, cell], learned)
    for feature in range(CONVERSION_FEATURES):
        counts, means = rows[:, conversion.COUNTS + feature], rows[:, conversion.MEANS + feature]
        mean = _average(means, counts)
        out[conversion.COUNTS + feature] = counts.sum()
        out[conversion.MEANS + feature] = mean
        spread = rows[:, conversion.VARIANCES + feature] + (means - mean) ** 2
        out[conversion.VARIANCES + feature] = _average(spread, counts)


def merge_pending(tables: Tables, views: Sequence[Views]) -> None:
    """Fill the tables `pending` and `pending_keys` with the clicks that wait in the shards, oldest first."""
    clicks, keys = [], []
    for each in views:
        waiting = np.arange(int(_scalar(each, PENDING_RESOLVED)), int(_scalar(each, PENDING_WRITTEN))) % PENDING
        clicks.append(_rows(each, "pending")[waiting])
        keys.append(_rows(each, "pending_keys").reshape(-1)[waiting])
    joined, joined_keys = np.concatenate(clicks), np.concatenate(keys)
    first = np.argsort(joined[:, PENDING_SECONDS], kind="stable")[:PENDING]
    tables["pending"].data[: len(first)] = joined[first]
    tables["pending_keys"].data.reshape(-1)[: len(first)] = joined_keys[first]
    tables["scalars"].data[0, PENDING_WRITTEN] = len(first)
    tables["scalars"].data[0, PENDING_RESOLVED] = 0


def merge_ratings(tables: Tables, views: Sequence[Views], items: Numbering, visitors: Numbering) -> None:
    """Fill the row of the table `ratings`, and the factors of items and visitors."""
    rows, out = np.array([_rows(each, "ratings")[0] for each in views]), tables["ratings"].data[0]
    for cell in (ratings.LEARNED, ratings.WEIGHT, ratings.ERROR, ratings.CONSTANT_ERROR):
        out[cell] = rows[:, cell].sum()
    out[ratings.MEAN] = _average(rows[:, ratings.MEAN], rows[:, ratings.LEARNED])
    counts = [_used(each, "sums", ITEM_ROWS)[:, COUNT] for each in views]
    merge_factors(tables["item_tastes"].data, [_used(each, "item_tastes", ITEM_ROWS) for each in views], items, counts)
    rows_of_visitors = [_used(each, "visitor_tastes", VISITOR_ROWS) for each in views]
    ones = [np.ones(len(each)) for each in rows_of_visitors]
    merge_factors(tables["visitor_tastes"].data, rows_of_visitors, visitors, ones)


def merge_factors(out: NDArray, tables: Sequence[NDArray], numbering: Numbering, weights: Sequence[NDArray]) -> None:
    """Average the rows of factors that are in use.

    Args:
        out: (rows, factors) of the merge, zeros.
        tables: by shard, its rows.
        numbering: of the rows.
        weights: by shard, a weight a row.
    """
    total = np.zeros(numbering.count + 1)
    for shard, table in enumerate(tables):
        live, target = numbering.live[shard], numbering.targets(shard)
        drawn = table[live, ratings.IN_USE] != 0
        weight = weights[shard][live][drawn] + 1e-6
        out[target[drawn]] += weight[:, None] * table[live[drawn]]
        total[target[drawn]] += weight
    drawn_rows = np.flatnonzero(total)
    out[drawn_rows] /= total[drawn_rows, None]
    out[drawn_rows, ratings.IN_USE] = 1


def _average(values: NDArray, weights: NDArray | Sequence[float]) -> NDArray:
    """Weighted mean over the first axis; zeros if all weights are."""
    shares = np.asarray(weights, np.float64)
    return np.tensordot(shares, values, axes=1) / max(1e-300, float(shares.sum()))


def _rows(views: Views, name: str) -> NDArray:
    data, index = views[name]
    return data[index]


def _used(views: Views, name: str, rows_cell: int) -> NDArray:
    """The rows of a table that were ever handed out; a cell of `scalars` has their number."""
    data, index = views[name]
    return data[index[: max(1, int(_scalar(views, rows_cell)))]]


def _scalar(views: Views, cell: int) -> float:
    return float(_rows(views, "scalars")[0, cell])
