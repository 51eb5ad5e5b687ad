"""Several workers on few shards: one learns a shard, the others stand by, and no event counts twice or is lost.

The moments of the kills and the load follow from one seed, which is printed; `SEED=…` repeats it.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable

import pytest

from benchmarks.harness.events import load_events, preload
from benchmarks.harness.processes import metrics, total
from benchmarks.harness.servers import free_port
from benchmarks.harness.waiting import wait_until
from stream.settings import load_settings
from tests.integration.harness import kafka_client
from tests.integration.harness.checking import Layout, assert_every_event_counted_once, ends_of, learned_everything
from tests.integration.harness.worker_process import WorkerProcess
from tests.integration.workers.test_exactly_once import Load, shards_learned, wait_for_progress

pytestmark = [pytest.mark.fault, pytest.mark.long]

LARGE = 100_000
"""Items and visitors of a state that takes a while to restore."""

LARGE_EVENTS = 400_000


@pytest.fixture
def seed() -> int:
    seed = int(os.environ.get("SEED") or time.time_ns())
    print(f"SEED={seed} repeats the load and the moments of the kills")
    return seed


@pytest.fixture
def start(worker: Callable[..., WorkerProcess]) -> Callable[[], WorkerProcess]:
    """Start one more worker, with metrics of its own."""
    return lambda: worker(CORRENTE_METRICS_PORT=str(free_port()))


def stands_by(running: WorkerProcess) -> bool:
    return total(metrics(int(running.environment["CORRENTE_METRICS_PORT"])), "corrente_worker_standby") == 1


def learning_one(workers: list[WorkerProcess]) -> WorkerProcess | None:
    """The only worker that learns, once all others stand by."""
    learning = [each for each in workers if shards_learned(each) == 1]
    others = [each for each in workers if stands_by(each)]
    return learning[0] if len(learning) == 1 and len(others) == len(workers) - 1 else None


def finish(environment: dict[str, str], load: Load, workers: list[WorkerProcess], shards: int) -> None:
    """Stop the load, wait until everything is learned, stop the workers and compare."""
    load.stop()
    ends = ends_of(environment)
    wait_until(lambda: learned_everything(environment, ends), "everything to be learned", 120.0)
    for each in workers:
        assert each.stop() == 0
    assert_every_event_counted_once(environment, shards)


@pytest.mark.timeout(240, func_only=True)
def test_three_workers_on_one_shard_take_over_from_each_other(
    environment: dict[str, str],
    make_topics: Callable[..., None],
    start: Callable[[], WorkerProcess],
    seed: int,
) -> None:
    environment |= {
        "CORRENTE_SHARDS": "1",
        "CORRENTE_SESSION_TIMEOUT_SECONDS": "2",
        "CORRENTE_KEEP_LAST": "1000000",
    }
    make_topics(12)
    load = Load(environment, seed).start()
    workers = [start() for _ in range(3)]
    first = wait_until(lambda: learning_one(workers), "one to learn and two to stand by", 60.0)
    wait_for_progress(environment, 500)

    first.kill()
    workers.remove(first)
    second = wait_until(lambda: learning_one(workers), "another one to learn", 60.0)
    wait_for_progress(environment, 500)

    second.pause()
    third = next(each for each in workers if each is not second)
    wait_until(lambda: shards_learned(third) == 1, "the last one to learn", 60.0)
    wait_for_progress(environment, 500)
    second.resume()  # it goes on as the owner of a shard that it has lost
    wait_until(lambda: stands_by(second), "it to stand by", 60.0)
    wait_for_progress(environment, 500)
    finish(environment, load, workers, 1)


@pytest.mark.timeout(900, func_only=True)
@pytest.mark.parametrize("layout", [Layout(12, 1), Layout(4, 2)], ids=str)
def test_workers_that_start_at_once_while_large_states_are_restored_count_every_event_once(
    environment: dict[str, str],
    make_topics: Callable[..., None],
    start: Callable[[], WorkerProcess],
    seed: int,
    layout: Layout,
) -> None:
    chance = random.Random(seed)
    environment |= {
        "CORRENTE_SHARDS": str(layout.shards),
        "CORRENTE_SESSION_TIMEOUT_SECONDS": "2",
        "CORRENTE_KEEP_LAST": "1000000",
        **{f"CORRENTE_MODEL__MAX_{rows}": str(2 * LARGE) for rows in ("ITEMS", "VISITORS", "SESSIONS")},
        "CORRENTE_MODEL__MAX_EVENT_IDS": "1000000",
    }
    make_topics(layout.partitions, {"retention.ms": "-1"})  # the history has old times
    settings = load_settings(environment)
    history = load_events(LARGE_EVENTS, visitors=LARGE, items=LARGE)
    asyncio.run(preload(settings.kafka, settings.topics, layout.partitions, history))
    ends = ends_of(environment)
    for (topic, _), end in ends.items():  # written by another client than those that count what they write
        kafka_client.acknowledged[settings.kafka, topic] += end
    only = start()
    wait_until(lambda: learned_everything(environment, ends), "the history to be learned", 300.0)
    assert only.stop() == 0

    load = Load(environment, seed).start()
    workers: list[WorkerProcess] = []
    for _ in range(3):  # each time all of them are new, and the last ones were killed while they restored or learned
        workers = [start() for _ in range(3)]
        time.sleep(chance.uniform(1.0, 6.0))  # a random moment, not a wait for something
        for each in workers:
            each.kill()
    workers = [start() for _ in range(3)]
    wait_for_progress(environment, 500)
    wait_until(
        lambda: sum(shards_learned(each) or 0 for each in workers) == layout.shards, "each shard to have one", 60.0
    )
    finish(environment, load, workers, layout.shards)
