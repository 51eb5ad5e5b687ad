"""Marks of kernels: as those of a table, and the only way in which kernels mark a table whose marks are grouped."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from stream.models.kernels.marks import mark_block, mark_blocks
from stream.models.schema import table_specs
from stream.models.settings import ModelSettings
from stream.state.marks import GROUP_BLOCKS, mark, marks_for

ROOT = Path(__file__).parents[4]
BLOCKS = 3 * GROUP_BLOCKS + 7


@pytest.mark.parametrize(
    ("first", "end"),
    [(0, 1), (5, 9), (GROUP_BLOCKS - 1, GROUP_BLOCKS + 1), (1, 2 * GROUP_BLOCKS), (GROUP_BLOCKS, BLOCKS)],
)
def test_kernels_mark_as_tables_do(first: int, end: int) -> None:
    expected, one_by_one, at_once = (marks_for(BLOCKS, grouped=True) for _ in range(3))
    mark(expected, np.arange(first, end), grouped=True)
    for block in range(first, end):
        mark_block(one_by_one, block)
    mark_blocks(at_once, first, end)
    assert np.array_equal(one_by_one, expected)
    assert np.array_equal(at_once, expected)


def test_no_kernel_marks_a_block_of_a_grouped_table_without_its_group() -> None:
    """Such a block would be in no version."""
    grouped = [spec.name for spec in table_specs(ModelSettings()) if spec.grouped]
    assert {"pairs", "session_items", "history", "names"} <= set(grouped)
    alone = re.compile(rf"\b(?:(?:{'|'.join(grouped)})_dirty|(?<!_)dirty)\[.*\] = 1")
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for room in ("stream/models", "stream/shard", "serving")
        for path in sorted((ROOT / room).rglob("*.py"))
        for line in path.read_text().splitlines()
        if alone.search(line)
    ]
    allowed = {
        "stream/models/kernels/marks.py",
        "stream/models/entities/eviction.py",
        "stream/models/migration/columns.py",
    }
    assert {line.partition(":")[0] for line in found} <= allowed, found
