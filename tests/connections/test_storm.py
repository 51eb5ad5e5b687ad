"""The storm of `tests.integration.workers.test_storm` over TLS and SASL, with sessions that end every ten seconds, and
over sentinels that make another Redis the master.

Workers connect to the secured listener, the tools of the test to the plain one of the same broker. `MINUTES=…` and
`SEED=…` are those of the storm. Afterwards the workers' logs are read: no request may have failed because a session
ended.

Redis replicates after it has answered, so a failover can lose the newest versions. Workers then learn again what Kafka
still has: in that storm, nothing is removed from Kafka.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.harness.servers import KafkaServer, RedisServer
from tests.connections.kafka_side import SecuredKafka
from tests.connections.redis_side import RedisSide, redis_side
from tests.integration.conftest import environment, make_topics, redis_server, redis_url
from tests.integration.harness.log_tap import LogTap
from tests.integration.harness.worker_process import WorkerProcess
from tests.integration.workers.test_storm import (
    MINUTES,
    Storm,
    assert_nothing_is_lost_or_counted_twice,
    kept_redis,
    test_nothing_is_lost_or_counted_twice_in_a_storm,
)

__all__ = ["environment", "kept_redis", "make_topics", "redis_server", "redis_url"]

MINUTES_OVER_SENTINELS = float(os.environ.get("MINUTES") or 1)

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


class StormOverSentinels(Storm):
    """Faults of a worker and of Kafka, and failovers of Redis.

    Args:
        environment, start_worker, kafka, tap, chance: as for every storm.
        redis: a Redis that can fail over.
    """

    loses_records = False

    def __init__(
        self,
        environment: dict[str, str],
        start_worker: Callable[..., WorkerProcess],
        kafka: KafkaServer,
        redis: RedisSide,
        tap: LogTap,
        chance: random.Random,
    ) -> None:
        super().__init__(environment, start_worker, kafka, None, tap, chance)
        self._side = redis
        self._kinds = {
            self.fail_over: 6,
            self.fail_over_and_kill_a_worker: 6,
            self.kill_a_worker: 4,
            self.pause_a_worker: 2,
            self.start_another_worker: 4,
            self.stop_a_worker: 2,
            self.restart_kafka: 1,
        }

    def strike(self) -> None:
        """A failover with a kill first, as a failover takes ten seconds and few are drawn in a minute."""
        if self.faults:
            super().strike()
        else:
            self.do(self.fail_over_and_kill_a_worker)

    def fail_over(self) -> None:
        """Another server becomes the master while workers publish."""
        assert self._side.failover is not None
        self._side.failover()

    def fail_over_and_kill_a_worker(self) -> None:
        """A worker that was killed may have published what the new master hasn't got."""
        self.fail_over()
        self.kill_a_worker()


@pytest.mark.connections
@pytest.mark.unmeasured
@pytest.mark.timeout(60.0 * MINUTES_OVER_SENTINELS + 1800.0, func_only=True)
@pytest.mark.parametrize("worker", ["SCRAM-512"], indirect=True)
def test_nothing_is_lost_or_counted_twice_while_sentinels_change_the_master(
    environment: dict[str, str],
    make_topics: Callable[..., None],
    worker: Callable[..., WorkerProcess],
    kafka_server: KafkaServer,
    tmp_path: Path,
) -> None:
    with redis_side("sentinel", tmp_path / "redis") as side:
        environment |= side.environment
        assert_nothing_is_lost_or_counted_twice(
            environment,
            make_topics,
            lambda tap, chance: StormOverSentinels(environment, worker, kafka_server, side, tap, chance),
            tmp_path,
            MINUTES_OVER_SENTINELS,
        )
