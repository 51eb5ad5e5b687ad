"""Decoding of batches in which records may be in Confluent's wire format.

Such a record is read by the reader of its schema. Its fields then become events as those of JSON would: by the topic's
mapping, or as an event in our own form. A batch without such records is decoded as if there were no registry.

This file decides how records in the wire format and plain JSON become one batch of events, and what a rejection says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import msgspec

from stream.events import TOPIC_TYPES, Event, renamed
from stream.ingest.decoding import Decoder
from stream.ingest.mapping.mapped_decoder import MappedDecoder
from stream.ingest.mapping.plan import Mapped, TopicPlan
from stream.ingest.origins import topic_of
from stream.ingest.records import NO_PLACES, Place, Record, Rejection, failure_of
from stream.ingest.schemas.known import KnownSchemas, SchemasMissing
from stream.ingest.schemas.wire import framed_all, framed_among, is_framed
from stream.models.batch import EventBatch
from stream.models.settings import ModelSettings
from stream.values import InvalidEvent

_origin, _value = itemgetter(0), itemgetter(3)


class SchemaDecoder(MappedDecoder):
    """Decodes batches of which some records are in Confluent's wire format.

    Args:
        settings: weights of kinds, and the salt under which visitors are hashed.
        schemas: that are known; it is read only.
        plans: of mapped topics, by our name of the topic.
        fields: our field name to the producers', for topics without a plan.
        max_future_seconds: how far the time of an event may be ahead of the timestamp of its record.
    """

    def __init__(
        self,
        settings: ModelSettings,
        schemas: KnownSchemas,
        plans: Mapping[str, TopicPlan],
        fields: Mapping[str, str] | None = None,
        max_future_seconds: float = 300.0,
    ) -> None:
        super().__init__(settings, plans, max_future_seconds, fields)
        self._schemas = schemas
        self._types: dict[str, Any] = {topic: renamed(kind, fields or {}) for topic, kind in TOPIC_TYPES.items()}
        self._lists: dict[str, Any] = {topic: list[kind] for topic, kind in self._types.items()}  # type: ignore[valid-type]

    def decode(
        self,
        records: Sequence[Record],
        isolated: Mapping[Place, str] = NO_PLACES,
        unknown_kinds: Counter[str] | None = None,
        left_out: Counter[tuple[str, str]] | None = None,
    ) -> tuple[EventBatch, list[Record], list[Rejection]]:
        """Decode records, see `Decoder.decode`.

        Raises:
            SchemasMissing: schemas have to be found before; nothing is decoded.
            MemoryError, OSError: this machine is short of something, and no record is to blame.
        """
        try:
            self._schemas.require(list(map(_value, records)))
        except SchemasMissing as missing:
            missing.records = records
            raise
        return super().decode(records, isolated, unknown_kinds, left_out)

    def _whole(
        self,
        records: Sequence[Record],
        unknown_kinds: Counter[str] | None = None,
        left_out: Counter[tuple[str, str]] | None = None,
    ) -> tuple[EventBatch, list[Record], list[Rejection]]:
        if not framed_among(map(_value, records)):
            if self._plans:
                return super()._whole(records, unknown_kinds, left_out)
            return Decoder._whole(self, records, unknown_kinds, left_out)  # noqa: SLF001  of a class above this one
        topic_by_origin = {origin: topic_of(origin) for origin in set(map(_origin, records))}
        return self._by_topic(records, topic_by_origin, unknown_kinds, left_out)

    def _at_once(self, topic: str, values: Sequence[Any]) -> list[Event] | None:
        if not framed_among(values):
            return super()._at_once(topic, values)
        if not framed_all(values):
            return None
        try:
            read = self._schemas.read_all(values)
            plan = self._plans.get(topic)
            return msgspec.convert(read, self._lists[topic]) if plan is None else plan.read_flat_fields(read)
        except (MemoryError, OSError):
            raise
        except Exception:  # its reason is looked for one by one
            return None

    def _one_by_one(self, records: Sequence[Record]) -> list[Mapped | Event | Rejection]:
        found: list[Mapped | Event | Rejection] = []
        for record in records:
            if is_framed(record.value):
                found.append(self._framed(record))
            else:
                found += super()._one_by_one([record])
        return found

    def _framed(self, record: Record) -> Mapped | Event | Rejection:
        """The events of a record in the wire format, or the reason why it has none."""
        topic = topic_of(record.origin)
        try:
            fields = self._schemas.read(record.value or b"")
            plan = self._plans.get(topic)
            if plan is not None:
                return plan.read_fields(fields)
            event: Event = msgspec.convert(fields, self._types[topic])
            return event
        except (MemoryError, OSError):
            raise
        except InvalidEvent as error:
            return Rejection(record, str(error))
        except msgspec.ValidationError as error:
            return Rejection(record, f"value: {error}")
        except Exception as error:
            return Rejection(record, failure_of(error), isolated=True)

    def _check_values(self, values: Sequence[bytes], bad: set[int]) -> None:
        super()._check_values(list(map(self._json_of, values)), bad)

    @staticmethod
    def _json_of(value: bytes | None) -> bytes:
        # Checks of JSON's length and nesting say nothing about other formats, whose readers have checks of their own.
        return b"" if is_framed(value) else value or b""


def decoder_of(
    settings: ModelSettings,
    schemas: KnownSchemas | None,
    plans: Mapping[str, TopicPlan],
    fields: Mapping[str, str] | None,
    max_future_seconds: float,
) -> Decoder:
    """The simplest decoder that does what is asked for; see `SchemaDecoder`. `schemas` is None without a registry."""
    if schemas is not None:
        return SchemaDecoder(settings, schemas, plans, fields, max_future_seconds)
    if plans:
        return MappedDecoder(settings, plans, max_future_seconds)
    return Decoder(settings, fields, max_future_seconds)
