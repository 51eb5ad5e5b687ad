"""Readers of schemas: from the bytes of a record to its fields, whatever the format.

This file decides how a schema becomes a reader, which schemas can't be used, and what is said of a record that its
schema doesn't fit.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from stream.ingest.schemas.avro import NO_SCHEMAS, AvroReader, OwnSchemas, Reader
from stream.ingest.schemas.fetched import AVRO, FORMATS, JSON, PROTOBUF, FetchedSchema, UnusableSchema
from stream.ingest.schemas.json_schema import json_reader
from stream.ingest.schemas.protobuf import protobuf_reader
from stream.values import InvalidEvent

LIBRARIES = {AVRO: ("fastavro", "avro"), PROTOBUF: ("google.protobuf", "protobuf")}
"""Module and extra of each format that needs one."""


def missing_library(format_name: str) -> str | None:
    """The command that installs the library of a format; None if it is there, or none is needed.

    Args:
        format_name: as a registry names it.
    """
    if format_name not in LIBRARIES:
        return None
    module, extra = LIBRARIES[format_name]
    return None if _is_there(module) else f"pip install 'corrente[{extra}]'"


def _is_there(module: str) -> bool:
    """True if a module can be imported."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the package that it would be in
        return False


def make_reader(schema: FetchedSchema, own: OwnSchemas = NO_SCHEMAS) -> Reader:
    """The reader of a schema.

    Args:
        schema: by which the records were written.
        own: the Avro schemas by which they are read, if one of them has the name of `schema`.

    Raises:
        UnusableSchema: there is none.
        ImportError: a library is missing.
    """
    if schema.format == AVRO:
        return _GuardedAvro(AvroReader(schema, own))
    if schema.format == PROTOBUF:
        return _Guarded(protobuf_reader(schema))
    if schema.format == JSON:
        return json_reader(schema)
    raise UnusableSchema(f"its format is {schema.format}, and {', '.join(FORMATS.values())} are read")


class _Guarded:
    """A reader that says of every record that it can't read that its schema doesn't fit."""

    def __init__(self, read: Reader) -> None:
        self._read = read

    def __call__(self, value: bytes, start: int) -> dict[str, Any]:
        try:
            return self._read(value, start)
        except (MemoryError, OSError):
            raise
        except Exception as error:  # libraries raise whatever they come across in bytes that don't fit
            why = str(error) if isinstance(error, InvalidEvent) else f"{type(error).__name__}: {error}".rstrip(": ")
            raise InvalidEvent(why[:300]) from None


class _GuardedAvro(_Guarded):
    def __init__(self, read: AvroReader) -> None:
        super().__init__(read)
        self.read_all = read.read_all
