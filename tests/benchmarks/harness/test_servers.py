"""Servers of benchmarks and tests: started and killed as context managers, paused, and started again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from pathlib import Path

import pytest
import redis

from benchmarks.harness import servers
from benchmarks.harness.kafka_jars import MissingServer
from benchmarks.harness.servers import NO_REDIS, RedisServer

pytestmark = pytest.mark.skipif(shutil.which("redis-server") is None, reason=NO_REDIS)


def client_of(server: RedisServer) -> redis.Redis:
    return redis.Redis.from_url(server.url, socket_timeout=0.2, retry=None)


def test_a_server_runs_in_its_context_and_is_gone_afterwards(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis") as server, client_of(server) as client:
        assert client.ping()
    with pytest.raises(redis.exceptions.ConnectionError), client_of(server) as client:
        client.ping()


def test_a_server_is_gone_after_an_error_in_its_context(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), RedisServer(tmp_path / "redis") as server:
        raise ZeroDivisionError
    with pytest.raises(redis.exceptions.ConnectionError), client_of(server) as client:
        client.ping()


@pytest.mark.parametrize("kill", [False, True])
def test_a_server_starts_again_on_its_port_and_its_data(tmp_path: Path, kill: bool) -> None:
    with RedisServer(tmp_path / "redis", appendonly=True) as server, client_of(server) as client:
        client.set("a", "b")
        client.wait(0, 0)
        server.stop(kill=kill)
        server.start()
        with client_of(server) as again:
            assert again.get("a") == b"b"


def test_a_paused_server_does_not_answer_and_goes_on_afterwards(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis") as server, client_of(server) as client:
        with server.paused(), pytest.raises(redis.exceptions.TimeoutError):
            client.get("a")
        assert client.get("a") is None


def test_a_paused_server_is_stopped_all_the_same(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis") as server:
        with client_of(server) as client:
            process_id = int(client.info()["process_id"])
        os.kill(process_id, signal.SIGSTOP)
        server.stop()
        with pytest.raises(ProcessLookupError):
            os.kill(process_id, 0)


def test_a_server_that_ends_while_it_starts_is_reported_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "redis-server"
    program.write_text("#!/bin/sh\necho no room for data\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"(?s)the server ended with 3:.*no room for data"):
        RedisServer(tmp_path / "redis").start()


def test_a_port_in_use_is_never_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    port = servers.free_port()
    assert port in servers.PORTS
    monkeypatch.setattr(servers, "PORTS", range(port, port + 1))
    assert servers.free_port() == port
    with socket.create_server(("127.0.0.1", port)), pytest.raises(RuntimeError, match="no free port found"):
        servers.free_port()


def test_a_missing_program_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingServer, match="redis-server is not installed"):
        RedisServer(tmp_path / "redis").start()
