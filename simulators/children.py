"""Child processes that never outlive the one that started them.

A child is stopped with SIGTERM and, if it doesn't listen, with SIGKILL. It runs in a session of its own, so that Ctrl-C
in a terminal reaches the parent alone, which then stops its children in the right order. On Linux the kernel ends a
child whose parent was killed without a chance to do so; elsewhere only a clean end is covered.

What the children are and in which order they stop is decided by who starts them.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

LAST_LINES = 20


class ChildEnded(RuntimeError):
    """A child process is gone though nobody asked it to stop. The text has the end of what it wrote."""


class Child:
    """One running process. What it writes goes to a file."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "simulators.die_with_parent", *command],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def check(self) -> None:
        """Raises `ChildEnded` unless the process is running."""
        code = self._process.poll()
        if code is not None:
            written = self.log.read_text(errors="replace").splitlines()[-LAST_LINES:]
            raise ChildEnded("\n".join([f"the {self.name} ended by itself with code {code}:", *written]))

    def stop(self, patience_seconds: float = 10.0) -> None:
        """End it, politely first."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(patience_seconds)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()
