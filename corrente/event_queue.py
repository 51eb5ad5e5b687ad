"""Queue of events that wait to be sent, and the way of a batch through refusals.

The queue is bounded. An event for which there is no room is dropped and counted, so a page never waits. Nothing is
dropped because the server is away: a batch is sent again until the server has it, or the client is closed.

This file decides what is dropped and why, and what becomes of a batch after each attempt. It sends nothing and reads no
clock.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Sequence

from corrente.errors import CorrenteError, Invalid, Refused
from corrente.events import Event, by_topic
from corrente.retries import Retries, may_help

log = logging.getLogger("corrente")

FULL = "queue full"
REFUSED = "refused"
CLOSED = "closed"

TOO_LARGE = 413


class EventQueue:
    """Events in the order in which they came.

    Args:
        most: events that may wait.
        batch: most events of a batch.

    Attributes:
        most, batch: as given.
        drops: number of dropped events by reason: `queue full`, `refused` by the server, `closed` before they were
            sent.

    >>> from corrente.events import Click
    >>> queue = EventQueue(most=2, batch=10)
    >>> [queue.offer(Click(item, user="ada")) for item in "abc"], dict(queue.drops)
    ([True, True, False], {'queue full': 1})
    """

    def __init__(self, most: int, batch: int) -> None:
        if most < 1 or batch < 1:
            raise ValueError(f"a queue of {most} events in batches of {batch}: both are at least 1")
        self.most = most
        self.batch = batch
        self.drops: Counter[str] = Counter()
        self._events: deque[Event] = deque()

    def __len__(self) -> int:
        return len(self._events)

    def offer(self, event: Event) -> bool:
        """Put an event at the end; False if it is dropped, because there is no room."""
        if len(self._events) >= self.most:
            self.drop(1, FULL)
            return False
        self._events.append(event)
        return True

    def take(self) -> list[Event]:
        """Take the first events away, at most a batch of them."""
        return [self._events.popleft() for _ in range(min(self.batch, len(self._events)))]

    def drop(self, count: int, reason: str) -> None:
        """Count events that are dropped. A refusal is logged by its caller, and any other reason the first time."""
        if not count:
            return
        if reason != REFUSED and reason not in self.drops:
            log.warning("events are dropped: %s; `client.drops` counts them", reason)
        self.drops[reason] += count

    def drop_all(self) -> None:
        """Drop everything that waits, because the client is closed."""
        self.drop(len(self._events), CLOSED)
        self._events.clear()


class Delivery:
    """Events on their way, in bodies of one topic each.

    Args:
        events: a batch.
        queue: counts what is dropped.
        retries: waits between attempts.

    Attributes:
        bodies: those that the server doesn't have yet; the first one is sent next.
    """

    def __init__(self, events: Sequence[Event], queue: EventQueue, retries: Retries) -> None:
        self.bodies = deque(by_topic(events, queue.batch))
        self._queue = queue
        self._retries = retries
        self._attempt = 0

    def sent(self) -> None:
        """Note that the server has the first body."""
        self.bodies.popleft()
        self._attempt = 0

    def failed(self, error: CorrenteError) -> float:
        """Note that an attempt to send the first body failed; return the seconds to wait before the next attempt.

        | refusal | then |
        |---|---|
        | of one event, whose number it names | that event is dropped, and the others are sent |
        | of a body that is too large | it is sent in two halves |
        | that may heal, and no answer | the body is sent again |
        | any other | the events are dropped |
        """
        topic, events = self.bodies[0]
        if may_help(error):
            wait = self._retries.wait_seconds(self._attempt, error)
            if not self._attempt:
                log.info("events are sent again in %.1f s: %s", wait, error)
            self._attempt += 1
            return wait
        self.bodies.popleft()
        self._attempt = 0
        if isinstance(error, Refused) and error.index is not None and error.index < len(events):
            self._drop(1, error)
            rest = [event for number, event in enumerate(events) if number != error.index]
            if rest:
                self.bodies.appendleft((topic, rest))
        elif isinstance(error, Invalid) and error.status == TOO_LARGE and len(events) > 1:
            half = len(events) // 2
            self.bodies.extendleft([(topic, events[half:]), (topic, events[:half])])
        else:
            self._drop(len(events), error)
        return 0.0

    def give_up(self) -> None:
        """Drop the events that the server doesn't have, because the client is closed."""
        self._queue.drop(sum(len(events) for _, events in self.bodies), CLOSED)
        self.bodies.clear()

    def _drop(self, count: int, error: CorrenteError) -> None:
        log.warning("%d events are dropped: %s", count, error)
        self._queue.drop(count, REFUSED)
