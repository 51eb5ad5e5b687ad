"""The writer of dead letters: in batches, until acknowledged, cut if they don't fit, lost only if nothing is left."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from aiokafka.errors import (
    KafkaConnectionError,
    MessageSizeTooLargeError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)
from aiokafka.partitioner import murmur2

from stream.ingest.records import Record, Rejection
from stream.kafka import letter_writer
from stream.kafka.dead_letters import DeadLetter, dead_letter, decode_letter
from stream.kafka.letter_writer import BATCH_LETTERS, DeadLetters, InvalidRecordError
from stream.settings import Settings


class FakeBatch:
    """A batch with room for a number of bytes, as aiokafka's."""

    def __init__(self, room: int) -> None:
        self.records: list[tuple[bytes, bytes, list[tuple[str, bytes]]]] = []
        self.bytes, self._room = 0, room

    def append(self, *, timestamp: Any, key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> Any:
        assert timestamp is None
        size = len(key) + len(value) + sum(len(each) for _, each in headers)
        if self.records and self.bytes + size > self._room:
            return None
        self.records.append((key, value, headers))
        self.bytes += size
        return self


class FakeProducer:
    """A producer into memory.

    Args:
        max_bytes: larger batches are refused.
        room: bytes of a batch.
        errors: raised by the first sends, one each.
        invalid: keys of records that are refused in any form.
        partitions: of the topic.
    """

    def __init__(
        self,
        *,
        max_bytes: int = 1_000_000,
        room: int = 800_000,
        errors: tuple[Exception, ...] = (),
        start_failures: int = 0,
        invalid: frozenset[bytes] = frozenset(),
        partitions: int = 1,
    ) -> None:
        self.sent: dict[bytes, tuple[bytes, Any]] = {}
        self.partition_of: dict[bytes, int] = {}
        self.starts = self.stops = self.batches = 0
        self.may_acknowledge = asyncio.Event()
        self.may_acknowledge.set()
        self._max_bytes, self._room, self._errors = max_bytes, room, list(errors)
        self._start_failures, self._invalid, self._partitions = start_failures, invalid, partitions

    async def start(self) -> None:
        self.starts += 1
        if self.starts <= self._start_failures:
            raise KafkaConnectionError("no broker")

    async def stop(self) -> None:
        self.stops += 1

    async def partitions_for(self, topic: str) -> set[int]:
        assert topic == "dead-letters"
        return set(range(self._partitions))

    def create_batch(self) -> FakeBatch:
        return FakeBatch(self._room)

    async def send_batch(self, batch: FakeBatch, topic: str, *, partition: int) -> asyncio.Future[None]:
        assert topic == "dead-letters"
        return asyncio.ensure_future(self._acknowledge(batch, partition))

    async def _acknowledge(self, batch: FakeBatch, partition: int) -> None:
        if self._errors:
            raise self._errors.pop(0)
        if batch.bytes > self._max_bytes:
            raise MessageSizeTooLargeError
        if self._invalid & {key for key, _, _ in batch.records}:
            raise InvalidRecordError
        await self.may_acknowledge.wait()
        self.batches += 1
        for key, value, headers in batch.records:
            self.sent[key] = value, headers
            self.partition_of[key] = partition


def letter_of(offset: int, value: bytes | None = b"{", key: bytes | None = None) -> DeadLetter:
    record = Record("clicks", offset, 1, value, key)
    return dead_letter(Rejection(record, "value: no JSON"), topic="clicks", partition=0)


def writer(producer: FakeProducer, **options: Any) -> DeadLetters:
    return DeadLetters(Settings(kafka="broker:9092", dead_letters_topic="dead-letters"), lambda _: producer, **options)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(letter_writer, "RETRY_SECONDS", (0.001, 0.002))
    monkeypatch.setattr(letter_writer, "CUT_SECONDS", 0.0)


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


async def test_letters_travel_in_batches() -> None:
    producer = FakeProducer()
    await writer(producer).send([letter_of(number) for number in range(5 * BATCH_LETTERS)])
    assert len(producer.sent) == 5 * BATCH_LETTERS
    assert producer.batches == 5


async def test_a_letter_has_its_partition_by_its_key_so_that_compaction_finds_its_repeats() -> None:
    producer = FakeProducer(partitions=3)
    await writer(producer).send([letter_of(number) for number in range(60)])
    assert set(Counter(producer.partition_of.values())) == {0, 1, 2}
    for key, partition in producer.partition_of.items():
        assert partition == (murmur2(key) & 0x7FFFFFFF) % 3


async def test_letters_that_do_not_fit_into_one_batch_are_sent_in_several() -> None:
    producer = FakeProducer(room=1000)
    await writer(producer).send([letter_of(number, b"x" * 300) for number in range(20)])
    assert len(producer.sent) == 20
    assert producer.batches > 5


async def test_letters_are_sent_again_until_a_broker_acknowledges_them_and_trouble_is_over_then() -> None:
    producer = FakeProducer(errors=(KafkaConnectionError("no broker"), KafkaConnectionError("no broker")))
    letters = writer(producer)
    await letters.send([letter_of(1)])
    assert list(producer.sent) == [b"clicks-0-1"]
    assert letters.trouble is None


@pytest.mark.parametrize(
    ("error", "command"),
    [
        (
            KafkaConnectionError("no broker"),
            "kafka-topics.sh --bootstrap-server broker:9092 --describe --topic dead-letters",
        ),
        (TopicAuthorizationFailedError("dead-letters"), "kafka-acls.sh --bootstrap-server broker:9092 --add"),
        (
            UnknownTopicOrPartitionError(),
            "kafka-topics.sh --bootstrap-server broker:9092 --create --topic dead-letters",
        ),
    ],
)
async def test_what_says_nothing_about_a_letter_is_trouble_until_it_is_mended(error: Exception, command: str) -> None:
    producer = FakeProducer(errors=(error,) * 1000)
    letters = writer(producer)
    sending = asyncio.ensure_future(letters.send([letter_of(1)]))
    while letters.trouble is None:
        await asyncio.sleep(0)
    assert "dead letters can't be written to dead-letters" in letters.trouble.reason
    assert command in letters.trouble.command
    producer._errors.clear()
    await sending
    assert letters.trouble is None
    assert list(producer.sent) == [b"clicks-0-1"], "nothing was cut or lost"


async def test_a_producer_that_can_not_start_is_stopped_and_made_again() -> None:
    producer = FakeProducer(start_failures=1)
    await writer(producer).send([letter_of(1)])
    assert (producer.starts, producer.stops) == (2, 1)


async def test_only_the_letters_that_are_too_large_are_cut() -> None:
    producer = FakeProducer(max_bytes=400)
    await writer(producer).send([letter_of(1), letter_of(2, b"x" * 3500, b"k" * 900), letter_of(3)])
    cut = decode_letter(*producer.sent[b"clicks-0-2"])
    assert cut.cut
    assert cut.key_cut
    assert (cut.value or b"").ljust(3500, b"x") == b"x" * 3500
    assert cut.original_bytes == 3500
    for key in (b"clicks-0-1", b"clicks-0-3"):
        assert not decode_letter(*producer.sent[key]).cut


@pytest.mark.parametrize("options", [{"max_bytes": 10}, {"invalid": frozenset([b"clicks-0-2"])}])
async def test_a_letter_is_lost_only_if_nothing_is_left_to_cut_and_the_whole_one_is_reported(options: Any) -> None:
    producer, lost = FakeProducer(**options), []
    await writer(producer, on_lost=lost.append).send([letter_of(2, b"x" * 50, b"key")])
    assert producer.sent == {}
    assert lost == [letter_of(2, b"x" * 50, b"key")]


async def test_stopping_closes_the_producer_once() -> None:
    producer = FakeProducer()
    letters = writer(producer)
    await letters.stop()
    await letters.send([letter_of(1)])
    await letters.stop()
    await letters.stop()
    assert producer.stops == 1
