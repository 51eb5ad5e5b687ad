"""`corrente serve` in a process of its own, reached over HTTP."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from benchmarks.harness.waiting import wait_until


class ServerProcess:
    """A running server; `client` sends requests to its address."""

    def __init__(self, process: subprocess.Popen[str], client: httpx.Client) -> None:
        self.process = process
        self.client = client

    def health(self) -> dict[str, Any]:
        return self.client.get("/health/ready").json()

    def wait_for_kafka(self) -> None:
        wait_until(lambda: self.health()["kafka"]["up"], "the server reaches Kafka", 120.0)

    def wait_for_version(self, version_id: str) -> None:
        wait_until(lambda: self.health()["version_id"] == version_id, f"version {version_id} is served", 240.0)


@contextmanager
def running_server(environment: Mapping[str, str]) -> Iterator[ServerProcess]:
    """Run a server with these settings on a free port, and kill it with the context."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CORRENTE_")}
    process = subprocess.Popen(
        [sys.executable, "-c", "from stream.cli import main; main()", "serve", "--port", "0"],
        env={**inherited, **environment, "CORRENTE_LOG_LEVEL": "warning"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        address = re.search(r"http://[0-9.]+:\d+", line)
        assert address, f"the first line of the server holds no address: {line!r}"
        with httpx.Client(base_url=address[0], timeout=30.0) as client:
            yield ServerProcess(process, client)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
