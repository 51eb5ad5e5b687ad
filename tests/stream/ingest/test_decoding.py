"""Decoding of records: one batch of arrays for the good ones, a rejection with a reason for each of the others."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import numpy as np
import pytest

from stream.ingest.decoding import FEW, Decoder, rating_weight
from stream.ingest.record_checks import RECORD_MAX_BYTES
from stream.ingest.records import Record
from stream.models.batch import WEIGHT_MOST, EventBatch
from stream.models.event_codes import CLICK, KINDS, OTHER_KIND, PURCHASE, RATING, RETURN
from stream.models.schema import WEIGHT_ONE
from stream.models.settings import ModelSettings
from stream.values import RatingScale

NOW_MS = 1_700_000_000_000
GOOD = {"item": "tea", "user": "ada"}


def record(event: Any, topic: str = "clicks", offset: int = 0) -> Record:
    value = event if isinstance(event, bytes | None) else json.dumps(event).encode()
    return Record(topic, offset, NOW_MS, value)


def assert_same(batch: EventBatch, expected: EventBatch) -> None:
    for name, column in expected._asdict().items():
        found = getattr(batch, name)
        assert (found.dtype, found.shape) == (column.dtype, column.shape), name
        assert np.array_equal(found.view(np.uint8), column.view(np.uint8)), name


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
    assert not np.array_equal(batch.visitors[1], batch.visitors[0]), "the user ada and the session ada are two"
    assert np.array_equal(batch.visitors[2], batch.visitors[0])
    assert not np.array_equal(batch.sessions[2], batch.sessions[0])


@pytest.mark.parametrize("without", [0, 1, FEW - 1, FEW, 399, 400])
def test_an_event_without_an_id_has_none_and_the_ids_beside_it_stay(decoder: Decoder, without: int) -> None:
    places = set(random.Random(without).sample(range(400), without))
    ids = [None if place in places else place if place % 3 else f"id {place}" for place in range(400)]
    batch, _, _ = decoder.decode([record({**GOOD, "event_id": each}, offset=n) for n, each in enumerate(ids)])
    alone = [decoder.decode([record({**GOOD, "event_id": each})])[0].event_ids[0] for each in ids]
    assert batch.event_ids.tolist() == alone
    assert [each == 0 for each in alone] == [each is None for each in ids]


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
    "a lone surrogate": (b'{"item": "\\ud800", "user": "ada"}', "surrogate"),
    "an integer without end": (b'{"item": 1%s, "user": "ada"}' % (b"0" * 300), "item: "),
    "an integer of 5,000 digits": (b'{"item": 1%s, "user": "ada"}' % (b"0" * 5000), ": "),
    "an infinite price": (
        b'{"item": "tea", "user": "ada", "quantity": 1e999}',
        "Number out of range - at `$.quantity`",
    ),
    "a time before year 1": ({**GOOD, "timestamp": "0001-01-01T00:00:00+23:59"}, "timestamp: "),
    "the largest float as time": ({**GOOD, "timestamp": 1.7976931348623157e308}, "timestamp: "),
    "an ignored field, 1,000 deep": (
        b'{"item": "tea", "user": "ada", "x": %s%s}' % (b"[" * 1000, b"]" * 1000),
        "1001 deep",
    ),
    "a context, 201 deep": (
        b'{"item": "tea", "user": "ada", "context": %s1%s}' % (b'{"a":' * 200, b"}" * 200),
        "201 deep; at most 200",
    ),
    "a time of no unit": ({**GOOD, "timestamp": 5_000_000_000}, "outside 1970 to 2106"),
    "a date that is none": ({**GOOD, "timestamp": "2024-02-30"}, "neither seconds since the epoch nor RFC 3339"),
    "a price in words": ({**GOOD, "price": "9,99"}, "price: '9,99' is not a finite number, such as 9.99"),
    "a quantity without end": ({**GOOD, "quantity": "1e999"}, "quantity: '1e999' is not a finite number"),
    "ten of five stars": ({**GOOD, "kind": "rating", "value": 10}, "value: 10 is outside the scale of ratings, 0 to 5"),
}


def topic_of_bad(reason: str) -> str:
    """The topic whose events have the field that the reason of `BAD` names."""
    if "ratings" in reason:
        return "feedback"
    return "purchases" if "quantity" in reason or "price" in reason else "clicks"


@pytest.mark.parametrize("what", BAD)
def test_a_bad_record_is_rejected_with_its_reason_and_the_others_are_decoded_as_if_alone(
    decoder: Decoder, what: str
) -> None:
    event, reason = BAD[what]
    others = [record({**GOOD, "event_id": "a"}, offset=0), record({**GOOD, "item": "cup"}, offset=2)]
    alone, _, _ = decoder.decode(others)
    bad = record(event, topic_of_bad(reason), offset=1)
    for records in ([others[0], bad, others[1]], [bad, *others], [*others, bad]):
        batch, good, rejections = decoder.decode(records)
        assert good == others
        assert [(each.record, each.refused, each.isolated) for each in rejections] == [(bad, False, False)]
        assert reason in rejections[0].reason
        assert_same(batch, alone)


def test_rejections_come_in_the_order_of_the_records_and_the_good_rows_are_those_of_the_good_records(
    decoder: Decoder,
) -> None:
    draw = random.Random(5)
    kinds = [event for event, _ in BAD.values()]
    for share in (0.001, 0.1, 0.9, 1.0):
        records = [
            record(draw.choice(kinds) if draw.random() < share else {**GOOD, "item": n, "session": f"s{n}"}, offset=n)
            for n in range(300)
        ]
        batch, good, rejections = decoder.decode(records)
        alone, all_good, none = decoder.decode(good)
        assert (all_good, none) == (good, [])
        assert_same(batch, alone)
        assert sorted([*good, *(each.record for each in rejections)], key=lambda each: each.offset) == records
        offsets = [each.record.offset for each in rejections]
        assert offsets == sorted(offsets)


def test_brackets_in_texts_and_200_levels_are_allowed(decoder: Decoder) -> None:
    deep = b'{"item": "tea", "user": "ada", "context": %s1%s}' % (b'{"a":' * 199, b"}" * 199)
    wide = b'{"item": "tea", "user": "ada", "context": {"a": "%s", "b": %s}}' % (
        b'[{\\"' * 400,
        b"[" + b"[]," * 300 + b"[]]",
    )
    _, good, rejections = decoder.decode([record(deep), record(wide)])
    assert (len(good), rejections) == (2, [])


@pytest.mark.parametrize("timestamp_ms", [-1, -(2**63), 2**63 - 1])
def test_an_event_without_any_time_is_rejected_and_one_whose_time_can_not_be_checked_is_refused(
    decoder: Decoder, timestamp_ms: int
) -> None:
    without = record(GOOD)._replace(timestamp_ms=timestamp_ms)
    with_time = record({**GOOD, "timestamp": NOW_MS / 1000}, offset=1)._replace(timestamp_ms=timestamp_ms)
    _, good, rejections = decoder.decode([without, with_time])
    assert "its record's" in rejections[0].reason
    assert not rejections[0].refused
    if timestamp_ms < 0:
        assert "can't be compared with the time of the record" in rejections[1].reason
        assert rejections[1].refused
    else:
        assert good == [with_time]


def test_a_negative_quantity_is_a_return_and_a_positive_one_of_any_size_a_purchase() -> None:
    decoder = Decoder(ModelSettings(weights={"purchase": 3.0, "return": -2.5}))
    quantities = [None, 1, 2.5, 1e308, -1, -1e308, "3", "-1", ""]
    batch, _, rejections = decoder.decode([record({**GOOD, "quantity": each}, "purchases") for each in quantities])
    assert rejections == []
    kinds = [PURCHASE] * 4 + [RETURN] * 2 + [PURCHASE, RETURN, PURCHASE]
    assert batch.kinds.tolist() == kinds
    assert (batch.weights / WEIGHT_ONE).tolist() == [3.0 if kind == PURCHASE else -2.5 for kind in kinds]


def test_larger_quantities_weigh_more_if_a_setting_says_so() -> None:
    decoder = Decoder(ModelSettings(weights={"purchase": 3.0, "return": -2.0}, quantity_exponent=0.5))
    quantities = [None, 1, 4, "4", 0.25, -9, 1e308]
    batch, _, rejections = decoder.decode([record({**GOOD, "quantity": each}, "purchases") for each in quantities])
    assert rejections == []
    assert (batch.weights / WEIGHT_ONE).tolist() == [3.0, 3.0, 6.0, 6.0, 1.5, -6.0, WEIGHT_MOST]


LEFT_OUT = {
    "bought none": ("purchases", {**GOOD, "quantity": 0}, "zero_quantity"),
    "brought none back": ("purchases", {**GOOD, "quantity": -0.0}, "zero_quantity"),
    "bought none, as text": ("purchases", {**GOOD, "quantity": "0.00"}, "zero_quantity"),
    "a user that is NULL": ("clicks", {"item": "tea", "user": "NULL", "session": "s"}, "null_id"),
    "a session that is \\N": ("clicks", {"item": "tea", "user": "ada", "session": "\\N"}, "null_id"),
    "a session alone that is None": ("feedback", {"item": "tea", "session": "None", "kind": "view"}, "null_id"),
    "an item that is NaN": ("clicks", {"item": "NaN", "user": "ada"}, "null_id"),
    "without consent": ("clicks", {**GOOD, "consent": "none"}, "consent"),
    "of a bot": ("clicks", {**GOOD, "bot": True}, "bot"),
    "of a bot, as a number": ("feedback", {**GOOD, "kind": "view", "bot": 1}, "bot"),
    "of a bot, as text": ("purchases", {**GOOD, "bot": "True", "consent": "aggregate"}, "bot"),
    "of a bot without consent": ("clicks", {**GOOD, "bot": True, "consent": "none"}, "consent"),
}


@pytest.mark.parametrize("what", LEFT_OUT)
def test_an_event_that_is_left_out_is_no_dead_letter_and_the_others_are_decoded_as_if_alone(
    decoder: Decoder, what: str
) -> None:
    topic, event, rule = LEFT_OUT[what]
    others = [record({**GOOD, "session": "s", "event_id": "a"}), record({**GOOD, "item": "cup"}, offset=2)]
    alone, _, _ = decoder.decode(others)
    out = record(event, topic, offset=1)
    batch, good, (rejection,) = decoder.decode([others[0], out, others[1]])
    assert good == others
    assert (rejection.record, rejection.unlearned, rejection.outcome) == (out, rule, f"unlearned:{rule}")
    assert_same(batch, alone)


def test_an_event_that_is_wrong_is_never_left_out(decoder: Decoder) -> None:
    wrong = {"item": "tea", "user": "NULL", "timestamp": "yesterday"}
    _, _, (rejection,) = decoder.decode([record(wrong)])
    assert (rejection.unlearned, rejection.outcome) == ("", "dead_letters")


@pytest.mark.parametrize("count", [3, 3 * FEW])
def test_the_settings_list_the_words_that_stand_for_no_id(count: int) -> None:
    users = ["unknown", None, "NULL"] * (count // 3)
    records = [record({"item": "tea", "user": user, "session": f"s{n}"}, offset=n) for n, user in enumerate(users)]
    _, _, rejections = Decoder(ModelSettings(null_ids=["unknown", "?"])).decode(records)
    assert {each.unlearned for each in rejections} == {"null_id"}
    assert [each.record.offset for each in rejections] == list(range(0, count, 3))
    assert "CORRENTE_MODEL__NULL_IDS" in rejections[0].reason
    assert len(Decoder(ModelSettings(null_ids=[])).decode(records)[1]) == count


def test_an_event_id_that_is_a_null_id_is_none_and_not_one_that_comes_again(decoder: Decoder) -> None:
    ids = ["NULL", "NULL", "a"]
    batch, _, _ = decoder.decode([record({**GOOD, "event_id": each}) for each in ids])
    assert [each == 0 for each in batch.event_ids] == [True, True, False]
    few, _, _ = decoder.decode([record({**GOOD, "event_id": each}) for each in [*ids, *[None] * FEW]])
    assert [each == 0 for each in few.event_ids] == [True, True, False, *[True] * FEW]


def test_ratings_weigh_by_their_scale() -> None:
    decoder = Decoder(ModelSettings(rating_scale={"low": 1, "high": 10, "neutral": 6}))
    batch, _, rejections = decoder.decode(
        [record({**GOOD, "kind": "rating", "value": value}, "feedback", value) for value in (1, 6, 8, 10, 0, 11)]
    )
    assert (batch.weights / WEIGHT_ONE).tolist() == [-2.0, 0.0, 1.0, 2.0]
    assert batch.values.tolist() == [1, 6, 8, 10]
    assert [(each.record.offset, each.outcome) for each in rejections] == [(0, "dead_letters"), (11, "dead_letters")]
    assert "outside the scale of ratings, 1 to 10 (CORRENTE_MODEL__RATING_SCALE)" in rejections[0].reason


def test_numbers_may_be_text(decoder: Decoder) -> None:
    bought = {**GOOD, "quantity": "2", "price": "9.99", "position": "3"}
    batch, _, rejections = decoder.decode(
        [record(bought, "purchases"), record({**GOOD, "kind": "rating", "value": " 5 "}, "feedback")]
    )
    assert rejections == []
    assert (batch.weights / WEIGHT_ONE).tolist() == [3.0, 2.0]
    assert batch.values[1] == 5


def test_times_are_read_by_one_rule_and_zero_is_none(decoder: Decoder) -> None:
    day, now = 1_699_920_000, NOW_MS / 1000
    times = {day: day, day * 1000: day, day * 10**6: day, day * 10**9: day, str(day): day, str(day * 1000): day}
    times |= {"20231114": day, 20231114: day, "2023-11-14 00:00:00 UTC": day, "2023-11-14": day}
    times |= {0: now, "0": now, "1970-01-01T00:00:00Z": now, 1: 1, "1970-08-23T06:38:34Z": 20241514}
    batch, _, rejections = decoder.decode([record({**GOOD, "timestamp": each}) for each in times])
    assert rejections == []
    assert batch.seconds.tolist() == list(times.values())


def test_a_mark_before_the_json_is_ignored(decoder: Decoder) -> None:
    records = [record(b"\xef\xbb\xbf" + record({**GOOD, "item": n}).value, offset=n) for n in range(5)]
    records[3] = record(b"\xef\xbb\xbf{", offset=3)
    batch, good, (rejection,) = decoder.decode(records)
    assert [each.offset for each in good] == [0, 1, 2, 4]
    assert_same(batch, decoder.decode([record({**GOOD, "item": n}) for n in (0, 1, 2, 4)])[0])
    assert rejection.reason == "value: Input data was truncated; an event is one JSON object"


def test_events_of_unknown_kinds_are_learned_and_counted_by_kind() -> None:
    decoder = Decoder(ModelSettings(weights={"purchase": 3.0, "wish": 1.5}))
    kinds = ["view", "addtocart", "wish", "rating", "addtocart", "purchase", "orders"]
    records = [record({**GOOD, "kind": kind}, "feedback", n) for n, kind in enumerate(kinds)]
    records += [record(GOOD), record({"user": "NULL", "item": "tea", "kind": "lost"}, "feedback")]
    unknown: Counter[str] = Counter()
    batch, good, _ = decoder.decode(records, unknown_kinds=unknown)
    assert unknown == {"addtocart": 2, "orders": 1}
    assert (batch.weights / WEIGHT_ONE)[[1, 6]].tolist() == [1.0, 1.0]
    assert len(good) == len(kinds) + 1


class FailsOn(Decoder):
    """A decoder whose columns fail on one item, in a way that was not foreseen."""

    def __init__(self, item: str, error: Exception) -> None:
        super().__init__(ModelSettings())
        self._fails_on, self._error = item, error

    def _kinds(self, events: Any, records: Any, bad: Any) -> Any:
        if any(event.item == self._fails_on for event in events):
            raise self._error
        return super()._kinds(events, records, bad)


@pytest.mark.parametrize("places", [[0], [999], [500, 501, 777]])
def test_a_record_that_decoding_fails_on_is_isolated_and_the_others_are_decoded_as_if_alone(places: list[int]) -> None:
    records = [record({**GOOD, "item": "fails" if n in places else n}, offset=n) for n in range(1000)]
    records[600] = record(b"{", offset=600)
    batch, good, rejections = FailsOn("fails", ZeroDivisionError("a bug")).decode(records)
    isolated = [each for each in rejections if each.isolated]
    assert [each.record.offset for each in isolated] == places
    assert {each.reason for each in isolated} == {"failed: ZeroDivisionError: a bug"}
    assert [each.record.offset for each in rejections] == sorted([*places, 600])
    alone, _, _ = Decoder(ModelSettings()).decode(good)
    assert_same(batch, alone)
    again, _, told = Decoder(ModelSettings()).decode(records, {("clicks", place): "as before" for place in places})
    assert_same(again, alone)
    assert [(each.record.offset, each.isolated) for each in told] == [
        (each.record.offset, each.isolated) for each in rejections
    ]


@pytest.mark.parametrize("error", [MemoryError(), OSError(24, "too many open files")])
def test_a_shortage_of_the_machine_is_no_records_fault(error: Exception) -> None:
    with pytest.raises(type(error)):
        FailsOn("fails", error).decode([record(GOOD), record({**GOOD, "item": "fails"})])


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


def test_the_weight_of_a_rating_rises_from_the_lowest_value_to_the_highest() -> None:
    assert [rating_weight(stars, RatingScale()) for stars in (0, 1, 2.5, 5)] == [-2.0, -1.2, 0.0, 2.0]
    assert [rating_weight(value, RatingScale(0, 1, neutral=0)) for value in (0, 0.5, 1)] == [0.0, 1.0, 2.0]
