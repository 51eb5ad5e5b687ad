"""A state as a release with another order of its names would have written it."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from stream.models.migration.columns import MOVES, Places, State, places_in
from stream.models.state_names import FIXED_ORDER, TODAY
from stream.state.tables import Delta, TableDelta, Tables, TableSpec


def shuffled_names(seed: int) -> dict[str, list[str]]:
    """This program's names, each kind in another order where the order may differ."""
    draw = random.Random(seed)
    return {kind: list(each) if kind in FIXED_ORDER else draw.sample(each, len(each)) for kind, each in TODAY.items()}


def in_other_order(specs: list[TableSpec], names: dict[str, list[str]], *deltas: Delta) -> Delta:
    """A snapshot of these deltas, written one after the other, whose places stand for `names`.

    Tables whose places moved are whole, zeros included, as a worker writes them that goes on from another order.
    """
    tables = Tables(specs)
    for delta in deltas:
        tables.write(delta)
    # `MOVES` brings the order of `names` into ours; here our order has to become theirs.
    back = {kind: Places(places.theirs, places.ours) for kind, places in places_in(names).items()}
    for name, move in MOVES.items():
        rows = tables[name].data.copy()
        move(tables[name].data, rows, State(TODAY, back))
    whole = {
        name: TableDelta(np.arange(tables[name].spec.blocks, dtype=np.uint32), tables[name].raw()) for name in MOVES
    }
    return tables.snapshot() | whole


def with_names(state: dict[str, Any], names: dict[str, list[str]]) -> dict[str, Any]:
    return {**state, "names": names}
