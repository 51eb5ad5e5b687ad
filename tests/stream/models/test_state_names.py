"""Names in a state: which of them may be others than here, and which are refused with both lists."""

from __future__ import annotations

import pytest

from stream.models.state_names import (
    FIXED_NAMES,
    RELEASE_0_1,
    TODAY,
    TODAY_DIGEST,
    difference,
    digest_of,
    names_in,
    same_names,
    same_order,
)
from tests.stream.other_order import shuffled_names


def without(kind: str, name: str) -> dict:
    return {**TODAY, kind: [each for each in TODAY[kind] if each != name]}


def with_one_more(kind: str, name: str) -> dict:
    return {**TODAY, kind: [*TODAY[kind], name]}


def test_names_in_another_order_are_the_same_names():
    names = shuffled_names(1)
    assert names != TODAY
    assert difference(names) is None
    assert not same_order(names)
    assert digest_of(names) != TODAY_DIGEST
    assert same_order(TODAY)
    assert digest_of({kind: tuple(each) for kind, each in TODAY.items()}) == TODAY_DIGEST


def test_a_state_without_names_is_one_of_release_0_1():
    assert names_in({"format": 1}) == RELEASE_0_1
    assert {kind: len(each) for kind, each in RELEASE_0_1.items()} == {
        "sources": 13,
        "rankings": 15,
        "features": 54,
        "context_features": 16,
        "crosses": 4,
        "conversion_features": 12,
        "half_lives": 5,
    }


@pytest.mark.parametrize("kind", ["sources", "rankings", "features", "context_features", "crosses"])
def test_names_that_are_missing_or_new_here_are_mapped(kind):
    for names in (with_one_more(kind, "weekday"), without(kind, TODAY[kind][0])):
        assert difference(names) is None
        assert not same_names(names)
    assert same_names(shuffled_names(1))


@pytest.mark.parametrize("kind", FIXED_NAMES)
def test_other_names_of_a_kind_that_can_not_be_mapped_are_refused_with_both_lists(kind):
    said = difference(with_one_more(kind, "another"))
    shown = kind.replace("_", " ")
    assert f"has learned with the {shown} {', '.join(TODAY[kind])}, another, and this process" in said
    assert f"this process has the {shown} {', '.join(TODAY[kind])}; another is missing here." in said
    assert "start that release, or begin anew with corrente versions new-lineage" in said
    assert f"{TODAY[kind][0]} is new here" in difference(without(kind, TODAY[kind][0]))
    assert "is new here" in difference({each: names for each, names in TODAY.items() if each != kind})


def test_a_kind_of_names_that_a_later_release_has_is_refused():
    assert "has learned with the shelves top, bottom" in difference({**TODAY, "shelves": ["top", "bottom"]})


def test_half_lives_in_another_order_are_refused():
    """Tables with a row for each item have a column for each of them."""
    assert "half lives" in difference({**TODAY, "half_lives": list(reversed(TODAY["half_lives"]))})
