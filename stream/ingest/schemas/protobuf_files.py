"""Files of Protobuf: the descriptors of a schema and of everything that it imports, in one pool.

A registry gives a file as a `FileDescriptorProto` in base64. Its references are the files that it imports, by the path
of the import. Files of Protobuf itself (`google/protobuf/`, `google/type/`) and those of Kafka Connect's converter
(`confluent/`) are part of every compiler, so no registry has them: the libraries do, and the latter are defined here.

This file decides which imports are known, and what is said of a file that can't be used.
"""

from __future__ import annotations

import base64
import importlib
import re
from typing import Any

from stream.ingest.schemas.fetched import FetchedSchema, UnusableSchema

ROOT = "corrente-schema.proto"
"""Name of the file with the schema itself. No import has it."""

_OF_LIBRARIES = re.compile(r"google/(?:protobuf|type)/[a-z_]+\.proto")


def decode_file(text: str) -> Any:
    """The `FileDescriptorProto` that a registry gives.

    Raises:
        UnusableSchema: it is none.
        ImportError: protobuf is not installed.
    """
    from google.protobuf.descriptor_pb2 import FileDescriptorProto
    from google.protobuf.message import DecodeError

    try:
        return FileDescriptorProto.FromString(base64.b64decode(text, validate=True))
    except (ValueError, DecodeError) as error:  # binascii.Error is a ValueError
        raise UnusableSchema(f"it is no file of Protobuf in base64: {error}") from None


def pool_of(schema: FetchedSchema) -> tuple[Any, Any]:
    """The pool with a schema and everything that it imports, and the schema's `FileDescriptorProto`.

    Raises:
        UnusableSchema: a file is broken, or imports another one that isn't there.
    """
    from google.protobuf.descriptor_pool import DescriptorPool

    pool = DescriptorPool()
    files = {reference.name: decode_file(reference.text) for reference in schema.references}
    root = decode_file(schema.text)
    added: set[str] = set()

    def add(name: str, file: Any) -> None:
        added.add(name)  # before its imports, so that a circle ends
        for imported in file.dependency:
            if imported not in added:
                known = files.get(imported) or _known_file(imported)
                if known is None:
                    raise UnusableSchema(f"it imports {imported!r}, and its references have no such file")
                add(imported, known)
        file.name = name
        try:
            pool.Add(file)
        except TypeError as error:  # of both implementations of the library
            raise UnusableSchema(f"it is no usable file of Protobuf: {error}"[:500]) from None

    add(ROOT, root)
    return pool, root


def _known_file(name: str) -> Any | None:
    """The `FileDescriptorProto` of a file that no registry has; None if this name is not one."""
    from google.protobuf.descriptor_pb2 import FileDescriptorProto

    if name == "confluent/meta.proto":  # it defines options of fields, which say nothing about records
        return FileDescriptorProto(package="confluent")
    if name in {"confluent/type/decimal.proto", "confluent/types/decimal.proto"}:
        return _decimal_file(name)
    if _OF_LIBRARIES.fullmatch(name) is None:
        return None
    try:
        module = importlib.import_module(name.removesuffix(".proto").replace("/", ".") + "_pb2")
    except ModuleNotFoundError:
        return None
    return FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb)


def _decimal_file(name: str) -> Any:
    """The file with the decimals of Kafka Connect's converter."""
    from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
    from google.protobuf.descriptor_pb2 import FileDescriptorProto

    file = FileDescriptorProto(package=name.rpartition("/")[0].replace("/", "."), syntax="proto3")
    decimal = file.message_type.add(name="Decimal")
    for number, (field, kind) in enumerate(
        (("value", Field.TYPE_BYTES), ("precision", Field.TYPE_UINT32), ("scale", Field.TYPE_INT32)), 1
    ):
        decimal.field.add(name=field, number=number, type=kind, label=Field.LABEL_OPTIONAL)
    return file
