"""Child processes that never outlive the process that started them.

This file decides how a child is started and ended. It is stopped with SIGTERM and, if it doesn't end, with SIGKILL. It
runs in a session of its own, so that Ctrl-C in a terminal reaches the parent alone, which then stops its children in
the right order. On Linux the kernel kills a child whose parent is gone; elsewhere only a clean end is covered.

The commands of the children and the order in which they stop are decided by the caller.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

LAST_LINES = 20
"""Lines of output that the error shows."""


class ChildEnded(RuntimeError):
    """A child process ended without being stopped. The text has the end of its output."""


class Child:
    """One running process; its output goes to a file.

    Args:
        name: name of the process in messages.
        command: program and arguments.
        environment: all of its environment variables.
        log: file that its output is written to, emptied first.
    """

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
        """Raise `ChildEnded` unless the process is running."""
        code = self._process.poll()
        if code is not None:
            written = self.log.read_text(errors="replace").splitlines()[-LAST_LINES:]
            raise ChildEnded("\n".join([f"the {self.name} ended by itself with code {code}:", *written]))

    def stop(self, patience_seconds: float = 10.0) -> None:
        """Send SIGTERM, and SIGKILL if the process has not ended after `patience_seconds`."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(patience_seconds)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()
