"""`corrente demo` as people run it: it ends when told, however told, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

START_SECONDS = 620


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts `corrente demo --json` for an hour; its temporary files go where the test can see them."""
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "stream.cli", "demo", "--json", "--seconds", "3600"]
        environment = {**os.environ, "TMPDIR": str(tmp_path)}
        with (tmp_path / "told").open("w") as told:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=told, text=True, env=environment)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def wait_for(text: str, folder: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while text not in (folder / "told").read_text():
        assert process.poll() is None, (folder / "told").read_text()
        assert time.monotonic() < deadline, (folder / "told").read_text()
        time.sleep(0.1)


def left_over(folder: Path) -> list[str]:
    """Processes whose command line or environment names the folder."""
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
    wait_for("learned 4", tmp_path, process)  # some hundred events
    assert len(left_over(tmp_path)) >= 3, "Redis, worker and server run"
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    summary = json.loads(out.splitlines()[-1])
    assert summary["events_learned"] > 0
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


def test_a_port_that_is_taken_is_told() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "stream.cli", "demo", "--json", "--port", str(port)]
        run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=START_SECONDS)
    assert run.returncode == 1
    assert f"can't bind 127.0.0.1:{port}" in run.stderr
    assert "Traceback" not in run.stderr
    assert tempfile.gettempdir() not in run.stdout
