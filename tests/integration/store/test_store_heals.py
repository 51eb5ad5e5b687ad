"""A Redis that loses keys, or comes back as an older copy, with a real Kafka, worker and server: learning heals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from benchmarks.harness.servers import RedisServer
from benchmarks.harness.waiting import wait_until
from stream.versions import Version, VersionStore
from stream.versions.storage.records import read_records
from tests.integration.conftest import quick_to_time_out
from tests.integration.harness.checking import assert_every_event_counted_once, store_of
from tests.integration.harness.server_process import ServerProcess, running_server
from tests.integration.harness.worker_process import WorkerProcess
from tests.integration.workers.test_worker import clicks, wait_for

pytestmark = [pytest.mark.fault, pytest.mark.long]


@pytest.fixture
def own_redis(environment: dict[str, str], tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that a test may break."""
    with RedisServer(tmp_path / "redis") as server:
        environment["CORRENTE_REDIS"] = quick_to_time_out(server.url)
        yield server


def newest(store: VersionStore) -> Version:
    version = store.latest()
    assert version is not None
    return version


def served(server: ServerProcess) -> int | None:
    number: int | None = server.health()["version"]
    return number


@pytest.mark.parametrize("lost", ["newest delta", "every keyframe"])
def test_a_lost_chunk_is_healed_and_servers_keep_the_last_version_until_then(
    environment: dict[str, str],
    make_topics: Callable[..., None],
    worker: Callable[..., WorkerProcess],
    own_redis: RedisServer,
    lost: str,
) -> None:
    make_topics(1)
    running = worker()
    wait_for(environment, clicks(environment, 0, 300))
    wait_for(environment, clicks(environment, 300, 300))
    assert running.stop() == 0
    store = store_of(environment)
    before = newest(store)
    with running_server(environment) as server:
        server.wait_for_version(before.id)
        records = read_records(store.space, 0)
        head = records[before.shards[0].seq]
        refs = (
            head.delta if lost == "newest delta" else [ref for each in records.values() for ref in each.keyframe or []]
        )
        assert refs
        store.redis.delete(*(store.keys.chunk(ref.name) for ref in refs))
        again = worker()
        again.wait_for_log("learning goes on from the newest whole one" if lost == "newest delta" else "begins anew")
        assert (served(server) or 0) >= before.number
        ends = clicks(environment, 600, 300)
        wait_for(environment, ends)
        after = newest(store)
        assert after.number > before.number
        assert after.lineage != before.lineage
        wait_until(lambda: served(server) == newest(store).number, "the new lineage to be served", 60.0)
        assert store.aliases()["damaged-shard-0"] == before.number
    store.close()
    assert again.stop() == 0
    assert_every_event_counted_once(environment, 1)


def test_a_copy_that_is_restored_while_everything_is_down_begins_a_new_lineage_and_nothing_counts_twice(
    environment: dict[str, str],
    make_topics: Callable[..., None],
    worker: Callable[..., WorkerProcess],
    own_redis: RedisServer,
) -> None:
    make_topics(1)
    running = worker()
    wait_for(environment, clicks(environment, 0, 300))
    with redis.Redis.from_url(own_redis.url) as client:
        client.save()
    copied = (own_redis.folder / "dump.rdb").read_bytes()
    wait_for(environment, clicks(environment, 300, 300))
    store = store_of(environment)
    lost = newest(store)
    running.kill()
    own_redis.stop(kill=True)
    (own_redis.folder / "dump.rdb").write_bytes(copied)
    own_redis.start()
    assert newest(store).number < lost.number
    again = worker()
    again.wait_for_log("a new lineage of versions begins")
    wait_for(environment, clicks(environment, 600, 300))
    assert newest(store).lineage != lost.lineage
    assert len({(each.lineage, each.number) for each in [*store.versions(), lost]}) == len(store.versions()) + 1
    store.close()
    assert again.stop() == 0
    assert_every_event_counted_once(environment, 1)
