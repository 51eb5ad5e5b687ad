"""Runs of rows: pointers, handing out, taking back, refusing."""

from __future__ import annotations

import numpy as np
import pytest

from stream.models.kernels.row_pool import (
    POOL_FREE_ROWS,
    POOL_FREE_RUNS,
    POOL_OWNERS,
    POOL_REFUSALS,
    POOL_USED,
    class_for,
    give_back,
    ring_row,
    rows_of_class,
    run_class,
    run_pointer,
    run_row,
    run_rows,
    take,
)
from stream.models.schema import POOL_CELLS, RUNS
from stream.state.marks import marks_for

BASE = 3


class Pool:
    """A pool of some rows for some owners."""

    def __init__(self, rows: int, owners: int) -> None:
        self.words = np.zeros((rows, 4), np.uint32)
        self.dirty = marks_for(2 * rows, grouped=True)
        self.scalars = np.zeros(BASE + POOL_CELLS)
        self.owners = owners

    def take(self, size: int, replaced: int = 0) -> int:
        return take(self.words, self.dirty, self.scalars, BASE, self.owners, size, replaced)

    def give_back(self, pointer: int, *, leaves: bool = True) -> None:
        give_back(self.words, self.dirty, self.scalars, BASE, np.uint32(pointer), leaves)

    def cell(self, cell: int) -> int:
        return int(self.scalars[BASE + cell])


def test_the_cells_of_a_pool_fit_and_differ():
    cells = [POOL_USED, *range(POOL_FREE_RUNS, POOL_FREE_RUNS + len(RUNS)), POOL_FREE_ROWS, POOL_OWNERS, POOL_REFUSALS]
    assert cells == list(range(7)), "versions in Redis have these cells"
    assert len(cells) <= POOL_CELLS


@pytest.mark.parametrize("size", range(len(RUNS)))
def test_a_pointer_holds_the_row_and_the_class(size):
    for row in (1, 17, 2**30 - 1):
        pointer = np.uint32(run_pointer(row, size))
        assert (run_row(pointer), run_class(pointer), run_rows(pointer)) == (row, size, RUNS[size])
    assert rows_of_class(size) == RUNS[size]


def test_the_class_is_that_of_the_shortest_run_with_room():
    assert [class_for(entries, 8) for entries in (0, 1, 8, 9, 32, 33, 128, 1000)] == [0, 0, 0, 1, 1, 2, 2, 2]


def test_runs_are_handed_out_one_after_the_other_and_a_returned_run_is_zeroed_and_comes_first():
    pool = Pool(rows=30, owners=3)
    one, four = pool.take(0), pool.take(1)
    assert (run_row(np.uint32(one)), run_row(np.uint32(four))) == (1, 2)
    pool.words[2:6] = 7
    pool.give_back(four)
    assert not pool.words[2:6].any()
    assert pool.dirty[4:12].all()
    assert (pool.cell(POOL_OWNERS), pool.cell(POOL_FREE_ROWS), pool.cell(POOL_FREE_RUNS + 1)) == (1, 4, 2)
    assert pool.take(1) == four
    assert (pool.cell(POOL_OWNERS), pool.cell(POOL_FREE_ROWS), pool.cell(POOL_USED)) == (2, 0, 6)


def test_a_longer_run_is_refused_if_an_owner_would_stay_without_a_first_row():
    pool = Pool(rows=1 + 8, owners=5)
    first = pool.take(0)
    assert pool.take(1, replaced=1), "8 rows, one in use: 4 others may still come after a run of 4"
    pool.give_back(first, leaves=False)
    assert pool.take(1, replaced=1) == 0
    assert pool.cell(POOL_REFUSALS) == 1
    assert all(pool.take(0) for _ in range(4))
    assert pool.take(0) == 0
    assert (pool.cell(POOL_REFUSALS), pool.cell(POOL_OWNERS)) == (2, 5)


def test_a_long_free_run_is_split_if_single_rows_are_needed():
    pool = Pool(rows=1 + 4, owners=4)
    pool.give_back(pool.take(1))
    assert sorted(int(run_row(np.uint32(pool.take(0)))) for _ in range(4)) == [1, 2, 3, 4]
    assert pool.take(0) == 0
    assert not pool.words.any()


def test_the_oldest_row_of_a_ring_is_reused():
    assert [ring_row(ordinal, 4) for ordinal in range(1, 8)] == [2, 3, 1, 2, 3, 1, 2]
