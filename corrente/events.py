"""Events as a shop sends them.

An event gets an id when it is made, unless it has one. It keeps the id, so the same object can be sent any number of
times and counts once.

This file decides the fields of events. The reference of events says what each of them means.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

Id = str | int


def _new_id() -> str:
    return uuid.uuid4().hex


class Event(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Fields that every event has beside its item. `user` or `session` is needed, or both.

    Attributes:
        user: the visitor's user id.
        session: the visitor's session.
        timestamp: seconds since the epoch, or text as in RFC 3339. Without one it is the time at which the event is put
            into the queue or arrives at the server.
        event_id: the id under which the event counts once.
        answer: id of the list from which the event came.
        position: place of the item in that list, from 0.
        context: anything else.
        consent: `personal`, `aggregate` or `none`.
        bot: True if a program did it.
    """

    user: Id | None = None
    session: Id | None = None
    timestamp: float | str | None = None
    event_id: Id = msgspec.field(default_factory=_new_id)
    answer: str | None = None
    position: int | None = None
    context: Mapping[str, Any] | None = None
    consent: str | None = None
    bot: bool | None = None


class Click(Event, frozen=True, omit_defaults=True):
    """A visitor looked at an item.

    >>> click = Click("teapot", user="ada")
    >>> len(click.event_id), Click("teapot", user="ada", event_id="click-1").event_id
    (32, 'click-1')
    """

    item: Id


class Purchase(Event, frozen=True, omit_defaults=True):
    """A visitor bought an item, or brought it back, if `quantity` is negative."""

    item: Id
    quantity: float | None = None
    price: float | None = None
    currency: str | None = None


class Feedback(Event, frozen=True, omit_defaults=True):
    """Any other signal about an item: `view`, `cart`, `like`, `dislike`, `rating`, `return`, or a kind of your own."""

    item: Id
    kind: str
    value: float | None = None


TOPICS: Mapping[type[Event], str] = {Click: "clicks", Purchase: "purchases", Feedback: "feedback"}
"""Last part of the route of each kind of event."""


def by_topic(events: Sequence[Event], most: int) -> list[tuple[str, list[Event]]]:
    """Events in bodies: of one topic each, of at most `most` events, in their order.

    >>> sent = [Click("a", user=1), Purchase("a", user=1), Click("b", user=1)]
    >>> [(topic, [event.item for event in body]) for topic, body in by_topic(sent, most=10)]
    [('clicks', ['a', 'b']), ('purchases', ['a'])]
    """
    bodies: list[tuple[str, list[Event]]] = []
    for kind, topic in TOPICS.items():
        those = [event for event in events if isinstance(event, kind)]
        bodies += [(topic, those[at : at + most]) for at in range(0, len(those), most)]
    return bodies
