"""Influence: how much each parameter weighs in the scores of a model, from the weights of its ranker.

A score is a linear part with crosses plus a network (`ranking/ranker.py`), or the challenger's linear one. The
influence of a feature is the slope of the score along it, in the mean situation: its common weight, plus the mean
weight over the buckets of each cross, plus the slope of the network if half of its units are above zero. Features are
scaled alike, to about one, so their slopes compare. The influence of a parameter is the sum of its features' absolute
slopes, as a share of all. It says what the ranker goes by on the whole; in a single list, another parameter may decide.

This file decides which features make up a parameter, and how influence is computed. The words for people are decided in
`serving.operations.transparency`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.models.feature_names import CANDIDATE_FEATURE_NAMES, CROSS_BUCKETS, CROSSES, FEATURES
from stream.models.ranking.ranker import LEAK, OUTPUT
from stream.models.schema import LINEAR_ROWS
from stream.models.source_names import BUILT_IN, SOURCES
from stream.models.workspace.scoring_view import Views

PREFIXES: Mapping[str, tuple[str, ...]] = {
    "followers": ("transition.", "transition_fast.", "transitions."),
    "companions": ("cosine.", "cosine_flat.", "embedding.", "like_last"),
    "similar_visits": ("vsknn.", "stan."),
    "popularity": ("popular_", "trend.", "item.count", "item.bias"),
    "newness": ("item.age", "item.silence"),
    "own_history": ("own.",),
    "agreement": ("agreement",),
}
"""Beginnings of the names of the features of each parameter. A source of one's own is a parameter of its own."""

IMPERSONAL = frozenset(("popularity", "newness", "agreement"))
"""Parameters that are the same for everyone. All others need a visitor's history, or items that a request names."""


@dataclass(frozen=True)
class Influence:
    """The influence of one parameter.

    Attributes:
        parameter: a key of `PREFIXES`, or the name of a source of one's own.
        share: of the influence of all parameters, from 0 to 1.
        raises: True if more of it raises an item, on the whole.
    """

    parameter: str
    share: float
    raises: bool


def parameter_of(feature: str) -> str:
    """The parameter that a feature belongs to.

    >>> parameter_of("cosine.rank"), parameter_of("popular_2h.log"), parameter_of("own.last")
    ('companions', 'popularity', 'own_history')
    """
    source = feature.partition(".")[0]
    if source in SOURCES and source not in BUILT_IN:
        return source
    return next(parameter for parameter, prefixes in PREFIXES.items() if feature.startswith(prefixes))


def slopes_of_champion(views: Views) -> NDArray[np.float64]:
    """(features,) slopes of the champion's score along each feature, in the mean situation."""
    linear, linear_index = views["linear"]
    network, network_index = views["network"]
    weights = linear[linear_index[:LINEAR_ROWS]].astype(np.float64)[:, :FEATURES]
    crosses = weights[1 : 1 + CROSSES * CROSS_BUCKETS].reshape(CROSSES, CROSS_BUCKETS, FEATURES)
    inputs = network[network_index[:FEATURES]].astype(np.float64)
    outputs = network[network_index[OUTPUT]].astype(np.float64)
    return weights[0] + crosses.mean(axis=1).sum(axis=0) + (1 + LEAK) / 2 * inputs @ outputs


def slopes_of_challenger(views: Views) -> NDArray[np.float64]:
    """(features,) weights of the challenger."""
    table, index = views["challenger"]
    return table[index[0], :FEATURES].astype(np.float64)


def influences(views: Views, ranker: str, disabled_sources: tuple[str, ...] = ()) -> list[Influence]:
    """The influence of each parameter, the largest first.

    Args:
        views: tables of a model.
        ranker: the setting of the model that says which ranker orders the lists: `blend` or `river`.
        disabled_sources: sources whose features are always 0.
    """
    slopes = slopes_of_challenger(views) if ranker == "river" else slopes_of_champion(views)
    by_parameter: dict[str, list[float]] = {}
    for feature, slope in zip(CANDIDATE_FEATURE_NAMES, slopes.tolist(), strict=True):
        if feature.partition(".")[0] not in disabled_sources:
            by_parameter.setdefault(parameter_of(feature), []).append(slope)
    total = sum(abs(slope) for each in by_parameter.values() for slope in each) or 1.0
    found = [Influence(name, sum(map(abs, each)) / total, sum(each) >= 0) for name, each in by_parameter.items()]
    return sorted(found, key=lambda influence: (-influence.share, influence.parameter))
