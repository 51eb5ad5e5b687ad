"""Slices and groups with planted differences."""

import math

import numpy as np
import pytest

from stream.evaluation.measures.slices import by_count, by_group, error_analysis

MISS = math.inf


def test_slices_by_history_hold_every_test_once(planted):
    evaluation = planted(np.ones(50), np.ones(50))
    for rows in error_analysis(evaluation).values():
        assert sum(row.tests for row in rows) == 50


def test_worse_lists_for_new_visitors_show_in_their_slices(planted):
    position = np.arange(100) % 5  # every visitor has five events, and the first two fail
    evaluation = planted(np.where(position < 2, MISS, 1.0), np.ones(100))
    rows = {row.label: row.hr for row in error_analysis(evaluation)["visitor's earlier events"]}
    assert rows == {"0": 0.0, "1": 0.0, "2": 1.0, "3 to 4": 1.0}


def test_items_never_seen_before_are_a_slice_of_their_own(planted):
    evaluation = planted(np.array([MISS, 1.0, MISS, 1.0]), np.ones(4), item=np.array([0, 0, 1, 1]))
    first = error_analysis(evaluation)["item's age"][0]
    assert (first.label, first.tests, first.hr) == ("never seen before", 2, 0.0)


def test_counts_fall_on_the_right_side_of_an_edge(planted):
    evaluation = planted(np.ones(6), np.ones(6))
    rows = by_count(evaluation, np.array([0, 1, 2, 4, 5, 99]), (0, 1, 4))
    assert [(row.label, row.tests) for row in rows] == [("0", 1), ("1", 1), ("2 to 4", 2), ("more than 4", 2)]


def test_a_worse_served_group_is_found(planted):
    visitor = np.arange(2000)
    group = visitor % 2
    hit = np.random.default_rng(1).random(2000) < np.where(group, 0.3, 0.5)
    fairness = by_group(planted(np.where(hit, 1, MISS), np.ones(2000), visitor=visitor), group, ["north", "south"])
    assert (fairness.best, fairness.worst) == ("north", "south")
    assert fairness.gap == pytest.approx(0.2, abs=0.07)
    assert fairness.p < 0.001


def test_groups_that_are_served_alike_get_no_small_p_value(planted):
    random = np.random.default_rng(3)
    hit, group = random.random(2000) < 0.4, random.integers(0, 8, 2000)
    evaluation = planted(np.where(hit, 1, MISS), np.ones(2000), visitor=np.arange(2000))
    assert by_group(evaluation, group, [str(code) for code in range(8)]).p > 0.05


def test_visitors_without_the_attribute_are_shown_and_not_compared(planted):
    group = np.where(np.arange(200) % 2, -1, 0)
    fairness = by_group(planted(np.ones(200), np.ones(200)), group, ["known"])
    assert {part.label for part in fairness.slices} == {"known", "(unknown)"}
    assert fairness.p is None
