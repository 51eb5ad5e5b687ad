"""`corrente serve` as a process: prints its address, ends in an orderly way, refuses a start that can't be right."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.serving.conftest import Broker, Publisher, RedisServer, until

COMMAND = [sys.executable, "-c", "from stream.cli import main; main()", "serve"]


SALT = "0123456789abcdef"


@contextmanager
def serving(
    redis_server: RedisServer, broker: Broker | None, *options: str, **more: str
) -> Iterator[tuple[subprocess.Popen, str]]:
    """A server process and its address; `more` are environment variables."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "CORRENTE_REDIS": redis_server.url,
        "CORRENTE_KAFKA": broker.servers if broker else "127.0.0.1:1",
        "CORRENTE_MODEL_NAME": "shop",
        "CORRENTE_POLL_SECONDS": "0.05",
        "PYTHONPATH": ":".join(sys.path),
        **more,
    }
    process = subprocess.Popen(
        [*COMMAND, *options], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        line = process.stdout.readline()
        found = re.search(r"http://(?:127\.0\.0\.1|0\.0\.0\.0):(\d+)", line)
        assert found, line + process.stderr.read()
        yield process, found[0]
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def ended(*options: str, **more: str) -> subprocess.CompletedProcess:
    """A server process that ends by itself; `more` are environment variables."""
    environment = {"PYTHONPATH": ":".join(sys.path), **more}
    return subprocess.run([*COMMAND, *options], capture_output=True, text=True, env=environment, check=False)


def test_the_port_that_0_stands_for_is_printed_and_a_post_that_has_begun_is_finished(
    redis_server: RedisServer, broker: Broker, publisher: Publisher
):
    version = publisher.learn(("u", "a"), ("v", "b"))
    with serving(redis_server, broker, "--port", "0") as (process, address):

        def ready() -> bool:
            health = httpx.get(f"{address}/health/ready").json()
            return health["version"] == version.number and health["kafka"]["up"]

        until(ready, "the server is ready")
        answer = httpx.get(f"{address}/v1/recommendations/a%2Fb").json()
        assert {each["item"] for each in answer["items"]} == {"a", "b"}
        assert httpx.post(f"{address}/v1/events/clicks", json={"item": "a", "user": "u"}).status_code == 202
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 0, errors
        assert "Traceback" not in errors
    assert len(broker.records("clicks", 1)) == 1


def test_an_address_that_is_taken_is_named(redis_server: RedisServer):
    with serving(redis_server, None, "--port", "0") as (_, address):
        port = address.rpartition(":")[2]
        second = ended("--port", port)
    assert second.returncode == 1
    assert f"can't bind 127.0.0.1:{port}" in second.stderr
    assert "Traceback" not in second.stderr


def test_a_wrong_setting_is_named():
    wrong = ended("--port", "70000")
    assert wrong.returncode == 2
    assert "CORRENTE_PORT" in wrong.stderr
    assert "Traceback" not in wrong.stderr


@pytest.mark.parametrize("salt", ["corrente", "fifteen bytes!!"])
def test_a_server_that_other_machines_can_reach_refuses_a_weak_salt(salt: str):
    refused = ended("--host", "0.0.0.0", "--port", "0", CORRENTE_MODEL__VISITOR_SALT=salt)
    assert refused.returncode == 2, refused.stderr
    assert "CORRENTE_MODEL__VISITOR_SALT" in refused.stderr, "the setting to change"
    assert "docs/how-to/change-the-visitor-salt.md" in refused.stderr, "the way to migrate a model"
    assert "16" in refused.stderr, "the length that is needed"
    assert salt == "corrente" or salt not in refused.stderr
    assert "Traceback" not in refused.stderr
    assert refused.stdout == "", "it said nowhere that it serves"


def test_a_server_with_a_salt_of_16_bytes_starts_on_every_address(redis_server: RedisServer):
    options = ("--host", "0.0.0.0", "--port", "0")
    with serving(redis_server, None, *options, CORRENTE_MODEL__VISITOR_SALT=SALT) as (process, address):
        assert httpx.get(f"{address.replace('0.0.0.0', '127.0.0.1')}/health/live").status_code == 200
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    assert "weak visitor salt" not in errors
    assert SALT not in errors


@pytest.mark.parametrize("processes", ["1", "2"])
def test_on_loopback_a_weak_salt_is_one_warning(redis_server: RedisServer, processes: str):
    with serving(redis_server, None, "--port", "0", "--workers", processes) as (process, _):
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert errors.count("weak visitor salt") == 1, errors
    assert "docs/how-to/change-the-visitor-salt.md" in errors
