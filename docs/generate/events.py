"""Events: fields, kinds, limits, and what is answered to records that can't be learned.

This file decides the sentence about each field, and which wrong records are shown with the reason that they get.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from types import NoneType
from typing import Any

import msgspec

from docs.generate.markdown import code, table
from serving.intake.event_reader import EVENT_MAX_BYTES
from stream.events import ID_MAX_BYTES, TOPIC_TYPES, Event
from stream.ingest.decoding import MAX_RATING_WEIGHT, RECORD_MAX_BYTES, Decoder
from stream.ingest.records import Record
from stream.kafka.dead_letters import DeadLetter, encode_letter
from stream.models.batch import WEIGHT_MOST
from stream.models.event_codes import KINDS
from stream.models.settings import ModelSettings
from stream.settings import Settings

FIELDS: Mapping[str, str] = {
    "item": "what the event is about",
    "user": "who; at least one of `user` and `session` is needed, and the visitor is the user if there is one",
    "session": "the visit that the event belongs to",
    "timestamp": "see [times](#times); without it, the record's time (Kafka) or now (HTTP)",
    "event_id": "an event that comes again under its id in its topic, within a window, counts once; HTTP makes an id",
    "answer": "id of the answer that led to the event",
    "position": "place of the item in that answer; kept in Kafka and not read",
    "context": "anything else, kept in Kafka and not read",
    "consent": "`personal`, `aggregate` or `none`, see [consent](#consent-and-bots); "
    "without it, what `CORRENTE_MODEL__CONSENT_DEFAULT` says",
    "bot": "true if a program made the event; it is not learned then",
    "quantity": "how many were bought; a negative number is a return, and 0 is not learned",
    "price": "for how much",
    "currency": "in which currency",
    "kind": "one of the kinds below, or one of your own of 1 to 64 characters",
    "value": "the number of stars of a `rating`, on the scale of `CORRENTE_MODEL__RATING_SCALE`",
}

HEADERS: Mapping[str, str] = {
    "topic": "name of the topic in Kafka from which the record was read",
    "partition": "its partition",
    "offset": "its offset",
    "reason": "what is wrong with the record, and what would be right; at most 2,000 bytes",
    "original_bytes": "size of the original value",
    "timestamp_ms": "time of the original record, in milliseconds",
    "key": "key of the original record, if it has one",
    "refused": "`1` if it is a good event whose time was too far ahead",
    "cut": "`1` if the value is only the beginning of the original",
    "no_value": "`1` if the record had no value",
}

WRONG: tuple[tuple[str, str], ...] = (
    ("clicks", '{"item": "teapot"'),
    ("clicks", '{"user": "ada"}'),
    ("clicks", '{"item": "teapot"}'),
    ("clicks", '{"item": "", "user": "ada"}'),
    ("clicks", '{"item": 1.5, "user": "ada"}'),
    ("clicks", '{"item": "tea\\u0007pot", "user": "ada"}'),
    ("clicks", '{"item": "teapot", "user": "ada", "timestamp": "yesterday"}'),
    ("clicks", '{"item": "teapot", "user": "ada", "timestamp": 5000000000}'),
    ("clicks", '{"item": "teapot", "user": "ada", "timestamp": "2026-01-01T01:00:00Z"}'),
    ("feedback", '{"item": "teapot", "user": "ada"}'),
    ("feedback", '{"item": "teapot", "user": "ada", "kind": "rating", "value": 8}'),
    ("purchases", '{"item": "teapot", "user": "ada", "price": "9,99"}'),
    ("purchases", '{"item": "teapot", "user": "ada", "quantity": 0}'),
    ("clicks", '{"item": "teapot", "user": "NULL"}'),
    ("clicks", '{"item": "teapot", "user": "ada", "consent": "agregate"}'),
    ("clicks", '{"item": "teapot", "user": "ada", "consent": "none"}'),
    ("clicks", '{"item": "teapot", "user": "ada", "bot": true}'),
)
"""Topic and value of records that can't be learned."""

RECORD_SECONDS = 1767225600
"""Time of those records: 1 January 2026, UTC."""


def fields() -> str:
    of: dict[str, list[str]] = {}
    kinds: dict[str, str] = {}
    for topic, event_type in TOPIC_TYPES.items():
        for field in msgspec.structs.fields(event_type):
            of.setdefault(field.name, []).append(topic)
            kinds[field.name] = _kind(field.type) + (", required" if field.required else "")
    rows = [
        [code(name), "all" if name in Event.__struct_fields__ else ", ".join(of[name]), kinds[name], FIELDS[name]]
        for name in of
    ]
    return table(["field", "topics", "kind", "what it is"], rows)


def _kind(annotation: Any) -> str:
    names = {str: "text", bool: "boolean", int: "integer", float: "number", dict: "object"}
    members = typing.get_args(annotation) if typing.get_origin(annotation) is not dict else ()
    if hasattr(annotation, "__metadata__"):
        return _kind(members[0])
    if members:
        return " or ".join(_kind(each) for each in members if each is not NoneType)
    return names[typing.get_origin(annotation) or annotation]


def kinds() -> str:
    weights = ModelSettings().weights
    rows = []
    for kind in KINDS:
        topic = {"click": "clicks", "purchase": "purchases"}.get(kind, "feedback")
        weight = (
            f"-{MAX_RATING_WEIGHT:g} for the lowest value of the scale, 0 for the neutral one, {MAX_RATING_WEIGHT:g} "
            "for the highest, in proportion between them"
        )
        rows.append([code(kind), topic, weight if kind == "rating" else f"{weights[kind]:g}"])
    rows.append(["any other", "feedback", "1"])
    return table(["kind", "topic", "weight"], rows)


def limits() -> str:
    settings = Settings()
    rows = [
        ["an id, in bytes of UTF-8 without control characters", f"1 to {ID_MAX_BYTES}", ""],
        ["an event that is posted, as JSON, in bytes", f"{EVENT_MAX_BYTES:,}", ""],
        ["a record in Kafka, in bytes", f"{RECORD_MAX_BYTES:,}", ""],
        ["a body with an array of events, in bytes", f"{settings.max_body_bytes:,}", code("CORRENTE_MAX_BODY_BYTES")],
        [
            "events, or mapped records, of one body",
            f"{settings.max_body_events:,}",
            code("CORRENTE_MAX_BODY_EVENTS"),
        ],
        ["time of an event", "1970 to 2106", ""],
        [
            "lead of an event's time over the record's or the clock's, in seconds",
            f"{settings.max_future_seconds:g}",
            code("CORRENTE_MAX_FUTURE_SECONDS"),
        ],
        [
            "newest event ids among which a repetition is found, a partition",
            f"{settings.model.max_event_ids:,}",
            code("CORRENTE_MODEL__MAX_EVENT_IDS"),
        ],
        ["weight of a kind, either sign", f"{WEIGHT_MOST:g}", code("CORRENTE_MODEL__WEIGHTS")],
    ]
    return table(["what", "limit", "setting"], rows)


def rejections() -> str:
    decoder = Decoder(ModelSettings())
    rows = []
    for topic, value in WRONG:
        record = Record(topic, 0, RECORD_SECONDS * 1000, value.encode())
        _, _, (rejection,) = decoder.decode([record])
        rows.append([topic, code(value), rejection.reason.replace("<", "\\<"), code(rejection.outcome)])
    return table(["topic", "record", "reason", "counted as"], rows)


def headers() -> str:
    letter = DeadLetter("clicks", 0, 7, b"ada", b"{", "value: JSON is malformed", 2, refused=True, timestamp_ms=0)
    written = {name for sample in (letter, _without_value(letter)) for name, _ in encode_letter(sample)[2]}
    if written != set(HEADERS):
        raise LookupError(f"headers of a dead letter are {sorted(written)}; HEADERS describes {sorted(HEADERS)}")
    return table(["header", "what it is"], [[code(name), text] for name, text in HEADERS.items()])


def _without_value(letter: DeadLetter) -> DeadLetter:
    return DeadLetter(**{**vars(letter), "value": None, "original_bytes": 0})


SECTIONS = {
    "event-fields": fields,
    "event-kinds": kinds,
    "event-limits": limits,
    "event-rejections": rejections,
    "dead-letter-headers": headers,
}
