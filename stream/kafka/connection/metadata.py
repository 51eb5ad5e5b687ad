"""Kafka's request for metadata with the ids of topics (KIP-516) and the client's rights on them (KIP-430).

aiokafka's own request is older than both. This one is sent by aiokafka's client: a second client library took a
millisecond more for each question. This file decides the form of request and reply. What is asked for is decided in
`stream.kafka.identity` and `stream.kafka.connection.rights`.
"""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from typing import Any

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.metadata import MetadataRequest_v4
from aiokafka.protocol.types import (
    AbstractType,
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

NO_ID = bytes(16)
"""The id that a broker without topic ids gives, if it gives any."""


class _Uuid(AbstractType[bytes]):
    """128 bits."""

    @classmethod
    def encode(cls, value: bytes) -> bytes:
        return value

    @classmethod
    def decode(cls, data: BytesIO) -> bytes:
        return data.read(16)

    @classmethod
    def repr(cls, value: bytes) -> str:
        return value.hex()


_TEXT = CompactString("utf-8")
_TAGS = ("tags", TaggedFields)


class MetadataReply(Response):
    """Version 10 of Kafka's `MetadataResponse`, the first one with topic ids."""

    API_KEY = 3
    API_VERSION = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", CompactArray(("node_id", Int32), ("host", _TEXT), ("port", Int32), ("rack", _TEXT), _TAGS)),
        ("cluster_id", _TEXT),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("topic", _TEXT),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        _TAGS,
                    ),
                ),
                ("authorized_operations", Int32),
                _TAGS,
            ),
        ),
        ("authorized_operations", Int32),
        _TAGS,
    )


class UnreadMetadata(Response):
    """A `MetadataReply` whose bytes are kept: most are the same as those of the reply before."""

    API_KEY = 3
    API_VERSION = 10
    SCHEMA = MetadataReply.SCHEMA

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    @classmethod
    def decode(cls, data: BytesIO | bytes) -> UnreadMetadata:
        return cls(data if isinstance(data, bytes) else data.read())

    def __repr__(self) -> str:
        return repr(MetadataReply.decode(self.raw))


class MetadataQuery(RequestStruct):
    """Version 10 of Kafka's `MetadataRequest`."""

    API_KEY = 3
    API_VERSION = 10
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = UnreadMetadata
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", _Uuid), ("topic", _TEXT), _TAGS)),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        _TAGS,
    )
    _encoded: bytes | None = None

    def encode(self) -> bytes:
        """The bytes of this request, made once: it is sent for each version."""
        if self._encoded is None:
            self._encoded = super().encode()
        return self._encoded


class Question(Request[MetadataRequest_v4 | MetadataQuery]):
    """The question for topics and the leaders of their partitions, in the newest version that the broker knows.

    Args:
        names: of topics.
        rights: asks for the client's rights on each topic too; a broker before Kafka 2.3 doesn't say them.
    """

    API_KEY = 3

    def __init__(self, names: Iterable[str], *, rights: bool = False) -> None:
        self.names = sorted(names)
        self.rights = rights
        self._built: dict[type[Any], Any] = {}

    def build(self, request_struct_class: type[Any]) -> Any:
        """The request in one of its two versions; neither creates a topic."""
        if request_struct_class not in self._built:
            self._built[request_struct_class] = self._build(request_struct_class)
        return self._built[request_struct_class]

    def _build(self, request_struct_class: type[Any]) -> Any:
        if request_struct_class is MetadataRequest_v4:
            return MetadataRequest_v4(topics=self.names, allow_auto_topic_creation=False)
        return MetadataQuery([(NO_ID, name, {}) for name in self.names], False, False, self.rights, {})


def rights_in(response: Any) -> dict[str, tuple[int, int]]:
    """The error code of each topic, and the operations that are allowed, one bit each; -2**31 if the broker is old.

    Args:
        response: to a `Question` for rights.
    """
    if not isinstance(response, UnreadMetadata):
        return {topic: (code, -(1 << 31)) for code, topic, *_ in response.topics}
    found = MetadataReply.decode(response.raw)
    return {topic[1]: (topic[0], topic[5]) for topic in found.topics}
