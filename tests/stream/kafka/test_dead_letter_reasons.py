"""Reasons of dead letters: which field is wrong, where the record was, and what would be right."""

from __future__ import annotations

import json

import pytest

from stream.ingest.decoding import Decoder
from stream.ingest.records import Record
from stream.kafka.dead_letters import dead_letter
from stream.models.settings import ModelSettings
from tests.stream.ingest.test_decoding import BAD, NOW_MS, topic_of_bad

RIGHT = {
    "a tombstone": "an event is a JSON object",
    "no JSON": "an event is one JSON object",
    "no UTF-8": "which JSON has to be",
    "too long": "an event has at most",
    "no visitor": "an event needs a user or a session",
    "an empty item": "an id is 1 to 256 bytes",
    "a long item": "an id is 1 to 256 bytes",
    "a control character": "ids have none",
    "a lone surrogate": "surrogate",
    "an integer without end": "",
    "an integer of 5,000 digits": "",
    "an infinite price": "Number out of range",
    "a time before year 1": "",
    "the largest float as time": "is outside 1970 to 2106",
    "an ignored field, 1,000 deep": "at most 200 are allowed",
    "a context, 201 deep": "at most 200 are allowed",
    "a time of no unit": "in milliseconds, microseconds or nanoseconds 1973 to 2106",
    "a date that is none": "RFC 3339 (2026-01-31T12:00:00Z)",
    "a price in words": "such as 9.99",
    "a quantity without end": "",
    "ten of five stars": "0 to 5 (CORRENTE_MODEL__RATING_SCALE)",
    "a time that is ahead": "at most 300 are allowed",
    "no time at all": "give the event or the Kafka record a time",
    "a time that can't be compared": "let the producer or the topic set record timestamps",
    "another topic": "only clicks, purchases, feedback",
}
"""Piece of a letter that says what would be right, by what is wrong with its record; empty if the cause says it."""

ODD = {
    "a time that is ahead": Record("clicks", 7, NOW_MS, b'{"item": "a", "user": "u", "timestamp": 1800000000}'),
    "no time at all": Record("clicks", 7, -1, b'{"item": "a", "user": "u"}'),
    "a time that can't be compared": Record("clicks", 7, -1, b'{"item": "a", "user": "u", "timestamp": 1700000000}'),
    "another topic": Record("carts", 7, NOW_MS, b'{"item": "a", "user": "u"}'),
}


@pytest.mark.parametrize("what", RIGHT)
def test_a_dead_letter_says_which_field_is_wrong_where_the_record_was_and_what_would_be_right(what: str) -> None:
    if what in ODD:
        record = ODD[what]
    else:
        event, reason = BAD[what]
        value = event if isinstance(event, bytes | None) else json.dumps(event).encode()
        record = Record(topic_of_bad(reason), 7, NOW_MS, value)
    _, _, (rejection,) = Decoder(ModelSettings()).decode([record])
    letter = dead_letter(rejection, topic="shop-clicks", partition=3)
    field, _, cause = letter.reason.partition(": ")
    assert field in {"item", "user", "timestamp", "value", "topic", "price", "quantity"}, letter.reason
    assert len(cause) > 10
    assert RIGHT[what] in letter.reason, letter.reason
    assert letter.name == "shop-clicks-3-7", "the place is in the letter's key and headers"


def test_every_bad_record_of_the_decoder_was_looked_at() -> None:
    assert set(RIGHT) == set(BAD) | set(ODD)
