"""Versions that answer and that stay in memory, on a store without Redis; failures leave the last good one."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis.exceptions

from serving.loading.loader import OLDER_VERSIONS, Loader
from serving.metrics import Metrics
from serving.upstream_health import UpstreamHealth
from stream.models.settings import ModelSettings
from stream.models.state_names import TODAY, Names
from stream.versions import CorruptVersion, ShardState, UnknownVersion, Version
from stream.versions.announcements import Announcement

SETTINGS = ModelSettings(max_items=64, max_visitors=64, max_sessions=64, max_event_ids=64).model_dump()


def version(number: int, lineage: str = "one") -> Version:
    """A version of one shard that has learned nothing."""
    return Version(
        number=number,
        id=f"{lineage}-{number}",
        parent=None,
        lineage=lineage,
        created_at=float(number),
        model="shop",
        shards={0: ShardState(seq=number, digest=f"{lineage}-{number}")},
        events=0,
        metrics={},
        drift={},
        settings=SETTINGS,
        code_version="test",
    )


class FakeStore:
    """A version store of which a test decides what it names, what it raises and how long it takes."""

    model = "shop"

    def __init__(self, *versions: Version) -> None:
        self.kept = {each.number: each for each in versions}
        self.broken: set[int] = set()
        self.error: Exception | None = None
        self.checks = 0
        self.gate = threading.Event()
        self.gate.set()
        self.announced: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.listening = threading.Event()

    def served(self) -> Version | None:
        self.checks += 1
        self.gate.wait(30)
        if self.error:
            raise self.error
        return self.kept[max(self.kept)] if self.kept else None

    def version(self, name: str) -> Version:
        if self.error:
            raise self.error
        if int(name) not in self.kept:
            raise UnknownVersion(f"there is no version {name}")
        return self.kept[int(name)]

    def readable_versions(self, most: int) -> list[Version]:
        return [each for _, each in sorted(self.kept.items(), reverse=True)][:most]

    def names(self, _: int, __: ShardState) -> Names:
        return TODAY

    def load(self, _: int, state: ShardState, into: Any) -> None:
        self._check(state)
        into.begin()

    def changes(self, _: int, __: ShardState, to: ShardState) -> dict[str, Any]:
        self._check(to)
        return {}

    def _check(self, state: ShardState) -> None:
        if state.seq in self.broken:
            raise CorruptVersion("a chunk's checksum differs")

    def redis_problems(self) -> list[str]:
        return []

    def stopped_shards(self, _: float, *, silence_counts: bool) -> list[Any]:
        return []

    def announcements(self, _: float) -> Iterator[Any]:
        self.listening.set()
        while True:
            yield self.announced.get()


def loader_of(store: FakeStore, **more: Any) -> Loader:
    metrics, more = Metrics(), {"poll_seconds": 0.01, "origin": "this server", **more}
    return Loader(store, UpstreamHealth("redis"), metrics, visitor_salt="corrente", **more)


@contextlib.asynccontextmanager
async def running(store: FakeStore) -> AsyncIterator[Loader]:
    """A loader that has checked the store, and checks it again only if it is told to."""
    loader = loader_of(store)
    loader.start()
    try:
        assert await asyncio.to_thread(store.listening.wait, 120)
        await loader.caught_up()  # after the check with which listening begins, or that one
        yield loader
    finally:
        store.gate.set()
        loader._stopping.set()
        store.announced.put(Announcement(2))  # wakes the thread that listens
        await loader.stop()


async def a_further_check(store: FakeStore, checks: int) -> None:
    async with asyncio.timeout(120):
        while store.checks == checks:
            await asyncio.sleep(0.001)


def request(loader: Loader, number: int):
    return loader._load_requested(str(number))


def numbers(loader: Loader) -> list[int]:
    return [each.version.number for each in loader.in_memory()]


def test_before_anything_was_published_it_is_ready_and_serves_nothing():
    loader = loader_of(FakeStore())
    assert not loader.ready
    loader.check_store()
    assert (loader.ready, loader.served, loader.problem) == (True, None, None)


def test_the_previous_version_stays_and_older_ones_are_released():
    store = FakeStore(version(1))
    loader = loader_of(store)
    for number in (1, 2, 3):
        store.kept[number] = version(number)
        loader.check_store()
        assert loader.served.version.number == number
    assert numbers(loader) == [3, 2]


def test_the_versions_requested_last_stay():
    store = FakeStore(*map(version, range(1, 9)))
    loader = loader_of(store, resident_versions=4)
    loader.check_store()
    for number in (1, 2, 3, 2):
        request(loader, number)
    assert numbers(loader) == [8, 2, 3]
    again = request(loader, 3)
    assert again is request(loader, 3), "a version in memory is not loaded twice"


def test_no_requested_version_stays_if_there_is_no_room():
    store = FakeStore(version(1), version(2))
    loader = loader_of(store, resident_versions=2)
    loader.check_store()
    assert request(loader, 1).version.number == 1
    assert numbers(loader) == [2]


def test_versions_of_an_emptied_store_are_not_found_by_number():
    store = FakeStore(*map(version, range(1, 6)))
    loader = loader_of(store)
    loader.check_store()
    request(loader, 1)
    store.kept = {1: version(1, lineage="two")}
    loader.check_store()
    assert [each.version.id for each in loader.in_memory()] == ["two-1"]


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (CorruptVersion("a checksum differs"), "a checksum differs"),
        (ValueError("a setting of another release"), "a setting of another release"),
        (ZeroDivisionError("a bug"), "ZeroDivisionError: a bug"),
    ],
)
def test_a_failure_leaves_the_last_good_version_and_is_shown_until_it_is_over(error: Exception, problem: str):
    store = FakeStore(version(1))
    changes = []
    loader = loader_of(store, changed=lambda: changes.append(loader.problem))
    loader.check_store()
    store.error = error
    loader.check_store()
    since = loader.problem_since
    loader.check_store()
    assert (loader.served.version.number, loader.problem, loader.ready) == (1, problem, True)
    assert loader.problem_since == since is not None, "the moment at which it began"
    store.error = None
    loader.check_store()
    assert (loader.problem, loader.problem_since) == (None, None)
    assert changes == [None, problem, problem, None], "each check is reported, whatever its result"


def test_redis_that_is_down_is_no_problem_of_the_version():
    store = FakeStore(version(1))
    loader = loader_of(store)
    loader.check_store()
    store.error = redis.exceptions.ConnectionError("refused")
    loader.check_store()
    assert (loader.redis.up, loader.redis.reason) == (False, "ConnectionError: refused")
    assert (loader.served.version.number, loader.problem) == (1, None)


def test_a_start_on_broken_versions_takes_the_newest_good_one():
    store = FakeStore(*map(version, range(1, 8)))
    store.broken = {5, 6, 7}
    loader = loader_of(store)
    loader.check_store()
    assert (loader.served.version.number, loader.ready) == (4, True)
    assert "checksum" in loader.problem
    store.broken = {5, 6, 7, 4}
    loader.check_store()
    assert loader.served.version.number == 4, "a version in memory continues to answer"


def test_a_start_tries_a_limited_number_of_versions():
    store = FakeStore(*map(version, range(1, OLDER_VERSIONS + 2)))
    store.broken = set(range(2, OLDER_VERSIONS + 2))
    loader = loader_of(store)
    loader.check_store()
    assert (loader.served, loader.ready) == (None, False)
    del store.kept[OLDER_VERSIONS + 1]
    loader.check_store()
    assert loader.served.version.number == 1


async def test_many_announcements_during_one_check_are_one_check_afterwards():
    store = FakeStore(version(1))
    async with running(store) as loader:
        checks = store.checks
        store.gate.clear()
        loader.submit_check()
        await a_further_check(store, checks)
        for _ in range(100):
            store.announced.put(Announcement(2))
        while not store.announced.empty():
            await asyncio.sleep(0.01)
        store.gate.set()
        await loader.caught_up()  # queued behind every check that was announced
        assert loader.served.version.number == 1
        assert store.checks <= checks + 3, "the check under way, one for all announcements, and this one"


async def test_who_moved_an_alias_waits_for_no_check_beyond_the_one_that_has_begun_since():
    store = FakeStore(version(1))
    async with running(store) as loader:
        begun, checks = loader.checks_begun, store.checks
        store.gate.clear()
        store.announced.put(Announcement(2))
        await a_further_check(store, checks)
        since, later = loader.submit_check(begun), loader.submit_check()
        assert not since.done()
        store.kept[2] = version(2)
        store.gate.set()
        async with asyncio.timeout(120):
            await asyncio.wrap_future(since)
            assert loader.served.version.number == 2
            await asyncio.wrap_future(later)
        assert store.checks == checks + 2, "the one that was announced, and the one that begins later"
        assert loader.submit_check(begun).done()
        assert store.checks == checks + 2


async def test_a_change_of_ones_own_is_checked_once_without_being_announced():
    store = FakeStore(version(1))
    async with running(store) as loader:
        checks = store.checks
        store.gate.clear()
        loader.submit_check()
        await a_further_check(store, checks)  # it may have read the store before the change
        store.kept[2] = version(2)
        begun = await asyncio.to_thread(loader.store_changed)
        queued = loader.submit_check(begun)
        assert not queued.done()
        store.gate.set()
        async with asyncio.timeout(120):
            await asyncio.wrap_future(queued)
        assert loader.served.version.number == 2
        await loader.caught_up(begun)
        assert store.checks == checks + 2, "the one that ran when the store changed, and one for the change"
        store.kept[3] = version(3)
        loader.store_changed()
        async with asyncio.timeout(120):
            while loader.served.version.number != 3:  # also if nobody waits for it
                await asyncio.sleep(0.001)


async def test_announcements_of_ones_own_changes_are_passed_over():
    store = FakeStore(version(1))
    async with running(store) as loader:
        checks = store.checks
        for _ in range(2):  # the second is taken once the first was heeded, or passed over
            store.announced.put(Announcement(2, alias="pinned", origin="this server"))
            while not store.announced.empty():
                await asyncio.sleep(0.001)
        with pytest.raises(UnknownVersion):
            await loader.answering("99")  # behind every check that was queued
        assert store.checks == checks
        for origin in ("another server", ""):
            store.announced.put(Announcement(2, alias="pinned", origin=origin))
            await a_further_check(store, checks)
            checks = store.checks


async def test_an_error_of_the_store_reaches_the_request_as_it_is():
    store = FakeStore(version(1))
    loader = loader_of(store)
    loader.start()
    try:
        with pytest.raises(UnknownVersion, match="there is no version 99"):
            await loader.answering("99")
        store.error = redis.exceptions.TimeoutError("no answer")
        with pytest.raises(redis.exceptions.TimeoutError, match="no answer"):
            await loader.answering("98")
    finally:
        loader._stopping.set()
        store.announced.put(Announcement(2))
        await loader.stop()
