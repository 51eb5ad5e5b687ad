"""Rings of a merge that learns: event ids, recent events and tests of several shards, each kind in one ring.

A ring holds the newest of what was ever written to it, and no times. The shards have lived side by side, so their
entries are interleaved evenly: an entry that has a tenth of its shard's entries after it stands before the last tenth
of the merge. If the merged ring is too small for all, the newest stay, of each shard as large a part as it has of all
entries.

This file decides the order of entries.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream.models.merging.numbering import Numbering, Rows, Views, mapped
from stream.models.schema import DETECTOR_TESTS, EVENT_IDS_SEEN, RESERVOIR_WRITTEN
from stream.state.tables import Tables


def interleave(written: Sequence[int], size: int) -> tuple[Rows, Rows]:
    """The newest entries of several rings of one size as one sequence, oldest first.

    Args:
        written: entries that were ever written to each ring; it has the newest `size` of them.
        size: places of a ring, and the most entries of the sequence.

    Returns:
        Number of the ring, and number of the entry in it, counted from 0.

    >>> [part.tolist() for part in interleave([4, 2], 8)]
    [[0, 1, 0, 0, 1, 0], [0, 0, 1, 2, 1, 3]]
    >>> [part.tolist() for part in interleave([4, 2], 3)]
    [[0, 1, 0], [2, 1, 3]]
    """
    kept = [np.arange(max(0, count - size), count) for count in written]
    rings = np.repeat(np.arange(len(written)), [len(each) for each in kept])
    numbers = np.concatenate(kept) if kept else np.zeros(0, np.int64)
    totals = np.array(written, np.float64)[rings]
    newest = np.lexsort((rings, (numbers + 0.5) / totals))[-size:]
    return rings[newest], numbers[newest]


def merge_event_ids(tables: Tables, views: Sequence[Views]) -> None:
    """Fill the table `event_ids`. While they fit, the ids of all shards are in it, so a repeated event stays one."""
    ring = tables["event_ids"].data.reshape(-1)
    _merge_ring(tables, views, EVENT_IDS_SEEN, ring, [_flat(each, "event_ids") for each in views])


def merge_reservoir(tables: Tables, views: Sequence[Views], items: Numbering) -> None:
    """Fill the table `reservoir` with the items of the newest events, in the common numbering."""
    rings = [mapped(items.of[shard], _flat(each, "reservoir")) for shard, each in enumerate(views)]
    _merge_ring(tables, views, RESERVOIR_WRITTEN, tables["reservoir"].data.reshape(-1), rings)


def merge_outcomes(tables: Tables, views: Sequence[Views]) -> None:
    """Fill the table `outcomes`: figures of the merge begin with those of the shards' last tests."""
    _merge_ring(tables, views, DETECTOR_TESTS, tables["outcomes"].data, [_rows(each, "outcomes") for each in views])


def _merge_ring(tables: Tables, views: Sequence[Views], cell: int, out: NDArray, rings: Sequence[NDArray]) -> None:
    """Write the newest entries of several rings into one, and the number of all entries into a cell of `scalars`."""
    size = len(out)
    written = [int(_rows(each, "scalars")[0, cell]) for each in views]
    ring, number = interleave(written, size)
    total = sum(written)
    places = np.arange(total - len(ring), total) % size
    for shard, entries in enumerate(rings):
        ours = ring == shard
        out[places[ours]] = entries[number[ours] % size]
    tables["scalars"].data[0, cell] = total


def _rows(views: Views, name: str) -> NDArray:
    data, index = views[name]
    return data[index]


def _flat(views: Views, name: str) -> NDArray:
    return _rows(views, name).reshape(-1)
