"""Bad records in the topics: the worker goes on, they become dead letters, and good records beside them are learned."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest
from typer.testing import CliRunner

from benchmarks.harness.waiting import wait_until
from stream.kafka.dead_letters import DeadLetter, decode_letter
from tests.integration.harness.checking import assert_every_event_counted_once, learned_everything
from tests.integration.harness.kafka_client import Message, Stored, produce, read_all
from tests.integration.harness.kafka_client import make_topics as make_kafka_topics
from tests.integration.harness.worker_process import WorkerProcess

GOOD = {"item": "a", "user": "ada"}
NOW = int(time.time())

BAD: dict[str, tuple[str, bytes | None, str]] = {
    "malformed": ("CLICKS", b'{"item": "a", ', "value:"),
    "no JSON": ("CLICKS", b"\x00\x01\x02", "value:"),
    "empty": ("CLICKS", b"", "value:"),
    "tombstone": ("CLICKS", None, "value:"),
    "an array": ("CLICKS", b"[]", "value:"),
    "wrong type": ("CLICKS", b'{"item": ["a"], "user": "u"}', "item"),
    "fractional id": ("CLICKS", b'{"item": 1.5, "user": "u"}', "item"),
    "no item": ("CLICKS", b'{"user": "u"}', "item"),
    "no visitor": ("CLICKS", b'{"item": "a"}', "user"),
    "empty id": ("CLICKS", b'{"item": "", "user": "u"}', "item"),
    "control character": ("CLICKS", b'{"item": "a\\u0000b", "user": "u"}', "item"),
    "long id": ("CLICKS", b'{"item": "%s", "user": "u"}' % (b"x" * 257), "item"),
    "NaN": ("FEEDBACK", b'{"item": "a", "user": "u", "kind": "rating", "value": NaN}', "value"),
    "infinite": ("FEEDBACK", b'{"item": "a", "user": "u", "kind": "rating", "value": 1e999}', "value"),
    "no kind": ("FEEDBACK", b'{"item": "a", "user": "u"}', "kind"),
    "no unit of time": ("CLICKS", b'{"item": "a", "user": "u", "timestamp": 1e25}', "timestamp"),
    "before 1970": ("CLICKS", b'{"item": "a", "user": "u", "timestamp": -5}', "timestamp"),
    "no time": ("CLICKS", b'{"item": "a", "user": "u", "timestamp": "yesterday"}', "timestamp"),
    "invalid UTF-8": ("CLICKS", b'{"item": "\xff\xfe", "user": "u"}', "value"),
    "lone surrogate": ("CLICKS", b'{"item": "\\ud800", "user": "u"}', "surrogate"),
    "deep": ("CLICKS", b'{"item": "a", "user": "u", "context": ' + b'{"a":' * 5000 + b"1" + b"}" * 5001, "value"),
    "10 MB": ("PURCHASES", b'{"item": "a", "user": "u", "currency": "%s"}' % (b"x" * 10_000_000), "value"),
    "price": ("PURCHASES", b'{"item": "a", "user": "u", "price": "cheap"}', "price"),
}
AHEAD = b'{"item": "a", "user": "u", "timestamp": %d}' % (NOW + 86_400)


def letters_in(environment: dict[str, str]) -> list[tuple[Stored, DeadLetter]]:
    stored = read_all(environment["CORRENTE_KAFKA"], [environment["CORRENTE_DEAD_LETTERS_TOPIC"]])
    return [(record, decode_letter(record.value, record.headers)) for record in stored if record.value is not None]


@pytest.mark.fault
def test_bad_records_become_letters_and_good_ones_beside_them_are_learned(
    environment: dict[str, str], make_topics: Callable[..., None], worker: Callable[..., WorkerProcess]
) -> None:
    kafka = environment["CORRENTE_KAFKA"]
    make_topics(1, {"max.message.bytes": "33554432"})
    # The topic of dead letters takes smaller records than the others: larger values are cut.
    make_kafka_topics(kafka, {environment["CORRENTE_DEAD_LETTERS_TOPIC"]: 1}, {"max.message.bytes": "200000"})
    running = worker()
    messages: list[Message] = []
    for number, (topic, value, _) in enumerate([*BAD.values(), ("CLICKS", AHEAD, "timestamp")]):
        good = json.dumps({**GOOD, "item": f"beside {number}"}).encode()
        messages += [
            Message(environment["CORRENTE_CLICKS_TOPIC"], good, b"ada"),
            Message(environment[f"CORRENTE_{topic}_TOPIC"], value, b"key %d" % number),
        ]
    messages.append(Message(environment["CORRENTE_CLICKS_TOPIC"], json.dumps(GOOD).encode(), None))
    produce(kafka, messages, largest_bytes=33_554_432)
    stored = read_all(kafka, [environment[f"CORRENTE_{topic}_TOPIC"] for topic in ("CLICKS", "PURCHASES", "FEEDBACK")])
    ends = {(record.topic, 0): record.offset + 1 for record in stored}
    wait_until(lambda: learned_everything(environment, ends), "everything to be read", 60.0)
    assert running.running()

    shards = assert_every_event_counted_once(environment, 1)
    counts = shards[0].counters
    assert sum(count["learned"] for count in counts.values()) == len(BAD) + 2
    assert sum(count["dead_letters"] for count in counts.values()) == len(BAD)
    assert sum(count["refused"] for count in counts.values()) == 1

    by_key = {letter.key: (record, letter) for record, letter in letters_in(environment)}
    for number, (name, (topic, value, reason)) in enumerate(BAD.items()):
        record, letter = by_key[b"key %d" % number]
        assert reason in letter.reason, (name, letter.reason)
        assert letter.topic == environment[f"CORRENTE_{topic}_TOPIC"], name
        assert record.key == f"{letter.topic}-0-{letter.offset}".encode()
        if value is not None and len(value) > 100_000:
            assert letter.cut, name
            assert value.startswith(letter.value or b"-"), name
            assert letter.original_bytes == len(value), name
        else:
            assert letter.value == value, name
    refused = by_key[b"key %d" % len(BAD)][1]
    assert refused.refused
    assert "timestamp" in refused.reason
    assert len(by_key) == len(BAD) + 1
    assert running.stop() == 0


def test_letters_are_listed_and_sent_again(
    environment: dict[str, str],
    make_topics: Callable[..., None],
    worker: Callable[..., WorkerProcess],
    monkeypatch,
) -> None:
    kafka, clicks = environment["CORRENTE_KAFKA"], environment["CORRENTE_CLICKS_TOPIC"]
    make_topics(1)
    running = worker()
    produce(
        kafka,
        [
            Message(clicks, b'{"product": "a", "user": "ada"}', b"ada", timestamp_ms=(NOW - 100) * 1000),
            Message(clicks, b"junk", b"bob"),
        ],
    )
    wait_until(lambda: learned_everything(environment, {(clicks, 0): 2}), "both to be read", 60.0)
    assert running.stop() == 0

    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    from stream.kafka.dead_letters_cli import app

    listed = CliRunner().invoke(app, ["list"])
    assert listed.exit_code == 0, listed.output
    assert f"{clicks}-0-0" in listed.output
    assert "2 dead letters" in listed.output
    again = CliRunner().invoke(app, ["replay", "--reason", "item"])
    assert "1 of 1 dead letters were sent" in again.output
    rows = [json.loads(line) for line in CliRunner().invoke(app, ["list", "--json"]).output.splitlines()]
    assert [row["value"] for row in rows] == ["junk"]

    running = worker(CORRENTE_FIELDS='{"item": "product"}')  # the reason is gone: the field is known now
    wait_until(lambda: learned_everything(environment, {(clicks, 0): 3}), "the letter to be learned", 60.0)
    sent_again = read_all(kafka, [clicks])[2]
    assert (sent_again.key, sent_again.timestamp_ms) == (b"ada", (NOW - 100) * 1000)
    assert running.stop() == 0
