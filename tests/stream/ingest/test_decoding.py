"""Decoding of records: one batch of arrays for the good ones, a rejection with a reason for each of the others."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from stream.ingest.decoding import MAX_RATING_WEIGHT, RECORD_MAX_BYTES, Decoder, rating_weight
from stream.ingest.records import Record
from stream.models.batch import CLICK, KINDS, OTHER_KIND, PURCHASE, RATING
from stream.models.schema import WEIGHT_ONE
from stream.models.settings import ModelSettings

NOW_MS = 1_700_000_000_000
GOOD = {"item": "tea", "user": "ada"}


def record(event: Any, topic: str = "clicks", offset: int = 0) -> Record:
    value = event if isinstance(event, bytes | None) else json.dumps(event).encode()
    return Record(topic, offset, NOW_MS, value)


@pytest.fixture
def decoder() -> Decoder:
    return Decoder(ModelSettings())


def test_kinds_and_weights_follow_topic_and_settings() -> None:
    decoder = Decoder(ModelSettings(weights={"click": 1.0, "purchase": 3.0, "cart": 2.0, "return": -3.0}))
    records = [
        record(GOOD),
        record(GOOD, "purchases"),
        record({**GOOD, "kind": "cart"}, "feedback"),
        record({**GOOD, "kind": "return"}, "feedback"),
        record({**GOOD, "kind": "rating", "value": 5}, "feedback"),
        record({**GOOD, "kind": "gaze"}, "feedback"),
    ]
    batch, good, rejections = decoder.decode(records)
    assert (good, rejections) == (records, [])
    assert batch.kinds.tolist() == [CLICK, PURCHASE, KINDS["cart"], KINDS["return"], RATING, OTHER_KIND]
    assert (batch.weights / WEIGHT_ONE).tolist() == [1.0, 3.0, 2.0, -3.0, 2.0, 1.0]
    assert np.array_equal(batch.values, np.array([np.nan] * 4 + [5, np.nan], np.float32), equal_nan=True)
    assert batch.tested.tolist() == [0] * 6
    assert batch.learned.tolist() == [1] * 6


def test_an_event_without_a_time_takes_the_timestamp_of_its_record(decoder: Decoder) -> None:
    times = [None, 1_600_000_000, "2023-11-14T22:13:20Z"]
    batch, _, _ = decoder.decode([record({**GOOD, "timestamp": time}) for time in times])
    assert batch.seconds.tolist() == [NOW_MS / 1000, 1_600_000_000, 1_700_000_000]


def test_an_event_without_a_session_counts_for_its_user_and_the_other_way_round(decoder: Decoder) -> None:
    both = {"item": "tea", "user": "ada", "session": "s"}
    batch, _, _ = decoder.decode([record(GOOD), record({"item": "tea", "session": "ada"}), record(both)])
    assert np.array_equal(batch.visitors[0], batch.sessions[0])
    assert np.array_equal(batch.visitors[1], batch.visitors[0])
    assert np.array_equal(batch.visitors[2], batch.visitors[0])
    assert not np.array_equal(batch.sessions[2], batch.sessions[0])


def test_fields_of_producers_are_renamed() -> None:
    decoder = Decoder(ModelSettings(), {"item": "product_id"})
    _, good, rejections = decoder.decode([record({"product_id": "tea", "user": "ada"}), record(GOOD, offset=1)])
    assert [each.offset for each in good] == [0]
    assert "product_id" in rejections[0].reason


BAD = {
    "a tombstone": (None, "tombstone"),
    "no JSON": (b"{", "value: "),
    "no UTF-8": (b'{"item": "\xff", "user": "ada"}', "value: "),
    "too long": (b" " * (RECORD_MAX_BYTES + 1), f"at most {RECORD_MAX_BYTES}"),
    "no visitor": ({"item": "tea"}, "user: an event needs a user or a session"),
    "an empty item": ({"item": "", "user": "ada"}, "item: an id is 1 to 256 bytes"),
    "a long item": ({"item": "x" * 257, "user": "ada"}, "item: an id is 1 to 256 bytes"),
    "a control character": ({"item": "a\x00b", "user": "ada"}, "item: 'a\\x00b' has a control character"),
    "milliseconds": ({**GOOD, "timestamp": NOW_MS}, "not milliseconds"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_record_is_rejected_with_its_reason_and_the_others_are_decoded_as_if_alone(
    decoder: Decoder, what: str
) -> None:
    event, reason = BAD[what]
    others = [record({**GOOD, "event_id": "a"}, offset=0), record({**GOOD, "item": "cup"}, offset=2)]
    alone, _, _ = decoder.decode(others)
    batch, good, rejections = decoder.decode([others[0], record(event, offset=1), others[1]])
    assert good == others
    assert [(each.record.offset, each.refused) for each in rejections] == [(1, False)]
    assert reason in rejections[0].reason
    for name, column in alone._asdict().items():
        assert np.array_equal(getattr(batch, name).view(np.uint8), column.view(np.uint8)), name


def test_an_event_from_the_future_is_refused_and_not_called_malformed(decoder: Decoder) -> None:
    soon, late = (record({**GOOD, "timestamp": NOW_MS / 1000 + ahead}) for ahead in (300, 301))
    _, good, rejections = decoder.decode([soon, late])
    assert good == [soon]
    assert [each.refused for each in rejections] == [True]
    assert "at most 300 are allowed" in rejections[0].reason


def test_an_unknown_topic_is_rejected_with_the_known_ones(decoder: Decoder) -> None:
    _, _, rejections = decoder.decode([record(GOOD, "views")])
    assert rejections[0].reason == "topic: there is no topic 'views', only clicks, purchases, feedback"


def test_no_records_give_an_empty_batch(decoder: Decoder) -> None:
    batch, good, rejections = decoder.decode([])
    assert (len(batch.seconds), batch.starts.tolist(), good, rejections) == (0, [0], [], [])


def test_the_weight_of_a_rating_is_bounded_both_ways() -> None:
    assert [rating_weight(stars) for stars in (1, 2.5, 5)] == [-1.2, 0.0, 2.0]
    assert rating_weight(1e9) == -rating_weight(-1e9) == MAX_RATING_WEIGHT
