"""A real Kafka and a real Redis for the tests of this folder: one of each, with topics and a model for each test.

If Java, the jars or redis-server are missing, these tests are skipped with one line that gives the reason; with CI=true
they fail. Jars come from the folder that KAFKA_LIBS names, else from `.cache/kafka`, else from Maven.
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
from tests.integration.harness import fault_record, kafka_client
from tests.integration.harness.worker_process import WorkerProcess

MEASURED = {f"test_{name}" for name in ("bench", "doctor", "fetch_by_id", "replay", "worker")}
"""Files whose tests are measured. All others run a dozen lines more, in processes that are mostly killed."""

_HOW_TO_INSTALL = "get Java 17, Maven and redis-server (.ci/run shows how), then: make test"
_here = Path(__file__).parent
_numbers = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder."""
    for item in items:
        if _here in item.path.parents:
            item.add_marker(pytest.mark.integration)
            if item.path.stem not in MEASURED:
                item.add_marker(pytest.mark.unmeasured)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Record the numbers of a test that is marked `fault`, if `make faults` runs it, while its workers still run."""
    arguments = getattr(item, "funcargs", {})
    lines = os.environ.get("FAULTS")
    if not lines or item.get_closest_marker("fault") is None or "environment" not in arguments:
        return (yield)
    watch = fault_record.Watch(arguments["environment"]).start()
    outcome = "failed"
    try:
        result = yield
        outcome = "passed"
        return result
    finally:
        fault_record.write_line(Path(lines), item.name, watch.finish(), outcome)


@pytest.fixture(scope="session", autouse=True)
def _servers_or_skip() -> None:
    """Skip the tests of this folder if a server is missing. Looking for one may download Kafka, so it happens here and
    not while tests are collected that don't run."""
    if os.environ.get("CI") != "true" and (missing := missing_servers()):
        pytest.skip(f"integration tests not run: {missing}; {_HOW_TO_INSTALL}")


@pytest.fixture(scope="session")
def kafka_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """One Kafka for all tests. A test that stops it starts it again."""
    large_records = {"message.max.bytes": "33554432", "replica.fetch.max.bytes": "33554432"}
    with KafkaServer(tmp_path_factory.mktemp("kafka"), large_records, brief=True) as server:
        yield server


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def kafka(kafka_server: KafkaServer) -> str:
    """Bootstrap servers."""
    return kafka_server.bootstrap


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    return redis_server.url


def quick_to_time_out(redis_url: str) -> str:
    """The URL of a Redis whose clients give up waiting for an answer after one second instead of five."""
    return f"{redis_url}?socket_timeout=1&socket_connect_timeout=1"


@pytest.fixture
def environment(kafka: str, redis_url: str, compiled_kernels: None) -> dict[str, str]:
    """Settings of a test's own system: topics, group and model that no other test has, and a small model."""
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
def make_topics(kafka: str, environment: dict[str, str]) -> Callable[..., None]:
    """`make_topics(partitions)` makes the event topics of this test, and gives each partition a shard of its own."""

    def make(partitions: int = 1, config: Mapping[str, str] | None = None) -> None:
        environment.setdefault("CORRENTE_SHARDS", str(partitions))
        names = [environment[f"CORRENTE_{topic}_TOPIC"] for topic in ("CLICKS", "PURCHASES", "FEEDBACK")]
        kafka_client.make_topics(kafka, dict.fromkeys(names, partitions), config)

    return make


@pytest.fixture(scope="session")
def compiled_kernels() -> None:
    """Kernels are compiled once, before a test waits for a process that calls them."""
    subprocess.run([sys.executable, "-m", "tests.compile_kernels"], check=True)


@pytest.fixture
def worker(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., WorkerProcess]]:
    """`worker(*program, **more)` starts a worker with this test's settings; it is killed after the test."""
    started: list[WorkerProcess] = []

    def start(*program: str, **more: str) -> WorkerProcess:
        log = tmp_path / f"worker-{len(started)}.log"
        process = WorkerProcess({**environment, **more}, log, program or WORKER)
        started.append(process)
        return process

    yield start
    for process in started:
        process.end()
