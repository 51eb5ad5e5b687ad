"""A worker's start and end, and its work while Redis is away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from benchmarks.harness.processes import learned, metrics, total
from benchmarks.harness.servers import KafkaServer, RedisServer, free_port
from benchmarks.harness.waiting import wait_until
from tests.integration.conftest import quick_to_time_out
from tests.integration.harness.checking import assert_every_event_counted_once, learned_everything, store_of
from tests.integration.harness.kafka_client import (
    Message,
    committed,
    count_partitions,
    delete_records,
    delete_topic,
    produce,
)
from tests.integration.harness.kafka_client import make_topics as make_kafka_topics
from tests.integration.harness.late_worker import WAITS_FOR
from tests.integration.harness.worker_process import WorkerProcess


def clicks(
    environment: dict[str, str], first: int, count: int, compression: str | None = None
) -> dict[tuple[str, int], int]:
    """Write `count` clicks to partition 0; returns the ends to wait for."""
    topic = environment["CORRENTE_CLICKS_TOPIC"]
    events = [{"item": f"item {n % 97}", "user": f"visitor {n % 31}"} for n in range(first, first + count)]
    produce(
        environment["CORRENTE_KAFKA"],
        [Message(topic, json.dumps(event).encode(), event["user"].encode(), partition=0) for event in events],
        compression=compression,
    )
    return {(topic, 0): first + count}


def wait_for(environment: dict[str, str], ends: dict[tuple[str, int], int]) -> None:
    wait_until(lambda: learned_everything(environment, ends), f"{ends} to be learned and published", 60.0)


@pytest.fixture
def own_redis(environment: dict[str, str], tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that a test may break."""
    with RedisServer(tmp_path / "redis") as server:
        environment["CORRENTE_REDIS"] = quick_to_time_out(server.url)
        yield server


def test_a_stopped_worker_has_published_and_committed_everything_it_learned(
    environment: dict[str, str], make_topics: Callable[..., None], worker: Callable[..., WorkerProcess]
) -> None:
    port = free_port()
    environment |= {"CORRENTE_METRICS_PORT": str(port), "CORRENTE_PUBLISH_SECONDS": "3600"}
    make_topics(2)
    running = worker()
    store = store_of(environment)
    wait_for(environment, clicks(environment, 0, 1))  # a first version is published at once
    clicks(environment, 1, 999)
    wait_until(lambda: learned(metrics(port)) == 1000, "all clicks to be learned", 60.0)
    newest = store.latest()
    assert newest is not None
    assert newest.events == 1, "no interval has passed since the first version"
    assert running.stop() == 0
    newest = store.latest()
    store.close()
    assert newest is not None
    assert newest.shards[0].offsets["clicks"] == newest.events == 1000
    offsets = committed(environment["CORRENTE_KAFKA"], environment["CORRENTE_GROUP"])
    assert offsets[environment["CORRENTE_CLICKS_TOPIC"], 0] == 1000


def test_metrics_and_health_are_served_on_the_address_of_the_setting_and_no_other(
    environment: dict[str, str], make_topics: Callable[..., None], worker: Callable[..., WorkerProcess]
) -> None:
    make_topics(1)
    port = free_port()
    running = worker(CORRENTE_METRICS_HOST="127.0.0.2", CORRENTE_METRICS_PORT=str(port))
    running.wait_for_log("ready to join the group")
    with urlopen(f"http://127.0.0.2:{port}/health/live", timeout=30.0) as answer:
        assert answer.status == 200
    assert metrics(port) == {}, "nothing listens on 127.0.0.1"


@pytest.mark.fault
def test_a_worker_whose_kafka_goes_away_while_it_starts_waits_for_it_and_can_be_stopped_meanwhile(
    environment: dict[str, str],
    make_topics: Callable[..., None],
    worker: Callable[..., WorkerProcess],
    kafka_server: KafkaServer,
    tmp_path: Path,
) -> None:
    make_topics(1)
    go_on = tmp_path / "go on"
    late = ("-m", "tests.integration.harness.late_worker")
    waiting, stopped = (worker(*late, **{WAITS_FOR: str(go_on)}) for _ in range(2))
    for each in (waiting, stopped):
        each.wait_for_log("ready to join the group")
    kafka_server.stop(kill=True)
    try:
        go_on.touch()
        for each in (waiting, stopped):
            each.wait_for_log("Kafka does not answer yet")
        assert stopped.stop() == 0
    finally:
        kafka_server.start()
    wait_for(environment, clicks(environment, 0, 100))
    assert waiting.stop() == 0
    assert_every_event_counted_once(environment, 1)


def test_producers_may_compress_in_any_way_that_kafka_knows(
    environment: dict[str, str], make_topics: Callable[..., None], worker: Callable[..., WorkerProcess]
) -> None:
    make_topics(1)
    running = worker()
    for number, compression in enumerate(("gzip", "snappy", "lz4", "zstd")):
        wait_for(environment, clicks(environment, 100 * number, 100, compression))
    assert running.stop() == 0
    assert_every_event_counted_once(environment, 1)


def test_the_same_app_runs_under_fausts_own_command(
    environment: dict[str, str], make_topics: Callable[..., None], tmp_path: Path
) -> None:
    make_topics(1)
    ends = clicks(environment, 0, 500)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CORRENTE_")}
    with (tmp_path / "faust.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "faust", "-A", "stream.worker", "worker", "-l", "info"],
            env={**inherited, **environment},
            stdout=log,
            stderr=log,
        )
    try:
        wait_for(environment, ends)
        process.terminate()
        assert process.wait(20) == 0, (tmp_path / "faust.log").read_text()
    finally:
        process.kill()


def test_shards_that_would_tear_visitors_apart_are_refused_with_what_fits(
    environment: dict[str, str], worker: Callable[..., WorkerProcess]
) -> None:
    names = [environment[f"CORRENTE_{topic}_TOPIC"] for topic in ("CLICKS", "PURCHASES", "FEEDBACK")]
    make_kafka_topics(environment["CORRENTE_KAFKA"], dict(zip(names, (6, 3, 6), strict=True)))
    refused = worker(CORRENTE_SHARDS="2")
    assert refused.wait_for_end(60.0) == 1
    assert f"{names[0]} has 6, {names[1]} has 3" in refused.last_line()
    assert "Set CORRENTE_SHARDS to 1 or 3" in refused.last_line()


def test_missing_topics_are_made_unless_that_is_turned_off(
    environment: dict[str, str], worker: Callable[..., WorkerProcess]
) -> None:
    refused = worker(CORRENTE_CREATE_TOPICS="false")
    wait_until(lambda: not refused.running(), "the worker to refuse", 60.0)
    assert f"--create --topic {environment['CORRENTE_CLICKS_TOPIC']} --partitions 1" in refused.log.read_text()
    running = worker(CORRENTE_PARTITIONS="3")
    running.wait_for_log("learning from here on")
    for topic in ("CLICKS", "PURCHASES", "FEEDBACK"):
        assert count_partitions(environment["CORRENTE_KAFKA"], environment[f"CORRENTE_{topic}_TOPIC"]) == 3
    ends = clicks(environment, 0, 10)
    wait_for(environment, ends)
    assert running.stop() == 0


def test_without_redis_learning_goes_on_and_what_was_learned_is_published_when_it_is_back(
    environment: dict[str, str],
    make_topics: Callable[..., None],
    worker: Callable[..., WorkerProcess],
    own_redis: RedisServer,
) -> None:
    port = free_port()
    make_topics(1)
    running = worker(CORRENTE_METRICS_PORT=str(port))
    wait_for(environment, clicks(environment, 0, 500))

    with own_redis.paused():
        for number in range(5):
            clicks(environment, 500 + 100 * number, 100)
        wait_until(
            lambda: (
                total(metrics(port), "corrente_worker_records_total", 'outcome="learned"', 'topic="clicks"') == 1000
            ),
            "events to be learned without Redis",
            30.0,
        )
    wait_for(environment, {(environment["CORRENTE_CLICKS_TOPIC"], 0): 1000})
    assert total(metrics(port), "corrente_worker_publish_refusals_total") == 0
    assert running.stop() == 0
    assert_every_event_counted_once(environment, 1)


def test_a_redis_that_comes_back_empty_starts_a_new_lineage_and_everything_is_learned_again(
    environment: dict[str, str],
    make_topics: Callable[..., None],
    worker: Callable[..., WorkerProcess],
    own_redis: RedisServer,
) -> None:
    make_topics(1)
    running = worker()
    wait_for(environment, clicks(environment, 0, 500))
    store = store_of(environment)
    before = store.latest()
    assert before is not None
    group = environment["CORRENTE_GROUP"]
    where = environment["CORRENTE_CLICKS_TOPIC"], 0
    wait_until(lambda: committed(environment["CORRENTE_KAFKA"], group).get(where) == 500, "the commit to follow", 30.0)
    own_redis.stop(kill=True)
    own_redis.start()
    wait_for(environment, clicks(environment, 500, 500))
    after = store.latest()
    store.close()
    assert after is not None
    assert after.lineage != before.lineage
    assert after.number > before.number
    assert running.stop() == 0
    assert_every_event_counted_once(environment, 1)


def test_a_worker_stops_and_starts_while_redis_does_not_answer_and_loses_nothing(
    environment: dict[str, str],
    make_topics: Callable[..., None],
    worker: Callable[..., WorkerProcess],
    own_redis: RedisServer,
) -> None:
    make_topics(1)
    running = worker()
    wait_for(environment, clicks(environment, 0, 300))
    with own_redis.paused():
        ends = clicks(environment, 300, 300)
        assert running.stop(40) == 0
        running = worker()
        running.wait_for_log("can't open the shard yet")
    wait_for(environment, ends)
    assert running.stop() == 0
    assert_every_event_counted_once(environment, 1)


def test_records_that_retention_removed_are_logged_and_the_rest_is_learned(
    environment: dict[str, str], make_topics: Callable[..., None], worker: Callable[..., WorkerProcess]
) -> None:
    make_topics(1)
    running = worker()
    wait_for(environment, clicks(environment, 0, 100))
    assert running.stop() == 0
    ends = clicks(environment, 100, 100)
    delete_records(environment["CORRENTE_KAFKA"], environment["CORRENTE_CLICKS_TOPIC"], before=150)
    running = worker()
    running.wait_for_log("first_kept=150")
    wait_for(environment, ends)
    assert running.stop() == 0
    store = store_of(environment)
    newest = store.latest()
    store.close()
    assert newest is not None
    assert newest.shards[0].counters["clicks"]["learned"] == 150


def test_a_topic_that_was_made_anew_is_refused_if_the_setting_says_so(
    environment: dict[str, str], make_topics: Callable[..., None], worker: Callable[..., WorkerProcess]
) -> None:
    make_topics(1)
    running = worker()
    wait_for(environment, clicks(environment, 0, 100))
    assert running.stop() == 0
    delete_topic(environment["CORRENTE_KAFKA"], environment["CORRENTE_CLICKS_TOPIC"])
    make_kafka_topics(environment["CORRENTE_KAFKA"], {environment["CORRENTE_CLICKS_TOPIC"]: 1})
    clicks(environment, 0, 10)
    running = worker(CORRENTE_OTHER_TOPICS="refuse")
    running.wait_for_log("has learned up to offset 100, and CORRENTE_OTHER_TOPICS=refuse")
    store = store_of(environment)
    newest = store.latest()
    store.close()
    assert newest is not None
    assert newest.events == 100
    assert running.stop() == 0


def test_a_worker_far_behind_publishes_less_often_estimates_its_catch_up_and_then_publishes_as_usual(
    environment: dict[str, str], make_topics: Callable[..., None], worker: Callable[..., WorkerProcess]
) -> None:
    backlog = 60_000
    port = free_port()
    environment |= {"CORRENTE_METRICS_PORT": str(port), "CORRENTE_PUBLISH_SECONDS": "0.05"}
    make_topics(1)
    ends = clicks(environment, 0, backlog)
    running = worker()
    running.wait_for_log("far behind; publishing less often")
    wait_for(environment, ends)
    running.wait_for_log("up to date; publishing as usual")
    assert "catch_up_seconds" in running.log.read_text(errors="replace")
    store = store_of(environment)
    while_behind = len(store.versions())
    wait_until(
        lambda: (
            total(metrics(port), "corrente_worker_catch_up_seconds") == 0
            and total(metrics(port), "corrente_worker_lag_records") == 0
        ),
        "nothing to be behind in the metrics",
    )
    for number in range(while_behind + 1):  # one after the other, each in a version of its own
        wait_for(environment, clicks(environment, backlog + number, 1))
    assert len(store.versions()) > 2 * while_behind
    store.close()
