"""Ids of items, read from the cells of the table `names`.

This file decides how the bytes of an id are put together from its cells. They are written by `entities/items.py`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream.models.kernels.compile import kernel
from stream.models.schema import NAME_BYTES


@kernel
def write_names(
    names: NDArray, names_index: NDArray, items: NDArray, items_index: NDArray, rows: NDArray, room: NDArray
) -> int:
    """The names of these items with NUL between them; returns how many bytes that is, -1 if `room` is too small."""
    at = 0
    for row in rows:
        item = items[items_index[row]]
        if at + np.int64(item.name_bytes) + 1 > room.size:
            return -1
        cell = np.int64(item.name)
        left = np.int64(item.name_bytes)
        while cell and left:
            words = names[names_index[cell]]
            for place in range(min(left, NAME_BYTES)):  # type: ignore[call-overload]
                room[at] = (words[1 + place // 4] >> np.uint32(8 * (place % 4))) & np.uint32(0xFF)
                at += 1
            left -= min(left, NAME_BYTES)  # type: ignore[operator]
            cell = np.int64(words[0])
        room[at] = 0
        at += 1
    return at
