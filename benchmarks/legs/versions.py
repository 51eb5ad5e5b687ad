"""The cost of versions: learning held by checkpoints, bytes of a history, and the time of a rollback.

Three measurements:

- **Holding.** A worker as it is shipped, on a real Kafka and Redis, begins `BACKLOG` events behind and then follows
  1,000 and 20,000 events per second. Its own metrics report the longest time for which a checkpoint held learning, and
  the largest lag of its event loop; both from the first batch on, the backlog's checkpoint and the import of River
  included.
- **History.** One version per minute for 50 minutes, at 100 and at 1,000 events per second, on a model of 100,000
  items. The clock is simulated: each simulated minute has its events (learned by the shard, in their own time), six
  publishes ten seconds apart, and one round of the compaction that a worker runs. Nothing else differs, because time
  only ever comes in as an argument. Bytes are the memory that Redis reports for the model's keys, those that expire by
  themselves left out.
- **Rollback.** `corrente serve` on that history is rolled back to the version that it served before (resident), and to
  ones that it does not hold in memory, each older than all before (cold), until a list comes from that version.

This file decides the three measurements and what is read from a worker, from Redis and from a server.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from benchmarks.harness.background import background
from benchmarks.harness.events import LoadEvent, fill_topics, load_events
from benchmarks.harness.machine import machine
from benchmarks.harness.processes import (
    SERVER,
    TOPIC_NAMES,
    WORKER,
    check_running,
    get,
    learned,
    metrics,
    request_json,
    running,
    tests,
    total,
    worker_settings,
)
from benchmarks.harness.servers import RedisServer, free_port, running_servers
from benchmarks.harness.waiting import wait_until
from serving.loading.shard_memory import ShardMemory
from stream.ingest.records import Record
from stream.models.schema import table_specs
from stream.models.settings import ModelSettings
from stream.runner.rolling_max import WINDOW_SECONDS
from stream.shard.shard import Shard
from stream.versions import Policy, ShardState, VersionStore
from stream.versions.compaction import compact
from stream.versions.storage.records import stored_bytes

ITEMS = 100_000
VISITORS = 100_000
FIRST_EVENTS = 600_000
"""Number of events that the model has learned before the first of the 50 minutes."""

MINUTES = 50
PACES = (100, 1_000)
PUBLISHES_A_MINUTE = 6
POLICY = Policy(keep_last=2, keep_minutes=MINUTES + 1, keep_hours=0, keep_days=0)
BATCH = 4096
RATE = 0.01
"""Share of events that are tested."""

BACKLOG = 200_000
FLOWING = (1_000, 20_000)
"""Events a second while a worker publishes."""

READING_SECONDS = 0.2
"""Seconds from one reading of a starting worker to the next: a page of metrics takes milliseconds of its Python."""

READINGS = 2
"""Number of readings of the longest hold at each pace, `WINDOW_SECONDS` apart."""


def measure(runs: int, progress: Callable[[str], None]) -> dict[str, Any]:
    """The JSON object of `corrente bench versions`.

    Raises:
        MissingServer: Kafka or redis-server can't be had on this machine.
    """
    figures: dict[str, float] = {}
    spread: dict[str, list[float]] = {}
    ratios: dict[str, float] = {}

    def put(name: str, values: list[float], digits: int = 1) -> None:
        figures[name] = round(statistics.median(values), digits)
        spread[name] = [round(min(values), digits), round(max(values), digits)]

    with tempfile.TemporaryDirectory(prefix="corrente-bench-") as name:
        folder = Path(name)
        for key, values in _holding(folder, runs, progress).items():
            put(key, values)
        for pace in PACES:  # bytes are the same in every run
            with RedisServer(folder / f"redis-{pace}") as redis:
                first = pace == PACES[0]
                history = _history(redis, pace, progress, resident=first)
                suffix = "" if first else f"_{pace}"
                ratios[f"bytes_50_versions_to_keyframe{suffix}"] = round(history["bytes"] / history["keyframe"], 2)
                figures[f"history_mb_{pace}"] = round(history["bytes"] / 1e6, 1)
                figures[f"keyframe_mb_{pace}"] = round(history["keyframe"] / 1e6, 1)
                if first:
                    ratios["serving_50_versions_to_one"] = round(history["resident"] / history["one"], 2)
                    figures["resident_50_mb"] = round(history["resident"] / 1e6, 1)
                    figures["resident_one_mb"] = round(history["one"] / 1e6, 1)
                    for key, values in _rollbacks(redis, folder, runs, progress).items():
                        put(key, values)
    return {
        "leg": "versions",
        "machine": machine(),
        "runs": runs,
        "figures": figures,
        "spread": spread,
        "ratios": ratios,
    }


# ---- holding


def _holding(folder: Path, runs: int, progress: Callable[[str], None]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    with ExitStack() as stack:
        kafka, redis = stack.enter_context(running_servers(folder))
        for run in range(1, runs + 1):
            # Topics of its own: in those of the run before, its load would be a further backlog.
            topics = {topic: f"{name}-{run}" for topic, name in TOPIC_NAMES.items()}
            asyncio.run(fill_topics(kafka.bootstrap, topics, 1, load_events(BACKLOG)))
            port = free_port()
            log = folder / f"worker-{run}.log"
            settings = worker_settings(kafka.bootstrap, redis.url, str(run), port, topics=topics)
            with running(WORKER, settings, log) as worker:
                with background(kafka.bootstrap, FLOWING[0], topics=topics):
                    wait_until(partial(_has_begun, port), "the backlog is learned", 300.0, READING_SECONDS)
                    begun = _held(metrics(port))
                flowing = []
                for pace in FLOWING:
                    with background(kafka.bootstrap, pace, topics=topics):
                        time.sleep(2 * WINDOW_SECONDS)  # until earlier maxima have left the window
                        for _ in range(READINGS):
                            time.sleep(WINDOW_SECONDS)
                            flowing.append(_held(metrics(port)))
                check_running(worker, log)
                seen = metrics(port)
            publishes = total(seen, "corrente_worker_publish_seconds_count")
            values = {
                "hold_ms_max": max(held["learning"] for held in flowing),
                "loop_late_ms_max": max(held["loop"] for held in flowing),
                "hold_ms_max_catching_up": begun["learning"],
                "loop_late_ms_max_catching_up": begun["loop"],
                "visible_ms_mean": 1000 * total(seen, "corrente_worker_publish_seconds_sum") / publishes,
                "cut_ms_mean": 1000
                * total(seen, "corrente_worker_cut_seconds_sum")
                / total(seen, "corrente_worker_cut_seconds_count"),
                "published": publishes,
            }
            for key, value in values.items():
                found.setdefault(key, []).append(value)
            progress(f"run {run}  " + "  ".join(f"{key} {value:.1f}" for key, value in values.items()))
    return found


def _has_begun(port: int) -> bool:
    """True once the backlog is learned and events are tested, which begins with the import of River after it."""
    samples = metrics(port)
    return learned(samples) >= BACKLOG and tests(samples)


def _held(samples: dict[str, float]) -> dict[str, float]:
    """Longest milliseconds for which learning and the event loop were held, in the last `WINDOW_SECONDS` or more."""
    return {
        what: 1000 * total(samples, "corrente_worker_longest_hold_seconds", f'held="{what}"')
        for what in ("learning", "loop")
    }


# ---- history


def _history(redis: RedisServer, pace: int, progress: Callable[[str], None], *, resident: bool) -> dict[str, float]:
    """Publish 50 minutes of versions; bytes in Redis and, if `resident`, of a server that holds all of them."""
    settings = ModelSettings()
    shard = Shard(settings)
    events = load_events(FIRST_EVENTS + MINUTES * 60 * pace, visitors=VISITORS, items=ITEMS)
    offsets: dict[str, int] = {}
    _learn(shard, islice(events, FIRST_EVENTS), offsets)
    store = VersionStore.connect(redis.url, "bench", timeout_seconds=120.0)
    now = 1_800_000_000.0 // 60 * 60 + 1.0
    claim = store.claim(0, worker="bench", token=f"bench-{pace}", now=now)
    publish: dict[str, Any] = {"settings": settings.model_dump(mode="json"), "code_version": "bench"}
    store.publish(claim, shard.checkpoint(), now=now - 60, **publish)
    assert claim.head is not None
    states = [claim.head]
    for minute in range(MINUTES):
        for part in range(PUBLISHES_A_MINUTE):
            _learn(shard, islice(events, 60 * pace // PUBLISHES_A_MINUTE), offsets)
            store.publish(claim, shard.checkpoint(), now=now + minute * 60 + part * 10, **publish)
        compact(store, 0, POLICY, now + minute * 60 + 59)
        states.append(claim.head)
    compact(store, 0, POLICY, now + MINUTES * 60 - 1)
    kept = {version.shards[0].seq for version in store.versions()}
    chain = store.chain(0, states[-1], "keyframe")
    assert chain
    keyframe = stored_bytes(chain[-1].keyframe)
    used = _bytes_in_redis(store)
    progress(
        f"{pace:>5,} events/s  {len(kept)} versions  {used / 1e6:.0f} MB in Redis, a keyframe {keyframe / 1e6:.0f} MB"
    )
    found = {"bytes": float(used), "keyframe": float(keyframe)}
    if resident:
        found |= _resident(store, settings, [state for state in states if state.seq in kept][-MINUTES:], progress)
    store.close()
    return found


def _resident(
    store: VersionStore, settings: ModelSettings, states: list[ShardState], progress: Callable[[str], None]
) -> dict[str, float]:
    """Bytes of states in a server's arena: of the first alone, and of all of them."""
    memory = ShardMemory(table_specs(settings))
    views = [memory.load(partial(store.load, 0, states[0]))]
    one = memory.nbytes
    for before, after in pairwise(states):
        changes = store.changes(0, before, after)
        assert changes is not None
        views.append(memory.apply(views[-1], changes))
    progress(f"  {len(views)} resident versions {memory.nbytes / 1e6:.0f} MB, one {one / 1e6:.0f} MB")
    return {"resident": float(memory.nbytes), "one": float(one)}


def _learn(shard: Shard, events: Iterator[LoadEvent], offsets: dict[str, int]) -> None:
    batch: list[Record] = []
    for event in events:
        offset = offsets.get(event.topic, 0)
        offsets[event.topic] = offset + 1
        batch.append(Record(event.topic, offset, event.timestamp_ms, event.value, event.key))
        if len(batch) == BATCH:
            shard.apply(batch, rate=RATE)
            batch = []
    shard.apply(batch, rate=RATE)


def _bytes_in_redis(store: VersionStore) -> int:
    used = 0
    names = list(store.redis.scan_iter(match=f"{store.keys.prefix}*", count=1000))
    for at in range(0, len(names), 500):
        with store.redis.pipeline(transaction=False) as pipe:
            for key in names[at : at + 500]:
                pipe.ttl(key)
                pipe.memory_usage(key)
            replies = pipe.execute()
        used += sum(size or 0 for ttl, size in zip(replies[::2], replies[1::2], strict=True) if ttl < 0)
    return used


# ---- rollback


def _rollbacks(redis: RedisServer, folder: Path, runs: int, progress: Callable[[str], None]) -> dict[str, list[float]]:
    store = VersionStore.connect(redis.url, "bench")
    numbers = [version.number for version in store.versions()]  # newest first
    latest = numbers[0]
    found: dict[str, list[float]] = {"rollback_resident_ms": [], "rollback_cold_ms": [], "server_ready_ms": []}
    settings = {
        "CORRENTE_KAFKA": f"127.0.0.1:{free_port()}",  # no broker listens there: lists need no Kafka
        "CORRENTE_REDIS": redis.url,
        "CORRENTE_MODEL_NAME": "bench",
        "CORRENTE_LOG_LEVEL": "warning",
    }
    for run in range(1, runs + 1):
        port = free_port()
        started = time.monotonic()
        with running([*SERVER, "--port", str(port)], settings, folder / f"server-{run}.log"):
            wait_until(partial(_serves, port, latest), "the server answers", 300.0)
            found["server_ready_ms"].append(1000 * (time.monotonic() - started))
            cold = numbers[len(numbers) * run // (runs + 1)]
            found["rollback_cold_ms"].append(_moved(port, "POST", f"/v1/versions/{cold}/rollback", cold))
            # the version that was served before is still in memory
            found["rollback_resident_ms"].append(_moved(port, "POST", f"/v1/versions/{latest}/rollback", latest))
            request_json(port, "DELETE", "/v1/pin")
        progress(f"run {run}  " + "  ".join(f"{key} {values[-1]:.0f}" for key, values in found.items()))
    store.close()
    return found


def _moved(port: int, method: str, path: str, number: int) -> float:
    """Send a request; milliseconds until a list comes from version `number`."""
    started = time.monotonic()
    request_json(port, method, path)
    wait_until(partial(_serves, port, number), f"version {number} is served", 60.0, every=0.001)
    return 1000 * (time.monotonic() - started)


def _serves(port: int, number: int) -> bool:
    answer = get(port, "/v1/recommendations/visitor-1")
    return bool(answer) and answer["version"] == number
