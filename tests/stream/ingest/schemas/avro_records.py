"""Avro records as producers write them: by Apache's own library, behind the id of a schema."""

from __future__ import annotations

import io
import json
from typing import Any

import avro.io
import avro.schema

CLICK = {
    "type": "record",
    "name": "Click",
    "namespace": "shop",
    "fields": [
        {"name": "item", "type": "string"},
        {"name": "user", "type": ["null", "string"], "default": None},
        {"name": "timestamp", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}], "default": None},
    ],
}


def encoded(schema: Any, record: Any) -> bytes:
    """A record without anything before it."""
    output = io.BytesIO()
    parsed = avro.schema.parse(json.dumps(schema))
    avro.io.DatumWriter(parsed).write(record, avro.io.BinaryEncoder(output))
    return output.getvalue()


def framed(number: int, payload: bytes) -> bytes:
    """A payload in Confluent's wire format."""
    return b"\0" + number.to_bytes(4, "big") + payload
