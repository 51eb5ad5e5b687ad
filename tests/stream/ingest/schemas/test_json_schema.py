"""Records in JSON with a schema fit it, or are refused with the path and the reason."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stream.ingest.schemas.fetched import FetchedSchema, Reference, UnusableSchema
from stream.ingest.schemas.readers import make_reader
from stream.values import InvalidEvent

LINE = {"type": "object", "properties": {"sku": {"type": "string", "minLength": 1}}, "required": ["sku"]}
ORDER = {
    "$id": "https://shop.example/order.json",
    "type": "object",
    "properties": {
        "user": {"oneOf": [{"type": "null"}, {"type": "string"}]},
        "lines": {"type": "array", "items": {"$ref": "line.json"}},
        "mail": {"type": "string", "format": "email"},
    },
    "additionalProperties": False,
}


def read(record: Any, schema: Any = ORDER, **references: Any) -> dict[str, Any]:
    given = tuple(Reference(f"{name}.json", json.dumps(each)) for name, each in references.items())
    payload = record if isinstance(record, bytes) else json.dumps(record).encode()
    return make_reader(FetchedSchema("JSON", json.dumps(schema), given))(b"12345" + payload, 5)


def test_a_record_that_fits_is_itself() -> None:
    record = {"user": None, "lines": [{"sku": "tea", "note": 1}], "mail": "no address"}
    assert read(record, line=LINE) == record


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"lines": [{"sku": "tea"}, {"sku": ""}]}, r'lines\[1\]\.sku: "" is shorter'),
        ({"lines": [{}]}, r'lines\[0\]: "sku" is a required property'),
        ({"user": 7}, "user: 7 is not valid under any of"),
        ({"colour": "red"}, "the record: Additional properties are not allowed"),
        (b"{", "Input data was truncated"),
        (b'{"user": ' + b"[" * 500 + b"]" * 500 + b"}", "nested"),
    ],
)
def test_a_record_that_violates_its_schema_is_refused_with_path_and_reason(record: Any, reason: str) -> None:
    with pytest.raises(InvalidEvent, match=reason):
        read(record, line=LINE)


def test_references_are_found_by_their_own_address_and_nothing_is_fetched() -> None:
    schema = {"properties": {"a": {"$ref": "https://shop.example/line.json#/properties/sku"}}}
    assert read({"a": "b"}, schema, any=LINE | {"$id": "https://shop.example/line.json"}) == {"a": "b"}
    with pytest.raises(UnusableSchema, match=r"refers to 'https://shop\.example/line\.json.*no such schema"):
        read({"a": "b"}, schema)


def test_a_draft_that_is_named_holds_and_draft_7_if_none_is() -> None:
    tuple_of_two = {"properties": {"a": {"items": [{"type": "string"}, {"type": "integer"}]}}}
    with pytest.raises(InvalidEvent, match=r"a\[1\]"):
        read({"a": ["x", "y"]}, tuple_of_two)
    newer = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "properties": {"a": {"prefixItems": [{"const": 1}]}},
    }
    with pytest.raises(InvalidEvent, match=r"a\[0\]"):
        read({"a": [2]}, newer)


@pytest.mark.parametrize("text", ["{", '"text"', '{"type": "thing"}', '{"pattern": "("}'])
def test_a_text_that_is_no_schema_is_unusable(text: str) -> None:
    with pytest.raises(UnusableSchema, match="JSON Schema"):
        make_reader(FetchedSchema("JSON", text))
