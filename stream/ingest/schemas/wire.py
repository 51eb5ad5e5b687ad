r"""Confluent's wire format: the beginning of a record that names its schema.

A record begins with the byte 0 and the schema's id in four bytes, or with the byte 1 and the schema's GUID in sixteen.
Recent serializers can put the same bytes into the header `__value_schema_id` instead; the transport then puts them back
in front of the value, so that a record is whole everywhere, in dead letters too. Both forms are described by Confluent
("Wire format", https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/).

This file decides which records are in this format, and where the payload begins.

>>> reference_of(b"\0\0\0\0\7payload"), describe(b"\0\0\0\0\7")
(b'\x00\x00\x00\x00\x07', 'id 7')
>>> is_framed(b'{"item": 7}'), is_framed(None)
(False, False)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any

from stream.values import InvalidEvent

HEADER = "__value_schema_id"
"""Header of a Kafka record with the beginning of its value."""

BY_ID, BY_GUID = 0, 1
LENGTHS = {BY_ID: 5, BY_GUID: 17}
"""Bytes of the beginning, by the first of them."""

LARGEST_ID = 2**31 - 1
"""Largest id that a registry gives: ids are Java's `int`."""

_first_byte: Callable[[Any], bytes] = itemgetter(slice(1))

FRAME_BYTES = frozenset(bytes((first,)) for first in LENGTHS)


def is_framed(value: bytes | None) -> bool:
    """True if a record is in the wire format. No JSON text begins so."""
    return value is not None and value[:1] in FRAME_BYTES


def framed_among(values: Iterable[bytes | None]) -> bool:
    r"""True if a record of several is in the wire format.

    >>> framed_among([b"{}", None, b"", b"\0\0\0\0\7payload"])
    True
    """
    return not FRAME_BYTES.isdisjoint(map(_first_byte, filter(None, values)))


def framed_all(values: Sequence[bytes | None]) -> bool:
    r"""True if each of several records is in the wire format.

    >>> framed_all([b"\0\0\0\0\7payload", None])
    False
    """
    return None not in values and all(map(FRAME_BYTES.__contains__, map(_first_byte, values)))


def reference_of(value: bytes) -> bytes:
    """The beginning of a framed record, up to its payload.

    Raises:
        InvalidEvent: the record ends before, or no registry gives such an id.
    """
    length = LENGTHS[value[0]]
    if len(value) < length:
        raise InvalidEvent(
            f"schema: the value begins as Confluent's wire format with the byte {value[0]}, and ends after "
            f"{len(value)} bytes, before the {length - 1} bytes that name its schema"
        )
    reference = value[:length]
    if value[0] == BY_ID and id_of(reference) > LARGEST_ID:
        raise InvalidEvent(
            f"schema: id {id_of(reference)}: a registry gives ids up to {LARGEST_ID}, so this is not a record in "
            "Confluent's wire format, or a damaged one"
        )
    return reference


def id_of(reference: bytes) -> int:
    """The id in the beginning of a record whose first byte is 0."""
    return int.from_bytes(reference[1:], "big")


def guid_of(reference: bytes) -> str:
    """The GUID in the beginning of a record whose first byte is 1."""
    return guid_text(reference[1:])


def guid_text(data: bytes) -> str:
    """Sixteen bytes as a GUID or UUID is written.

    >>> guid_text(bytes(range(16)))
    '00010203-0405-0607-0809-0a0b0c0d0e0f'
    """
    digits = data.hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def describe(reference: bytes) -> str:
    """The schema that a beginning names, for people."""
    return f"id {id_of(reference)}" if reference[0] == BY_ID else f"GUID {guid_of(reference)}"
