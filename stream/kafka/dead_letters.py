"""Dead letters: records that could not be learned, kept with the reason in a topic of their own.

A dead letter is a Kafka record. Its value is the original bytes, and its headers hold where they came from and what was
wrong. Its key is `topic-partition-offset`, and the topic is compacted: a worker that ends between writing a letter and
publishing the state that passes the record writes the letter again, and the topic still holds one letter. What is too
large for the topic is cut, and a header says so.

This file decides the form of a letter, how it is cut, and how letters are read. They are written by
`stream.kafka.letter_writer`. Which records become letters is decided in `stream.ingest.decoding`, and that no state
passes a record whose letter isn't acknowledged, in `stream.runner.publisher`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, replace
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from structlog import get_logger

from stream.ingest.records import Rejection
from stream.kafka.connection.diagnosis import require_kafka
from stream.kafka.connection.options import client_options
from stream.kafka.connection.rights import letter_needs
from stream.settings import Settings

log = get_logger(__name__)

MAX_REASON_BYTES = 2000
"""Longest reason that a header holds; the rest is cut."""

MIN_REASON_CHARACTERS = 60
"""Length to which a reason is cut at most."""


@dataclass(frozen=True)
class DeadLetter:
    """A dead letter as it is read back.

    Attributes:
        topic, partition, offset, key: of the original record; `topic` is its name in Kafka.
        value: the original bytes, or the beginning of them; None for a record without a value.
        reason: why it could not be learned.
        original_bytes: size of the original value.
        refused: True for a good event whose time was too far ahead.
        timestamp_ms: time of the original record; negative if it had none.
        key_cut: True if the key is only the beginning of the original.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    reason: str
    original_bytes: int
    refused: bool
    timestamp_ms: int
    key_cut: bool = False

    @property
    def cut(self) -> bool:
        """True if the value is only the beginning of the original."""
        return self.value is not None and len(self.value) < self.original_bytes

    @property
    def name(self) -> str:
        """The letter's key: `topic-partition-offset`."""
        return f"{self.topic}-{self.partition}-{self.offset}"


def dead_letter(rejection: Rejection, *, topic: str, partition: int) -> DeadLetter:
    """The letter of a rejected record that was read from this partition of `topic` (its name in Kafka)."""
    record = rejection.record
    return DeadLetter(
        topic=topic,
        partition=partition,
        offset=record.offset,
        key=record.key,
        value=record.value,
        reason=rejection.reason,
        original_bytes=len(record.value) if record.value is not None else 0,
        refused=rejection.refused,
        timestamp_ms=record.timestamp_ms,
    )


def encode_letter(letter: DeadLetter) -> tuple[bytes, bytes, list[tuple[str, bytes]]]:
    """Key, value and headers of the Kafka record.

    >>> letter = DeadLetter("clicks", 0, 7, b"ada", b"{", "value: JSON is malformed", 1, False, 1000)
    >>> key, value, headers = encode_letter(letter)
    >>> key, value, dict(headers)["reason"]
    (b'clicks-0-7', b'{', b'value: JSON is malformed')
    >>> decode_letter(value, headers) == letter
    True
    """
    headers = [
        ("topic", letter.topic.encode()),
        ("partition", b"%d" % letter.partition),
        ("offset", b"%d" % letter.offset),
        ("reason", letter.reason.encode(errors="replace")[:MAX_REASON_BYTES]),
        ("original_bytes", b"%d" % letter.original_bytes),
        ("timestamp_ms", b"%d" % letter.timestamp_ms),
    ]
    if letter.key is not None:
        headers.append(("key", letter.key))
    if letter.refused:
        headers.append(("refused", b"1"))
    if letter.cut:
        headers.append(("cut", b"1"))
    if letter.key_cut:
        headers.append(("key_cut", b"1"))
    if letter.value is None:
        headers.append(("no_value", b"1"))
    # An empty value instead of none: a record without a value deletes the letter when the topic is compacted.
    return letter.name.encode(), letter.value or b"", headers


def decode_letter(value: bytes | None, headers: Iterable[tuple[str, bytes]]) -> DeadLetter:
    """The letter in a Kafka record.

    Raises:
        ValueError: the record is no dead letter; the text names the header that is missing.
    """
    named = dict(headers)
    try:
        return DeadLetter(
            topic=named["topic"].decode(),
            partition=int(named["partition"]),
            offset=int(named["offset"]),
            key=named.get("key"),
            value=None if "no_value" in named else value or b"",
            reason=named["reason"].decode(errors="replace"),
            original_bytes=int(named["original_bytes"]),
            refused="refused" in named,
            timestamp_ms=int(named["timestamp_ms"]),
            key_cut="key_cut" in named,
        )
    except KeyError as missing:
        raise ValueError(f"not a dead letter: the header {missing} is missing") from None


def halved(letter: DeadLetter) -> DeadLetter | None:
    """The letter with the largest of value, key and reason cut in half; None if there is nothing left to cut.

    >>> letter = DeadLetter("clicks", 0, 7, b"ada", b"{broken", "value: JSON is malformed", 7, False, 1000)
    >>> halved(letter).value, halved(halved(halved(letter))).key
    (b'{br', b'a')
    """
    value, key = len(letter.value or b""), len(letter.key or b"")
    reason = len(letter.reason) if len(letter.reason) > MIN_REASON_CHARACTERS else 0
    if not value + key + reason:
        return None
    if reason > max(value, key):
        return replace(letter, reason=letter.reason[: max(MIN_REASON_CHARACTERS, reason // 2)])
    if key > value:
        return replace(letter, key=(letter.key or b"")[: key // 2], key_cut=True)
    return replace(letter, value=(letter.value or b"")[: value // 2])


async def read_letters(settings: Settings) -> AsyncIterator[DeadLetter]:
    """Every letter that is in its topic now, in the order of writing; only the last of several with the same key.

    Raises:
        KafkaUnusable: no broker answered, or one refuses; the text says why.
    """
    await require_kafka(settings, letter_needs(settings))
    topic = settings.dead_letters_topic
    partitions = [TopicPartition(topic, number) for number in await _partitions(settings, topic)]
    if not partitions:
        return
    consumer = AIOKafkaConsumer(**client_options(settings), enable_auto_commit=False, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign(partitions)
        first = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
        found: dict[str, DeadLetter] = {}
        for partition in partitions:
            consumer.seek(partition, first[partition])
        while any([await consumer.position(partition) < ends[partition] for partition in partitions]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                for record in records:
                    key = (record.key or b"").decode(errors="replace")
                    found.pop(key, None)
                    if record.value is not None and (letter := _letter_in(record)) is not None:
                        found[key] = letter
        for letter in found.values():
            yield letter
    finally:
        await consumer.stop()


async def _partitions(settings: Settings, topic: str) -> list[int]:
    admin = AIOKafkaAdminClient(**client_options(settings))
    await admin.start()
    try:
        if topic not in await admin.list_topics():
            return []
        described = await admin.describe_topics([topic])
        return sorted(partition["partition"] for partition in described[0]["partitions"])
    finally:
        await admin.close()


def _letter_in(record: Any) -> DeadLetter | None:
    try:
        return decode_letter(record.value, record.headers)
    except ValueError as error:
        log.warning("a record in the topic of dead letters is no dead letter", offset=record.offset, error=str(error))
        return None
