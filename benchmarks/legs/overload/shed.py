"""Overload of one server process on one core: twice the requests that it can answer, from a sender that does not wait.

First wrk says what the server can do: lists a second and the 99th percentile of their latency at 32 connections, which
each wait for their answer (closed loop). Then requests come at a fixed pace, whether or not earlier ones were answered
(open loop), at twice as many a second. Requests that it can't answer in time have to get 503 and `Retry-After`.

This file decides the loads and the figures that are reported. How a fixed pace is kept is decided in
`benchmarks.legs.overload.open_loop`.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.harness.machine import machine
from benchmarks.harness.model_fixture import publish_model
from benchmarks.harness.processes import cpu_seconds, served_version
from benchmarks.harness.servers import RedisServer, free_port
from benchmarks.harness.waiting import wait_until
from benchmarks.legs.lists.serve import (
    CONNECTIONS,
    MODEL_NAME,
    REQUEST_SCRIPT,
    START_SECONDS,
    Load,
    require_wrk,
    server_process,
    server_settings,
    wrk_load,
)
from benchmarks.legs.overload.open_loop import Outcome

OVERLOAD = 2.0
"""Pace of the open loop, as a multiple of the closed loop's."""

OPEN_CONNECTIONS = 512
"""Most requests of the open loop that are outstanding: more than wait in a server that sheds."""


def measure(runs: int, items: int, seconds: float, progress: Callable[[str], None]) -> dict[str, Any]:
    """The JSON object of `corrente bench shed`.

    Args:
        runs: number of repetitions.
        items: number of items in the model.
        seconds: seconds of load in each measurement.
        progress: is called with one line of text for each step.

    Raises:
        MissingServer: wrk or redis-server is not installed.
    """
    require_wrk()
    pairs: list[tuple[Load, Outcome]] = []
    spent: list[float] = []
    with tempfile.TemporaryDirectory(prefix="corrente-bench-") as name:
        folder = Path(name)
        (folder / "request.lua").write_text(REQUEST_SCRIPT, encoding="utf-8")
        with RedisServer(folder / "redis") as redis:
            progress(f"learning a model of {items:,} items")
            visitors = publish_model(items, redis.url, MODEL_NAME).visitors
            (folder / "list").write_text("\n".join(visitors), encoding="utf-8")
            targets = "\n".join(f"/v1/recommendations/{visitor}" for visitor in visitors)
            (folder / "targets").write_text(targets, encoding="utf-8")
            port = free_port()
            serve = ["-c", "from stream.cli import main; main()", "serve", "--port", str(port)]
            with server_process(serve, server_settings(redis)) as server:
                wait_until(partial(served_version, port), "the server answers from the model", START_SECONDS)
                script, url = ["-s", str(folder / "request.lua")], f"http://127.0.0.1:{port}"
                load = partial(wrk_load, server, url, script, visitors=folder / "list")
                load(CONNECTIONS[-1], 1.0)  # a server's first second is not measured: its caches are cold
                for _ in range(runs):
                    closed = load(CONNECTIONS[-1], seconds)
                    before = cpu_seconds(server.pid)
                    opened = _open_loop(port, OVERLOAD * closed.requests_per_second, seconds + 1.0, folder / "targets")
                    spent.append((cpu_seconds(server.pid) - before) / (seconds + 1.0))
                    load(1, 1.0)  # one client at a time, until the server takes long turns again
                    pairs.append((closed, opened))
                    answered = opened.statuses.get("200", 0) / seconds
                    progress(
                        f"closed {closed.requests_per_second:>7,.0f} lists/s, p99 {closed.p99_ms:.1f} ms; open, twice "
                        f"that: {answered:>7,.0f} lists/s, p99 {opened.p99_ms:.1f} ms, "
                        f"{opened.statuses}, {spent[-1]:.2f} of a core"
                    )
    return _result(pairs, spent, runs, seconds)


def _open_loop(port: int, pace: float, seconds: float, targets: Path) -> Outcome:
    """Send on the other core than the server's, as wrk does."""
    core = str(max(os.sched_getaffinity(0)))
    pinned = ["taskset", "-c", core] if shutil.which("taskset") else []
    arguments = [str(port), f"{pace:.1f}", f"{seconds:g}", str(OPEN_CONNECTIONS), str(targets)]
    report = subprocess.run(  # noqa: S603  our own program
        [*pinned, sys.executable, "-m", "benchmarks.legs.overload.open_loop", *arguments],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return Outcome(**json.loads(report))


def _result(pairs: list[tuple[Load, Outcome]], spent: list[float], runs: int, seconds: float) -> dict[str, Any]:
    def answered(opened: Outcome) -> float:
        return opened.statuses.get("200", 0) / seconds

    def refused(opened: Outcome) -> int:
        return opened.statuses.get("503", 0)

    others = {status for _, opened in pairs for status in opened.statuses} - {"200", "503"}
    if others:
        raise RuntimeError(f"a request was answered with another status than 200 and 503: {sorted(others)}")
    refusals = [
        1e6 * (share - answered(opened) / closed.requests_per_cpu_second) / max(refused(opened) / seconds, 1.0)
        for (closed, opened), share in zip(pairs, spent, strict=True)
    ]
    ratios = {
        "answered_to_closed_loop": [answered(opened) / closed.requests_per_second for closed, opened in pairs],
        "p99_to_closed_loop": [opened.p99_ms / closed.p99_ms for closed, opened in pairs],
        "refusals_with_retry_after": [opened.retry_after / max(refused(opened), 1) for _, opened in pairs],
        "had_an_answer": [sum(opened.statuses.values()) / opened.due for _, opened in pairs],
    }
    figures = {
        "closed_lists_per_second": [closed.requests_per_second for closed, _ in pairs],
        "closed_p99_ms": [closed.p99_ms for closed, _ in pairs],
        "open_lists_per_second": [answered(opened) for _, opened in pairs],
        "open_refused_per_second": [refused(opened) / seconds for _, opened in pairs],
        "open_p50_ms": [opened.p50_ms for _, opened in pairs],
        "open_p99_ms": [opened.p99_ms for _, opened in pairs],
        "open_refused_p99_ms": [opened.refused_p99_ms for _, opened in pairs],
        "server_core_share": spent,
        "refusal_cpu_microseconds": refusals,
        "sender_late_p99_ms": [opened.late_p99_ms for _, opened in pairs],
        "unanswered": [float(opened.unanswered) for _, opened in pairs],
    }
    return {
        "leg": "shed",
        "machine": machine(),
        "runs": runs,
        "figures": {name: round(statistics.median(found), 2) for name, found in figures.items()},
        "spread": {name: [round(min(found), 3), round(max(found), 3)] for name, found in {**figures, **ratios}.items()},
        "ratios": {name: round(statistics.median(found), 3) for name, found in ratios.items()},
    }
