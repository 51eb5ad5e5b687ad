"""A worker in a process of its own, that tests kill, pause and start again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness.processes import WORKER
from benchmarks.harness.waiting import wait_until


class WorkerProcess:
    """`corrente worker`, or another `program`, with its own log file; `environment` holds its CORRENTE_ variables."""

    def __init__(self, environment: dict[str, str], log: Path, program: Sequence[str] = WORKER) -> None:
        self.environment = environment
        self.log = log
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("CORRENTE_")}
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, *program],
                env={**inherited, **environment},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def running(self) -> bool:
        return self._process.poll() is None

    def logged(self, text: str) -> bool:
        """True once a line with this text is in the log; raises if the worker has ended without it."""
        found = text in self.log.read_text(errors="replace")
        if not found and not self.running():
            raise RuntimeError(f"the worker ended with {self._process.returncode}:\n{self.tail()}")
        return found

    def wait_for_log(self, text: str, seconds: float = 60.0) -> None:
        wait_until(lambda: self.logged(text), f"{text!r} in the log of the worker:\n{self.tail()}", seconds)

    def wait_for_end(self, seconds: float) -> int:
        """Wait until the worker has ended by itself; returns the exit code."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the worker did not end within {seconds} seconds:\n{self.tail()}") from None

    def last_line(self) -> str:
        """The last line of the log that is not empty."""
        return self.log.read_text(errors="replace").strip().rpartition("\n")[2]

    def tail(self, characters: int = 4000) -> str:
        return self.log.read_text(errors="replace")[-characters:]

    def kill(self) -> None:
        """Send SIGKILL: no last publish, and the group is not left."""
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def stop(self, seconds: float = 20.0) -> int:
        """Send SIGTERM, as an orchestrator does; returns the exit code."""
        self.resume()
        self._process.terminate()
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the worker did not end within {seconds} seconds:\n{self.tail()}") from None

    def end(self) -> None:
        """Kill the worker if it runs, paused or not."""
        if self.running():
            self.resume()
            self.kill()
