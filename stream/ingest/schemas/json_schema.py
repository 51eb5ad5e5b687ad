"""JSON with a schema: a reader of records that are JSON, and fit their schema.

Each record is validated: a serializer need not have done it (that of Java does it on request alone), and it costs less
than to decode the record. All drafts of JSON Schema are known (https://json-schema.org/specification); a schema that
names none is taken for draft 7, which Confluent's serializers write. `format` says nothing, as in the newer drafts.

Nothing is fetched: the schemas to which one refers are among its references, by the address that it uses.

This file decides which records fit their schema, what is said of the others, and which schemas can't be used.
"""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import msgspec

from stream.events import MAX_NESTING, check_nesting
from stream.ingest.schemas.avro import Reader
from stream.ingest.schemas.fetched import FetchedSchema, UnusableSchema
from stream.values import InvalidEvent

DRAFT_7 = "http://json-schema.org/draft-07/schema#"

_decode = msgspec.json.Decoder(dict[str, Any]).decode


def json_reader(schema: FetchedSchema) -> Reader:
    """A reader of records with a JSON Schema.

    Raises:
        UnusableSchema: it is none, or refers to a schema that isn't among its references.
    """
    validator = _validator(schema)
    fits = validator.is_valid

    def read_record(value: bytes, start: int) -> dict[str, Any]:
        payload = value[start:]
        if len(payload) > 2 * MAX_NESTING:
            check_nesting(payload)
        try:
            fields = _decode(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise InvalidEvent(f"{error}") from None
        if not fits(fields):
            raise InvalidEvent(_first_violation(validator, fields))
        return fields

    return read_record


def _validator(schema: FetchedSchema) -> Any:
    """The validator of a schema."""
    try:
        whole = json.loads(schema.text)
        given = {reference.name: json.loads(reference.text) for reference in schema.references}
    except ValueError as error:
        raise UnusableSchema(f"it is no JSON Schema: {error}") from None
    if not isinstance(whole, dict | bool):
        raise UnusableSchema("it is no JSON Schema: neither an object nor true or false")
    if isinstance(whole, dict) and "$schema" not in whole:
        whole = {"$schema": DRAFT_7, **whole}
    own = str(whole.get("$id", "")) if isinstance(whole, dict) else ""
    known: dict[str, Any] = {}
    for name, text in given.items():
        known[name] = known[_beside(own, name)] = text
        if isinstance(text, dict) and "$id" in text:
            known[_beside(own, str(text["$id"]))] = text

    def find(address: str) -> Any:
        """A schema that is referred to; nothing is fetched."""
        bare = address.partition("#")[0]
        for name in (bare, bare.removeprefix("json-schema:///")):
            if name in known:
                return known[name]
        raise LookupError(f"it refers to {address!r}, and its references have no such schema")

    try:
        return jsonschema_rs.validator_for(whole, retriever=find, validate_formats=False)
    except Exception as error:  # the library raises several kinds, and those of `find`
        raise UnusableSchema(f"it is no usable JSON Schema: {_line(error)}") from None


def _first_violation(validator: Any, fields: dict[str, Any]) -> str:
    """The path and the reason of the first thing that doesn't fit."""
    error = next(iter(validator.iter_errors(fields)))
    path = ""
    for step in error.instance_path:
        path += f"[{step}]" if isinstance(step, int) else f"{'.' * bool(path)}{step}"
    return f"{path or 'the record'}: {_line(error.message)}"[:300]


def _beside(own: str, name: str) -> str:
    """The address of a schema that one with the address `own` calls `name`.

    >>> _beside("https://shop.example/a/order.json", "line.json"), _beside("", "line.json")
    ('https://shop.example/a/line.json', 'line.json')
    """
    folder = own.rpartition("/")[0]
    return name if "://" in name or not folder else f"{folder}/{name}"


def _line(error: object) -> str:
    """The text of an error in one line."""
    return " ".join(str(error).split())[:250]
