"""The guide about an own Kafka and Redis, typed as it stands, on a Kafka with SCRAM over TLS."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.harness.servers import RedisServer
from tests.connections.kafka_side import PASSWORD, SecuredKafka
from tests.docs.terminal import Terminal
from tests.integration.commands.test_guides import HOW_TO, ON_SECURED_SERVERS


@pytest.mark.connections
@pytest.mark.unmeasured
@pytest.mark.parametrize("name", ON_SECURED_SERVERS)
def test_a_guide_works_as_typed(name: str, secured_kafka: SecuredKafka, compiled_kernels: None, tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis") as redis:
        own = {
            "kafka.example.com:9093": secured_kafka.address("SCRAM"),
            "/etc/corrente/ca.pem": str(secured_kafka.certificates.ca),
            "the password": PASSWORD,
            "redis://localhost:6379/0": redis.url,
        }
        folder = tmp_path / "typed"
        folder.mkdir()
        with Terminal(folder, addresses=own) as terminal:
            terminal.type_page(HOW_TO / name)
