"""`corrente events tail` on a broker: what is printed, from where, and how it ends."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator

import confluent_kafka
import pytest
from click.testing import Result
from typer.testing import CliRunner

from stream.tail.cli import app
from tests.serving.conftest import TOPICS, Broker

HEEDS_INTERRUPTS = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
"""A shell that starts something in the background has it ignore interrupts, and everything below it."""
COMMAND = [sys.executable, "-c", f"{HEEDS_INTERRUPTS}; from stream.cli import main; main()", "events", "tail"]


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    broker = Broker()
    broker.create(*TOPICS)
    produce(broker, "clicks", b'{"item": "teapot", "user": "ada"}', 1_700_000_000_000)
    produce(broker, "clicks", b'{"item": "", "user": "ada"}', 1_700_000_100_000)
    produce(broker, "clicks", b'{"item": "cups", "session": 7, "event_id": "x"}', 1_700_000_200_000)
    yield broker
    broker.stop()


def produce(broker: Broker, topic: str, value: bytes, timestamp_ms: int = 1_700_000_300_000) -> None:
    producer = confluent_kafka.Producer({"bootstrap.servers": broker.servers})
    producer.produce(topic, value, key=b"ada", partition=0, timestamp=timestamp_ms)
    assert producer.flush(30) == 0


def environment(kafka: str) -> dict[str, str]:
    return {**os.environ, "CORRENTE_KAFKA": kafka, "PYTHONPATH": ":".join(sys.path)}


def tail(kafka: str, *options: str) -> Result:
    return CliRunner(env={"CORRENTE_KAFKA": kafka}).invoke(app, ["tail", *options])


def test_a_record_is_a_line_with_its_events_the_reason_and_what_is_missing(broker: Broker) -> None:
    run = tail(broker.servers, "--topic", "clicks", "--from", "oldest", "--count", "3")
    assert run.exit_code == 0, run.output
    assert run.stdout.splitlines() == [
        "2023-11-14T22:13:20.000Z clicks/0@0 learned",
        '    {"kind": "click", "item": "teapot", "user": "ada"}',
        "    lacks event_id: a record that is sent again counts again",
        "    lacks timestamp: the time of the Kafka record counts",
        "2023-11-14T22:15:00.000Z clicks/0@1 dead_letters",
        '    {"kind": "click", "item": "", "user": "ada"}',
        "    because item: an id is 1 to 256 bytes, this one is empty",
        "    lacks event_id: a record that is sent again counts again",
        "    lacks timestamp: the time of the Kafka record counts",
        "2023-11-14T22:16:40.000Z clicks/0@2 learned",
        '    {"kind": "click", "item": "cups", "session": 7, "event_id": "x"}',
        "    lacks timestamp: the time of the Kafka record counts",
        "    lacks key: without the visitor as the record's key, the order of a visitor's events is not kept",
    ]


def test_json_has_the_same_for_programs(broker: Broker) -> None:
    run = tail(broker.servers, "--topic", "clicks", "--from", "1", "--count", "1", "--json")
    assert json.loads(run.stdout) == {
        "topic": "clicks",
        "partition": 0,
        "offset": 1,
        "timestamp_ms": 1_700_000_100_000,
        "key": "ada",
        "bytes": 27,
        "outcome": "dead_letters",
        "reason": "item: an id is 1 to 256 bytes, this one is empty",
        "events": [{"kind": "click", "item": "", "user": "ada"}],
        "missing": ["event_id", "timestamp"],
    }


def test_events_are_shown_as_they_arrive_until_it_is_interrupted(broker: Broker) -> None:
    process = subprocess.Popen(
        [*COMMAND, "--topic", "purchases", "--json"],
        env=environment(broker.servers),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        shown = False
        for _ in range(120):  # the first one that arrives after the command has found the end of the topic is shown
            produce(broker, "purchases", b'{"item": "teapot", "user": "ada"}')
            shown = bool(select.select([process.stdout], [], [], 0.5)[0])
            if shown:
                break
        assert shown
        assert json.loads(process.stdout.readline())["outcome"] == "learned"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--topic", "views"), "there are clicks, purchases, feedback"),
        (("--from", "soon"), "newest, oldest, an offset or a time"),
    ],
)
def test_a_wrong_option_names_the_right_ones(options: tuple[str, ...], words: str) -> None:
    run = tail("127.0.0.1:1", *options)
    assert run.exit_code == 2
    assert words in " ".join(run.output.replace("│", " ").split())


def test_a_kafka_that_is_away_is_one_line() -> None:
    run = tail("127.0.0.1:1")
    assert run.exit_code == 1
    assert run.stderr.startswith("corrente events tail: ")
    assert len(run.stderr.splitlines()) == 1
