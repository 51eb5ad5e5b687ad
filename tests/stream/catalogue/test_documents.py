"""A document is read as it is meant or refused with its field's name; a change touches the fields that it names."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.catalogue.documents import Documents, InvalidDocument
from stream.catalogue.item import Item
from stream.catalogue.profile import Profile

ITEMS = Documents(Item)

label = st.booleans() | st.integers(-(10**6), 10**6) | st.floats(-1e6, 1e6) | st.text(max_size=8)
name = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=8)
documents = st.builds(
    Item,
    title=st.none() | name,
    brand=st.none() | name,
    tags=st.lists(name, max_size=3),
    price=st.none() | st.floats(0, 1e9),
    available=st.booleans(),
    hidden=st.booleans(),
    published_at=st.none() | st.integers(1, 2**32 - 1),
    labels=st.dictionaries(name, label, max_size=3),
)


@given(documents)
def test_a_document_that_was_written_is_read_as_it_was(document: Item) -> None:
    assert ITEMS.read(ITEMS.write(document)) == (document, None)
    assert ITEMS.stored(ITEMS.write(document)) == document


@given(documents, documents)
def test_a_change_leaves_the_fields_that_it_does_not_name(before: Item, other: Item) -> None:
    after = ITEMS.changed(before, {"price": other.price, "labels": {"new": True}})
    assert (after.price, after.labels) == (other.price, before.labels | {"new": True})
    assert msgspec.structs.replace(after, price=before.price, labels=before.labels) == before


def test_null_removes_a_field_and_a_label() -> None:
    before = Item(title="Pot", price=2.0, labels={"size": 1, "lid": True})
    assert ITEMS.changed(before, {"price": None, "labels": {"size": None}}) == Item(title="Pot", labels={"lid": True})
    assert ITEMS.changed(None, {"title": "Pot"}) == Item(title="Pot")


def test_the_revision_is_no_field_of_the_document() -> None:
    assert ITEMS.read(b'{"title": "Pot", "revision": 4}') == (Item(title="Pot"), 4)
    assert ITEMS.changed(Item(title="Pot"), {"revision": 4}) == Item(title="Pot")


@pytest.mark.parametrize(
    ("kind", "written", "nearest"),
    [(Item, "prise", "price"), (Item, "catgories", "categories"), (Profile, "langage", "language")],
)
def test_an_unknown_field_is_refused_with_the_nearest_known_one(kind, written: str, nearest: str) -> None:
    for read in (
        lambda: Documents(kind).from_fields({written: 1}),
        lambda: Documents(kind).changed(None, {written: None}),
    ):
        with pytest.raises(
            InvalidDocument, match=f"{written}: there is no such field. Did you mean {nearest}?"
        ) as caught:
            read()
        assert caught.value.field == written


def test_a_document_of_a_later_release_is_read_without_its_new_fields() -> None:
    assert ITEMS.stored(b'{"title":"Pot","weight":3}') == Item(title="Pot")
