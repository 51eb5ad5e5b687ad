"""Bounds of a merge that learns: the rows that stay if the shards have more of them together than the settings allow.

The order is that of eviction. Items with the least thirty-day popularity go, visitors who were active longest ago, and
sessions that were last seen longest ago. Rows that stay behind are counted as evicted.

This file decides which rows these are, and who gets the longer runs of a pool that is too small for all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream.models.merging.items import name_cells
from stream.models.merging.numbering import Numbering, Numberings, Rows, ShardRows
from stream.models.schema import COUNT, ITEMS_EVICTED, POPULARITY_LANDMARK, VISITORS_EVICTED
from stream.models.source_names import HALF_LIVES_SECONDS, LONGEST
from stream.state.tables import Tables


def bound(tables: Tables, parts: Sequence[ShardRows], found: Numberings) -> None:
    """Leave the rows out of the numberings for which these tables have no room, and count them as evicted.

    Args:
        tables: of the merge, empty.
        parts: the shards.
        found: numberings of all their rows; they change.
    """
    items, visitors, sessions = found
    scalars = tables["scalars"].data[0]
    for cell in (ITEMS_EVICTED, VISITORS_EVICTED):
        scalars[cell] = sum(part.scalars[cell] for part in parts)
    strongest = _largest_first(thirty_day_counts(parts, items))
    cells = np.cumsum(name_cells(parts, items)[strongest])
    room = min(len(tables["items"].data) - 1, int(np.searchsorted(cells, len(tables["names"].data), side="left")))
    scalars[ITEMS_EVICTED] += _keep(items, strongest, room)
    newest = _largest_first(last_seconds([part.visitors for part in parts], visitors))
    scalars[VISITORS_EVICTED] += _keep(visitors, newest, len(tables["visitors"].data) - 1)
    newest = _largest_first(last_seconds([part.sessions for part in parts], sessions))
    _keep(sessions, newest, len(tables["sessions"].data) - 1)


def busiest_first(parts: Sequence[ShardRows], items: Numbering) -> Rows:
    """Numbers of the items by the weight of their events, the largest first."""
    counts = np.zeros(items.count + 1)
    for shard, part in enumerate(parts):
        counts[items.targets(shard)] += part.sums[items.live[shard], COUNT]
    return _largest_first(counts)


def latest_first(parts: Sequence[ShardRows], visitors: Numbering) -> Rows:
    """Numbers of the visitors by the time of their last event, the latest first."""
    return _largest_first(last_seconds([part.visitors for part in parts], visitors))


def thirty_day_counts(parts: Sequence[ShardRows], items: Numbering) -> NDArray[np.float64]:
    """Thirty-day popularity of each item over all shards, relative to the latest landmark; 0 for number 0."""
    latest = max(part.scalars[POPULARITY_LANDMARK] for part in parts)
    counts = np.zeros(items.count + 1)
    for shard, part in enumerate(parts):
        behind = max(-1000.0, (part.scalars[POPULARITY_LANDMARK] - latest) / HALF_LIVES_SECONDS[LONGEST])
        counts[items.targets(shard)] += part.sums[items.live[shard], LONGEST] * 2.0**behind
    return counts


def last_seconds(tables: Sequence[NDArray], numbering: Numbering) -> NDArray[np.int64]:
    """Latest `last_seconds` of each number over all shards; 0 for number 0.

    Args:
        tables: by shard, records with that field.
        numbering: of these records.
    """
    last = np.zeros(numbering.count + 1, np.int64)
    for shard, table in enumerate(tables):
        target = numbering.targets(shard)
        last[target] = np.maximum(last[target], table["last_seconds"][numbering.live[shard]])
    return last


def _largest_first(values: NDArray) -> Rows:
    """Numbers from 1 on by value, the largest first; equal ones in their order."""
    numbers = np.arange(1, len(values))
    return numbers[np.lexsort((numbers, -values[1:]))]


def _keep(numbering: Numbering, ordered: Rows, room: int) -> int:
    """Keep the first of these numbers, and return how many are left out."""
    left = max(0, numbering.count - room)
    if left:
        numbering.keep(ordered[:room])
    return left
