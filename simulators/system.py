"""The whole system on one machine: embedded broker and Redis, one worker, one HTTP server.

The parts are the real ones, started by their commands (`corrente worker`, `corrente serve`), each in a process of its
own. This file decides how they are wired, and that all of them are gone at the end. What happens in the shop is decided
by the caller.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from simulators.children import Child
from simulators.embedded import embedded_kafka, embedded_redis

TOPICS = ("clicks", "purchases", "feedback", "dead-letters")
START_SECONDS = 600.0
"""Longest wait for a start: the first one compiles every kernel, even on a slow machine."""
POLL_SECONDS = 0.05


class NotStarted(RuntimeError):
    """The system did not start in time. The text has the output of its parts."""


@dataclass(frozen=True)
class System:
    """A running system; `address` is the URL of its HTTP server."""

    address: str
    worker: Child
    server: Child

    def check(self) -> None:
        """Raise `ChildEnded` if a part has ended."""
        self.worker.check()
        self.server.check()


@contextmanager
def running_system(
    port: int = 0, settings: Mapping[str, str] | None = None, progress: Callable[[str], None] = lambda _: None
) -> Iterator[System]:
    """Start everything, wait until the server answers, and end everything with the context.

    Args:
        port: port of the HTTP server; 0 picks a free one.
        settings: further `CORRENTE_…` variables.
        progress: is called with one line of text for each step of the start.

    Raises:
        NotInstalled: the extra `embedded` is missing.
        ChildEnded, NotStarted: a part did not start.
    """
    with ExitStack() as ends:
        folder = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="corrente-")))
        progress("starting an embedded broker and Redis")
        environment = {name: value for name, value in os.environ.items() if not name.upper().startswith("CORRENTE_")}
        environment |= {
            "CORRENTE_KAFKA": ends.enter_context(embedded_kafka(TOPICS)),
            "CORRENTE_REDIS": ends.enter_context(embedded_redis(folder)),
            "CORRENTE_CREATE_TOPICS": "false",
            "CORRENTE_LOG_LEVEL": "warning",
            **(settings or {}),
        }

        def started(name: str, *arguments: str) -> Child:
            command = [sys.executable, "-m", "stream.cli", *arguments]
            child = Child(name, command, environment, folder / f"{arguments[0]}.log")
            ends.callback(child.stop)
            return child

        progress(
            "starting the worker and the server; the first start compiles every kernel, which takes a minute or two"
        )
        worker = started("worker", "worker")
        server = started("server", "serve", "--host", "127.0.0.1", "--port", str(port))
        system = System(_address(server), worker, server)
        wait_until(lambda: _ready(system), system, "the server to be ready")
        yield system


def wait_until(condition: Callable[[], Any], system: System, what: str, patience_seconds: float = START_SECONDS) -> Any:
    """Wait until `condition` returns a true value, and return it.

    Raises:
        NotStarted: it did not within `patience_seconds`; the text names `what` was waited for.
        ChildEnded: a part of the system has ended.
    """
    deadline = time.monotonic() + patience_seconds
    while not (answer := condition()):
        system.check()
        if time.monotonic() > deadline:
            written = "\n".join(
                child.log.read_text(errors="replace")[-2000:] for child in (system.worker, system.server)
            )
            raise NotStarted(f"waited {patience_seconds:.0f} seconds for {what}.\n{written}")
        time.sleep(POLL_SECONDS)
    return answer


def _address(server: Child) -> str:
    """The URL that the server prints in its first line."""
    deadline = time.monotonic() + START_SECONDS
    while not (found := re.search(r"http://[^\s/]+", server.log.read_text(errors="replace"))):
        server.check()
        if time.monotonic() > deadline:
            written = server.log.read_text(errors="replace")[-2000:]
            raise NotStarted(f"the server printed no address within {START_SECONDS:.0f} seconds:\n{written}")
        time.sleep(POLL_SECONDS)
    return found.group()


def _ready(system: System) -> bool:
    try:
        return httpx.get(f"{system.address}/health/ready").is_success
    except httpx.TransportError:
        return False
