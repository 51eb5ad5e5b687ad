"""Runs in the merge: the shards' pools laid end to end, and the merged pool that is filled from them.

Pairs, postings and histories are runs of rows in a pool (`kernels.row_pool`). To merge one of these tables, the used
rows of all shards are copied behind one another in the common numbering, and every owner's runs are found there by one
array of pointers. The merged pool is filled from its first row on and has no free runs.

This file decides where the runs of an owner are found, and where its merged run is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream.models.kernels.compile import inlined
from stream.models.kernels.row_pool import POOL_OWNERS, POOL_USED, rows_of_class, run_pointer
from stream.models.merging.numbering import Numbering


def pool_sections(pool: NDArray, sizes: Sequence[int]) -> list[NDArray]:
    """The sections of a common pool that hold the shards' pools of these sizes, one after the other."""
    return np.split(pool, np.cumsum(sizes)[:-1])


def common_pointers(numbering: Numbering, columns: Sequence[NDArray], sizes: Sequence[int]) -> NDArray[np.uint32]:
    """Pointers to the runs of each common row in the shards' pools laid end to end.

    Args:
        numbering: of the owners.
        columns: by shard, the owners' pointers into the shard's own pool.
        sizes: by shard, rows of its pool.

    Returns:
        (rows, shards) uint32; 0 if the owner has no run in the shard.
    """
    pointers = np.zeros((numbering.count + 1, len(columns)), np.uint32)
    offset = 0
    for shard, (column, size) in enumerate(zip(columns, sizes, strict=True)):
        own = column[numbering.live[shard]].astype(np.uint32)
        pointers[numbering.targets(shard), shard] = np.where(own == 0, 0, own + np.uint32(offset))
        offset += size
    return pointers


@inlined
def begin_pool(cells):
    """Empty the merged pool with these cells of `scalars`."""
    cells[POOL_USED] = 1
    cells[POOL_OWNERS] = 0


@inlined
def append_run(cells, rows, size, owners):
    """Hand out the next run of the merged pool; returns its pointer, 0 if the pool is full.

    Args:
        cells: of the pool.
        rows: of the pool.
        size: largest size class of the run. It is shorter if that would leave an owner without a row.
        owners: number of owners that there may be; 0 to keep no rows for others.
    """
    row = int(cells[POOL_USED])
    while size > 0 and rows - row - rows_of_class(size) < owners - int(cells[POOL_OWNERS]) - 1:
        size -= 1
    if row + rows_of_class(size) > rows:
        return np.uint32(0)
    cells[POOL_USED] = row + rows_of_class(size)
    cells[POOL_OWNERS] += 1
    return run_pointer(row, size)
