"""Reports to servers: again and again, whatever Redis does, and without a word that may be a visitor's id."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from structlog.testing import capture_logs

from stream.health.reporting import keep_reporting, report_of
from stream.health.standing import Reason, Standing
from stream.versions import Claim, ShardReport
from stream.versions.storage.reports import REPORT_SECONDS
from tests.stream.runner.conftest import eventually
from tests.stream.runner.fakes import FakeStore, ManualClock

CLAIM = Claim(3, 1, "token", "one", "lineage", None, False, 1)


class Shard:
    """A shard on this worker that is as the test says."""

    def __init__(self, standing: Standing | None = None, claim: Claim | None = CLAIM) -> None:
        self.standing, self.claim, self.waiting = standing, claim, ["clicks-3"]
        self.up_to_date = True


class Worker:
    """The parts of a worker that reports need."""

    name = "one"

    def __init__(self) -> None:
        self.store, self.clock = FakeStore(), ManualClock()

    async def with_redis(self, function: Callable[[], Any]) -> Any:
        return await asyncio.to_thread(function)


def standing(reason: Reason, detail: str) -> Standing:
    return Standing(1000.0, reason, detail, "the remedy")


async def test_every_shard_is_reported_again_and_again_whatever_redis_does() -> None:
    worker, shards = Worker(), {3: Shard(), 4: Shard(standing("kafka", "no broker"), claim=None)}
    worker.store.fail("report", RedisConnectionError("no answer"), ValueError("unforeseen"))
    with capture_logs() as logs:
        running = asyncio.create_task(keep_reporting(shards, worker))
        await eventually(lambda: worker.clock.waits == [REPORT_SECONDS], "the first round")
        assert worker.store.reports == {}
        worker.clock.advance(REPORT_SECONDS)
        await eventually(lambda: len(worker.store.reports) == 2 and worker.clock.waits, "the second round")
        del shards[3]
        shards[4].standing = None
        worker.clock.advance(REPORT_SECONDS)
        await eventually(lambda: worker.store.reports[4][2] == ShardReport(["clicks-3"]), "the third round")
        running.cancel()
    assert worker.store.reports[3] == (CLAIM, "one", ShardReport(["clicks-3"], caught_up=True))
    (line,) = [line for line in logs if line["log_level"] == "error"]
    assert line["event"] == "reporting a shard to the servers failed; trying again"
    assert line["partition"] == 4


def test_a_standing_is_reported_with_everything_that_an_operator_needs() -> None:
    report = report_of(Shard(standing("kafka", "no broker answers")))
    assert report == ShardReport(["clicks-3"], 1000.0, "kafka", "no broker answers", "the remedy")


@pytest.mark.parametrize(
    ("detail", "kept"),
    [
        ("KeyError: 'ada@example.org'", "KeyError"),
        ("more than 10 of 10000 records fail; the last failure was KeyError: ada@example.org", "was KeyError"),
    ],
)
def test_the_text_of_an_unforeseen_error_stays_in_the_log_because_it_may_have_the_id_of_a_visitor(
    detail: str, kept: str
) -> None:
    report = report_of(Shard(standing("failures", detail)))
    assert kept in report.detail
    assert "the worker's log" in report.detail
    assert "ada" not in report.detail
