"""Protobuf records as producers write them: by Confluent's own serializer, which registers their schemas.

Messages are made of descriptors, as a compiler of Protobuf would make them of files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf import descriptor_pool, message_factory, struct_pb2, timestamp_pb2, wrappers_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto

Type = FieldDescriptorProto

KINDS = {
    "string": Type.TYPE_STRING,
    "int32": Type.TYPE_INT32,
    "int64": Type.TYPE_INT64,
    "uint64": Type.TYPE_UINT64,
    "double": Type.TYPE_DOUBLE,
    "bool": Type.TYPE_BOOL,
    "bytes": Type.TYPE_BYTES,
}


class Field(NamedTuple):
    """A field: its type is a scalar of `KINDS`, `enum NAME` or the full name of a message.

    Attributes:
        oneof: name of the choice that the field belongs to.
        optional: True for a field with presence.
    """

    kind: str
    number: int
    repeated: bool = False
    oneof: str = ""
    optional: bool = False


class Files:
    """Files of Protobuf, and the messages in them."""

    def __init__(self) -> None:
        self.pool = descriptor_pool.DescriptorPool()
        for module in (timestamp_pb2, wrappers_pb2, struct_pb2):
            self.pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)

    def add(self, name: str, package: str, messages: Mapping[str, Any], imports: tuple[str, ...] = ()) -> None:
        """Add a file. A message is its fields; a field that is a mapping is a message within it."""
        file = FileDescriptorProto(name=name, package=package, syntax="proto3", dependency=imports)
        for message, fields in messages.items():
            if isinstance(fields, list):
                symbols = file.enum_type.add(name=message)
                for number, symbol in enumerate(fields):
                    symbols.value.add(name=symbol, number=number)
            else:
                _fill(file.message_type.add(name=message), fields)
        self.pool.Add(file)

    def message(self, name: str) -> Any:
        """The class of a message, by its full name."""
        return message_factory.GetMessageClass(self.pool.FindMessageTypeByName(name))


def _fill(message: Any, fields: Mapping[str, Any]) -> None:
    for name, field in fields.items():
        if isinstance(field, Mapping):
            _fill(message.nested_type.add(name=name), field)
            continue
        made = message.field.add(name=name, number=field.number)
        made.label = Type.LABEL_REPEATED if field.repeated else Type.LABEL_OPTIONAL
        if field.kind in KINDS:
            made.type = KINDS[field.kind]
        elif field.kind.startswith("enum "):
            made.type, made.type_name = Type.TYPE_ENUM, "." + field.kind.removeprefix("enum ")
        else:
            made.type, made.type_name = Type.TYPE_MESSAGE, "." + field.kind
        choice = field.oneof or (f"_{name}" if field.optional else "")
        if choice:
            if choice not in (names := [each.name for each in message.oneof_decl]):
                names.append(choice)
                message.oneof_decl.add(name=choice)
            made.oneof_index = names.index(choice)
            made.proto3_optional = field.optional


def serialized(registry_url: str, topic: str, message: Any, **options: Any) -> bytes:
    """A message as Confluent's serializer writes it, which registers its schema."""
    client = SchemaRegistryClient({"url": registry_url})
    serializer = ProtobufSerializer(type(message), client, {"use.deprecated.format": False, **options})
    value = serializer(message, SerializationContext(topic, MessageField.VALUE))
    assert isinstance(value, bytes)
    return value


def shop() -> Files:
    """A shop's files: orders, which import their lines."""
    files = Files()
    files.add(
        "shop/line.proto",
        "shop",
        {
            "Line": {
                "sku": Field("string", 1),
                "count": Field("int32", 2),
                "price": Field("google.protobuf.DoubleValue", 3),
            }
        },
        ("google/protobuf/wrappers.proto",),
    )
    files.add(
        "shop/order.proto",
        "shop",
        {
            "Channel": ["WEB", "APP"],
            "Unused": {"a": Field("string", 1)},
            "Envelope": {
                "Order": {
                    "id": Field("string", 1),
                    "client": Field("int64", 2),
                    "lines": Field("shop.Line", 3, repeated=True),
                    "at": Field("google.protobuf.Timestamp", 4),
                    "channel": Field("enum shop.Channel", 5),
                },
            },
        },
        ("shop/line.proto", "google/protobuf/timestamp.proto"),
    )
    return files
