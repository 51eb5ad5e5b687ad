"""Decoding of Kafka records to the arrays that the learner takes, one row per event.

This file decides which records of a batch are bad, and the weight of an event. A whole batch is decoded, checked and
hashed at once, and each of these steps notes the rows that it can't take instead of giving up. Only the noted records
are looked at one by one, for the reason (`stream.ingest.record_checks`). The rows of the good ones stay as if the
others had never been there. If a step fails in a way that it doesn't know, the batch is halved, down to the records on
which it fails. Which events are duplicates is decided by the learner, in order, and where rejections are sent by
`stream.kafka.dead_letters`.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from operator import attrgetter, call, itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.events import (
    ID_MAX_BYTES,
    LATEST_SECONDS,
    MAX_NESTING,
    TOPIC_TYPES,
    Event,
    InvalidEvent,
    check_nesting,
    decoder,
    plain,
    seconds_of,
    text_of,
)
from stream.ingest.origins import topic_of
from stream.ingest.record_checks import RECORD_MAX_BYTES, DecoderByOrigin, bad_text, undecodable, unlearnable
from stream.ingest.records import NO_PLACES, Place, Record, Rejection, failure_of
from stream.models.batch import CLICK, EVENT_SALT, ITEM_SALT, KINDS, OTHER_KIND, PURCHASE, WEIGHT_MOST, EventBatch
from stream.models.kernels.hashing import SEPARATOR, Keys, hash_joined, salt_key
from stream.models.schema import WEIGHT_ONE
from stream.models.settings import ModelSettings

RATING_CENTRE = 2.5
RATING_STEP = 1.25
"""A rating weighs (value - RATING_CENTRE) / RATING_STEP: five stars 2, one star -1.2."""
MAX_RATING_WEIGHT = 2.0
MAX_RATING = 1e6
"""Largest value of a rating that is passed on, in either direction; a larger one counts as this."""

FEW = 100
"""Bad records up to which it is quicker to remove each from the list of a batch than to make a new list."""

SLICE = 256
"""Ids that are checked at once where the check of all ids of a batch has failed."""

_STAND_IN = "?"
"""Takes the place of a bad id until its row is removed."""

ID_SCOPES = {"purchases": np.uint64(0x9E37_79B9_7F4A_7C15), "feedback": np.uint64(0xC2B2_AE3D_27D4_EB4F)}
"""Mask of the hashed event ids of each topic, so that a click and a purchase may have the same id. Clicks have none."""

# Getters that run in C: one field is read from each of thousands of records, and this takes half of the time that
# attribute access in Python takes.
_origin, _offset, _timestamp_ms, _value = map(itemgetter, range(4))
_place = itemgetter(0, 1)
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
        self._decoders = DecoderByOrigin({topic: decoder(topic, fields).decode for topic in TOPIC_TYPES})
        self._weights = settings.weights
        self._visitor_salt = salt_key(settings.visitor_salt)
        self._item_salt = salt_key(ITEM_SALT)
        self._event_salt = salt_key(EVENT_SALT)
        self._max_future_seconds = max_future_seconds

    def decode(
        self, records: Sequence[Record], isolated: Mapping[Place, str] = NO_PLACES
    ) -> tuple[EventBatch, list[Record], list[Rejection]]:
        """Decode records.

        Args:
            records: of any origins.
            isolated: records that are rejected unseen, with the reason of each.

        Returns:
            The good records as a batch (`tested` is all 0), the good records themselves, and a rejection for each of
            the others, each in the order of `records`.

        Raises:
            MemoryError, OSError: this machine is short of something, and no record is to blame.
        """
        if not isolated or isolated.keys().isdisjoint(map(_place, records)):
            return self._halving(records)
        batch, good, rejections = self._halving([record for record in records if _place(record) not in isolated])
        rejections += [
            Rejection(record, isolated[_place(record)], isolated=True)
            for record in records
            if _place(record) in isolated
        ]
        order = {_place(record): number for number, record in enumerate(records)}
        rejections.sort(key=lambda rejection: order[_place(rejection.record)])
        return batch, good, rejections

    def _halving(self, records: Sequence[Record]) -> tuple[EventBatch, list[Record], list[Rejection]]:
        """Decode records; if that fails unexpectedly, decode each half, down to the records that it fails on."""
        try:
            return self._whole(records)
        except (MemoryError, OSError):
            raise
        except Exception as error:  # whatever it is, most records of the batch have no part in it
            if not records:
                raise
            if len(records) == 1:
                batch, good, _ = self._whole([])
                return batch, good, [Rejection(records[0], failure_of(error), isolated=True)]
        middle = len(records) // 2
        first, second = self._halving(records[:middle]), self._halving(records[middle:])
        return _joined(first[0], second[0]), first[1] + second[1], first[2] + second[2]

    def _whole(self, records: Sequence[Record]) -> tuple[EventBatch, list[Record], list[Rejection]]:
        """Decode and check all records at once, and look only at the bad ones one by one."""
        events, undecoded = self._events(records)
        good = list(records)
        if len(undecoded) < FEW:
            for place in reversed(undecoded):
                del good[place]
        else:
            without = set(undecoded)
            good = [record for place, record in enumerate(records) if place not in without]
        batch, bad = self._batch(events, good)
        if not undecoded and not bad:
            return batch, good, []
        rejections = {place: undecodable(records[place], self._decoders) for place in undecoded}
        if bad:
            places = np.delete(np.arange(len(records)), undecoded).tolist() if undecoded else range(len(records))
            for row in bad:
                rejections[places[row]] = unlearnable(good[row], events[row], self._max_future_seconds)
            rising = sorted(bad)
            batch = _kept(batch, rising)
            if len(rising) < FEW:
                for row in reversed(rising):
                    del good[row]
            else:
                good = [record for row, record in enumerate(good) if row not in bad]
        return batch, good, [rejections[place] for place in sorted(rejections)]

    def _events(self, records: Sequence[Record]) -> tuple[list[Event], list[int]]:
        """The events of all records that can be decoded, and the places of the others, rising."""
        events: list[Event] = []
        bad: list[int] = []
        decoded = map(call, map(self._decoders.__getitem__, map(_origin, records)), map(_value, records))
        while True:
            try:
                events.extend(decoded)  # what was decoded before an error stays, and the next call goes on behind it
                return events, bad
            except (MemoryError, OSError):
                raise
            except Exception:  # its reason is looked for in `undecodable`
                bad.append(len(events) + len(bad))

    def _batch(self, events: Sequence[Event], records: Sequence[Record]) -> tuple[EventBatch, set[int]]:
        """Decoded events as arrays, and the numbers of the rows that are bad and hold something else."""
        count = len(events)
        bad: set[int] = set()
        items, names, starts = _hashed(list(map(_item, events)), self._item_salt, bad)
        users, named = list(map(_user, events)), list(map(_session, events))
        visitors, _, _ = _hashed(_first_of(users, named), self._visitor_salt, bad)
        sessions = visitors
        if named.count(None) < count:
            sessions, _, _ = _hashed(_first_of(named, users), self._visitor_salt, bad)
        arrived = np.fromiter(map(_timestamp_ms, records), np.float64, count) / 1000
        seconds = _seconds(list(map(_timestamp, events)), arrived, bad)
        in_bounds = (seconds >= 0) & (seconds <= np.minimum(arrived + self._max_future_seconds, LATEST_SECONDS))
        if not in_bounds.all():
            bad.update(np.flatnonzero(~in_bounds).tolist())
        weights, kinds, values, scopes = self._kinds(events, records, bad)
        _check_values(records, bad)
        batch = EventBatch(
            items=items,
            visitors=visitors,
            sessions=sessions,
            event_ids=self._event_ids(events, scopes, bad),
            seconds=seconds,
            weights=weights,
            kinds=kinds,
            values=values,
            learned=np.ones(count, np.uint8),
            tested=np.zeros(count, np.uint8),
            names=names,
            starts=starts,
        )
        return batch, bad

    def _event_ids(self, events: Sequence[Event], scopes: NDArray[np.uint64], bad: set[int]) -> NDArray[np.uint64]:
        """Hashes of the event ids, at least 1 and different for each topic; 0 for an event without one."""
        ids = list(map(_event_id, events))
        missing = ids.count(None)
        if missing == len(ids):
            return np.zeros(len(ids), np.uint64)
        if missing < FEW:
            absent = _absent(ids) if missing else []
            keys, _, _ = _hashed(_replaced(ids, absent), self._event_salt, bad)
            hashes = np.maximum(keys[:, 0] ^ scopes, 1)
            hashes[absent] = 0
            return hashes
        hashes = np.zeros(len(ids), np.uint64)
        places = [place for place, event_id in enumerate(ids) if event_id is not None]
        bad_here: set[int] = set()
        keys, _, _ = _hashed([ids[place] for place in places], self._event_salt, bad_here)
        hashes[places] = np.maximum(keys[:, 0] ^ scopes[places], 1)
        bad.update(places[number] for number in bad_here)
        return hashes

    def _kinds(self, events: Sequence[Event], records: Sequence[Record], bad: set[int]) -> tuple[Any, Any, Any, Any]:
        """Weights (int16), kinds (uint8), values of ratings (float32, else NaN) and id scopes (uint64)."""
        weights = np.full(len(events), self._weights.get("click", 1.0))
        kinds = np.full(len(events), CLICK, np.uint8)
        values = np.full(len(events), np.nan, np.float32)
        scopes = np.zeros(len(events), np.uint64)
        purchase = self._weights.get("purchase", 1.0)
        topics = {origin: topic_of(origin) for origin in set(map(_origin, records))}
        if set(topics.values()) <= {"clicks"}:
            return _stored(weights), kinds, values, scopes
        for place, topic in enumerate(map(topics.__getitem__, map(_origin, records))):
            if topic == "clicks":
                continue
            event: Any = events[place]
            scopes[place] = ID_SCOPES[topic]
            if topic == "purchases":
                weights[place] = purchase
                kinds[place] = PURCHASE
                if not (_finite(event.quantity) and _finite(event.price)):
                    bad.add(place)
                continue
            kind, value = event.kind, event.value
            if not _finite(value):
                bad.add(place)
                continue
            kinds[place] = KINDS.get(kind, OTHER_KIND)
            if kind == "rating" and value is not None:
                weights[place] = rating_weight(value)
                values[place] = min(MAX_RATING, max(-MAX_RATING, value))
            else:
                weights[place] = self._weights.get(kind, 1.0)
        return _stored(weights), kinds, values, scopes


def _first_of(ids: list[Any], others: list[Any]) -> list[Any]:
    """Each id, or the one from `others` if it is None."""
    missing = ids.count(None)
    if not missing:
        return ids
    if missing < FEW:
        chosen = list(ids)
        for place in _absent(ids):
            chosen[place] = others[place]
        return chosen
    return [other if identifier is None else identifier for identifier, other in zip(ids, others, strict=True)]


def _stored(weights: NDArray[np.float64]) -> NDArray[np.int16]:
    """Weights as the tables keep them, in steps of `1 / WEIGHT_ONE`."""
    return np.rint(np.clip(weights, -WEIGHT_MOST, WEIGHT_MOST) * WEIGHT_ONE).astype(np.int16)


def rating_weight(value: float) -> float:
    """Weight of a rating: 0 in the middle of the scale, at most twice a click in either direction.

    >>> rating_weight(5), rating_weight(2.5), rating_weight(1), rating_weight(-100)
    (2.0, 0.0, -1.2, -2.0)
    """
    return min(MAX_RATING_WEIGHT, max(-MAX_RATING_WEIGHT, (value - RATING_CENTRE) / RATING_STEP))


def _finite(number: float | None) -> bool:
    return number is None or math.isfinite(number)


def _hashed(ids: Sequence[Any], key: Keys, bad: set[int]) -> tuple[Keys, NDArray[np.uint8], NDArray[np.int64]]:
    """Keys of ids, the ids joined by the separator, and the start of each in that text.

    Numbers of bad ids are added to `bad`; their keys are those of something else.
    """
    if not ids:
        return np.empty((0, 2), np.uint64), np.empty(0, np.uint8), np.zeros(1, np.int64)
    try:
        all_plain = plain(ids)
    except TypeError:  # at least one id is no string
        ids = _present(ids, bad)
        try:
            all_plain = plain(ids)
        except TypeError:
            ids = _texts(ids, bad)
            all_plain = plain(ids)
    if not all_plain:
        unfit = _unfit(ids)
        bad.update(unfit)
        ids = _replaced(ids, unfit)
    joined = np.frombuffer(SEPARATOR.join(ids).encode(), np.uint8)
    keys, starts = hash_joined(joined, len(ids), key)
    sizes = np.diff(starts)
    if sizes.min() <= 1 or sizes.max() > ID_MAX_BYTES + 1:
        bad.update(np.flatnonzero((sizes <= 1) | (sizes > ID_MAX_BYTES + 1)).tolist())
    return keys, joined, starts


def _replaced(ids: Sequence[Any], places: list[int]) -> Sequence[Any]:
    """These ids with stand-ins at some places."""
    if not places:
        return ids
    replaced = list(ids)
    for place in places:
        replaced[place] = _STAND_IN
    return replaced


def _unfit(ids: Sequence[str]) -> list[int]:
    """The places of ids with a character that no id may have. Most slices of a batch have none."""
    return [
        start + number
        for start in range(0, len(ids), SLICE)
        if not plain(ids[start : start + SLICE])
        for number, text in enumerate(ids[start : start + SLICE])
        if not text.isprintable() and bad_text(text)
    ]


def _absent(ids: Sequence[Any]) -> list[int]:
    """The places of None. Searching for the next one takes less time than looking at each, if there are few."""
    places: list[int] = []
    with contextlib.suppress(ValueError):
        while True:
            places.append(ids.index(None, places[-1] + 1 if places else 0))
    return places


def _present(ids: Sequence[Any], bad: set[int]) -> Sequence[Any]:
    """Ids of which each absent one is bad and becomes a stand-in."""
    absent = _absent(ids)
    bad.update(absent)
    return _replaced(ids, absent)


def _texts(ids: Sequence[Any], bad: set[int]) -> list[str]:
    """Ids as strings; an integer with too many digits is bad and becomes a stand-in."""
    huge = [place for place, each in enumerate(ids) if type(each) is int and each.bit_length() > 4 * ID_MAX_BYTES]
    bad.update(huge)
    return list(map(text_of, _replaced(ids, huge)))


def _seconds(timestamps: list[Any], arrived: NDArray[np.float64], bad: set[int]) -> NDArray[np.float64]:
    """Times of events in seconds; an event without one takes the timestamp of its record."""
    if str in set(map(type, timestamps)):
        timestamps = list(timestamps)
        for place, stamp in enumerate(timestamps):
            if isinstance(stamp, str):
                try:
                    timestamps[place] = seconds_of(stamp)
                except InvalidEvent:
                    timestamps[place] = 0.0
                    bad.add(place)
    seconds = np.array(timestamps, np.float64)  # None becomes NaN, which JSON can't express
    return np.where(np.isnan(seconds), arrived, seconds)


def _check_values(records: Sequence[Record], bad: set[int]) -> None:
    """Note records that are too long, or nested too deep. Shorter ones can't be: a level takes two bytes."""
    if max(map(len, map(_value, records)), default=0) <= 2 * MAX_NESTING:
        return
    for place, value in enumerate(map(_value, records)):
        if len(value) > 2 * MAX_NESTING:
            if len(value) > RECORD_MAX_BYTES:
                bad.add(place)
                continue
            try:
                check_nesting(value)
            except InvalidEvent:
                bad.add(place)


def _kept(batch: EventBatch, bad: Sequence[int]) -> EventBatch:
    """A batch without some rows, whose numbers are rising."""
    keep = np.ones(len(batch.seconds), bool)
    keep[bad] = False
    rows = np.flatnonzero(keep)
    starts = np.zeros(rows.size + 1, np.int64)
    np.cumsum(np.diff(batch.starts)[rows], out=starts[1:])
    begins, ends = [0, *batch.starts[np.add(bad, 1)].tolist()], [*batch.starts[bad].tolist(), batch.names.size + 1]
    text = batch.names.tobytes() + b"\0"
    names = b"".join([text[begin:end] for begin, end in zip(begins, ends, strict=True)])[:-1]
    columns = {
        name: column.take(rows, 0) for name, column in batch._asdict().items() if name not in ("names", "starts")
    }
    return EventBatch(**columns, names=np.frombuffer(names, np.uint8), starts=starts)


def _joined(first: EventBatch, second: EventBatch) -> EventBatch:
    """The rows of two batches, one behind the other."""
    if not len(first.seconds) or not len(second.seconds):
        return first if len(first.seconds) else second
    names = np.concatenate([first.names, np.zeros(1, np.uint8), second.names])
    starts = np.concatenate([first.starts, second.starts[1:] + first.starts[-1]])
    columns = {
        name: np.concatenate([column, getattr(second, name)])
        for name, column in first._asdict().items()
        if name not in ("names", "starts")
    }
    return EventBatch(**columns, names=names, starts=starts)
