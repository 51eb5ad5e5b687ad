"""Reordering: tables of a state whose names stand in another order, as this program reads them.

Seven small tables have a place for each source, ranking or feature. All others have rows of items, visitors, sessions
and events, or are named themselves, as the table of a source of one's own is.

This file decides which tables these are, and where a name's numbers are in each. Names are compared by
`stream.models.state_names`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from stream.models.feature_names import CONTEXT_FEATURES, CROSS_BUCKETS, FEATURES_WIDE
from stream.models.outcomes.conversion import COUNTS, MEANS, PENDING_FEATURES, VARIANCES, WEIGHTS
from stream.models.schema import LINEAR_ROWS, NETWORK_ROWS
from stream.models.state_names import TODAY, Names, same_order
from stream.state.tables import Tables

Places = Mapping[str, NDArray[np.int64]]
"""For each kind of names: by place in this program, the place in the state."""


def places_in(names: Names) -> Places:
    """The places of this program's names in a state. Every name must be there (see `state_names.difference`)."""
    return {kind: np.array([list(names[kind]).index(name) for name in ours], np.int64) for kind, ours in TODAY.items()}


def reorder_tables(tables: Tables, names: Names) -> None:
    """Bring tables that were filled from a state with these names into this program's order.

    What moved is marked as written, zeros included: the next delta then holds all of it, so that a state which is read
    from deltas of both orders is in one order throughout.
    """
    if same_order(names):
        return
    places = places_in(names)
    for name, move in MOVES.items():
        tables[name].data[:] = move(tables[name].data, places)
        tables[name].dirty[:] = 1


def reorder_views(views: Mapping[str, tuple[NDArray, NDArray]], names: Names) -> dict[str, tuple[NDArray, NDArray]]:
    """Views that requests and merges can read. Tables that differ in order are copied; `views` stay as they are."""
    moved = dict(views)
    if same_order(names):
        return moved
    places = places_in(names)
    for name, move in MOVES.items():
        data, index = views[name]
        moved[name] = (np.ascontiguousarray(move(data[index], places)), np.arange(len(index), dtype=np.int32))
    return moved


def _linear(rows: NDArray, places: Places) -> NDArray:
    """A column is a feature; after the common row, eight rows are a cross. The second half has squared gradients."""
    crosses = 1 + CROSS_BUCKETS * places["crosses"][:, None] + np.arange(CROSS_BUCKETS)
    half = np.concatenate([[0], crosses.ravel()])
    return rows[np.concatenate([half, LINEAR_ROWS + half])][:, _wide(places["features"], FEATURES_WIDE)]


def _network(rows: NDArray, places: Places) -> NDArray:
    """A row is a feature, then a context feature, then biases and output weights. Two parts of moments follow."""
    last = np.arange(FEATURES_WIDE + CONTEXT_FEATURES, NETWORK_ROWS)
    features = _wide(places["features"], FEATURES_WIDE)
    part = np.concatenate([features, FEATURES_WIDE + places["context_features"], last])
    return rows[np.concatenate([part, NETWORK_ROWS + part, 2 * NETWORK_ROWS + part])]


def _challenger(rows: NDArray, places: Places) -> NDArray:
    return rows[:, _wide(places["features"], rows.shape[1])]


def _outcomes(rows: NDArray, places: Places) -> NDArray:
    return rows[:, _wide(places["rankings"], rows.shape[1])]


def _drifts(rows: NDArray, places: Places) -> NDArray:
    return rows[places["rankings"]]


def _conversion(rows: NDArray, places: Places) -> NDArray:
    columns = np.arange(rows.shape[1])
    for start in (WEIGHTS, COUNTS, MEANS, VARIANCES):
        columns[start : start + len(places["conversion_features"])] = start + places["conversion_features"]
    return rows[:, columns]


def _pending(rows: NDArray, places: Places) -> NDArray:
    columns = np.concatenate([np.arange(PENDING_FEATURES), PENDING_FEATURES + places["conversion_features"]])
    return rows[:, columns]


def _wide(places: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """Places of a row that is wider than there are names; what follows the names stays where it is."""
    return np.concatenate([places, np.arange(len(places), width)])


MOVES: Mapping[str, Callable[[NDArray, Places], NDArray]] = {
    "linear": _linear,
    "network": _network,
    "challenger": _challenger,
    "outcomes": _outcomes,
    "drifts": _drifts,
    "conversion": _conversion,
    "pending": _pending,
}
"""Tables with a place for each name, and how their rows come into this program's order."""
