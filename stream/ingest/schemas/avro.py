r"""Avro: a reader of records of one schema, whose values are those that JSON would have.

Records, maps, arrays, enumerations and unions become objects, lists and texts; a union's value stands there by itself.
Bytes become text with a character for each byte, as in Avro's own JSON encoding. Times stay the numbers that they are
(milliseconds, microseconds or nanoseconds since the epoch), a date becomes text such as `2026-01-31`, a UUID is text,
and a decimal is a number: whole if its scale is 0. Types are described in the Avro specification
(https://avro.apache.org/docs/1.12.0/specification/).

A record is read by the schema that it was written with. A field that this schema doesn't have is missing, as in JSON;
defaults are for readers with a schema of their own, and this one has none.

This file decides which plain values the types of Avro become, and which schemas are refused.

>>> text = '{"type": "record", "name": "Cart", "fields": [{"name": "n", "type": "int"}]}'
>>> avro_reader(FetchedSchema("AVRO", text))(b"\0\0\0\0\7\x2a", 5)
{'n': 21}
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

from stream.ingest.schemas.fetched import FetchedSchema, UnusableSchema
from stream.ingest.schemas.wire import guid_text
from stream.values import InvalidEvent

Reader = Callable[[bytes, int], dict[str, Any]]
"""A function from a record and the place of its payload to the record's fields."""

EPOCH_DAY = dt.date(1970, 1, 1).toordinal()

_OURS = "corrente-"
"""Beginning of the names of logical types that are read by the functions of this file. No schema has such names."""


def avro_reader(schema: FetchedSchema) -> Reader:
    """A reader of an Avro schema.

    Raises:
        UnusableSchema: it is no Avro schema, or its records aren't events.
        ImportError: fastavro is not installed.
    """
    import fastavro
    from fastavro.schema import SchemaParseException, UnknownType

    _add_logical_types()
    named: dict[str, Any] = {}
    try:
        for reference in schema.references:
            fastavro.parse_schema(_plainly(json.loads(reference.text)), named)
        plain = _plainly(json.loads(schema.text))
        parsed = fastavro.parse_schema(plain, named)
    except UnknownType as error:
        raise UnusableSchema(f"it names the type {error.name}, which neither it nor its references define") from None
    except (SchemaParseException, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UnusableSchema(f"it is no Avro schema: {error}") from None
    if isinstance(parsed, str) or not isinstance(parsed, dict) or parsed.get("type") not in {"record", "map"}:
        kind = parsed.get("type") if isinstance(parsed, dict) else parsed if isinstance(parsed, str) else "union"
        raise UnusableSchema(f"its records are of the type {kind}, and an event is a record with fields")
    _check_sizes(parsed, named)
    read = fastavro.schemaless_reader

    def read_record(value: bytes, start: int) -> dict[str, Any]:
        stream = BytesIO(value)
        stream.seek(start)
        record: Any = read(stream, parsed, None)
        if (end := stream.tell()) != len(value):
            raise InvalidEvent(f"{len(value) - end} bytes are left behind its last field")
        return record

    return read_record


def _plainly(schema: Any) -> Any:
    """A schema whose logical types are left out, or are ours if their values are other than the underlying ones."""
    if isinstance(schema, list):
        return [_plainly(each) for each in schema]
    if schema == "bytes":
        return {"type": "bytes", "logicalType": f"{_OURS}bytes"}
    if not isinstance(schema, dict):
        return schema
    plain = {name: value for name, value in schema.items() if name not in {"logicalType", "default", "aliases", "doc"}}
    kind, logical = schema.get("type"), schema.get("logicalType")
    if kind in {"record", "error"}:
        plain["fields"] = [{"name": field["name"], "type": _plainly(field["type"])} for field in schema["fields"]]
    elif kind == "array":
        plain["items"] = _plainly(schema["items"])
    elif kind == "map":
        plain["values"] = _plainly(schema["values"])
    elif kind in {"bytes", "fixed"}:
        given = logical == "decimal" and isinstance(schema.get("scale", 0), int)
        of_uuid = kind == "fixed" and logical == "uuid" and schema.get("size") == 16
        plain["logicalType"] = _OURS + ("decimal" if given else "uuid" if of_uuid else "bytes")
    elif kind == "int" and logical == "date":
        plain["logicalType"] = f"{_OURS}date"
    elif isinstance(kind, dict | list):  # a type within a type, as some generators write it
        return _plainly(kind)
    return plain


def _add_logical_types() -> None:
    """Let fastavro read the logical types of this file."""
    from fastavro.read import LOGICAL_READERS

    for kind in ("bytes", "fixed"):
        LOGICAL_READERS[f"{kind}-{_OURS}decimal"] = _decimal
        LOGICAL_READERS[f"{kind}-{_OURS}bytes"] = _text
    LOGICAL_READERS[f"fixed-{_OURS}uuid"] = _uuid
    LOGICAL_READERS[f"int-{_OURS}date"] = _date


def _decimal(data: bytes, written: Any = None, _: Any = None) -> int | float:
    r"""A decimal as JSON has it: a whole number if its scale is 0.

    >>> _decimal(b"\x04\xe2", {"scale": 2}), _decimal(b"\xff", {})
    (12.5, -1)
    """
    unscaled = int.from_bytes(data, "big", signed=True)
    scale = written.get("scale", 0)
    return unscaled / 10**scale if scale else unscaled


def _text(data: bytes, _: Any = None, __: Any = None) -> str:
    return data.decode("latin-1")


def _uuid(data: bytes, _: Any = None, __: Any = None) -> str:
    return guid_text(data)


def _date(days: int, _: Any = None, __: Any = None) -> str | int:
    """A date as ISO 8601 writes it, or the number of days if the calendar has no such date."""
    try:
        return dt.date.fromordinal(days + EPOCH_DAY).isoformat()
    except (ValueError, OverflowError):
        return days


def _check_sizes(schema: Any, named: Mapping[str, Any]) -> None:
    """Refuse lists whose elements take no bytes: a damaged record could ask for billions of them.

    Raises:
        UnusableSchema: it has such a list.
    """
    seen: set[str] = set()

    def takes_bytes(kind: Any, within: frozenset[str]) -> bool:
        """False if a value of a type may take no bytes at all."""
        kind = named.get(kind, kind) if isinstance(kind, str) else kind
        if isinstance(kind, str):
            return kind != "null"
        if isinstance(kind, list):
            return True  # the number of the branch
        if kind["type"] in {"record", "error"}:
            if kind["name"] in within:
                return False
            return any(takes_bytes(field["type"], within | {kind["name"]}) for field in kind["fields"])
        if kind["type"] == "fixed":
            return bool(kind["size"])
        return kind["type"] != "null"

    def look(kind: Any) -> None:
        kind = named.get(kind, kind) if isinstance(kind, str) else kind
        if isinstance(kind, list):
            for each in kind:
                look(each)
        if not isinstance(kind, dict):
            return
        if kind["type"] in {"record", "error"}:
            if kind["name"] in seen:
                return
            seen.add(kind["name"])
            for field in kind["fields"]:
                look(field["type"])
        elif kind["type"] == "map":
            look(kind["values"])
        elif kind["type"] == "array":
            if not takes_bytes(kind["items"], frozenset()):
                raise UnusableSchema("it has a list whose elements take no bytes")
            look(kind["items"])

    look(schema)
