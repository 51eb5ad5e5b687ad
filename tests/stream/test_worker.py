"""The worker: which shards it starts, halts and drops as Kafka's assignment changes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import structlog
from aiokafka.errors import KafkaConnectionError
from faust.types import TP
from redis.exceptions import ConnectionError as RedisConnectionError
from structlog.testing import capture_logs

from stream.kafka.assignor import Terms
from stream.kafka.refusals import WrongShards
from stream.models.settings import ModelSettings
from stream.runner.metrics import WorkerMetrics
from stream.runner.resources import WorkerResources
from stream.settings import Settings
from stream.start_checks import log_problems
from stream.worker import Worker, WorkerApp, make_app
from tests.stream.runner.conftest import eventually
from tests.stream.runner.fakes import (
    FakeCompaction,
    FakeConsumer,
    FakeDeadLetters,
    FakeStore,
    FakeTopicIds,
    ManualClock,
)

SETTINGS = Settings(
    clicks_topic="c",
    purchases_topic="p",
    feedback_topic="f",
    shards=3,
    model=ModelSettings(max_items=64, max_visitors=64, max_sessions=64, max_event_ids=64),
)
OUR_NAMES = {name: topic for topic, name in SETTINGS.topics.items()}
SHARDS = 3
ALL = dict.fromkeys(OUR_NAMES, SHARDS)


def partitions(*numbers: int) -> set[TP]:
    return {TP(name, number) for name in OUR_NAMES for number in numbers}


class Bench:
    """A worker among fakes."""

    def __init__(self, logs: list[Any]) -> None:
        self.logs = logs
        self.clock, self.store, self.letters = ManualClock(), FakeStore(), FakeDeadLetters()
        self.topic_ids = FakeTopicIds()
        self.kafka = FakeConsumer(
            {tp: OUR_NAMES[tp.topic] for tp in partitions(*range(SHARDS))}
            | {tp: f"{OUR_NAMES[tp.topic]}/{tp.partition}" for tp in partitions(*range(SHARDS, 2 * SHARDS))}
        )
        self.resources = WorkerResources(
            settings=SETTINGS,
            name="worker 1",
            store=self.store,
            compact=FakeCompaction(),
            dead_letters=self.letters,
            topic_ids=self.topic_ids,
            metrics=WorkerMetrics(),
            code_version="1.2.3",
            consumer=lambda: self.kafka,
            clock=self.clock,
        )
        self.worker = Worker(self.resources)

    @property
    def started(self) -> list[int]:
        """Numbers of the shards that were started, in the order of the starts."""
        return [min(tp.partition for tp in offsets) for offsets in self.kafka.starts]

    def logged(self, event: str) -> list[Any]:
        return [line for line in self.logs if line["event"].startswith(event)]

    def gauge(self, name: str, **labels: str) -> float | None:
        return self.resources.metrics.registry.get_sample_value(f"corrente_worker_{name}", labels)


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Log lines of the worker. A logger of its own, because a used one keeps the configuration of an earlier test."""
    for module in ("stream.worker", "stream.start_checks", "stream.kafka.topics"):
        monkeypatch.setattr(f"{module}.log", structlog.get_logger())
    with capture_logs() as lines:
        yield lines


@pytest.fixture
async def bench(logs: list[Any]) -> AsyncIterator[Bench]:
    bench = Bench(logs)
    yield bench
    await bench.worker.close()


async def test_every_complete_shard_is_started_once(bench: Bench) -> None:
    await bench.worker.assigned(partitions(0, 2))
    await eventually(lambda: sorted(bench.started) == [0, 2])
    assert sorted(claim["partition"] for claim in bench.store.claims) == [0, 2]
    assert bench.gauge("partitions") == 2
    assert bench.logged("assigned")[0]["shards"] == [0, 2]
    assert all(bench.worker.has_room(tp) for tp in partitions(0, 2))
    assert not bench.worker.has_room(TP("c", 1))


async def test_a_rebalance_drops_what_moved_and_goes_on_with_the_rest(bench: Bench) -> None:
    await bench.worker.assigned(partitions(0, 1))
    await eventually(lambda: len(bench.started) == 2)
    await bench.worker.revoked(partitions(0, 1))
    bench.kafka.starts.clear()
    await bench.worker.assigned(partitions(1, 2))
    await eventually(lambda: sorted(bench.started) == [1, 2])
    assert sorted(claim["partition"] for claim in bench.store.claims) == [0, 1, 2], "shard 1 keeps its claim"
    assert not bench.worker.has_room(TP("c", 0))


async def test_a_shard_gets_the_partitions_that_were_added_without_a_restart(bench: Bench) -> None:
    await bench.worker.assigned(partitions(0))
    await eventually(lambda: bench.started == [0])
    await bench.worker.revoked(partitions(0))
    bench.worker.note_terms(Terms(SHARDS, ALL | {"c": 6}))
    await bench.worker.assigned(partitions(0) | {TP("c", 3)})
    await eventually(lambda: bench.worker.has_room(TP("c", 3)))
    assert bench.gauge("partitions") == 2
    assert bench.gauge("standby") == 0


async def test_without_a_shard_a_worker_stands_by_and_says_so_once(bench: Bench) -> None:
    assert bench.worker.standing() is None, "not ready before the first assignment"
    for _ in range(2):
        await bench.worker.assigned(set())
    assert len(bench.logged("standing by")) == 1
    assert bench.gauge("standby") == 1
    assert bench.worker.standing() == {}
    assert bench.worker.health_notes()["standby"]
    await bench.worker.assigned(partitions(1))
    await eventually(lambda: bench.started == [1])
    assert bench.gauge("standby") == 0
    assert not bench.worker.health_notes()["standby"]


async def test_a_worker_that_loses_its_last_shard_stands_by(bench: Bench) -> None:
    await bench.worker.assigned(partitions(1))
    await eventually(lambda: bench.started == [1])
    await bench.worker.assigned(set())
    assert not bench.worker.has_room(TP("c", 1))
    assert bench.gauge("standby") == 1


async def test_added_partitions_that_the_number_of_shards_does_not_divide_end_the_worker(bench: Bench) -> None:
    bench.worker.note_terms(Terms(SHARDS, ALL | {"c": 5}))
    with pytest.raises(WrongShards, match=r"CORRENTE_SHARDS=3 does not divide .*: c has 5, p has 3, f has 3"):
        await bench.worker.assigned(partitions(0))
    assert bench.started == []
    assert bench.worker.refusal is not None


async def test_a_worker_with_another_number_of_shards_than_the_leader_of_its_group_ends(bench: Bench) -> None:
    bench.worker.note_terms(Terms(1, ALL))
    with pytest.raises(WrongShards, match=r"has CORRENTE_SHARDS=3, and the one that leads .* has 1"):
        await bench.worker.assigned(set())
    assert bench.started == []


async def test_shares_of_an_earlier_release_are_learned_only_if_they_are_shards(bench: Bench) -> None:
    bench.worker.note_terms(Terms(SHARDS, ALL | {"c": 6}))
    await bench.worker.assigned(set())
    bench.worker.note_terms(Terms(None, {}))
    await bench.worker.assigned(partitions(0))
    assert bench.started == []
    assert bench.logged("a worker of an earlier release shares the partitions out")
    assert bench.worker.standing() is None, "not ready"
    bench.worker.note_terms(Terms(SHARDS, ALL))
    await bench.worker.assigned(set())
    bench.worker.note_terms(Terms(None, {}))
    await bench.worker.assigned(partitions(0))
    await eventually(lambda: bench.started == [0])


async def test_topics_that_are_not_there_are_named(bench: Bench) -> None:
    bench.worker.note_terms(Terms(SHARDS, {"c": 3, "f": 3}))
    await bench.worker.assigned({TP("c", 0), TP("f", 0)})
    await eventually(lambda: bench.started == [0])
    assert bench.worker.health_notes()["missing_topics"] == ["p"]
    assert bench.worker.present_topics() == {"c", "f"}


async def test_fetches_and_positions_reach_their_shard_and_published_offsets_come_back(bench: Bench) -> None:
    await bench.worker.assigned(partitions(0, 1))
    await eventually(lambda: len(bench.started) == 2)
    clicks = TP("c", 1)
    bench.kafka.append(clicks, *(json.dumps({"item": f"i{n}", "user": "u"}).encode() for n in range(5)))
    await eventually(lambda: len(bench.clock.waits) == 2)
    bench.worker.deliver(bench.kafka.fetch(clicks))
    bench.worker.note_position(bench.kafka.position(TP("p", 1)))
    await eventually(lambda: bench.worker.published() == {clicks: 5})


async def test_fetches_and_positions_of_other_workers_shards_are_ignored(bench: Bench) -> None:
    await bench.worker.assigned(partitions(0))
    await eventually(lambda: bench.started == [0])
    await bench.kafka.start_at({TP("c", 1): 0})
    bench.kafka.append(TP("c", 1), b"{}")
    bench.worker.deliver(bench.kafka.fetch(TP("c", 1)))
    bench.worker.note_position(bench.kafka.position(TP("c", 1)))
    assert bench.worker.published() == {}


async def test_a_worker_that_stops_starts_nothing_again(bench: Bench) -> None:
    await bench.worker.assigned(partitions(0))
    await eventually(lambda: bench.started == [0])
    await bench.worker.halt()
    await bench.worker.assigned(partitions(0, 1))
    assert len(bench.store.claims) == 1
    assert not bench.logged("assigned")[1:]


@pytest.mark.parametrize("error", [RuntimeError("cannot schedule new futures after shutdown"), KafkaConnectionError()])
async def test_a_worker_that_is_stopped_while_it_starts_ends_without_an_error(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def prepare() -> None:
        await bench.worker.halt()
        raise error

    monkeypatch.setattr(bench.worker, "prepare", prepare)
    await bench.worker.prepare_or_refuse()
    assert bench.worker.refusal is None


async def test_an_error_of_a_start_that_was_not_stopped_is_raised(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def prepare() -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(bench.worker, "prepare", prepare)
    with pytest.raises(RuntimeError, match="broken"):
        await bench.worker.prepare_or_refuse()


async def test_a_halt_publishes_what_was_learned_before_it_returns(bench: Bench) -> None:
    clicks = TP("c", 0)
    await bench.worker.assigned(partitions(0))
    await eventually(lambda: bench.clock.waits)
    for _ in range(2):  # the first version is published at once, the second waits for the clock
        bench.kafka.append(clicks, b'{"item": "a", "user": "u"}')
        bench.worker.deliver(bench.kafka.fetch(clicks))
        await eventually(
            lambda: bench.gauge("records_total", topic="clicks", outcome="read") == bench.kafka.end(clicks)
        )
    await bench.worker.halt()
    assert bench.worker.published() == {clicks: 2}


async def test_closing_drops_every_shard_and_ends_connections(logs: list[Any]) -> None:
    bench = Bench(logs)
    await bench.worker.assigned(partitions(0, 1))
    await eventually(lambda: len(bench.started) == 2)
    await bench.worker.close()
    assert bench.letters.stopped
    assert bench.store.closed
    assert bench.worker.published() == {}


@pytest.fixture
def app() -> Iterator[WorkerApp]:
    """A worker's app; the configuration of logs that it makes ends with the test."""
    configured = structlog.get_config()
    app = make_app(SETTINGS)
    yield app
    app.worker._resources.close()
    structlog.configure(**configured)


def test_an_app_has_an_agent_for_every_topic_and_connects_to_nothing(app: WorkerApp) -> None:
    assert sorted(app.agents) == [f"stream.worker.{topic}" for topic in sorted(SETTINGS.topics)]
    assert app.transport.owner is app.worker


async def test_redis_problems_are_logged_and_an_absent_redis_without_its_password(bench: Bench) -> None:
    bench.store.problems = ["nothing on disk"]
    await log_problems(bench.resources)
    assert bench.logged("Redis may lose versions")[0]["caution"] == "nothing on disk"
    bench.store.fail("redis_problems", RedisConnectionError("no answer"))
    bench.resources.settings = SETTINGS.model_copy(update={"redis": "redis://me:secret@host:6379/0"})
    await log_problems(bench.resources)
    (line,) = bench.logged("Redis does not answer yet")
    assert line["redis"] == "redis://host:6379/0"
