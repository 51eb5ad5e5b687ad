"""Visitors a second of the batch route over HTTP, beside bare scoring of the same visitors in a process of its own.

A model (`benchmarks.harness.model_fixture`) is published to a Redis of its own. `corrente serve` loads it on one core
and gets batches, one after the other, over one connection. A process on the same core loads the version with the code
that a server loads it with and calls `Model.recommend` alone. The two take turns, so a disturbance of the machine meets
both.

This file decides the length of a batch, what counts as bare scoring, and the figures that are reported.
"""

from __future__ import annotations

import asyncio
import http.client
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.harness.machine import machine
from benchmarks.harness.model_fixture import publish_model
from benchmarks.harness.processes import served_version
from benchmarks.harness.servers import RedisServer, free_port
from benchmarks.harness.waiting import wait_until
from benchmarks.legs.lists.serve import MODEL_NAME, START_SECONDS, server_process, server_settings
from serving.loading.loader import Loader
from serving.metrics import Metrics
from serving.upstream_health import UpstreamHealth
from stream.models.model import Model
from stream.models.query import Query
from stream.models.settings import ModelSettings
from stream.versions import VersionStore

BATCH_LISTS = 200
"""Visitors in each call."""

LENGTH = 10
"""Items of each list."""

PATH = "/v1/recommendations/batch"


def measure(runs: int, size: int, seconds: float, progress: Callable[[str], None]) -> dict[str, Any]:
    """The JSON object of `corrente bench serve --batch`.

    Args:
        runs: number of repetitions.
        size: number of items in the model.
        seconds: seconds of each measurement.
        progress: is called with one line of text for each step.

    Raises:
        MissingServer: redis-server is not installed.
    """
    pairs: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory(prefix="corrente-bench-") as folder, RedisServer(Path(folder) / "redis") as redis:
        progress(f"learning a model of {size:,} items")
        visitors = publish_model(size, redis.url, MODEL_NAME).visitors
        port = free_port()
        serve = ["-c", "from stream.cli import main; main()", "serve", "--port", str(port)]
        with (
            closing(VersionStore.connect(redis.url, MODEL_NAME, timeout_seconds=120.0)) as store,
            server_process(serve, server_settings(redis)),
        ):
            wait_until(partial(served_version, port), "the server answers from the model", START_SECONDS)
            metrics = Metrics()
            loader = Loader(store, UpstreamHealth("redis", metrics), metrics, visitor_salt=ModelSettings().visitor_salt)
            loader.start()
            wait_until(lambda: loader.served is not None, "the model is loaded", START_SECONDS)
            assert loader.served is not None
            model, bodies = loader.served.model, list(batches(visitors))
            score(model, visitors, 1.0)
            post(port, bodies, 1.0)  # the first second is not measured: caches are cold
            for run in range(1, runs + 1):
                first_scoring = run % 2 == 0
                scoring = score(model, visitors, seconds) if first_scoring else 0.0
                batch = post(port, bodies, seconds)
                scoring = scoring or score(model, visitors, seconds)
                pairs.append((batch, scoring))
                progress(f"run {run}  batch {batch:9,.0f} visitors/s  scoring {scoring:9,.0f}  {batch / scoring:.3f}")
            asyncio.run(loader.stop())
    return result(pairs)


def batches(visitors: list[str]) -> Iterator[bytes]:
    """Bodies of calls for all of these visitors."""
    for first in range(0, len(visitors) - BATCH_LISTS + 1, BATCH_LISTS):
        chosen = visitors[first : first + BATCH_LISTS]
        yield msgspec.json.encode({"requests": [{"user": visitor, "n": LENGTH} for visitor in chosen]})


def post(port: int, bodies: list[bytes], seconds: float) -> float:
    """Visitors a second of calls over one connection.

    Raises:
        RuntimeError: a call was refused, or one of its lists.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60.0)
    answered, started = 0, time.perf_counter()
    with closing(connection):
        while (passed := time.perf_counter() - started) < seconds:
            connection.request("POST", PATH, bodies[answered // BATCH_LISTS % len(bodies)])
            response = connection.getresponse()
            body = response.read()
            if response.status != 200 or not body.startswith(b'{"refused":0,'):
                raise RuntimeError(f"a batch was not answered: {response.status} {body[:200]!r}")
            answered += BATCH_LISTS
    return answered / passed


def score(model: Model, visitors: list[str], seconds: float) -> float:
    """Visitors a second of scoring alone, on the core of the server."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {0})
    try:
        scored, started = 0, time.perf_counter()
        while (passed := time.perf_counter() - started) < seconds:
            for visitor in visitors[scored % (len(visitors) - BATCH_LISTS) :][:BATCH_LISTS]:
                model.recommend(Query(user=visitor, n=LENGTH))
            scored += BATCH_LISTS
    finally:
        os.sched_setaffinity(0, cores)
    return scored / passed


def result(pairs: list[tuple[float, float]]) -> dict[str, Any]:
    """Medians of the figures, and of the ratio of each pair, whose measurements lie seconds apart."""
    batch, scoring = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return {
        "leg": "serve",
        "machine": machine(),
        "runs": len(pairs),
        "figures": {
            "batch_visitors_per_second": round(statistics.median(batch)),
            "scoring_visitors_per_second": round(statistics.median(scoring)),
            "visitors_a_call": BATCH_LISTS,
        },
        "spread": {
            "batch": [round(min(batch)), round(max(batch))],
            "scoring": [round(min(scoring)), round(max(scoring))],
        },
        "ratios": {"batch_to_scoring": round(statistics.median(one / other for one, other in pairs), 3)},
    }
