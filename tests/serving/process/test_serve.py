"""`corrente serve` as a process: prints its address, ends in an orderly way, refuses a start that can't be right."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stream.access.acts import Caller
from stream.access.key_store import KeyStore
from stream.access.lifecycle import create_key
from stream.versions import VersionStore
from tests import plain_http
from tests.serving.conftest import MODEL, Broker, Publisher, RedisServer, until

COMMAND = [sys.executable, "-c", "from stream.cli import main; main()", "serve"]


SALT = "0123456789abcdef"


@contextmanager
def serving(
    redis_server: RedisServer | None, broker: Broker | None, *options: str, **more: str
) -> Iterator[tuple[subprocess.Popen, str]]:
    """A server process and its address; `more` are environment variables."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "CORRENTE_REDIS": redis_server.url if redis_server else "redis://127.0.0.1:1/0",
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
            health = plain_http.get(f"{address}/health/ready").json()
            return health["version"] == version.number and health["kafka"]["up"]

        until(ready, "the server is ready")
        answer = plain_http.get(f"{address}/v1/recommendations/a%2Fb").json()
        assert {each["item"] for each in answer["items"]} == {"a", "b"}
        assert plain_http.post(f"{address}/v1/events/clicks", json={"item": "a", "user": "u"}).status_code == 202
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 0, errors
        assert "Traceback" not in errors
    assert len(broker.records("clicks", 1)) == 1


def asked(address: str, *options: str) -> tuple[int, str, bytes]:
    """Status, version of HTTP and body of a request that curl sends."""
    url = f"{address}{options[0]}"
    form = "\n%{http_code} %{http_version}"
    done = subprocess.run(["curl", "-sS", url, *options[1:], "-w", form], capture_output=True, check=True, timeout=60)
    body, _, last = done.stdout.rpartition(b"\n")
    status, version = last.decode().split()
    return int(status), version, body


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_requests_as_other_programs_send_them_and_a_stop_beside_half_a_request(
    redis_server: RedisServer, broker: Broker, publisher: Publisher, tmp_path: Path
):
    """Offers of HTTP/2, packed bodies, HEAD, a prefix, and a SIGTERM while a client is in the middle of a request."""
    version = publisher.learn(("u", "a"), ("v", "b"))
    events = json.dumps([{"item": "a", "user": "u"}, {"item": "b", "user": "v"}])
    packed = tmp_path / "events.gz"
    packed.write_bytes(gzip.compress(events.encode()))
    with serving(redis_server, broker, "--port", "0", "--root-path", "/shop") as (process, address):

        def ready() -> bool:
            health = plain_http.get(f"{address}/health/ready").json()
            return health["version"] == version.number and health["kafka"]["up"]

        until(ready, "the server is ready")
        path = "/v1/events/clicks"
        assert asked(address, path, "--http2", "-d", events)[:2] == (202, "1.1")
        assert asked(address, path, "-H", "content-encoding: gzip", "--data-binary", f"@{packed}")[0] == 202
        assert asked(address, path, "-H", "content-encoding: br", "--data-binary", f"@{packed}")[0] == 415
        assert asked(address, "/v1/versions/1/rollback", "-X", "POST")[0] == 415
        for path in ("/health/live", "/health/ready", "/shop/health/ready", "/v1/popular", "/metrics"):
            head, get = plain_http.head(f"{address}{path}"), plain_http.get(f"{address}{path}")
            assert (head.status_code, head.content) == (get.status_code, b"")
            assert head.headers["content-type"] == get.headers["content-type"]
        page = plain_http.get(f"{address}/shop/docs").text
        links = re.findall(r'(?:href|src|url)[=:] ?["\']([^"\']+)["\']', page)
        assert "/shop/openapi.json" in links
        assert [plain_http.get(f"{address}{link}").status_code for link in links] == [200] * len(links)
        assert plain_http.get(f"{address}/openapi.json").json()["servers"] == [{"url": "/shop"}]

        port = int(address.rpartition(":")[2])
        halves = [b"GET /health/live HTTP/1.1\r\nho", b"POST /v1/events/clicks HTTP/1.1\r\ncontent-length: 9\r\n\r\n["]
        with contextlib.ExitStack() as stack:
            for half in halves:
                stack.enter_context(socket.create_connection(("127.0.0.1", port))).sendall(half)
            until(lambda: plain_http.get(f"{address}/health/live").status_code == 200, "both are read")
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=30)  # the grace period that the documentation names
        assert process.returncode == 0, errors
        assert "Traceback" not in errors
    assert len(broker.records("clicks", 4)) == 4


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


KEY = "corrente_" + "5f" * 32


def test_a_server_with_a_salt_of_16_bytes_and_a_key_starts_on_every_address(
    redis_server: RedisServer, store: VersionStore, tmp_path: Path
):
    """The key comes from a file, each process asks for it, and nothing that is printed has it."""
    publisher = Publisher(store, MODEL.model_copy(update={"visitor_salt": SALT}))
    version = publisher.learn(("u", "a"), ("v", "b"))
    (tmp_path / "key").write_text(f"{KEY}\n")
    options = ("--host", "0.0.0.0", "--port", "0", "--workers", "2")
    given = {"CORRENTE_MODEL__VISITOR_SALT": SALT, "CORRENTE_FIRST_KEY_FILE": str(tmp_path / "key")}
    with serving(redis_server, None, *options, **given) as (process, address):
        address = address.replace("0.0.0.0", "127.0.0.1")
        headers = {"authorization": f"Bearer {KEY}"}

        def served() -> bool:
            return plain_http.get(f"{address}/health/ready", headers=headers).json().get("version") == version.number

        until(served, "the version answers", 60.0)
        assert plain_http.get(f"{address}/health/live").status_code == 200
        for path in ("/v1/recommendations/u", "/v1/popular", "/metrics", "/v1/versions"):
            for _ in range(4):  # connections of their own, so that several processes answer
                refused = plain_http.get(f"{address}{path}")
                assert refused.status_code == 401, path
                assert refused.headers["www-authenticate"] == 'Bearer realm="corrente"'
                assert plain_http.get(f"{address}{path}", headers=headers).status_code == 200, path
        wrong = plain_http.get(f"{address}/v1/recommendations/u", headers={"x-api-key": KEY[:-1] + "0"})
        assert (wrong.status_code, KEY[:-1] in wrong.text) == (401, False)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert "weak visitor salt" not in errors
    assert SALT not in errors
    assert KEY[9:] not in errors
    assert errors.count("the first key was made") == 1


def test_a_server_that_other_machines_can_reach_needs_a_key(redis_server: RedisServer, store: VersionStore):
    options = ("--host", "0.0.0.0", "--port", "0")
    given = {"CORRENTE_MODEL__VISITOR_SALT": SALT, "CORRENTE_REDIS": redis_server.url, "CORRENTE_MODEL_NAME": "shop"}
    refused = ended(*options, **given)
    assert refused.returncode == 2, refused.stderr
    assert "model 'shop' has no valid key" in refused.stderr
    assert "corrente keys create --scope all --owner NAME" in refused.stderr, "the command that makes the first one"
    assert "Traceback" not in refused.stderr
    assert refused.stdout == "", "it said nowhere that it serves"
    expired = time.time() - 5
    create_key(
        KeyStore(store.space), scopes=["all"], owner="a", now=expired - 5, caller=Caller("a"), expires_at=expired
    )
    assert ended(*options, **given).returncode == 2, "one that has expired is none"


def test_a_server_that_other_machines_can_reach_starts_while_redis_is_away_and_refuses_every_call():
    options = ("--host", "0.0.0.0", "--port", "0")
    with serving(None, None, *options, CORRENTE_MODEL__VISITOR_SALT=SALT) as (process, address):
        address = address.replace("0.0.0.0", "127.0.0.1")
        assert plain_http.get(f"{address}/health/live").status_code == 200
        assert plain_http.get(f"{address}/v1/popular").status_code == 401
        assert plain_http.get(f"{address}/v1/popular", headers={"x-api-key": KEY}).status_code == 503
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    assert errors.count("can't see yet whether there is a key") == 1


@pytest.mark.parametrize("processes", ["1", "2"])
def test_on_loopback_a_weak_salt_is_one_warning(redis_server: RedisServer, processes: str):
    with serving(redis_server, None, "--port", "0", "--workers", processes) as (process, _):
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert errors.count("weak visitor salt") == 1, errors
    assert "docs/how-to/change-the-visitor-salt.md" in errors


def test_a_signal_that_comes_before_the_loop_runs_ends_the_server(redis_server: RedisServer):
    """The loop's handler is installed milliseconds after the program's own; a signal in between must not be lost."""
    program = """
import signal
from serving.process import server
run = server.HttpServer.run
def run_after_a_signal(self, **given):
    signal.raise_signal(signal.SIGTERM)
    run(self, **given)
server.HttpServer.run = run_after_a_signal
from stream.cli import main
main()
"""
    command = [sys.executable, "-c", program, "serve", "--port", "0"]
    environment = {"PYTHONPATH": ":".join(sys.path), "CORRENTE_REDIS": redis_server.url}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "serving on http://127.0.0.1:" in ended.stdout
