"""Lists under filters that let through less and less of a million items, beside the same lists without a filter.

A model (`benchmarks.harness.model_fixture`) is published to a Redis of its own, and loaded in this process by the code
that a server loads it with. Every item has a document; four tags are given to 50, 5, 0.5 and 0.05 % of them by chance.
Answers are made by the server's fast path, from the bytes of a request to the bytes of its JSON, one kind after the
other for each visitor, so that a disturbance of the machine meets all kinds alike.

This file decides the filters, what is timed, and the figures that are reported.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np

from benchmarks.harness.machine import machine
from benchmarks.harness.model_fixture import publish_model
from benchmarks.harness.servers import RedisServer
from benchmarks.harness.waiting import wait_until
from serving.access.guard import Guard
from serving.access.key_ring import KeyRing
from serving.answers.fast_path import FastPath
from serving.answers.responder import Responder
from serving.limits.limits import Limits
from serving.loading.loader import Loader
from serving.metrics import Metrics
from serving.upstream_health import UpstreamHealth
from stream.access.audit import AuditTrail
from stream.access.key_store import KeyStore
from stream.access.limit_store import LimitStore
from stream.catalogue.columns import Change
from stream.catalogue.item import Item
from stream.catalogue.snapshot import Catalogue
from stream.models.settings import ModelSettings
from stream.settings import load_settings
from stream.versions import VersionStore

SHARES = {"50": 0.5, "5": 0.05, "05": 0.005, "005": 0.0005}
"""Share of the items that each filter lets through, by the ending of its figures."""

LENGTH = 10
"""Items of each list."""

APPLIED = 1000
START_SECONDS = 600.0
MODEL_NAME = "bench"

Answer = Callable[[bytes], object]


def measure(runs: int, size: int, lists: int, progress: Callable[[str], None]) -> dict[str, Any]:
    """The JSON object of `corrente bench filters`.

    Args:
        runs: number of repetitions.
        size: number of items.
        lists: number of lists of each kind in each run.
        progress: is called with one line of text for each step.

    Raises:
        MissingServer: redis-server is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="corrente-bench-") as folder, RedisServer(Path(folder) / "redis") as redis:
        progress(f"learning a model of {size:,} items")
        visitors = publish_model(size, redis.url, MODEL_NAME).visitors
        with closing(VersionStore.connect(redis.url, MODEL_NAME, timeout_seconds=120.0)) as store:
            metrics, catalogue = Metrics(), Catalogue()
            loader = Loader(store, UpstreamHealth("redis", metrics), metrics, visitor_salt=ModelSettings().visitor_salt)
            loader.start()
            wait_until(lambda: loader.served is not None, "the model is loaded", START_SECONDS)
            progress("writing the catalogue")
            started = time.perf_counter()
            fill(catalogue, size)
            fill_seconds = time.perf_counter() - started
            responder = Responder(loader, metrics, catalogue)
            guard = open_guard(store, redis.url, metrics)
            answer = FastPath(SimpleNamespace(loader=loader, responder=responder, metrics=metrics, guard=guard))
            figures: dict[str, float] = {"microseconds_a_document": round(1e6 * fill_seconds / size, 1)}
            for name in SHARES:
                started = time.perf_counter()
                answer(target(visitors[0], name))
                figures[f"first_ms_{name}"] = round(1000 * (time.perf_counter() - started), 1)
            found = []
            short = 0
            for run in range(1, runs + 1):
                times, fewer = one_run(answer, visitors, lists, run)
                found.append(times)
                short += fewer
                progress(
                    f"run {run}  without {statistics.median(times['']):6.1f} µs"
                    + "".join(f"  {name} {statistics.median(times[name]):6.1f}" for name in SHARES)
                )
            asyncio.run(loader.stop())
    return result(found, figures, short, runs)


def open_guard(store: VersionStore, redis_url: str, metrics: Metrics) -> Guard:
    """The guard of a server on loopback without keys."""
    settings = load_settings({}, redis=redis_url, model_name=MODEL_NAME)
    limits = Limits(settings, LimitStore(store.space), metrics.count_limit)
    ring = KeyRing(KeyStore(store.space), may_open=True, stale_seconds=settings.keys_stale_seconds)
    return Guard(ring, metrics.count_access_refusal, limits, AuditTrail(store.space), settings.model.visitor_salt)


def fill(catalogue: Catalogue, size: int) -> None:
    """Give every item a document, and each tag to its share of them."""
    random = np.random.default_rng(0)
    drawn = {name: random.random(size) < share for name, share in SHARES.items()}
    changes = []
    for number in range(size):
        tags = [f"t{name}" for name in SHARES if drawn[name][number]]
        changes.append(Change(f"item-{number}", number + 1, Item(tags=tags, price=float(number % 100))))
        if len(changes) == APPLIED or number + 1 == size:
            catalogue.apply(changes, number + 1)
            changes.clear()


def target(visitor: str, name: str) -> bytes:
    """Target of a request under the filter of this name; the empty name is no filter."""
    query = f"?n={LENGTH}" + (f"&tags=t{name}" if name else "")
    return f"/v1/recommendations/{visitor}{query}".encode()


def one_run(answer: Answer, visitors: list[str], lists: int, run: int) -> tuple[dict[str, list[float]], int]:
    """Microseconds of every list by filter, and the number of lists that are too short."""
    kinds = ["", *SHARES]
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    short = 0
    for number in range(lists):
        visitor = visitors[(run * lists + number) % len(visitors)]
        for kind in kinds[number % len(kinds) :] + kinds[: number % len(kinds)]:
            request = target(visitor, kind)
            started = time.perf_counter()
            body = answer(request)
            times[kind].append(1e6 * (time.perf_counter() - started))
            assert isinstance(body, bytes)
            short += len(msgspec.json.decode(body)["items"]) < LENGTH
    return times, short


def result(found: list[dict[str, list[float]]], figures: dict[str, float], short: int, runs: int) -> dict[str, Any]:
    """Medians over all runs, and the smallest and largest median of a run."""
    spread = {}
    medians = {}
    for kind in ("", *SHARES):
        of_runs = [statistics.median(times[kind]) for times in found]
        medians[kind] = statistics.median(of_runs)
        spread[f"p50_{kind or 'unfiltered'}"] = [round(min(of_runs), 1), round(max(of_runs), 1)]
        figures[f"microseconds_p50_{kind or 'unfiltered'}"] = round(medians[kind], 1)
        everything = [each for times in found for each in times[kind]]
        figures[f"microseconds_p99_{kind or 'unfiltered'}"] = round(float(np.percentile(everything, 99)), 1)
    figures["short_lists"] = short
    return {
        "leg": "filters",
        "machine": machine(),
        "runs": runs,
        "figures": figures,
        "spread": spread,
        "ratios": {f"p50_{name}": round(medians[name] / medians[""], 3) for name in SHARES},
    }
