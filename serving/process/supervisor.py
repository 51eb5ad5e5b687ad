"""Several processes as one server: who is started, who is started again, and how all of them end.

The first process listens and starts the others: one that loads versions, and those that answer from the listening
socket that they inherit. Whoever ends although nobody said so is started again. The others end with the first one, even
if it is killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

import structlog

log = structlog.get_logger(__name__)

AGAIN_SECONDS = 0.5
"""Before a process that ended by itself is started again."""
PR_SET_PDEATHSIG = 1

Program = Callable[[str], None]
"""What a process does, given the name of the socket of the one that loads."""


def run_processes(count: int, load: Program, answer: Program) -> None:
    """Run `count` processes that answer and one that loads, until told to stop.

    Raises:
        OSError: this is not Linux.
    """
    if not sys.platform.startswith("linux"):
        raise OSError("several server processes share memory as only Linux can; use CORRENTE_SERVER_PROCESSES=1")
    socket_name = f"\0corrente-{secrets.token_hex(8)}"
    programs = [("load", load), *[("answer", answer)] * count]
    running: dict[int, tuple[str, Program]] = {}
    stopping = False

    def stop(_: int, __: FrameType | None) -> None:
        nonlocal stopping
        stopping = True
        for process in list(running):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGTERM)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    for role, program in programs:
        running[_started(program, socket_name)] = (role, program)
    while running:
        try:
            process, status = os.wait()
        except InterruptedError:
            continue
        role, program = running.pop(process)
        if not stopping:
            log.warning("a process ended and is started again", role=role, status=os.waitstatus_to_exitcode(status))
            time.sleep(AGAIN_SECONDS)
        if not stopping:
            running[_started(program, socket_name)] = (role, program)


def _started(program: Program, socket_name: str) -> int:
    parent = os.getpid()
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() == parent:  # else it went before we asked to be told
            program(socket_name)
        status = 0
    except Exception:
        log.exception("a process failed")
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
