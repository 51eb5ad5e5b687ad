"""Shards on a real Kafka: any topics learn as one model, through added partitions and topics and lost workers."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from benchmarks.harness.processes import learned, metrics, total
from benchmarks.harness.servers import free_port
from benchmarks.harness.waiting import wait_until
from tests.integration.harness.checking import assert_every_event_counted_once, learned_everything, store_of
from tests.integration.harness.kafka_client import Message, add_partitions, produce
from tests.integration.harness.kafka_client import make_topics as make_kafka_topics
from tests.integration.harness.worker_process import WorkerProcess

pytestmark = pytest.mark.fault

TOPICS = ("CLICKS", "PURCHASES", "FEEDBACK")


def write(environment: dict[str, str], topic: str, partitions: Iterable[int], count: int = 10) -> int:
    """Write events to each of these partitions; returns how many."""
    name = environment[f"CORRENTE_{topic}_TOPIC"]
    messages = [
        Message(name, json.dumps({"item": f"item {n % 7}", "user": f"visitor {partition}"}).encode(), None, partition)
        for partition in partitions
        for n in range(count)
    ]
    produce(environment["CORRENTE_KAFKA"], messages)
    return len(messages)


def make_topics(environment: dict[str, str], *counts: int) -> None:
    names = [environment[f"CORRENTE_{topic}_TOPIC"] for topic in TOPICS]
    make_kafka_topics(environment["CORRENTE_KAFKA"], dict(zip(names, counts, strict=False)))


def wait_for_learned(port: int, count: int) -> None:
    wait_until(lambda: learned(metrics(port)) == count, f"{count} events to be learned", 60.0)


def ready(port: int) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=10) as answer:
        return json.load(answer)


def test_twelve_partitions_are_one_shard_and_those_that_are_added_are_learned_without_a_restart(
    environment: dict[str, str], worker: Callable[..., WorkerProcess]
) -> None:
    port = free_port()
    make_topics(environment, 12, 3, 1)
    running = worker(CORRENTE_METRICS_PORT=str(port))
    count = write(environment, "CLICKS", [7])
    wait_for_learned(port, count)  # eleven empty partitions hold the busy one not up
    count += write(environment, "CLICKS", range(12)) + write(environment, "PURCHASES", range(3))
    wait_for_learned(port, count)
    add_partitions(environment["CORRENTE_KAFKA"], environment["CORRENTE_CLICKS_TOPIC"], 16)
    count += write(environment, "CLICKS", range(16))
    wait_for_learned(port, count)
    assert running.stop() == 0
    store = store_of(environment)
    newest = store.latest()
    store.close()
    assert newest is not None
    assert list(newest.shards) == [0]
    assert newest.events == count
    offsets = newest.shards[0].offsets
    assert (offsets["clicks"], offsets["clicks/7"], offsets["clicks/15"], offsets["purchases/2"]) == (20, 30, 10, 10)


def test_of_three_workers_on_one_shard_two_stand_by_and_one_takes_over(
    environment: dict[str, str], worker: Callable[..., WorkerProcess]
) -> None:
    make_topics(environment, 4, 4, 4)
    ports = [free_port() for _ in range(3)]
    workers = [worker(CORRENTE_METRICS_PORT=str(port)) for port in ports]
    for each in workers:
        each.wait_for_log("ready to join the group")

    def standing_by() -> list[bool]:
        return [total(metrics(port), "corrente_worker_standby") == 1 for port in ports]

    wait_until(lambda: sorted(standing_by()) == [False, True, True], "two workers to stand by", 60.0)
    active = standing_by().index(False)
    heirs = [number for number in range(3) if number != active]
    assert all(ready(ports[number])["standby"] for number in heirs)
    count = write(environment, "CLICKS", range(4))
    wait_for_learned(ports[active], count)
    wait_until(lambda: total(metrics(ports[active]), "corrente_worker_unpublished_records") == 0, "a version", 20.0)
    workers[active].kill()
    count += write(environment, "CLICKS", range(4))
    store = store_of(environment)

    def everything_is_published() -> bool:
        newest = store.latest()
        return newest is not None and newest.events == count

    wait_until(everything_is_published, "an heir to learn what came", 60.0)
    store.close()
    assert sum(total(metrics(ports[number]), "corrente_worker_standby") for number in heirs) == 1
    for number in heirs:
        assert workers[number].stop() == 0


def test_a_topic_that_appears_is_learned_and_named_as_missing_until_then(
    environment: dict[str, str], worker: Callable[..., WorkerProcess]
) -> None:
    port = free_port()
    make_topics(environment, 2, 2)
    make_kafka_topics(environment["CORRENTE_KAFKA"], {environment["CORRENTE_DEAD_LETTERS_TOPIC"]: 1})
    running = worker(CORRENTE_METRICS_PORT=str(port), CORRENTE_CREATE_TOPICS="false")
    count = write(environment, "CLICKS", range(2))
    wait_for_learned(port, count)
    feedback = environment["CORRENTE_FEEDBACK_TOPIC"]
    assert ready(port)["missing_topics"] == [feedback]
    assert running.logged("topics are missing; the others are learned, and these once they appear")
    make_kafka_topics(environment["CORRENTE_KAFKA"], {feedback: 2})
    name = environment["CORRENTE_FEEDBACK_TOPIC"]
    rating = json.dumps({"item": "item 1", "user": "visitor 1", "kind": "rating", "value": 4}).encode()
    produce(environment["CORRENTE_KAFKA"], [Message(name, rating, None, partition) for partition in range(2)])
    wait_for_learned(port, count + 2)
    assert ready(port)["missing_topics"] == []


def test_a_model_of_several_shards_is_refused_with_the_setting_and_goes_on_with_it(
    environment: dict[str, str], worker: Callable[..., WorkerProcess]
) -> None:
    make_topics(environment, 2, 2, 2)
    port = free_port()
    several = {"CORRENTE_METRICS_PORT": str(port), "CORRENTE_SHARDS": "2"}
    running = worker(**several)
    count = write(environment, "CLICKS", range(2))
    wait_for_learned(port, count)
    assert running.stop() == 0
    refused = worker()
    assert refused.wait_for_end(60.0) == 1
    assert "was learned with 2 shards, and CORRENTE_SHARDS=1" in refused.last_line()
    assert "set CORRENTE_SHARDS=2" in refused.last_line()
    worker(**several)
    wait_for_learned(port, write(environment, "CLICKS", range(2)))


def test_workers_of_two_releases_share_the_shards_while_they_are_replaced(
    environment: dict[str, str], worker: Callable[..., WorkerProcess]
) -> None:
    environment["CORRENTE_SHARDS"] = "2"
    make_topics(environment, 2, 2, 2)
    earlier = worker("-m", "tests.integration.harness.earlier_worker")
    earlier.wait_for_log("partitions=[0, 1]")
    later = worker()
    later.wait_for_log("assigned")
    wait_until(lambda: later.logged("shards=[0]") or later.logged("shards=[1]"), "the later worker's share", 60.0)
    write(environment, "CLICKS", range(2))
    assert earlier.stop() == 0
    later.wait_for_log("partitions=[0, 1]")
    write(environment, "CLICKS", range(2))
    topic = environment["CORRENTE_CLICKS_TOPIC"]
    ends = {(topic, partition): 20 for partition in range(2)}
    wait_until(lambda: learned_everything(environment, ends), "both shards to be learned", 60.0)
    assert later.stop() == 0
    assert_every_event_counted_once(environment, 2)
