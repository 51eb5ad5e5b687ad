"""Settings with which a model can go on: larger capacities can, and what can't is named with the right value."""

from __future__ import annotations

import pytest

from stream.models.migration.growth import Refusal, refusals
from stream.models.settings import CAPACITIES, FIXED, ModelSettings

SMALL = ModelSettings(**dict.fromkeys(CAPACITIES, 100) | {"max_kept_items": 96})


def changed(**values) -> list[Refusal]:
    after = SMALL.model_copy(update=values)
    return refusals({name: getattr(SMALL, name) for name in FIXED}, {name: getattr(after, name) for name in FIXED})


@pytest.mark.parametrize("name", CAPACITIES)
def test_a_larger_capacity_is_taken_and_a_smaller_one_refused(name):
    now = getattr(SMALL, name)
    assert changed(**{name: now}) == changed(**{name: now + 8}) == []
    assert changed(**{name: now - 8}) == [Refusal(name, now - 8, f"{now} or more")]


def test_every_setting_that_does_not_fit_is_named():
    assert [refusal.name for refusal in changed(max_items=99, max_sessions=99, repeats="first")] == [
        "max_items",
        "max_sessions",
        "repeats",
    ]


@pytest.mark.parametrize(("before", "after"), [("all", "first"), ("first", "all")])
def test_repeats_stays_what_it_was(before, after):
    assert refusals({"repeats": before}, {**SMALL.model_dump(), "repeats": after}) == [
        Refusal("repeats", after, before)
    ]


def test_while_repeats_is_first_visitors_grow_to_a_multiple():
    before = {"max_visitors": 100, "repeats": "first"}
    for visitors, right in [(100, True), (200, True), (300, True), (150, False), (299, False)]:
        found = refusals(before, {**SMALL.model_dump(), "max_visitors": visitors, "repeats": "first"})
        assert (found == []) is right, visitors
    (refused,) = refusals(before, {**SMALL.model_dump(), "max_visitors": 250, "repeats": "first"})
    assert refused.right == "200 or 300, a multiple of 100 while repeats is first"


def test_settings_that_a_state_says_nothing_of_are_not_compared():
    assert refusals({}, SMALL.model_dump()) == []
