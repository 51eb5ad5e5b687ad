"""Rows are handed out in order, returned ones first, and the weakest are flagged for eviction."""

from __future__ import annotations

import numpy as np
import pytest

from stream.models.entities.row_lifecycle import flag_weakest, give_back_row, no_row_left, take_row

ROWS, FREE, LIVE = range(3)
RECORD = np.dtype([("key0", "<u8"), ("key1", "<u8"), ("next_free", "<u4")])


class Table:
    """Five rows of which four can be in use, driven as items and visitors drive theirs."""

    def __init__(self) -> None:
        self.records = np.zeros(5, RECORD)
        self.scalars = np.zeros(3)

    def take(self) -> int:
        assert not self.full()
        row = take_row(self.records, self.scalars, ROWS, FREE, LIVE)
        self.records[row]["key0"] = 100 + row
        return row

    def give_back(self, row: int) -> None:
        give_back_row(self.records, self.scalars, FREE, LIVE, row)

    def full(self) -> bool:
        return no_row_left(self.records, self.scalars, ROWS, FREE)


def test_rows_are_handed_out_in_order_and_returned_rows_first_the_last_one_before_the_others():
    table = Table()
    assert [table.take() for _ in range(4)] == [1, 2, 3, 4]
    assert table.full()
    table.give_back(2)
    table.give_back(4)
    assert table.scalars[LIVE] == 2
    assert table.records["key0"].tolist() == [0, 101, 0, 103, 0]
    assert [table.take(), table.take()] == [4, 2]
    assert table.full()
    assert table.records["next_free"].tolist() == [0] * 5
    assert table.scalars.tolist() == [5, 0, 4]


@pytest.mark.parametrize(
    ("strengths", "weakest"),
    [
        ([9, 5, 1, 5, 3], [2]),
        ([9, 5, 1, 1, 3], [2]),
        ([0, 1, 1, 1, 1], [1]),
    ],
)
def test_the_weakest_row_is_flagged_and_of_equal_ones_the_lower(strengths, weakest):
    table = Table()
    for _ in range(4):
        table.take()
    flags = np.ones(5, np.uint8)
    assert flag_weakest(table.records, np.array(strengths, np.float64), 5, flags, np.zeros(5)) == 1
    assert np.flatnonzero(flags).tolist() == weakest


def test_a_sixty_fourth_of_the_table_is_flagged_and_rows_without_a_key_never():
    records = np.zeros(641, RECORD)
    records["key1"][1::2] = 1
    strengths = np.arange(641, 0, -1).astype(np.uint32)
    flags = np.zeros(641, np.uint8)
    assert flag_weakest(records, strengths, 641, flags, np.zeros(641)) == 10
    assert np.flatnonzero(flags).tolist() == list(range(621, 641, 2))
