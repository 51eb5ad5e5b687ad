"""The time from the death of the worker that learns to the next event that another one learns, which stood by.

Two workers of one group and one shard: one learns a model of 100,000 items, while events keep coming in, the other
stands by. The first is killed (SIGKILL), so that it can't leave the group: Kafka notices when no heartbeat has come for
a session timeout. That time is a setting, so it is subtracted: the figure is the time from the kill to the first event
that the other one has learned, less `CORRENTE_SESSION_TIMEOUT_SECONDS` as it is shipped. The last heartbeat came up to
a tenth of that before the kill, so a figure below zero is possible and means as much.

Then a new worker stands by, and the next run kills the one that took over.

This file decides the size of the model, the load and what counts as taken over.
"""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.background import background
from benchmarks.harness.events import fill_topics, load_events
from benchmarks.harness.processes import WORKER, check_running, learned, metrics, running, total, worker_settings
from benchmarks.harness.servers import KafkaServer, RedisServer, free_port
from benchmarks.harness.waiting import wait_until
from stream.settings import load_settings

PARTITIONS = 12
ITEMS = 100_000
VISITORS = 100_000
BACKLOG = 400_000
"""Events that the model is learned from."""

EVENTS_A_SECOND = 1_000
SETTLE_SECONDS = 5.0
"""Seconds of load after which the standing worker has done whatever it does while it stands by."""

PATIENCE_SECONDS = 300.0


@dataclass
class _Worker:
    """One running worker, and how it is looked at."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def read(self, name: str) -> float:
        """The sum of a metric.

        Raises:
            Ended: the worker is not running.
        """
        check_running(self.process, self.log)
        return total(metrics(self.port), name)

    def learned(self) -> int:
        check_running(self.process, self.log)
        return learned(metrics(self.port))


def takeovers(
    kafka: KafkaServer, redis: RedisServer, folder: Path, runs: int, progress: Callable[[str], None]
) -> list[float]:
    """Seconds of each takeover beyond the session timeout.

    Args:
        kafka, redis: running servers.
        folder: for logs.
        runs: number of kills.
        progress: is called with one line of text for each step.
    """
    topics = {topic: f"takeover-{topic}" for topic in ("clicks", "purchases", "feedback")}
    progress(f"learning a model of {ITEMS:,} items")
    events = load_events(BACKLOG, visitors=VISITORS, items=ITEMS)
    asyncio.run(fill_topics(kafka.bootstrap, topics, PARTITIONS, events))
    with ExitStack() as stack:
        workers = _workers(stack, kafka, redis, folder, topics)
        active = next(workers)
        wait_until(lambda: active.learned() >= BACKLOG, "the backlog is learned", PATIENCE_SECONDS)
        stack.enter_context(background(kafka.bootstrap, EVENTS_A_SECOND, PARTITIONS, items=ITEMS, topics=topics))
        found = []
        for run in range(1, runs + 1):
            standby = next(workers)
            wait_until(_stands_by(standby), "the second worker to stand by", PATIENCE_SECONDS)
            time.sleep(SETTLE_SECONDS)
            found.append(_take_over(active, standby))
            progress(f"run {run}  taken over {found[-1]:+.2f} s after the session timeout")
            active = standby
    return found


def _workers(
    stack: ExitStack, kafka: KafkaServer, redis: RedisServer, folder: Path, topics: dict[str, str]
) -> Iterator[_Worker]:
    """Start one worker after the other, all of one group and model."""
    for number in range(1 << 30):
        port, log = free_port(), folder / f"takeover-{number}.log"
        settings = worker_settings(kafka.bootstrap, redis.url, "takeover", port, topics=topics)
        yield _Worker(stack.enter_context(running(WORKER, settings, log)), port, log)


def _stands_by(worker: _Worker) -> Callable[[], bool]:
    return lambda: worker.read("corrente_worker_standby") == 1


def _take_over(active: _Worker, standby: _Worker) -> float:
    """Kill the active worker; seconds beyond the session timeout until the other one has learned an event."""
    assert standby.learned() == 0, "a worker that stands by learns nothing"
    session = load_settings({}).session_timeout_seconds
    active.process.kill()
    killed = time.monotonic()
    wait_until(lambda: standby.learned() > 0, "the other worker takes over", PATIENCE_SECONDS, every=0.005)
    return time.monotonic() - killed - session
