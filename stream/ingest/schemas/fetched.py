"""Schemas as a registry gives them: a text, its format, and the schemas that it refers to.

This file decides these parts, and which formats there are.
"""

from __future__ import annotations

from typing import NamedTuple

AVRO, JSON, PROTOBUF = "AVRO", "JSON", "PROTOBUF"
"""Formats, as a registry names them."""

FORMATS: dict[str, str] = {"avro": AVRO, "json": JSON, "protobuf": PROTOBUF}
"""Names of formats in settings to those of a registry."""


class UnusableSchema(ValueError):
    """A schema of which no reader can be made. The text says why."""


class Reference(NamedTuple):
    """A schema that another one refers to.

    Attributes:
        name: by which it is referred to: a full name (Avro), an address (JSON Schema), or the path of an import
            (Protobuf).
        text: of the schema.
    """

    name: str
    text: str


class FetchedSchema(NamedTuple):
    """A schema, with everything that it refers to.

    Attributes:
        format: as the registry names it; those of `FORMATS` are read.
        text: of the schema: JSON, or the base64 of a `FileDescriptorProto` for Protobuf.
        references: each once, before those that refer to it.
    """

    format: str
    text: str
    references: tuple[Reference, ...] = ()
