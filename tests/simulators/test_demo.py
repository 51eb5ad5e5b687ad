"""`corrente demo` as it is run: it ends when it is stopped, in whatever way, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

START_SECONDS = 620


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """`demo()` starts `corrente demo --json` for an hour, with its temporary files in the test's folder."""
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "stream.cli", "demo", "--json", "--seconds", "3600"]
        environment = {**os.environ, "TMPDIR": str(tmp_path)}
        with (tmp_path / "output").open("w") as output:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=output, text=True, env=environment)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


LEARNED = re.compile(r"learned ([\d,]+) events")


def output_of(folder: Path) -> str:
    return (folder / "output").read_text()


def wait_for(text: str, folder: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while text not in output_of(folder):
        assert process.poll() is None, output_of(folder)
        assert time.monotonic() < deadline, output_of(folder)
        time.sleep(0.1)


def left_over(folder: Path) -> list[str]:
    """Processes whose command line or environment names the demo's temporary folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            known = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if f"{folder}/corrente-".encode() in known and state != "Z" and int(process.name) != os.getpid():
            found.append(f"{process.name}: {(process / 'cmdline').read_bytes()!r}")
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks for what is left in /proc")
@pytest.mark.timeout(900)
def test_ctrl_c_ends_it_with_everything_it_started(demo: Callable[[], subprocess.Popen[str]], tmp_path: Path) -> None:
    process = demo()
    learned = 0
    deadline = time.monotonic() + START_SECONDS
    while learned < 300:
        assert process.poll() is None, output_of(tmp_path)
        assert time.monotonic() < deadline, output_of(tmp_path)
        learned = max((int(each.replace(",", "")) for each in LEARNED.findall(output_of(tmp_path))), default=0)
        time.sleep(0.1)
    assert len(left_over(tmp_path)) >= 3, "Redis, worker and server run"
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    summary = json.loads(out.splitlines()[-1])
    assert summary["events_sent"] >= summary["events_learned"] >= learned
    assert not summary["finished"]
    assert left_over(tmp_path) == []
    assert not list(tmp_path.glob("corrente-*"))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux's kernel ends the children of a killed parent")
@pytest.mark.timeout(900)
def test_nothing_outlives_a_demo_that_was_killed(demo: Callable[[], subprocess.Popen[str]], tmp_path: Path) -> None:
    process = demo()
    wait_for("the shop is open", tmp_path, process)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20
    while left := left_over(tmp_path):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def test_a_port_that_is_taken_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "stream.cli", "demo", "--json", "--port", str(port)]
        run = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=START_SECONDS
        )
    assert run.returncode == 1
    assert f"can't bind 127.0.0.1:{port}" in run.stderr
    assert "Traceback" not in run.stderr
    assert run.stdout == ""
    assert left_over(tmp_path) == []
    assert not list(tmp_path.glob("corrente-*"))
