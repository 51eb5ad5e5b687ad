"""Posted bodies are read by the rules of the worker."""

from __future__ import annotations

import json
from typing import Any

import pytest

from serving.intake.event_reader import EventReader
from serving.web.problems import Problem
from stream.ingest.decoding import Decoder
from stream.ingest.records import Record
from stream.models.settings import ModelSettings
from stream.values import RatingScale

NOW = 1_700_000_000.0
GOOD = {"item": "tea", "user": "ada"}


def read(body: Any, topic: str = "clicks", scale: RatingScale | None = RatingScale()) -> list[dict[str, Any]]:
    encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
    _, records = EventReader(topic, {}, 300.0, scale).read(encoded, NOW)
    return [json.loads(value) for _, value in records]


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b"\xef\xbb\xbf \n"])
@pytest.mark.parametrize("many", [True, False])
def test_a_mark_before_the_body_is_ignored(mark: bytes, many: bool) -> None:
    (event,) = read(mark + json.dumps([GOOD] if many else GOOD).encode())
    assert event["item"] == "tea"


def test_a_time_of_zero_is_now_and_any_other_is_sent_as_it_is() -> None:
    times = [0, "0", "1970-01-01T00:00:00Z", 1_699_920_000_000, "20231114", "2023-11-14 00:00:00 UTC"]
    events = read([{**GOOD, "timestamp": time} for time in times])
    assert [event["timestamp"] for event in events] == [NOW] * 3 + times[3:]
    records = [Record("clicks", 0, int(NOW * 1000), json.dumps(event).encode()) for event in events]
    batch, _, _ = Decoder(ModelSettings()).decode(records)
    assert batch.seconds.tolist() == [NOW] * 3 + [1_699_920_000] * 3


def test_numbers_may_be_text() -> None:
    (event,) = read({**GOOD, "quantity": "2", "price": "9.99"}, "purchases")
    assert (event["quantity"], event["price"]) == ("2", "9.99")


@pytest.mark.parametrize(
    ("topic", "more", "field"),
    [
        ("purchases", {"price": "9,99"}, "price"),
        ("purchases", {"quantity": "1e999"}, "quantity"),
        ("feedback", {"kind": "rating", "value": 7}, "value"),
        ("clicks", {"timestamp": 5_000_000_000}, "timestamp"),
        ("clicks", {"consent": "agregate"}, "consent"),
        ("purchases", {"consent": True}, "consent"),
        ("clicks", {"bot": "perhaps"}, "bot"),
    ],
)
def test_what_the_worker_would_reject_is_refused(topic: str, more: dict[str, Any], field: str) -> None:
    with pytest.raises(Problem) as refused:
        read([GOOD | {"kind": "view"} if topic == "feedback" else GOOD, {**GOOD, **more}], topic)
    details = refused.value.details
    assert (details.status, details.index, details.field) == (422, 1, field)


def test_consent_and_bot_are_sent_on_and_an_event_without_them_has_the_bytes_it_always_had() -> None:
    events = read(
        [{**GOOD, "consent": "aggregate"}, {**GOOD, "consent": "none", "bot": "true"}, {**GOOD, "bot": False}]
    )
    assert [(event.get("consent"), event.get("bot")) for event in events] == [
        ("aggregate", None),
        ("none", "true"),
        (None, False),
    ]
    _, ((_, value),) = EventReader("clicks", {}, 300.0).read(b'{"item":"tea","user":"ada","event_id":"e"}', NOW)
    assert value == b'{"item":"tea","user":"ada","timestamp":1700000000.0,"event_id":"e"}'


def test_the_nearest_consent_is_named() -> None:
    with pytest.raises(Problem, match=r"consent: 'agregate' is none of .*; did you mean 'aggregate'\?"):
        read({**GOOD, "consent": "agregate"})


def test_the_value_of_another_kind_than_a_rating_has_no_scale() -> None:
    assert read({**GOOD, "kind": "dwell", "value": 90}, "feedback")[0]["value"] == 90


def test_a_body_has_so_many_events_and_no_more() -> None:
    reader = EventReader("clicks", {}, 300.0, max_body_events=2)
    assert len(reader.read(json.dumps([GOOD] * 2).encode(), NOW)[0]) == 2
    with pytest.raises(Problem) as refused:
        reader.read(json.dumps([GOOD] * 3).encode(), NOW)
    assert refused.value.details.status == 413
    assert refused.value.details.detail == (
        "The body has 3 events, at most 2 are taken (CORRENTE_MAX_BODY_EVENTS). Send fewer."
    )
