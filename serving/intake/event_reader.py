"""Posted bodies to events: one or an array, checked, with an id and a time added if they have none.

This file decides how a body becomes events and which bodies are refused. They are decoded by the types of
`stream.events`, the ones that the worker uses, with the same field names (`CORRENTE_FIELDS`). One wrong element refuses
the whole array, so that nothing is half accepted because of its content.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping

import msgspec

from serving.access.visitors import require_own_event
from serving.intake.visitor_wishes import NO_WISHES, VisitorWishes
from serving.web.parsing import decode_body
from serving.web.problems import Problem
from stream.access.visitor_token import Visitor
from stream.events import BOM, TOPIC_TYPES, Event, check_event, check_nesting, renamed, text_of, visitor_of
from stream.values import InvalidEvent, RatingScale, has_time

EVENT_MAX_BYTES = 900_000
"""Largest event. A broker's default limit is 1 MiB for a record with its headers; it would refuse more without saying
which event it was."""


MAX_BODY_EVENTS = 10_000
"""Most events of a body, unless a setting says otherwise. They are decoded in one piece, while lists wait."""


class EventReader:
    """Reader of bodies with events of one topic.

    Args:
        topic: our name of the topic.
        fields: our field name to the one that producers use.
        max_future_seconds: largest distance of an event's time ahead of the clock.
        scale: the values that a rating may have; None allows all.
        wishes: of visitors, about their events.
        max_body_events: most events of a body.
    """

    def __init__(
        self,
        topic: str,
        fields: Mapping[str, str],
        max_future_seconds: float,
        scale: RatingScale | None = None,
        wishes: VisitorWishes = NO_WISHES,
        max_body_events: int = MAX_BODY_EVENTS,
    ) -> None:
        self.event_type = renamed(TOPIC_TYPES[topic], fields)
        self.names = self.event_type.__struct_encode_fields__
        self.max_future_seconds = max_future_seconds
        self.scale = scale
        self._wishes = wishes
        self.max_body_events = max_body_events
        self._encode = msgspec.json.Encoder().encode
        self._one = msgspec.json.Decoder(self.event_type).decode
        self._many = msgspec.json.Decoder(list[self.event_type]).decode  # type: ignore[name-defined]  # made at run time

    def read(
        self, body: bytes, now: float, visitor: Visitor | None = None
    ) -> tuple[list[str], list[tuple[bytes, bytes]]]:
        """The events of a body, ready to be sent.

        Args:
            body: JSON of one event or of an array of events.
            now: seconds since the epoch, the time of events that have none.
            visitor: who alone the events may be of; None: anybody.

        Returns:
            Ids of the events, and records as (key, value): the visitor and the event's JSON.

        Raises:
            Problem: 400, 403 or 422, naming the first element that is wrong; 413 if there are too many events.
        """
        body = body.removeprefix(BOM)
        many = body.lstrip()[:1] == b"["
        decoded = decode_body(self._many if many else self._one, body, self.names)
        events: list[Event] = decoded if many else [decoded]
        require_few(len(events), self.max_body_events)
        ids, records = [], []
        for index, event in enumerate(events):
            try:
                check_event(event, now, self.max_future_seconds, self.scale)
                if visitor is not None:
                    require_own_event(visitor, event, index if many else None)
                if event.event_id is None:
                    event.event_id = uuid.uuid4().hex
                if not has_time(event.timestamp):
                    event.timestamp = now
                event.consent = self._wishes.consent_instead(event) or event.consent
                value = self._encode_event(event)
                if len(value) > EVENT_MAX_BYTES:
                    raise InvalidEvent(
                        f"context: the event has {len(value)} bytes, at most {EVENT_MAX_BYTES} are allowed"
                    )
                check_nesting(value, "context")
            except InvalidEvent as error:
                raise to_problem_of_event(error, index if many else None) from None
            ids.append(text_of(event.event_id))
            records.append((visitor_of(event).encode(), value))
        return ids, records

    def _encode_event(self, event: Event) -> bytes:
        try:
            return self._encode(event)
        except RecursionError:
            raise InvalidEvent("context: arrays and objects are nested too deep") from None


def require_few(count: int, most: int) -> None:
    """Raises `Problem` 413 if a body has too many events."""
    if count > most:
        raise Problem(
            413,
            f"The body has {count} events, at most {most} are taken (CORRENTE_MAX_BODY_EVENTS). Send fewer.",
        )


def to_problem_of_event(error: InvalidEvent, index: int | None) -> Problem:
    """The problem 422 of a wrong event, with its number in the array, if there is one, and the field."""
    field = str(error).partition(":")[0]
    return Problem(422, str(error) if index is None else f"element {index}: {error}", index=index, field=field)
