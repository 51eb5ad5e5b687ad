"""Runs of rows: short, middle and long ones out of one pool, given out and taken back.

An item that few visitors ever see needs one row of pairs, a busy one sixteen. A pool hands out runs of `RUNS[class]`
neighbouring rows. What was given back is kept in a list per class (the number of the next free run is in the first four
bytes of the run itself), so a restored pool goes on exactly as the original. A longer run is refused when that would
leave an owner without a first row: then the owner stays with what it has, which costs quality, never correctness.

The cells of a pool in `scalars`, from its `base`: 0 rows handed out so far, 1 to 3 first free run of each class,
4 rows in these lists, 5 owners, 6 refusals.
"""

from __future__ import annotations

import numpy as np

from stream.models.kernels.compile import inlined, kernel
from stream.models.schema import RUNS

CLASSES = len(RUNS)
ROW_MASK = np.uint32(0x3FFFFFFF)
CLASS_SHIFT = np.uint32(30)


@inlined
def run_row(pointer):  # type: ignore[no-untyped-def]
    return np.int64(pointer & ROW_MASK)


@inlined
def run_class(pointer):  # type: ignore[no-untyped-def]
    return np.int64(pointer >> CLASS_SHIFT)


@inlined
def run_rows(pointer):  # type: ignore[no-untyped-def]
    return 1 << (2 * np.int64(pointer >> CLASS_SHIFT))


@kernel
def take(words, dirty, scalars, base, owners, size, replaced):  # type: ignore[no-untyped-def]
    """A pointer to a zeroed run of class `size`, or 0 if the pool can't spare one.

    Args:
        words: the pool as (rows, words of 4 bytes).
        owners: how many owners there may be.
        replaced: rows that the owner will give back for it (0 for a new owner).
    """
    rows = words.shape[0]
    handed = max(1, np.int64(scalars[base]))
    length = 1 << (2 * size)
    spare = rows - handed + np.int64(scalars[base + 4])
    if replaced > 0 and spare - (length - replaced) < owners - np.int64(scalars[base + 5]):
        scalars[base + 6] += 1
        return np.uint32(0)
    first = np.int64(scalars[base + 1 + size])
    if first:
        scalars[base + 1 + size] = words[first, 0]
        words[first, 0] = 0
        dirty[first * (dirty.size // words.shape[0])] = 1
        scalars[base + 4] -= length
    elif handed + length <= rows:
        first = handed
        scalars[base] = handed + length
    elif replaced > 0:
        scalars[base + 6] += 1
        return np.uint32(0)
    else:
        first = split(words, dirty, scalars, base)
        if first == 0:
            scalars[base + 6] += 1
            return np.uint32(0)
    if replaced == 0:
        scalars[base + 5] += 1
    return np.uint32(first) | (np.uint32(size) << CLASS_SHIFT)


@kernel
def split(words, dirty, scalars, base):  # type: ignore[no-untyped-def]
    """One row cut off the front of a longer free run; the rest become single free rows."""
    blocks = dirty.size // words.shape[0]
    for size in range(1, CLASSES):
        first = np.int64(scalars[base + 1 + size])
        if first:
            length = 1 << (2 * size)
            scalars[base + 1 + size] = words[first, 0]
            words[first, 0] = 0
            for row in range(first + length - 1, first, -1):
                words[row, 0] = np.uint32(scalars[base + 1])
                scalars[base + 1] = row
                dirty[row * blocks] = 1
            dirty[first * blocks] = 1
            scalars[base + 4] -= 1
            return first
    return 0


@kernel
def give_back(words, dirty, scalars, base, pointer, leaves):  # type: ignore[no-untyped-def]
    """Zero a run and put it on its free list. `leaves`: the owner is gone, not moved to another run."""
    first = run_row(pointer)
    length = run_rows(pointer)
    size = run_class(pointer)
    words[first : first + length] = 0
    words[first, 0] = np.uint32(scalars[base + 1 + size])
    scalars[base + 1 + size] = first
    scalars[base + 4] += length
    if leaves:
        scalars[base + 5] -= 1
    blocks = dirty.size // words.shape[0]
    dirty[first * blocks : (first + length) * blocks] = 1


@inlined
def ring_row(ordinal, rows):
    """The row of the `ordinal`-th owner of a table whose oldest row is always reused; row 0 is none.

    Args:
        ordinal: from 1.
        rows: of the table.
    """
    return 1 + ordinal % (rows - 1)
