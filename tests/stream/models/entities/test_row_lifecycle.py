"""Rows are handed out in order, and returned ones first."""

from __future__ import annotations

import numpy as np

from stream.models.entities.row_lifecycle import give_back_row, no_row_left, rows_left, take_row

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
    assert rows_left(table.records, table.scalars, LIVE) == 2
    assert table.records["key0"].tolist() == [0, 101, 0, 103, 0]
    assert [table.take(), table.take()] == [4, 2]
    assert table.full()
    assert table.records["next_free"].tolist() == [0] * 5
    assert table.scalars.tolist() == [5, 0, 4]
