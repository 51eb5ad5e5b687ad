"""Names in a state: the same ones in any order are this model's, and others are refused with both lists."""

from __future__ import annotations

import pytest

from stream.models.state_names import (
    RELEASE_0_1,
    TODAY,
    TODAY_DIGEST,
    difference,
    digest_of,
    names_in,
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


def test_a_source_that_is_missing_here_is_named_with_both_lists_and_what_to_do():
    said = difference(with_one_more("sources", "weekday"))
    assert f"has learned with the sources {', '.join(TODAY['sources'])}, weekday, and this process" in said
    assert f"this process has the sources {', '.join(TODAY['sources'])}; weekday is missing here." in said
    assert "install the package that has weekday, in every worker and server" in said
    assert "set another CORRENTE_MODEL_NAME" in said
    assert "replay a history" in said


def test_a_source_that_is_new_here_is_named_as_well():
    said = difference(without("sources", "stan"))
    assert "stan is new here" in said
    assert "uninstall the package that has stan" in said


def test_one_missing_and_one_new_source_are_both_named():
    said = difference({**TODAY, "sources": [*(each for each in TODAY["sources"] if each != "stan"), "weekday"]})
    assert "weekday is missing here; stan is new here" in said
    assert "install the package that has weekday and uninstall the package that has stan" in said


@pytest.mark.parametrize("kind", [kind for kind in TODAY if kind != "sources"])
def test_other_names_of_every_kind_are_refused(kind):
    assert "another is missing here" in difference(with_one_more(kind, "another"))
    assert f"{TODAY[kind][0]} is new here" in difference(without(kind, TODAY[kind][0]))


def test_a_kind_of_names_that_a_later_release_has_is_refused():
    assert "has learned with the shelves top, bottom" in difference({**TODAY, "shelves": ["top", "bottom"]})


def test_half_lives_in_another_order_are_refused():
    """Tables with a row for each item have a column for each of them."""
    assert "half lives" in difference({**TODAY, "half_lives": list(reversed(TODAY["half_lives"]))})
