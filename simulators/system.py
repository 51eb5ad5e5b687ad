"""The whole system on one machine: embedded broker and Redis, one worker, one HTTP server.

The parts are the real ones, started by their commands (`corrente worker`, `corrente serve`), each in a process of its
own. This file decides how they are wired, when the system is ready, and that all of them are gone at the end. What
happens in the shop is decided by the caller.
"""

from __future__ import annotations

import os
import re
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from simulators.children import Child
from simulators.client import authorities
from simulators.embedded import embedded_kafka, embedded_redis

HOST = "127.0.0.1"
"""Address of the server: it has no keys, so only programs of this machine reach it."""
TOPICS = ("clicks", "purchases", "feedback", "dead-letters")
START_SECONDS = 600.0
"""Longest wait for a start: the first one compiles every kernel, even on a slow machine."""
POLL_SECONDS = 0.05


class NotStarted(RuntimeError):
    """The system did not start in time. The text has the output of its parts."""


@dataclass(frozen=True)
class System:
    """A running system.

    Attributes:
        address: URL of the HTTP server.
        metrics: URL of the worker's metrics.
        kafka: `host:port` of the embedded broker.
        redis: URL of the embedded Redis.
        folder: has the log of each process.
        parts: the processes, in the order of their start.
    """

    address: str
    metrics: str
    kafka: str
    redis: str
    folder: Path
    parts: Sequence[Child]

    def check(self) -> None:
        """Raise `ChildEnded` if a part has ended."""
        for part in self.parts:
            part.check()


@contextmanager
def running_system(
    port: int = 0,
    settings: Mapping[str, str] | None = None,
    progress: Callable[[str], None] = lambda _: None,
    *,
    topics: Sequence[str] = TOPICS,
    partitions: int = 1,
    within: Path | None = None,
) -> Iterator[System]:
    """Start everything, wait until it is ready, and end everything with the context.

    Ready means that an event that is posted now is learned and in a list at once: the server reaches broker and Redis,
    and the worker follows the topics and has imported everything that it needs.

    Args:
        port: port of the HTTP server; 0 picks a free one.
        settings: further `CORRENTE_…` variables.
        progress: is called with one line of text for each step of the start.
        topics: topics of the broker.
        partitions: number of partitions of each topic.
        within: folder for the folder of sockets and logs; the folder of temporary files if None.

    Raises:
        NotInstalled: the extra `embedded` is missing.
        PathTooLong: the folder's path is too long for a socket.
        ChildEnded, NotStarted: a part did not start.
    """
    with ExitStack() as ends:
        folder = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="corrente-", dir=within)))
        progress("starting an embedded broker and Redis")
        kafka = ends.enter_context(embedded_kafka(topics, partitions))
        redis = ends.enter_context(embedded_redis(folder))
        environment = {name: value for name, value in os.environ.items() if not name.upper().startswith("CORRENTE_")}
        environment |= {"CORRENTE_LOG_LEVEL": "warning", **(settings or {})}
        metrics_port = environment.get("CORRENTE_METRICS_PORT", "0")
        if metrics_port == "0":
            metrics_port = str(_free_port())
        environment |= {
            "CORRENTE_KAFKA": kafka,
            "CORRENTE_REDIS": redis.url,
            "CORRENTE_CREATE_TOPICS": "false",
            "CORRENTE_METRICS_PORT": metrics_port,
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
        server = started("server", "serve", "--host", HOST, "--port", str(port))
        system = System(
            address=_address(server),
            metrics=f"http://{HOST}:{metrics_port}/metrics",
            kafka=kafka,
            redis=redis.url,
            folder=folder,
            parts=(redis.process, worker, server),
        )
        wait_until(lambda: _server_ready(system), system, "the server to be ready")
        progress("the server answers; waiting for the worker")
        wait_until(lambda: _worker_ready(system, partitions), system, "the worker to follow the topics")
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
            written = "\n".join(part.log.read_text(errors="replace")[-2000:] for part in system.parts)
            raise NotStarted(f"waited {patience_seconds:.0f} seconds for {what}.\n{written}")
        time.sleep(POLL_SECONDS)
    return answer


def _free_port() -> int:
    """A port that is free now; another program may take it before it is bound again, and the worker then says so."""
    with socket.create_server((HOST, 0)) as listening:
        return int(listening.getsockname()[1])


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


def _server_ready(system: System) -> bool:
    """True if the server answers and reaches broker and Redis; `degraded` is a success, but would refuse a post."""
    try:
        answer = httpx.get(f"{system.address}/health/ready", trust_env=False, verify=authorities(system.address))
    except httpx.TransportError:
        return False
    return answer.is_success and answer.json()["status"] == "ready"


def _worker_ready(system: System, partitions: int) -> bool:
    """True if the worker follows all partitions, is up to date, and tests events.

    It tests none until it has caught up and imported River, which takes a CPU second.
    """
    try:
        answer = httpx.get(system.metrics, trust_env=False, verify=authorities(system.metrics))
    except httpx.TransportError:
        return False
    families = text_string_to_metric_families(answer.text) if answer.is_success else ()
    values = {family.name: family.samples[0].value for family in families if family.samples}
    follows_all = values.get("corrente_worker_partitions", 0) >= partitions
    restored = values.get("corrente_worker_restores", 0) >= values.get("corrente_worker_shards", 1)
    return follows_all and restored and values.get("corrente_worker_sample_rate", 0) > 0
