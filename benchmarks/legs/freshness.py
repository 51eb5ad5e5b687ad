"""The time from a click in Kafka to the answers that reflect it: the visitor's own list, and another visitor's.

Real Kafka, Redis, worker and server processes, all as they are shipped, with a background load of events all along.
Each probe is one click, and only that click can change two lists:

- Before it, one visitor went from item B to item Q, which no other visitor ever touches; visitor V and another visitor
  W have had only item A. V's list holds no Q and W's no B, which is checked first.
- V clicks B. **Own** is the time until V's list holds Q (which followed B for others); **other** is the time until W's
  list holds B (which followed A for others).

Both times run from just before the click is handed to the Kafka client until the answer that shows it has been read.
Both lists are requested in turn every few milliseconds over one kept connection; that pause is the resolution.

This file decides how probes are built, when each is sent and when it counts as answered.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer

from benchmarks.harness.background import background
from benchmarks.harness.events import make_topics
from benchmarks.harness.machine import machine
from benchmarks.harness.processes import SERVER, TOPIC_NAMES, WORKER, learned, metrics, running, total, worker_settings
from benchmarks.harness.servers import KafkaServer, free_port, running_servers
from benchmarks.harness.waiting import wait_until

PACES = (1_000, 20_000)
"""Events a second of background load."""

LIST_ITEMS = 200
"""Items in a list: enough for everything that is proposed, wherever the ranker puts it. A list is filled up with the
200 most popular items first, so that the newest ones, a probe's items among them, never get into it that way."""

POLL_SECONDS = 0.003
PROBE_SECONDS = 20.0
PHASE_SECONDS = 0.25
"""Longest pause before a probe, drawn anew each time, so that probes do not follow the rhythm of publishing."""

SETTLE_SECONDS = 3.0
"""Seconds of background load before the first probe."""

CLICKS = TOPIC_NAMES["clicks"]


class Probe(NamedTuple):
    """The three visitors and three items of one measured click."""

    visitor: str
    other: str
    guide: str
    first: str
    second: str
    third: str


@dataclass
class Times:
    """Milliseconds of all probes of one run."""

    own: list[float] = field(default_factory=list)
    other: list[float] = field(default_factory=list)


def measure(runs: int, probes: int, partitions: int, shards: int, progress: Callable[[str], None]) -> dict[str, Any]:
    """The JSON object of `corrente bench freshness`.

    Args:
        runs: number of repetitions.
        probes: number of clicks in each run at each pace.
        partitions: number of partitions of each topic.
        shards: number of shards that the worker learns them as, and that the server merges.
        progress: is called with one line of text for each step.

    Raises:
        MissingServer: Kafka or redis-server can't be had on this machine.
        TimeoutError: a click was not reflected within `PROBE_SECONDS`.
    """
    times: dict[int, list[Times]] = {pace: [] for pace in PACES}
    paces: dict[int, list[float]] = {pace: [] for pace in PACES}
    with (
        tempfile.TemporaryDirectory(prefix="corrente-bench-") as folder,
        _system(Path(folder), partitions, shards) as system,
    ):
        for run in range(1, runs + 1):
            for pace in PACES:
                with system.load(pace):
                    before, started = learned(metrics(system.worker_port)), time.monotonic()
                    found = _one_run(system, f"{run}-{pace}", probes)
                    paces[pace].append((learned(metrics(system.worker_port)) - before) / (time.monotonic() - started))
                times[pace].append(found)
                progress(
                    f"run {run}  {pace:>6,} events/s  own p50 {_percentile(found.own, 50):6.1f}"
                    f" p99 {_percentile(found.own, 99):6.1f} ms"
                    f"  other p50 {_percentile(found.other, 50):6.1f} p99 {_percentile(found.other, 99):6.1f} ms"
                )
        seen = metrics(system.worker_port)
        published = total(seen, "corrente_worker_publish_seconds_count")
        publish_seconds = total(seen, "corrente_worker_publish_seconds_sum") / published
    return _result(runs, probes, partitions, shards, times, paces, publish_seconds)


class _System:
    """A running Kafka, Redis, worker and server, with a producer and an HTTP connection to use them by."""

    def __init__(self, kafka: KafkaServer, partitions: int, worker_port: int, server_port: int) -> None:
        self.worker_port = worker_port
        self._kafka = kafka
        self._partitions = partitions
        self._server_port = server_port
        self._http = http.client.HTTPConnection("127.0.0.1", server_port, timeout=10.0)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._producer = self._await(self._connect())

    async def _connect(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(bootstrap_servers=self._kafka.bootstrap, acks="all", linger_ms=0)
        await producer.start()
        return producer

    def _await(self, awaitable: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(awaitable, self._loop).result(30.0)

    def close(self) -> None:
        self._await(self._producer.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5.0)
        self._loop.close()
        self._http.close()

    def click(self, visitor: str, item: str) -> None:
        """Hand one click to the Kafka client, without waiting for Kafka."""
        value = json.dumps({"item": item, "user": visitor}).encode()
        send = self._producer.send(CLICKS, value, key=visitor.encode(), timestamp_ms=int(time.time() * 1000))
        asyncio.run_coroutine_threadsafe(send, self._loop)

    def flush(self) -> None:
        self._await(self._producer.flush())

    def items(self, visitor: str | None = None, *, recent: Sequence[str] = ()) -> set[str]:
        """Items of the list that a visitor gets now, or a stranger with these recent items if `visitor` is None."""
        if visitor is None:
            body = json.dumps({"recent": list(recent), "n": LIST_ITEMS})
            self._http.request("POST", "/v1/recommendations", body, {"Content-Type": "application/json"})
        else:
            self._http.request("GET", f"/v1/recommendations/{visitor}?n={LIST_ITEMS}")
        answer = self._http.getresponse()
        text = answer.read()
        if answer.status != http.HTTPStatus.OK:
            raise RuntimeError(f"the server answered a request for a list with {answer.status}: {text[:500]!r}")
        return {item["item"] for item in json.loads(text)["items"]}

    @contextmanager
    def load(self, pace: int, bad_share: float = 0.0) -> Iterator[None]:
        """Run background events until the context ends, then wait until the worker has learned all of them.

        Args:
            pace: records a second.
            bad_share: share of the records that are in another format.
        """
        with background(self._kafka.bootstrap, pace, self._partitions, bad_share=bad_share):
            time.sleep(SETTLE_SECONDS)
            self._http.close()  # the server closes a connection that was idle for some seconds
            yield
        wait_until(lambda: self._lag() == 0, "the worker catches up", 60.0)

    def _lag(self) -> float:
        samples = metrics(self.worker_port)
        return total(samples, "corrente_worker_lag_records") + total(samples, "corrente_worker_unpublished_records")


@contextmanager
def _system(folder: Path, partitions: int, shards: int) -> Iterator[_System]:
    with ExitStack() as stack:
        kafka, redis = stack.enter_context(running_servers(folder))
        asyncio.run(make_topics(kafka.bootstrap, TOPIC_NAMES.values(), partitions))
        worker_port, server_port = free_port(), free_port()
        settings = worker_settings(kafka.bootstrap, redis.url, "freshness", worker_port, shards=shards)
        stack.enter_context(running(WORKER, settings, folder / "worker.log"))
        settings = {**settings, "CORRENTE_LOG_LEVEL": "warning"}
        stack.enter_context(running([*SERVER, "--port", str(server_port)], settings, folder / "server.log"))
        system = _System(kafka, partitions, worker_port, server_port)
        stack.callback(system.close)
        wait_until(lambda: metrics(worker_port), "the worker starts", 120.0)
        wait_until(lambda: _answers(system), "the server answers", 120.0)
        yield system


def _answers(system: _System) -> bool:
    try:
        system.items("stranger")
    except (OSError, http.client.HTTPException, RuntimeError):
        return False
    return True


def _one_run(system: _System, run: str, count: int) -> Times:
    probes = [
        Probe(*(f"probe-{run}-{number}-{part}" for part in ("v", "w", "u", "a", "b", "q"))) for number in range(count)
    ]
    for probe in probes:
        for visitor, item in (
            (probe.guide, probe.second),
            (probe.guide, probe.third),
            (probe.other, probe.first),
            (probe.visitor, probe.first),
        ):
            system.click(visitor, item)
    system.flush()
    last = probes[-1]
    wait_until(lambda: last.third in system.items(recent=[last.second]), "the items of the probes are known", 60.0)
    times, phase = Times(), random.Random(run)
    for probe in probes:
        time.sleep(phase.random() * PHASE_SECONDS)
        own, other = _probe(system, probe)
        times.own.append(own * 1000)
        times.other.append(other * 1000)
    return times


def _probe(system: _System, probe: Probe) -> tuple[float, float]:
    """Send the click of a probe; seconds until the visitor's own list and the other visitor's reflect it."""
    if probe.third in system.items(probe.visitor) or probe.second in system.items(probe.other):
        raise RuntimeError(f"before the click of {probe}, the lists already hold what only that click can add")
    own = other = None
    started = time.monotonic()
    system.click(probe.visitor, probe.second)
    while own is None or other is None:
        if own is None and probe.third in system.items(probe.visitor):
            own = time.monotonic() - started
        if other is None and probe.second in system.items(probe.other):
            other = time.monotonic() - started
        if time.monotonic() - started > PROBE_SECONDS:
            raise TimeoutError(f"{probe.visitor}'s click is not reflected after {PROBE_SECONDS:.0f} seconds")
        time.sleep(POLL_SECONDS)
    return own, other


def _percentile(values: Sequence[float], percent: int) -> float:
    """Percentile by nearest rank: the smallest value that at least `percent` % of the values don't exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def _result(
    runs: int,
    probes: int,
    partitions: int,
    shards: int,
    times: dict[int, list[Times]],
    paces: dict[int, list[float]],
    publish_seconds: float,
) -> dict[str, Any]:
    figures: dict[str, float] = {}
    spread: dict[str, list[float]] = {}
    for pace, found in times.items():
        for who in ("own", "other"):
            for percent in (50, 99):
                each = [_percentile(getattr(run, who), percent) for run in found]
                figures[f"{who}_p{percent}_ms_{pace}"] = round(statistics.median(each), 1)
                spread[f"{who}_p{percent}_ms_{pace}"] = [round(min(each), 1), round(max(each), 1)]
        figures[f"learned_per_second_{pace}"] = round(statistics.median(paces[pace]))
        spread[f"learned_per_second_{pace}"] = [round(min(paces[pace])), round(max(paces[pace]))]
    figures["publish_ms"] = round(publish_seconds * 1000, 1)
    busy, quiet = PACES[-1], PACES[0]
    return {
        "leg": "freshness",
        "machine": machine(),
        "runs": runs,
        "probes": probes,
        "partitions": partitions,
        "shards": shards,
        "figures": figures,
        "spread": spread,
        "ratios": {
            f"{who}_p{percent}_{busy}_to_{quiet}": round(
                figures[f"{who}_p{percent}_ms_{busy}"] / figures[f"{who}_p{percent}_ms_{quiet}"], 2
            )
            for who in ("own", "other")
            for percent in (50, 99)
        },
    }
