"""Readers of schemas: from the bytes of a record to its fields, whatever the format.

JSON records with a schema are read as JSON. They are not validated against it: their producer's serializer has done
that, and the rules of events decide here as for every other record.

This file decides how a schema becomes a reader, which schemas can't be used, and what is said of a record that its
schema doesn't fit.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import msgspec

from stream.events import MAX_NESTING, check_nesting
from stream.ingest.schemas.avro import Reader, avro_reader
from stream.ingest.schemas.fetched import AVRO, FORMATS, JSON, FetchedSchema, UnusableSchema
from stream.values import InvalidEvent

LIBRARIES = {AVRO: ("fastavro", "avro")}
"""Module and extra of each format that needs one."""


def missing_library(format_name: str) -> str | None:
    """The command that installs the library of a format; None if it is there, or none is needed.

    Args:
        format_name: as a registry names it.
    """
    if format_name not in LIBRARIES:
        return None
    module, extra = LIBRARIES[format_name]
    return None if find_spec(module) is not None else f"pip install 'corrente[{extra}]'"


def make_reader(schema: FetchedSchema) -> Reader:
    """The reader of a schema.

    Raises:
        UnusableSchema: there is none.
        ImportError: a library is missing.
    """
    if schema.format == AVRO:
        return _guarded(avro_reader(schema))
    if schema.format == JSON:
        return _read_json
    raise UnusableSchema(f"its format is {schema.format}, and {', '.join(FORMATS.values())} are read")


def _guarded(read: Reader) -> Reader:
    """A reader that says of every record that it can't read that its schema doesn't fit."""

    def guarded(value: bytes, start: int) -> dict[str, Any]:
        try:
            return read(value, start)
        except (MemoryError, OSError):
            raise
        except Exception as error:  # libraries raise whatever they come across in bytes that don't fit
            why = str(error) if isinstance(error, InvalidEvent) else f"{type(error).__name__}: {error}".rstrip(": ")
            raise InvalidEvent(why[:300]) from None

    return guarded


_decode_json = msgspec.json.Decoder(dict[str, Any]).decode


def _read_json(value: bytes, start: int) -> dict[str, Any]:
    payload = value[start:]
    if len(payload) > 2 * MAX_NESTING:
        check_nesting(payload)
    try:
        return _decode_json(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidEvent(f"{error}") from None
