"""Odd records, dead letters that can't be written, learning that fails: a partition of a real Kafka gets past them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource

from benchmarks.harness.processes import metrics, total
from benchmarks.harness.servers import free_port
from benchmarks.harness.waiting import wait_until
from stream.kafka.dead_letters import DeadLetter, decode_letter
from tests.integration.harness.checking import assert_every_event_counted_once, learned_everything, store_of
from tests.integration.harness.failing_worker import FAILS
from tests.integration.harness.kafka_client import Message, delete_topic, produce, read_all
from tests.integration.harness.kafka_client import make_topics as make_kafka_topics
from tests.integration.harness.worker_process import WorkerProcess

pytestmark = pytest.mark.fault

NOW_MS = int(time.time() * 1000)
OTHER_FORMAT = 3_000
FLOOD = 60_000


def click(number: int, item: str = "tea") -> bytes:
    return json.dumps({"item": f"{item} {number % 7}", "user": f"visitor {number % 11}"}).encode()


def ready(port: int) -> dict[str, Any]:
    """The body of `/health/ready`."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=10.0) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as refused:
        if refused.code != HTTPStatus.SERVICE_UNAVAILABLE:
            raise
        return json.loads(refused.read())


def stopped_reason(port: int) -> str | None:
    stopped = ready(port)["stopped"]
    return stopped[0]["reason"] if stopped else None


def limit_records(kafka: str, topic: str, max_bytes: int) -> None:
    async def limit() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
        await admin.start()
        try:
            await admin.alter_configs([ConfigResource("topic", topic, {"max.message.bytes": str(max_bytes)})])
        finally:
            await admin.close()

    asyncio.run(limit())


def letters_of(environment: dict[str, str]) -> dict[int, DeadLetter]:
    """The dead letters of the clicks by their offset."""
    stored = read_all(environment["CORRENTE_KAFKA"], [environment["CORRENTE_DEAD_LETTERS_TOPIC"]])
    letters = [decode_letter(record.value, record.headers) for record in stored]
    return {letter.offset: letter for letter in letters}


class Clicks:
    """Writes to the clicks, and knows how many there are.

    Args:
        environment: settings of the system.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self.topic = environment["CORRENTE_CLICKS_TOPIC"]
        self.count = 0

    def send(self, *messages: Message) -> None:
        self.count += len(messages)
        produce(self._environment["CORRENTE_KAFKA"], messages)

    def published(self) -> bool:
        return learned_everything(self._environment, {(self.topic, 0): self.count})

    def wait_for_version(self, seconds: float = 60.0) -> None:
        """Wait until a version has all of them."""
        wait_until(self.published, f"{self.count} records to be read and published", seconds)


@pytest.fixture
def clicks(environment: dict[str, str], make_topics: Callable[..., None]) -> Clicks:
    make_topics(1)
    return Clicks(environment)


def rejections(port: int) -> float:
    """Number of records whose value was rejected, in the metrics."""
    return total(metrics(port), "corrente_worker_rejections_total", 'reason="value"')


def lines_of_rejections(running: WorkerProcess) -> int:
    return running.log.read_text(errors="replace").count("records were rejected and become dead letters")


def test_a_deep_record_and_one_without_any_time_become_dead_letters(
    environment: dict[str, str], clicks: Clicks, worker: Callable[..., WorkerProcess]
) -> None:
    port = free_port()
    running = worker(CORRENTE_METRICS_PORT=str(port))
    deep = b'{"item": "tea", "user": "ada", "ignored": %s%s}' % (b"[" * 1000, b"]" * 1000)
    clicks.send(
        Message(clicks.topic, click(0), timestamp_ms=NOW_MS),
        Message(clicks.topic, deep, timestamp_ms=NOW_MS),
        Message(clicks.topic, click(1), timestamp_ms=-1),
        Message(clicks.topic, click(2), timestamp_ms=NOW_MS),
    )
    clicks.wait_for_version()
    found = letters_of(environment)
    assert sorted(found) == [1, 2]
    assert "1001 deep" in found[1].reason
    assert "the event has none, and its record's (-1 ms)" in found[2].reason
    assert (ready(port)["status"], ready(port)["stopped"]) == ("ready", [])

    other = (b'{"product": "tea", "customer": %d}' % number for number in range(OTHER_FORMAT))
    clicks.send(*(Message(clicks.topic, value, timestamp_ms=NOW_MS) for value in other))
    clicks.wait_for_version()
    assert len(letters_of(environment)) == 2 + OTHER_FORMAT
    assert rejections(port) == 1 + OTHER_FORMAT
    assert lines_of_rejections(running) <= 3, "one line a minute for a class of reasons"
    counters = assert_every_event_counted_once(environment, 1)[0].counters["clicks"]
    assert counters["learned"] == 2
    assert running.stop() == 0


def test_letters_that_their_topic_refuses_are_cut_or_counted_as_lost_and_a_missing_topic_stops_the_partition(
    environment: dict[str, str], clicks: Clicks, worker: Callable[..., WorkerProcess]
) -> None:
    kafka, letters = environment["CORRENTE_KAFKA"], environment["CORRENTE_DEAD_LETTERS_TOPIC"]
    port = free_port()
    compacted = {"cleanup.policy": "compact", "max.message.bytes": "5000"}
    make_kafka_topics(kafka, {letters: 1}, compacted)
    running = worker(CORRENTE_METRICS_PORT=str(port))
    too_long = b'{"item": "%s", "user": "ada"}' % (b"x" * 30_000)
    clicks.send(
        Message(clicks.topic, click(0), timestamp_ms=NOW_MS),
        Message(clicks.topic, too_long, b"k" * 20_000, timestamp_ms=NOW_MS),
    )
    clicks.wait_for_version()
    (found,) = letters_of(environment).values()
    assert (found.offset, found.cut, found.key_cut, found.original_bytes) == (1, True, True, 30_027)
    assert "item" in found.reason

    limit_records(kafka, letters, 60)
    hopeless = b"{ too large in any form"
    clicks.send(Message(clicks.topic, hopeless, b"key", timestamp_ms=NOW_MS), Message(clicks.topic, click(3)))
    clicks.wait_for_version()
    assert total(metrics(port), "corrente_worker_lost_dead_letters_total", 'topic="clicks"') == 1
    running.wait_for_log(hashlib.sha256(hopeless).hexdigest())

    delete_topic(kafka, letters)
    clicks.send(Message(clicks.topic, b"{ without a topic", timestamp_ms=NOW_MS))
    wait_until(lambda: stopped_reason(port) == "dead letters", "the partition to be not ready", 60.0)
    assert f"--topic {letters}" in ready(port)["stopped"][0]["mend"]
    clicks.send(Message(clicks.topic, click(4)))
    assert not clicks.published()
    assert total(metrics(port), "corrente_worker_stopped", 'reason="dead letters"') == 1
    make_kafka_topics(kafka, {letters: 1}, compacted)
    clicks.wait_for_version()
    wait_until(lambda: ready(port)["status"] == "ready", "the partition to be ready", 60.0)
    assert list(letters_of(environment)) == [clicks.count - 2]

    counters = assert_every_event_counted_once(environment, 1)[0].counters["clicks"]
    assert counters["learned"] == 3
    assert running.stop() == 0


@pytest.mark.long
def test_a_flood_in_another_format_becomes_letters_and_good_events_beside_it_are_learned(
    environment: dict[str, str], clicks: Clicks, worker: Callable[..., WorkerProcess]
) -> None:
    port = free_port()
    running = worker(CORRENTE_METRICS_PORT=str(port))
    values = [b'{"product": "tea", "customer": %d}' % number for number in range(FLOOD)]
    values[50::100] = [click(number) for number in range(FLOOD // 100)]
    clicks.send(*(Message(clicks.topic, value, timestamp_ms=NOW_MS) for value in values))
    clicks.wait_for_version(120.0)
    good = FLOOD // 100
    assert sorted(letters_of(environment)) == [number for number in range(FLOOD) if number % 100 != 50]
    assert rejections(port) == FLOOD - good
    assert lines_of_rejections(running) <= 3, "one line a minute for a class of reasons"
    assert assert_every_event_counted_once(environment, 1)[0].counters["clicks"]["learned"] == good
    assert running.stop() == 0


@pytest.mark.long
def test_a_partition_on_which_too_many_records_fail_stands_still_and_goes_on_when_it_is_mended(
    environment: dict[str, str], clicks: Clicks, worker: Callable[..., WorkerProcess]
) -> None:
    port = free_port()
    failing = json.dumps({"item": FAILS, "user": "ada"}).encode()
    values = [failing if number % 20 == 7 else click(number) for number in range(400)]
    clicks.send(*(Message(clicks.topic, value, timestamp_ms=NOW_MS) for value in values))
    broken = worker("-m", "tests.integration.harness.failing_worker", CORRENTE_METRICS_PORT=str(port))
    broken.wait_for_log("learning from here on")
    wait_until(lambda: stopped_reason(port) == "failures", "the partition to be not ready", 180.0)
    (stopped,) = ready(port)["stopped"]
    assert "more than 10 of 10000 records fail" in stopped["detail"]
    assert "ZeroDivisionError" in stopped["detail"]
    assert broken.stop() == 0
    worker()
    clicks.wait_for_version()
    counters = assert_every_event_counted_once(environment, 1)[0].counters["clicks"]
    assert counters["learned"] + counters["dead_letters"] == 400
    assert counters["dead_letters"] <= 10, "records that were isolated before the partition stopped"


def test_events_that_learning_fails_on_are_isolated_in_the_journal_and_a_replay_leaves_them_out(
    environment: dict[str, str], clicks: Clicks, worker: Callable[..., WorkerProcess]
) -> None:
    values = [click(number) for number in range(500)]
    values[300] = json.dumps({"item": FAILS, "user": "ada"}).encode()
    clicks.send(*(Message(clicks.topic, value) for value in values))
    running = worker("-m", "tests.integration.harness.failing_worker")
    clicks.wait_for_version()
    assert running.stop() == 0
    assert {offset: letter.reason for offset, letter in letters_of(environment).items()} == {
        300: "failed: ZeroDivisionError: after the tables were written"
    }
    # Nothing fails in this process: what it learns from the log and the journal is what the worker has published.
    counters = assert_every_event_counted_once(environment, 1)[0].counters["clicks"]
    assert (counters["learned"], counters["dead_letters"]) == (499, 1)
    store = store_of(environment)
    version = store.latest()
    assert version is not None
    assert store.journal(0, None, version.shards[0]).isolated == {"clicks": [300]}
    store.close()
