"""A real Kafka and a real Redis for the tests of this folder.

Where Java, the jars or redis-server are missing, these tests are skipped with one line that says so; with CI=true that
is a failure. Jars come from the folder that KAFKA_LIBS names, else from `.cache/kafka`, else from Maven.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from benchmarks.harness.processes import WORKER
from benchmarks.harness.servers import KafkaServer, RedisServer, missing_servers
from tests.integration import kafka_client
from tests.integration.worker_process import WorkerProcess

_HOW = "get Java 17, Maven and redis-server (.ci/run shows how), then: make test"
_here = Path(__file__).parent
_numbers = itertools.count(1)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what is here; skip it where the servers are missing."""
    ours = [item for item in items if _here in item.path.parents]
    missing = missing_servers() if ours and not config.option.collectonly else None
    for item in ours:
        item.add_marker(pytest.mark.integration)
        if missing and os.environ.get("CI") != "true":
            item.add_marker(pytest.mark.skip(reason=f"integration tests not run: {missing}; {_HOW}"))


@pytest.fixture(scope="session")
def kafka_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """One Kafka for all tests. Whoever stops it starts it again."""
    server = KafkaServer(
        tmp_path_factory.mktemp("kafka"),
        {"message.max.bytes": "33554432", "replica.fetch.max.bytes": "33554432"},
    )
    yield server.start()
    server.stop(kill=True)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server.start()
    server.stop(kill=True)


@pytest.fixture
def kafka(kafka_server: KafkaServer) -> str:
    """Bootstrap servers."""
    return kafka_server.bootstrap


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    return redis_server.url


@pytest.fixture
def environment(kafka: str, redis_url: str) -> dict[str, str]:
    """Settings of a system of its own: topics, group and model that no other test has, and a small model."""
    name = f"t{os.getpid()}-{next(_numbers)}"
    return {
        "CORRENTE_KAFKA": kafka,
        "CORRENTE_REDIS": redis_url,
        "CORRENTE_GROUP": name,
        "CORRENTE_MODEL_NAME": name,
        **{f"CORRENTE_{topic}_TOPIC".upper(): f"{name}-{topic}" for topic in ("clicks", "purchases", "feedback")},
        "CORRENTE_DEAD_LETTERS_TOPIC": f"{name}-dead-letters",
        "CORRENTE_SESSION_TIMEOUT_SECONDS": "4",
        "CORRENTE_LOG_LEVEL": "debug",
        "CORRENTE_MODEL__MAX_ITEMS": "2048",
        "CORRENTE_MODEL__MAX_VISITORS": "4096",
        "CORRENTE_MODEL__MAX_SESSIONS": "4096",
        "CORRENTE_MODEL__MAX_EVENT_IDS": "65536",
    }


@pytest.fixture
def make_topics(kafka: str, environment: Mapping[str, str]) -> Callable[..., None]:
    """`make_topics(partitions)`: the event topics of this test."""

    def make(partitions: int = 1, config: Mapping[str, str] | None = None) -> None:
        names = [environment[f"CORRENTE_{topic}_TOPIC"] for topic in ("CLICKS", "PURCHASES", "FEEDBACK")]
        kafka_client.make_topics(kafka, dict.fromkeys(names, partitions), config)

    return make


@pytest.fixture(scope="session")
def compiled_kernels() -> None:
    """Kernels are compiled once, before anybody waits for a worker: on a fresh checkout that takes minutes."""
    subprocess.run(
        [
            sys.executable,
            "-c",
            "from stream.settings import ModelSettings; from stream.runner.warmup import warm_up; warm_up(ModelSettings())",
        ],
        check=True,
        timeout=280,
    )


@pytest.fixture
def worker(
    environment: dict[str, str], tmp_path: Path, compiled_kernels: None
) -> Iterator[Callable[..., WorkerProcess]]:
    """`worker(*program, **more)`: a running worker with this test's settings; whatever still runs later is killed."""
    started: list[WorkerProcess] = []

    def start(*program: str, **more: str) -> WorkerProcess:
        log = tmp_path / f"worker-{len(started)}.log"
        process = WorkerProcess({**environment, **more}, log, program or WORKER)
        started.append(process)
        return process

    yield start
    for process in started:
        process.end()
