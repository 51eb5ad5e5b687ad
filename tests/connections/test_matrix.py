"""The connection matrix: a click becomes a list in every cell, and wrong credentials of either side are named.

Every kind of Kafka and every kind of Redis is in some cell; with `CELLS=all` every pair is a cell. The table is printed
at the end of `make connections`.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.harness.waiting import wait_until
from tests.connections.conftest import Cell, results
from tests.connections.kafka_side import PASSWORD as KAFKA_PASSWORD
from tests.connections.kafka_side import SIDES, SecuredKafka
from tests.connections.redis_side import PASSWORD as REDIS_PASSWORD
from tests.connections.redis_side import SIDES as REDIS_SIDES
from tests.connections.redis_side import redis_side
from tests.integration.harness import kafka_client
from tests.integration.harness.server_process import running_server
from tests.integration.harness.worker_process import WorkerProcess

NAMED_SECONDS = 30.0
"""Longest time until a process has started and named its mistake. The naming itself takes ten seconds at most."""

_numbers = itertools.count(1)


def cells() -> list[tuple[str, str]]:
    """Pairs of a Kafka and a Redis: all of them, or so many that each kind is in one."""
    redis_kinds = list(REDIS_SIDES)
    if os.environ.get("CELLS") == "all":
        return list(itertools.product(SIDES, redis_kinds))
    return [(kafka, redis_kinds[number % len(redis_kinds)]) for number, kafka in enumerate(SIDES)]


@pytest.fixture
def start_worker(tmp_path: Path) -> Iterator[Callable[[dict[str, str]], WorkerProcess]]:
    """Starts a worker with these settings; it is killed after the test."""
    started: list[WorkerProcess] = []

    def start(environment: dict[str, str]) -> WorkerProcess:
        started.append(WorkerProcess(environment, tmp_path / f"worker-{len(started)}.log"))
        return started[-1]

    yield start
    for process in started:
        process.end()


@pytest.mark.connections
@pytest.mark.unmeasured
@pytest.mark.parametrize(("kafka_kind", "redis_kind"), cells())
def test_a_click_becomes_a_list_and_wrong_credentials_are_named(
    secured_kafka: SecuredKafka,
    compiled_kernels: None,
    start_worker: Callable[[dict[str, str]], WorkerProcess],
    tmp_path: Path,
    kafka_kind: str,
    redis_kind: str,
) -> None:
    began = time.monotonic()
    results[kafka_kind, redis_kind] = Cell("failed", 0.0)
    kafka = secured_kafka.side(kafka_kind)
    name = f"m{os.getpid()}-{next(_numbers)}"
    topics = {
        f"CORRENTE_{topic}_TOPIC": f"{name}-{topic.lower().replace('_', '-')}"
        for topic in ("CLICKS", "PURCHASES", "FEEDBACK", "DEAD_LETTERS")
    }
    kafka_client.make_topics(secured_kafka.server.bootstrap, dict.fromkeys(topics.values(), 1))
    if kafka_kind == "ACL denied":
        secured_kafka.keep_strangers_out(list(topics.values()))
    with redis_side(redis_kind, tmp_path / "redis") as redis:
        right = {
            **topics,
            "CORRENTE_GROUP": name,
            "CORRENTE_MODEL_NAME": name,
            "CORRENTE_MODEL__MAX_ITEMS": "2048",
            "CORRENTE_MODEL__MAX_VISITORS": "4096",
            "CORRENTE_MODEL__MAX_SESSIONS": "4096",
            **kafka.environment,
            **redis.environment,
        }
        start_worker(right)
        with running_server(right) as server:
            server.wait_for_kafka()
            for visitor in ("ada", "bob", "eve"):
                clicks = [{"user": visitor, "item": item} for item in ("teapot", "cup")]
                assert server.client.post("/v1/events/clicks", json=clicks).status_code == 202
            assert server.client.post("/v1/events/clicks", json={"user": "zoe", "item": "teapot"}).status_code == 202

            def cup_is_listed() -> bool:
                answer = server.client.get("/v1/recommendations/zoe")
                return answer.status_code == 200 and "cup" in [each["item"] for each in answer.json()["items"]]

            wait_until(cup_is_listed, "the list of a visitor who clicked", 60.0)

        if kafka.wrong:
            start_worker({**right, **kafka.wrong}).wait_for_log(kafka.wrong_says, NAMED_SECONDS)
            with running_server({**right, **kafka.wrong}) as server:
                wait_until(
                    lambda: kafka.wrong_says in str(server.health()["kafka"]), "the server names it", NAMED_SECONDS
                )
        if redis.wrong:
            start_worker({**right, **redis.wrong}).wait_for_log(redis.wrong_says, NAMED_SECONDS)
    logs = "".join(log.read_text(errors="replace") for log in tmp_path.glob("worker-*.log"))
    assert [password for password in (KAFKA_PASSWORD, REDIS_PASSWORD) if password in logs] == []
    results[kafka_kind, redis_kind] = Cell("passed", time.monotonic() - began)
