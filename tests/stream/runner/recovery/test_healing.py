"""A shard on a real Redis that has lost keys: it goes on from what is whole, and learns again what Kafka has."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from stream.models.schema import table_specs
from stream.runner.task import ShardRunner
from stream.state.table_writer import TableWriter
from stream.state.tables import Tables
from stream.versions import Version, VersionStore
from stream.versions.compaction import compact
from stream.versions.damage.suspicion import DAMAGE_SECONDS, Suspicions
from tests.stream.runner.conftest import ASSIGNMENT, CLICKS, SETTINGS, Bench
from tests.stream.runner.fakes import FakeCompaction
from tests.stream.runner.recovery.test_failures import pass_time
from tests.stream.versions.conftest import RedisServer

SHARD = ASSIGNMENT.shard
_models = itertools.count()


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@pytest.fixture
async def shop(make_bench: Callable[..., Bench], redis_server: RedisServer) -> Bench:
    """A runner whose store is a real one."""
    bench = make_bench()
    bench.resources.store = VersionStore.connect(redis_server.url, f"model-{next(_models)}")
    return bench


def store_of(bench: Bench) -> VersionStore:
    return bench.resources.store


def seq(version: Version) -> int:
    return version.shards[SHARD].seq


async def learn_versions(bench: Bench, count: int) -> list[Version]:
    """Twenty clicks for each of so many versions, in an open shard."""
    versions = []
    for _ in range(count):
        await bench.learn(20)
        await bench.publish()
        newest = store_of(bench).latest()
        assert newest is not None
        versions.append(newest)
    return versions


async def start_again(bench: Bench) -> None:
    """Let a new worker process take the shard over."""
    await bench.runner.drop()
    bench.resources.newest_number, bench.resources.suspicions = 0, Suspicions()
    bench.runner = ShardRunner(ASSIGNMENT, bench.resources)


async def learn_again(bench: Bench) -> None:
    """Start the shard and let time pass until everything that Kafka has is in a version."""
    end = bench.kafka.end(CLICKS)
    bench.runner.start()
    await pass_time(bench, lambda: bench.runner.published.get(CLICKS) == end and bench.settled, "all to be learned")


def loaded(store: VersionStore, version: Version) -> Tables:
    tables = Tables(table_specs(SETTINGS.model))
    store.load(SHARD, version.shards[SHARD], TableWriter(tables))
    return tables


def delete_chunks(store: VersionStore, version: Version, field: str) -> None:
    """Delete the chunks that a state's record names in `delta` or `keyframe`."""
    (record,) = [each for each in store.chain(SHARD, version.shards[SHARD], "root") or [] if each.seq == seq(version)]
    for ref in getattr(record, field):
        assert store.redis.delete(store.keys.chunk(ref.name))


def delete(store: VersionStore, *keys: str) -> None:
    assert store.redis.delete(*keys) == len(keys)


def newest_delta(store: VersionStore, versions: list[Version]) -> int:
    delete_chunks(store, versions[2], "delta")
    return 40


def middle_delta(store: VersionStore, versions: list[Version]) -> int:
    delete_chunks(store, versions[1], "delta")
    return 20


def keyframe(store: VersionStore, versions: list[Version]) -> int:
    delete_chunks(store, versions[0], "keyframe")
    return 0


def other_bytes(store: VersionStore, versions: list[Version]) -> int:
    chunk = (store.chain(SHARD, versions[2].shards[SHARD], "root") or [])[0].delta[0]
    store.redis.setrange(store.keys.chunk(chunk.name), 64, b"other bytes")
    return 40


def newest_record(store: VersionStore, versions: list[Version]) -> int:
    delete(store, store.keys.state(SHARD, seq(versions[2])))
    return 40


def middle_record(store: VersionStore, versions: list[Version]) -> int:
    delete(store, store.keys.state(SHARD, seq(versions[1])))
    return 20


def head(store: VersionStore, _: list[Version]) -> int:
    delete(store, store.keys.head(SHARD))
    return 60


LOSSES = (newest_delta, middle_delta, keyframe, other_bytes, newest_record, middle_record, head)


@pytest.mark.parametrize("lose", LOSSES)
async def test_a_shard_goes_on_from_its_newest_whole_state_in_a_new_lineage(
    shop: Bench, lose: Callable[[VersionStore, list[Version]], int]
) -> None:
    store = store_of(shop)
    await shop.open()
    versions = await learn_versions(shop, 3)
    before = loaded(store, versions[2])
    await start_again(shop)
    whole = lose(store, versions)
    started = shop.clock.now
    await learn_again(shop)
    assert shop.kafka.starts[-1][CLICKS] == whole
    assert shop.clock.now - started >= DAMAGE_SECONDS
    way = "older_state" if whole else "beginning"
    assert shop.metric("healed_total", way=way) == 1
    (line,) = shop.logged("Redis has lost a part of")
    assert line["log_level"] == "error"
    assert (line["damaged"], line["state"]) == (seq(versions[2]), seq(versions[whole // 20 - 1]) if whole else None)
    if whole < 60:
        newest = store.latest()
        assert newest is not None
        assert newest.number > versions[2].number
        assert newest.lineage != versions[2].lineage
        assert newest.shards[SHARD].counters["clicks"]["learned"] == 60
        assert loaded(store, newest) == before, "what is learned again is what was learned"
    assert store.aliases()["damaged-shard-3"] == versions[2].number
    assert "Redis has lost a part" in store.history(1)[0].why


async def test_a_shard_that_began_anew_goes_on_after_a_restart_before_its_first_version(shop: Bench) -> None:
    store = store_of(shop)
    await shop.open()
    versions = await learn_versions(shop, 2)
    await start_again(shop)
    keyframe(store, versions)
    shop.runner.start()
    await pass_time(shop, lambda: len(shop.kafka.starts) == 2, "the shard to begin anew")
    await start_again(shop)
    started = shop.clock.now
    await learn_again(shop)
    assert shop.clock.now - started < DAMAGE_SECONDS, "nothing is damaged any more"
    assert shop.metric("healed_total", way="beginning") == 1


async def test_a_chunk_that_is_back_at_the_second_look_was_not_lost(shop: Bench) -> None:
    store = store_of(shop)
    await shop.open()
    versions = await learn_versions(shop, 3)
    await start_again(shop)
    chunk = (store.chain(SHARD, versions[2].shards[SHARD], "root") or [])[0].delta[0].name
    kept = store.redis.get(store.keys.chunk(chunk))
    delete(store, store.keys.chunk(chunk))
    shop.runner.start()
    await pass_time(shop, lambda: shop.logged("can't open the shard yet"), "the first look")
    standing = shop.runner.standing
    assert standing is not None
    assert (standing.reason, chunk in standing.detail) == ("version", True)
    store.redis.set(store.keys.chunk(chunk), kept)
    await pass_time(shop, lambda: len(shop.kafka.starts) == 2, "the shard to be opened")
    assert shop.kafka.starts[-1][CLICKS] == 60
    claim = shop.runner.claim
    assert claim is not None
    assert not claim.new_lineage


async def test_a_lost_keyframe_costs_nothing_where_deltas_lead_to_its_state(shop: Bench) -> None:
    store = store_of(shop)
    await shop.open()
    versions = await learn_versions(shop, 3)
    record = (store.chain(SHARD, versions[2].shards[SHARD], "root") or [])[0]
    delta = store.redis.hget(store.keys.state(SHARD, record.seq), "delta")
    store.redis.hset(store.keys.state(SHARD, record.seq), "keyframe", delta.replace(b'"name":"', b'"name":"lost-'))
    await start_again(shop)
    await learn_again(shop)
    assert shop.kafka.starts[-1][CLICKS] == 60
    newest = store.latest()
    assert newest is not None
    assert newest.number == versions[2].number


def latest(store: VersionStore, _: list[Version]) -> list[str]:
    delete(store, store.keys.latest)
    return ["latest"]


def version_list(store: VersionStore, _: list[Version]) -> list[str]:
    delete(store, store.keys.versions)
    return ["versions"]


def both_lists(store: VersionStore, _: list[Version]) -> list[str]:
    delete(store, store.keys.versions, store.keys.latest)
    return ["versions", "latest"]


def ids(store: VersionStore, _: list[Version]) -> list[str]:
    delete(store, store.keys.ids)
    return ["ids"]


def newest_manifest(store: VersionStore, versions: list[Version]) -> list[str]:
    delete(store, store.keys.version(versions[2].number))
    return ["latest"]


def state_list(store: VersionStore, _: list[Version]) -> list[str]:
    delete(store, store.keys.states(SHARD))
    return ["shard:3:states"]


def fence(store: VersionStore, _: list[Version]) -> list[str]:
    delete(store, store.keys.fence(SHARD))
    return []


def store_key(store: VersionStore, _: list[Version]) -> list[str]:
    delete(store, store.keys.store)
    return []


def aliases(store: VersionStore, versions: list[Version]) -> list[str]:
    store.move_alias("pinned", versions[0].number, who="ada", why="bad lists", now=1.0)
    store.move_alias("gone", versions[0].number, who="ada", why="", now=2.0)
    store.move_alias("gone", None, who="ada", why="", now=3.0)
    delete(store, store.keys.aliases)
    return ["aliases"]


def changed_manifest(store: VersionStore, versions: list[Version]) -> list[str]:
    store.redis.hset(store.keys.version(versions[2].number), "manifest", b"{}")
    return ["latest"]


INDEXES = (
    *(latest, version_list, both_lists, ids, newest_manifest, changed_manifest),
    *(state_list, fence, store_key, aliases),
)


@pytest.mark.parametrize("running", [True, False], ids=["while it learns", "before it starts"])
@pytest.mark.parametrize("lose", INDEXES)
async def test_lost_lists_are_rebuilt_and_no_number_is_given_twice(
    shop: Bench, lose: Callable[[VersionStore, list[Version]], list[str]], running: bool
) -> None:
    store = store_of(shop)
    await shop.open()
    versions = await learn_versions(shop, 3)
    if not running:
        await start_again(shop)
    expected = lose(store, versions)
    shop.write(20)
    await learn_again(shop)
    newest = store.latest()
    assert newest is not None
    assert newest.number > versions[2].number, "no number is given twice"
    assert newest.shards[SHARD].counters["clicks"]["learned"] == 80
    assert loaded(store, newest).keys() == loaded(store, versions[1]).keys()
    assert store.version(newest.id) == newest
    if not running:
        assert [line["keys"] for line in shop.logged("Redis has lost keys")] == ([expected] if expected else [])
        assert {each.number for each in store.versions()} >= {versions[0].number, versions[1].number, newest.number}
        assert store.version(versions[1].id) == versions[1]
        if lose is aliases:
            assert store.aliases() == {"latest": newest.number, "pinned": versions[0].number}


@pytest.mark.parametrize("lose", [newest_delta, middle_delta, keyframe, newest_record, middle_record])
async def test_a_part_lost_while_learning_is_replaced_by_a_keyframe_from_the_live_tables(
    shop: Bench, lose: Callable[[VersionStore, list[Version]], int]
) -> None:
    store = store_of(shop)
    shop.resources.compact = partial(compact, store)
    await shop.open()
    versions = await learn_versions(shop, 3)
    lose(store, versions)
    if lose is newest_record:
        versions += await learn_versions(shop, 1)
    await pass_time(shop, lambda: shop.logged("Redis has lost parts of versions"), "compaction to find the hole")
    assert shop.metric("lost_chunks", partition="3") == (lose not in (newest_record, middle_record))
    assert shop.logged("Redis has lost parts of versions")[0]["newest_is_damaged"]
    (newest,) = await learn_versions(shop, 1)
    assert shop.metric("healed_total", way="keyframe") == 1
    claim = shop.runner.claim
    assert claim is not None
    assert claim.head == newest.shards[SHARD]
    assert newest.lineage == versions[0].lineage
    await start_again(shop)
    await learn_again(shop)
    assert shop.kafka.starts[-1][CLICKS] == shop.kafka.end(CLICKS), "the keyframe needs nothing that is lost"
    assert shop.metric("compaction_failures_total") == 0


async def test_a_compaction_that_fails_is_counted(shop: Bench) -> None:
    failing = FakeCompaction()
    failing.fail("compact", RedisConnectionError("no answer"), ZeroDivisionError("unforeseen"))
    shop.resources.compact = failing
    await shop.open()
    await learn_versions(shop, 1)
    await pass_time(shop, lambda: len(failing.calls) == 3, "three rounds", step=5.0)
    assert shop.metric("compaction_failures_total") == 2
