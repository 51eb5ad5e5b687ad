"""Documents of Kafka in a real Redis: each part of a log is written once, and rules of visitors are followed."""

from __future__ import annotations

import pytest

from stream.catalogue.item import Item
from stream.catalogue.profile import Profile
from stream.catalogue_store.live import LiveCatalogue
from stream.catalogue_store.store import CatalogueStore, Moved, Span, Write, Written
from stream.versions import VersionStore

LOG = "items/0"


def item(price: float, source: int | None = None, name: str = "cup") -> Write[Item]:
    return Write(name, Item(price=price), source=source)


def price(store: CatalogueStore, name: str = "cup") -> float | None:
    found = store.items.read(name)
    return None if found is None else found.document.price


def test_of_two_writers_of_one_part_only_one_writes(store: CatalogueStore) -> None:
    assert store.items.write_from(Span(LOG, "", "a 3"), [item(5)]) == Written(1, 0, 0)
    with pytest.raises(Moved) as moved:
        store.items.write_from(Span(LOG, "", "a 2"), [item(4)])
    assert (moved.value.place, price(store), store.place_in(LOG)) == ("a 3", 5.0, "a 3")
    assert store.items.write_from(Span(LOG, "a 3", "a 4"), []) == Written(1, 0, 0), "a part may hold dead letters alone"
    assert store.place_in(LOG) == "a 4"


def test_an_older_revision_of_a_producer_is_left_out_and_order_decides_without_one(store: CatalogueStore) -> None:
    span = Span(LOG, "", "a 9")
    writes = [item(1, source=9), item(2, source=10), item(3, source=9), item(4, source=10)]
    assert store.items.write_from(span, writes) == Written(2, 1, 1)
    assert price(store) == 2.0, "10 is more than 9, as a number"
    store.items.write([item(0.5)])
    assert store.items.write_from(Span(LOG, "a 9", "a 11"), [item(3, source=9), item(6)]).older == 1
    assert price(store) == 6.0
    gone = [Write("cup", None), item(7, source=1)]
    assert store.items.write_from(Span(LOG, "a 11", "a 13"), gone).older == 0
    assert price(store) == 7.0, "a deletion forgets the revision"


def test_a_document_that_is_stored_as_it_is_makes_no_work_for_servers(store: CatalogueStore) -> None:
    store.items.write([item(5)])
    assert store.items.write_from(Span(LOG, "", "a 2"), [item(5, source=1), item(5, source=2)]) == Written(1, 0, 2)


def test_one_worker_alone_reads_until_it_gives_up_or_is_gone(store: CatalogueStore) -> None:
    assert [store.claim_reading(each, 60.0) for each in ("a", "b", "a")] == [True, False, True]
    store.claim_reading("b", 0.0)
    assert not store.claim_reading("b", 60.0), "only the one that reads can give up"
    store.claim_reading("a", 0.0)
    assert store.claim_reading("b", 0.001)
    while not store.claim_reading("a", 60.0):
        pass


def off(store: CatalogueStore, *users: str, profiling: str = "off") -> None:
    store.users.write([Write(user, Profile(country="CH", profiling=profiling)) for user in users])  # type: ignore[arg-type]


def unprofiled(live: LiveCatalogue) -> set[str]:
    live.catch_up()
    return {user for user, rules in live.visitor_rules.items() if not rules.profiled}


def test_rules_of_visitors_are_followed_whoever_missed_how_many(store: CatalogueStore, monkeypatch) -> None:
    live = LiveCatalogue(store, poll_seconds=1.0)
    assert unprofiled(live) == set()
    off(store, "ada", "bob")
    assert unprofiled(live) == {"ada", "bob"}
    off(store, "bob", profiling="on")
    store.users.write([Write("eve", Profile(country="CH"))])
    assert unprofiled(live) == {"ada"}
    monkeypatch.setattr("stream.catalogue_store.store.RULE_LOG_LENGTH", 3)
    off(store, *(f"u{number}" for number in range(10)))
    store.users.write([Write("ada", None)])
    assert unprofiled(live) == {f"u{number}" for number in range(10)}
    assert unprofiled(LiveCatalogue(store, poll_seconds=1.0)) == {f"u{number}" for number in range(10)}


def test_a_deleted_profile_leaves_no_rules_and_no_revision(store: CatalogueStore, versions: VersionStore) -> None:
    store.users.write_from(Span("users/0", "", "a 1"), [Write("ada", Profile(profiling="off"), source=3)])
    store.users.write([Write("ada", None)])
    prefix = f"{versions.keys.prefix}catalogue:"
    held = [versions.redis.hgetall(prefix + name) for name in ("users", "visitor-rules", "user-sources")]
    assert held == [{}, {}, {}]
