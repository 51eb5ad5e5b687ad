"""Documents in a real Redis: every change has a number, and a follower that knows one number finds all later ones."""

from __future__ import annotations

import threading

import pytest

from stream.catalogue.documents import InvalidDocument
from stream.catalogue.item import Item
from stream.catalogue.profile import Profile
from stream.catalogue_store import keys
from stream.catalogue_store.store import CatalogueStore, Write, WrongRevision


def put(store: CatalogueStore, *items: str) -> int:
    return store.items.write([Write(item, Item(title=item)) for item in items])


def followed(store: CatalogueStore, known: int, most: int = 100) -> list[str] | None:
    """Ids that changed after a revision, read a few at a time; None if all has to be read anew."""
    (whole, *_) = store.everything()
    ids: list[str] = []
    while (changes := store.changes(whole.catalogue, known, most)) is not None:
        if not changes.documents:
            return ids
        ids += [item.decode() for item, _ in changes.documents]
        known = changes.revision
    return None


def test_every_change_has_a_number_of_its_own(store: CatalogueStore) -> None:
    assert [put(store, "a"), put(store, "b", "c"), put(store, "a")] == [1, 3, 4]
    found = store.items.read("a")
    assert found is not None
    assert (found.revision, found.document.title) == (4, "a")
    assert store.items.read("unknown") is None


def test_changes_are_found_in_their_order_however_many_are_read_at_once(store: CatalogueStore) -> None:
    put(store, *(f"i{number}" for number in range(25)))
    assert followed(store, 20) == ["i20", "i21", "i22", "i23", "i24"]
    assert followed(store, 0, most=7) == [f"i{number}" for number in range(25)]
    assert followed(store, 25) == []


def test_a_follower_that_missed_more_than_the_log_holds_reads_everything(store: CatalogueStore, monkeypatch) -> None:
    monkeypatch.setattr("stream.catalogue_store.store.LOG_LENGTH", 10)
    put(store, *(f"i{number}" for number in range(25)))
    assert followed(store, 15) == [f"i{number}" for number in range(15, 25)]
    assert followed(store, 14) is None
    assert keys.LOG_LENGTH > 10


def test_a_follower_of_another_catalogue_reads_everything(store: CatalogueStore) -> None:
    put(store, "a")
    assert store.changes("another", 1, 10) is None
    (whole,) = store.everything()
    assert store.changes(whole.catalogue, 2, 10) is None, "Redis came back older than what was seen"


def test_everything_holds_deleted_items_and_a_page_does_not(store: CatalogueStore) -> None:
    put(store, "a", "b")
    store.items.write([Write("a", None), Write("never there", None)])
    (whole,) = store.everything()
    assert {item: data.partition(b" ")[2] for item, data in whole.documents} == {
        b"a": b"",
        b"b": b'{"title":"b"}',
        b"never there": b"",
    }
    assert [each.id for each in store.items.page(None, 10)[0]] == ["b"]
    assert (store.items.count(), store.items.read("a")) == (1, None)


def test_a_deleted_profile_leaves_nothing(store: CatalogueStore, versions) -> None:
    store.users.write([Write("ada", Profile(country="CH"))])
    store.users.write([Write("ada", None)])
    assert store.users.read("ada") is None
    assert b"ada" not in b"".join(versions.redis.keys("*"))
    assert versions.redis.exists(f"{versions.keys.prefix}catalogue:users") == 0


def test_pages_are_in_the_order_of_ids_and_miss_none_while_others_write(store: CatalogueStore) -> None:
    ids = sorted(f"ü{number}" for number in range(20))
    put(store, *ids)
    found, cursor = store.items.page(None, 7)
    put(store, "a first one")
    seen = [each.id for each in found]
    while cursor is not None:
        found, cursor = store.items.page(cursor, 7)
        seen += [each.id for each in found]
    assert seen == ids


def test_writes_that_expect_another_revision_change_nothing(store: CatalogueStore) -> None:
    put(store, "a")
    with pytest.raises(WrongRevision, match="'b' isn't there, not 7") as caught:
        store.items.write([Write("a", Item(title="new")), Write("b", Item(), 7)])
    assert caught.value.place == 1
    assert store.items.revision() == 1
    store.items.write([Write("a", None, 1)])
    assert store.items.write([Write("a", Item(), 0)]) == 3, "a deleted item isn't there"


def test_changes_of_one_document_from_several_threads_lose_nothing(store: CatalogueStore) -> None:
    def add(number: int) -> None:
        for place in range(10):
            store.items.change("a", {"labels": {f"{number}-{place}": place}})

    threads = [threading.Thread(target=add, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = store.items.read("a")
    assert found is not None
    assert (len(found.document.labels), found.revision) == (40, 40)


def test_a_wrong_change_is_refused_and_changes_nothing(store: CatalogueStore) -> None:
    put(store, "a")
    with pytest.raises(InvalidDocument, match="price"):
        store.items.change("a", {"price": "cheap"})
    assert store.items.revision() == 1
