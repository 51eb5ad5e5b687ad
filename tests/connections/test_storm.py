"""The storm of `tests.integration.test_storm` over TLS and SASL, with sessions that end every ten seconds.

Workers connect to the secured listener, the tools of the test to the plain one of the same broker. `MINUTES=…` and
`SEED=…` are those of the storm. Afterwards the workers' logs are read: no request may have failed because a session
ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.harness.servers import KafkaServer, RedisServer
from tests.connections.kafka_side import SecuredKafka
from tests.integration.conftest import environment, make_topics, redis_server, redis_url
from tests.integration.test_storm import MINUTES, kept_redis, test_nothing_is_lost_or_counted_twice_in_a_storm
from tests.integration.worker_process import WorkerProcess

__all__ = ["environment", "kept_redis", "make_topics", "redis_server", "redis_url"]

the_storm = test_nothing_is_lost_or_counted_twice_in_a_storm
del test_nothing_is_lost_or_counted_twice_in_a_storm  # it would be collected here too


@pytest.fixture
def kafka_server(secured_kafka: SecuredKafka) -> KafkaServer:
    return secured_kafka.server


@pytest.fixture
def kafka(kafka_server: KafkaServer) -> str:
    """The plain listener, for the tools of the test."""
    return kafka_server.bootstrap


@pytest.fixture
def worker(
    secured_kafka: SecuredKafka, environment: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Callable[[], WorkerProcess]]:
    """Starts a worker that connects to the listener of this test; it is killed after the test."""
    side = secured_kafka.side(request.param)
    started: list[WorkerProcess] = []

    def start() -> WorkerProcess:
        started.append(WorkerProcess(environment | side.environment, tmp_path / f"worker-{len(started)}.log"))
        return started[-1]

    yield start
    for process in started:
        process.end()


@pytest.mark.connections
@pytest.mark.unmeasured
@pytest.mark.timeout(60.0 * MINUTES + 1800.0, func_only=True)
@pytest.mark.parametrize("worker", ["SCRAM-512", "OAUTHBEARER"], indirect=True)
def test_nothing_is_lost_or_counted_twice_while_sessions_end(
    environment: dict[str, str],
    make_topics: Callable[..., None],
    worker: Callable[..., WorkerProcess],
    kafka_server: KafkaServer,
    kept_redis: RedisServer,
    tmp_path: Path,
) -> None:
    the_storm(environment, make_topics, worker, kafka_server, kept_redis, tmp_path)
    logs = [each.read_text(errors="replace") for each in tmp_path.glob("worker-*.log")]
    assert any("Kafka ends sessions; connections are replaced before" in log for log in logs)
    assert not any("SaslAuthenticationFailed" in log for log in logs)
