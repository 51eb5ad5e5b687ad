"""Pairs in sets: the runs of a merge, arranged so that learning finds each pair in the set that its other item picks.

A merge for answers fills the slots of a run one after the other, because answers read all of them. Learning looks for a
pair in one set of eight slots only (`stream.models.sources.pairs`).

This file decides how long the run of an item is (the shortest one in which every set has room, as learning would have
lengthened it), and which pairs stay if a set of the longest run is too small: the strongest by `together + forward`, as
when a new pair makes room for itself.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream.models.kernels.compile import kernel
from stream.models.kernels.row_pool import CLASSES, POOL_USED, rows_of_class, run_row, run_rows
from stream.models.merging.numbering import Rows
from stream.models.merging.runs import append_run, begin_pool
from stream.models.schema import PAIR_SLOTS, POOL_PAIRS, RUN_SETS, RUNS, SET_SLOTS
from stream.models.sources.pairs import first_set, set_of, sets_of
from stream.state.compiled import compiled
from stream.state.tables import Tables

MAX_SETS = RUN_SETS * RUNS[-1]
"""Sets of the longest run."""


def arrange_pairs(tables: Tables, order: Rows, owners: int) -> None:
    """Arrange the pairs of all items in sets.

    Args:
        tables: of the merge; `pairs` and the pointers to it change.
        order: items in the order in which they get their runs.
        owners: see `runs.append_run`.
    """
    cells = tables["scalars"].data[0, POOL_PAIRS:]
    used = RUN_SETS * int(cells[POOL_USED])
    sets = tables["pairs"].data
    pool = sets[:used].copy()
    sets[:used] = np.zeros((), sets.dtype)
    arrange(order, owners, pool.reshape(-1, PAIR_SLOTS), tables["items"].data["pairs"], sets, cells)


@compiled
def arrange(order: Rows, owners: int, pool: NDArray, pointers: NDArray, sets: NDArray, cells: NDArray) -> None:
    """Write each item's pairs into the sets of a new run.

    Args:
        order, owners: as `arrange_pairs` gets them.
        pool: (rows, slots), the runs as they are.
        pointers: by item, the pointer to its run in `pool`; replaced by that to its new run.
        sets: (rows, slots of a set) of the new pool, empty.
        cells: of the pool in `scalars`.
    """
    held = np.zeros(MAX_SETS, np.int64)
    begin_pool(cells)
    for item in order:
        old = pointers[item]
        if old == 0:
            continue
        size = 0
        while size < CLASSES - 1 and not has_room(pool, old, RUN_SETS * rows_of_class(size), held):
            size += 1
        pointers[item] = append_run(cells, sets.shape[0] // RUN_SETS, size, owners)
        if pointers[item] == 0:
            continue
        for row in range(run_row(old), run_row(old) + run_rows(old)):
            for column in range(PAIR_SLOTS):
                if pool[row, column].other:
                    put(pool[row, column], sets, first_set(pointers[item]), sets_of(pointers[item]))


@kernel
def has_room(pool: NDArray, pointer: np.uint32, sets: int, held: Rows) -> bool:
    """True if this number of sets has room for the pairs of a run; `held` is scratch."""
    held[:sets] = 0
    for row in range(run_row(pointer), run_row(pointer) + run_rows(pointer)):
        for column in range(PAIR_SLOTS):
            other = pool[row, column].other
            if other:
                number = set_of(other, sets)
                held[number] += 1
                if held[number] > SET_SLOTS:
                    return False
    return True


@kernel
def put(pair: np.record, sets: NDArray, first: int, count: int) -> None:
    """Write a pair into its set, if that has room or a weaker pair.

    Args:
        pair: the pair.
        sets: the pool.
        first: row of the item's first set.
        count: number of its sets.
    """
    row = first + set_of(pair.other, count)
    at = -1
    strength = pair.together + pair.forward
    weakest_fast = pair.fast
    for column in range(SET_SLOTS):
        slot = sets[row, column]
        if slot.other == 0:
            at = column
            break
        held = slot.together + slot.forward
        if held < strength or (held == strength and slot.fast < weakest_fast):
            strength = held
            weakest_fast = slot.fast
            at = column
    if at >= 0:
        target = sets[row, at]
        target.other = pair.other
        target.together = pair.together
        target.forward = pair.forward
        target.fast = pair.fast
