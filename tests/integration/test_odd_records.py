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

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource

from benchmarks.harness.processes import metrics, total
from benchmarks.harness.servers import free_port
from benchmarks.harness.waiting import wait_until
from stream.kafka.dead_letters import DeadLetter, decode_letter
from tests.integration.checking import assert_every_event_counted_once, learned_everything, store_of
from tests.integration.failing_worker import FAILS
from tests.integration.kafka_client import Message, delete_topic, produce, read_all
from tests.integration.kafka_client import make_topics as make_kafka_topics
from tests.integration.worker_process import WorkerProcess

NOW_MS = int(time.time() * 1000)
OTHER_FORMAT = 3_000


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


def test_odd_records_and_letters_that_their_topic_refuses_hold_nothing_up(
    environment: dict[str, str], make_topics: Callable[..., None], worker: Callable[..., WorkerProcess]
) -> None:
    kafka, clicks = environment["CORRENTE_KAFKA"], environment["CORRENTE_CLICKS_TOPIC"]
    letters = environment["CORRENTE_DEAD_LETTERS_TOPIC"]
    port = free_port()
    make_topics(1)
    compacted = {"cleanup.policy": "compact", "max.message.bytes": "5000"}
    make_kafka_topics(kafka, {letters: 1}, compacted)
    running = worker(CORRENTE_METRICS_PORT=str(port))
    sent: list[Message] = []

    def send(*messages: Message) -> None:
        sent.extend(messages)
        produce(kafka, messages)

    def everything_is_published() -> None:
        wait_until(lambda: learned_everything(environment, {(clicks, 0): len(sent)}), f"{len(sent)} records", 60.0)

    deep = b'{"item": "tea", "user": "ada", "ignored": %s%s}' % (b"[" * 1000, b"]" * 1000)
    send(
        Message(clicks, click(0), timestamp_ms=NOW_MS),
        Message(clicks, deep, timestamp_ms=NOW_MS),
        Message(clicks, click(1), timestamp_ms=-1),
        Message(clicks, b'{"item": "%s", "user": "ada"}' % (b"x" * 30_000), b"k" * 20_000, timestamp_ms=NOW_MS),
        Message(clicks, click(2), timestamp_ms=NOW_MS),
    )
    everything_is_published()
    found = letters_of(environment)
    assert sorted(found) == [1, 2, 3]
    assert "1001 deep" in found[1].reason
    assert "the event has none, and its record's (-1 ms)" in found[2].reason
    assert "item" in found[3].reason
    assert (found[3].cut, found[3].key_cut, found[3].original_bytes) == (True, True, 30_027)
    assert ready(port) == {"status": "ready", "stopped": []}

    other = (b'{"product": "tea", "customer": %d}' % number for number in range(OTHER_FORMAT))
    send(*(Message(clicks, value, timestamp_ms=NOW_MS) for value in other))
    everything_is_published()
    assert len(letters_of(environment)) == 3 + OTHER_FORMAT
    assert total(metrics(port), "corrente_worker_rejections_total", 'reason="value"') == 1 + OTHER_FORMAT
    lines = running.log.read_text(errors="replace").count("records were rejected and become dead letters")
    assert lines <= 4, "one line a minute for a class of reasons"

    limit_records(kafka, letters, 60)
    send(Message(clicks, b"{ too large in any form", b"key", timestamp_ms=NOW_MS), Message(clicks, click(3)))
    everything_is_published()
    assert total(metrics(port), "corrente_worker_lost_dead_letters_total", 'topic="clicks"') == 1
    running.wait_for_log(hashlib.sha256(b"{ too large in any form").hexdigest())

    delete_topic(kafka, letters)
    send(Message(clicks, b"{ without a topic", timestamp_ms=NOW_MS))
    wait_until(lambda: stopped_reason(port) == "dead letters", "the partition to be not ready", 60.0)
    assert f"--topic {letters}" in ready(port)["stopped"][0]["mend"]
    send(Message(clicks, click(4)))
    assert not learned_everything(environment, {(clicks, 0): len(sent)})
    assert total(metrics(port), "corrente_worker_stopped", 'reason="dead letters"') == 1
    make_kafka_topics(kafka, {letters: 1}, compacted)
    everything_is_published()
    wait_until(lambda: ready(port)["status"] == "ready", "the partition to be ready", 60.0)
    assert list(letters_of(environment)) == [len(sent) - 2]

    counters = assert_every_event_counted_once(environment, 1)[0].counters["clicks"]
    assert counters["learned"] == 4
    assert running.stop() == 0


def test_events_that_learning_fails_on_are_isolated_in_the_journal_and_a_replay_leaves_them_out(
    environment: dict[str, str], make_topics: Callable[..., None], worker: Callable[..., WorkerProcess]
) -> None:
    kafka, clicks = environment["CORRENTE_KAFKA"], environment["CORRENTE_CLICKS_TOPIC"]
    make_topics(1)
    values = [click(number) for number in range(500)]
    values[300] = json.dumps({"item": FAILS, "user": "ada"}).encode()
    produce(kafka, [Message(clicks, value) for value in values])
    running = worker("-m", "tests.integration.failing_worker")
    wait_until(lambda: learned_everything(environment, {(clicks, 0): 500}), "everything to be read", 60.0)
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
