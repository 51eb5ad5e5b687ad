"""The time from `PUT /v1/items/{item}` with `available: false` until no process of a server lists the item.

Real Kafka, Redis, worker and server processes, all as they are shipped, with events beside it all along. Each probe
takes an item that the popular list of every process holds. A connection is answered by the process that accepted it, so
many kept connections ask all along: the time runs from just before the PUT is sent until each of them has been answered
without the item.

This file decides how probes are built, which processes are asked, and the figures that are reported.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self

import numpy as np

from benchmarks.harness.background import background
from benchmarks.harness.events import make_topics
from benchmarks.harness.machine import machine
from benchmarks.harness.processes import SERVER, TOPIC_NAMES, WORKER, metrics, running, total, worker_settings
from benchmarks.harness.servers import free_port, running_servers
from benchmarks.harness.waiting import wait_until

EVENTS_A_SECOND = 1_000
CONNECTIONS_A_PROCESS = 6
"""Connections for each process: with 24 for four processes, hardly ever is a process without one."""

LISTED = 50
SETTLE_SECONDS = 5.0
LATEST_SECONDS = 10.0
"""A process that still lists an item after this time fails the measurement."""

POLL_SECONDS = 0.025
"""Pause of each connection between two lists: the resolution. All of them together ask for about 800 lists a second."""


def measure(runs: int, probes: int, processes: int, progress: Callable[[str], None]) -> dict[str, Any]:
    """The JSON object of `corrente bench catalogue`.

    Args:
        runs: number of repetitions.
        probes: number of changes in each run.
        processes: processes of the server.
        progress: is called with one line of text for each step.

    Raises:
        MissingServer: Kafka or redis-server can't be had on this machine.
        TimeoutError: a process still listed an item after `LATEST_SECONDS`.
    """
    found: list[list[float]] = []
    with (
        tempfile.TemporaryDirectory(prefix="corrente-bench-") as folder,
        _server(Path(folder), processes) as (kafka, port),
        background(kafka, EVENTS_A_SECOND),
    ):
        wait_until(lambda: len(_popular(port)) == LISTED, "the model has enough items", 120.0)
        time.sleep(SETTLE_SECONDS)
        with _Watchers(port, CONNECTIONS_A_PROCESS * processes) as watchers:
            for run in range(1, runs + 1):
                times = [_probe(port, watchers) for _ in range(probes)]
                found.append(times)
                progress(f"run {run}  p50 {statistics.median(times):6.1f}  p99 {np.percentile(times, 99):6.1f} ms")
        violations = total(metrics(port), "corrente_filter_violations_total")
    return result(found, violations)


def result(found: list[list[float]], violations: float) -> dict[str, Any]:
    """Figures over the probes of all runs.

    Args:
        found: milliseconds of each probe, by run.
        violations: items that the server took out of finished lists.
    """
    everything = [each for times in found for each in times]
    of_runs = [float(np.percentile(times, 99)) for times in found]
    return {
        "leg": "catalogue",
        "machine": machine(),
        "runs": len(found),
        "figures": {
            "p50_ms": round(statistics.median(everything), 1),
            "p99_ms": round(float(np.percentile(everything, 99)), 1),
            "longest_ms": round(max(everything), 1),
            "violations": violations,
        },
        "spread": {"p99_ms": [round(min(of_runs), 1), round(max(of_runs), 1)]},
        "ratios": {},
    }


class _Watchers:
    """Threads that ask for the popular list again and again, each over a connection of its own.

    Args:
        port: of the server.
        count: number of connections.
    """

    def __init__(self, port: int, count: int) -> None:
        self._port = port
        self._stop = threading.Event()
        self._lists: list[tuple[float, bytes]] = [(0.0, b"")] * count
        self._threads = [threading.Thread(target=self._watch, args=(number,), daemon=True) for number in range(count)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(LATEST_SECONDS)

    def listed_by_all(self, item: str, since: float) -> bool:
        """True if every connection's list that was asked for since then holds the item."""
        return all(at >= since and _named(item) in body for at, body in self._lists)

    def listed_by_none(self, item: str, since: float) -> bool:
        """True if no connection's list that was asked for since then holds the item, and each has one."""
        return all(at >= since and _named(item) not in body for at, body in self._lists)

    def _watch(self, number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=LATEST_SECONDS)
        while not self._stop.wait(POLL_SECONDS):
            asked = time.perf_counter()
            connection.request("GET", f"/v1/popular?n={LISTED}")
            answer = connection.getresponse()
            body = answer.read()
            if answer.status == HTTPStatus.OK:
                self._lists[number] = asked, body
        connection.close()


def _probe(port: int, watchers: _Watchers) -> float:
    """Milliseconds until no list holds an item that was just made unavailable; it is made available again."""
    started = time.perf_counter()
    item = _popular(port)[LISTED // 4]
    wait_until(lambda: watchers.listed_by_all(item, started), "every list holds the item", LATEST_SECONDS)
    started = time.perf_counter()
    _put(port, item, available=False)
    while not watchers.listed_by_none(item, started):
        if time.perf_counter() - started > LATEST_SECONDS:
            raise TimeoutError(f"{item} is still listed after {LATEST_SECONDS:.0f} s")
        time.sleep(POLL_SECONDS / 10)
    passed = time.perf_counter() - started
    _put(port, item, available=True)
    return 1000 * passed


def _named(item: str) -> bytes:
    """The item as a list names it."""
    return b'"item":%s' % json.dumps(item).encode()


def _put(port: int, item: str, *, available: bool) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LATEST_SECONDS)
    connection.request("PUT", f"/v1/items/{item}", json.dumps({"available": available}))
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    if answer.status != HTTPStatus.OK:
        raise RuntimeError(f"the server answered a PUT with {answer.status}: {text[:500]!r}")


def _popular(port: int) -> list[str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LATEST_SECONDS)
    try:
        connection.request("GET", f"/v1/popular?n={LISTED}")
        return [each["item"] for each in json.loads(connection.getresponse().read()).get("items", [])]
    except (OSError, http.client.HTTPException):
        return []
    finally:
        connection.close()


@contextmanager
def _server(folder: Path, processes: int) -> Iterator[tuple[str, int]]:
    """A running system: Kafka's address and the server's port."""
    with ExitStack() as stack:
        kafka, redis = stack.enter_context(running_servers(folder))
        asyncio.run(make_topics(kafka.bootstrap, TOPIC_NAMES.values(), 1))
        worker_port, port = free_port(), free_port()
        settings = worker_settings(kafka.bootstrap, redis.url, "catalogue", worker_port)
        stack.enter_context(running(WORKER, settings, folder / "worker.log"))
        serve = [*SERVER, "--port", str(port), "--workers", str(processes)]
        stack.enter_context(running(serve, {**settings, "CORRENTE_LOG_LEVEL": "warning"}, folder / "server.log"))
        wait_until(lambda: metrics(worker_port), "the worker starts", 120.0)
        wait_until(lambda: metrics(port), "the server starts", 120.0)
        yield kafka.bootstrap, port
