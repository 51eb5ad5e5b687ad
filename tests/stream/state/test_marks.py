"""Marks of blocks: a table whose marks are grouped hands out what one without groups does, in parts of any size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.state.marks import GROUP_BLOCKS
from stream.state.tables import Table, TableDelta, Tables, TableSpec

ROWS = GROUP_BLOCKS + GROUP_BLOCKS // 2 + 3
"""Rows of two blocks each: four groups, of which the last has six blocks."""

WORDS = np.dtype(("<u4", (8,)))


def tables(*, grouped: bool) -> Tables:
    """A table that may be grouped between two that aren't."""
    small = [TableSpec(name, 5, WORDS, 16) for name in ("before", "after")]
    return Tables([small[0], TableSpec("large", ROWS, WORDS, 16, grouped=grouped), small[1]])


def write(made: Tables, name: str, blocks: list[int], value: int) -> None:
    """Write a value to blocks of a table, and mark them."""
    table = made[name]
    table.raw()[blocks] = value
    table.mark(np.array(blocks, np.int64))


def blocks_of(name: str) -> st.SearchStrategy[tuple[str, list[int]]]:
    last = 2 * ROWS - 1 if name == "large" else 9
    edges = [0, 1, GROUP_BLOCKS - 1, GROUP_BLOCKS, 3 * GROUP_BLOCKS - 1, 3 * GROUP_BLOCKS, 2 * ROWS - 1]
    places = st.integers(0, last) | st.sampled_from([edge for edge in edges if edge <= last])
    return st.tuples(st.just(name), st.lists(places, min_size=1, max_size=6, unique=True))


steps = st.lists(
    st.one_of(blocks_of("large"), blocks_of("large"), blocks_of("before"), blocks_of("after"), st.integers(1, 9)),
    max_size=40,
)
"""Blocks that are written, and largest numbers of blocks of a part of a checkpoint."""


def content(delta: dict[str, TableDelta]) -> dict[str, tuple[list[int], bytes]]:
    return {name: (part.blocks.tolist(), part.data.tobytes()) for name, part in delta.items()}


@settings(max_examples=300)
@given(steps)
def test_a_grouped_table_hands_out_what_one_without_groups_does(drawn: list[tuple[str, list[int]] | int]) -> None:
    plain, grouped = tables(grouped=False), tables(grouped=True)
    for value, step in enumerate(drawn, 1):
        if isinstance(step, int):
            (expected, done), (found, found_done) = plain.next_part(step), grouped.next_part(step)
            assert (content(found), found_done) == (content(expected), done)
        else:
            for made in (plain, grouped):
                write(made, *step, value)
    assert content(grouped.checkpoint()) == content(plain.checkpoint())
    assert not any(table.dirty.any() for table in grouped.values()), "a mark that stays costs every later checkpoint"


def test_only_groups_with_a_mark_are_looked_at() -> None:
    table = Table(TableSpec("large", ROWS, WORDS, 16, grouped=True))
    table.dirty[5] = table.dirty[GROUP_BLOCKS + 5] = 1  # which no program does
    table.mark(np.array([GROUP_BLOCKS + 9]))
    assert table.checkpoint().blocks.tolist() == [GROUP_BLOCKS + 5, GROUP_BLOCKS + 9]


def test_rows_and_what_is_not_zero_are_marked_with_their_groups() -> None:
    table = Table(TableSpec("large", ROWS, WORDS, 16, grouped=True))
    table.mark_rows([1, ROWS - 1])
    assert table.checkpoint().blocks.tolist() == [2, 3, 2 * ROWS - 2, 2 * ROWS - 1]
    table.raw()[[7, 2 * ROWS - 1]] = 1
    table.mark_nonzero()
    assert table.checkpoint().blocks.tolist() == [7, 2 * ROWS - 1]


def test_a_grouped_table_has_two_rows_at_least() -> None:
    with pytest.raises(ValueError, match="a grouped table has at least two rows"):
        TableSpec("one", 1, WORDS, 16, grouped=True)
