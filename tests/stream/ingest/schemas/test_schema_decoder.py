"""Batches with records in Confluent's wire format become the same events as their twins in JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from stream.ingest.decoding import Decoder
from stream.ingest.mapping.mapped_decoder import MappedDecoder
from stream.ingest.mapping.plan import plan_of
from stream.ingest.records import Record, Rejection
from stream.ingest.schemas.fetched import FetchedSchema
from stream.ingest.schemas.known import KnownSchemas, SchemasMissing
from stream.ingest.schemas.readers import make_reader
from stream.ingest.schemas.schema_decoder import SchemaDecoder, decoder_of
from stream.models.batch import EventBatch
from stream.models.settings import ModelSettings
from tests.stream.ingest.schemas.avro_records import CLICK, encoded, framed

SETTINGS = ModelSettings()
ORDER = {
    "type": "record",
    "name": "Order",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "client", "type": {"type": "record", "name": "Client", "fields": [{"name": "id", "type": "long"}]}},
        {
            "name": "lines",
            "type": {
                "type": "array",
                "items": {
                    "type": "record",
                    "name": "Line",
                    "fields": [
                        {"name": "sku", "type": "string"},
                        {"name": "count", "type": ["null", "int"]},
                        {"name": "note", "type": ["null", "string"]},
                    ],
                },
            },
        },
    ],
}
MAPPING = """
topics:
  purchases:
    fields: {item: "lines[].sku", quantity: "lines[].count", user: client.id, event_id: id}
"""


def known(**schemas: Any) -> KnownSchemas:
    """Schemas by `_id`."""
    found = KnownSchemas(most=100)
    for name, schema in schemas.items():
        reference = framed(int(name[1:]), b"")
        text = schema if isinstance(schema, str) else json.dumps(schema)
        found.note_reader(reference, make_reader(FetchedSchema("JSON" if schema == "{}" else "AVRO", text)))
    return found


def records(topic: str, values: Sequence[bytes | None]) -> list[Record]:
    return [Record(topic, n, 1_770_000_000_000 + n, value) for n, value in enumerate(values)]


def assert_the_same(one: EventBatch, other: EventBatch) -> None:
    for name, column in one._asdict().items():
        assert column.tobytes() == getattr(other, name).tobytes(), name


def clicks(count: int) -> list[dict[str, Any]]:
    return [
        {"item": f"item {n % 7}", "user": f"ada {n}" if n % 3 else None, "timestamp": 1_769_860_800_000 + n}
        for n in range(count)
    ]


def as_avro(click: dict[str, Any]) -> bytes:
    plain = {"type": "record", "name": "Click", "fields": [dict(each) for each in CLICK["fields"]]}
    plain["fields"][2] = {"name": "timestamp", "type": ["null", "long"]}  # the same bytes, for a writer of numbers
    return framed(7, encoded(plain, click))


def test_avro_records_become_the_events_of_their_twins_in_json() -> None:
    good = [each for each in clicks(300) if each["user"]]
    decoder = SchemaDecoder(SETTINGS, known(_7=CLICK), {})
    batch, read, rejections = decoder.decode(records("clicks", [as_avro(each) for each in good]))
    twins, _, _ = Decoder(SETTINGS).decode(records("clicks", [json.dumps(each).encode() for each in good]))
    assert (len(read), rejections) == (len(good), [])
    assert_the_same(batch, twins)


@pytest.mark.parametrize("bad", [False, True])
def test_formats_may_be_mixed_and_bad_records_leave_the_others_alone(bad: bool) -> None:
    each = clicks(60)
    values = [as_avro(click) if n % 2 else json.dumps(click).encode() for n, click in enumerate(each)]
    twins = [json.dumps(click).encode() for click in each]
    if bad:
        values += [framed(7, b"\x02"), b"no event", None]
        twins += [b"no event", b"no event", None]
    decoder = SchemaDecoder(SETTINGS, known(_7=CLICK), {})
    batch, read, rejections = decoder.decode(records("clicks", values))
    expected, expected_read, others = Decoder(SETTINGS).decode(records("clicks", twins))
    assert_the_same(batch, expected)
    assert [record.offset for record in read] == [record.offset for record in expected_read]
    assert [each.record.offset for each in rejections] == [each.record.offset for each in others]
    assert all(rejection.record.value is values[rejection.record.offset] for rejection in rejections)


def test_a_mapping_reads_avro_as_it_reads_json() -> None:
    orders = [
        {
            "id": f"o{n}",
            "client": {"id": n},
            "lines": [{"sku": f"s{m}", "count": m or None, "note": None} for m in range(n)],
        }
        for n in range(4)
    ]
    orders.append({"id": "x", "client": {"id": 1}, "lines": [{"sku": "", "count": 1, "note": None}]})
    plans = plan_of(MAPPING, "shop.yaml").topics
    decoder = SchemaDecoder(SETTINGS, known(_9=ORDER), plans)
    batch, read, rejections = decoder.decode(records("purchases", [framed(9, encoded(ORDER, each)) for each in orders]))
    twins, twins_read, others = MappedDecoder(SETTINGS, plans).decode(
        records("purchases", [json.dumps(each).encode() for each in orders])
    )
    assert_the_same(batch, twins)
    assert [record.offset for record in read] == [record.offset for record in twins_read] == [1, 2, 2, 3, 3, 3]
    assert reasons(rejections) == reasons(others)
    assert [each.outcome for each in rejections] == ["unlearned:empty_list", "dead_letters"]


def test_a_flat_mapping_reads_avro_at_once() -> None:
    plan = plan_of("topics: {clicks: {fields: {item: item, user: user, timestamp: timestamp}}}", "flat.yaml").topics
    good = [each for each in clicks(50) if each["user"]]
    decoder = SchemaDecoder(SETTINGS, known(_7=CLICK), plan)
    batch, _, rejections = decoder.decode(records("clicks", [as_avro(each) for each in good]))
    twins, _, _ = MappedDecoder(SETTINGS, plan).decode(records("clicks", [json.dumps(each).encode() for each in good]))
    assert rejections == []
    assert_the_same(batch, twins)


def test_producers_names_of_fields_hold_for_avro_too() -> None:
    schema = {"type": "record", "name": "C", "fields": [{"name": n, "type": "string"} for n in ("product", "customer")]}
    decoder = SchemaDecoder(SETTINGS, known(_1=schema), {}, {"item": "product", "user": "customer"})
    value = framed(1, encoded(schema, {"product": "tea", "customer": "ada"}))
    twin = Decoder(SETTINGS, {"item": "product", "user": "customer"})
    batch, _, rejections = decoder.decode(records("clicks", [value]))
    assert rejections == []
    assert_the_same(batch, twin.decode(records("clicks", [b'{"product": "tea", "customer": "ada"}']))[0])


def test_json_with_a_schema_is_json_behind_its_id() -> None:
    decoder = SchemaDecoder(SETTINGS, known(_3="{}"), {})
    good, deep = b'{"item": "tea", "user": "ada"}', b'{"item": "tea", "context": ' + b"[" * 500 + b"]" * 500 + b"}"
    batch, _, rejections = decoder.decode(records("clicks", [framed(3, good), framed(3, b"{"), framed(3, deep)]))
    assert_the_same(batch, Decoder(SETTINGS).decode(records("clicks", [good]))[0])
    assert [each.reason.partition(": ")[2][:23] for each in rejections] == ["the record doesn't fit "] * 2


def test_a_schema_that_is_not_known_gives_the_whole_batch_back() -> None:
    schemas = known(_7=CLICK)
    decoder = SchemaDecoder(SETTINGS, schemas, {})
    batch = records("clicks", [as_avro(clicks(2)[1]), framed(8, b""), b"{}", b"\1" + bytes(16)])
    with pytest.raises(SchemasMissing) as missing:
        decoder.decode(batch)
    assert missing.value.references == {framed(8, b""), b"\1" + bytes(16)}
    assert missing.value.records is batch
    for reference in missing.value.references:
        schemas.note_problem(reference, "the registry has no such schema")
    _, read, rejections = decoder.decode(batch)
    assert [record.offset for record in read] == [0]
    assert reasons(rejections)[0] == "schema: id 8: the registry has no such schema"
    assert (
        reasons(rejections)[2] == "schema: GUID 00000000-0000-0000-0000-000000000000: the registry has no such schema"
    )


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"\0\0", "ends after 2 bytes"),
        (b"\1\0\0\0\0\0", "ends after 6 bytes"),
        (b"\0\xff\xff\xff\xff{}", "schema: id 4294967295: a registry gives ids up to 2147483647"),
        (framed(7, b"") + b"\x02" * 2_000_000, "2000005 bytes; an event has at most"),
        (framed(7, b"\x04ab"), "schema: the record doesn't fit id 7: EOFError"),
        (framed(7, b"\x00\x02\x02a\x00"), "item: an id is 1 to 256 bytes, this one is empty"),
        (framed(7, b"\x02a\x00\x00"), "user: an event needs a user or a session"),
        (framed(2, b"\x02a"), "value: Object missing required field `item`"),
    ],
)
def test_a_record_that_is_no_event_is_rejected_with_the_reason(value: bytes, reason: str) -> None:
    other = {"type": "record", "name": "O", "fields": [{"name": "sku", "type": "string"}]}
    decoder = SchemaDecoder(SETTINGS, known(_7=CLICK, _2=other), {})
    _, read, (rejection,) = decoder.decode(records("clicks", [value]))
    assert read == []
    assert reason in rejection.reason
    assert not rejection.isolated


def test_brackets_in_binary_records_are_no_nesting() -> None:
    value = as_avro({"item": "[" * 250, "user": "{" * 250, "timestamp": None})
    batch, read, rejections = SchemaDecoder(SETTINGS, known(_7=CLICK), {}).decode(records("clicks", [value, b"bad"]))
    assert (len(read), len(rejections)) == (1, 1)
    assert batch.names.tobytes() == b"[" * 250


def test_without_a_registry_the_decoder_is_the_one_that_it_was() -> None:
    assert type(decoder_of(SETTINGS, None, {}, None, 300.0)) is Decoder
    assert type(decoder_of(SETTINGS, None, plan_of(MAPPING, "m").topics, None, 300.0)) is MappedDecoder
    _, _, (rejection,) = Decoder(SETTINGS).decode(records("clicks", [as_avro(clicks(2)[1])]))
    assert "CORRENTE_SCHEMA_REGISTRY" in rejection.reason


def test_room_is_made_by_dropping_what_was_added_first() -> None:
    schemas = KnownSchemas(most=3)
    for number in range(3):
        schemas.note_problem(framed(number, b""), "no")
    schemas.make_room([framed(0, b""), framed(9, b"")])
    schemas.note_problem(framed(9, b""), "no")
    assert len(schemas) <= 3
    assert schemas.require([framed(0, b""), framed(9, b"")])
    with pytest.raises(SchemasMissing):
        schemas.require([framed(1, b"")])


def reasons(rejections: Sequence[Rejection]) -> list[str]:
    return [each.reason for each in rejections]
