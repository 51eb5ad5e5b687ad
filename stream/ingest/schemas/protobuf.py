r"""Protobuf: a reader of the messages of one schema, whose values are those that JSON would have.

A record begins with the place of its message among those of the schema: a count and that many numbers, each a number of
the list of messages within the one before, as zigzag varints; the first message is the byte 0 alone (Confluent, "Wire
format", https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/).

Fields keep the names of the schema. As in Protobuf's own JSON (https://protobuf.dev/programming-guides/json/), a field
that was not set is missing; so is one without presence that has its default: 0, an empty text, false, an empty list.
An enumeration without presence has its first symbol then. Other than there, whole numbers of 64 bits stay numbers, so
that they can be ids, and a `Timestamp` or a `Duration` is a number of seconds.

This file decides which message a record is, and which plain values the types of Protobuf become.

>>> varint(b"\x00\xac\x02", 1)
(150, 3)
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from stream.ingest.schemas.avro import Reader
from stream.ingest.schemas.fetched import FetchedSchema, UnusableSchema
from stream.ingest.schemas.protobuf_files import pool_of
from stream.values import InvalidEvent

Convert = Callable[[Any], Any]
"""A function from a value of the library to the plain value."""

DEEPEST = 32
"""Most numbers that name a message: messages within messages."""

_WRAPPERS = ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String")


def protobuf_reader(schema: FetchedSchema) -> Reader:
    """A reader of a Protobuf schema.

    Raises:
        UnusableSchema: it is no file of Protobuf, imports a file that isn't there, or has no message.
        ImportError: protobuf is not installed.
    """
    from google.protobuf.message_factory import GetMessageClass

    pool, file = pool_of(schema)
    if not file.message_type:
        raise UnusableSchema("it has no message")
    known: dict[str, Convert] = {}
    messages: dict[tuple[int, ...], tuple[Convert, Convert]] = {}

    def message(places: tuple[int, ...]) -> tuple[Convert, Convert]:
        """The parser of a message, and the function that makes it plain."""
        within, name = file.message_type, file.package
        for place in places:
            if not 0 <= place < len(within):
                raise InvalidEvent(f"it is the message {list(places)} of a schema that has none there")
            name = f"{name}.{within[place].name}" if name else within[place].name
            within = within[place].nested_type
        descriptor = pool.FindMessageTypeByName(name)
        found = GetMessageClass(descriptor).FromString, _of_message(descriptor, known)
        messages[places] = found
        return found

    def read_record(value: bytes, start: int) -> dict[str, Any]:
        places, start = message_places(value, start)
        parse, plain = messages.get(places) or message(places)
        fields = plain(parse(value[start:]))
        if not isinstance(fields, dict):
            raise InvalidEvent("its message is a single value, and an event is a message with fields")
        return fields

    message((0,))
    return read_record


def message_places(value: bytes, start: int) -> tuple[tuple[int, ...], int]:
    r"""The numbers that name a record's message, and where the message begins.

    >>> message_places(b"\x00rest", 0), message_places(b"\x04\x02\x00rest", 0)
    (((0,), 1), ((1, 0), 3))

    Raises:
        InvalidEvent: the record ends before, or no message is named so.
    """
    if value[start : start + 1] == b"\0":
        return (0,), start + 1
    count, start = varint(value, start)
    if not 0 < count <= DEEPEST:
        raise InvalidEvent(f"it begins with {count} numbers that name its message, and 1 to {DEEPEST} are possible")
    places = []
    for _ in range(count):
        place, start = varint(value, start)
        places.append(place)
    return tuple(places), start


def varint(value: bytes, start: int) -> tuple[int, int]:
    """A zigzag varint (https://protobuf.dev/programming-guides/encoding/), and the place behind it.

    Raises:
        InvalidEvent: it goes on behind the end, or is longer than any.
    """
    number = 0
    for length, byte in enumerate(value[start : start + 5]):
        number |= (byte & 0x7F) << (7 * length)
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), start + length + 1
    raise InvalidEvent("it ends, or is damaged, in the numbers that name its message")


class _Fields(dict[Any, tuple[str, "Convert | None"]]):
    """Name of each field, by its descriptor, and the function that makes its value plain; None for a plain one.

    An entry is made when a field is first seen, so that a message may contain itself, and have extensions.
    """

    def __init__(self, known: dict[str, Convert]) -> None:
        self._known = known

    def __missing__(self, field: Any) -> tuple[str, Convert | None]:
        name = f"[{field.full_name}]" if field.is_extension else field.name
        self[field] = entry = name, _of_field(field, self._known)
        return entry


def _of_message(descriptor: Any, known: dict[str, Convert]) -> Convert:
    """The function that makes a message of this type plain."""
    name = descriptor.full_name
    if (convert := _WELL_KNOWN.get(name) or known.get(name)) is not None:
        return convert
    fields = _Fields(known)
    first_symbols = {
        field.name: field.enum_type.values[0].name
        for field in descriptor.fields
        if field.enum_type is not None and not field.has_presence and not _repeated(field)
    }

    def plain(message: Any) -> dict[str, Any]:
        values = first_symbols.copy()
        for field, value in message.ListFields():
            key, convert = fields[field]
            values[key] = value if convert is None else convert(value)
        return values

    known[name] = plain
    return plain


def _of_field(field: Any, known: dict[str, Convert]) -> Convert | None:
    """The function that makes the value of a field plain; None if it is plain."""
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry:
        one = _of_single(entry.fields_by_name["value"], known) or _same
        return lambda values: {_key(key): one(values[key]) for key in values}
    convert = _of_single(field, known)
    if not _repeated(field):
        return convert
    if convert is None:
        return list
    each = convert
    return lambda values: [each(value) for value in values]


def _of_single(field: Any, known: dict[str, Convert]) -> Convert | None:
    if field.message_type is not None:
        return _of_message(field.message_type, known)
    if field.enum_type is not None:
        symbols = {value.number: value.name for value in reversed(field.enum_type.values)}
        return lambda number: symbols.get(number, number)
    return _base64 if field.type == field.TYPE_BYTES else None


def _repeated(field: Any) -> bool:
    repeated: Any = field.is_repeated
    return bool(repeated)


def _same(value: Any) -> Any:
    return value


def _key(key: Any) -> str:
    """A key of a map as JSON has it.

    >>> _key("a"), _key(7), _key(True)
    ('a', '7', 'true')
    """
    return key if isinstance(key, str) else str(key).lower()


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _seconds(message: Any) -> float:
    seconds: float = message.seconds + message.nanos / 1e9
    return seconds


def _wrapped(message: Any) -> Any:
    return message.value


def _wrapped_bytes(message: Any) -> str:
    return _base64(message.value)


def _date(message: Any) -> str | dict[str, int]:
    """A date as ISO 8601 writes it; its parts if one of them isn't said."""
    parts = {"year": message.year, "month": message.month, "day": message.day}
    return "{year:04}-{month:02}-{day:02}".format(**parts) if all(parts.values()) else parts


def _decimal(message: Any) -> int | float:
    unscaled = int.from_bytes(message.value, "big", signed=True)
    return unscaled / 10**message.scale if message.scale else unscaled


def _struct(message: Any) -> dict[str, Any]:
    return {key: _any_value(value) for key, value in message.fields.items()}


def _list(message: Any) -> list[Any]:
    return [_any_value(value) for value in message.values]


def _any_value(message: Any) -> Any:
    """A value of any type. Its numbers are fractions by type, and whole ones are written as such, as in JSON."""
    kind = message.WhichOneof("kind")
    if kind in {None, "null_value"}:
        return None
    value = getattr(message, kind)
    if kind == "number_value":
        return int(value) if value.is_integer() else value
    return _struct(value) if kind == "struct_value" else _list(value) if kind == "list_value" else value


_WELL_KNOWN: dict[str, Convert] = {
    "google.protobuf.Timestamp": _seconds,
    "google.protobuf.Duration": _seconds,
    **{f"google.protobuf.{name}Value": _wrapped for name in _WRAPPERS},
    "google.protobuf.BytesValue": _wrapped_bytes,
    "google.protobuf.Struct": _struct,
    "google.protobuf.Value": _any_value,
    "google.protobuf.ListValue": _list,
    "google.type.Date": _date,
    "confluent.type.Decimal": _decimal,
    "confluent.types.Decimal": _decimal,
}
