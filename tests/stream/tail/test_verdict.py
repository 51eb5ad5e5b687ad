"""Verdicts: those of the worker's decoder, with the events of a record and what they lack."""

from __future__ import annotations

import json

import pytest

from stream.ingest.decoding import Decoder
from stream.ingest.records import Record
from stream.settings import load_settings
from stream.tail.verdict import NO_EVENT_ID, NO_KEY, NO_TIME, Judge

NOW_MS = 1_800_000_000_000
WHOLE = {"item": "teapot", "user": "ada", "event_id": "1", "timestamp": 1_799_999_990}


def record(value: object, topic: str = "clicks", key: bytes | None = b"ada") -> Record:
    return Record(topic, 7, NOW_MS, value if isinstance(value, bytes) else json.dumps(value).encode(), key)


def test_an_event_that_has_everything_lacks_nothing() -> None:
    verdict = Judge(load_settings({})).judge(record(WHOLE))
    assert verdict == ("learned", "", [{"kind": "click", **WHOLE}], [])


def test_what_is_missing_is_named_with_what_follows() -> None:
    verdict = Judge(load_settings({})).judge(record({"item": "teapot", "user": "ada"}, key=None))
    assert verdict.outcome == "learned"
    assert verdict.missing == [NO_EVENT_ID, NO_TIME, NO_KEY]


@pytest.mark.parametrize(
    ("value", "topic", "outcome", "reason"),
    [
        (b"{", "clicks", "dead_letters", "value: "),
        ({"item": "teapot"}, "clicks", "dead_letters", "user: an event needs a user or a session"),
        ({**WHOLE, "timestamp": 1_800_009_999}, "clicks", "refused", "9999 seconds ahead"),
        ({**WHOLE, "consent": "none"}, "clicks", "unlearned:consent", "consent: "),
        ({**WHOLE, "quantity": 0}, "purchases", "unlearned:zero_quantity", "quantity: 0"),
        ({**WHOLE, "kind": "rating", "value": 99}, "feedback", "dead_letters", "value: "),
    ],
)
def test_the_verdict_is_that_of_the_worker_s_decoder(value, topic: str, outcome: str, reason: str) -> None:
    settings = load_settings({})
    verdict = Judge(settings).judge(record(value, topic))
    (rejection,) = Decoder(settings.model, {}, settings.max_future_seconds).decode([record(value, topic)])[2]
    assert (verdict.outcome, verdict.reason) == (rejection.outcome, rejection.reason)
    assert verdict.outcome == outcome
    assert reason in verdict.reason


def test_fields_of_producers_are_shown_under_our_names() -> None:
    settings = load_settings({}, fields={"item": "product", "user": "customer"})
    verdict = Judge(settings).judge(record({"product": 7, "customer": "ada", "event_id": "1", "timestamp": 1}))
    assert verdict.events == [{"kind": "click", "item": 7, "user": "ada", "event_id": "1", "timestamp": 1}]
    assert verdict.missing == []


def test_a_record_of_several_events_is_judged_as_a_whole(tmp_path) -> None:
    mapping = tmp_path / "shop.yaml"
    mapping.write_text("topics: {purchases: {fields: {item: 'lines[].sku', user: customer, timestamp: at}}}")
    settings = load_settings({"CORRENTE_MAPPING": str(mapping)})
    order = {"customer": "ada", "at": 1_799_999_990, "lines": [{"sku": "teapot"}, {"sku": "cups"}]}
    verdict = Judge(settings).judge(record(order, "purchases"))
    assert (verdict.outcome, [event["item"] for event in verdict.events]) == ("learned", ["teapot", "cups"])
    assert verdict.missing == [NO_EVENT_ID]
    order["lines"].append({"sku": ""})
    assert Judge(settings).judge(record(order, "purchases")).outcome == "dead_letters"
