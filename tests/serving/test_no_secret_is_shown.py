"""No command and no page shows a password, whether it is the right one or not."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from benchmarks.harness.waiting import wait_until
from docs.generate.commands import found_commands
from serving.app import create_app
from stream.cli import app as corrente
from stream.settings import load_settings
from tests.connections.redis_side import PASSWORD, RedisSide, redis_side

WRONG = "an#ther/p@ss?word"
OF_KAFKA = "k#fka/w?th:s@me&%chars"
OF_REDIS = {"versions", "settings", "size", "keys", "audit"}
"""Commands that read settings or Redis, and end at once. Those that use Kafka run as processes, further down."""


@pytest.fixture(scope="module")
def side(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisSide]:
    with redis_side("password", tmp_path_factory.mktemp("redis")) as found:
        yield found


@pytest.fixture(params=["right", "wrong", "away"])
def environment(side: RedisSide, request: pytest.FixtureRequest) -> dict[str, str]:
    given = {**side.environment, "CORRENTE_KAFKA": "127.0.0.1:1", "CORRENTE_REDIS_SENTINEL_PASSWORD": PASSWORD}
    if request.param == "wrong":
        given["CORRENTE_REDIS"] = given["CORRENTE_REDIS"].replace(PASSWORD, WRONG)
    if request.param == "away":
        given["CORRENTE_REDIS"] = given["CORRENTE_REDIS"].rsplit(":", 1)[0] + ":1/0"
    return given


def assert_no_secret(text: str, where: str) -> None:
    for secret in (PASSWORD, WRONG, OF_KAFKA):
        for part in (secret, secret[-8:], secret[:8]):
            assert part not in text, f"{where} shows a password:\n{text}"


def test_no_command_shows_a_password(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    ran = []
    for name, command in found_commands():
        words = name.split()[1:]
        if words[0] not in OF_REDIS:
            continue
        for parameter in command.params:
            if parameter.param_type_name == "argument" and parameter.required:
                words.append("100")
        result = CliRunner().invoke(corrente, words)
        assert_no_secret(result.output + caplog.text + str(result.exception or ""), name)
        ran.append(name)
    assert len(ran) >= 10


async def test_no_page_shows_a_password(environment: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    app = create_app(load_settings(environment))
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with contextlib.AsyncExitStack() as running:
        await running.enter_async_context(app.router.lifespan_context(app))
        client = await running.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://corrente"))
        seen = 0
        for path, methods in {**app.openapi()["paths"], "/docs": ["get"], "/openapi.json": ["get"]}.items():
            for method in methods:
                answer = await client.request(
                    method, re.sub(r"\{\w+\}", "1", path), json={} if method == "post" else None
                )
                assert_no_secret(answer.text, f"{method} {path}")
                seen += 1
        assert seen >= 15
    assert_no_secret(caplog.text, "the log")


# ---- commands that use Kafka too, in processes of their own


class Closing(socketserver.BaseRequestHandler):
    """Accepts connections and answers nothing: each is closed at once."""


@pytest.fixture(scope="module")
def closing() -> Iterator[str]:
    """Host and port of a server that is no Kafka."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Closing) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


class Command:
    """One command of `corrente` in a process; all that it says goes to one file."""

    def __init__(self, words: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        self._said = folder / f"{len(list(folder.iterdir()))}.txt"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("CORRENTE_")}
        with self._said.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", "from stream.cli import main; main()", *words],
                env={**inherited, **environment},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def said(self) -> str:
        return self._said.read_text(errors="replace")

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until it has said this."""
        return wait_until(lambda: re.search(pattern, self.said()), f"{pattern!r} in\n{self.said()}", 60.0)

    def end(self) -> None:
        """Stop it if it runs; killed if it doesn't follow."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.fixture(params=["refused", "away", "unreadable"])
def trouble(side: RedisSide, closing: str, request: pytest.FixtureRequest) -> tuple[str, dict[str, str]]:
    """A kind of trouble, and the settings that lead to it."""
    node = side.nodes[0]
    redis, kafka = {
        "refused": (f"redis://:{WRONG}@127.0.0.1:{node.port}/0", closing),
        "away": (f"redis://:{PASSWORD}@127.0.0.1:1/0", "127.0.0.1:1"),
        "unreadable": (f"redis://:{PASSWORD}@127.0.0.1:none/0", "127.0.0.1:1"),
    }[request.param]
    return request.param, {
        "CORRENTE_REDIS": redis,
        "CORRENTE_REDIS_SENTINEL_PASSWORD": PASSWORD,
        "CORRENTE_KAFKA": f"SASL_PLAINTEXT://{kafka}",
        "CORRENTE_KAFKA_SASL_MECHANISM": "SCRAM-SHA-1" if request.param == "unreadable" else "SCRAM-SHA-512",
        "CORRENTE_KAFKA_SASL_USERNAME": "corrente",
        "CORRENTE_KAFKA_SASL_PASSWORD": OF_KAFKA,
        "CORRENTE_KAFKA_SASL_OAUTH_CLIENT_SECRET": OF_KAFKA if request.param == "unreadable" else "",
        "CORRENTE_LOG_LEVEL": "debug",
        "CORRENTE_METRICS_PORT": "0",
    }


@pytest.mark.unmeasured
def test_no_command_that_uses_kafka_shows_a_password(trouble: tuple[str, dict[str, str]], tmp_path: Path) -> None:
    kind, environment = trouble
    history = tmp_path / "history.jsonl"
    history.write_text('{"user": "ada", "item": "teapot", "timestamp": 1750000000}\n')
    rows = [str(history), "--kind", "click"]
    with contextlib.ExitStack() as running:

        def start(*words: str) -> Command:
            command = Command(words, environment, tmp_path)
            running.callback(command.end)
            return command

        worker, serve = start("worker"), start("serve", "--port", "0")
        ending = [start("doctor"), start("doctor", "--json"), start("dead-letters", "list")]
        ending += [start("replay", *rows, "--via", via, "--url", "http://127.0.0.1:1") for via in ("kafka", "http")]
        pages = ""
        if kind == "unreadable":
            ending += [worker, serve]
        else:
            worker.wait_for("Kafka can't be used yet")
            url = serve.wait_for(r"http://[0-9.]+:\d+")[0]
            with httpx.Client(base_url=url, timeout=30.0) as client:
                wait_until(lambda: "Kafka at" in client.get("/health/ready").text, "the reason", 60.0)
                client.post("/v1/events/clicks", json={"user": "ada", "item": "teapot"})
                pages = client.get("/health/ready").text + client.get("/metrics").text
        for command in ending:
            assert command.process.wait(60.0) != 0, command.said()
    for command in [worker, serve, *ending]:
        assert len(command.said()) > 20, "a command that says nothing shows nothing"
        assert_no_secret(command.said(), str(command.process.args))
    assert_no_secret(pages, "a page of the server")
