"""Rows of a model's items table for the rows of the catalogue.

Both number their items in the order in which they meet them. A model knows an item by the hash of its id, which the
catalogue keeps for each row.

This file decides how a row of the catalogue finds its row in a model, and when the rows of two versions are the same.
"""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray

from stream.models.kernels.compile import kernel
from stream.models.kernels.key_hints import find_hint
from stream.models.model import Model
from stream.models.schema import ITEM_ROWS, ITEMS_EVICTED, ITEMS_LIVE

ItemRows = NDArray[np.int32]
"""Model row of each row of the catalogue, 0 for an item that the model has not met."""


def same_rows_key(model: Model, lineage: Hashable) -> Hashable:
    """A value that is equal for two versions of one lineage only if every item has the same row in both.

    A row changes its item only by an eviction, which is counted, and is given to an item only when another one becomes
    known, which is counted too.

    Args:
        model: of a version with one shard.
        lineage: anything that no other history of states shares.
    """
    scalars = model.scalars
    return (lineage, len(model.views["items"][1]), *(int(scalars[at]) for at in (ITEM_ROWS, ITEMS_LIVE, ITEMS_EVICTED)))


def item_rows(model: Model, keys: NDArray[np.uint64], before: ItemRows | None = None) -> ItemRows:
    """The model's row of each of these keys.

    Args:
        model: any version.
        keys: (n, 2) keys of the catalogue's rows.
        before: the rows in another version, which most have here, too; may be shorter.
    """
    rows = np.zeros(len(keys), np.int32)
    known = np.zeros(0, np.int32) if before is None else before
    find_rows(model.hints["items"].cells, *model.views["items"], np.ascontiguousarray(keys), known, rows)
    return rows


@kernel
def find_rows(
    cells: NDArray, items: NDArray, items_index: NDArray, keys: NDArray, known: NDArray, rows: NDArray
) -> None:
    """Fill in the row of each key; `known` are looked at first."""
    for place in range(rows.size):
        if place < known.size:
            row = known[place]
            if 0 < row < items_index.size:
                item = items[items_index[row]]
                if item.key0 == keys[place, 0] and item.key1 == keys[place, 1]:
                    rows[place] = row
                    continue
        rows[place] = find_hint(cells, items, items_index, keys[place, 0], keys[place, 1])
