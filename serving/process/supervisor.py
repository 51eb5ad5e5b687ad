"""Several processes as one server: the first one listens, starts the others, and restarts those that fail.

The others are one that loads versions and those that answer from the listening socket that they inherit. A child that
exits unexpectedly is restarted. The children end with the first process, even if it is killed, and one that doesn't
end after SIGTERM, because it is paused, is killed.

This file decides when a process is started and ended, not what it does.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Iterable
from types import FrameType

import structlog

log = structlog.get_logger(__name__)

KILL_SECONDS = 25
"""Time after SIGTERM after which a child that has not ended is killed, because it is paused or hangs."""
RESTART_SECONDS = 0.5
"""Pause before a process that exited unexpectedly is restarted."""
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
"""Signals that end the server in an orderly way: of a process manager, and Ctrl-C."""
PR_SET_PDEATHSIG = 1
"""From Linux's `prctl.h`: the signal that a process gets when its parent ends."""

Program = Callable[[str], None]
"""Body of a process. Its argument is the name of the loading process's socket."""


def run_processes(count: int, load: Program, answer: Program) -> None:
    """Run one process that loads versions and `count` that answer, until SIGTERM or Ctrl-C.

    Args:
        count: processes that answer.
        load: body of the process that loads.
        answer: body of each process that answers.

    Raises:
        OSError: this is not Linux.
    """
    if not sys.platform.startswith("linux"):
        raise OSError("several server processes share memory as only Linux can; use CORRENTE_SERVER_PROCESSES=1")
    socket_name = f"\0corrente-{secrets.token_hex(8)}"
    programs = [("load", load), *[("answer", answer)] * count]
    running: dict[int, tuple[str, Program]] = {}
    stopping = False

    def send(number: signal.Signals) -> None:
        for process in list(running):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)

    def stop(_: int, __: FrameType | None) -> None:
        nonlocal stopping
        if not stopping:
            signal.alarm(KILL_SECONDS)
        stopping = True
        send(signal.SIGTERM)

    def kill(_: int, __: FrameType | None) -> None:
        log.warning("children that have not ended are killed", processes=len(running), seconds=KILL_SECONDS)
        send(signal.SIGKILL)

    def start(role: str, program: Program) -> None:
        # A signal between the fork and the entry would not be sent to the new process, so both happen without one.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            if not stopping:
                running[_start(program, socket_name, before)] = (role, program)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    signal.signal(signal.SIGALRM, kill)
    for number in STOP_SIGNALS:
        signal.signal(number, stop)
    for role, program in programs:
        start(role, program)
    while running:
        try:
            process, status = os.wait()
        except InterruptedError:
            continue
        role, program = running.pop(process)
        if not stopping:
            log.warning("a child exited and is restarted", role=role, status=os.waitstatus_to_exitcode(status))
            time.sleep(RESTART_SECONDS)
        start(role, program)


def _start(program: Program, socket_name: str, signals: Iterable[int]) -> int:
    """Fork a process that runs a program with a set of blocked signals and exits; returns its id."""
    parent = os.getpid()
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, signals)
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() == parent:  # otherwise the parent ended before the signal was requested
            program(socket_name)
        status = 0
    except Exception:
        log.exception("a process failed")
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
