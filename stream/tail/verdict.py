"""Verdict on one record: learned, left out, refused or a dead letter, its events, and what they lack.

The verdict is that of the worker's decoder (`stream.ingest`), which gets each record alone. It knows nothing of earlier
records, so an event that repeats an earlier one is `learned` here, and counts once in the model.

This file decides what is said of a record, and what counts as missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from stream.events import TOPIC_TYPES, Event, decoder, renamed, visitor_of
from stream.ingest.origins import topic_of
from stream.ingest.record_checks import without_mark
from stream.ingest.records import Record
from stream.ingest.schemas.known import KnownSchemas
from stream.ingest.schemas.schema_decoder import decoder_of
from stream.ingest.schemas.wire import is_framed
from stream.settings import Settings
from stream.values import has_time

LEARNED = "learned"

NO_EVENT_ID = "event_id: a record that is sent again counts again"
NO_TIME = "timestamp: the time of the Kafka record counts"
NO_KEY = "key: without the visitor as the record's key, the order of a visitor's events is not kept"


class Verdict(NamedTuple):
    """Outcome of a record, and what it consists of.

    Attributes:
        outcome: `learned`, `refused`, `dead_letters`, or `unlearned:` and the rule by which it is left out; as the
            worker counts it.
        reason: of every outcome but `learned`.
        events: decoded, with our names of the fields; empty if the record can't be decoded.
        missing: fields that the events or the record lack, each with what follows.
    """

    outcome: str
    reason: str
    events: list[dict[str, Any]]
    missing: list[str]


class Judge:
    """Judges records as the worker with these settings does.

    Args:
        settings: of the worker.
        schemas: that are known; None without a registry.
    """

    def __init__(self, settings: Settings, schemas: KnownSchemas | None = None) -> None:
        self._plans = settings.mapping_plan.topics if settings.mapping_plan is not None else {}
        self._schemas = schemas
        self._fields = settings.fields
        self._decoders = {topic: decoder(topic, settings.fields).decode for topic in TOPIC_TYPES}
        self._decoder = decoder_of(settings.model, schemas, self._plans, settings.fields, settings.max_future_seconds)

    def judge(self, record: Record) -> Verdict:
        """The verdict on a record.

        Raises:
            SchemasMissing: its schema has to be found before.
        """
        _, _, rejections = self._decoder.decode([record])
        outcome, reason = (rejections[0].outcome, rejections[0].reason) if rejections else (LEARNED, "")
        try:
            events = self._events(record)
        except (MemoryError, OSError):
            raise
        except Exception:  # the reason is that of the decoder
            return Verdict(outcome, reason, [], [])
        shown = [{"kind": _kind_of(event), **_fields_of(event)} for event in events]
        return Verdict(outcome, reason, shown, list(dict.fromkeys(_missing(record, events))))

    def _events(self, record: Record) -> list[Event]:
        topic, value = topic_of(record.origin), record.value
        plan = self._plans.get(topic)
        if self._schemas is not None and value is not None and is_framed(value):
            fields = self._schemas.read(value)
            if plan is not None:
                return plan.read_fields(fields).events
            return [msgspec.convert(fields, renamed(TOPIC_TYPES[topic], self._fields))]
        value = without_mark(value)
        return plan.read(value).events if plan is not None else [self._decoders[topic](value or b"")]


def _kind_of(event: Event) -> str:
    kind: str | None = getattr(event, "kind", None)
    return (
        kind
        if kind is not None
        else next(each.__name__.lower() for each in TOPIC_TYPES.values() if isinstance(event, each))
    )


def _fields_of(event: Event) -> dict[str, Any]:
    """Fields that are set, under our names; those that every event has come first."""
    names = dict.fromkeys((*Event.__struct_fields__, *event.__struct_fields__))
    fields = ((name, getattr(event, name)) for name in names if name != "kind")
    return {name: value for name, value in fields if value is not None}


def _missing(record: Record, events: list[Event]) -> Iterator[str]:
    for event in events:
        if event.event_id is None:
            yield NO_EVENT_ID
        if not has_time(event.timestamp):
            yield NO_TIME
        named = event.user is not None or event.session is not None
        if named and record.key != visitor_of(event).encode(errors="replace"):
            yield NO_KEY
