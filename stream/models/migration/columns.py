"""Columns: where the numbers of a name are in the tables of a state, and in those of this program.

Seven small tables have a place for each source, ranking or feature. All others have rows of items, visitors, sessions
and events, or are named themselves, as the table of a source of one's own is.

This file decides which tables these are, and that each number goes with its name. A name that the state lacks gets its
first numbers (`first_numbers`), and the numbers of a name that this program lacks are left behind. Names are compared
by `stream.models.state_names`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.models.drift.prequential import MISSED
from stream.models.feature_names import CONTEXT_FEATURES, CROSS_BUCKETS, FEATURES_WIDE
from stream.models.migration.first_numbers import SMALLEST, first_numbers
from stream.models.migration.layout import linear_rows, network_rows, padded_width
from stream.models.outcomes.conversion import COUNTS, MEANS, PENDING_FEATURES, VARIANCES, WEIGHTS
from stream.models.schema import LINEAR_ROWS, NETWORK_ROWS, RANDOM, table_specs
from stream.models.source_names import CUSTOM
from stream.models.state_names import TODAY, Names, same_names, same_order
from stream.state.tables import Tables


class Places(NamedTuple):
    """Places of the names of one kind that both have: in this program, and in the state."""

    ours: NDArray[np.int64]
    theirs: NDArray[np.int64]


class State(NamedTuple):
    """A state whose tables are mapped: its names, and by kind the places of those that it and this program have."""

    names: Names
    places: Mapping[str, Places]


def places_in(names: Names) -> Mapping[str, Places]:
    """For each kind of names, the places of those that this program and a state have."""
    return {kind: _places(list(ours), list(names[kind])) for kind, ours in TODAY.items()}


def _places(ours: list[str], theirs: list[str]) -> Places:
    both = [(place, theirs.index(name)) for place, name in enumerate(ours) if name in theirs]
    return Places(*np.array(both, np.int64).reshape(-1, 2).T)


def reorder_tables(tables: Tables, names: Names) -> None:
    """Bring tables that were filled from a state with these names into this program's order.

    What moved is marked as written, zeros included: the next delta then holds all of it, so that a state which is read
    from deltas of both orders is in one order throughout.

    Args:
        tables: of `table_specs`.
        names: the same ones as in this program, in any order.
    """
    if same_order(names):
        return
    for name, moved in _moved({name: tables[name].data for name in MOVES}, names, 0.0):
        tables[name].data[:] = moved
        tables[name].dirty[:] = 1


def map_columns(old: Tables, new: Tables, names: Names) -> None:
    """Fill the tables that have a place for each name.

    Args:
        old: of the state; they stay as they are.
        new: empty, of this program.
        names: that the state carries.
    """
    for name, moved in _moved({name: old[name].data for name in MOVES}, names, old["scalars"].data[0, RANDOM]):
        new[name].data[:] = moved


def reorder_views(views: Mapping[str, tuple[NDArray, NDArray]], names: Names) -> dict[str, tuple[NDArray, NDArray]]:
    """Views that requests and merges can read. Tables that differ are copied; `views` stay as they are."""
    moved_views = dict(views)
    if same_order(names):
        return moved_views
    scalars, scalars_index = views["scalars"]
    rows = {name: views[name][0][views[name][1]] for name in MOVES}
    for name, moved in _moved(rows, names, scalars[scalars_index[0], RANDOM]):
        data = np.ascontiguousarray(moved)
        moved_views[name] = (data, np.arange(len(data), dtype=np.int32))
    for spec in table_specs(SMALLEST):
        if spec.name in CUSTOM and spec.name not in views:
            kind, shape = spec.dtype.subdtype or (spec.dtype, ())
            moved_views[spec.name] = (np.zeros((1, *shape), kind), np.zeros_like(views["items"][1]))
    return moved_views


def _moved(rows: Mapping[str, NDArray], names: Names, random: float) -> Iterator[tuple[str, NDArray]]:
    """Each table with places for names, as this program has it.

    Args:
        rows: the tables of the state.
        names: that it carries.
        random: see `first_numbers`, which are needed only if this program has other names.
    """
    state = State(names, places_in(names))
    first = None if same_names(names) else first_numbers(random)
    for name, move in MOVES.items():
        begun = rows[name].copy() if first is None else first[name].copy()
        move(begun, rows[name], state)
        yield name, begun


def _linear(out: NDArray, rows: NDArray, state: State) -> None:
    """A column is a feature; after the common row, eight rows are a cross. The second half has squared gradients."""
    ours, theirs = (
        np.concatenate([[0], (1 + CROSS_BUCKETS * crosses[:, None] + np.arange(CROSS_BUCKETS)).ravel()])
        for crosses in state.places["crosses"]
    )
    for half, half_of_state in ((0, 0), (LINEAR_ROWS, linear_rows(state.names))):
        found = rows[np.ix_(half_of_state + theirs, state.places["features"].theirs)]
        out[np.ix_(half + ours, state.places["features"].ours)] = found


def _network(out: NDArray, rows: NDArray, state: State) -> None:
    """A row is a feature, then a context feature, then biases and output weights. Two parts of moments follow."""
    features, context = state.places["features"], state.places["context_features"]
    wide = padded_width(len(state.names["features"]))
    last, last_of_state = FEATURES_WIDE + CONTEXT_FEATURES, wide + len(state.names["context_features"])
    ours = np.concatenate([features.ours, FEATURES_WIDE + context.ours, [last, last + 1]])
    theirs = np.concatenate([features.theirs, wide + context.theirs, [last_of_state, last_of_state + 1]])
    for part in range(3):
        out[part * NETWORK_ROWS + ours] = rows[part * network_rows(state.names) + theirs]


def _challenger(out: NDArray, rows: NDArray, state: State) -> None:
    out[:, state.places["features"].ours] = rows[:, state.places["features"].theirs]


def _outcomes(out: NDArray, rows: NDArray, state: State) -> None:
    """A ranking that is new has missed the target of every test that there was."""
    tested = rows.any(axis=1)
    out[tested, : len(TODAY["rankings"])] = MISSED
    out[:, state.places["rankings"].ours] = rows[:, state.places["rankings"].theirs]


def _drifts(out: NDArray, rows: NDArray, state: State) -> None:
    out[state.places["rankings"].ours] = rows[state.places["rankings"].theirs]


def _conversion(out: NDArray, rows: NDArray, state: State) -> None:
    out[:] = rows
    features = state.places["conversion_features"]
    for start in (WEIGHTS, COUNTS, MEANS, VARIANCES):
        out[:, start + features.ours] = rows[:, start + features.theirs]


def _pending(out: NDArray, rows: NDArray, state: State) -> None:
    features = state.places["conversion_features"]
    out[:, :PENDING_FEATURES] = rows[:, :PENDING_FEATURES]
    out[:, PENDING_FEATURES + features.ours] = rows[:, PENDING_FEATURES + features.theirs]


MOVES: Mapping[str, Callable[[NDArray, NDArray, State], None]] = {
    "linear": _linear,
    "network": _network,
    "challenger": _challenger,
    "outcomes": _outcomes,
    "drifts": _drifts,
    "conversion": _conversion,
    "pending": _pending,
}
"""Tables with a place for each name, and how their rows come into this program's order: `move(out, rows, state)`."""
