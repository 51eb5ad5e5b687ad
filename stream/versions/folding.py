"""Many deltas into one: of each block the last write.

`stream.tables.fold` does it for two; this file does it for a keyframe in a hundred pieces with the deltas after it, in
one pass over the bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream.tables import Delta, TableDelta
from stream.versions.errors import CorruptVersion


def fold_all(deltas: Sequence[Delta]) -> Delta:
    """One delta that does what applying all of them in order does. Blocks rise and are unique.

    >>> def block(number, byte):
    ...     return {"t": TableDelta(np.array([number], np.uint32), np.full((1, 4), byte, np.uint8))}
    >>> fold_all([block(5, 1), block(2, 2), block(5, 3)])["t"].blocks.tolist()
    [2, 5]
    """
    parts: dict[str, list[TableDelta]] = {}
    for delta in deltas:
        for name, part in delta.items():
            if len(part.blocks):
                parts.setdefault(name, []).append(part)
    return {name: _fold_table(name, of_table) for name, of_table in parts.items()}


def _fold_table(name: str, parts: list[TableDelta]) -> TableDelta:
    if len(parts) == 1:
        return parts[0]
    widths = {part.data.shape[1] for part in parts}
    if len(widths) > 1:
        raise CorruptVersion(f"table {name!r} has blocks of {sorted(widths)} bytes in one chain of states")
    written = sum(len(part.blocks) for part in parts)
    highest = max(int(part.blocks.max()) for part in parts)
    if highest < written * 64:  # dense enough to mark blocks in an array, which needs no sorting
        present = np.zeros(highest + 1, np.bool_)
        for part in parts:
            present[part.blocks] = True
        blocks = np.flatnonzero(present).astype(np.uint32)
        place = np.cumsum(present, dtype=np.int32) - 1
        data = np.empty((len(blocks), widths.pop()), np.uint8)
        for part in parts:
            _whole(data)[place[part.blocks]] = _whole(part.data)
    else:
        blocks = np.unique(np.concatenate([part.blocks for part in parts]))
        data = np.empty((len(blocks), widths.pop()), np.uint8)
        for part in parts:
            _whole(data)[np.searchsorted(blocks, part.blocks)] = _whole(part.data)
    return TableDelta(blocks, data)


def _whole(data: NDArray[np.uint8]) -> NDArray[np.void]:
    """(n, block_bytes) bytes as n blocks that NumPy copies in one go each, instead of byte by byte."""
    return np.ascontiguousarray(data).view(np.dtype((np.void, data.shape[1]))).reshape(-1)
