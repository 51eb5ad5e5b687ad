"""Kafka records, and rejections of those that can't be learned.

This file decides which fields of a Kafka record are kept, and what is kept of a record that could not be learned. What
Kafka gets for a rejection is a `DeadLetter` (`stream.kafka.dead_letters`).
"""

from __future__ import annotations

from typing import NamedTuple


class Record(NamedTuple):
    """One Kafka record.

    Attributes:
        topic: our name of the topic, `clicks`, `purchases` or `feedback`.
        offset: offset in the topic's partition.
        timestamp_ms: the record's own timestamp, in milliseconds.
        value: the event as JSON; None for a tombstone.
        key: key of the record, if it has one.
    """

    topic: str
    offset: int
    timestamp_ms: int
    value: bytes | None
    key: bytes | None = None


class Rejection(NamedTuple):
    """A record that could not be learned.

    Attributes:
        record: the record, unchanged.
        reason: what is wrong with it, and what would be right.
        refused: True if it is a well-formed event whose time is too far ahead.
    """

    record: Record
    reason: str
    refused: bool = False
