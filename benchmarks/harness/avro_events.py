"""The events of benchmarks in Avro and Confluent's wire format, with the registry that holds their schemas.

This file decides the schemas. Their fields are those of the JSON events, so that both say the same.
"""

from __future__ import annotations

import io
import json
from typing import Any, Self

from benchmarks.harness.events import LoadEvent
from benchmarks.harness.schema_registry import SchemaRegistry

_FIELDS = [
    {"name": "item", "type": "string"},
    {"name": "user", "type": ["null", "string"]},
    {"name": "timestamp", "type": "double"},
    {"name": "event_id", "type": "string"},
]
_MORE: dict[str, list[dict[str, Any]]] = {
    "clicks": [],
    "purchases": [
        {"name": "quantity", "type": "int"},
        {"name": "price", "type": "double"},
        {"name": "currency", "type": "string"},
    ],
    "feedback": [{"name": "kind", "type": "string"}],
}


class AvroEvents:
    """Schemas in a registry that runs within `with`, and events that are written with them."""

    def __init__(self) -> None:
        self.registry = SchemaRegistry()
        self._schemas: dict[str, tuple[bytes, Any]] = {}

    def __enter__(self) -> Self:
        self.registry.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.registry.stop()

    def of(self, event: LoadEvent) -> LoadEvent:
        """An event with its value in Avro."""
        import fastavro

        if event.topic not in self._schemas:
            schema = {"type": "record", "name": event.topic, "fields": _FIELDS + _MORE[event.topic]}
            number = self.registry.register(json.dumps(schema), subject=f"{event.topic}-value")
            self._schemas[event.topic] = b"\0" + number.to_bytes(4, "big"), fastavro.parse_schema(schema)
        reference, parsed = self._schemas[event.topic]
        output = io.BytesIO()
        output.write(reference)
        fastavro.schemaless_writer(output, parsed, json.loads(event.value))
        return event._replace(value=output.getvalue())
