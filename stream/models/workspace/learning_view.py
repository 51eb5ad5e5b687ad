"""The tables as learning kernels take them: one tuple of arrays, each with its marks of written blocks.

Kernels write rows directly and set the mark of each block that they write. Arrays named `…_words` are the same memory
as 32-bit words, for what a pool keeps in rows that have no owner.

This file decides which arrays a learning kernel gets and how the indexes from keys to rows are rebuilt.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.models.kernels import hash_index
from stream.models.kernels.compile import packed
from stream.models.schema import EVICTION_SAMPLE, RUN_SETS
from stream.models.source_names import CUSTOM
from stream.state.tables import Table, Tables

ITEM_INDEX, VISITOR_INDEX, EVENT_INDEX, SESSION_INDEX = range(4)
"""Cells of `cells_used`: the numbers of cells in use of the four hash indexes."""


class State(NamedTuple):
    """Arrays that learning reads and writes, named after the tables.

    The tables `merits`, `visitor_tastes` and `item_tastes` hold item biases and latent factors; they keep the names
    under which versions in Redis hold them.
    """

    scalars: NDArray
    scalars_dirty: NDArray
    clock: NDArray
    clock_dirty: NDArray
    items: NDArray
    items_dirty: NDArray
    sums: NDArray
    sums_dirty: NDArray
    names: NDArray
    names_dirty: NDArray
    top: NDArray
    top_dirty: NDArray
    visitors: NDArray
    visitors_dirty: NDArray
    history: NDArray
    history_words: NDArray
    history_dirty: NDArray
    seen: NDArray
    seen_dirty: NDArray
    kept_visitors: NDArray
    kept_visitors_dirty: NDArray
    kept_items: NDArray
    kept_items_dirty: NDArray
    bought: NDArray
    bought_dirty: NDArray
    sessions: NDArray
    sessions_dirty: NDArray
    session_items: NDArray
    session_items_dirty: NDArray
    postings: NDArray
    postings_words: NDArray
    postings_dirty: NDArray
    pairs: NDArray
    pairs_words: NDArray
    pairs_dirty: NDArray
    merits: NDArray
    merits_dirty: NDArray
    vectors: NDArray
    vectors_dirty: NDArray
    reservoir: NDArray
    reservoir_dirty: NDArray
    linear: NDArray
    linear_dirty: NDArray
    network: NDArray
    network_dirty: NDArray
    pending: NDArray
    pending_dirty: NDArray
    pending_keys: NDArray
    pending_keys_dirty: NDArray
    visitor_tastes: NDArray
    visitor_tastes_dirty: NDArray
    item_tastes: NDArray
    item_tastes_dirty: NDArray
    event_ids: NDArray
    event_ids_dirty: NDArray
    item_cells: NDArray
    visitor_cells: NDArray
    event_cells: NDArray
    session_cells: NDArray
    cells_used: NDArray
    items_leaving: NDArray  # the field `leaving` of each item, one byte a row
    visitors_leaving: NDArray
    evict_order: NDArray  # scratch of evictions


def state_of(tables: Tables, *, directories: bool = True) -> State:
    """The kernels' view of these tables.

    Args:
        tables: every table of a model.
        directories: build the indexes from keys to rows; without them nothing can be looked up by key.
    """
    arrays: dict[str, NDArray] = {}
    for name, table in tables.items():
        arrays[name] = table.data
        arrays[f"{name}_dirty"] = table.dirty
        arrays[f"{name}_words"] = table.data.reshape(table.spec.rows, -1).view(np.uint32)
    arrays["pairs_words"] = arrays["pairs_words"].reshape(tables["pairs"].spec.rows // RUN_SETS, -1)
    arrays["scalars"] = arrays["scalars"][0]
    for flat in ("event_ids", "pending_keys"):
        arrays[flat] = arrays[flat].reshape(-1)
    arrays |= cells_of(tables) if directories else no_cells()
    for name in ("items", "visitors"):
        arrays[f"{name}_leaving"] = tables[name].data["leaving"].astype(np.uint8)
    arrays["evict_order"] = np.zeros(EVICTION_SAMPLE)
    more = {f"{name}{part}": arrays[f"{name}{part}"] for name in CUSTOM for part in ("", "_dirty")}
    return packed(State(**{field: arrays[field] for field in State._fields}), more)


def cells_of(tables: Mapping[str, Table]) -> dict[str, NDArray]:
    """Indexes from keys to the rows of items, visitors and sessions, and of the event ids that were seen last."""
    cells: dict[str, NDArray] = {
        "item_cells": hash_index.cells_for(len(tables["items"].data)),
        "visitor_cells": hash_index.cells_for(len(tables["visitors"].data)),
        "event_cells": hash_index.cells_for(tables["event_ids"].data.size),
        "session_cells": hash_index.cells_for(len(tables["sessions"].data)),
        "cells_used": np.zeros(4, np.int64),
    }
    cells["cells_used"][ITEM_INDEX] = hash_index.rebuild(cells["item_cells"], tables["items"].data)
    cells["cells_used"][VISITOR_INDEX] = hash_index.rebuild(cells["visitor_cells"], tables["visitors"].data)
    event_ids = tables["event_ids"].data.reshape(-1)
    cells["cells_used"][EVENT_INDEX] = hash_index.rebuild_words(cells["event_cells"], event_ids)
    cells["cells_used"][SESSION_INDEX] = hash_index.rebuild(cells["session_cells"], tables["sessions"].data)
    return cells


def no_cells() -> dict[str, NDArray]:
    """Indexes in which nothing is found."""
    return {f"{of}_cells": hash_index.cells_for(0) for of in ("item", "visitor", "event", "session")} | {
        "cells_used": np.zeros(4, np.int64)
    }
