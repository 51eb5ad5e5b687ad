"""A worker with another visitor salt than its model's learns nothing and says which setting to correct."""

from __future__ import annotations

import json
from collections.abc import Callable

from benchmarks.harness.waiting import wait_until
from tests.integration.harness.checking import assert_every_event_counted_once, learned_everything, store_of
from tests.integration.harness.kafka_client import Message, produce
from tests.integration.harness.worker_process import WorkerProcess

SALT, OTHER = "a salt of this test, 0123456789", "another salt of this test, 9876"


def click(environment: dict[str, str], first: int, count: int) -> dict[tuple[str, int], int]:
    """Write clicks to partition 0; gives the ends to wait for."""
    topic = environment["CORRENTE_CLICKS_TOPIC"]
    events = [{"item": f"item {n % 9}", "user": f"visitor {n % 7}"} for n in range(first, first + count)]
    messages = [Message(topic, json.dumps(event).encode(), event["user"].encode(), partition=0) for event in events]
    produce(environment["CORRENTE_KAFKA"], messages)
    return {(topic, 0): first + count}


def test_a_worker_with_another_salt_is_refused_and_the_right_one_goes_on(
    environment: dict[str, str], make_topics: Callable[..., None], worker: Callable[..., WorkerProcess]
) -> None:
    make_topics(1)
    environment["CORRENTE_MODEL__VISITOR_SALT"] = SALT
    first = worker()
    ends = click(environment, 0, 200)
    wait_until(lambda: learned_everything(environment, ends), "the first clicks to be learned", 60.0)
    assert first.stop() == 0
    store = store_of(environment)
    before = store.latest()
    fence = store.redis.hgetall(store.keys.fence(0))

    wrong = worker(CORRENTE_MODEL__VISITOR_SALT=OTHER)
    more = click(environment, 200, 100)
    wrong.wait_for_log("Set CORRENTE_MODEL__VISITOR_SALT to the salt of the model's workers")
    assert wrong.stop() == 0
    assert store.latest() == before
    assert store.redis.hgetall(store.keys.fence(0)) == fence, "it did not even take the shard over"

    right = worker(CORRENTE_MODEL__VISITOR_SALT=SALT)
    wait_until(lambda: learned_everything(environment, more), "the other clicks to be learned", 60.0)
    assert right.stop() == 0
    store.close()
    assert_every_event_counted_once(environment, 1)
    for running in (first, wrong, right):
        log = running.log.read_text(errors="replace")
        assert SALT not in log
        assert OTHER not in log


def test_a_worker_with_a_weak_salt_warns_and_says_how_to_go_over_to_another(
    environment: dict[str, str], make_topics: Callable[..., None], worker: Callable[..., WorkerProcess]
) -> None:
    make_topics(1)
    running = worker(CORRENTE_MODEL__VISITOR_SALT="short")
    running.wait_for_log("the visitor salt is weak")
    running.wait_for_log("docs/how-to/change-the-visitor-salt.md")
    running.wait_for_log("learning from here on")
    assert running.stop() == 0
