"""Names that collide or change: another topic under a setting, two models in one Kafka, two topics of one name."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from benchmarks.harness.waiting import wait_until
from tests.integration.harness.checking import store_of
from tests.integration.harness.kafka_client import Message, produce
from tests.integration.harness.kafka_client import make_topics as make_kafka_topics
from tests.integration.harness.worker_process import WorkerProcess

pytestmark = pytest.mark.fault


def write(environment: dict[str, str], count: int) -> None:
    events = [{"item": f"item {number % 7}", "user": f"visitor {number % 5}"} for number in range(count)]
    topic = environment["CORRENTE_CLICKS_TOPIC"]
    produce(environment["CORRENTE_KAFKA"], [Message(topic, json.dumps(event).encode()) for event in events])


def learned_clicks(environment: dict[str, str]) -> int:
    store = store_of(environment)
    newest = store.latest()
    store.close()
    return newest.shards[0].counters["clicks"]["learned"] if newest else 0


def wait_for(environment: dict[str, str], count: int) -> None:
    wait_until(lambda: learned_clicks(environment) == count, f"{count} clicks to be learned and published", 60.0)


@pytest.mark.long
def test_another_topic_under_the_same_setting_is_learned_from_its_beginning(
    environment: dict[str, str], make_topics: Callable[..., None], worker: Callable[..., WorkerProcess]
) -> None:
    make_topics()
    write(environment, 100)
    running = worker()
    wait_for(environment, 100)
    assert running.stop() == 0
    environment["CORRENTE_CLICKS_TOPIC"] += "-other"
    make_kafka_topics(environment["CORRENTE_KAFKA"], {environment["CORRENTE_CLICKS_TOPIC"]: 1})
    write(environment, 150)
    running = worker()
    wait_for(environment, 250)
    running.wait_for_log("another topic than before; it is learned from where")
    assert running.stop() == 0


@pytest.mark.long
def test_two_models_that_differ_only_in_name_each_learn_everything(
    environment: dict[str, str], make_topics: Callable[..., None], worker: Callable[..., WorkerProcess]
) -> None:
    del environment["CORRENTE_GROUP"]
    make_topics()
    second = {"CORRENTE_MODEL_NAME": environment["CORRENTE_MODEL_NAME"] + "-second"}
    worker()
    worker(**second)
    write(environment, 50)
    wait_for(environment, 50)
    wait_for(environment | second, 50)


def test_a_worker_refuses_two_topics_of_one_name(
    environment: dict[str, str], worker: Callable[..., WorkerProcess]
) -> None:
    running = worker(CORRENTE_PURCHASES_TOPIC=environment["CORRENTE_CLICKS_TOPIC"])
    assert running.wait_for_end(60.0) != 0
    assert "CORRENTE_CLICKS_TOPIC" in running.log.read_text()
    assert "CORRENTE_PURCHASES_TOPIC" in running.log.read_text()
