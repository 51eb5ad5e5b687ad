"""`corrente serve` as a process: says where it listens, ends gracefully, refuses what it can't do."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from tests.serving.conftest import Broker, Publisher, RedisServer, until

COMMAND = [sys.executable, "-c", "from stream.cli import main; main()", "serve"]


@contextmanager
def serving(redis_server: RedisServer, broker: Broker | None, *options: str) -> Iterator[tuple[subprocess.Popen, str]]:
    environment = {
        "PATH": "/usr/bin:/bin",
        "CORRENTE_REDIS": redis_server.url,
        "CORRENTE_KAFKA": broker.servers if broker else "127.0.0.1:1",
        "CORRENTE_MODEL_NAME": "shop",
        "CORRENTE_POLL_SECONDS": "0.05",
        "PYTHONPATH": ":".join(sys.path),
    }
    process = subprocess.Popen(
        [*COMMAND, *options], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        line = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
        assert found, line + process.stderr.read()
        yield process, found[0]
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def ended(*options: str) -> subprocess.CompletedProcess:
    environment = {"PYTHONPATH": ":".join(sys.path)}
    return subprocess.run([*COMMAND, *options], capture_output=True, text=True, env=environment, check=False)


def test_port_0_is_told_and_a_post_under_way_is_finished(
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


def test_an_address_that_is_taken_is_told(redis_server: RedisServer):
    with serving(redis_server, None, "--port", "0") as (_, address):
        port = address.rpartition(":")[2]
        second = ended("--port", port)
    assert second.returncode == 1
    assert f"can't bind 127.0.0.1:{port}" in second.stderr
    assert "Traceback" not in second.stderr


def test_a_wrong_setting_is_told():
    wrong = ended("--port", "70000")
    assert wrong.returncode == 2
    assert "CORRENTE_PORT" in wrong.stderr
    assert "Traceback" not in wrong.stderr
