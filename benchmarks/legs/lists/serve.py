"""Whole answers over HTTP beside a bare FastAPI route that returns a constant, on the same server program.

A model (`benchmarks.harness.model_fixture`) is published to a Redis of its own; `corrente serve` loads it as it loads
any version. wrk loads both servers in turn, each pinned to one core, wrk to another. The figures that a busy machine
disturbs least are the ratios, and of those the ones by CPU time.

This file decides the load, the sizes of the models and the figures that are reported.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.harness.kafka_jars import MissingServer
from benchmarks.harness.machine import machine
from benchmarks.harness.model_fixture import publish_model
from benchmarks.harness.processes import SERVER, cpu_seconds, get, running, served_version, shared_bytes
from benchmarks.harness.servers import RedisServer, free_port
from benchmarks.harness.waiting import wait_until
from stream.access.acts import Caller
from stream.access.key_store import KeyStore
from stream.access.keys import new_key
from stream.access.lifecycle import create_key
from stream.access.scopes import SCOPES
from stream.versions import VersionStore

MODEL_NAME = "bench"
MEMORY_PROCESSES = 4
MEMORY_ITEMS = 100_000
MEMORY_SHARDS = (1, 8)
MEMORY_SECONDS = 8.0
CONNECTIONS = (1, 32)
SIZE_NAMES = {10_000: "10k", 100_000: "100k", 1_000_000: "1m"}
START_SECONDS = 600.0
PLENTY = 1_000_000
"""Lists a second of a key that is counted and never refused."""

REQUEST_SCRIPT = """
local users = {}
if os.getenv("BENCH_KEY") then wrk.headers["Authorization"] = "Bearer " .. os.getenv("BENCH_KEY") end
for line in io.lines(os.getenv("BENCH_VISITORS")) do users[#users + 1] = line end
local next = 0
request = function()
  next = next % #users + 1
  return wrk.format("GET", "/v1/recommendations/" .. users[next])
end
"""


class Load(NamedTuple):
    """Results of one run of wrk: requests per second and per CPU second of the server, and the 99th percentile."""

    requests_per_second: float
    requests_per_cpu_second: float
    p99_ms: float


def require_wrk() -> None:
    """Raise `MissingServer` unless wrk is installed."""
    if shutil.which("wrk") is None:
        raise MissingServer("wrk is not installed: it is not on the PATH (apt-get install wrk)")


def measure(runs: int, sizes: Sequence[int], seconds: float, progress: Callable[[str], None]) -> dict[str, Any]:
    """The JSON object of `corrente bench serve`.

    Args:
        runs: number of repetitions.
        sizes: numbers of items in the models.
        seconds: seconds of load in each measurement.
        progress: is called with one line of text for each step.

    Raises:
        MissingServer: wrk or redis-server is not installed.
    """
    require_wrk()
    loads: dict[tuple[str, int], list[Load]] = {}
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="corrente-bench-") as name:
        folder = Path(name)
        (folder / "request.lua").write_text(REQUEST_SCRIPT, encoding="utf-8")
        for size in sizes:
            for subject, connections, load in _one_size(size, runs, seconds, folder, figures, progress):
                loads.setdefault((f"{subject} {_named(size)}", connections), []).append(load)
                progress(
                    f"{subject:<10} {_named(size):<6} {connections:>3} connections "
                    f"{load.requests_per_second:>9,.0f} requests/s, p99 {load.p99_ms:.2f} ms"
                )
        for shards in MEMORY_SHARDS:
            one, several = _memory(shards, folder)
            figures[f"memory_mb_{shards}_shards_1_process"] = one
            figures[f"memory_mb_{shards}_shards_{MEMORY_PROCESSES}_processes"] = several
            progress(f"{shards} shards: {one:,} MB in one process, {several:,} MB in {MEMORY_PROCESSES}")
    return _result(loads, figures, runs, sizes)


def measure_keys(runs: int, size: int, seconds: float, progress: Callable[[str], None]) -> dict[str, Any]:
    """The JSON object of `corrente bench serve --keys`: lists of a server that asks for keys, and of one that doesn't.

    The key has a quota that is never used up, so that its lists are counted. Both serve the same model and get the same
    requests, with the same headers, in turns.

    Args:
        runs: number of repetitions.
        size: number of items in the model.
        seconds: seconds of load in each measurement.
        progress: is called with one line of text for each step.

    Raises:
        MissingServer: wrk or redis-server is not installed.
    """
    require_wrk()
    key = new_key()
    loads: dict[bool, list[Load]] = {True: [], False: []}
    with tempfile.TemporaryDirectory(prefix="corrente-bench-") as name, contextlib.ExitStack() as ends:
        folder = Path(name)
        (folder / "request.lua").write_text(REQUEST_SCRIPT, encoding="utf-8")
        redis = ends.enter_context(RedisServer(folder / "redis"))
        servers = {}
        for keyed in loads:
            model = f"{MODEL_NAME}-{'keys' if keyed else 'open'}"
            progress(f"learning a model of {size:,} items, {'with' if keyed else 'without'} keys")
            visitors = publish_model(size, redis.url, model).visitors
            (folder / "list").write_text("\n".join(visitors), encoding="utf-8")
            if keyed:
                _make_key(redis.url, model, key)
            given = {"CORRENTE_MODEL_NAME": model}
            port = free_port()
            serve = ["-c", "from stream.cli import main; main()", "serve", "--port", str(port)]
            servers[keyed] = ends.enter_context(server_process(serve, {**server_settings(redis), **given})), port
            wait_until(partial(served_version, port, key), "the server answers from the model", START_SECONDS)
        refused = get(servers[True][1], "/v1/popular")
        if refused is not None:
            raise RuntimeError("the server with keys answers without one")

        def loaded(keyed: bool, duration: float) -> Load:
            server, port = servers[keyed]
            script = ["-s", str(folder / "request.lua")]
            return wrk_load(server, f"http://127.0.0.1:{port}", script, CONNECTIONS[-1], duration, folder / "list", key)

        for keyed in loads:  # a server's first second is not measured: its caches are cold
            loaded(keyed, 1.0)
        for run in range(runs):
            for keyed in (True, False) if run % 2 else (False, True):
                load = loaded(keyed, seconds)
                loads[keyed].append(load)
                subject = "with keys" if keyed else "without"
                progress(f"{subject:<10} {load.requests_per_second:>9,.0f} requests/s, p99 {load.p99_ms:.2f} ms")
    return _keys_result(loads, runs)


def _make_key(redis_url: str, model: str, text: str) -> None:
    store = VersionStore.connect(redis_url, model)
    try:
        create_key(
            KeyStore(store.space),
            scopes=SCOPES,
            owner="corrente bench",
            now=time.time(),
            caller=Caller("corrente bench"),
            lists_a_second=PLENTY,
            text=text,
        )
    finally:
        store.close()


def _keys_result(loads: Mapping[bool, list[Load]], runs: int) -> dict[str, Any]:
    figures: dict[str, float] = {}
    spread: dict[str, list[float]] = {}
    for keyed, name in ((True, "with_keys"), (False, "without_keys")):
        paces = [load.requests_per_second for load in loads[keyed]]
        figures[f"requests_per_second_{name}"] = round(statistics.median(paces))
        by_cpu = statistics.median(load.requests_per_cpu_second for load in loads[keyed])
        figures[f"cpu_microseconds_{name}"] = round(1e6 / by_cpu, 1)
        spread[name] = [round(min(paces)), round(max(paces))]
    # A ratio for each pair of measurements, which lie seconds apart, and then their median.
    pairs = list(zip(loads[True], loads[False], strict=True))
    ratios = {
        f"with_keys{ending}": round(
            statistics.median(getattr(keyed, field) / getattr(plain, field) for keyed, plain in pairs), 3
        )
        for field, ending in (("requests_per_second", ""), ("requests_per_cpu_second", "_by_cpu"))
    }
    return {
        "leg": "serve",
        "machine": machine(),
        "runs": runs,
        "figures": figures,
        "spread": spread,
        "ratios": ratios,
    }


def _memory(shards: int, folder: Path) -> Iterator[int]:
    """Megabytes of a server of one process, then of several, after some seconds of load; shared pages count once."""
    with RedisServer(folder / f"redis-memory-{shards}") as redis:
        visitors = publish_model(MEMORY_ITEMS, redis.url, MODEL_NAME, shards=shards).visitors
        (folder / "list").write_text("\n".join(visitors), encoding="utf-8")
        for processes in (1, MEMORY_PROCESSES):
            port = free_port()
            serve = [*SERVER, "--port", str(port), "--workers", str(processes)]
            with running(serve, server_settings(redis), folder / "serve.log") as server:
                wait_until(partial(served_version, port), "the server answers from the model", START_SECONDS)
                # A few connections at a time, several times, so that every process gets some.
                for connections in (8, 16, 24, 32):
                    wrk_load(
                        server, f"http://127.0.0.1:{port}", ["-s", str(folder / "request.lua")], connections,
                        MEMORY_SECONDS / 4, folder / "list",
                    )  # fmt: skip
                yield round(shared_bytes(server.pid) / 1e6)


def server_settings(redis: RedisServer) -> dict[str, str]:
    return {
        "CORRENTE_REDIS": redis.url,
        "CORRENTE_KAFKA": f"127.0.0.1:{free_port()}",  # no broker listens there: lists need no Kafka
        "CORRENTE_MODEL_NAME": MODEL_NAME,
        "CORRENTE_LOG_LEVEL": "error",
    }


def _one_size(
    size: int, runs: int, seconds: float, folder: Path, figures: dict[str, float], progress: Callable[[str], None]
) -> Iterator[tuple[str, int, Load]]:
    port, bare_port = free_port(), free_port()
    with RedisServer(folder / f"redis-{size}") as redis:
        settings = server_settings(redis)
        progress(f"learning a model of {size:,} items")
        published = publish_model(size, redis.url, MODEL_NAME)
        visitor_lists = {"list": published.visitors, "deep list": published.deep_visitors}
        for subject, names in visitor_lists.items():
            (folder / subject).write_text("\n".join(names), encoding="utf-8")
        serve = ["-c", "from stream.cli import main; main()", "serve", "--port", str(port)]
        bare = ["-m", "benchmarks.baselines.constant_route", str(bare_port)]
        started = time.monotonic()
        with server_process(serve, settings) as ours, server_process(bare, {}) as constant:
            wait_until(lambda: served_version(port), "the server answers from the model", START_SECONDS)
            figures[f"ready_seconds_{_named(size)}"] = round(time.monotonic() - started, 1)
            wait_until(lambda: get(bare_port, "/"), "the constant route answers", START_SECONDS)
            script = ["-s", str(folder / "request.lua")]
            url, bare_url = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{bare_port}/"
            for visitors in visitor_lists:  # a server's first second is not measured: its caches are cold
                wrk_load(ours, url, script, CONNECTIONS[-1], 1.0, folder / visitors)
            wrk_load(constant, bare_url, [], CONNECTIONS[-1], 1.0)
            for _ in range(runs):
                for connections in CONNECTIONS:
                    yield "constant", connections, wrk_load(constant, bare_url, [], connections, seconds)
                    yield "list", connections, wrk_load(ours, url, script, connections, seconds, folder / "list")
                load = wrk_load(ours, url, script, CONNECTIONS[-1], seconds, folder / "deep list")
                yield "deep list", CONNECTIONS[-1], load


@contextmanager
def server_process(arguments: list[str], settings: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CORRENTE_")}
    process = subprocess.Popen(  # noqa: S603  our own programs
        [sys.executable, *arguments], env={**inherited, **settings}, stdout=subprocess.DEVNULL
    )
    try:
        os.sched_setaffinity(process.pid, {0})
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20.0)
        process.kill()
        process.wait()


def wrk_load(
    server: subprocess.Popen[bytes],
    url: str,
    script: list[str],
    connections: int,
    seconds: float,
    visitors: Path | None = None,
    key: str | None = None,
) -> Load:
    before = cpu_seconds(server.pid)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency", *script, url]
    cores = sorted(os.sched_getaffinity(0))
    environment = {**os.environ, "BENCH_VISITORS": str(visitors or ""), **({"BENCH_KEY": key} if key else {})}
    pinned = ["taskset", "-c", str(cores[-1])] if shutil.which("taskset") else []
    report = subprocess.run(  # noqa: S603  wrk, by an argument list
        [*pinned, *command], capture_output=True, text=True, check=True, env=environment
    ).stdout
    if "Non-2xx" in report:
        raise RuntimeError(f"not every answer was a list:\n{report}")
    spent = cpu_seconds(server.pid) - before
    requests = re.search(r"(\d+) requests in", report)
    pace = re.search(r"Requests/sec:\s+([\d.]+)", report)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", report)
    assert requests
    assert pace
    assert p99
    scale = {"us": 0.001, "ms": 1.0, "s": 1000.0}[p99[2]]
    return Load(float(pace[1]), int(requests[1]) / max(spent, 1e-9), float(p99[1]) * scale)


def _named(size: int) -> str:
    return SIZE_NAMES.get(size, str(size))


def _result(
    loads: Mapping[tuple[str, int], list[Load]], figures: dict[str, float], runs: int, sizes: Sequence[int]
) -> dict[str, Any]:
    def median(subject: str, connections: int, field: str) -> float:
        return statistics.median(getattr(load, field) for load in loads[subject, connections])

    spread: dict[str, list[float]] = {}
    ratios: dict[str, float] = {}
    most = CONNECTIONS[-1]
    for name in map(_named, sizes):
        ours, deep, bare = f"list {name}", f"deep list {name}", f"constant {name}"
        figures[f"requests_per_second_{name}"] = round(median(ours, most, "requests_per_second"))
        figures[f"requests_per_second_100_events_{name}"] = round(median(deep, most, "requests_per_second"))
        figures[f"constant_requests_per_second_{name}"] = round(median(bare, most, "requests_per_second"))
        figures[f"cpu_microseconds_{name}"] = round(1e6 / median(ours, most, "requests_per_cpu_second"), 1)
        figures[f"p99_ms_{name}"] = round(median(ours, 1, "p99_ms"), 2)
        figures[f"constant_p99_ms_{name}"] = round(median(bare, 1, "p99_ms"), 2)
        for field, ending in (("requests_per_second", ""), ("requests_per_cpu_second", "_by_cpu")):
            ratio = median(ours, most, field) / median(bare, most, field)
            ratios[f"to_constant_route_{name}{ending}"] = round(ratio, 3)
        for subject in (ours, deep, bare):
            paces = [load.requests_per_second for load in loads[subject, most]]
            spread[subject] = [round(min(paces)), round(max(paces))]
        for subject in (ours, bare):
            slowest = [load.p99_ms for load in loads[subject, 1]]
            spread[f"{subject} p99_ms"] = [round(min(slowest), 2), round(max(slowest), 2)]
    if {"10k", "1m"} <= set(map(_named, sizes)):
        # A ratio of ratios, because minutes lie between the measurements of the two sizes.
        for ending in ("", "_by_cpu"):
            both = [ratios[f"to_constant_route_{name}{ending}"] for name in ("1m", "10k")]
            ratios[f"1m_to_10k{ending}"] = round(both[0] / both[1], 3)
    for shards in MEMORY_SHARDS:
        one = figures[f"memory_mb_{shards}_shards_1_process"]
        several = figures[f"memory_mb_{shards}_shards_{MEMORY_PROCESSES}_processes"]
        ratios[f"memory_{MEMORY_PROCESSES}_processes_to_1_{shards}_shards"] = round(several / one, 3)
    return {
        "leg": "serve",
        "machine": machine(),
        "runs": runs,
        "figures": figures,
        "spread": spread,
        "ratios": ratios,
    }
