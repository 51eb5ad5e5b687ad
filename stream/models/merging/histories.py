"""Visitors of the merge: their histories joined by time, and their last sessions.

This file decides which events a visitor's history holds (the newest of all shards that fit into the longest run, older
ones first; at equal seconds those of the lower shard first), and which session is a visitor's last.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream.models.kernels.compile import inlined, kernel
from stream.models.kernels.ordinals import whole_column, write_column
from stream.models.kernels.row_pool import class_for, run_row, run_rows
from stream.models.merging.numbering import Numbering, Rows, ShardRows, mapped
from stream.models.merging.runs import append_run, begin_pool, common_pointers, pool_sections
from stream.models.merging.sessions import session_rows
from stream.models.schema import ENTRY, HISTORY_ENTRIES, POOL_HISTORY, RUNS
from stream.state.compiled import compiled
from stream.state.tables import Tables

MAX_HISTORY = RUNS[-1] * HISTORY_ENTRIES
"""Events in the longest run."""


def merge_visitors(
    tables: Tables,
    parts: Sequence[ShardRows],
    visitors: Numbering,
    items: Numbering,
    ordinals: Sequence[NDArray],
    order: Rows,
    owners: int,
) -> None:
    """Fill the tables `visitors` and `history`.

    Args:
        tables: of the merge, with its sessions.
        parts: the shards.
        visitors, items: their numberings.
        ordinals: as `sessions.merge_sessions` gives them.
        order: visitors in the order in which they get their runs.
        owners: see `append_run`.
    """
    records = tables["visitors"].data
    newest = np.zeros(visitors.count + 1, np.int64)
    entries = np.zeros((visitors.count + 1, len(parts)), np.uint32)
    sizes = [len(part.history[1]) for part in parts]
    pool = np.empty((sum(sizes), HISTORY_ENTRIES), ENTRY)
    for shard, (part, section) in enumerate(zip(parts, pool_sections(pool, sizes), strict=True)):
        copy_histories(*part.history, items.of[shard], section)
    rows = len(tables["sessions"].data)
    for shard, part in enumerate(parts):
        source, target = part.visitors[visitors.live[shard]], visitors.targets(shard)
        known = (records["key0"][target] != 0) | (records["key1"][target] != 0)
        first = records["first_seconds"][target]
        for field in ("key0", "key1"):
            records[field][target] = source[field]
        records["first_seconds"][target] = np.where(
            known, np.minimum(first, source["first_seconds"]), source["first_seconds"]
        )
        records["last_seconds"][target] = np.maximum(records["last_seconds"][target], source["last_seconds"])
        ordinal = mapped(ordinals[shard], source["session"])
        live = (source["session"] > 0) & (ordinal > 0)
        live &= mapped(part.session_ordinals, source["session"]) == whole_column(source, "session_ordinal")
        later = live & (ordinal > newest[target])
        records["session"][target] = np.where(later, session_rows(ordinal, rows), records["session"][target])
        newest[target] = np.where(later, ordinal, newest[target])
        write_column(records, "session_ordinal", target, newest[target])
        entries[target, shard] = source["entries"]
    pointers = common_pointers(visitors, [part.visitors["history"] for part in parts], sizes)
    merge_history_runs(
        pointers,
        entries,
        pool,
        order,
        owners,
        records["history"],
        records["entries"],
        tables["history"].data,
        tables["scalars"].data[0, POOL_HISTORY:],
    )


@inlined
def copy_entry(source, target):
    """Copy an entry of a history field by field: Numba can't assign records."""
    target.item = source.item
    target.seconds = source.seconds
    target.weight = source.weight
    target.kind = source.kind
    target.learned = source.learned


@kernel
def copy_histories(data: NDArray, index: Rows, items: Rows, out: NDArray) -> None:
    """Copy a shard's histories in the common numbering of items.

    Args:
        data, index: the shard's table of histories; row r is `data[index[r]]`.
        items: common numbers of the shard's items; an item beyond them is no item.
        out: (rows, entries).
    """
    for row in range(index.size):
        for column in range(HISTORY_ENTRIES):
            target = out[row, column]
            copy_entry(data[index[row], column], target)
            item = np.int64(target.item)
            target.item = items[item] if item < items.size else 0


@compiled
def merge_history_runs(
    pointers: NDArray,
    entries: NDArray,
    pool: NDArray,
    order: Rows,
    owners: int,
    merged: NDArray,
    counts: NDArray,
    out: NDArray,
    cells: NDArray,
) -> None:
    """Write each visitor's events of all shards into one run, oldest first.

    Args:
        pointers: (rows, shards), see `common_pointers`.
        entries: (rows, shards), position of the visitor's ring in the shard.
        pool: (rows, entries), the shards' pools in the common numbering.
        order, owners: as `merge_visitors` gets them.
        merged: by visitor, the pointer to the merged run; filled in.
        counts: by visitor, the number of events in it; filled in.
        out: (rows, entries) of the merged pool.
        cells: of the merged pool in `scalars`.
    """
    shards = pointers.shape[1]
    where = np.empty((MAX_HISTORY * shards, 2), np.int64)
    seconds = np.empty(MAX_HISTORY * shards, np.int64)
    begin_pool(cells)
    for visitor in order:
        size = 0
        several = 0
        for shard in range(shards):
            pointer = pointers[visitor, shard]
            if pointer == 0:
                continue
            several += 1
            length = HISTORY_ENTRIES * run_rows(pointer)
            written = int(entries[visitor, shard])
            for number in range(written - length if written > length else 0, written):
                at = number % length
                where[size, 0] = run_row(pointer) + at // HISTORY_ENTRIES
                where[size, 1] = at % HISTORY_ENTRIES
                seconds[size] = pool[where[size, 0], where[size, 1]].seconds
                size += 1
        by_time = np.arange(size)
        if several > 1:
            by_time = np.argsort(seconds[:size], kind="mergesort")
        pointer = append_run(cells, out.shape[0], class_for(min(size, MAX_HISTORY), HISTORY_ENTRIES), owners)
        if pointer == 0:
            continue
        kept = min(size, HISTORY_ENTRIES * run_rows(pointer))
        merged[visitor] = pointer
        counts[visitor] = kept
        for number in range(kept):
            at = by_time[size - kept + number]
            target = out[run_row(pointer) + number // HISTORY_ENTRIES, number % HISTORY_ENTRIES]
            copy_entry(pool[where[at, 0], where[at, 1]], target)
