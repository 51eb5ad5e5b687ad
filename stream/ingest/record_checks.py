"""Checks of single records and events: whether one is good, and the reason if it isn't.

This file decides the reason that a rejection gives. Batches are checked in one piece by `stream.ingest.decoding`, which
comes here only with the records that it finds suspicious.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import msgspec

from stream.events import BOM, TOPIC_TYPES, Event, check_event, check_nesting, is_control
from stream.ingest.left_out import LeftOut
from stream.ingest.origins import topic_of
from stream.ingest.records import Record, Rejection, failure_of
from stream.values import LATEST_SECONDS, InvalidEvent, RatingScale, has_time

RECORD_MAX_BYTES = 1_048_576
"""Longest record that is decoded. Ids, numbers and a small context fit into a fraction of it."""

WIRE_FORMAT = b"\0"
"""First byte of a record in Confluent's wire format (`stream.ingest.schemas`)."""


class DecoderByOrigin(dict[str, Callable[[Any], Any]]):
    """The decoder of each origin, given that of each topic; that of an unknown topic refuses everything."""

    def __missing__(self, origin: str) -> Callable[[Any], Any]:
        topic = topic_of(origin)
        if topic in self:
            self[origin] = found = self[topic]
            return found

        def refuse(_: Any) -> NoReturn:
            raise InvalidEvent(f"topic: there is no topic {topic!r}, only {', '.join(TOPIC_TYPES)}")

        return refuse


def undecodable(record: Record, decoders: Mapping[str, Callable[[Any], Any]]) -> Rejection:
    """The rejection of a record that its topic's decoder refused."""
    try:
        if record.value is None and topic_of(record.origin) in decoders:
            raise InvalidEvent("value: the record is empty (a tombstone); an event is a JSON object")
        check_value(record.value or b"")
        if record.value is not None and record.value[:1] == WIRE_FORMAT:
            raise InvalidEvent(
                "value: it begins in Confluent's wire format, as Avro does, not as JSON; set "
                "CORRENTE_SCHEMA_REGISTRY to read it"
            )
        decoders[record.origin](without_mark(record.value))
    except InvalidEvent as error:
        return Rejection(record, str(error))
    except UnicodeDecodeError as error:
        return Rejection(record, f"value: not valid UTF-8 ({error.reason} at byte {error.start}), which JSON has to be")
    except (msgspec.MsgspecError, ValueError) as error:
        malformed = isinstance(error, msgspec.DecodeError) and not isinstance(error, msgspec.ValidationError)
        return Rejection(record, f"value: {error}" + "; an event is one JSON object" * malformed)
    except (MemoryError, OSError):
        raise
    except Exception as error:
        return Rejection(record, failure_of(error), isolated=True)
    return Rejection(record, "failed: the record could be decoded only the second time", isolated=True)


def unlearnable(
    record: Record, event: Event, max_future_seconds: float, scale: RatingScale, left_out: LeftOut
) -> Rejection:
    """The rejection of an event that the check of its batch refused. An event that is bad is never left out.

    Args:
        record: of the event.
        event: as it was decoded.
        max_future_seconds: the largest allowed lead of an event's time over its record's.
        scale: of ratings.
        left_out: the good events that are not learned.
    """
    try:
        check_value(record.value or b"")
        check_event(event, math.inf, scale=scale)
        check_record_time(record, event)
    except InvalidEvent as error:
        return Rejection(record, str(error))
    try:
        check_lead(record, event, max_future_seconds)
    except InvalidEvent as error:
        return Rejection(record, str(error), refused=True)
    if found := left_out.rule_of(event):
        return Rejection(record, found.reason, unlearned=found.rule)
    return Rejection(record, "failed: the batch's check refuses what the event's check accepts", isolated=True)


def without_mark(value: bytes | None) -> bytes | None:
    """A value without the byte-order mark that some programs write before JSON."""
    return value[len(BOM) :] if value is not None and value.startswith(BOM) else value


def check_value(value: bytes) -> None:
    """Raises `InvalidEvent` if a value is too long, or nested too deep."""
    if len(value) > RECORD_MAX_BYTES:
        raise InvalidEvent(f"value: {len(value)} bytes; an event has at most {RECORD_MAX_BYTES}")
    check_nesting(value)


def check_record_time(record: Record, event: Event) -> None:
    """Raises `InvalidEvent` if an event has no time, neither its own nor its record's."""
    if not has_time(event.timestamp) and not 0 <= record.timestamp_ms <= LATEST_SECONDS * 1000:
        raise InvalidEvent(
            f"timestamp: the event has none, and its record's ({record.timestamp_ms} ms) is outside 1970 to 2106; "
            "give the event or the Kafka record a time"
        )


def check_lead(record: Record, event: Event, max_future_seconds: float) -> None:
    """Raises `InvalidEvent` if an event's own time is too far ahead of its record's, or can't be compared with it."""
    if record.timestamp_ms < 0 and has_time(event.timestamp):
        raise InvalidEvent(
            f"timestamp: {event.timestamp!r} can't be compared with the time of the record, which has none "
            f"({record.timestamp_ms} ms); let the producer or the topic set record timestamps"
        )
    check_event(event, record.timestamp_ms / 1000, max_future_seconds)


def bad_text(text: str) -> bool:
    """True for a text that no id may have: a control character, or half of a surrogate pair."""
    return not text.isprintable() and any(is_control(each) or "\ud800" <= each <= "\udfff" for each in text)
