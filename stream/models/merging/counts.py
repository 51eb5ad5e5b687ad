"""Counts of the merge: scalars, the decayed and plain sums of items, and remembered items of visitors.

Decayed sums are relative to a landmark in time that each shard moves by itself. Before they are added, they are scaled
to the latest landmark of all shards, which is the landmark of the merge.

This file decides how counts add up, and what becomes of remembered items if their table has another size.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream.models.merging.numbering import Numbering, ShardRows
from stream.models.schema import (
    CLOCK,
    EVENTS,
    FAST_LANDMARK,
    FAST_SUM,
    ITEM_ROWS,
    ITEMS_LIVE,
    POPULARITY_LANDMARK,
    RANDOM,
    SEEN_WAYS,
    SESSION_KEYS,
    SESSIONS_BEGUN,
    STARTED,
    TESTS,
    UPDATES,
    VISITOR_ROWS,
    VISITORS_LIVE,
)
from stream.models.source_names import HALF_LIVES, HALF_LIVES_SECONDS
from stream.models.sources.pairs import FAST_HALF_LIFE_SECONDS
from stream.state.compiled import compiled
from stream.state.tables import Tables

SMALLEST_DOUBLE_LOG2 = -1074.0
"""Exponent below which a power of two is zero as a float64."""


def merge_scalars(tables: Tables, parts: Sequence[ShardRows], items: Numbering, visitors: Numbering) -> None:
    """Add up counters, and take the latest of times. The random seed is that of the first shard."""
    scalars = tables["scalars"].data[0]
    all_scalars = np.array([part.scalars for part in parts])
    for cell in (EVENTS, TESTS, UPDATES, SESSIONS_BEGUN):
        scalars[cell] = all_scalars[:, cell].sum()
    for cell in (CLOCK, POPULARITY_LANDMARK, FAST_LANDMARK, STARTED, SESSION_KEYS):
        scalars[cell] = all_scalars[:, cell].max()
    scalars[RANDOM] = all_scalars[0, RANDOM]
    scalars[ITEM_ROWS], scalars[ITEMS_LIVE] = items.count + 1, items.count
    scalars[VISITOR_ROWS], scalars[VISITORS_LIVE] = visitors.count + 1, visitors.count


def merge_sums(tables: Tables, parts: Sequence[ShardRows], items: Numbering) -> None:
    """Add up the sums of items and the columns of custom sources.

    The item bias of a single shard is copied. That of several is left at zero: what their rankers expected of an item
    says nothing about the merged ranker (see `rehearsal`).
    """
    sums, scalars = tables["sums"].data, tables["scalars"].data[0]
    for shard, part in enumerate(parts):
        scaled = part.sums[items.live[shard]].copy()
        behind = part.scalars[POPULARITY_LANDMARK] - scalars[POPULARITY_LANDMARK]
        for half_life in range(HALF_LIVES):
            scaled[:, half_life] *= 2.0 ** max(SMALLEST_DOUBLE_LOG2, behind / HALF_LIVES_SECONDS[half_life])
        scaled[:, FAST_SUM] *= fast_scale(part, scalars)
        sums[items.targets(shard)] += scaled
        if len(parts) == 1:
            tables["merits"].data[items.targets(shard)] = part.item_bias[items.live[shard]]
        for name, own in part.custom.items():
            tables[name].data[items.targets(shard)] += own[items.live[shard]]


def fast_scale(part: ShardRows, scalars: NDArray) -> float:
    """Factor that brings a shard's fast counts to the landmark of the merge, which has these scalars."""
    return float(2.0 ** max(-1000.0, (part.scalars[FAST_LANDMARK] - scalars[FAST_LANDMARK]) / FAST_HALF_LIFE_SECONDS))


@compiled
def copy_seen(out: NDArray, seen: NDArray) -> None:
    """Write remembered items into a table of another size, oldest first, so that the newest of a set stay.

    Args:
        out: (sets, ways) uint64 of the merge, the newest of a set first.
        seen: (sets, ways) uint64 of a shard.
    """
    for row in range(seen.shape[0]):
        for way in range(SEEN_WAYS - 1, -1, -1):
            pair = seen[row, way]
            if pair == 0:
                continue
            ways = out[np.int64(pair % np.uint64(out.shape[0]))]
            for later in range(SEEN_WAYS - 1, 0, -1):
                ways[later] = ways[later - 1]
            ways[0] = pair
