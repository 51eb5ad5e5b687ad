"""Kafka records, and rejections of those that can't be learned.

This file decides which fields of a Kafka record are kept, and what is kept of a record that could not be learned. What
Kafka gets for a rejection is a `DeadLetter` (`stream.kafka.dead_letters`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple


class Record(NamedTuple):
    """One Kafka record.

    Attributes:
        origin: the topic-partition it comes from, see `stream.ingest.origins`.
        offset: offset in that partition.
        timestamp_ms: the record's own timestamp, in milliseconds; -1 if its producer gave none.
        value: the event as JSON; None for a tombstone.
        key: key of the record, if it has one.
    """

    origin: str
    offset: int
    timestamp_ms: int
    value: bytes | None
    key: bytes | None = None


class Rejection(NamedTuple):
    """A record that could not be learned, or is left out on purpose.

    Attributes:
        record: the record, unchanged.
        reason: what is wrong with it, and what would be right.
        refused: True if it is a well-formed event whose time is too far ahead.
        isolated: True if something failed on it that has no name of its own: not the record's content alone, but also
            this program decided that it can't be learned, so a journal keeps it.
        unlearned: name of the rule by which a good event is left out (`stream.ingest.left_out`), else empty. It is
            counted as `unlearned:<rule>`, and no dead letter is written.
    """

    record: Record
    reason: str
    refused: bool = False
    isolated: bool = False
    unlearned: str = ""

    @property
    def outcome(self) -> str:
        """The outcome as which the record is counted.

        >>> Rejection(Record("clicks", 0, 0, b""), "value: …").outcome
        'dead_letters'
        """
        if self.unlearned:
            return f"{UNLEARNED}{self.unlearned}"
        return "refused" if self.refused else "dead_letters"


UNLEARNED = "unlearned:"
"""Beginning of the outcomes of records that are left out on purpose."""

Place = tuple[str, int]
"""A record's place in the logs of one shard: its origin and the offset."""

NO_PLACES: Mapping[Place, str] = MappingProxyType({})


def first_offsets(records: Iterable[Record], origins: int) -> dict[str, int]:
    """Offset of the first record of each origin.

    >>> records = [Record("clicks", 7, 0, b""), Record("purchases", 2, 0, b""), Record("clicks", 8, 0, b"")]
    >>> first_offsets(records, 2), first_offsets(reversed(records), 2)
    ({'clicks': 7, 'purchases': 2}, {'clicks': 8, 'purchases': 2})

    Args:
        records: of whatever origins.
        origins: number of different ones; with the last of them the search ends.
    """
    found: dict[str, int] = {}
    for record in records:
        if len(found) == origins:
            break
        found.setdefault(record.origin, record.offset)
    return found


def failure_of(error: BaseException) -> str:
    """The text of an unexpected error, as the reason of a rejection.

    >>> failure_of(ZeroDivisionError("division by zero"))
    'failed: ZeroDivisionError: division by zero'
    """
    return f"failed: {type(error).__name__}: {error}"[:500]
