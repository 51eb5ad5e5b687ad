"""A running system as its commands see it: started, followed while it starts, described to a shell, and ended.

This file decides what a second start compares, how a supervisor is started and signalled, and how long its end may
take. What is printed is decided by `simulators.quickstart.cli`.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from simulators.quickstart.record import SECRET, SECURITY, NoFolder, Place, Record, Taken, passed_on, recorded
from simulators.system import HOST

__all__ = ["HOST", "NoFolder", "NotRunning", "Place", "Session", "Started"]

POLL_SECONDS = 0.05
STOP_SECONDS = 60.0
"""Longest wait for an orderly end, in which each part may take ten seconds. Then the supervisor is killed."""


class NotRunning(RuntimeError):
    """The system did not start, has ended, or can't be started as asked; the text says why and what would be right."""


@dataclass(frozen=True)
class Started:
    """A ready system: its record, and whether this call started it."""

    record: Record
    new: bool


class Session:
    """The system of one user.

    Args:
        place: its folder.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._supervisor: subprocess.Popen[bytes] | None = None

    @property
    def record(self) -> Record | None:
        """The record of the running system; None if none runs. One that ended by itself is `last_end`."""
        return self._place.read() if self._place.running else None

    @property
    def last_end(self) -> str:
        """Reason why the last system ended by itself; empty if it was stopped, or if one runs."""
        record = None if self._place.running else self._place.read()
        if record is None:
            return ""
        return record.ended or "its supervisor was killed"

    def start(
        self,
        port: int,
        environment: Mapping[str, str],
        seed_events: int,
        progress: Callable[[str], None],
        waiting: Callable[[], None],
    ) -> Started:
        """Start a system unless one runs, and wait until it is ready.

        Args:
            port: port of the HTTP server; 0 picks a free one, and any port fits a system that runs.
            environment: of the system; its `CORRENTE_…` variables are settings.
            seed_events: number of events of a simulated shop to learn first.
            progress: is called with each line about the start.
            waiting: is called again and again meanwhile.

        Raises:
            NotRunning: it did not start, or one runs with other settings.
        """
        with self._place.turn_to_start():
            new = not self._place.running
            if new:
                self._place.forget()
                _check_port(port)
                self._spawn(port, environment, seed_events)
                while self._alive and self._place.read() is None:
                    time.sleep(POLL_SECONDS)
        record = self._follow(progress, waiting)
        if not new:
            _compare(record, port, environment)
        return Started(record, new)

    def stop(self) -> bool:
        """End the system and wait until all of it is gone, leftovers of a killed one included; False if none ran."""
        place = self._place
        ran = place.running
        deadline = time.monotonic() + STOP_SECONDS
        signalled = 0
        while place.running:
            record = place.read()
            if record is not None and signalled != record.pid:
                _signal(record.pid, signal.SIGTERM)
                signalled = record.pid
            if time.monotonic() > deadline and record is not None:
                _signal(record.pid, signal.SIGKILL)
            time.sleep(POLL_SECONDS)
        if self._supervisor is not None:
            self._supervisor.wait()
        with contextlib.suppress(Taken):  # another command has started one meanwhile
            place.forget()
        return ran

    def interrupt(self) -> None:
        """End a system that this session has started and that is not ready yet; another's start goes on."""
        if self._supervisor is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._supervisor.terminate()
        self._supervisor.wait()
        self.stop()

    @property
    def _alive(self) -> bool:
        """True while the supervisor lives that this session has started, or else that of another session."""
        return self._place.running if self._supervisor is None else self._supervisor.poll() is None

    def _spawn(self, port: int, environment: Mapping[str, str], seed_events: int) -> None:
        command = [sys.executable, "-m", "simulators.quickstart.supervisor", str(port), str(seed_events)]
        with self._place.log.open("wb") as log:
            self._supervisor = subprocess.Popen(
                command,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _follow(self, progress: Callable[[str], None], waiting: Callable[[], None]) -> Record:
        """The record of the ready system; each line about its start is passed on meanwhile.

        Raises:
            NotRunning: it ended before it was ready.
        """
        printed = 0
        while True:
            alive = self._alive
            record = self._place.read()
            if record is not None:
                for step in record.steps[printed:]:
                    progress(step)
                printed = len(record.steps)
                if record.ready and alive:
                    return record
            if not alive:
                log = self._place.log.read_text(errors="replace") if self._place.log.exists() else ""
                raise NotRunning((record.ended if record else "") or f"the supervisor ended:\n{log[-2000:]}")
            waiting()
            time.sleep(POLL_SECONDS)


def exports(record: Record, environment: Mapping[str, str]) -> list[str]:
    """Lines for a shell, so that every other command reaches the running system.

    Settings that were passed on are among them, but for the salt, which no command prints. `environment` is that of
    the shell: the line of a setting that it has already is left out.
    """
    names = {
        "CORRENTE_KAFKA": record.kafka,
        "CORRENTE_REDIS": record.redis,
        "CORRENTE_PORT": str(record.port),
        **{name: value for name, value in record.settings.items() if name != SECRET},
    }
    always = ("CORRENTE_KAFKA", "CORRENTE_REDIS", "CORRENTE_PORT")
    exported = [
        f"export {name}={shlex.quote(value)}"
        for name, value in names.items()
        if name in always or environment.get(name) != value
    ]
    return exported + [f"unset {name}" for name in sorted(environment) if name.startswith(SECURITY)]


def _compare(record: Record, port: int, environment: Mapping[str, str]) -> None:
    """Raise `NotRunning` if the running system has another port or other settings than this start would give it."""
    wanted, present = recorded(passed_on(environment)), record.settings
    different = [name for name in sorted({*wanted, *present}) if wanted.get(name) != present.get(name)]
    found = [f"port {record.port}, not {port}"] if port not in {0, record.port} else []
    found += [name if name == SECRET else f"{name}={present.get(name, '(unset)')}" for name in different]
    if found:
        raise NotRunning(
            f"one runs already on {record.address}, with other settings: {', '.join(found)}. "
            "End it first: corrente quickstart --stop"
        )


def _check_port(port: int) -> None:
    """Raise `NotRunning` if the port is taken, before anything is started."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen()
        except OSError as error:
            raise NotRunning(
                f"port {port} of {HOST} can't be used: {error.strerror}. Choose another with --port, such as "
                f"--port {port + 1 if port < 65535 else 8080}, or --port 0 for any free one."
            ) from None


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
