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

Places = NDArray[np.int32]
"""Row of the catalogue of each row of a model, -1 for an item that the catalogue doesn't know."""


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


def places_of(rows: ItemRows, model_rows: int) -> Places:
    """The row of the catalogue of each row of a model.

    >>> places_of(np.array([2, 0, 1], np.int32), 4).tolist()
    [-1, 2, 0, -1]

    Args:
        rows: the other way round.
        model_rows: rows of the table `items`.
    """
    places = np.full(model_rows, -1, np.int32)
    places[rows] = np.arange(len(rows), dtype=np.int32)
    places[0] = -1
    return places


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


class KnownRows:
    """Rows of the catalogue in the last versions that were asked for.

    Args:
        versions: with other rows than one another, of which they are kept.
    """

    def __init__(self, versions: int) -> None:
        self._versions = versions
        self._rows: dict[Hashable, ItemRows] = {}
        self._places: dict[Hashable, tuple[ItemRows, Places]] = {}

    def clear(self) -> None:
        """Forget all rows: the catalogue is another one."""
        self._rows.clear()
        self._places.clear()

    def get(self, same_rows: Hashable) -> ItemRows | None:
        """The rows in versions with this key, if they are known; new rows of the catalogue may be missing."""
        return self._rows.get(same_rows)

    def of(self, same_rows: Hashable, model: Model, keys: NDArray[np.uint64]) -> ItemRows:
        """The rows in a version.

        Args:
            same_rows: key of the version (`same_rows_key`).
            model: of the version.
            keys: (rows, 2) of the catalogue.
        """
        known = self._rows.get(same_rows)
        if known is None:
            known = item_rows(model, keys, next(reversed(self._rows.values()), None))
        elif len(known) < len(keys):
            known = np.concatenate([known, item_rows(model, keys[len(known) :])])
        else:
            return known
        self._rows.pop(same_rows, None)
        self._rows[same_rows] = known
        if len(self._rows) > self._versions:
            oldest = next(iter(self._rows))
            del self._rows[oldest]
            self._places.pop(oldest, None)
        return known

    def places(self, same_rows: Hashable, model_rows: int) -> Places | None:
        """The other way round, for versions with this key; None if their rows are not known."""
        rows = self._rows.get(same_rows)
        if rows is None:
            return None
        made_from, places = self._places.get(same_rows, (None, None))
        if places is None or made_from is not rows:
            places = places_of(rows, model_rows)
            self._places[same_rows] = rows, places
        return places
