"""Dead letters: read back as they were written, written until acknowledged, never deleting themselves."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, MessageSizeTooLargeError
from hypothesis import given
from hypothesis import strategies as st

from stream.ingest.records import Record, Rejection
from stream.kafka.dead_letters import DeadLetter, DeadLetters, dead_letter, decode_letter, encode_letter

letters = st.builds(
    DeadLetter,
    topic=st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1),
    partition=st.integers(0, 999),
    offset=st.integers(0, 2**62),
    key=st.none() | st.binary(max_size=20),
    value=st.binary(max_size=50),
    reason=st.text(st.characters(exclude_categories=["Cs"]), max_size=100),
    original_bytes=st.integers(50, 10_000_000),
    refused=st.booleans(),
    timestamp_ms=st.integers(0, 2**52),
)


@given(letters)
def test_a_letter_is_read_back_as_it_was_written(letter: DeadLetter) -> None:
    key, value, headers = encode_letter(letter)
    assert decode_letter(value, headers) == letter
    assert key.decode() == f"{letter.topic}-{letter.partition}-{letter.offset}"


def test_a_record_without_value_becomes_a_letter_that_compaction_keeps() -> None:
    record = Record("clicks", 7, 1000, None, b"ada")
    letter = dead_letter(Rejection(record, "value: the record is empty"), topic="shop.clicks", partition=3)
    key, value, headers = encode_letter(letter)
    assert (key, value) == (b"shop.clicks-3-7", b"")
    assert decode_letter(value, headers).value is None


def test_the_same_record_has_the_same_key_again() -> None:
    record = Record("clicks", 7, 1000, b"{", b"ada")
    keys = {
        encode_letter(dead_letter(Rejection(record, reason), topic="clicks", partition=0))[0]
        for reason in ("once", "again")
    }
    assert len(keys) == 1


def test_the_bytes_are_the_original_ones_and_a_cut_value_says_so() -> None:
    original = bytes(range(256))
    letter = dead_letter(Rejection(Record("clicks", 1, 1, original), "value: no JSON"), topic="clicks", partition=0)
    _, value, headers = encode_letter(letter)
    assert value == original
    assert not decode_letter(value, headers).cut
    assert decode_letter(value[:100], headers).cut


def test_another_record_in_the_topic_is_no_letter() -> None:
    with pytest.raises(ValueError, match="topic"):
        decode_letter(b"{}", [("reason", b"unknown")])


class FakeProducer:
    """A producer into memory.

    Args:
        max_value_bytes: larger values are refused.
        failures: number of sends that fail because no broker answers.
    """

    def __init__(self, *, max_value_bytes: int = 1000, failures: int = 0, start_failures: int = 0) -> None:
        self.sent: dict[bytes, tuple[bytes, Any]] = {}
        self.starts = self.stops = 0
        self.may_acknowledge = asyncio.Event()
        self.may_acknowledge.set()
        self._max_value_bytes = max_value_bytes
        self._failures = failures
        self._start_failures = start_failures

    async def start(self) -> None:
        self.starts += 1
        if self.starts <= self._start_failures:
            raise KafkaConnectionError("no broker")

    async def stop(self) -> None:
        self.stops += 1

    async def send_and_wait(self, topic: str, value: bytes, *, key: bytes, headers: Any) -> None:
        assert topic == "dead-letters"
        if len(value) > self._max_value_bytes:
            raise MessageSizeTooLargeError
        if self._failures:
            self._failures -= 1
            raise KafkaConnectionError("no broker")
        await self.may_acknowledge.wait()
        self.sent[key] = value, headers


def letter_of(offset: int, value: bytes = b"{") -> DeadLetter:
    return dead_letter(Rejection(Record("clicks", offset, 1, value), "value: no JSON"), topic="clicks", partition=0)


def writer(producer: FakeProducer) -> DeadLetters:
    return DeadLetters("broker:9092", "dead-letters", lambda _: producer)


async def test_sending_returns_only_when_every_letter_is_acknowledged() -> None:
    producer = FakeProducer()
    producer.may_acknowledge.clear()
    sending = asyncio.ensure_future(writer(producer).send([letter_of(1), letter_of(2)]))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not sending.done()
    producer.may_acknowledge.set()
    await sending
    assert sorted(producer.sent) == [b"clicks-0-1", b"clicks-0-2"]
    assert producer.starts == 1, "one producer for all"


async def test_a_letter_is_sent_again_until_a_broker_acknowledges_it() -> None:
    producer = FakeProducer(failures=2)
    await writer(producer).send([letter_of(1)])
    assert list(producer.sent) == [b"clicks-0-1"]


async def test_a_producer_that_can_not_start_is_stopped_and_made_again() -> None:
    producer = FakeProducer(start_failures=1)
    await writer(producer).send([letter_of(1)])
    assert (producer.starts, producer.stops) == (2, 1)


async def test_a_value_that_is_too_large_for_the_topic_is_cut_and_says_so() -> None:
    producer = FakeProducer(max_value_bytes=100)
    await writer(producer).send([letter_of(1, b"x" * 350)])
    value, headers = producer.sent[b"clicks-0-1"]
    letter = decode_letter(value, headers)
    assert (letter.value, letter.original_bytes, letter.cut) == (b"x" * 87, 350, True)
    assert [name for name, _ in headers].count("cut") == 1


async def test_stopping_closes_the_producer_once() -> None:
    producer = FakeProducer()
    letters = writer(producer)
    await letters.stop()
    await letters.send([letter_of(1)])
    await letters.stop()
    await letters.stop()
    assert producer.stops == 1
