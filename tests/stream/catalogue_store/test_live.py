"""A process follows the catalogue: change by change, after an outage, and after Redis has lost all of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
import redis.exceptions

from stream.catalogue.filters import NO_FILTER
from stream.catalogue.item import Item
from stream.catalogue_store.live import LiveCatalogue
from stream.catalogue_store.store import CatalogueStore, Write
from stream.versions import VersionStore
from tests.stream.versions.conftest import RedisServer


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def shown(live: LiveCatalogue, item: str) -> bool:
    return live.catalogue.view(NO_FILTER, None).shows(item)


def test_a_change_arrives_by_its_announcement(store: CatalogueStore) -> None:
    store.items.write([Write("cup", Item())])
    live = LiveCatalogue(store, poll_seconds=3600.0)
    live.start()
    try:
        until(lambda: live.catalogue.current.revision == 1)
        for revision, hidden in ((2, True), (3, False), (4, True)):
            store.items.write([Write("cup", Item(hidden=hidden))])
            until(lambda revision=revision: live.catalogue.current.revision == revision)
            assert shown(live, "cup") is not hidden
    finally:
        stopping = threading.Thread(target=live.stop)
        stopping.start()
        store.items.write([Write("cup", Item())])  # wakes the thread, which would wait for an hour
        stopping.join()


def test_a_process_that_was_cut_off_catches_up(store: CatalogueStore, monkeypatch) -> None:
    store.items.write([Write("cup", Item())])
    live = LiveCatalogue(store, poll_seconds=1.0)
    live.catch_up()
    store.items.write([Write(f"i{number}", Item()) for number in range(500)] + [Write("cup", None)])
    live.catch_up()
    assert (live.catalogue.current.items, shown(live, "cup")) == (500, False)
    monkeypatch.setattr("stream.catalogue_store.store.LOG_LENGTH", 5)
    store.items.write([Write(f"i{number}", Item(hidden=True)) for number in range(20)])
    store.items.write([Write("cup", Item())])
    live.catch_up()  # the log no longer reaches back
    assert (live.catalogue.current.items, shown(live, "cup"), shown(live, "i3")) == (501, True, False)
    assert live.catalogue.current.revision == store.items.revision()


def test_a_catalogue_that_is_gone_from_redis_stays_in_use_until_another_one_is_there(
    store: CatalogueStore, versions: VersionStore
) -> None:
    store.items.write([Write("cup", Item(hidden=True))])
    live = LiveCatalogue(store, poll_seconds=1.0)
    live.catch_up()
    for key in versions.redis.keys(f"{versions.keys.prefix}catalogue*"):
        versions.redis.delete(key)
    with pytest.raises(redis.exceptions.ConnectionError, match="gone"):
        live.catch_up()
    assert not shown(live, "cup")
    store.items.write([Write("pot", Item())])
    live.catch_up()
    assert (live.catalogue.current.items, shown(live, "cup"), shown(live, "pot")) == (1, True, True)


def test_while_redis_is_away_the_catalogue_stays_and_says_that_it_is_behind(own_redis: RedisServer) -> None:
    versions = VersionStore.connect(own_redis.url, "shop")
    store = CatalogueStore(versions)
    store.items.write([Write("cup", Item(hidden=True))])
    live = LiveCatalogue(store, poll_seconds=0.05)
    live.start()
    try:
        until(lambda: live.catalogue.current.revision == 1)
        own_redis.client().save()
        own_redis.kill()
        until(lambda: live.behind)
        assert not shown(live, "cup")
        own_redis.start()
        store.items.write([Write("cup", Item())])
        until(lambda: not live.behind and shown(live, "cup"))
    finally:
        live.stop()
        versions.close()


def test_a_user_of_redis_without_channels_follows_by_looking(
    shared_redis: RedisServer, store: CatalogueStore, versions: VersionStore
) -> None:
    with shared_redis.client() as admin:
        admin.execute_command("ACL", "SETUSER", "deaf", "on", ">pass", "resetchannels", "~*", "+@all")
    deaf = VersionStore.connect(shared_redis.url.replace("//", "//deaf:pass@"), versions.model)
    live = LiveCatalogue(CatalogueStore(deaf), poll_seconds=0.02)
    live.start()
    try:
        for number in range(3):
            store.items.write([Write("cup", Item(hidden=number % 2 == 0))])
            until(lambda number=number: live.catalogue.current.revision == number + 1)
            assert shown(live, "cup") is (number % 2 == 1)
        assert not live.behind
    finally:
        live.stop()
        deaf.close()
        with shared_redis.client() as admin:
            admin.execute_command("ACL", "DELUSER", "deaf")


def test_a_document_that_cannot_be_read_is_left_out_and_the_others_are_there(
    store: CatalogueStore, versions: VersionStore
) -> None:
    store.items.write([Write("cup", Item()), Write("pot", Item(hidden=True))])
    versions.redis.hset(f"{versions.keys.prefix}catalogue:items", "cup", b"1 {broken")
    live = LiveCatalogue(store, poll_seconds=1.0)
    live.catch_up()
    assert (live.catalogue.current.items, shown(live, "pot")) == (1, False)
