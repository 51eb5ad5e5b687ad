"""Posted bodies of a topic that is mapped: one record of a producer or an array of them, checked and sent as they are.

The worker reads the same bytes by the same plan (`CORRENTE_MAPPING`), so a record that is accepted here becomes the
same events there. A record without an id or a time gets both in a field of ours, `corrente`, before its own fields.
The consent of a visitor who wants no profiling goes there, too.

This file decides which records are refused, and what is added to one. One wrong record refuses the whole array.
"""

from __future__ import annotations

import uuid
from typing import Any

import msgspec

from serving.access.refusals import Refused
from serving.access.visitors import require_own_event
from serving.intake.event_reader import EVENT_MAX_BYTES, MAX_BODY_EVENTS, require_few, to_problem_of_event
from serving.intake.visitor_wishes import NO_WISHES, VisitorWishes
from serving.web.parsing import decode_body
from serving.web.problems import Problem
from stream.access.visitor_token import Visitor
from stream.events import BOM, TOPIC_TYPES, Event, check_event, check_nesting, text_of, visitor_of
from stream.ingest.mapping.plan import EVENT, OWN, Mapped, TopicPlan
from stream.values import InvalidEvent, RatingScale


class MappedReader:
    """Reader of bodies with records of one mapped topic; as `EventReader`, with records in place of events.

    Args:
        plan: of the topic.
        max_future_seconds: largest distance of an event's time ahead of the clock.
        scale: the values that a rating may have; None allows all.
        wishes: of visitors, about their events.
        max_body_events: most records of a body.
    """

    def __init__(
        self,
        plan: TopicPlan,
        max_future_seconds: float,
        scale: RatingScale | None = None,
        wishes: VisitorWishes = NO_WISHES,
        max_body_events: int = MAX_BODY_EVENTS,
    ) -> None:
        self.plan = plan
        self.event_type: type[msgspec.Struct] = msgspec.defstruct(
            TOPIC_TYPES[plan.topic].__name__,
            [],
            namespace={
                "__doc__": f"A record of a producer, as the rules for {plan.topic} of CORRENTE_MAPPING read it."
            },
        )
        self.max_future_seconds = max_future_seconds
        self.scale = scale
        self._wishes = wishes
        self.max_body_events = max_body_events
        self._one = msgspec.json.Decoder(msgspec.Raw).decode
        self._many = msgspec.json.Decoder(list[msgspec.Raw]).decode

    def read(
        self, body: bytes, now: float, visitor: Visitor | None = None
    ) -> tuple[list[str], list[tuple[bytes | None, bytes]]]:
        """The records of a body, ready to be sent.

        Args:
            body: JSON of one record or of an array of records.
            now: seconds since the epoch, the time of records that have none.
            visitor: who alone the events may be of; None: anybody.

        Returns:
            Ids of the records, and records as (key, value): the visitor of their first event, and their JSON. The id of
            a record whose events have ids of their own is that of the first.

        Raises:
            Problem: 400, 403 or 422, naming the first record that is wrong; 413 if there are too many.
        """
        body = body.removeprefix(BOM)
        many = body.lstrip()[:1] == b"["
        decoded = decode_body(self._many if many else self._one, body, ())
        require_few(len(decoded) if many else 1, self.max_body_events)
        values = [bytes(raw) for raw in (decoded if many else [decoded])]
        ids, records = [], []
        for index, value in enumerate(values):
            try:
                record_id, key, sent = self._read_one(value, now, visitor, index if many else None)
            except InvalidEvent as error:
                raise to_problem_of_event(error, index if many else None) from None
            ids.append(record_id)
            records.append((key, sent))
        return ids, records

    def _read_one(
        self, value: bytes, now: float, visitor: Visitor | None, index: int | None
    ) -> tuple[str, bytes | None, bytes]:
        if len(value) > EVENT_MAX_BYTES:
            raise InvalidEvent(f"value: the record has {len(value)} bytes, at most {EVENT_MAX_BYTES} are allowed")
        check_nesting(value)
        try:
            mapped = self.plan.read(value)
        except msgspec.ValidationError as error:
            raise InvalidEvent(f"value: {error}; a record is one JSON object") from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Problem(400, f"The body is not JSON: {error}.") from None
        for event in mapped.events:
            check_event(event, now, self.max_future_seconds, self.scale)
            if visitor is not None:
                require_own_event(visitor, event, index)
        if visitor is not None and not mapped.events:
            raise Refused(
                403, "visitor", "This record stands for no event, so it is of no visitor.", {}, index=index
            )  # under another mapping it might become an event of somebody else
        if not mapped.events:
            return uuid.uuid4().hex, None, value  # the worker counts it by the rule that leaves it out
        first = mapped.events[0]
        added: dict[str, Any] = {}
        if any(event.event_id is None for event in mapped.events):
            added["event_id"] = uuid.uuid4().hex
        if any(event.timestamp is None for event in mapped.events):
            added["timestamp"] = now
        if consent := next(filter(None, map(self._wishes.consent_instead, mapped.events)), None):
            added["consent"] = consent
        sent = self._with(value, added, first) if added else value
        return _id_of(mapped, added), visitor_of(first).encode(), sent

    def _with(self, value: bytes, added: dict[str, Any], first: Event) -> bytes:
        """The JSON of a record with what it lacks."""
        record = msgspec.json.decode(value)
        own = record.get(OWN)
        if own is None:
            return b'{"%s":%s,%s' % (OWN.encode(), msgspec.json.encode(added), value.lstrip()[1:])
        if isinstance(own, dict) and EVENT in own:
            lacking = {name for name in added if name == "consent" or getattr(first, name) is None}
            event = {**own[EVENT], **{name: added[name] for name in lacking}}
            return msgspec.json.encode({OWN: {EVENT: event}})
        if isinstance(own, dict) and set(added) == {"consent"}:
            return msgspec.json.encode({**record, OWN: {**own, **added}})
        raise InvalidEvent(
            f"{OWN}: this field is ours, and lacks {' and '.join(added)}; leave it out, or put a whole event in "
            f"{OWN}.{EVENT}"
        )


def _id_of(mapped: Mapped, added: dict[str, Any]) -> str:
    """The id under which a record may be sent again."""
    if "event_id" in added:
        return str(added["event_id"])
    identifier = text_of(mapped.events[0].event_id)  # type: ignore[arg-type]  # every event has one
    return identifier.removesuffix("#0") if mapped.several else identifier
