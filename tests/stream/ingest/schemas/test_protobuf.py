"""Protobuf records of Confluent's serializer become the values that JSON would have."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.harness.schema_registry import SchemaRegistry
from stream.ingest.schemas.fetched import FetchedSchema, Reference, UnusableSchema
from stream.ingest.schemas.readers import make_reader
from stream.ingest.schemas.wire import reference_of
from stream.registry.client import RegistryClient
from stream.registry.errors import RegistryUnusable
from stream.registry_settings import RegistrySettings
from stream.values import InvalidEvent
from tests.stream.ingest.schemas.protobuf_records import Field, Files, serialized, shop


@pytest.fixture(scope="module")
def registry() -> Iterator[SchemaRegistry]:
    with SchemaRegistry() as running:
        yield running


def through(registry: SchemaRegistry, message: Any, **options: Any) -> dict[str, Any]:
    """A message, written by Confluent's serializer and read with what the registry says of its schema."""
    value = serialized(registry.url, f"topic-{message.DESCRIPTOR.full_name}", message, **options)
    client = RegistryClient(RegistrySettings(schema_registry=registry.url))
    reference = reference_of(value)
    try:
        return make_reader(client.fetch(reference))(value, len(reference))
    finally:
        client.close()


def text_of(files: Files, name: str) -> str:
    return base64.b64encode(files.pool.FindFileByName(name).serialized_pb).decode()


def test_a_message_within_a_message_with_references_and_well_known_types(registry: SchemaRegistry) -> None:
    files = shop()
    order = files.message("shop.Envelope.Order")(
        id="o1", client=2**60, at={"seconds": 1_769_860_800, "nanos": 250_000_000}
    )
    order.lines.add(sku="tea", count=2, price={"value": 0.0})
    order.lines.add(sku="cup")
    assert through(registry, order) == {
        "id": "o1",
        "client": 2**60,
        "lines": [{"sku": "tea", "count": 2, "price": 0.0}, {"sku": "cup"}],
        "at": 1_769_860_800.25,
        "channel": "WEB",
    }
    assert any("format=serialized" in asked for asked in registry.asked)


def test_fields_that_are_not_set_are_missing_and_set_ones_are_there(registry: SchemaRegistry) -> None:
    files = Files()
    files.add(
        "fields.proto",
        "",
        {
            "Fields": {
                "text": Field("string", 1),
                "number": Field("int32", 2),
                "user": Field("string", 4, oneof="who"),
                "guest": Field("string", 5, oneof="who"),
                "maybe": Field("int32", 3, optional=True),
                "flags": Field("bool", 6, repeated=True),
                "large": Field("uint64", 7),
                "raw": Field("bytes", 8),
                "more": Field("google.protobuf.Struct", 9),
                "self": Field("Fields", 10),
            }
        },
        ("google/protobuf/struct.proto",),
    )
    kind = files.message("Fields")
    assert through(registry, kind()) == {}
    assert through(registry, kind(maybe=0, guest="")) == {"maybe": 0, "guest": ""}
    whole = kind(text="é", number=-1, user="ada", flags=[True, False], large=2**64 - 1, raw=b"\xff\0")
    whole.self.text = "within"
    whole.more.update({"id": 42, "half": 0.5, "list": [None, "a", {"b": True}]})
    assert through(registry, whole) == {
        "text": "é",
        "number": -1,
        "user": "ada",
        "flags": [True, False],
        "large": 2**64 - 1,
        "raw": "/wA=",
        "more": {"id": 42, "half": 0.5, "list": [None, "a", {"b": True}]},
        "self": {"text": "within"},
    }
    plain = through(registry, whole)["more"]
    assert isinstance(plain["id"], int)


def test_types_of_kafka_connect_and_of_google_need_no_reference() -> None:
    files = Files()
    from confluent_kafka.schema_registry.confluent import meta_pb2
    from confluent_kafka.schema_registry.confluent.type import decimal_pb2
    from google.protobuf import descriptor_pb2
    from google.type import date_pb2

    for module in (descriptor_pb2, meta_pb2, decimal_pb2, date_pb2):
        files.pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    imports = ("confluent/meta.proto", "confluent/type/decimal.proto", "google/type/date.proto")
    fields = {"price": Field("confluent.type.Decimal", 1), "day": Field("google.type.Date", 2)}
    files.add("connect.proto", "connect", {"Row": fields}, imports)
    row = files.message("connect.Row")(
        price={"value": b"\x04\xe2", "scale": 2}, day={"year": 2026, "month": 1, "day": 31}
    )
    read = make_reader(FetchedSchema("PROTOBUF", text_of(files, "connect.proto")))
    assert read(b"\0" + row.SerializeToString(), 0) == {"price": 12.5, "day": "2026-01-31"}


def test_maps_have_keys_of_text() -> None:
    files = Files()
    entry = {"key": Field("int32", 1), "value": Field("string", 2)}
    files.add("map.proto", "", {"M": {"NEntry": entry, "n": Field("M.NEntry", 1, repeated=True)}})
    from google.protobuf.descriptor_pb2 import FileDescriptorProto

    file = FileDescriptorProto.FromString(files.pool.FindFileByName("map.proto").serialized_pb)
    file.message_type[0].nested_type[0].options.map_entry = True
    read = make_reader(FetchedSchema("PROTOBUF", base64.b64encode(file.SerializeToString()).decode()))
    two_entries = b"\x0a\x05\x08\x07\x12\x01a" + b"\x0a\x05\x08\x09\x12\x01b"
    assert read(b"\0" + two_entries, 0) == {"n": {"7": "a", "9": "b"}}


@pytest.mark.parametrize(
    ("beginning", "reason"),
    [
        (b"", "ends, or is damaged"),
        (b"\x80", "ends, or is damaged"),
        (b"\x01", "begins with -1 numbers"),
        (b"\xff\xff\xff\xff\x0f", "numbers that name its message"),
        (b"\x02\x08", r"it is the message \[4\] of a schema that has none there"),
        (b"\x04\x02\x02", r"it is the message \[1, 1\]"),
        (b"\x00\x0a\xff", "DecodeError"),
    ],
)
def test_a_record_that_its_schema_does_not_fit_says_why(beginning: bytes, reason: str) -> None:
    files = shop()
    line = Reference("shop/line.proto", text_of(files, "shop/line.proto"))
    read = make_reader(FetchedSchema("PROTOBUF", text_of(files, "shop/order.proto"), (line,)))
    with pytest.raises(InvalidEvent, match=reason):
        read(beginning, 0)


@given(st.binary(max_size=80), st.integers(0, 60))
def test_damaged_records_are_refused_or_read_and_nothing_else(noise: bytes, cut: int) -> None:
    files = shop()
    line = Reference("shop/line.proto", text_of(files, "shop/line.proto"))
    read = make_reader(FetchedSchema("PROTOBUF", text_of(files, "shop/order.proto"), (line,)))
    order = files.message("shop.Envelope.Order")(id="o1", client=7)
    order.lines.add(sku="tea", count=2, price={"value": 1.5})
    whole = b"\x04\x02\x00" + order.SerializeToString()
    for record in (noise, whole[:cut] + noise):
        try:
            assert isinstance(read(record, 0), dict)
        except InvalidEvent:
            continue


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("syntax = 'proto3';", "no file of Protobuf in base64"),
        ("AAAA", "no file of Protobuf in base64"),
        ("", "it has no message"),
        (text_of(shop(), "shop/order.proto"), "imports 'shop/line.proto', and its references have no such file"),
    ],
)
def test_a_schema_that_can_t_be_used_says_why(text: str, reason: str) -> None:
    with pytest.raises(UnusableSchema, match=reason):
        make_reader(FetchedSchema("PROTOBUF", text))


def test_a_registry_that_gives_text_alone_is_unusable_for_protobuf() -> None:
    with SchemaRegistry() as old:
        value = serialized(old.url, "orders", shop().message("shop.Line")(sku="tea"))
        old.serialises = False
        client = RegistryClient(RegistrySettings(schema_registry=old.url))
        with pytest.raises(RegistryUnusable, match=r"gives schemas of Protobuf as text.*format=serialized") as refused:
            client.fetch(reference_of(value))
        client.close()
    assert "let producers write JSON or Avro" in refused.value.mend
