"""Mapped batches: a batch becomes what its records become alone, whichever way it is decoded."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.ingest.decoding import Decoder
from stream.ingest.mapping.mapped_decoder import MappedDecoder
from stream.ingest.mapping.plan import plan_of
from stream.ingest.records import Record
from stream.models.settings import ModelSettings

SETTINGS = ModelSettings()

NAMES_ALONE = "topics: {clicks: {fields: {item: sku, user: who, timestamp: at, event_id: id}}}"
TREES = "topics: {clicks: {fields: {item: product.sku, user: who, timestamp: at, event_id: id}}}"
LISTS = "topics: {clicks: {fields: {item: 'lines[].sku', user: who, timestamp: at, event_id: id}}}"

DEEP = b'{"sku": "tea", "product": {"sku": "tea"}, "who": 1, "page": ' + b"[" * 300 + b"]" * 300 + b"}"
RECORDS: dict[str, bytes | None] = {
    "good": b'{"sku": "tea", "product": {"sku": "tea"}, "lines": [{"sku": 1}, {"sku": 2}], "who": "ada", "id": "e"}',
    "with a mark": b'\xef\xbb\xbf{"sku": "jug", "product": {"sku": "jug"}, "lines": [{"sku": 1}], "who": 2}',
    "of two lines": b'{"sku": 3, "product": {"sku": 3}, "lines": [{"sku": 3}, {"sku": 4}], "who": 5, "at": 9}',
    "our form": b'{"corrente": {"event": {"item": "tea", "user": "ada", "kind": "purchase", "price": 5}}}',
    "text instead of an object": b'{"sku": "tea", "product": "tea", "lines": "tea", "who": 1}',
    "nothing": b"{}",
    "null": b'{"sku": null, "product": null, "lines": null, "who": null}',
    "too deep": DEEP,
    "ahead": b'{"sku": 1, "product": {"sku": 1}, "lines": [{"sku": 1}], "who": 1, "at": 1900000000}',
    "a null id": b'{"sku": "NULL", "product": {"sku": "NULL"}, "lines": [{"sku": "NULL"}, {"sku": "a"}], "who": 1}',
    "no JSON": b"{",
    "empty": None,
}


def in_kafka(names: list[str]) -> list[Record]:
    return [Record("clicks", offset, 1_800_000_000_000, RECORDS[name]) for offset, name in enumerate(names)]


def told(decoder: Decoder, batches: list[list[Record]]) -> dict[str, Any]:
    found: dict[str, Any] = {"rows": [], "records": [], "rejections": []}
    for records in batches:
        batch, good, rejections = decoder.decode(records)
        columns = {name: value for name, value in batch._asdict().items() if name not in ("names", "starts")}
        found["rows"] += [
            {name: np.atleast_1d(value[row]).tolist() for name, value in columns.items()} for row in range(len(good))
        ]
        found["records"] += [record.offset for record in good]
        found["rejections"] += [(each.record.offset, each.reason, each.outcome) for each in rejections]
    return json.loads(json.dumps(found))


@pytest.mark.parametrize("mapping", [NAMES_ALONE, TREES, LISTS])
@given(st.lists(st.sampled_from(sorted(RECORDS)), max_size=12))
def test_a_batch_becomes_what_its_records_become_alone(mapping: str, names: list[str]) -> None:
    decoder = MappedDecoder(SETTINGS, plan_of(mapping, "shop.yaml").topics)
    records = in_kafka(names)
    assert json.dumps(told(decoder, [records])) == json.dumps(told(decoder, [[record] for record in records]))


@pytest.mark.parametrize("mapping", [NAMES_ALONE, TREES])
def test_a_record_that_is_nested_too_deep_is_a_dead_letter_beside_good_ones(mapping: str) -> None:
    decoder = MappedDecoder(SETTINGS, plan_of(mapping, "shop.yaml").topics)
    found = told(decoder, [in_kafka(["good", "too deep", "good"])])
    assert found["records"] == [0, 2]
    ((offset, reason, outcome),) = found["rejections"]
    assert (offset, outcome) == (1, "dead_letters")
    assert "nested" in reason


def test_fields_with_other_names_alone_are_read_as_the_setting_for_them_reads_them() -> None:
    renamed = Decoder(SETTINGS, {"item": "sku", "user": "who", "timestamp": "at", "event_id": "id"})
    decoder = MappedDecoder(SETTINGS, plan_of(NAMES_ALONE, "shop.yaml").topics)
    records = in_kafka(["good", "of two lines", "with a mark", "ahead"])
    assert told(decoder, [records]) == told(renamed, [records])
