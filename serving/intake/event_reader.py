"""Posted bodies to events: one or an array, checked, given an id and a time where they have none.

Bodies are decoded by the types of `stream.events`, the ones the worker uses, with the same field names
(`CORRENTE_FIELDS`). One wrong element refuses the whole array, so that nothing is half accepted because of its content.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping

import msgspec

from serving.web.parsing import decoded
from serving.web.problems import Problem
from stream.events import TOPIC_TYPES, Event, InvalidEvent, check_event, renamed, text_of, visitor_of

EVENT_MAX_BYTES = 900_000
"""A broker's default limit is 1 MiB for a record with its headers; more would be refused there, without a name."""


class EventReader:
    """Bodies to events of one topic, ready to be sent.

    Args:
        topic: ours.
        fields: our field name to the one that producers use.
        max_future_seconds: how far an event may be ahead of the clock.
    """

    def __init__(self, topic: str, fields: Mapping[str, str], max_future_seconds: float) -> None:
        self.kind = renamed(TOPIC_TYPES[topic], fields)
        self.names = self.kind.__struct_encode_fields__
        self.max_future_seconds = max_future_seconds
        self._encode = msgspec.json.Encoder().encode
        self._one = msgspec.json.Decoder(self.kind).decode
        self._many = msgspec.json.Decoder(list[self.kind]).decode  # type: ignore[name-defined]

    def read(self, body: bytes, now: float) -> tuple[list[str], list[tuple[bytes, bytes]]]:
        """Ids and (key, value) records of the events in a body.

        Raises:
            Problem: 400 or 422; the first element that is wrong is named.
        """
        many = body.lstrip()[:1] == b"["
        events: list[Event] = decoded(self._many, body, self.names) if many else [decoded(self._one, body, self.names)]
        ids, records = [], []
        for index, event in enumerate(events):
            try:
                check_event(event, now, self.max_future_seconds)
                if event.event_id is None:
                    event.event_id = uuid.uuid4().hex
                if event.timestamp is None:
                    event.timestamp = now
                value = self._encode(event)
                if len(value) > EVENT_MAX_BYTES:
                    raise InvalidEvent(
                        f"context: the event has {len(value)} bytes, at most {EVENT_MAX_BYTES} are allowed"
                    )
            except InvalidEvent as error:
                raise _refused(error, index if many else None) from None
            ids.append(text_of(event.event_id))
            records.append((visitor_of(event).encode(), value))
        return ids, records


def _refused(error: InvalidEvent, index: int | None) -> Problem:
    field = str(error).partition(":")[0]
    return Problem(422, str(error) if index is None else f"element {index}: {error}", index=index, field=field)
