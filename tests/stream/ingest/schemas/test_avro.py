"""Avro records that another library wrote, read as the plain values that JSON would have."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.ingest.schemas.avro import AvroReader, OwnSchemas
from stream.ingest.schemas.fetched import FetchedSchema, Reference, UnusableSchema
from stream.ingest.schemas.readers import make_reader
from stream.values import InvalidEvent
from tests.stream.ingest.schemas.avro_records import encoded

NOON = dt.datetime(2026, 1, 31, 12, 0, 0, 250_000, tzinfo=dt.UTC)


def record_of(*fields: Any) -> dict[str, Any]:
    return {"type": "record", "name": "R", "fields": [{"name": f"f{n}", "type": each} for n, each in enumerate(fields)]}


def read(schema: Any, payload: bytes, *references: Reference) -> dict[str, Any]:
    return make_reader(FetchedSchema("AVRO", json.dumps(schema), references))(b"12345" + payload, 5)


def through(kind: Any, value: Any) -> Any:
    """A value that Apache's library wrote, as it is read here."""
    schema = record_of(kind)
    return read(schema, encoded(schema, {"f0": value}))["f0"]


@pytest.mark.parametrize(
    ("kind", "written", "expected"),
    [
        ("string", "Tée 🫖", "Tée 🫖"),
        ("long", -(2**62), -(2**62)),
        ("boolean", True, True),
        ("double", 12.5, 12.5),
        ("null", None, None),
        (["null", "string"], None, None),
        (["null", "string"], "a", "a"),
        (["int", "string"], 7, 7),
        ({"type": "enum", "name": "E", "symbols": ["VIEW", "CART"]}, "CART", "CART"),
        ({"type": "array", "items": "int"}, [1, 2], [1, 2]),
        ({"type": "map", "values": "string"}, {"k": "v"}, {"k": "v"}),
        ({"type": "string", "avro.java.string": "String"}, "a", "a"),
        ("bytes", b"ab\xff", "ab\xff"),
        ({"type": "fixed", "name": "F", "size": 2}, b"ab", "ab"),
        ({"type": "long", "logicalType": "timestamp-millis"}, NOON, 1_769_860_800_250),
        ({"type": "long", "logicalType": "timestamp-micros"}, NOON, 1_769_860_800_250_000),
        ({"type": "int", "logicalType": "date"}, dt.date(2026, 1, 31), "2026-01-31"),
        ({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}, Decimal("-12.50"), -12.5),
        ({"type": "bytes", "logicalType": "decimal", "precision": 9}, Decimal(42), 42),
        (
            {"type": "string", "logicalType": "uuid"},
            "7d444840-9dc0-11d1-b245-5ffdce74fad2",
            "7d444840-9dc0-11d1-b245-5ffdce74fad2",
        ),
    ],
)
def test_values_are_those_of_json(kind: Any, written: Any, expected: Any) -> None:
    found = through(kind, written)
    assert (found, type(found)) == (expected, type(expected))


def test_a_decimal_and_a_uuid_may_be_fixed() -> None:
    amount = {"type": "fixed", "name": "D", "size": 4, "logicalType": "decimal", "precision": 9, "scale": 3}
    key = {"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"}
    identifier = uuid.UUID("7d444840-9dc0-11d1-b245-5ffdce74fad2")
    found = read(record_of(amount, key), (12_500).to_bytes(4, "big") + identifier.bytes)
    assert found == {"f0": 12.5, "f1": str(identifier)}


def test_records_in_records_keep_their_form() -> None:
    line = {"type": "record", "name": "Line", "fields": [{"name": "sku", "type": "string"}]}
    schema = record_of({"type": "array", "items": line}, ["null", "Line"])
    value = {"f0": [{"sku": "a"}, {"sku": "b"}], "f1": {"sku": "c"}}
    assert read(schema, encoded(schema, value)) == value


def test_types_of_referenced_schemas_are_found() -> None:
    line = {"type": "record", "name": "Line", "namespace": "shop", "fields": [{"name": "sku", "type": "string"}]}
    cart = {
        "type": "record",
        "name": "C",
        "fields": [{"name": "lines", "type": {"type": "array", "items": "shop.Line"}}],
    }
    inline = {"type": "record", "name": "C", "fields": [{"name": "lines", "type": {"type": "array", "items": line}}]}
    value = {"lines": [{"sku": "a"}]}
    assert read(cart, encoded(inline, value), Reference("shop.Line", json.dumps(line))) == value
    with pytest.raises(UnusableSchema, match=r"names the type shop\.Line"):
        make_reader(FetchedSchema("AVRO", json.dumps(cart)))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "no Avro schema"),
        ('"string"', "of the type string"),
        ('["null", "int"]', "of the type union"),
        ('{"type": "record", "name": "R"}', "no Avro schema"),
        (json.dumps(record_of({"type": "array", "items": "null"})), "elements take no bytes"),
        (
            json.dumps(record_of({"type": "array", "items": record_of("null") | {"name": "S"}})),
            "elements take no bytes",
        ),
    ],
)
def test_a_schema_that_no_event_can_have_is_refused(text: str, reason: str) -> None:
    with pytest.raises(UnusableSchema, match=reason):
        make_reader(FetchedSchema("AVRO", text))


@given(st.binary(max_size=60), st.integers(0, 40))
def test_damaged_records_are_refused_or_read_and_nothing_else(noise: bytes, cut: int) -> None:
    schema = record_of(
        "string", ["null", "long"], {"type": "array", "items": "string"}, {"type": "map", "values": "bytes"}
    )
    whole = encoded(schema, {"f0": "item", "f1": 7, "f2": ["a", "b"], "f3": {"k": b"v"}})
    for payload in (noise, whole[:cut] + noise):
        try:
            fields = read(schema, payload)
        except InvalidEvent:
            continue
        assert set(fields) == {"f0", "f1", "f2", "f3"}


def test_bytes_behind_the_last_field_show_that_the_schema_is_another() -> None:
    with pytest.raises(InvalidEvent, match="1 bytes are left"):
        read(record_of("int"), b"\x02\x02")


CART = {
    "type": "record",
    "name": "Cart",
    "namespace": "shop",
    "aliases": ["Basket"],
    "fields": [
        {"name": "sku", "type": "string", "aliases": ["article"]},
        {"name": "count", "type": "int", "default": 1},
        {
            "name": "price",
            "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
            "default": "\u0004\u00e2",
        },
        {"name": "day", "type": [{"type": "int", "logicalType": "date"}, "null"], "default": 20_484},
        {
            "name": "from",
            "type": {
                "type": "record",
                "name": "Origin",
                "fields": [
                    {"name": "page", "type": "string"},
                    {"name": "tags", "type": {"type": "array", "items": "string"}, "default": []},
                ],
            },
            "default": {"page": "home"},
        },
    ],
}


def own_schemas(*schemas: Any) -> OwnSchemas:
    own = OwnSchemas()
    for schema in schemas:
        own.add(json.dumps(schema))
    return own


@pytest.mark.parametrize("name", ["shop.Cart", "shop.Basket"])
def test_fields_that_a_record_lacks_take_the_defaults_of_a_schema_of_our_own(name: str) -> None:
    written = {
        "type": "record",
        "name": name,
        "fields": [{"name": "article", "type": "string"}, {"name": "colour", "type": "string", "default": 7}],
    }
    value = encoded(
        written | {"fields": [{"name": n, "type": "string"} for n in ("article", "colour")]},
        {"article": "tea", "colour": "red"},
    )
    read = make_reader(FetchedSchema("AVRO", json.dumps(written)), own_schemas(CART))
    expected = {"sku": "tea", "count": 1, "price": 12.5, "day": "2026-01-31", "from": {"page": "home", "tags": []}}
    assert read(value, 0) == expected
    other = make_reader(FetchedSchema("AVRO", json.dumps(written | {"name": "shop.Other"})), own_schemas(CART))
    assert other(value, 0) == {"article": "tea", "colour": "red"}


def test_a_record_that_has_all_fields_is_read_as_it_was_written() -> None:
    without_aliases = json.loads(json.dumps(CART).replace(', "aliases": ["article"]', ""))
    whole = {
        "sku": "tea",
        "count": 3,
        "price": Decimal("0.99"),
        "day": None,
        "from": {"page": "list", "tags": ["a"]},
    }
    read = make_reader(FetchedSchema("AVRO", json.dumps(CART)), own_schemas(CART))
    assert read(encoded(without_aliases, whole), 0) == whole | {"price": 0.99}


def test_a_field_without_default_that_a_record_lacks_makes_the_record_a_letter() -> None:
    written = {"type": "record", "name": "shop.Cart", "fields": [{"name": "count", "type": "int"}]}
    read = make_reader(FetchedSchema("AVRO", json.dumps(written)), own_schemas(CART))
    with pytest.raises(InvalidEvent, match="No default value for field"):
        read(b"\x02", 0)


def test_schemas_of_our_own_have_names_and_each_its_own() -> None:
    with pytest.raises(UnusableSchema, match="has no name"):
        own_schemas({"type": "map", "values": "int"})
    with pytest.raises(UnusableSchema, match=r"another file has a schema of the name shop\.Basket"):
        own_schemas(CART, {"type": "record", "name": "shop.Basket", "fields": []})


LINE = {"type": "record", "name": "Line", "fields": [{"name": "sku", "type": "string"}]}
ORDER = record_of("string", ["null", "long"], {"type": "array", "items": LINE}, ["null", "Line"])


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "f0": st.text(max_size=3),
                "f1": st.none() | st.integers(-(2**63), 2**63 - 1),
                "f2": st.lists(st.fixed_dictionaries({"sku": st.text(max_size=2)}), max_size=3),
                "f3": st.none() | st.just({"sku": "a"}),
            }
        ),
        max_size=5,
    )
)
def test_many_records_are_read_as_one_by_one(records: list[dict[str, Any]]) -> None:
    reader = AvroReader(FetchedSchema("AVRO", json.dumps(ORDER)))
    assert reader.read_all([encoded(ORDER, each) for each in records]) == records


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data + b"\0", lambda data: data[:1], bytes])
def test_many_records_of_which_one_does_not_end_where_its_schema_says_are_not_read(place: int, damage: Any) -> None:
    reader = AvroReader(FetchedSchema("AVRO", json.dumps(record_of("string", "string"))))
    payloads = [encoded(record_of("string", "string"), {"f0": "tea", "f1": "jug"})] * 3
    payloads[place] = damage(payloads[place]) if damage is not bytes else b""
    with pytest.raises((InvalidEvent, EOFError)):
        reader.read_all(payloads)
