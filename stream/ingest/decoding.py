"""Decoding of Kafka records to the arrays that the learner takes, one row per event.

This file decides which records of a batch are bad, and the weight of an event. A whole batch is decoded, checked and
hashed at once, and each of these steps notes the rows that it can't take instead of giving up. Only the noted records
are looked at one by one, for the reason (`stream.ingest.record_checks`). The rows of the good ones stay as if the
others had never been there. If a step fails in a way that it doesn't know, the batch is halved, down to the records on
which it fails. Which events are duplicates is decided by the learner, in order, and where rejections are sent by
`stream.kafka.dead_letters`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import compress
from operator import attrgetter, call, itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.events import (
    MAX_NESTING,
    RATING,
    TOPIC_TYPES,
    Event,
    check_nesting,
    decoder,
)
from stream.ingest.id_keys import IdKeys
from stream.ingest.kinds import is_known
from stream.ingest.left_out import LeftOut
from stream.ingest.origins import topic_of
from stream.ingest.record_checks import (
    RECORD_MAX_BYTES,
    DecoderByOrigin,
    undecodable,
    unlearnable,
    without_mark,
)
from stream.ingest.records import NO_PLACES, Place, Record, Rejection, failure_of
from stream.models.batch import WEIGHT_MOST, EventBatch
from stream.models.event_codes import CLICK, KINDS, OTHER_KIND, PURCHASE, RETURN
from stream.models.schema import WEIGHT_ONE
from stream.models.settings import ModelSettings
from stream.values import (
    LAST_DATE,
    LATEST_SECONDS,
    InvalidEvent,
    RatingScale,
    number_of,
    seconds_of,
    seconds_of_numbers,
)

MAX_RATING_WEIGHT = 2.0
"""Weight of the highest value of a rating; the lowest one weighs its negative."""

FEW = 100
"""Bad records up to which it is quicker to remove each from the list of a batch than to make a new list."""

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
        self._settings = settings
        self._weights = settings.weights
        self._click_weight = _stored(settings.weights.get("click", 1.0))
        self._quantity_exponent = settings.quantity_exponent
        self._scale = settings.scale
        self._id_keys = IdKeys(settings)
        self._left_out = LeftOut(settings.null_ids, settings.consent_default)
        self._max_future_seconds = max_future_seconds

    def decode(
        self,
        records: Sequence[Record],
        isolated: Mapping[Place, str] = NO_PLACES,
        unknown_kinds: Counter[str] | None = None,
        left_out: Counter[tuple[str, str]] | None = None,
    ) -> tuple[EventBatch, list[Record], list[Rejection]]:
        """Decode records.

        Args:
            records: of any origins.
            isolated: records that are rejected unseen, with the reason of each.
            unknown_kinds: the good events of unknown kinds are added to it, by kind.
            left_out: the good events of mapped records that are left out are added to it, by origin and rule.

        Returns:
            The good records as a batch (`tested` is all 0), the good record of each of its rows, and a rejection for
            each of the others, each in the order of `records`.

        Raises:
            MemoryError, OSError: this machine is short of something, and no record is to blame.
        """
        if not isolated or isolated.keys().isdisjoint(map(_place, records)):
            return self._halving(records, unknown_kinds, left_out)
        others = [record for record in records if _place(record) not in isolated]
        batch, good, rejections = self._halving(others, unknown_kinds, left_out)
        rejections += [
            Rejection(record, isolated[_place(record)], isolated=True)
            for record in records
            if _place(record) in isolated
        ]
        order = {_place(record): number for number, record in enumerate(records)}
        rejections.sort(key=lambda rejection: order[_place(rejection.record)])
        return batch, good, rejections

    def _halving(
        self,
        records: Sequence[Record],
        unknown_kinds: Counter[str] | None,
        left_out: Counter[tuple[str, str]] | None,
    ) -> tuple[EventBatch, list[Record], list[Rejection]]:
        """Decode records; if that fails unexpectedly, decode each half, down to the records that it fails on."""
        try:
            return self._whole(records, unknown_kinds, left_out)
        except (MemoryError, OSError):
            raise
        except Exception as error:  # whatever it is, most records of the batch have no part in it
            if not records:
                raise
            if len(records) == 1:
                batch, good, _ = self._whole([])
                return batch, good, [Rejection(records[0], failure_of(error), isolated=True)]
        middle = len(records) // 2
        first = self._halving(records[:middle], unknown_kinds, left_out)
        second = self._halving(records[middle:], unknown_kinds, left_out)
        return _joined(first[0], second[0]), first[1] + second[1], first[2] + second[2]

    def _whole(
        self,
        records: Sequence[Record],
        unknown_kinds: Counter[str] | None = None,
        left_out: Counter[tuple[str, str]] | None = None,  # noqa: ARG002  only a mapped record has several events
    ) -> tuple[EventBatch, list[Record], list[Rejection]]:
        """Decode and check all records at once, and look only at the bad ones one by one."""
        events, undecoded = self._events(records, self._decoders)
        good = list(records)
        if len(undecoded) < FEW:
            for place in reversed(undecoded):
                del good[place]
        else:
            without = set(undecoded)
            good = [record for place, record in enumerate(records) if place not in without]
        batch, bad = self._batch(events, good)
        self._note_kinds(batch, events, unknown_kinds, bad)
        if not undecoded and not bad:
            return batch, good, []
        rejections = {place: undecodable(records[place], self._decoders) for place in undecoded}
        if bad:
            places = np.delete(np.arange(len(records)), undecoded).tolist() if undecoded else range(len(records))
            for row in bad:
                rejections[places[row]] = unlearnable(
                    good[row], events[row], self._max_future_seconds, self._settings.scale, self._left_out
                )
            rising = sorted(bad)
            batch = _kept(batch, rising)
            if len(rising) < FEW:
                for row in reversed(rising):
                    del good[row]
            else:
                good = [record for row, record in enumerate(good) if row not in bad]
        return batch, good, [rejections[place] for place in sorted(rejections)]

    def _note_kinds(
        self,
        batch: EventBatch,
        events: Sequence[Event],
        unknown_kinds: Counter[str] | None,
        bad: Collection[int] = (),
    ) -> None:
        """Count the events of unknown kinds, but for those in the bad rows."""
        if unknown_kinds is not None:
            for row in np.flatnonzero(batch.kinds == OTHER_KIND).tolist():
                kind = events[row].kind  # type: ignore[attr-defined]  # clicks and purchases have kinds of their own
                if row not in bad and not is_known(kind, self._weights):
                    unknown_kinds[kind] += 1

    def _events(
        self, records: Sequence[Record], decoders: Mapping[str, Callable[[Any], Any]]
    ) -> tuple[list[Event], list[int]]:
        """The events of all records that can be decoded, and the places of the others, rising.

        Args:
            records: the batch.
            decoders: by origin.
        """
        events: list[Event] = []
        bad: list[int] = []
        different = {decoders[origin] for origin in set(map(_origin, records))}
        if len(different) == 1:  # a batch of one topic: no decoder has to be found for each record
            decoded = map(different.pop(), map(_value, records))
        else:
            decoded = map(call, map(decoders.__getitem__, map(_origin, records)), map(_value, records))
        while True:
            try:
                events.extend(decoded)  # what was decoded before an error stays, and the next call goes on behind it
                return events, bad
            except (MemoryError, OSError):
                raise
            except Exception:  # its reason is looked for in `undecodable`
                place = len(events) + len(bad)
                if (event := self._without_mark(records[place], decoders)) is None:
                    bad.append(place)
                else:
                    events.append(event)

    @staticmethod
    def _without_mark(record: Record, decoders: Mapping[str, Callable[[Any], Any]]) -> Event | None:
        """The event of a record that begins with a byte-order mark, or None if it can't be decoded either."""
        value = without_mark(record.value)
        if value is record.value:
            return None
        try:
            event: Event = decoders[record.origin](value)
            return event
        except (MemoryError, OSError):
            raise
        except Exception:  # its reason is looked for in `undecodable`
            return None

    def _batch(self, events: Sequence[Event], records: Sequence[Record]) -> tuple[EventBatch, set[int]]:
        """Decoded events as arrays, and the numbers of the rows that are bad and hold something else."""
        count = len(events)
        bad: set[int] = set()
        items, names, starts = self._id_keys.of_items(list(map(_item, events)), bad)
        visitors, sessions = self._id_keys.of_visitors(list(map(_user, events)), list(map(_session, events)), bad)
        arrived = np.fromiter(map(_timestamp_ms, records), np.float64, count) / 1000
        latest = np.minimum(arrived + self._max_future_seconds, LATEST_SECONDS)
        seconds = _seconds(list(map(_timestamp, events)), arrived, latest, bad)
        weights, kinds, values, scopes = self._kinds(events, records, bad)
        bodies = list(map(_value, records))
        if max(map(len, bodies), default=0) > 2 * MAX_NESTING:  # shorter ones can't be nested too deep
            self._check_values(bodies, bad)
        batch = EventBatch(
            items=items,
            visitors=visitors,
            sessions=sessions,
            event_ids=self._id_keys.of_events(list(map(_event_id, events)), scopes, bad),
            seconds=seconds,
            weights=weights,
            kinds=kinds,
            values=values,
            learned=self._left_out.learned(events, bad),
            tested=np.zeros(count, np.uint8),
            names=names,
            starts=starts,
        )
        return batch, bad

    def _check_values(self, values: Sequence[bytes], bad: set[int]) -> None:
        """Note records that are too long, or nested too deep."""
        for place, value in enumerate(values):
            if len(value) > 2 * MAX_NESTING:
                if len(value) > RECORD_MAX_BYTES:
                    bad.add(place)
                    continue
                try:
                    check_nesting(value)
                except InvalidEvent:
                    bad.add(place)

    def _kinds(self, events: Sequence[Event], records: Sequence[Record], bad: set[int]) -> tuple[Any, Any, Any, Any]:
        """Weights (int16), kinds (uint8), values of ratings (float32, else NaN) and id scopes (uint64)."""
        weights = np.full(len(events), self._click_weight, np.int16)
        kinds = np.full(len(events), CLICK, np.uint8)
        values = np.full(len(events), np.nan, np.float32)
        scopes = np.zeros(len(events), np.uint64)
        topics = {origin: topic_of(origin) for origin in set(map(_origin, records))}
        others = frozenset(origin for origin, topic in topics.items() if topic != "clicks")
        if not others:
            return weights, kinds, values, scopes
        purchase, returned, scale = self._weights.get("purchase", 1.0), return_weight(self._weights), self._scale
        places = list(compress(range(len(records)), map(others.__contains__, map(_origin, records))))
        given = []
        for place in places:
            topic = topics[records[place].origin]
            event: Any = events[place]
            scopes[place] = ID_SCOPES[topic]
            weight = 1.0
            if topic == "purchases":
                weight = purchase
                kinds[place] = PURCHASE
                quantity, price = event.quantity, event.price
                if quantity.__class__ is str or price.__class__ is str:
                    quantity, price = _number(quantity), _number(price)
                if not (_finite(quantity) and _finite(price)) or quantity == 0:
                    bad.add(place)
                elif quantity is not None:
                    if quantity < 0:
                        weight = returned
                        kinds[place] = RETURN
                    if self._quantity_exponent:
                        weight *= abs(quantity) ** self._quantity_exponent
            else:
                kind, value = event.kind, event.value
                if value.__class__ is str:
                    value = _number(value)
                rated = kind == RATING and value is not None
                if not _finite(value) or (rated and not scale.low <= value <= scale.high):
                    bad.add(place)
                elif rated:
                    weight = rating_weight(value, scale)
                    values[place] = value
                else:
                    weight = self._weights.get(kind, 1.0)
                kinds[place] = KINDS.get(kind, OTHER_KIND)
            given.append(_stored(weight))
        weights[places] = given
        return weights, kinds, values, scopes


def _stored(weight: float) -> int:
    """A weight as the tables keep it, in steps of `1 / WEIGHT_ONE`."""
    return round(max(-WEIGHT_MOST, min(WEIGHT_MOST, weight)) * WEIGHT_ONE)


def return_weight(weights: Mapping[str, float]) -> float:
    """Weight of a purchase with a negative quantity: that of a `return`, or else minus that of a purchase.

    >>> return_weight({"purchase": 3.0, "return": -2.0}), return_weight({"purchase": 3.0})
    (-2.0, -3.0)
    """
    return weights.get("return", -weights.get("purchase", 1.0))


def rating_weight(value: float, scale: RatingScale) -> float:
    """Weight of a rating: 0 for the neutral value, and twice a click, or minus that, at the ends of the scale.

    >>> [rating_weight(stars, RatingScale()) for stars in (5, 2.5, 1, 0)]
    [2.0, 0.0, -1.2, -2.0]
    >>> [rating_weight(points, RatingScale(1, 10, neutral=6)) for points in (10, 6, 1)]
    [2.0, 0.0, -2.0]
    """
    side = scale.high - scale.neutral if value > scale.neutral else scale.neutral - scale.low
    return (value - scale.neutral) / (side / MAX_RATING_WEIGHT) if side else 0.0


def _finite(number: float | None) -> bool:
    return number is None or math.isfinite(number)


def _number(value: float | str | None) -> float | None:
    """A number that may be text; NaN for a text that is none."""
    try:
        return number_of("", value)
    except InvalidEvent:
        return math.nan


def _seconds(
    timestamps: list[Any], arrived: NDArray[np.float64], latest: NDArray[np.float64], bad: set[int]
) -> NDArray[np.float64]:
    """Times of events in seconds; an event without one takes the timestamp of its record.

    Nearly all batches have nothing but seconds of our years and texts. Only others are looked at for other units, dates
    and zeros.

    Args:
        timestamps: of the events.
        arrived, latest: (n,) timestamps of their records, and the latest time that each event may have.
        bad: the rows without a time, or with one outside the bounds, are added to it.
    """
    texts: dict[int, float] = {}
    given_types = set(map(type, timestamps))
    if str in given_types:
        timestamps = list(timestamps)
        for place, stamp in enumerate(timestamps):
            if isinstance(stamp, str):
                try:
                    timestamps[place] = texts[place] = seconds_of(stamp)
                except InvalidEvent:
                    timestamps[place] = texts[place] = 0.0
                    bad.add(place)
    given = np.array(timestamps, np.float64)  # None becomes NaN, which JSON can't express
    seconds = np.where(np.isnan(given), arrived, given) if given_types != {float} else given
    if ((seconds > LAST_DATE) & (seconds <= latest)).all():
        return seconds
    seconds = seconds_of_numbers(given).copy()
    seconds[list(texts)] = list(texts.values())
    seconds = np.where(np.isnan(seconds) | (seconds == 0), arrived, seconds)
    bad.update(np.flatnonzero(~((seconds >= 0) & (seconds <= latest))).tolist())
    return seconds


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
