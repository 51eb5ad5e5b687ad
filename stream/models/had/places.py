"""Places in the tables of kept purchases and dislikes, by arithmetic with the sizes of the tables.

A row of `kept_visitors` is a set of `KEPT_WAYS` places; the visitor's key gives the set, and set 0 is no visitor's. A
place is a number: its row times `KEPT_WAYS`, plus its column.

Each place has as many rows of `kept_items`. A place gets the next ones when its first visitor comes, and keeps them for
ever, so that those that are in use lie side by side: an index of a version in serving ends behind the last of them,
however large the table may become. States of older programs know no such numbers, and entries lie in the order of all
places there. They stay like that until their capacities change or their shards are merged.

This file decides where a visitor's place and the entries of a place are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream.models.kernels.compile import inlined
from stream.models.schema import KEPT_WAYS


@inlined
def set_of(visitor_rows: int, key: np.uint64) -> int:
    """The row of `kept_visitors` in which a visitor has a place."""
    return np.int64(1) + np.int64(key % np.uint64(visitor_rows - 1))  # type: ignore[return-value]  # Numba gives an int


@inlined
def rows_each(visitor_rows: int, entry_rows: int) -> int:
    """Rows of `kept_items` that belong to a place, from the rows of both tables."""
    return entry_rows // (visitor_rows * KEPT_WAYS)


@inlined
def first_row(numbered: int, place: int, each: int) -> int:
    """The first row of `kept_items` that belongs to a place.

    Args:
        numbered: `entries` of the place.
        place: its number.
        each: rows of a place.
    """
    number = np.int64(numbered)
    if number == 0:
        number = np.int64(place)
    return number * each  # type: ignore[return-value]  # Numba gives an int


@inlined
def check_of(key0: np.uint64) -> np.uint32:
    """The part of an item's key that its entries carry."""
    return np.uint32(key0 >> np.uint64(32))


def checks_of(keys: NDArray[np.uint64]) -> NDArray[np.uint32]:
    """`check_of` of many keys.

    >>> checks_of(np.array([7 << 32 | 1, 1], np.uint64)).tolist()
    [7, 0]
    """
    return (keys >> np.uint64(32)).astype(np.uint32)
