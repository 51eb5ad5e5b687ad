"""Records of ours, made of aiokafka's.

This file decides which parts of a Kafka record are kept. It is called for every single record, so it does the least
that is possible. With a schema registry, a header that names a record's schema is put in front of its value, where
older serializers put it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiokafka import TopicPartition

from stream.ingest.records import Record
from stream.ingest.schemas.wire import HEADER, LENGTHS

Maker = Callable[[TopicPartition, Any], Record]


def record_maker(origin: str, *, schema_headers: bool = False) -> Maker:
    """A function that makes a `Record` from aiokafka's record.

    Args:
        origin: under which the record is learned.
        schema_headers: True to look for headers that name a schema.
    """
    new = tuple.__new__  # the same as `Record(…)`, without a second call of a Python function

    def make(_: TopicPartition, record: Any) -> Record:
        return new(Record, (origin, record.offset, record.timestamp, record.value, record.key))

    def make_with_header(_: TopicPartition, record: Any) -> Record:
        value = record.value
        if record.headers and value is not None:
            value = with_reference(value, record.headers)
        return new(Record, (origin, record.offset, record.timestamp, value, record.key))

    return make_with_header if schema_headers else make


def with_reference(value: bytes, headers: Any) -> bytes:
    r"""A value behind the reference to its schema, if a header has one.

    >>> with_reference(b"payload", [("trace", b"1"), ("__value_schema_id", b"\0\0\0\0\7")])
    b'\x00\x00\x00\x00\x07payload'
    """
    for name, reference in headers:
        if name == HEADER and reference and LENGTHS.get(reference[0], 0) <= len(reference):
            return reference + value if reference[0] in LENGTHS else value
    return value
