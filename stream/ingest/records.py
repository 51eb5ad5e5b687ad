"""This file decides what a record from Kafka is here, and what is kept of one that could not be learned."""

from __future__ import annotations

from typing import NamedTuple


class Record(NamedTuple):
    """One Kafka record. `topic` is our name of the topic, `timestamp_ms` the record's own time."""

    topic: str
    offset: int
    timestamp_ms: int
    value: bytes | None
    key: bytes | None = None


class Rejection(NamedTuple):
    """A record that could not be learned, and why. `refused`: decoded well, but its time is too far ahead."""

    record: Record
    reason: str
    refused: bool = False
