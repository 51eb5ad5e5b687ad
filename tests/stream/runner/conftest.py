"""A shard's runner among fakes: Kafka, Redis and the clock do what the test says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from faust.types import TP
from structlog import get_logger
from structlog.testing import capture_logs

from stream.ingest.merge import journaled_batches
from stream.models.settings import ModelSettings
from stream.runner.assignment import ShardAssignment
from stream.runner.metrics import WorkerMetrics
from stream.runner.resources import WorkerResources
from stream.runner.task import ShardRunner
from stream.settings import Settings
from stream.shard.shard import Shard
from stream.state.journal import concatenate
from stream.state.tables import fold
from tests.stream.restoring import tables_of
from tests.stream.runner.fakes import (
    FakeCompaction,
    FakeConsumer,
    FakeDeadLetters,
    FakeStore,
    FakeTopicIds,
    ManualClock,
)

CLICKS, PURCHASES, FEEDBACK = TP("shop-clicks", 3), TP("shop-purchases", 3), TP("shop-feedback", 3)
TOPICS = {CLICKS: "clicks", PURCHASES: "purchases", FEEDBACK: "feedback"}
SETTINGS = Settings(
    clicks_topic="shop-clicks",
    purchases_topic="shop-purchases",
    feedback_topic="shop-feedback",
    session_timeout_seconds=8.0,
    model=ModelSettings(max_items=64, max_visitors=64, max_sessions=64, max_event_ids=64, max_kept_visitors=64),
)
ASSIGNMENT = ShardAssignment(3, 8, TOPICS)


def click(number: int) -> bytes:
    return json.dumps({"item": f"item {number % 7}", "user": f"visitor {number % 5}"}).encode()


async def eventually(condition: Callable[[], Any], what: str = "", seconds: float = 240.0) -> None:
    """Wait until the condition holds. Threads learn at their own speed, and the first one compiles for a minute."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"waited {seconds} seconds in vain: {what}"
        await asyncio.sleep(0.001)


class Bench:
    """One runner with everything that it depends on.

    Attributes:
        logs: every log line, as structlog's dictionaries.
    """

    def __init__(self, logs: list[Any], assignment: ShardAssignment = ASSIGNMENT, **options: Any) -> None:
        self.logs = logs
        self.assignment = assignment
        self.clock, self.store, self.letters = ManualClock(), FakeStore(), FakeDeadLetters()
        self.topic_ids = FakeTopicIds()
        self.kafka, self.compaction = FakeConsumer(assignment.origins), FakeCompaction()
        self.resources = WorkerResources(
            settings=SETTINGS,
            name="worker 1",
            store=self.store,
            compact=self.compaction,
            dead_letters=self.letters,
            topic_ids=self.topic_ids,
            metrics=WorkerMetrics(),
            code_version="1.2.3",
            consumer=lambda: self.kafka,
            clock=self.clock,
            **options,
        )
        self.runner = ShardRunner(assignment, self.resources)

    async def close(self) -> None:
        self.store.may_publish.set()
        self.compaction.may_end.set()
        await self.runner.drop()
        self.resources.close()

    async def open(self) -> None:
        """Start the runner and wait until it learns."""
        starts = len(self.kafka.starts)
        self.runner.start()
        await eventually(lambda: len(self.kafka.starts) > starts and self.idle, "the shard to be opened")

    @property
    def idle(self) -> bool:
        """True while the runner waits for records or for the time of the next version."""
        return bool(self.clock.waits)

    def write(self, count: int, tp: TP = CLICKS) -> None:
        self.kafka.append(tp, *(click(number) for number in range(count)))

    def poll(self) -> None:
        """Do what the transport does with one answer from Kafka."""
        for tp in self.runner.assignment.origins:
            if self.runner.has_room(tp) and (fetch := self.kafka.fetch(tp)) is not None:
                self.runner.deliver(fetch)
            else:
                self.runner.note_position(self.kafka.position(tp))

    async def learn(self, count: int) -> None:
        """Write clicks, fetch them, and wait until they are learned."""
        learned = self.metric("records_total", topic="clicks", outcome="read")
        self.write(count)
        self.poll()
        await eventually(
            lambda: self.metric("records_total", topic="clicks", outcome="read") >= learned + count and self.idle,
            f"{count} clicks to be learned",
        )

    async def publish(self) -> None:
        """Let the time for the next version come, and wait until every click that was fetched is in a version.

        A shard's first version is published at once; all others wait for the clock.
        """
        offset = self.kafka.positions[CLICKS]
        await eventually(lambda: self.settled, "the publish that is under way")
        if self.runner.published.get(CLICKS) != offset:
            self.clock.advance(1.0)
        await eventually(lambda: self.runner.published.get(CLICKS) == offset and self.settled, "a version")

    @property
    def settled(self) -> bool:
        """True while the runner is idle and no publish is under way: the next one waits for the clock."""
        return self.idle and not self.runner._publisher.busy

    def assert_the_same_as_a_replay(self, isolated: list[int] | None = None) -> None:
        """Learn the logs again by the journal, and compare tables and state with what was published.

        Args:
            isolated: offsets of the clicks that the journal leaves out.
        """
        journal = concatenate([each.journal for each in self.store.published])
        assert journal.isolated == ({"clicks": isolated} if isolated else {})
        assignment = self.runner.assignment
        replayed = Shard(SETTINGS.model, partition=assignment.shard, shards=assignment.shards)
        logs = {origin: self.kafka.logs[tp] for tp, origin in assignment.origins.items()}
        for batch in journaled_batches(journal, logs):
            replayed.apply(*batch)
        folded: dict[str, Any] = {}
        for checkpoint in self.store.published:
            folded = fold(folded, checkpoint.delta)
        assert tables_of(SETTINGS.model, folded) == replayed.tables
        unbound = {"logs": None}  # a shard without Kafka doesn't know the identities of its logs
        assert self.store.published[-1].state | unbound == replayed.readable_state() | unbound

    def metric(self, name: str, **labels: str) -> float:
        return self.resources.metrics.registry.get_sample_value(f"corrente_worker_{name}", labels) or 0.0

    def logged(self, event: str) -> list[Any]:
        return [line for line in self.logs if line["event"].startswith(event)]


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Log lines of runners. A logger of its own, because a used one keeps the configuration of an earlier test."""
    monkeypatch.setattr("stream.runner.task.log", get_logger())
    with capture_logs() as lines:
        yield lines


@pytest.fixture
async def make_bench(logs: list[Any]) -> AsyncIterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(**options: Any) -> Bench:
        made.append(Bench(logs, **options))
        return made[-1]

    yield make
    for bench in made:
        await bench.close()


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench()
