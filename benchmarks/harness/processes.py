"""Corrente's own programs as child processes, and their CPU time, memory, metrics and answers as seen from outside.

A measured program runs as it is shipped, in a process of its own, configured by its environment alone.

This file decides how such a process is started, ended and looked at.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TOPIC_NAMES = {topic: f"bench-{topic}" for topic in ("clicks", "purchases", "feedback")}
"""Corrente's name of each topic to the name that benchmarks give it in Kafka."""

WORKER = ["-c", "from stream.worker_cli import worker; worker()"]
SERVER = ["-c", "from stream.cli import main; main()", "serve"]

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Opens addresses of loopback, whatever proxy the environment names."""


class Ended(RuntimeError):
    """A process ended that should be running. The text has the end of its log."""


@contextmanager
def running(arguments: list[str], settings: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Python process with these `CORRENTE_` settings and no others; its output goes to `log`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CORRENTE_")}
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603  our own program
            [sys.executable, *arguments], env={**inherited, **settings}, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20.0)
        process.kill()
        process.wait()


def worker_settings(
    kafka: str,
    redis: str,
    name: str,
    metrics_port: int,
    *,
    topics: Mapping[str, str] = TOPIC_NAMES,
    shards: int = 1,
) -> dict[str, str]:
    """Settings of a worker with a model of its own; everything that changes how it works keeps its default.

    Args:
        kafka, redis: their addresses.
        name: of the model and of the consumer group.
        metrics_port: port of the worker's metrics.
        topics: our name of each topic to Kafka's.
        shards: number of shards, if it isn't the default.
    """
    return {
        "CORRENTE_KAFKA": kafka,
        "CORRENTE_REDIS": redis,
        "CORRENTE_GROUP": f"corrente-{name}",
        "CORRENTE_MODEL_NAME": f"bench-{name}",
        "CORRENTE_METRICS_PORT": str(metrics_port),
        **{f"CORRENTE_{topic.upper()}_TOPIC": kafka_name for topic, kafka_name in topics.items()},
        **({"CORRENTE_SHARDS": str(shards)} if shards > 1 else {}),
    }


def check_running(process: subprocess.Popen[bytes], log: Path) -> None:
    """Raise `Ended` with the end of the log unless the process is running."""
    if process.poll() is not None:
        end = log.read_text(errors="replace")[-3000:]
        raise Ended(f"the process ended with {process.returncode}:\n{end}")


def cpu_seconds(pid: int) -> float:
    """Seconds of user and system time that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    """Bytes of resident memory of a process at the moment."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def shared_bytes(pid: int) -> int:
    """Bytes that a process and its descendants hold: the sum of their proportional set sizes (PSS)."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
    own = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
    return 1024 * own + sum(shared_bytes(int(child)) for child in children)


def request_json(port: int, method: str, path: str, key: str = "") -> Any:
    """Send a request to a server on loopback and decode its JSON answer; None for an empty one.

    Args:
        port: of the server.
        method: of HTTP.
        path: with its query.
        key: of the HTTP API; empty for a server that needs none.

    Raises:
        OSError: no connection, or an answer with an error status.
    """
    data = json.dumps({"why": "benchmark"}).encode() if method == "POST" else None
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers, method=method)
    with _DIRECT.open(request, timeout=60.0) as answer:
        body = answer.read()
    return json.loads(body) if body else None


def get(port: int, path: str, key: str = "") -> Any:
    """The JSON answer to a GET request, or None if there is no connection or an error status."""
    try:
        return request_json(port, "GET", path, key)
    except OSError:
        return None


def served_version(port: int, key: str = "") -> int | None:
    """Number of the version that a server answers from, or None if it has none yet."""
    health = get(port, "/health/ready", key)
    return health.get("version") if health else None


def metrics(port: int) -> dict[str, float]:
    """Every sample of a metrics page by its name and labels; empty if no server listens."""
    try:
        with _DIRECT.open(f"http://127.0.0.1:{port}/metrics", timeout=5.0) as answer:
            lines = answer.read().decode().splitlines()
    except (urllib.error.URLError, OSError):
        return {}
    return {
        name: float(value)
        for name, _, value in (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
    }


def total(samples: Mapping[str, float], name: str, *labels: str) -> float:
    """Sum of a metric over all samples that have these labels, each as `name="value"`.

    >>> total({'a_total{x="1",y="2"}': 3.0, 'a_total{x="2",y="2"}': 4.0}, "a_total", 'x="2"')
    4.0
    """
    return sum(
        value
        for sample, value in samples.items()
        if sample.partition("{")[0] == name and all(label in sample for label in labels)
    )


def learned(samples: Mapping[str, float]) -> int:
    """Number of records that are part of a worker's state, by its own counters."""
    return int(total(samples, "corrente_worker_records_total", 'outcome="read"'))


def tests(samples: Mapping[str, float]) -> bool:
    """True once a worker tests events: it learns its first ones without tests, while it imports River."""
    return total(samples, "corrente_worker_testing_cpu_seconds") > 0
