"""`corrente quickstart` as it is typed: from ready to gone, and what happens when a part of it is killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from benchmarks.harness.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

START_SECONDS = 620.0
Starting = Callable[..., subprocess.Popen[str]]
linux = pytest.mark.skipif(sys.platform != "linux", reason="looks for what is left in /proc")


class Shell:
    """Types commands of a user whose temporary files lie in a folder of the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "TMPDIR": str(folder)}

    def start(self, *options: str, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "stream.cli", *options],
            env={**self.environment, **more},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def type(self, *options: str, code: int = 0, **more: str) -> tuple[str, str]:
        """The standard output and error of a command that ends with this code."""
        process = self.start(*options, **more)
        out, err = process.communicate(timeout=START_SECONDS)
        assert process.returncode == code, f"{options}: {out}{err}"
        return out, err

    def processes(self) -> dict[str, int]:
        """Processes of the system that run: last words of their command lines to their ids."""
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            try:
                known = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
                words = (process / "cmdline").read_text().split("\0")
                state = (process / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if str(self.folder).encode() not in known or state == "Z":
                continue
            if "redis-server" in words[0]:
                found["Redis"] = int(process.name)
            elif "simulators.quickstart.supervisor" in words:
                found["supervisor"] = int(process.name)
            elif "stream.cli" in words and words[3] in {"worker", "serve"}:
                found[words[3]] = int(process.name)
        return found

    def wait_until_gone(self) -> None:
        wait_until(lambda: not self.processes(), f"the end of {self.processes()}", 60.0)


@pytest.fixture
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    shell = Shell(tmp_path_factory.mktemp("q"))  # a short name: there will be a socket below it
    yield shell
    if shell.processes():
        shell.type("quickstart", "--stop")


@pytest.fixture
def starting(shell: Shell) -> Iterator[Starting]:
    """`starting(text, options)` starts a system and returns its command once that has printed this text."""
    started = []

    def until(text: str, *options: str, **settings: str) -> subprocess.Popen[str]:
        process = shell.start("quickstart", "--port", "0", *options, **settings)
        started.append(process)
        assert process.stderr is not None
        while text not in (line := process.stderr.readline()):
            assert line, "it ended early"
        return process

    yield until
    for process in started:
        process.kill()
        process.communicate()


@linux
def test_from_ready_to_a_part_that_dies(shell: Shell, starting: Starting) -> None:
    settings = {"CORRENTE_CLICKS_TOPIC": "shop.views", "CORRENTE_MODEL__VISITOR_SALT": "a salt that is not printed"}
    first = starting(
        "starting the worker and the server; the first start compiles every kernel", "--seed-shop", **settings
    )
    supervisor = shell.processes()["supervisor"]
    os.kill(supervisor, signal.SIGSTOP)  # with kernels that are compiled, it could be ready before these commands look
    assert "starting: " in shell.type("quickstart", "--status")[0]
    assert "it is still starting" in shell.type("quickstart", "--env", code=1)[1]
    os.kill(supervisor, signal.SIGCONT)
    again, _ = shell.type("quickstart", **settings, CORRENTE_PORT="0")
    assert "Corrente runs already" in again, "a second start waits for the first"
    out, err = first.communicate(timeout=START_SECONDS)
    assert first.returncode == 0
    assert "learning 5,000 events of a simulated shop" in err
    found = re.search(r"Corrente runs on (http://127\.0\.0\.1:\d+) .*lost", out, re.DOTALL)
    assert found, out
    with httpx.Client(base_url=found[1]) as client:
        assert client.get("/health/ready").json()["status"] == "ready"
        assert client.get("/v1/popular").json()["items"]
        newest = client.get("/v1/versions/latest").json()
        assert newest["events"] == 5_000

    exported = shell.type("quickstart", "--env")[0]
    assert "salt" not in exported
    assert "export CORRENTE_CLICKS_TOPIC=shop.views\n" in exported
    variables = dict(line.removeprefix("export ").split("=", 1) for line in exported.splitlines())
    assert str(newest["number"]) in shell.type("versions", "list", **variables)[0]
    status = shell.type("quickstart", "--status")[0]
    assert found[1] in status
    assert "CORRENTE_CLICKS_TOPIC=shop.views CORRENTE_MODEL__VISITOR_SALT=(secret)" in status

    assert "Corrente runs already" in shell.type("quickstart", **{**settings, **variables})[0]
    refused = shell.type("quickstart", "--port", "0", code=1)[1]
    assert "one runs already" in refused
    assert "CORRENTE_CLICKS_TOPIC=shop.views" in refused

    assert set(shell.processes()) == {"supervisor", "Redis", "worker", "serve"}
    os.kill(shell.processes()["worker"], signal.SIGKILL)
    shell.wait_until_gone()
    out, _ = shell.type("quickstart", "--status", code=1)
    assert "the last one ended: the worker ended by itself with code -9" in out
    assert "nothing runs" in shell.type("quickstart", "--env", code=1)[1]


@linux
def test_ctrl_c_while_it_starts_leaves_nothing(shell: Shell, starting: Starting) -> None:
    process = starting("starting the worker")
    wait_until(lambda: len(shell.processes()) == 4, "all processes", START_SECONDS)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "stopped; nothing is left running"
    assert shell.processes() == {}
    assert not list(shell.folder.glob("corrente-quickstart-*/corrente-*"))


@linux
def test_nothing_outlives_a_supervisor_that_was_killed(shell: Shell, starting: Starting) -> None:
    process = starting("starting the worker")
    wait_until(lambda: len(shell.processes()) == 4, "all processes", START_SECONDS)
    os.kill(shell.processes()["supervisor"], signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "the supervisor ended" in err
    shell.wait_until_gone()
    assert (
        "nothing runs; the last one ended: its supervisor was killed" in shell.type("quickstart", "--status", code=1)[0]
    )
    assert "nothing was running" in shell.type("quickstart", "--stop")[0]
    assert not list(shell.folder.glob("corrente-quickstart-*/corrente-*"))


@pytest.mark.parametrize("options", [("--stop", "--env"), ("--status", "--port", "1"), ("--env", "--seed-shop")])
def test_options_that_contradict_each_other_are_refused(shell: Shell, options: tuple[str, ...]) -> None:
    assert "stand alone" in shell.type("quickstart", *options, code=2)[1]


def test_a_wrong_setting_is_refused_before_anything_starts(shell: Shell) -> None:
    assert "Did you mean CORRENTE_PORT" in shell.type("quickstart", code=2, CORRENTE_PROT="1")[1]
