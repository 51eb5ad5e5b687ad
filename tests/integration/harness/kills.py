"""A worker that is killed at random moments while records come, and what has to hold afterwards."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from benchmarks.harness.waiting import wait_until
from stream.shard.counters import learned_events
from tests.integration.harness.checking import ends_of, learned_everything, store_of
from tests.integration.harness.kafka_client import read_all
from tests.integration.harness.worker_process import WorkerProcess

KILLS = 3


class Portion(NamedTuple):
    """Records that are sent while a worker is killed.

    Attributes:
        send: writes them.
        events: number of events in the good ones.
        broken: number of records that become dead letters.
    """

    send: Callable[[], None]
    events: int
    broken: int


def count_each_event_once_through_kills(
    environment: dict[str, str],
    worker: Callable[..., WorkerProcess],
    portion: Callable[[random.Random, int], Portion],
) -> None:
    """Send portions, kill the worker amid each, and check that every event is learned once and every letter written.

    Args:
        environment: of the system, whose topics have one shard.
        worker: starts a worker.
        portion: makes the records of the kill with this number.
    """
    seed = int(os.environ.get("SEED") or time.time_ns())
    print(f"SEED={seed} repeats the records and the moments of the kills")
    chance = random.Random(seed)
    environment |= {"CORRENTE_SESSION_TIMEOUT_SECONDS": "2", "CORRENTE_KEEP_LAST": "1000000", "CORRENTE_SHARDS": "1"}
    portions = []
    running = worker()
    for kill in range(KILLS):
        portions.append(portion(chance, kill))
        before = progress(environment)
        sending = threading.Thread(target=portions[-1].send)
        sending.start()
        wait_until(lambda before=before: progress(environment) > before, "some of them to be in a version", 60.0)
        time.sleep(chance.uniform(0.0, 0.3))  # a random moment, not a wait for something
        running.kill()
        sending.join()
        running = worker()
    running.wait_for_log("learning from here on")
    wait_until(lambda: learned_everything(environment, ends_of(environment)), "everything to be learned", 60.0)
    assert running.stop() == 0
    events = sum(each.events for each in portions)
    assert progress(environment) == events
    store = store_of(environment)
    (shard,) = store.latest().shards.values()
    store.close()
    assert sum(map(learned_events, shard.counters.values())) == events
    letters = read_all(environment["CORRENTE_KAFKA"], [environment["CORRENTE_DEAD_LETTERS_TOPIC"]])
    assert len({letter.key for letter in letters}) == sum(each.broken for each in portions)


def progress(environment: dict[str, str]) -> int:
    """Number of events in the newest version."""
    store = store_of(environment)
    newest = store.latest()
    store.close()
    return newest.events if newest else 0
