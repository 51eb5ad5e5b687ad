"""The tables as the learning kernels take them: one tuple of arrays, each with its marks.

Kernels write rows directly and set the mark of each block that they write. `words` are the same memory as 32-bit words,
for what a pool keeps in rows that nobody owns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.models import directory
from stream.tables import Tables


class State(NamedTuple):
    """Everything that learning reads and writes."""

    scalars: NDArray
    scalars_dirty: NDArray
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
    event_ids: NDArray
    event_ids_dirty: NDArray
    item_cells: NDArray
    visitor_cells: NDArray
    event_cells: NDArray
    cells_used: NDArray


def state_of(tables: Tables) -> State:
    """The kernels' view of these tables, with directories built from the keys in them."""
    arrays: dict[str, NDArray] = {}
    for name, table in tables.items():
        arrays[name] = table.data
        arrays[f"{name}_dirty"] = table.dirty
        arrays[f"{name}_words"] = table.data.reshape(table.spec.rows, -1).view(np.uint32)
    arrays["scalars"] = arrays["scalars"][0]
    arrays |= cells_of(tables)
    return State(**{field: arrays[field] for field in State._fields})


def cells_of(tables: Mapping) -> dict[str, NDArray]:
    """Directories of items and visitors and of the event ids that were seen last."""
    cells = {
        "item_cells": directory.cells_for(len(tables["items"].data)),
        "visitor_cells": directory.cells_for(len(tables["visitors"].data)),
        "event_cells": directory.cells_for(tables["event_ids"].data.size),
        "cells_used": np.zeros(4, np.int64),
    }
    cells["cells_used"][0] = directory.rebuild(cells["item_cells"], tables["items"].data)
    cells["cells_used"][1] = directory.rebuild(cells["visitor_cells"], tables["visitors"].data)
    cells["cells_used"][2] = directory.rebuild_words(cells["event_cells"], tables["event_ids"].data.reshape(-1))
    return cells
