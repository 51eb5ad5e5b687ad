"""Steps from a posted body to accepted events.

This file decides when an event counts as accepted: once Kafka has acknowledged it. How a body is read is decided by
`serving.intake.event_reader`, and for a mapped topic by `serving.intake.mapped_reader`. The object is kept in the
application's state as `intake`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from serving.intake.event_reader import EventReader
from serving.intake.mapped_reader import MappedReader
from serving.intake.producer import EventProducer
from serving.metrics import Metrics
from serving.web.problems import Problem
from stream.access.visitor_token import Visitor


class Accepted(msgspec.Struct):
    """All events are in Kafka."""

    accepted: int
    event_ids: list[str]
    """The id of each event, in order: what was sent, or made here. Sending one again with its id counts once."""
    repeated: int = 0
    """Number of these events whose id stands at an earlier event of the same body: they count once together."""


class ElementStatus(msgspec.Struct, omit_defaults=True):
    """Outcome of one posted event."""

    event_id: str
    status: str
    """`accepted` or `failed`."""
    reason: str | None = None


class EventIntake:
    """Reads posted events, sends them to Kafka and counts both outcomes.

    Args:
        readers: of bodies, by our name of the topic.
        producer: sends to Kafka.
        topics: our name of a topic to its name in Kafka.
        max_body_bytes: bodies beyond that are refused by the routes.
        metrics: of the server.
    """

    def __init__(
        self,
        readers: Mapping[str, EventReader | MappedReader],
        producer: EventProducer,
        topics: Mapping[str, str],
        max_body_bytes: int,
        metrics: Metrics,
    ) -> None:
        self.readers = readers
        self.max_body_bytes = max_body_bytes
        self._producer = producer
        self._topics = topics
        self._metrics = metrics

    async def accept(
        self,
        topic: str,
        body: bytes,
        now: float,
        take: Callable[[int], None] = lambda _: None,
        visitor: Visitor | None = None,
    ) -> Accepted:
        """Send the events of a body to Kafka.

        Args:
            topic: ours.
            body: JSON of one event or of an array of events.
            now: seconds since the epoch, the time of events that have none.
            take: takes a number of events from the caller's quota, or gives them back if the number is below 0.
            visitor: who alone the events may be of; None: anybody.

        Raises:
            Problem: 400, 403 or 422 if the body is wrong, or 429 from `take`; nothing was sent then. 503 if Kafka did
                not acknowledge every event, with a status for each.
        """
        try:
            records: Sequence[tuple[bytes | None, bytes]]
            event_ids, records = self.readers[topic].read(body, now, visitor)
        except Problem:
            self._metrics.events_refused.labels(topic, "invalid").inc()
            raise
        try:
            take(len(records))
        except Problem:
            self._metrics.events_refused.labels(topic, "quota").inc(len(records))
            raise
        failures = await self._producer.send(self._topics[topic], records)
        failed = sum(failure is not None for failure in failures)
        self._metrics.events_accepted.labels(topic).inc(len(records) - failed)
        if failed:
            take(-failed)
            self._metrics.events_refused.labels(topic, "not acknowledged").inc(failed)
            raise Problem(
                503,
                f"{failed} of {len(records)} events were not acknowledged by Kafka ({next(filter(None, failures))}). "
                "Send those again with the event ids given here, and each counts once.",
                elements=[
                    ElementStatus(event_id, "failed" if failure else "accepted", failure)
                    for event_id, failure in zip(event_ids, failures, strict=True)
                ],
                headers={"Retry-After": "1"},
            )
        repeated = len(event_ids) - len(set(event_ids))
        if repeated:
            self._metrics.events_repeated.labels(topic).inc(repeated)
        return Accepted(len(event_ids), event_ids, repeated)
