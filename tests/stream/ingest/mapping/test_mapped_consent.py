"""Consent and bots in mapped records: read from a path or a constant, and learned as in our own records."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from stream.ingest.mapping.mapped_decoder import MappedDecoder
from stream.ingest.mapping.plan import plan_of
from stream.ingest.records import Record
from stream.models.event_codes import AGGREGATE, LEARN
from stream.models.settings import ModelSettings

FLAT = """
topics:
  clicks:
    fields: {item: sku, user: id, consent: prefs.tracking, bot: robot}
"""
SEVERAL = """
topics:
  clicks:
    fields: {item: "lines[].sku", user: id, consent: "lines[].consent"}
"""
CONSTANT = """
topics:
  clicks:
    fields: {item: sku, user: id, consent: {value: aggregate}}
"""


def decoded(mapping: str, *values: dict[str, Any]) -> tuple[list[int], list[str], Counter[tuple[str, str]]]:
    """`learned` of each row, the rule or reason of each rejection, and the left-out events of other records."""
    decoder = MappedDecoder(ModelSettings(), plan_of(mapping, "shop.yaml").topics)
    left_out: Counter[tuple[str, str]] = Counter()
    records = [Record("clicks", place, 1_000, json.dumps(value).encode()) for place, value in enumerate(values)]
    batch, _, rejections = decoder.decode(records, left_out=left_out)
    return batch.learned.tolist(), [each.unlearned or each.reason for each in rejections], left_out


def test_the_consent_of_a_mapped_record_decides_how_it_is_learned() -> None:
    good = [{"sku": "tea", "id": "ada", "prefs": {"tracking": consent}} for consent in ("personal", "aggregate", None)]
    assert decoded(FLAT, *good) == ([LEARN, AGGREGATE, LEARN], [], Counter())
    others = [
        {"sku": "tea", "id": "ada", "prefs": {"tracking": "none"}},
        {"sku": "tea", "id": "ada", "robot": True},
        {"sku": "tea", "id": "ada", "robot": False},
        {"sku": "tea", "id": "ada", "prefs": {"tracking": "agregate"}},
    ]
    learned, rejected, _ = decoded(FLAT, *good, *others)
    assert learned == [LEARN, AGGREGATE, LEARN, LEARN]
    assert rejected[:2] == ["consent", "bot"]
    assert "did you mean 'aggregate'" in rejected[2]
    assert decoded(CONSTANT, {"sku": "tea", "id": "ada"})[0] == [AGGREGATE]


def test_each_event_of_a_record_has_a_consent_of_its_own() -> None:
    order = {"id": "ada", "lines": [{"sku": "tea", "consent": "none"}, {"sku": "cup", "consent": "aggregate"}]}
    assert decoded(SEVERAL, order) == ([AGGREGATE], [], Counter({("clicks", "consent"): 1}))
