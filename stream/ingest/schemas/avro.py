r"""Avro: a reader of records of one schema, whose values are those that JSON would have.

Records, maps, arrays, enumerations and unions become objects, lists and texts; a union's value stands there by itself.
Bytes become text with a character for each byte, as in Avro's own JSON encoding. Times stay the numbers that they are
(milliseconds, microseconds or nanoseconds since the epoch), a date becomes text such as `2026-01-31`, a UUID is text,
and a decimal is a number: whole if its scale is 0. Types are described in the Avro specification
(https://avro.apache.org/docs/1.12.0/specification/).

A record is read by the schema that it was written with, and a field that this schema doesn't have is missing, as in
JSON. If one of the reader's own schemas (`OwnSchemas`) has its name, that one decides which fields there are: those
that the record lacks take their defaults, those with aliases are found by their old names, and others are passed over.

This file decides which plain values the types of Avro become, which schemas are refused, and by which schema a record
is read.

>>> text = '{"type": "record", "name": "Cart", "fields": [{"name": "n", "type": "int"}]}'
>>> AvroReader(FetchedSchema("AVRO", text))(b"\0\0\0\0\7\x2a", 5)
{'n': 21}
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from itertools import accumulate
from typing import Any, Protocol, runtime_checkable

from stream.ingest.schemas.fetched import FetchedSchema, UnusableSchema
from stream.ingest.schemas.wire import guid_text
from stream.values import InvalidEvent

Reader = Callable[[bytes, int], dict[str, Any]]
"""A function from a record and the place of its payload to the record's fields."""


@runtime_checkable
class BatchReader(Protocol):
    """A reader that reads many records in less time than one by one."""

    def read_all(self, payloads: Sequence[bytes]) -> list[dict[str, Any]]:
        """The fields of records without their beginnings. Raises an error if one of them doesn't fit."""


EPOCH_DAY = dt.date(1970, 1, 1).toordinal()

_OURS = "corrente-"
"""Beginning of the names of logical types that are read by the functions of this file. No schema has such names."""


class OwnSchemas:
    """Avro schemas of one's own, by which records are read whose schema has the name of one of them.

    >>> own = OwnSchemas()
    >>> own.add('{"type": "record", "name": "shop.Cart", "fields": [{"name": "n", "type": "int", "default": 1}]}')
    >>> own.of("shop.Cart")["fields"][0]["default"], own.of("shop.Order")
    (1, None)
    """

    def __init__(self) -> None:
        self._by_name: dict[str, Any] = {}

    def add(self, text: str) -> None:
        """Add a schema, given as JSON.

        Raises:
            UnusableSchema: it is no Avro schema of a record, or its name is there already.
        """
        named: dict[str, Any] = {}
        parsed = _parse(FetchedSchema("AVRO", text), named, own=True)
        if parsed["type"] != "record":
            raise UnusableSchema("it has no name, and a schema of one's own is found by that")
        for record in [each for each in named.values() if each["type"] == "record"]:
            for field in record["fields"]:
                if "default" in field:
                    field["default"] = _plain_default(field["type"], field["default"], named)
        name: str = parsed["name"]
        aliases: list[str] = parsed.get("aliases", [])
        space = name.rpartition(".")[0]
        for each in (name, *(alias if "." in alias or not space else f"{space}.{alias}" for alias in aliases)):
            if each in self._by_name:
                raise UnusableSchema(f"another file has a schema of the name {each}")
            self._by_name[each] = parsed

    def of(self, name: str) -> Any | None:
        """The parsed schema of this full name, or None."""
        return self._by_name.get(name)


NO_SCHEMAS = OwnSchemas()


class AvroReader:
    """A reader of an Avro schema.

    Args:
        schema: by which the records were written.
        own: the reader's own schemas.

    Raises:
        UnusableSchema: it is no Avro schema, or its records aren't events.
        ImportError: fastavro is not installed.
    """

    def __init__(self, schema: FetchedSchema, own: OwnSchemas = NO_SCHEMAS) -> None:
        import fastavro

        self._read = fastavro.schemaless_reader
        self._written = _parse(schema, {})
        self._mine = own.of(self._written["name"]) if self._written["type"] == "record" else None

    def __call__(self, value: bytes, start: int) -> dict[str, Any]:
        """The fields of a record. Raises `InvalidEvent`, or what fastavro does, if the record doesn't fit."""
        stream = BytesIO(value)
        stream.seek(start)
        record: Any = self._read(stream, self._written, self._mine)
        if (end := stream.tell()) != len(value):
            raise InvalidEvent(f"{len(value) - end} bytes are left behind its last field")
        return record

    def read_all(self, payloads: Sequence[bytes]) -> list[dict[str, Any]]:
        """The fields of many records, which takes less time than a call for each.

        Args:
            payloads: the records without their beginnings.

        Raises:
            Exception: one of them doesn't fit; which one has to be looked for.
        """
        stream = BytesIO(b"".join(payloads))
        read, tell, written, mine = self._read, stream.tell, self._written, self._mine
        records: list[dict[str, Any]] = []
        for end in accumulate(map(len, payloads)):
            records.append(read(stream, written, mine))
            if tell() != end:  # it took bytes of the next one, or left some
                raise InvalidEvent("a record doesn't end where its schema says")
        return records


def _parse(schema: FetchedSchema, named: dict[str, Any], *, own: bool = False) -> Any:
    """A schema as fastavro parses it; the types that it defines are added to `named`.

    Raises:
        UnusableSchema: it is no Avro schema, or its records aren't events.
    """
    import fastavro
    from fastavro.schema import SchemaParseException, UnknownType

    _add_logical_types()
    try:
        for reference in schema.references:
            fastavro.parse_schema(_plainly(json.loads(reference.text), own=own), named)
        plain = _plainly(json.loads(schema.text), own=own)
        parsed = fastavro.parse_schema(plain, named)
    except UnknownType as error:
        raise UnusableSchema(f"it names the type {error.name}, which neither it nor its references define") from None
    except (SchemaParseException, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UnusableSchema(f"it is no Avro schema: {error}") from None
    if isinstance(parsed, str) or not isinstance(parsed, dict) or parsed.get("type") not in {"record", "map"}:
        kind = parsed.get("type") if isinstance(parsed, dict) else parsed if isinstance(parsed, str) else "union"
        raise UnusableSchema(f"its records are of the type {kind}, and an event is a record with fields")
    _check_sizes(parsed, named)
    return parsed


def _plain_default(kind: Any, default: Any, named: Mapping[str, Any]) -> Any:
    """The default of a field as the value that a record would have; of a union, it is one of the first type."""
    kind = named.get(kind, kind) if isinstance(kind, str) else kind
    if isinstance(kind, list):
        return _plain_default(kind[0], default, named)
    if not isinstance(kind, dict):
        return default
    if kind["type"] == "record":
        values = {each["name"]: default.get(each["name"], each.get("default")) for each in kind["fields"]}
        return {each["name"]: _plain_default(each["type"], values[each["name"]], named) for each in kind["fields"]}
    if kind["type"] == "array":
        return [_plain_default(kind["items"], each, named) for each in default]
    if kind["type"] == "map":
        return {key: _plain_default(kind["values"], each, named) for key, each in default.items()}
    if kind.get("logicalType") == f"{_OURS}decimal":
        return _decimal(default.encode("latin-1"), kind)
    if kind.get("logicalType") == f"{_OURS}uuid":
        return _uuid(default.encode("latin-1"))
    return _date(default) if kind.get("logicalType") == f"{_OURS}date" else default


def _plainly(schema: Any, *, own: bool = False) -> Any:
    """A schema whose logical types are left out, or are ours if their values are other than the underlying ones.

    Defaults and aliases are left out of schemas by which records were written: writers may have wrong ones.
    """
    if isinstance(schema, list):
        return [_plainly(each, own=own) for each in schema]
    if schema == "bytes":
        return {"type": "bytes", "logicalType": f"{_OURS}bytes"}
    if not isinstance(schema, dict):
        return schema
    dropped = {"logicalType", "doc"} if own else {"logicalType", "default", "aliases", "doc"}
    plain = {name: value for name, value in schema.items() if name not in dropped}
    kind, logical = schema.get("type"), schema.get("logicalType")
    if kind in {"record", "error"}:
        kept = ("name", "default", "aliases") if own else ("name",)
        plain["fields"] = [
            {name: field[name] for name in kept if name == "name" or name in field}
            | {"type": _plainly(field["type"], own=own)}
            for field in schema["fields"]
        ]
    elif kind == "array":
        plain["items"] = _plainly(schema["items"], own=own)
    elif kind == "map":
        plain["values"] = _plainly(schema["values"], own=own)
    elif kind in {"bytes", "fixed"}:
        given = logical == "decimal" and isinstance(schema.get("scale", 0), int)
        of_uuid = kind == "fixed" and logical == "uuid" and schema.get("size") == 16
        plain["logicalType"] = _OURS + ("decimal" if given else "uuid" if of_uuid else "bytes")
    elif kind == "int" and logical == "date":
        plain["logicalType"] = f"{_OURS}date"
    elif isinstance(kind, dict | list):  # a type within a type, as some generators write it
        return _plainly(kind, own=own)
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
