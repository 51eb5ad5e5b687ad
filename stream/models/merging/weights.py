"""Weights of the merge: the ranker, the challenger and the vectors as averages over the shards.

All shards start from equal seeds, so their weights stay close enough to each other to be averaged.

This file decides by what they are weighted: the rankers by their numbers of updates, the vector of an item by the
weight of its events in each shard.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream.models.kernels.compile import kernel
from stream.models.merging.numbering import Numbering, Rows, ShardRows
from stream.models.schema import COUNT, UPDATES
from stream.state.tables import Tables


def merge_weights(tables: Tables, parts: Sequence[ShardRows], items: Numbering) -> None:
    """Fill the tables `linear`, `network`, `challenger` and `vectors`."""
    updates = np.array([part.scalars[UPDATES] for part in parts])
    shares = updates / updates.sum() if updates.sum() > 0 else np.full(len(parts), 1 / len(parts))
    for share, part in zip(shares, parts, strict=True):
        tables["linear"].data[:] += np.float32(share) * part.linear
        tables["network"].data[:] += np.float32(share) * part.network
        tables["challenger"].data[:] += share * part.challenger
    vectors = tables["vectors"].data
    total = np.zeros(items.count + 1)
    for shard, part in enumerate(parts):
        count = part.sums[items.live[shard], COUNT] + 1e-6
        add_vectors(*part.vectors, items.live[shard], items.targets(shard), count, vectors)
        total[items.targets(shard)] += count
    vectors[1 : items.count + 1] /= np.maximum(total[1:, None], 1e-30).astype(np.float32)


@kernel
def add_vectors(data: NDArray, index: Rows, live: Rows, targets: Rows, counts: NDArray, out: NDArray) -> None:
    """Add a shard's vectors, each times the count of its item.

    Args:
        data, index: the shard's table of vectors; row r is `data[index[r]]`.
        live: (n,) rows of items in use.
        targets: (n,) their rows in `out`.
        counts: (n,) factors.
        out: (rows, numbers of a vector) of the merge.
    """
    for number in range(live.size):
        row = index[live[number]]
        for place in range(out.shape[1]):
            out[targets[number], place] += np.float32(counts[number] * data[row, place])
