"""Marks of written blocks, and how a checkpoint finds them.

A table has one byte for each block. A model of a million visitors has thirty million blocks, of which some hundreds are
written between two checkpoints. To read all of these bytes twenty times a second takes a millisecond each time, and
pushes what learning needs out of the caches. The marks of large tables are therefore *grouped*: a further byte for each
`GROUP_BLOCKS` blocks says that one of them may be marked. These bytes lie behind the marks of the blocks, from the end
of the array backwards, so that a kernel that has the array needs nothing else to set both
(`stream.models.kernels.marks`).

This file decides where the mark of a block lies, and in which order marks are looked for and cleared.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream.state.compiled import compiled, compiled_keeping_gil

GROUP_SHIFT = 12
GROUP_BLOCKS = 1 << GROUP_SHIFT
"""Blocks of a group."""


def marks_for(blocks: int, *, grouped: bool) -> NDArray[np.uint8]:
    """Marks of so many blocks, none of which was written.

    >>> marks_for(5000, grouped=False).size, marks_for(5000, grouped=True).size
    (5000, 5002)
    """
    return np.zeros(blocks + (-(-blocks // GROUP_BLOCKS) if grouped else 0), np.uint8)


def mark(dirty: NDArray[np.uint8], blocks: NDArray[np.integer], *, grouped: bool) -> None:
    """Mark blocks as written.

    >>> dirty = marks_for(5000, grouped=True)
    >>> mark(dirty, np.array([4999]), grouped=True)
    >>> np.flatnonzero(dirty).tolist()
    [4999, 5000]
    """
    dirty[blocks] = 1
    if grouped:
        dirty[dirty.size - 1 - (np.asarray(blocks, np.int64) >> GROUP_SHIFT)] = 1


@compiled_keeping_gil
def take_blocks(
    dirty: NDArray[np.uint8], raw: NDArray, start: int, most: int, grouped: bool
) -> tuple[NDArray[np.uint32], NDArray, int]:
    """Copy at most `most` marked blocks from block `start` on, and clear their marks.

    The interpreter lock is kept meanwhile, a millisecond at most for one part of a checkpoint. A call that releases it
    waits for it afterwards, up to the switch interval each time, and a part takes thirty calls.

    Args:
        dirty: marks of the blocks, and of their groups if they are `grouped`.
        raw: (blocks, words) content.
        start: first block.
        most: largest number of blocks.
        grouped: True to look only into groups that are marked.

    Returns:
        Numbers of the blocks, rising; copies of them; the block at which the search stopped.
    """
    size = raw.shape[0]
    found = np.empty(max(0, min(most, size - start)), np.uint32)  # costs memory only where it is written
    words = dirty[: size // 8 * 8].view(np.uint64)
    count = 0
    at = start
    while at < size and count < most:
        group = at // GROUP_BLOCKS
        begins = at == group * GROUP_BLOCKS
        end = min(size, (group + 1) * GROUP_BLOCKS) if grouped else size
        if grouped and dirty[dirty.size - 1 - group] == 0:
            at = end
            continue
        while at < end and count < most:
            if at % 8 == 0:
                at = 8 * skip_clear(words, at // 8, end // 8)
            stop = min(end, (at // 8 + 1) * 8)
            while at < stop and count < most:
                if dirty[at]:
                    dirty[at] = 0
                    found[count] = at
                    count += 1
                at += 1
        if grouped and begins and at == end:  # a group that was taken in two parts may have been written in between
            dirty[dirty.size - 1 - group] = 0
    blocks = found[:count].copy()
    data = np.empty((count, raw.shape[1]), raw.dtype)
    for number in range(count):
        block = blocks[number]
        for word in range(raw.shape[1]):
            data[number, word] = raw[block, word]
    return blocks, data, at


@compiled
def skip_clear(words: NDArray[np.uint64], start: int, end: int) -> int:
    """The first word from `start` on that may have a mark, `end` if none has. Nearly all are clear, so eight are tested
    at once.

    Positions are unsigned, because Numba tests each signed one for counting from the end.
    """
    at, one = np.uint64(start), np.uint64(1)
    size = np.uint64(end)
    while at + np.uint64(8) <= size:
        low = words[at] | words[at + one] | words[at + np.uint64(2)] | words[at + np.uint64(3)]
        high = words[at + np.uint64(4)] | words[at + np.uint64(5)] | words[at + np.uint64(6)] | words[at + np.uint64(7)]
        if low | high:
            break
        at += np.uint64(8)
    while at < size and words[at] == 0:
        at += one
    return np.int64(at)  # type: ignore[return-value]  # Numba gives an int
