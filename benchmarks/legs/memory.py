"""Memory of a server with one process, and of one with several, after minutes of live traffic.

A worker as it is shipped learns a model of 100,000 items from a real Kafka and then follows 1,000 events per second,
publishing all along. `corrente serve --workers 1` and `--workers 4` follow its versions from one Redis at the same
time, and lists are requested from both at one gentle pace. Memory is the sum of the proportional set sizes of a
server's processes, read once a minute; figures are medians of some minutes.

Halfway, both are rolled back to an older version for `ROLLED_BACK_SECONDS` and then follow the newest again. That loads
versions whole beside those in memory, so there is a figure of the last minutes before it, and one of the last after it.

This file decides what the traffic looks like and when memory is read. What a server holds is decided in
`serving.loading`, and what its processes share in `serving.memory`.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import random
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.harness.background import background
from benchmarks.harness.events import fill_topics, load_events
from benchmarks.harness.machine import machine
from benchmarks.harness.processes import (
    SERVER,
    TOPIC_NAMES,
    WORKER,
    check_running,
    learned,
    metrics,
    request_json,
    running,
    served_version,
    shared_bytes,
    worker_settings,
)
from benchmarks.harness.servers import free_port, running_servers
from benchmarks.harness.waiting import wait_until

ITEMS = 100_000
VISITORS = 100_000
BACKLOG = 400_000
"""Events that the model is learned from before the servers start."""

EVENTS_A_SECOND = 1_000
PROCESSES = (1, 4)

LISTS_A_SECOND = 20
"""Lists per second that are requested from each server."""

CONNECTIONS = 8
LISTS_A_CONNECTION = 50
"""Average number of lists until a connection is closed and opened anew, so that every process answers some."""

LIST_SECONDS = 30.0
MEDIAN_MINUTES = 5
"""Number of readings in a median, before the rollback and at the end, or fewer in a short run."""

ROLLED_BACK_SECONDS = 30.0
START_SECONDS = 300.0
READY_ANSWERS = 20
"""Answers in a row, each over a connection of its own, until all processes of a server count as ready."""


@dataclass
class ListCounts:
    """Outcomes of the lists that were requested from a server."""

    answered: int = 0
    failures: list[str] = field(default_factory=list)


class Server(NamedTuple):
    """A running server, and the outcomes of requests to it so far."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path
    lists: ListCounts


class System(NamedTuple):
    """The running worker and servers; `servers` is keyed by their number of processes."""

    worker: subprocess.Popen[bytes]
    worker_log: Path
    servers: dict[int, Server]

    def check(self) -> None:
        """Raise `RuntimeError` if a process has ended or a list was not answered."""
        check_running(self.worker, self.worker_log)
        for processes, server in self.servers.items():
            check_running(server.process, server.log)
            if failures := server.lists.failures:
                every = len(failures) + server.lists.answered
                raise RuntimeError(
                    f"{len(failures)} of {every} lists of the server with {processes} processes failed, "
                    f"the first with {failures[0]}"
                )

    def memory(self) -> dict[int, float]:
        """Megabytes of each server, by its number of processes."""
        return {processes: shared_bytes(server.process.pid) / 1e6 for processes, server in self.servers.items()}

    def versions(self) -> dict[int, int | None]:
        """Number of the version that each server answers from, by its number of processes."""
        return {processes: served_version(server.port) for processes, server in self.servers.items()}


def measure(minutes: int, progress: Callable[[str], None]) -> dict[str, Any]:
    """The JSON object of `corrente bench memory`.

    Args:
        minutes: minutes of traffic, at least two.
        progress: is called with one line of text for each step.

    Raises:
        MissingServer: Kafka or redis-server can't be had on this machine.
        RuntimeError: a list was answered with an error, or not at all.
    """
    looks: dict[int, list[float]] = {processes: [] for processes in PROCESSES}
    with tempfile.TemporaryDirectory(prefix="corrente-bench-") as folder, _system(Path(folder), progress) as system:
        first = _newest(system)
        started = time.monotonic()
        for minute in range(1, minutes + 1):
            if minute == _rollback_minute(minutes):
                rolled_back = _roll_back_and_follow(system, first, progress)
            time.sleep(max(0.0, started + 60 * minute - time.monotonic()))
            system.check()
            memory, served = system.memory(), system.versions()
            for processes, megabytes in memory.items():
                looks[processes].append(megabytes)
            answered = {processes: server.lists.answered for processes, server in system.servers.items()}
            progress(f"minute {minute:>3}  {_described(memory)}, versions {served}, lists {answered}")
        versions = _newest(system) - first
    return _result(looks, rolled_back, versions, sum(answered.values()))


def _rollback_minute(minutes: int) -> int:
    return minutes // 2 + 1


def _newest(system: System) -> int:
    return max(version or 0 for version in system.versions().values())


def _roll_back_and_follow(system: System, oldest: int, progress: Callable[[str], None]) -> dict[int, float]:
    """Roll back to the first kept version since `oldest`, then follow the newest again; megabytes in between."""
    port = system.servers[PROCESSES[0]].port
    kept = [version["number"] for version in request_json(port, "GET", "/v1/versions?limit=10000")["versions"]]
    chosen = min(number for number in kept if number >= oldest)
    newest = _newest(system)
    request_json(port, "POST", f"/v1/versions/{chosen}/rollback")
    wait_until(lambda: set(system.versions().values()) == {chosen}, f"version {chosen} is served", 60.0)
    time.sleep(ROLLED_BACK_SECONDS)
    memory = system.memory()
    progress(f"rolled back  {_described(memory)}, versions {system.versions()}")
    request_json(port, "DELETE", "/v1/pin")
    wait_until(
        lambda: all(version and version > newest for version in system.versions().values()),
        "the newest version is served again",
        60.0,
    )
    return memory


def _described(memory: Mapping[int, float]) -> str:
    return ", ".join(f"{megabytes:,.0f} MB with --workers {processes}" for processes, megabytes in memory.items())


# ---- what runs


@contextmanager
def _system(folder: Path, progress: Callable[[str], None]) -> Iterator[System]:
    with ExitStack() as stack:
        kafka, redis = stack.enter_context(running_servers(folder))
        backlog = load_events(BACKLOG, visitors=VISITORS, items=ITEMS)
        asyncio.run(fill_topics(kafka.bootstrap, TOPIC_NAMES, 1, backlog))
        progress(f"learning a model of {ITEMS:,} items")
        port, log = free_port(), folder / "worker.log"
        settings = worker_settings(kafka.bootstrap, redis.url, "memory", port)
        worker = stack.enter_context(running(WORKER, settings, log))
        wait_until(lambda: learned(metrics(port)) >= BACKLOG, "the backlog is learned", START_SECONDS)
        stack.enter_context(background(kafka.bootstrap, EVENTS_A_SECOND, items=ITEMS))
        servers = {
            processes: _started(stack, processes, settings, folder / f"server-{processes}.log")
            for processes in PROCESSES
        }
        system = System(worker, log, servers)
        wait_until(lambda: _all_ready(system), "the servers answer from the model", START_SECONDS)
        for processes, server in servers.items():
            stack.enter_context(_list_traffic(server, seed=processes))
        yield system


def _started(stack: ExitStack, processes: int, settings: Mapping[str, str], log: Path) -> Server:
    port = free_port()
    serve = [*SERVER, "--port", str(port), "--workers", str(processes)]
    process = stack.enter_context(running(serve, {**settings, "CORRENTE_LOG_LEVEL": "warning"}, log))
    return Server(port, process, log, ListCounts())


def _all_ready(system: System) -> bool:
    return all(None not in system.versions().values() for _ in range(READY_ANSWERS))


# ---- traffic


@contextmanager
def _list_traffic(server: Server, seed: int) -> Iterator[None]:
    """Request lists from a server, in a thread of its own, until the context ends."""
    stopping = threading.Event()
    thread = threading.Thread(target=_request_lists, args=(server, random.Random(seed), stopping), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(LIST_SECONDS)


def _request_lists(server: Server, chance: random.Random, stopping: threading.Event) -> None:
    connections = [
        http.client.HTTPConnection("127.0.0.1", server.port, timeout=LIST_SECONDS) for _ in range(CONNECTIONS)
    ]
    due, turn = time.monotonic(), 0
    while not stopping.wait(max(0.0, due - time.monotonic())):
        connection = connections[turn % CONNECTIONS]
        try:
            _request_list(connection, f"visitor-{chance.randrange(VISITORS)}")
            server.lists.answered += 1
        except Exception as error:  # every failure counts as a list that was not answered
            server.lists.failures.append(f"{type(error).__name__}: {error}")
            connection.close()
        if chance.random() < 1 / LISTS_A_CONNECTION:
            connection.close()  # the next list opens it
        # A thread that falls behind does not catch up in bursts.
        due, turn = max(due + 1 / LISTS_A_SECOND, time.monotonic()), turn + 1
    for connection in connections:
        connection.close()


def _request_list(connection: http.client.HTTPConnection, visitor: str) -> None:
    connection.request("GET", f"/v1/recommendations/{visitor}")
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != http.HTTPStatus.OK or not json.loads(text)["items"]:
        raise RuntimeError(f"{answer.status}: {text[:500]!r}")


# ---- figures


def _result(
    looks: Mapping[int, list[float]], rolled_back: Mapping[int, float], versions: int, lists: int
) -> dict[str, Any]:
    figures: dict[str, float] = {}
    spread: dict[str, list[float]] = {}
    minutes = len(looks[PROCESSES[0]])
    before, after = {}, {}
    for processes, megabytes in looks.items():
        before[processes] = statistics.median(megabytes[: _rollback_minute(minutes) - 1][-MEDIAN_MINUTES:])
        after[processes] = statistics.median(megabytes[_rollback_minute(minutes) - 1 :][-MEDIAN_MINUTES:])
        name = f"memory_mb_{processes}_process" if processes == 1 else f"memory_mb_{processes}_processes"
        figures[name] = round(after[processes])
        figures[f"{name}_first"] = round(megabytes[0])
        figures[f"{name}_before_rollback"] = round(before[processes])
        figures[f"{name}_rolled_back"] = round(rolled_back[processes])
        figures[f"{name}_last"] = round(megabytes[-1])
        spread[name] = [round(min(megabytes)), round(max(megabytes))]
    one, several = PROCESSES
    name = f"memory_{several}_processes_to_{one}"
    figures["versions_published"] = versions
    figures["lists_answered"] = lists
    figures["lists_failed_share"] = 0.0  # `System.check` raises otherwise
    figures["minutes"] = minutes
    return {
        "leg": "memory",
        "machine": machine(),
        "runs": 1,
        "figures": figures,
        "spread": spread,
        "ratios": {
            name: round(after[several] / after[one], 3),
            f"{name}_before_rollback": round(before[several] / before[one], 3),
        },
    }
