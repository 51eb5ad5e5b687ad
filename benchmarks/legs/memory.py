"""Memory of a server of one process, and of one of several, after minutes of live traffic.

A worker as it is shipped learns a model of 100,000 items from a real Kafka and then follows 1,000 events a second,
publishing all along. `corrente serve --workers 1` and `--workers 4` follow its versions from the same Redis at the same
time, and both are asked for lists at the same gentle pace. Memory is the sum of the proportional set sizes of a
server's processes, once a minute; what counts are the medians of some minutes at a time.

Halfway, both are rolled back to an older version for `ROLLED_BACK_SECONDS` and then follow the newest again. That loads
versions whole beside those in memory, so there is a figure of the last minutes before it, and one of the last after it.

This file decides how the traffic looks and when memory is looked at. What a server holds is decided by
`serving.loading.loader`, and what its processes share by `serving.loading.sharing`.
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
    ask,
    check_running,
    learned,
    metrics,
    running,
    served_version,
    shared_bytes,
    worker_settings,
)
from benchmarks.harness.servers import KafkaServer, RedisServer, free_port, wait_until

ITEMS = 100_000
VISITORS = 100_000
BACKLOG = 400_000
"""Events that the model is learned from before the servers start."""

EVENTS_A_SECOND = 1_000
PROCESSES = (1, 4)

LISTS_A_SECOND = 20
"""That each server is asked for."""

CONNECTIONS = 8
LISTS_A_CONNECTION = 50
"""On average; then it is opened anew, so that every process gets some."""

LIST_SECONDS = 30.0
MEDIAN_MINUTES = 5
"""Before the rollback, and at the end: of so many looks, or of those that there are."""

ROLLED_BACK_SECONDS = 30.0
START_SECONDS = 300.0
READY_ANSWERS = 20
"""In a row, each over a connection of its own, until all processes of a server count as ready."""


@dataclass
class Asked:
    """What became of the lists that a server was asked for."""

    answered: int = 0
    failures: list[str] = field(default_factory=list)


class Server(NamedTuple):
    """A server of so many processes, and how it has answered so far."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path
    asked: Asked


class System(NamedTuple):
    """What runs while memory is looked at. Servers are by their number of processes."""

    worker: subprocess.Popen[bytes]
    worker_log: Path
    servers: dict[int, Server]

    def check(self) -> None:
        """Raises `RuntimeError` if something has ended or a list was not answered."""
        check_running(self.worker, self.worker_log)
        for processes, server in self.servers.items():
            check_running(server.process, server.log)
            if failures := server.asked.failures:
                every = len(failures) + server.asked.answered
                raise RuntimeError(
                    f"{len(failures)} of {every} lists of the server of {processes} failed, first: {failures[0]}"
                )

    def memory(self) -> dict[int, float]:
        """Megabytes by the number of processes."""
        return {processes: shared_bytes(server.process.pid) / 1e6 for processes, server in self.servers.items()}

    def versions(self) -> dict[int, int | None]:
        """What is served, by the number of processes."""
        return {processes: served_version(server.port) for processes, server in self.servers.items()}


def measure(minutes: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """The JSON object of `corrente bench memory`.

    Args:
        minutes: of traffic, at least two.
        tell: is told what happens.

    Raises:
        MissingServer: Kafka or redis-server can't be had here.
        RuntimeError: a list was answered with an error, or not at all.
    """
    looks: dict[int, list[float]] = {processes: [] for processes in PROCESSES}
    with tempfile.TemporaryDirectory(prefix="corrente-bench-") as folder, _system(Path(folder), tell) as system:
        first = _newest(system)
        started = time.monotonic()
        for minute in range(1, minutes + 1):
            if minute == _rollback_minute(minutes):
                rolled_back = _roll_back_and_follow(system, first, tell)
            time.sleep(max(0.0, started + 60 * minute - time.monotonic()))
            system.check()
            memory, served = system.memory(), system.versions()
            for processes, megabytes in memory.items():
                looks[processes].append(megabytes)
            answered = {processes: server.asked.answered for processes, server in system.servers.items()}
            tell(f"minute {minute:>3}  {_told(memory)}, versions {served}, lists {answered}")
        versions = _newest(system) - first
    return _result(looks, rolled_back, versions, sum(answered.values()))


def _rollback_minute(minutes: int) -> int:
    return minutes // 2 + 1


def _newest(system: System) -> int:
    return max(version or 0 for version in system.versions().values())


def _roll_back_and_follow(system: System, oldest: int, tell: Callable[[str], None]) -> dict[int, float]:
    """Answer from the first kept version since `oldest`, then from the newest; megabytes in between."""
    port = system.servers[PROCESSES[0]].port
    kept = [version["number"] for version in ask(port, "GET", "/v1/versions?limit=10000")["versions"]]
    chosen = min(number for number in kept if number >= oldest)
    newest = _newest(system)
    ask(port, "POST", f"/v1/versions/{chosen}/rollback")
    wait_until(lambda: set(system.versions().values()) == {chosen}, f"version {chosen} is served", 60.0)
    time.sleep(ROLLED_BACK_SECONDS)
    memory = system.memory()
    tell(f"rolled back  {_told(memory)}, versions {system.versions()}")
    ask(port, "DELETE", "/v1/pin")
    wait_until(
        lambda: all(version and version > newest for version in system.versions().values()),
        "the newest version is served again",
        60.0,
    )
    return memory


def _told(memory: Mapping[int, float]) -> str:
    return ", ".join(f"{megabytes:,.0f} MB in {processes}" for processes, megabytes in memory.items())


# ---- what runs


@contextmanager
def _system(folder: Path, tell: Callable[[str], None]) -> Iterator[System]:
    with ExitStack() as stack:
        kafka, redis = KafkaServer(folder / "kafka"), RedisServer(folder / "redis")
        stack.callback(kafka.stop, kill=True)
        stack.callback(redis.stop, kill=True)
        kafka.start()
        redis.start()
        backlog = load_events(BACKLOG, visitors=VISITORS, items=ITEMS)
        asyncio.run(fill_topics(kafka.bootstrap, TOPIC_NAMES, 1, backlog))
        tell(f"learning a model of {ITEMS:,} items")
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
            stack.enter_context(_asking(server, seed=processes))
        yield system


def _started(stack: ExitStack, processes: int, settings: Mapping[str, str], log: Path) -> Server:
    port = free_port()
    serve = [*SERVER, "--port", str(port), "--workers", str(processes)]
    process = stack.enter_context(running(serve, {**settings, "CORRENTE_LOG_LEVEL": "warning"}, log))
    return Server(port, process, log, Asked())


def _all_ready(system: System) -> bool:
    return all(None not in system.versions().values() for _ in range(READY_ANSWERS))


# ---- traffic


@contextmanager
def _asking(server: Server, seed: int) -> Iterator[None]:
    """Ask for lists, in a thread of its own, as long as this is open."""
    stopping = threading.Event()
    thread = threading.Thread(target=_ask_on, args=(server, random.Random(seed), stopping), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(LIST_SECONDS)


def _ask_on(server: Server, chance: random.Random, stopping: threading.Event) -> None:
    connections = [
        http.client.HTTPConnection("127.0.0.1", server.port, timeout=LIST_SECONDS) for _ in range(CONNECTIONS)
    ]
    due, turn = time.monotonic(), 0
    while not stopping.wait(max(0.0, due - time.monotonic())):
        connection = connections[turn % CONNECTIONS]
        try:
            _ask_for_list(connection, f"visitor-{chance.randrange(VISITORS)}")
            server.asked.answered += 1
        except Exception as error:  # whatever it is, no list came
            server.asked.failures.append(f"{type(error).__name__}: {error}")
            connection.close()
        if chance.random() < 1 / LISTS_A_CONNECTION:
            connection.close()  # the next list opens it
        # Falling behind it does not catch up in bursts.
        due, turn = max(due + 1 / LISTS_A_SECOND, time.monotonic()), turn + 1
    for connection in connections:
        connection.close()


def _ask_for_list(connection: http.client.HTTPConnection, visitor: str) -> None:
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
    figures["lists_failed_share"] = 0.0  # or `System.check` had raised
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
