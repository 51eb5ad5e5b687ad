"""Pairs of the merge: pair counts of all shards, added up.

This file decides which pairs of an item stay: all that fit into the longest run, and if there are more, the strongest
by `together + forward`; among equally strong ones those that were met first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream.models.kernels.compile import kernel
from stream.models.kernels.row_pool import class_for, run_row, run_rows
from stream.models.merging.counts import fast_scale
from stream.models.merging.numbering import Numbering, Rows, ShardRows
from stream.models.merging.runs import append_run, begin_pool, common_pointers, pool_sections
from stream.models.schema import PAIR, PAIR_SLOTS, POOL_PAIRS, RUN_SETS, RUNS, SET_SLOTS
from stream.state.compiled import compiled
from stream.state.tables import Tables

MAX_PAIRS = RUNS[-1] * PAIR_SLOTS
"""Pairs in the longest run."""

TOGETHER, FORWARD, FAST = range(3)
"""Columns of the counts of pairs while they are added up."""


def merge_pairs(tables: Tables, parts: Sequence[ShardRows], items: Numbering, order: Rows, owners: int) -> None:
    """Fill the table `pairs`, and the pointers to it in `items`.

    Args:
        tables: of the merge.
        parts: the shards.
        items: their numbering.
        order: items in the order in which they get their runs.
        owners: see `append_run`.
    """
    scalars = tables["scalars"].data[0]
    sizes = [len(part.pairs[1]) // RUN_SETS for part in parts]
    pool = np.empty((RUN_SETS * sum(sizes), SET_SLOTS), PAIR)
    sections = pool_sections(pool, [RUN_SETS * size for size in sizes])
    for shard, part in enumerate(parts):
        copy_pairs(*part.pairs, items.of[shard], np.float32(fast_scale(part, scalars)), sections[shard])
    pointers = common_pointers(items, [part.items["pairs"] for part in parts], sizes)
    runs, out = pool.reshape(-1, PAIR_SLOTS), tables["pairs"].data.reshape(-1, PAIR_SLOTS)
    merge_pair_runs(pointers, runs, order, owners, tables["items"].data["pairs"], out, scalars[POOL_PAIRS:])


@kernel
def copy_pairs(data: NDArray, index: Rows, items: Rows, fast: np.float32, out: NDArray) -> None:
    """Copy a shard's pool in the common numbering, with its fast counts times a factor.

    Args:
        data, index: the shard's table of pairs; row r is `data[index[r]]`.
        items: common numbers of the shard's items; an item beyond them is no item.
        fast: the factor.
        out: (rows, slots).
    """
    for row in range(out.shape[0]):
        for column in range(SET_SLOTS):
            slot = data[index[row], column]
            other = np.int64(slot.other)
            target = out[row, column]
            target.other = items[other] if other < items.size else 0
            target.together = slot.together
            target.forward = slot.forward
            target.fast = slot.fast * fast


@compiled
def merge_pair_runs(
    pointers: NDArray, pool: NDArray, order: Rows, owners: int, merged: NDArray, out: NDArray, cells: NDArray
) -> None:
    """Write each item's pairs of all shards into one run.

    Args:
        pointers: (rows, shards), see `common_pointers`.
        pool: (rows, slots), the shards' pools in the common numbering.
        order, owners: as `merge_pairs` gets them.
        merged: by item, the pointer to its merged run; filled in.
        out: (rows, slots) of the merged pool.
        cells: of the merged pool in `scalars`.
    """
    rows, shards = pointers.shape
    place_of = np.full(rows, -1, np.int64)
    others = np.empty(MAX_PAIRS * shards, np.int64)
    counts = np.empty((MAX_PAIRS * shards, 3), np.float32)
    begin_pool(cells)
    for item in order:
        size = add_up_pairs(pointers[item], pool, place_of, others, counts)
        if size == 0:
            continue
        pointer = append_run(cells, out.shape[0], class_for(min(size, MAX_PAIRS), PAIR_SLOTS), owners)
        if pointer == 0:
            continue
        merged[item] = pointer
        most = PAIR_SLOTS * run_rows(pointer)
        least = np.float32(-1)
        ties = size
        if size > most:
            strength = np.sort(counts[:size, TOGETHER] + counts[:size, FORWARD])
            least = strength[size - most]
            ties = most
            for at in range(size):
                ties -= strength[at] > least
        write_strongest(others[:size], counts, least, ties, out, run_row(pointer))


@kernel
def add_up_pairs(pointers: NDArray, pool: NDArray, place_of: Rows, others: Rows, counts: NDArray) -> int:
    """Add up the pairs in the runs of one item; returns how many other items there are.

    Args:
        pointers: (shards,) to the runs; 0 for none.
        pool: (rows, slots) that holds the runs.
        place_of: by item, scratch of -1, and left like that.
        others: (at least as many as there are slots), the other items in the order in which they are met; filled in.
        counts: (as many, 3), their counts; filled in.
    """
    size = 0
    for pointer in pointers:
        if pointer == 0:
            continue
        for row in range(run_row(pointer), run_row(pointer) + run_rows(pointer)):
            for column in range(PAIR_SLOTS):
                slot = pool[row, column]
                other = np.int64(slot.other)
                if other == 0:
                    continue
                at = place_of[other]
                if at < 0:
                    at = np.int64(size)
                    place_of[other] = at
                    others[at] = other
                    counts[at] = 0
                    size += 1
                counts[at, TOGETHER] += slot.together
                counts[at, FORWARD] += slot.forward
                counts[at, FAST] += slot.fast
    for at in range(size):
        place_of[others[at]] = -1
    return size


@kernel
def write_strongest(others: Rows, counts: NDArray, least: np.float32, ties: int, out: NDArray, first: int) -> None:
    """Write the pairs stronger than `least`, and the first `ties` that are as strong, into the run at row `first`."""
    written = 0
    for at in range(others.size):
        strength = counts[at, TOGETHER] + counts[at, FORWARD]
        if strength < least:
            continue
        if strength == least:
            if ties == 0:
                continue
            ties -= 1
        slot = out[first + written // PAIR_SLOTS, written % PAIR_SLOTS]
        slot.other = others[at]
        slot.together = counts[at, TOGETHER]
        slot.forward = counts[at, FORWARD]
        slot.fast = counts[at, FAST]
        written += 1
