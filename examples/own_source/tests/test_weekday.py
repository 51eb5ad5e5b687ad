"""The source `weekday`, on counts that are known by construction.

This file decides what the source must learn, score and forget.
"""

from typing import NamedTuple

import numpy as np

from example_sources import weekday
from stream.models.kernels.compile import packed
from stream.models.workspace.scratch import LOCAL, VISIT

MONDAY, TUESDAY = 1_767_571_200.0, 1_767_657_600.0  # 5 and 6 January 2026, 0:00 UTC


class State(NamedTuple):
    """Tables as `learn` gets them."""

    weekday: np.ndarray
    weekday_dirty: np.ndarray


class Reader(NamedTuple):
    """Tables as `score` gets them; row `r` of an item is `weekday[weekday_index[r]]`."""

    weekday: np.ndarray
    weekday_index: np.ndarray


class Work(NamedTuple):
    """Part of the list that is being made, as `score` reads it."""

    counts: np.ndarray
    items: np.ndarray
    visit: np.ndarray


def state_of(items: int) -> State:
    return packed(State(np.zeros((items, weekday.COLUMNS), np.float32), np.zeros(items, np.uint8)))


def scores(state: State, moment: float) -> list[float]:
    rows = state.weekday.shape[0]
    counts, visit, values = np.zeros(9, np.int64), np.zeros(1, VISIT), np.zeros(rows, np.float32)
    counts[LOCAL], visit["moment"] = rows, moment
    reader = packed(Reader(state.weekday, np.arange(rows, dtype=np.int32)))
    weekday.score(reader, packed(Work(counts, np.arange(rows), visit)), values)
    return [round(float(value), 3) for value in values]


def learned(state: State, item: int, seconds: float, weight: float = 1.0) -> None:
    weekday.learn(state, item, 0, seconds, weight, np.zeros(8, np.int64), 0)


def test_an_item_is_wanted_on_its_day():
    state = state_of(3)
    for _ in range(5):
        learned(state, 1, MONDAY + 3600)
        learned(state, 2, TUESDAY + 3600)
    assert scores(state, MONDAY) == [0.0, 0.5, 0.0]
    assert scores(state, TUESDAY + 86_399) == [0.0, 0.0, 0.5]
    assert state.weekday_dirty.tolist() == [0, 1, 1]


def test_counts_never_fall_below_zero():
    state = state_of(2)
    learned(state, 1, MONDAY)
    learned(state, 1, MONDAY, weight=-3.0)
    assert state.weekday[1].tolist() == [0.0] * 7


def test_an_evicted_item_is_forgotten():
    state = state_of(2)
    learned(state, 1, MONDAY)
    state.weekday_dirty[:] = 0
    weekday.forget(state, 1)
    assert not state.weekday.any()
    assert state.weekday_dirty.tolist() == [0, 1]
