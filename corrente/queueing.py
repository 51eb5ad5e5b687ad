"""Parts that both clients have in common: their queue, what it drops, and which answer several bodies make together.

This file decides what an event gets before it is queued, and how drops are shown. It sends nothing. When queued events
are sent is decided by `corrente.client` and `corrente.async_client`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from corrente.answers import Accepted
from corrente.calls.call import Call
from corrente.calls.events import post_events
from corrente.event_queue import CLOSED, EventQueue
from corrente.events import Event, by_topic
from corrente.exchange import Exchange, Text
from corrente.retries import Retries


class QueueingClient:
    """Base of `Client` and `AsyncClient`, which say what the arguments are."""

    def __init__(
        self,
        address: str,
        *,
        key: Text,
        token: Text,
        origin: str,
        retries: Retries,
        queue_events: int,
        batch_events: int,
        batch_seconds: float,
        names: Mapping[str, str] | None,
        clock: Callable[[], float],
    ) -> None:
        self._queue = EventQueue(queue_events, batch_events)
        self._exchange = Exchange(address, key, token, origin, names or {}, clock)
        self._retries = retries
        self._batch_seconds = batch_seconds
        self._closing = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._exchange.address!r})"

    @property
    def dropped(self) -> int:
        """Number of events that were dropped, because the queue was full, the server refused them, or it was closed."""
        return sum(self._queue.drops.values())

    @property
    def drops(self) -> dict[str, int]:
        """Number of dropped events by reason: `queue full`, `refused`, `closed`."""
        return dict(self._queue.drops)

    def _with_time(self, event: Event) -> Event:
        """The event, with the present time unless it has one: it may wait, and counts for when it happened."""
        if event.timestamp is not None:
            return event
        return msgspec.structs.replace(event, timestamp=self._exchange.clock())

    def _offer(self, event: Event) -> bool:
        """Put an event into the queue; False if it is dropped, because there is no room or the client is closed."""
        if self._closing:
            self._queue.drop(1, CLOSED)
            return False
        return self._queue.offer(event)

    def _post(self, topic: str, events: Sequence[Event]) -> Call[Accepted]:
        return post_events(topic, events, self._exchange.names)

    def _posts(self, events: Sequence[Event]) -> list[Call[Accepted]]:
        """The calls that send events, one for each body."""
        return [self._post(topic, body) for topic, body in by_topic(events, self._queue.batch)]


def as_list(events: Event | Iterable[Event]) -> list[Event]:
    """One event or several, as a list."""
    return [events] if isinstance(events, Event) else list(events)


def together(events: Sequence[Event], accepted: Iterable[Accepted]) -> Accepted:
    """The answers to several bodies as one. The ids stand in the order in which the events were given."""
    found = list(accepted)
    return Accepted(
        sum(each.accepted for each in found),
        [str(event.event_id) for event in events],
        sum(each.repeated for each in found),
    )
