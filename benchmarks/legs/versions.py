"""What versions cost: learning held while they are cut, bytes of a history, and the way back to an older one.

Three measurements:

- **Holding.** A worker as it is shipped, on a real Kafka and Redis, begins `BACKLOG` events behind and then follows
  1,000 and 20,000 events a second. It tells itself the longest time for which a cut held learning, and by how much its
  event loop was ever late; both from the first batch on, the backlog's cut and the import of River included.
- **History.** One version a minute for 50 minutes, at 100 and at 1,000 events a second, on a model of 100,000 items.
  The clock is simulated: each simulated minute has its events (learned by the shard, in their own time), six publishes
  ten seconds apart, and one round of the thinning that a worker runs. Nothing else is different: time only ever comes
  in as an argument. Bytes are what Redis says that the model's keys take, those that expire by themselves left out.
- **Rollback.** `corrente serve` on that history is asked to go back to the version that it served before (resident),
  and to ones that it does not have in memory, each older than all before (cold), until a list comes from there.
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
    ask,
    check_running,
    get,
    learned,
    metrics,
    running,
    tests,
    total,
    worker_settings,
)
from benchmarks.harness.servers import KafkaServer, RedisServer, free_port, wait_until
from serving.loading.shard_memory import ShardMemory
from stream.ingest.records import Record
from stream.models.settings import ModelSettings
from stream.runner.rolling_max import WINDOW_SECONDS
from stream.shard.shard import Shard
from stream.versions import Policy, ShardState, VersionStore
from stream.versions.compaction import compact
from stream.versions.storage.records import stored_bytes

ITEMS = 100_000
VISITORS = 100_000
FIRST_EVENTS = 600_000
"""What the model has learned before the first of the 50 minutes."""

MINUTES = 50
PACES = (100, 1_000)
PUBLISHES_A_MINUTE = 6
POLICY = Policy(keep_last=2, keep_minutes=MINUTES + 1, keep_hours=0, keep_days=0)
BATCH = 4096
RATE = 0.01
"""Share of events that is tested."""

BACKLOG = 200_000
FLOWING = (1_000, 20_000)
"""Events a second while a worker publishes."""

LOOK_SECONDS = 0.2
"""How often a worker that begins is looked at: each page of metrics is milliseconds of its own Python."""

LOOKS = 2
"""How often it is asked at each pace for how long anything was held, every `WINDOW_SECONDS`."""


def measure(runs: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """The JSON object of `corrente bench versions`.

    Raises:
        MissingServer: Kafka or redis-server can't be had here.
    """
    figures: dict[str, float] = {}
    spread: dict[str, list[float]] = {}
    ratios: dict[str, float] = {}

    def put(name: str, values: list[float], digits: int = 1) -> None:
        figures[name] = round(statistics.median(values), digits)
        spread[name] = [round(min(values), digits), round(max(values), digits)]

    with tempfile.TemporaryDirectory(prefix="corrente-bench-") as name:
        folder = Path(name)
        for key, values in _holding(folder, runs, tell).items():
            put(key, values)
        for pace in PACES:  # bytes are the same in every run
            redis = RedisServer(folder / f"redis-{pace}").start()
            try:
                first = pace == PACES[0]
                history = _history(redis, pace, tell, resident=first)
                suffix = "" if first else f"_{pace}"
                ratios[f"bytes_50_versions_to_keyframe{suffix}"] = round(history["bytes"] / history["keyframe"], 2)
                figures[f"history_mb_{pace}"] = round(history["bytes"] / 1e6, 1)
                figures[f"keyframe_mb_{pace}"] = round(history["keyframe"] / 1e6, 1)
                if first:
                    ratios["serving_50_versions_to_one"] = round(history["resident"] / history["one"], 2)
                    figures["resident_50_mb"] = round(history["resident"] / 1e6, 1)
                    figures["resident_one_mb"] = round(history["one"] / 1e6, 1)
                    for key, values in _rollbacks(redis, folder, runs, tell).items():
                        put(key, values)
            finally:
                redis.stop(kill=True)
    return {
        "leg": "versions",
        "machine": machine(),
        "runs": runs,
        "figures": figures,
        "spread": spread,
        "ratios": ratios,
    }


# ---- holding


def _holding(folder: Path, runs: int, tell: Callable[[str], None]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    with ExitStack() as stack:
        kafka, redis = KafkaServer(folder / "kafka"), RedisServer(folder / "redis")
        stack.callback(kafka.stop, kill=True)
        stack.callback(redis.stop, kill=True)
        kafka.start()
        redis.start()
        asyncio.run(fill_topics(kafka.bootstrap, TOPIC_NAMES, 1, load_events(BACKLOG)))
        for run in range(1, runs + 1):
            port = free_port()
            log = folder / f"worker-{run}.log"
            settings = worker_settings(kafka.bootstrap, redis.url, str(run), port)
            with running(WORKER, settings, log) as worker:
                with background(kafka.bootstrap, FLOWING[0]):
                    wait_until(lambda: _has_begun(metrics(port)), "the backlog is learned", 300.0, LOOK_SECONDS)
                    begun = _held(metrics(port))
                flowing = []
                for pace in FLOWING:
                    with background(kafka.bootstrap, pace):
                        time.sleep(2 * WINDOW_SECONDS)  # what came before is forgotten
                        for _ in range(LOOKS):
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
            tell(f"run {run}  " + "  ".join(f"{key} {value:.1f}" for key, value in values.items()))
    return found


def _has_begun(samples: dict[str, float]) -> bool:
    """Whether the backlog is learned and River, which a worker imports after that, is there."""
    return learned(samples) >= BACKLOG and tests(samples)


def _held(samples: dict[str, float]) -> dict[str, float]:
    """Milliseconds for which learning and the event loop were held at worst, in the last `WINDOW_SECONDS` or more."""
    return {
        what: 1000 * total(samples, "corrente_worker_longest_hold_seconds", f'held="{what}"')
        for what in ("learning", "loop")
    }


# ---- history


def _history(redis: RedisServer, pace: int, tell: Callable[[str], None], *, resident: bool) -> dict[str, float]:
    """Publish 50 minutes; bytes in Redis and, if `resident`, in serving were all of them in memory."""
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
    tell(f"{pace:>5,} events/s  {len(kept)} versions  {used / 1e6:.0f} MB in Redis, a keyframe {keyframe / 1e6:.0f} MB")
    found = {"bytes": float(used), "keyframe": float(keyframe)}
    if resident:
        found |= _resident(store, settings, [state for state in states if state.seq in kept][-MINUTES:], tell)
    store.close()
    return found


def _resident(
    store: VersionStore, settings: ModelSettings, states: list[ShardState], tell: Callable[[str], None]
) -> dict[str, float]:
    """Bytes of these states in a server's arena: the first alone, and all of them."""
    memory = ShardMemory(settings)
    views = [memory.load(partial(store.load, 0, states[0]))]
    one = memory.nbytes
    for before, after in pairwise(states):
        changes = store.changes(0, before, after)
        assert changes is not None
        views.append(memory.apply(views[-1], changes))
    tell(f"  {len(views)} resident versions {memory.nbytes / 1e6:.0f} MB, one {one / 1e6:.0f} MB")
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


def _rollbacks(redis: RedisServer, folder: Path, runs: int, tell: Callable[[str], None]) -> dict[str, list[float]]:
    store = VersionStore.connect(redis.url, "bench")
    numbers = [version.number for version in store.versions()]  # newest first
    latest = numbers[0]
    found: dict[str, list[float]] = {"rollback_resident_ms": [], "rollback_cold_ms": [], "server_ready_ms": []}
    settings = {
        "CORRENTE_KAFKA": f"127.0.0.1:{free_port()}",  # nobody there: lists need no Kafka
        "CORRENTE_REDIS": redis.url,
        "CORRENTE_MODEL_NAME": "bench",
        "CORRENTE_LOG_LEVEL": "warning",
    }
    for run in range(1, runs + 1):
        port = free_port()
        started = time.monotonic()
        with running([*SERVER, "--port", str(port)], settings, folder / f"server-{run}.log"):
            wait_until(lambda: _serves(port) == latest, "the server answers", 300.0)
            found["server_ready_ms"].append(1000 * (time.monotonic() - started))
            cold = numbers[len(numbers) * run // (runs + 1)]
            found["rollback_cold_ms"].append(_moved(port, "POST", f"/v1/versions/{cold}/rollback", cold))
            # what was served before is in memory still
            found["rollback_resident_ms"].append(_moved(port, "POST", f"/v1/versions/{latest}/rollback", latest))
            ask(port, "DELETE", "/v1/pin")
        tell(f"run {run}  " + "  ".join(f"{key} {values[-1]:.0f}" for key, values in found.items()))
    store.close()
    return found


def _moved(port: int, method: str, path: str, number: int) -> float:
    """Milliseconds from the request until a list comes from this version."""
    started = time.monotonic()
    ask(port, method, path)
    wait_until(lambda: _serves(port) == number, f"version {number} is served", 60.0, every=0.001)
    return 1000 * (time.monotonic() - started)


def _serves(port: int) -> int | None:
    answer = get(port, "/v1/recommendations/visitor-1")
    return answer["version"] if answer else None
