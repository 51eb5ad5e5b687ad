"""Ordinary bad luck on a real Kafka: unfinished transactions, retention that overtakes, groups and topics of others.

Each test is named after what is promised.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer

from benchmarks.harness.processes import learned, metrics, total
from benchmarks.harness.servers import KafkaServer, free_port
from benchmarks.harness.waiting import wait_until
from tests.integration.harness.checking import store_of
from tests.integration.harness.kafka_client import (
    Message,
    Transaction,
    add_partitions,
    delete_records,
    delete_topic,
    produce,
    transactions,
)
from tests.integration.harness.kafka_client import make_topics as make_kafka_topics
from tests.integration.harness.worker_process import WorkerProcess

pytestmark = pytest.mark.fault


def click(number: int, topic: str) -> Message:
    event = {"item": f"item {number % 7}", "user": f"visitor {number % 5}"}
    return Message(topic, json.dumps(event).encode(), event["user"].encode(), partition=0)


@pytest.fixture
def port(environment: dict[str, str]) -> int:
    """Port of the worker's metrics."""
    port = free_port()
    environment["CORRENTE_METRICS_PORT"] = str(port)
    return port


def outcome(port: int, name: str, *labels: str) -> float:
    return total(metrics(port), f"corrente_worker_{name}", *labels)


def test_only_committed_transactions_are_learned_and_leave_no_lag(
    environment: dict[str, str], make_topics: Callable[..., None], worker: Callable[..., WorkerProcess], port: int
) -> None:
    make_topics()
    topic = environment["CORRENTE_CLICKS_TOPIC"]
    running = worker()
    first, second = (click(number, topic) for number in range(2))
    with transactions(environment["CORRENTE_KAFKA"], "shop") as shop:
        shop.send([first] * 3, Transaction.COMMITTED)
        shop.send([second] * 10, Transaction.ABORTED)
        wait_until(lambda: learned(metrics(port)) == 3, "the committed events to be learned", 60.0)
        shop.send([second] * 5, Transaction.OPEN)
        produce(environment["CORRENTE_KAFKA"], [click(n, environment["CORRENTE_PURCHASES_TOPIC"]) for n in range(4)])
        wait_until(lambda: learned(metrics(port)) == 7, "what other topics hold isn't held up", 60.0)
        shop.finish(Transaction.COMMITTED)
    wait_until(lambda: learned(metrics(port)) == 12, "events of the transaction that was committed late", 60.0)
    wait_until(lambda: outcome(port, "lag_records") == 0, "markers to leave no lag", 20.0)
    wait_until(lambda: outcome(port, "catch_up_seconds") == 0, "nothing to catch up with", 20.0)
    assert running.running()


def test_records_that_retention_removes_under_a_running_worker_are_counted_as_lost(
    environment: dict[str, str], make_topics: Callable[..., None], worker: Callable[..., WorkerProcess], port: int
) -> None:
    environment["CORRENTE_SESSION_TIMEOUT_SECONDS"] = "30"
    make_topics()
    topic = environment["CORRENTE_CLICKS_TOPIC"]
    running = worker()
    produce(environment["CORRENTE_KAFKA"], [click(n, topic) for n in range(10)])
    wait_until(lambda: learned(metrics(port)) == 10, "the first events to be learned", 60.0)
    assert outcome(port, "lost_records_total") == 0
    assert any("lost_records_total" in name and "clicks" in name for name in metrics(port)), "the series begins at 0"
    running.pause()
    produce(environment["CORRENTE_KAFKA"], [click(n, topic) for n in range(1000)])
    delete_records(environment["CORRENTE_KAFKA"], topic, before=910)
    produce(environment["CORRENTE_KAFKA"], [click(n, topic) for n in range(5)])
    running.resume()
    wait_until(lambda: outcome(port, "lag_records") == 0 and learned(metrics(port)) == 1015, "what is left", 60.0)
    # A fetch that was answered while the worker slept may have saved some of them; every other one is counted.
    lost = outcome(port, "lost_records_total", 'topic="clicks"')
    assert lost == outcome(port, "records_total", 'topic="clicks"', 'outcome="lost"') > 0
    assert outcome(port, "records_total", 'topic="clicks"', 'outcome="learned"') == 1015 - lost
    assert running.logged("retention removed records before they were learned")


def test_a_session_timeout_that_the_broker_refuses_ends_the_worker_with_the_reason(
    environment: dict[str, str], make_topics: Callable[..., None], worker: Callable[..., WorkerProcess]
) -> None:
    make_topics()
    running = worker(CORRENTE_SESSION_TIMEOUT_SECONDS="0.5")
    assert running.wait_for_end(60.0) == 1
    assert "corrente worker: Kafka at" in running.last_line()
    assert "refuses CORRENTE_SESSION_TIMEOUT_SECONDS=0.5" in running.last_line()
    assert "Traceback" not in running.log.read_text()


def test_a_topic_that_kafka_refuses_to_create_ends_the_worker_with_the_reason(
    environment: dict[str, str], worker: Callable[..., WorkerProcess]
) -> None:
    taken, alike = f"{environment['CORRENTE_GROUP']}.feedback", f"{environment['CORRENTE_GROUP']}_feedback"
    make_kafka_topics(environment["CORRENTE_KAFKA"], {taken: 1})  # names of metrics can't tell the two apart
    running = worker(CORRENTE_FEEDBACK_TOPIC=alike)
    assert running.wait_for_end(60.0) == 1
    assert f"refused to create the topic '{alike}'" in running.log.read_text()
    assert "Traceback" not in running.log.read_text()


def test_a_worker_waits_until_another_program_has_left_its_group(
    environment: dict[str, str], make_topics: Callable[..., None], worker: Callable[..., WorkerProcess], port: int
) -> None:
    make_topics()
    topic = environment["CORRENTE_CLICKS_TOPIC"]
    produce(environment["CORRENTE_KAFKA"], [click(0, topic)])
    with _another_program(environment, topic):
        running = worker()
        running.wait_for_log("belongs to another program (client ids 'billing'")
    wait_until(lambda: learned(metrics(port)) == 1, "the event to be learned", 60.0)


def test_a_second_model_in_a_group_is_refused_and_the_first_one_learns_everything(
    environment: dict[str, str], make_topics: Callable[..., None], worker: Callable[..., WorkerProcess], port: int
) -> None:
    make_topics()
    topic = environment["CORRENTE_CLICKS_TOPIC"]
    worker()
    produce(environment["CORRENTE_KAFKA"], [click(0, topic)])
    wait_until(lambda: learned(metrics(port)) == 1, "the first event to be learned", 60.0)
    model = environment["CORRENTE_MODEL_NAME"]
    second = worker(CORRENTE_MODEL_NAME=f"{model}-b", CORRENTE_METRICS_PORT="0")
    second.wait_for_log(f"is shared by model '{model}-b' and '{model}'")
    produce(environment["CORRENTE_KAFKA"], [click(n, topic) for n in range(9)])
    wait_until(lambda: learned(metrics(port)) == 10, "the first model to learn everything", 60.0)


def test_added_partitions_that_tear_visitors_apart_end_the_worker_with_the_reason(
    environment: dict[str, str], make_topics: Callable[..., None], worker: Callable[..., WorkerProcess], port: int
) -> None:
    make_topics(2)
    topic = environment["CORRENTE_CLICKS_TOPIC"]
    running = worker(CORRENTE_SHARDS="2")
    produce(environment["CORRENTE_KAFKA"], [click(0, topic)])
    wait_until(lambda: learned(metrics(port)) == 1, "the event to be learned", 60.0)
    add_partitions(environment["CORRENTE_KAFKA"], topic, 3)
    assert running.wait_for_end(30.0) == 1
    assert f"CORRENTE_SHARDS=2 does not divide the number of partitions of every event topic: {topic} has 3" in (
        running.log.read_text()
    )
    assert "Traceback" not in running.log.read_text()


def test_a_topic_created_again_is_learned_from_its_beginning_while_the_worker_is_down_and_while_it_runs(
    environment: dict[str, str], make_topics: Callable[..., None], worker: Callable[..., WorkerProcess], port: int
) -> None:
    make_topics()
    kafka, topic = environment["CORRENTE_KAFKA"], environment["CORRENTE_CLICKS_TOPIC"]

    def learned_clicks() -> int:
        store = store_of(environment)
        newest = store.latest()
        store.close()
        return newest.shards[0].counters["clicks"]["learned"] if newest else 0

    def create_again(count: int) -> None:
        delete_topic(kafka, topic)
        make_kafka_topics(kafka, {topic: 1})
        produce(kafka, [click(n, topic) for n in range(count)])

    running = worker()
    produce(kafka, [click(n, topic) for n in range(20)])
    wait_until(lambda: learned_clicks() == 20, "the first topic to be learned", 60.0)
    assert running.stop() == 0
    create_again(50)  # longer than what was learned: nothing but its id tells that it is another one
    running = worker()
    wait_until(lambda: learned_clicks() == 70, "the second topic to be learned", 60.0)
    create_again(80)
    wait_until(lambda: learned_clicks() == 150, "the third topic to be learned", 60.0)
    create_again(5)  # shorter than what was learned
    wait_until(lambda: learned_clicks() == 155, "the fourth topic to be learned", 60.0)
    wait_until(lambda: outcome(port, "lag_records") == 0, "no lag", 20.0)
    assert outcome(port, "other_topics_total", 'topic="clicks"') == 3
    assert running.stop() == 0
    store = store_of(environment)
    newest = store.latest()
    assert newest is not None
    assert newest.shards[0].offsets == {"clicks": 20, "clicks#2": 50, "clicks#3": 80, "clicks#4": 5}
    store.close()


def test_a_model_of_another_cluster_is_refused_and_its_workers_go_on(
    environment: dict[str, str],
    make_topics: Callable[..., None],
    worker: Callable[..., WorkerProcess],
    port: int,
    tmp_path: Path,
) -> None:
    make_topics()
    topic = environment["CORRENTE_CLICKS_TOPIC"]
    worker()
    produce(environment["CORRENTE_KAFKA"], [click(0, topic)])
    wait_until(lambda: learned(metrics(port)) == 1, "the event to be learned", 60.0)
    with KafkaServer(tmp_path / "staging", cluster_id="corrente-other-cluster", brief=True) as staging:
        refused = worker(CORRENTE_KAFKA=staging.bootstrap, CORRENTE_METRICS_PORT="0")
        assert refused.wait_for_end(60.0) == 1
    assert "learns from the Kafka cluster 'corrente-test-cluster0'" in refused.last_line()
    assert "CORRENTE_MOVED_TO_CLUSTER=corrente-other-cluster" in refused.last_line()
    produce(environment["CORRENTE_KAFKA"], [click(n, topic) for n in range(9)])
    wait_until(lambda: learned(metrics(port)) == 10, "production to go on", 60.0)
    wait_until(lambda: outcome(port, "unpublished_records") == 0, "and to publish", 20.0)


@contextmanager
def _another_program(environment: dict[str, str], topic: str) -> Iterator[None]:
    """A member of the worker's group that is no worker, until the context ends."""
    joined, left = threading.Event(), threading.Event()

    async def consume() -> None:
        consumer = AIOKafkaConsumer(
            topic,
            bootstrap_servers=environment["CORRENTE_KAFKA"],
            group_id=environment["CORRENTE_GROUP"],
            client_id="billing",
            enable_auto_commit=False,
        )
        await consumer.start()
        try:
            while not consumer.assignment():
                await consumer.getmany(timeout_ms=100)
            joined.set()
            while not left.is_set():
                await consumer.getmany(timeout_ms=100)
        finally:
            await consumer.stop()

    thread = threading.Thread(target=asyncio.run, args=(consume(),))
    thread.start()
    try:
        assert joined.wait(60.0), "the other program did not join"
        yield
    finally:
        left.set()
        thread.join(30.0)
