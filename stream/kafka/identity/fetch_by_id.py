"""Fetches that name topics by their ids, so that no record of another topic is taken for one of ours (KIP-516).

A fetch by name goes on at its offset in a topic that was deleted and created again, once that one is long enough. A
fetch by id is refused instead. Brokers since Kafka 3.1 understand it; aiokafka's own requests are older. A broker
before that is asked by name, and `FetchById.used` says so.

This file decides the form of request and reply, version 13 of both. When a topic has which id is decided in
`stream.kafka.transport`.
"""

from __future__ import annotations

import base64
import struct
from collections import defaultdict
from collections.abc import Mapping
from io import BytesIO
from typing import Any

from aiokafka import TopicPartition
from aiokafka.protocol.api import RequestStruct
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.types import Schema

VERSION = 13

UNKNOWN_TOPIC_OR_PARTITION = 3
UNKNOWN_IDS = frozenset({100, 103})
"""Kafka's `UNKNOWN_TOPIC_ID` and `INCONSISTENT_TOPIC_ID`, for which aiokafka has no names."""

_HEAD = struct.Struct(">iiiibii")
"""Replica, longest wait, fewest bytes, most bytes, isolation level, number and epoch of a fetch session."""
_ASKED = struct.Struct(">iiqiqi")
"""Partition, leader epoch, offset, last fetched epoch, first offset of the log, most bytes."""
_REPLY = struct.Struct(">ihi")
"""Throttle time, error, number of the fetch session."""
_PARTITION = struct.Struct(">ihqqq")
"""Partition, error, high watermark, last stable offset, first offset of the log."""
_ABORTED = struct.Struct(">qq")
"""Producer and first offset of an aborted transaction."""
_REPLICA = struct.Struct(">i")

Asked = Mapping[tuple[str, bytes], list[tuple[int, int, int]]]
"""Partition, offset and most bytes of each partition that is fetched, by name and id of the topic."""


def id_bytes(topic_id: str) -> bytes:
    """The 16 bytes of an id as Kafka's tools write it; none for an empty one.

    >>> id_bytes("AAAAAAAAAAAAAAAAAAAAAQ")[-1], id_bytes("")
    (1, b'')
    """
    return base64.urlsafe_b64decode(topic_id + "==") if topic_id else b""


class FetchById:
    """A request for records, by ids if the broker understands them. It takes the place of aiokafka's `FetchRequest`.

    Args:
        usual: the same request by names.
        ids: of the topics of all its topic-partitions, 16 bytes each.

    Attributes:
        used: True once it was sent by ids.
        refused: True if the broker has no topic of one of these ids.
    """

    API_KEY = FetchRequest.API_KEY

    def __init__(self, usual: Any, ids: Mapping[TopicPartition, bytes]) -> None:
        self.topics = usual.topics
        self.used = False
        self.refused = False
        self._usual = usual
        self._ids = ids

    def prepare(self, versions: Mapping[int, tuple[int, int]]) -> Any:
        """The request in a version that the broker understands."""
        least, most = versions.get(self.API_KEY, (0, 0))
        self.used = least <= VERSION <= most
        if not self.used:
            return self._usual.prepare(versions)
        asked: dict[tuple[str, bytes], list[tuple[int, int, int]]] = defaultdict(list)
        for name, partitions in self.topics:
            for each in partitions:
                asked[name, self._ids[TopicPartition(name, each[0])]].append(each)
        return _Query(self, self._usual, asked)


class FetchReply:
    """Records of topic-partitions, as aiokafka's fetcher reads them.

    Attributes:
        topics: name, and for each partition its number, error, high watermark, last stable offset, first offset,
            aborted transactions, preferred replica and records.
    """

    API_KEY = FetchRequest.API_KEY
    API_VERSION = VERSION

    def __init__(self, topics: list[tuple[str, list[tuple[Any, ...]]]]) -> None:
        self.topics = topics


class _ReplyReader:
    """Reads the reply to one request. aiokafka calls `decode` of what it takes for the type of the reply.

    Args:
        request: is told if a topic is refused.
        asked: what was asked for.
    """

    def __init__(self, request: FetchById, asked: Asked) -> None:
        self._request = request
        self._asked = asked
        self._names = {topic_id: name for name, topic_id in asked}

    def decode(self, data: BytesIO | bytes) -> FetchReply:
        fields = _Fields(data if isinstance(data, bytes) else data.read())
        _, error, _ = fields.take(_REPLY)
        if error:
            self._request.refused = True
            return FetchReply(
                [(name, [_refused(each[0]) for each in parts]) for (name, _), parts in self._asked.items()]
            )
        topics = []
        for _ in range(fields.count()):
            name = self._names[fields.bytes(16)]
            topics.append((name, [self._partition(fields) for _ in range(fields.count())]))
            fields.skip_tags()
        return FetchReply(topics)

    def _partition(self, fields: _Fields) -> tuple[Any, ...]:
        number, error, highwater, stable, first = fields.take(_PARTITION)
        aborted = []
        for _ in range(fields.count()):
            aborted.append(fields.take(_ABORTED))
            fields.skip_tags()
        (replica,) = fields.take(_REPLICA)
        records = fields.bytes(fields.count())
        fields.skip_tags()
        if error in UNKNOWN_IDS:
            self._request.refused = True
            return _refused(number)
        return number, error, highwater, stable, first, aborted, replica, records


def _refused(partition: int) -> tuple[Any, ...]:
    """The answer for a partition of a topic that isn't there, in the words that aiokafka knows."""
    return partition, UNKNOWN_TOPIC_OR_PARTITION, -1, -1, -1, [], -1, b""


class _Query(RequestStruct):
    """Version 13 of Kafka's `FetchRequest`."""

    FLEXIBLE_VERSION = True
    API_KEY = FetchRequest.API_KEY
    API_VERSION = VERSION
    RESPONSE_TYPE: Any = FetchReply
    SCHEMA = Schema()

    def __init__(self, request: FetchById, usual: Any, asked: Asked) -> None:
        super().__init__()
        self._usual = usual
        self._asked = asked
        self.RESPONSE_TYPE = _ReplyReader(request, asked)

    def encode(self) -> bytes:
        usual = self._usual
        parts = [
            _HEAD.pack(-1, usual._max_wait_ms, usual._min_bytes, usual._max_bytes, usual._isolation_level, 0, -1),  # noqa: SLF001  aiokafka's own request has no other way
            _count(len(self._asked)),
        ]
        for (_, topic_id), partitions in self._asked.items():
            parts += [topic_id, _count(len(partitions))]
            parts += [_ASKED.pack(number, -1, offset, -1, -1, most) + b"\0" for number, offset, most in partitions]
            parts.append(b"\0")
        rack = usual._rack_id.encode()  # noqa: SLF001  as above
        parts += [_count(0), _count(len(rack)), rack, b"\0"]
        return b"".join(parts)

    def __repr__(self) -> str:
        return f"FetchRequest by id of {dict(self._asked)}"


class _Fields:
    """The fields of a reply, one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, fields: struct.Struct) -> tuple[Any, ...]:
        values = fields.unpack_from(self._data, self._at)
        self._at += fields.size
        return values

    def bytes(self, size: int) -> bytes:
        self._at += size
        return self._data[self._at - size : self._at]

    def count(self) -> int:
        """The length of an array, a text or bytes; 0 for one that is null."""
        return max(0, self._varint() - 1)

    def skip_tags(self) -> None:
        """Leave out the fields that only some replies have."""
        for _ in range(self._varint()):
            self._varint()
            self._at += self._varint()

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._data[self._at]
            self._at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7


def _count(length: int) -> bytes:
    """The length of an array or a text, as `_Fields.count` reads it."""
    value, encoded = length + 1, bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
