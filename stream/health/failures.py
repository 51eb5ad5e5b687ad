"""Failures of learning and publishing: which of them say something about a record.

This file decides which errors are expected and have causes of their own. Every other error is a failure within the
records that were being learned or published.
"""

from __future__ import annotations

from collections.abc import Mapping

from aiokafka.errors import KafkaError
from redis.exceptions import RedisError

from stream.kafka.identity.errors import IdentitiesUnknown, OtherTopic
from stream.versions import Fenced, StaleParent, VersionError

EXPECTED = (
    Fenced,
    StaleParent,
    VersionError,
    RedisError,
    KafkaError,
    OtherTopic,
    IdentitiesUnknown,
    MemoryError,
    OSError,
)
"""Errors that say nothing about a record."""

REPORT = "report the traceback in the worker's log; a release that mends it goes on from the last published state"


class BatchFailed(Exception):
    """Learning or publishing failed unexpectedly; the cause is the error.

    Attributes:
        first, end: offset of the first record, and behind the last, of each topic.
        count: number of the records.
        published: True if publishing failed, and not learning.
    """

    def __init__(self, first: Mapping[str, int], end: Mapping[str, int], count: int, *, published: bool) -> None:
        super().__init__(f"failed within {count} records from {dict(first)} to {dict(end)}")
        self.first, self.end, self.count, self.published = first, end, count, published
