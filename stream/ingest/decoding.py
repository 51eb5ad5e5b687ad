"""Decoding of Kafka records to the arrays that the learner takes, one row per event.

This file decides what is wrong with a record, and the weight of an event. A whole batch is decoded, checked and hashed
at once. Only if something is wrong in a batch is each record checked by itself; then each bad record becomes a
`Rejection` with the reason, and the good ones go on as if it had never been there. Which events are duplicates is
decided by the learner, in order, and where rejections are sent by `stream.kafka.dead_letters`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from operator import attrgetter, itemgetter
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream.events import (
    ID_MAX_BYTES,
    LATEST_SECONDS,
    TOPIC_TYPES,
    Event,
    InvalidEvent,
    check_event,
    decoder,
    plain,
    seconds_of,
    text_of,
)
from stream.ingest.records import Record, Rejection
from stream.models.batch import CLICK, EVENT_SALT, ITEM_SALT, KINDS, OTHER_KIND, PURCHASE, WEIGHT_MOST, EventBatch
from stream.models.kernels.hashing import SEPARATOR, Keys, hash_joined, salt_key
from stream.models.schema import WEIGHT_ONE
from stream.models.settings import ModelSettings

RECORD_MAX_BYTES = 1_048_576
"""Longest record that is decoded. Ids, numbers and a small context fit into a fraction of it."""

RATING_CENTRE = 2.5
RATING_STEP = 1.25
"""A rating weighs (value - RATING_CENTRE) / RATING_STEP: five stars 2, one star -1.2."""
MAX_RATING_WEIGHT = 2.0

ID_SCOPES = {"purchases": np.uint64(0x9E37_79B9_7F4A_7C15), "feedback": np.uint64(0xC2B2_AE3D_27D4_EB4F)}
"""Mask of the hashed event ids of each topic, so that a click and a purchase may have the same id. Clicks have none."""

# Getters that run in C: one field is read from each of thousands of records, and this takes half of the time that
# attribute access in Python takes.
_topic, _offset, _timestamp_ms, _value = map(itemgetter, range(4))
_topic_and_value = itemgetter(0, 3)
_item, _user, _session = map(attrgetter, ("item", "user", "session"))
_timestamp, _event_id = map(attrgetter, ("timestamp", "event_id"))


class Decoder:
    """Decodes, checks and hashes batches of records.

    Args:
        settings: weights of kinds, and the salt under which visitors are hashed.
        fields: our field name to the producers', where they differ.
        max_future_seconds: how far the time of an event may be ahead of the timestamp of its record.

    >>> decoder = Decoder(ModelSettings())
    >>> good, bad = Record("clicks", 0, 1000, b'{"item": 7, "user": "ada"}'), Record("clicks", 1, 1000, b"{}")
    >>> batch, decoded, rejections = decoder.decode([good, bad])
    >>> batch.seconds.tolist(), [record.offset for record in decoded], [each.record.offset for each in rejections]
    ([1.0], [0], [1])
    """

    def __init__(
        self, settings: ModelSettings, fields: Mapping[str, str] | None = None, max_future_seconds: float = 300.0
    ) -> None:
        self._decode = {topic: decoder(topic, fields).decode for topic in TOPIC_TYPES}
        self._weights = settings.weights
        self._visitor_salt = salt_key(settings.visitor_salt)
        self._item_salt = salt_key(ITEM_SALT)
        self._event_salt = salt_key(EVENT_SALT)
        self._max_future_seconds = max_future_seconds

    def decode(self, records: Sequence[Record]) -> tuple[EventBatch, list[Record], list[Rejection]]:
        """Decode records.

        Returns:
            The good records as a batch (`tested` is all 0), the good records themselves, and a rejection for each of
            the others, each in the order of `records`.
        """
        try:
            decode = self._decode
            events = [decode[topic](value) for topic, value in map(_topic_and_value, records)]
            return self._batch(events, records), list(records), []
        except (msgspec.MsgspecError, InvalidEvent, TypeError, KeyError, UnicodeError, ValueError):
            events, good, rejections = self._one_by_one(records)
            return self._batch(events, good), good, rejections

    def _one_by_one(self, records: Sequence[Record]) -> tuple[list[Event], list[Record], list[Rejection]]:
        """Decode and check each record by itself."""
        events, good, rejections = [], [], []
        for record in records:
            try:
                event = self._one(record)
                check_event(event, math.inf)
            except InvalidEvent as error:
                rejections.append(Rejection(record, str(error)))
                continue
            try:
                check_event(event, record.timestamp_ms / 1000, self._max_future_seconds)
            except InvalidEvent as error:
                rejections.append(Rejection(record, str(error), refused=True))
                continue
            events.append(event)
            good.append(record)
        return events, good, rejections

    def _one(self, record: Record) -> Event:
        """Decode one record.

        Raises:
            InvalidEvent: it is no event of its topic.
        """
        if record.topic not in self._decode:
            raise InvalidEvent(f"topic: there is no topic {record.topic!r}, only {', '.join(self._decode)}")
        if record.value is None:
            raise InvalidEvent("value: the record is empty (a tombstone); an event is a JSON object")
        if len(record.value) > RECORD_MAX_BYTES:
            raise InvalidEvent(f"value: {len(record.value)} bytes; an event has at most {RECORD_MAX_BYTES}")
        try:
            event: Event = self._decode[record.topic](record.value)
        except msgspec.MsgspecError as error:
            raise InvalidEvent(f"value: {error}") from None
        except UnicodeDecodeError as error:
            raise InvalidEvent(f"value: not valid UTF-8 ({error.reason} at byte {error.start})") from None
        except (ValueError, RecursionError) as error:
            raise InvalidEvent(f"value: {error}") from None
        return event

    def _batch(self, events: Sequence[Event], records: Sequence[Record]) -> EventBatch:
        """Convert decoded events to arrays, checking all of them together.

        Raises:
            InvalidEvent, TypeError, ValueError or UnicodeError: some event is wrong. The message doesn't say which one,
                because `decode` then checks each record by itself.
        """
        count = len(events)
        items, names, starts = _hashed(list(map(_item, events)), self._item_salt)
        users, named = list(map(_user, events)), list(map(_session, events))
        visitors, _, _ = _hashed(_first_of(users, named), self._visitor_salt)
        sessions = visitors
        if named.count(None) < count:
            sessions, _, _ = _hashed(_first_of(named, users), self._visitor_salt)
        arrived = np.fromiter(map(_timestamp_ms, records), np.float64, count) / 1000
        seconds = _seconds(list(map(_timestamp, events)), arrived)
        if not np.all((seconds >= 0) & (seconds <= np.minimum(arrived + self._max_future_seconds, LATEST_SECONDS))):
            raise InvalidEvent("timestamp: at least one is out of bounds")
        weights, kinds, values, id_scopes = self._kinds(events, records)
        if max(map(len, map(_value, records)), default=0) > RECORD_MAX_BYTES:
            raise InvalidEvent("value: too long")
        return EventBatch(
            items=items,
            visitors=visitors,
            sessions=sessions,
            event_ids=self._event_ids(events, id_scopes),
            seconds=seconds,
            weights=weights,
            kinds=kinds,
            values=values,
            learned=np.ones(count, np.uint8),
            tested=np.zeros(count, np.uint8),
            names=names,
            starts=starts,
        )

    def _event_ids(self, events: Sequence[Event], scopes: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Hashes of the event ids, at least 1 and different for each topic; 0 for an event without one."""
        ids = list(map(_event_id, events))
        missing = ids.count(None)
        if missing == len(ids):
            return np.zeros(len(ids), np.uint64)
        if missing == 0:
            return np.maximum(_hashed(ids, self._event_salt)[0][:, 0] ^ scopes, 1)
        hashes = np.zeros(len(ids), np.uint64)
        places = [place for place, event_id in enumerate(ids) if event_id is not None]
        keys, _, _ = _hashed([ids[place] for place in places], self._event_salt)
        hashes[places] = np.maximum(keys[:, 0] ^ scopes[places], 1)
        return hashes

    def _kinds(self, events: Sequence[Event], records: Sequence[Record]) -> tuple[Any, Any, Any, Any]:
        """Weights (int16), kinds (uint8), values of ratings (float32, else NaN) and id scopes (uint64)."""
        weights = np.full(len(events), self._weights.get("click", 1.0))
        kinds = np.full(len(events), CLICK, np.uint8)
        values = np.full(len(events), np.nan, np.float32)
        scopes = np.zeros(len(events), np.uint64)
        purchase = self._weights.get("purchase", 1.0)
        for place, topic in enumerate(map(_topic, records)):
            if topic == "clicks":
                continue
            event: Any = events[place]
            scopes[place] = ID_SCOPES[topic]
            if topic == "purchases":
                weights[place] = purchase
                kinds[place] = PURCHASE
                _check_finite(event.quantity, event.price)
                continue
            kind, value = event.kind, event.value
            _check_finite(value)
            kinds[place] = KINDS.get(kind, OTHER_KIND)
            if kind == "rating" and value is not None:
                weights[place] = rating_weight(value)
                values[place] = value
            else:
                weights[place] = self._weights.get(kind, 1.0)
        bounded = np.clip(weights, -WEIGHT_MOST, WEIGHT_MOST)
        return np.rint(bounded * WEIGHT_ONE).astype(np.int16), kinds, values, scopes


def _first_of(ids: list[Any], others: list[Any]) -> list[Any]:
    """Each id, or the one from `others` if it is None."""
    if None not in ids:
        return ids
    return [other if identifier is None else identifier for identifier, other in zip(ids, others, strict=True)]


def rating_weight(value: float) -> float:
    """Weight of a rating: 0 in the middle of the scale, at most twice a click in either direction.

    >>> rating_weight(5), rating_weight(2.5), rating_weight(1), rating_weight(-100)
    (2.0, 0.0, -1.2, -2.0)
    """
    return min(MAX_RATING_WEIGHT, max(-MAX_RATING_WEIGHT, (value - RATING_CENTRE) / RATING_STEP))


def _check_finite(*numbers: float | None) -> None:
    for number in numbers:
        if number is not None and not math.isfinite(number):
            raise InvalidEvent("a number is not finite")


def _hashed(ids: Sequence[Any], key: Keys) -> tuple[Keys, NDArray[np.uint8], NDArray[np.int64]]:
    """Keys of ids, the ids joined by the separator, and the start of each in that text.

    Raises:
        InvalidEvent, TypeError or UnicodeError: an id is bad.
    """
    if not ids:
        return np.empty((0, 2), np.uint64), np.empty(0, np.uint8), np.zeros(1, np.int64)
    try:
        all_plain = plain(ids)
    except TypeError:  # at least one id is no string
        if None in ids:
            raise InvalidEvent("user: one event has neither user nor session") from None
        ids = [text_of(identifier) for identifier in ids]
        all_plain = plain(ids)
    if not all_plain:
        for identifier in ids:
            _check_text(identifier)
    joined = np.frombuffer(SEPARATOR.join(ids).encode(), np.uint8)
    keys, starts = hash_joined(joined, len(ids), key)
    sizes = np.diff(starts)
    if sizes.min() <= 1 or sizes.max() > ID_MAX_BYTES + 1:
        raise InvalidEvent("an id is empty or too long")
    return keys, joined, starts


def _check_text(text: str) -> None:
    if not text.isprintable() and any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in text):
        raise InvalidEvent("an id has a control character")


def _seconds(timestamps: list[Any], arrived: NDArray[np.float64]) -> NDArray[np.float64]:
    """Times of events in seconds; an event without one takes the timestamp of its record."""
    if str not in set(map(type, timestamps)):
        seconds = np.array(timestamps, np.float64)  # None becomes NaN, which JSON can't express
        return np.where(np.isnan(seconds), arrived, seconds)
    return np.array(
        [
            when if stamp is None else seconds_of(stamp)
            for stamp, when in zip(timestamps, arrived.tolist(), strict=True)
        ],
        np.float64,
    )
