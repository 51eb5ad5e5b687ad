"""The README's first lines, run as they stand, on a real Kafka and a real Redis."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.harness.servers import free_port
from benchmarks.harness.waiting import wait_until

README = Path(__file__).parent.parent.parent / "README.md"


class Terminal:
    """Runs lines as typed: exports stay, `&` runs in the background, a line that fails is typed again."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = {**os.environ, **environment, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        self.background: list[subprocess.Popen[bytes]] = []

    def type(self, line: str) -> str:
        if line.startswith("export "):
            self.environment |= dict(each.split("=", 1) for each in shlex.split(line)[1:])
            return ""
        if line.endswith("&"):
            self.background.append(subprocess.Popen(shlex.split(line[:-1]), env=self.environment))
            return ""
        outputs: list[str] = []

        def works() -> bool:
            run = subprocess.run(shlex.split(line), env=self.environment, capture_output=True, text=True, check=False)
            outputs.append(run.stdout)
            return run.returncode == 0

        wait_until(works, line, 120.0)
        return outputs[-1]

    def close(self) -> None:
        for process in self.background:
            process.send_signal(signal.SIGTERM)
        for process in self.background:
            try:
                process.wait(60)
            finally:
                process.kill()
                process.wait()


@pytest.fixture
def terminal(environment: dict[str, str]) -> Iterator[Terminal]:
    """A terminal with topics and a model of this test's own; everything else is as in the README."""
    terminal = Terminal(environment)
    yield terminal
    terminal.close()


def test_the_first_lines_recommend_bob_what_goes_with_his_teapot(
    terminal: Terminal, kafka: str, redis_url: str
) -> None:
    found = re.search(r"<!-- tested: quickstart -->\n```sh\n(.*?)```", README.read_text(), re.DOTALL)
    assert found
    port = str(free_port())
    lines = (
        found[1].replace("localhost:9092", kafka).replace("redis://localhost:6379/0", redis_url).replace("8080", port)
    )
    assert len(lines.splitlines()) == 8
    for line in lines.splitlines():
        answer = terminal.type(line)
        if "recommendations" in line:
            deadline = time.monotonic() + 60
            while "cups" not in [each["item"] for each in json.loads(answer)["items"]]:
                assert time.monotonic() < deadline, answer
                answer = terminal.type(line)
            recommended = json.loads(answer)
            assert recommended["fallback"] is None
    listed = {int(number) for number in re.findall(r"^\W*(\d+)\b", answer, re.MULTILINE)}
    assert recommended["version"] in listed, f"the list of versions is {answer}"
