"""Events: one definition for HTTP, for Kafka and for files.

`Click`, `Purchase` and `Feedback` are the whole set. The HTTP routes and the worker decode the same bytes with the same
decoder, so an event that one of them accepts is accepted by the other.

This file decides which fields there are, which of them are checked, and the form of an id. How a time and a number are
read is decided in `stream.values`. This file does not decide the weight of an event (`stream.models.settings`), nor the
time that an event's own time is compared with: that is an argument of `check_event`.

>>> event = decoder("clicks").decode(b'{"item": 42, "user": "ada", "timestamp": "2026-01-01T00:00:00Z"}')
>>> check_event(event, now=1767225600.0)
>>> text_of(event.item), visitor_of(event)
('42', 'ada')
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Annotated, Any

import msgspec

from stream.values import InvalidEvent, RatingScale, bot_of, consent_of, number_of, seconds_of

ID_MAX_BYTES = 256
"""Longest id, in bytes of UTF-8."""

BOM = b"\xef\xbb\xbf"
"""Byte-order mark of UTF-8, which some programs write before JSON. It is ignored there."""

MAX_NESTING = 200
"""Deepest nesting of arrays and objects in an event. Decoders recurse, and how deep they get depends on their caller's
stack; this limit is far below, so that the same record is an event everywhere or nowhere."""

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_BRACKETS = b"[]{}"
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in _BRACKETS)
_STEPS = dict(zip(_BRACKETS, (1, -1, 1, -1), strict=True))


ID_SCHEMA: Mapping[str, Any] = {
    "minLength": 1,
    "maxLength": ID_MAX_BYTES,
    "pattern": r"^[^\u0000-\u001f\u007f-\u009f]+$",
}
"""JSON schema of the text of an id. A schema counts characters and not bytes."""

Id = Annotated[str, msgspec.Meta(extra_json_schema=dict(ID_SCHEMA))] | int
"""1 to 256 bytes of UTF-8 without control characters; an integer stands for its decimal digits."""


_NUMBER = r"^\s*([+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?)?\s*$"
NumberText = Annotated[str, msgspec.Meta(extra_json_schema={"pattern": _NUMBER})]
"""A number as text, or nothing; `stream.values` reads it."""

ConsentText = Annotated[str, msgspec.Meta(extra_json_schema={"pattern": r"^(personal|aggregate|none|\s*)$"})]
"""A consent, or nothing; `stream.values` reads it."""

BotText = Annotated[
    str, msgspec.Meta(extra_json_schema={"pattern": r"^\s*([tT][rR][uU][eE]|[fF][aA][lL][sS][eE]|[01])?\s*$"})
]
BotNumber = Annotated[int, msgspec.Meta(extra_json_schema={"enum": [0, 1]})]
"""Yes or no as text and as a number; `stream.values` reads them."""


class Event(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """The fields that every event has. Unknown fields are ignored: producers may send more than we read.

    An event that is decoded from JSON can't be part of a reference cycle, so the cycle collector doesn't track it.
    """

    item: Id
    user: Id | None = None
    session: Id | None = None
    timestamp: float | str | None = None
    event_id: Id | None = None
    answer: str | None = None
    position: int | str | None = None
    context: dict[str, Any] | None = None
    consent: ConsentText | None = None
    bot: bool | BotNumber | BotText | None = None


class Click(Event):
    """A visitor looked at an item."""


class Purchase(Event):
    """A visitor bought an item, or brought it back, if `quantity` is negative."""

    quantity: float | NumberText | None = None
    price: float | NumberText | None = None
    currency: str | None = None


class Feedback(Event):
    """Any other signal about an item: a view, a cart, a like or dislike, a rating, a return, or a kind of your own."""

    kind: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    value: float | NumberText | None = None


RATING = "rating"
"""The kind of feedback whose value has a scale."""

TOPIC_TYPES: Mapping[str, type[Event]] = {"clicks": Click, "purchases": Purchase, "feedback": Feedback}
"""Our topics, in the order in which ties of the merge are broken."""


def decoder(topic: str, fields: Mapping[str, str] | None = None) -> msgspec.json.Decoder[Any]:
    """A JSON decoder for single events of a topic.

    Args:
        topic: `clicks`, `purchases` or `feedback`.
        fields: our field name to the producer's, for producers that name theirs otherwise.

    >>> decoder("clicks", {"item": "product_id", "user": "customer"}).decode(b'{"product_id": "a", "customer": 7}').item
    'a'

    Raises:
        ValueError: `fields` renames a field that no event has.
    """
    return msgspec.json.Decoder(renamed(TOPIC_TYPES[topic], fields or {}))


def renamed(event_type: type[Event], fields: Mapping[str, str]) -> type[Event]:
    """An event type whose JSON has the producer's field names; its attributes keep ours.

    Raises:
        ValueError: `fields` renames a field that no event has.
    """
    known = {field for each in TOPIC_TYPES.values() for field in each.__struct_fields__}
    if unknown := set(fields) - known:
        raise ValueError(f"no event has a field {min(unknown)!r}; there are {', '.join(sorted(known))}")
    ours = {field: name for field, name in fields.items() if field in event_type.__struct_fields__}
    if not ours:
        return event_type
    fields_again = [  # a renaming holds only for fields that the class itself defines
        (field.name, field.type) if field.required else (field.name, field.type, field.default)
        for field in msgspec.structs.fields(event_type)
    ]
    made: Any = msgspec.defstruct(event_type.__name__, fields_again, bases=(event_type,), rename=ours, kw_only=True)
    return made


def text_of(identifier: Id) -> str:
    """The string that an id stands for."""
    return identifier if identifier.__class__ is str else str(identifier)


def visitor_of(event: Event) -> str:
    """The visitor of an event, and its Kafka key: the user if there is one, else the session."""
    return text_of(event.user if event.user is not None else event.session)  # type: ignore[arg-type]  # one of them is set


def check_event(event: Event, now: float, max_future_seconds: float = 300.0, scale: RatingScale | None = None) -> None:
    """Check everything that the decoder doesn't: the visitor, ids, times, finite numbers, consent and `bot`.

    Args:
        event: as decoded.
        now: seconds to compare the event's own time with: the clock for HTTP, the record's timestamp for Kafka.
        max_future_seconds: the largest allowed lead of the event's time over `now`.
        scale: the values that a rating may have; None allows all.

    Raises:
        InvalidEvent: names the first field that is wrong.
    """
    check_id("item", event.item)
    if event.user is None and event.session is None:
        raise InvalidEvent("user: an event needs a user or a session, this one has neither")
    for field in ("user", "session", "event_id"):
        identifier = getattr(event, field)
        if identifier is not None:
            check_id(field, identifier)
    if event.timestamp is not None:
        seconds = seconds_of(event.timestamp)
        if seconds > now + max_future_seconds:
            raise InvalidEvent(
                f"timestamp: {event.timestamp!r} is {seconds - now:.0f} seconds ahead; "
                f"at most {max_future_seconds:.0f} are allowed"
            )
    for field in ("value", "quantity", "price"):
        number = number_of(field, getattr(event, field, None))
        if scale is not None and number is not None and field == "value" and getattr(event, "kind", None) == RATING:
            scale.check(number)
    if event.consent is not None:
        consent_of(event.consent)
    if event.bot is not None:
        bot_of(event.bot)


def check_id(field: str, identifier: Id) -> None:
    """Raises `InvalidEvent` unless the id has 1 to 256 bytes of UTF-8 and no control characters."""
    if isinstance(identifier, int) and identifier.bit_length() > 4 * ID_MAX_BYTES:
        raise InvalidEvent(f"{field}: an id is 1 to {ID_MAX_BYTES} bytes, this integer has more digits")
    text = text_of(identifier)
    if not text:
        raise InvalidEvent(f"{field}: an id is 1 to {ID_MAX_BYTES} bytes, this one is empty")
    try:
        size = len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError:
        raise InvalidEvent(f"{field}: {text[:40]!r} is not valid Unicode (a lone surrogate)") from None
    if size > ID_MAX_BYTES:
        raise InvalidEvent(f"{field}: an id is 1 to {ID_MAX_BYTES} bytes, this one has {size} ({text[:40]!r}…)")
    if not plain([text]) and any(is_control(character) for character in text):
        raise InvalidEvent(f"{field}: {text[:40]!r} has a control character; ids have none")


def check_nesting(value: bytes, field: str = "value") -> None:
    """Check the depth of nested arrays and objects in a JSON text.

    Args:
        value: JSON of one event.
        field: to be named in the message.

    Raises:
        InvalidEvent: it is deeper than `MAX_NESTING`.

    >>> check_nesting(b'{"context": {"[[[": [1]}}')
    """
    if len(value) <= MAX_NESTING or value.count(b"{") + value.count(b"[") <= MAX_NESTING:
        return
    brackets = _STRING.sub(b"", value).translate(None, _NO_BRACKETS)
    depth = max(accumulate(map(_STEPS.__getitem__, brackets)), default=0)
    if depth > MAX_NESTING:
        raise InvalidEvent(f"{field}: arrays and objects are nested {depth} deep; at most {MAX_NESTING} are allowed")


def plain(texts: Iterable[str]) -> bool:
    """True if these texts certainly have no control character: one fast check of a whole batch.

    False means only that each text has to be checked by itself.
    """
    return "".join(texts).isprintable()


def is_control(character: str) -> bool:
    """True for a control character, Unicode category Cc: C0, delete and C1."""
    code = ord(character)
    return code < 0x20 or 0x7F <= code < 0xA0
