"""Folding many deltas into one: the last write of each block stays.

`stream.state.tables.fold` folds two. This file decides how a keyframe in a hundred parts and the deltas after it are
folded in one pass over the bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream.state.compiled import compiled
from stream.state.tables import Blocks, CorruptDelta, Delta, TableDelta


def fold_all(deltas: Sequence[Delta]) -> Delta:
    """One delta with the effect of applying all of these in order. Its block numbers rise and are unique.

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
        raise CorruptDelta(f"table {name!r} has blocks of {sorted(widths)} bytes in one chain of states")
    width = widths.pop()
    written = sum(len(part.blocks) for part in parts)
    highest = max(int(part.blocks.max()) for part in parts)
    if highest < written * 64:  # dense enough to mark blocks in an array, which needs no sorting
        present = np.zeros(highest + 1, np.uint8)
        for part in parts:
            mark(present, part.blocks)
        blocks, place = places(present)
        data = np.empty((len(blocks), width), np.uint8)
        for part in parts:
            put(_words(data), place, part.blocks, _words(part.data))
    else:
        blocks = np.unique(np.concatenate([part.blocks for part in parts]))
        data = np.empty((len(blocks), width), np.uint8)
        for part in parts:
            to = np.searchsorted(blocks, part.blocks).astype(np.uint32)
            put(_words(data), to, np.arange(len(to), dtype=np.uint32), _words(part.data))
    return TableDelta(blocks, data)


def _words(data: NDArray[np.uint8]) -> NDArray[np.uint32]:
    return np.ascontiguousarray(data).view(np.uint32)


# Compiled, because NumPy keeps the interpreter lock while it copies by index: 30 ms for a keyframe, in which nothing is
# learned and no request answered.


@compiled
def mark(present: NDArray[np.uint8], blocks: Blocks) -> None:
    """Set the flag of each of these blocks."""
    for block in blocks:
        present[block] = 1


@compiled
def places(present: NDArray[np.uint8]) -> tuple[Blocks, Blocks]:
    """Numbers of the marked blocks, rising, and the place of each marked block among them, by its number."""
    blocks = np.empty(present.size, np.uint32)
    place = np.empty(present.size, np.uint32)
    count = 0
    for block in range(present.size):
        place[block] = count
        if present[block]:
            blocks[count] = block
            count += 1
    return blocks[:count].copy(), place


@compiled
def put(data: NDArray[np.uint32], place: Blocks, blocks: Blocks, words: NDArray[np.uint32]) -> None:
    """Copy the words of each block to the block's place."""
    for number in range(blocks.size):
        to = place[blocks[number]]
        for word in range(words.shape[1]):
            data[to, word] = words[number, word]
