"""Rows become free with the last index that names them, in whatever order indexes come and go."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.memory.row_index import RowIndexes

ROWS = 24


def zeros(_: str, nbytes: int):
    return np.zeros(nbytes, np.uint8)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("derive"), st.integers(0, 99), st.sets(st.integers(0, ROWS - 1), min_size=1)),
        st.tuples(st.just("drop"), st.integers(0, 99)),
        st.tuples(st.just("free")),
    ),
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(steps=STEPS)
def test_exactly_the_places_that_no_index_names_become_free(steps):
    indexes = RowIndexes(ROWS, zeros)
    living, expected = [indexes.empty], [[0] * ROWS]
    used: set[int] = set()
    next_place = 1
    for step in steps:
        match step:
            case ("derive", which, rows):
                base, values = living[which % len(living)], list(expected[which % len(living)])
                buffer = indexes.copy(base)
                assert buffer.tolist() == values, "a copy equals its base, whatever memory it comes from"
                for row in rows:
                    buffer[row] = values[row] = next_place
                    used.add(next_place)
                    next_place += 1
                living.append(indexes.hand_out(buffer, base, np.array(sorted(rows), np.int32)))
                expected.append(values)
                del base, buffer
            case ("drop", which) if len(living) > 1:
                number = 1 + which % (len(living) - 1)  # the empty index stays
                del living[number], expected[number]
            case ("free",):
                freed = indexes.freed().tolist()
                named = {place for values in expected for place in values if place}
                assert len(freed) == len(set(freed)), "no place is freed twice"
                assert set(freed) == used - named
                used &= named
        assert [index.tolist() for index in living] == expected, "an index that is read never changes"
    assert len(indexes) >= len(living) - 1


def test_a_freed_index_s_memory_becomes_the_next_index():
    """Loading version after version takes the memory of two indexes, not of all of them."""
    allocated = []

    def allocate(name: str, nbytes: int):
        allocated.append(name)
        return zeros(name, nbytes)

    indexes = RowIndexes(ROWS, allocate)
    newest = indexes.hand_out(indexes.copy(indexes.empty), indexes.empty, np.array([3], np.int32))
    previous = None
    for _ in range(100):
        previous, newest = newest, indexes.hand_out(indexes.copy(newest), newest, np.array([3], np.int32))
        indexes.freed()
    assert previous is not None
    assert len(allocated) <= 4, "empty, first, and two that take turns"
