"""Runs of rows: short, middle and long ones out of one pool, handed out and taken back.

An item that few visitors ever see needs one row of pairs, a busy one sixteen. A pool hands out runs of `RUNS[size]`
neighbouring rows, where `size` is the run's *size class*. A pointer to a run is 32 bits: the size class in the upper
two, the first row in the other 30; 0 means no run. A run that is given back is kept in a list per class (the first row
of the next free run is in the first four bytes of the run itself), so a restored pool goes on exactly as the original.
A longer run is refused if that would leave an owner without a first row. The owner then stays with the run that it has,
which costs quality, never correctness.

The state of a pool is in the table `scalars`, in the cells `POOL_USED` to `POOL_REFUSALS` after the pool's base
(`POOL_PAIRS`, `POOL_POSTINGS`, `POOL_HISTORY`).

This file decides how pointers to runs are composed, and which run an owner gets.
"""

from __future__ import annotations

import numpy as np

from stream.models.kernels.compile import inlined, kernel
from stream.models.kernels.marks import mark_block, mark_blocks
from stream.models.schema import RUNS

CLASSES = len(RUNS)
ROW_MASK = np.uint32(0x3FFFFFFF)
CLASS_SHIFT = np.uint32(30)

POOL_USED = 0
"""Cell of a pool: rows below this one have been handed out at some time. 0 means as little as 1: row 0 is no row."""
POOL_FREE_RUNS = 1
"""First of `CLASSES` cells of a pool: the first free run of each class, 0 if there is none."""
POOL_FREE_ROWS = POOL_FREE_RUNS + CLASSES
"""Cell of a pool: rows in the lists of free runs."""
POOL_OWNERS = POOL_FREE_ROWS + 1
"""Cell of a pool: owners that have a run."""
POOL_REFUSALS = POOL_OWNERS + 1
"""Cell of a pool: requests that were refused."""


@inlined
def run_row(pointer):
    """The first row of a run."""
    return np.int64(pointer & ROW_MASK)


@inlined
def run_class(pointer):
    """The size class of a run."""
    return np.int64(pointer >> CLASS_SHIFT)


@inlined
def run_rows(pointer):
    """The number of rows of a run."""
    return rows_of_class(np.int64(pointer >> CLASS_SHIFT))


@inlined
def rows_of_class(size):
    """The number of rows of a run of this size class: `RUNS[size]`, by arithmetic."""
    return 1 << (2 * size)


@inlined
def run_pointer(row, size):
    """The pointer to the run of this size class that begins at this row."""
    return np.uint32(row) | (np.uint32(size) << CLASS_SHIFT)


@inlined
def class_for(entries, entries_per_row):
    """The size class of the shortest run with room for so many entries; the longest if none has."""
    size = 0
    while size < CLASSES - 1 and entries > entries_per_row * rows_of_class(size):
        size += 1
    return size


@kernel
def take(words, dirty, scalars, base, owners, size, replaced):
    """Hand out a zeroed run; returns its pointer, 0 if the pool can't spare one.

    Args:
        words: the pool as (rows, words of 4 bytes).
        dirty: marks of the pool's blocks.
        scalars: the table with the pool's cells.
        base: first of these cells.
        owners: number of owners there may be.
        size: size class of the run.
        replaced: number of rows that the owner will give back for it; 0 for a new owner.
    """
    rows = words.shape[0]
    used = max(1, int(scalars[base + POOL_USED]))
    length = rows_of_class(size)
    spare = rows - used + int(scalars[base + POOL_FREE_ROWS])
    if replaced > 0 and spare - (length - replaced) < owners - int(scalars[base + POOL_OWNERS]):
        scalars[base + POOL_REFUSALS] += 1
        return np.uint32(0)
    first = int(scalars[base + POOL_FREE_RUNS + size])
    if first:
        scalars[base + POOL_FREE_RUNS + size] = words[first, 0]
        words[first, 0] = 0
        mark_block(dirty, first * (dirty.size // words.shape[0]))
        scalars[base + POOL_FREE_ROWS] -= length
    elif used + length <= rows:
        first = used
        scalars[base + POOL_USED] = used + length
    elif replaced > 0:
        scalars[base + POOL_REFUSALS] += 1
        return np.uint32(0)
    else:
        first = split(words, dirty, scalars, base)
        if first == 0:
            scalars[base + POOL_REFUSALS] += 1
            return np.uint32(0)
    if replaced == 0:
        scalars[base + POOL_OWNERS] += 1
    return run_pointer(first, size)


@kernel
def split(words, dirty, scalars, base):
    """Cut one row off the front of a longer free run; the others become free runs of one row. Returns it, or 0."""
    blocks = dirty.size // words.shape[0]
    for size in range(1, CLASSES):
        first = int(scalars[base + POOL_FREE_RUNS + size])
        if first:
            scalars[base + POOL_FREE_RUNS + size] = words[first, 0]
            words[first, 0] = 0
            for row in range(first + rows_of_class(size) - 1, first, -1):
                words[row, 0] = np.uint32(scalars[base + POOL_FREE_RUNS])
                scalars[base + POOL_FREE_RUNS] = row
                mark_block(dirty, row * blocks)
            mark_block(dirty, first * blocks)
            scalars[base + POOL_FREE_ROWS] -= 1
            return first
    return 0


@kernel
def give_back(words, dirty, scalars, base, pointer, leaves):
    """Zero a run and put it on its free list.

    Args:
        words, dirty, scalars, base: as `take` gets them.
        pointer: to the run.
        leaves: true if the owner is gone, false if it has moved to another run.
    """
    first = run_row(pointer)
    length = run_rows(pointer)
    size = run_class(pointer)
    words[first : first + length] = 0
    words[first, 0] = np.uint32(scalars[base + POOL_FREE_RUNS + size])
    scalars[base + POOL_FREE_RUNS + size] = first
    scalars[base + POOL_FREE_ROWS] += length
    if leaves:
        scalars[base + POOL_OWNERS] -= 1
    blocks = dirty.size // words.shape[0]
    mark_blocks(dirty, first * blocks, (first + length) * blocks)


@inlined
def ring_row(ordinal, rows):
    """The row of an owner in a table whose oldest row is reused for the newest owner; row 0 is no owner's.

    Args:
        ordinal: number of the owner, from 1.
        rows: of the table.
    """
    return 1 + ordinal % (rows - 1)
