"""Every event is learned once while sentinels make other servers the master, and while a cluster moves the model.

The moments of the faults and the load follow from one seed, which is printed; `SEED=…` repeats it.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from redis.crc import key_slot

from benchmarks.harness.waiting import wait_until
from tests.connections.redis_side import ClusterSlot, RedisSide, redis_side
from tests.integration.harness.checking import assert_every_event_counted_once, learned_everything, store_of
from tests.integration.harness.kafka_client import read_all
from tests.integration.harness.worker_process import WorkerProcess
from tests.integration.workers.test_exactly_once import Load, wait_for_progress

FAILOVERS = 3


def fail_over(side: RedisSide, environment: dict[str, str], start: Callable[[], WorkerProcess]) -> WorkerProcess:
    """Other masters, with a worker that is killed in between; returns the running one."""
    running = start()
    wait_for_progress(environment)
    for _ in range(FAILOVERS):
        assert side.failover is not None
        side.failover()
        wait_for_progress(environment, 200)
        running.kill()
        running = start()
        wait_for_progress(environment, 200)
    return running


def move_the_model(side: RedisSide, environment: dict[str, str], start: Callable[[], WorkerProcess]) -> WorkerProcess:
    """The model's slot on another node, key by key, while a worker publishes; returns the worker."""
    running = start()
    wait_for_progress(environment)
    store = store_of(environment)
    slot = ClusterSlot(side, key_slot(store.keys.prefix.encode()))
    store.close()
    slot.begin()
    slot.move_keys(5)
    running.wait_for_log("hands the model over")
    slot.finish()
    wait_for_progress(environment, 200)
    return running


@pytest.mark.fault
@pytest.mark.long
@pytest.mark.unmeasured
@pytest.mark.timeout(300, func_only=True)
@pytest.mark.parametrize(("kind", "faults"), [("sentinel", fail_over), ("cluster", move_the_model)])
def test_every_event_counts_once_while_another_redis_becomes_the_right_one(
    environment: dict[str, str],
    make_topics: Callable[..., None],
    worker: Callable[..., WorkerProcess],
    tmp_path: Path,
    kind: str,
    faults: Callable[[RedisSide, dict[str, str], Callable[[], WorkerProcess]], WorkerProcess],
) -> None:
    seed = int(os.environ.get("SEED") or time.time_ns())
    print(f"SEED={seed} repeats the load")
    with redis_side(kind, tmp_path / "redis") as side:
        environment |= {
            **side.environment,
            "CORRENTE_SESSION_TIMEOUT_SECONDS": "2",
            "CORRENTE_KEEP_LAST": "1000000",
            "CORRENTE_SHARDS": "1",
        }
        make_topics(4)
        load = Load(environment, seed).start()
        running = faults(side, environment, worker)
        load.stop()
        records = read_all(environment["CORRENTE_KAFKA"], list(load.acknowledged))
        stored = Counter((record.topic, record.partition) for record in records)
        wait_until(lambda: learned_everything(environment, stored), "everything to be learned", 60.0)
        assert running.stop() == 0
        assert_every_event_counted_once(environment, 1)
