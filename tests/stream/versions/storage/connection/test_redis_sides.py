"""Versions are written, read, compacted and announced on every kind of Redis, and wrong credentials are named."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.crc import key_slot

from benchmarks.harness.waiting import wait_until
from stream.catalogue.filters import NO_FILTER
from stream.catalogue.item import Item
from stream.catalogue_store.live import LiveCatalogue
from stream.catalogue_store.store import CatalogueStore, Write
from stream.settings import load_settings
from stream.state.table_writer import TableWriter
from stream.state.tables import Tables
from stream.versions import Policy, ShardReport, VersionStore
from stream.versions.compaction import compact
from tests.connections.redis_side import PASSWORD, SIDES, ClusterSlot, RedisSide, redis_side

TIGHT = Policy(keep_last=2, keep_minutes=0, keep_hours=0, keep_days=0)


@pytest.fixture(scope="module", params=SIDES)
def side(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisSide]:
    with redis_side(request.param, tmp_path_factory.mktemp("redis")) as found:
        yield found


@pytest.fixture(scope="module")
def sentinels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisSide]:
    with redis_side("sentinel", tmp_path_factory.mktemp("redis")) as found:
        yield found


def store_of(side: RedisSide, model: str = "shop", **settings: str) -> VersionStore:
    return VersionStore.connect(load_settings({**side.environment, **settings}).redis_address, model)


def until_it_works(call: Callable[[], Any]) -> Any:
    """The result of a call that is repeated while Redis is away, as a worker does it."""

    def attempt() -> Any:
        try:
            return [call()]
        except redis.exceptions.RedisError:
            return None

    return wait_until(attempt, "Redis to answer", 60.0)[0]


def test_versions_are_written_read_compacted_and_announced(
    side: RedisSide, another: Callable[..., Any], loaded: Callable[..., Tables]
) -> None:
    store = store_of(side)
    heard: list[Any] = []
    listening = threading.Event()

    def listen() -> None:
        for announcement in store.announcements(wait_seconds=0.05):
            listening.set()
            heard.append(announcement)
            if announcement is not None:
                return

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    assert listening.wait(10.0), "subscribed"
    publisher = another(store)
    for row in range(12):
        version = publisher.publish(row, 3 * row)
        assert loaded(store, 0, version.shards[0]) == publisher.learner.tables, side.name
    thread.join(10.0)
    assert heard[-1].number == 1
    store.move_alias("canary", 3, who="ada", why="a look", now=publisher.now)
    assert store.version("canary").number == 3
    assert [move.name for move in store.history()] == ["canary"]
    assert store.version(version.id[:8]).number == version.number
    assert compact(store, 0, TIGHT, publisher.now).versions_dropped > 0
    assert [each.number for each in store.versions()][-1] == 3
    assert loaded(store, 0, store.version(12).shards[0]) == publisher.learner.tables
    assert store.report(0, publisher.claim, "ada", ShardReport())
    assert store.stopped_shards(publisher.now) == []
    assert all("can't" not in problem for problem in store.redis_problems())
    store.close()


def test_a_catalogue_is_written_listed_and_followed(side: RedisSide) -> None:
    store = store_of(side, "catalogue")
    catalogue = CatalogueStore(store)
    live = LiveCatalogue(catalogue, poll_seconds=0.05)
    live.start()
    try:
        for number in range(3):
            catalogue.items.write([Write(f"i{number}", Item(hidden=number == 1)), Write("gone", None)])
        catalogue.items.change("i2", {"price": 3})
        assert [each.revision for each in catalogue.items.page(None, 10)[0]] == [1, 3, 7], side.name
        assert catalogue.items.count() == 3
        wait_until(lambda: live.catalogue.current.revision == 7, "the catalogue is followed", 30.0)
        view = live.catalogue.view(NO_FILTER, None)
        assert [view.shows(item) for item in ("i0", "i1", "i2", "gone", "unknown")] == [True, False, True, False, True]
    finally:
        live.stop()
        store.close()


def test_wrong_credentials_are_named_and_no_password_is_shown(side: RedisSide) -> None:
    store = store_of(side, **side.wrong)
    with pytest.raises(redis.exceptions.RedisError) as refused:
        store.latest()
    assert side.wrong_says in str(refused.value)
    assert PASSWORD not in str(refused.value)
    assert "another" not in str(refused.value)
    store.close()


# ---- users


def test_the_documented_rights_are_those_that_are_used(tmp_path: Path, another: Callable[..., Any]) -> None:
    from stream.catalogue_store import scripts as catalogue_scripts
    from stream.versions.storage import access_scripts, heal_scripts, reshard_scripts, scripts
    from tests.connections.redis_side import documented_rights

    sources = [
        text
        for module in (scripts, access_scripts, heal_scripts, reshard_scripts, catalogue_scripts)
        for text in vars(module).values()
        if isinstance(text, str)
    ]
    used = {command.lower() for text in sources for command in re.findall(r"redis\.call\('(\w+)'", text)}
    with redis_side("user", tmp_path) as side:
        with side.client() as admin:
            admin.config_resetstat()
        test_versions_are_written_read_compacted_and_announced(side, another, loaded_of)
        test_a_catalogue_is_written_listed_and_followed(side)
        with side.client() as admin:
            counted = admin.info("commandstats").items()
    used |= {name.removeprefix("cmdstat_") for name, row in counted if row["calls"] > row["rejected_calls"]}
    of_the_test = {"config|resetstat", "auth", "hello"}
    of_the_library = {"client|setinfo"}  # redis-py names itself, and goes on if it may not
    elsewhere = {"srem", "xrange", "xrevrange"}  # merging shards; the command that reads the audit trail
    rights = {right[1:] for right in documented_rights() if right.startswith("+")}
    assert rights == used - of_the_test - of_the_library | elsewhere


def loaded_of(store: VersionStore, partition: int, state: Any) -> Tables:
    from tests.stream.versions.conftest import SPECS

    tables = Tables(SPECS)
    store.load(partition, state, TableWriter(tables))
    return tables


# ---- sentinels


def test_a_connection_that_a_failover_did_not_break_asks_for_the_master_again(
    sentinels: RedisSide, another: Callable[..., Any], loaded: Callable[..., Tables], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_of(sentinels, "unbroken")
    publisher = another(store)
    replica = sentinels.nodes[1 - master_of(sentinels)]
    pool = store.redis.connection_pool
    connection = pool.get_connection()
    connection.disconnect()
    with monkeypatch.context() as before:  # it was opened while the present replica was the master
        before.setattr(connection._discovery, "find", lambda: replica.address)
        before.setattr(connection._discovery, "check", lambda _: None)
        connection.connect()
    pool.release(connection)
    assert connection.port == replica.port
    version = publisher.publish(5)
    assert connection.port != replica.port, "READONLY, and asked again"
    assert loaded(store, 0, version.shards[0]) == publisher.learner.tables
    store.close()


def test_writes_go_to_the_new_master_after_a_failover(
    sentinels: RedisSide, another: Callable[..., Any], loaded: Callable[..., Tables]
) -> None:
    assert sentinels.failover is not None
    store = store_of(sentinels, "failover")
    publisher = another(store)
    publisher.publish(1, 2)
    before = master_of(sentinels)
    sentinels.failover()
    publisher.learner.write(3)
    checkpoint = publisher.learner.checkpoint()
    version = until_it_works(lambda: publisher.publish_checkpoint(checkpoint))
    pool = store.redis.connection_pool
    connection = pool.get_connection()
    assert connection.port == sentinels.nodes[1 - before].port
    pool.release(connection)
    assert loaded(store, 0, version.shards[0]) == publisher.learner.tables
    store.close()


def test_a_killed_master_is_replaced_by_the_one_that_the_sentinels_elect(
    tmp_path: Path, another: Callable[..., Any]
) -> None:
    with redis_side("sentinel", tmp_path) as side:
        store = store_of(side)
        publisher = another(store)
        publisher.publish(1)
        with side.client() as client:
            assert client.execute_command("WAIT", 1, 5000) == 1, "the replica has the version"
        side.nodes[0].stop(kill=True)
        publisher.learner.write(2)
        checkpoint = publisher.learner.checkpoint()
        assert until_it_works(lambda: publisher.publish_checkpoint(checkpoint)).number == 2
        store.close()


def test_a_service_that_no_sentinel_knows_is_named(sentinels: RedisSide) -> None:
    address = sentinels.environment["CORRENTE_REDIS"].replace("/shop", "/stop")
    store = store_of(sentinels, CORRENTE_REDIS=address)
    with pytest.raises(redis.exceptions.ConnectionError, match="no master called 'stop'"):
        store.latest()


def master_of(side: RedisSide) -> int:
    for number in range(2):
        with side.client(number) as client:
            if client.role()[0] == b"master":
                return number
    raise AssertionError("no master")


# ---- clusters


def test_a_model_moves_to_another_node_of_the_cluster_whole_or_not_at_all(
    tmp_path: Path, another: Callable[..., Any], loaded: Callable[..., Tables]
) -> None:
    with redis_side("cluster", tmp_path) as side:
        store = store_of(side)
        publisher = another(store)
        first = publisher.publish(1, 2)
        tables = publisher.learner.copy()
        slot = ClusterSlot(side, key_slot(store.keys.prefix.encode()))
        slot.begin()
        slot.move_keys(3)
        publisher.learner.write(3)
        checkpoint = publisher.learner.checkpoint()
        with pytest.raises(redis.exceptions.ConnectionError, match="hands the model over"):
            publisher.publish_checkpoint(checkpoint)
        with pytest.raises(redis.exceptions.ConnectionError, match="hands the model over"):
            store.latest()
        slot.finish()
        assert loaded(store, 0, first.shards[0]) == tables, "the fast read follows as well"
        version = publisher.publish_checkpoint(checkpoint)
        assert version.number == 2
        assert [each.number for each in store.versions()] == [2, 1]
        assert loaded(store, 0, version.shards[0]) == publisher.learner.tables
        with side.client(slot.source) as source:
            assert source.dbsize() == 0
        store.close()


@pytest.mark.parametrize(
    ("running", "scheme", "right"),
    [("cluster", "redis", r"redis\+cluster://"), ("plain", "redis+cluster", "redis:// in CORRENTE_REDIS")],
)
def test_an_address_of_another_kind_is_corrected(tmp_path: Path, running: str, scheme: str, right: str) -> None:
    with redis_side(running, tmp_path) as side:
        node = next(each for each in side.nodes if running == "plain" or each is not owner_of(side, "shop"))
        store = store_of(side, CORRENTE_REDIS=f"{scheme}://127.0.0.1:{node.port}")
        with pytest.raises(redis.exceptions.ConnectionError, match=right):
            store.latest()


def owner_of(side: RedisSide, model: str) -> Any:
    slot = key_slot(f"corrente:{{{model}}}:".encode())
    return side.nodes[ClusterSlot(side, slot).source]
