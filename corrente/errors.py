"""Errors of the client: no answer, and answers that refuse.

```
CorrenteError
├── Unreachable        no answer: no connection, or not in time
├── UnexpectedAnswer   an answer that no Corrente gives, such as the page of a proxy
└── Refused            an answer that says what would be right
    ├── Invalid        400, 413, 415, 422
    ├── NotAllowed     401, 403
    ├── NotFound       404
    ├── Conflict       409
    ├── TooMany        429
    └── Unavailable    500 and above
```

This file decides which error an answer becomes, and what is kept of it. No error holds a key or a token.
"""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import msgspec


class CorrenteError(Exception):
    """Base of all errors of this client."""


class Unreachable(CorrenteError):
    """The server gave no answer.

    Args:
        text: the address and the reason.
        sent: True if the request may have arrived.
    """

    def __init__(self, text: str, *, sent: bool) -> None:
        super().__init__(text)
        self.sent = sent


class UnexpectedAnswer(CorrenteError):
    """The answer is not one of this API. The address may be that of another program."""


class _Problem(msgspec.Struct):
    """Body of an error (RFC 9457), as far as it is read."""

    title: str = ""
    detail: str = ""
    field: str | None = None
    index: int | None = None
    elements: list[dict[str, Any]] | None = None


class Refused(CorrenteError):
    """The server refused the request. The text of the error says what would be right.

    Attributes:
        status: of HTTP.
        detail: the server's words.
        field: field or parameter that is wrong, if it is one.
        index: number of the wrong event in the body, from 0.
        elements: the status of each event, if Kafka took only some of them.
        retry_after_seconds: time after which trying again helps, if the server named one.
    """

    def __init__(self, status: int, problem: _Problem, retry_after_seconds: float | None) -> None:
        super().__init__(f"{status} {problem.title}: {problem.detail}")
        self.status = status
        self.detail = problem.detail
        self.field = problem.field
        self.index = problem.index
        self.elements = problem.elements
        self.retry_after_seconds = retry_after_seconds


class Invalid(Refused):
    """The body, a field or a parameter is wrong (400, 413, 415, 422)."""


class NotAllowed(Refused):
    """The key is missing, unknown or ended (401), or doesn't open this (403)."""


class NotFound(Refused):
    """There is no such document or version (404)."""


class Conflict(Refused):
    """The document has another revision than the one named, or the version can't be read (409)."""


class TooMany(Refused):
    """A limit is used up (429). `retry_after_seconds` says until when."""


class Unavailable(Refused):
    """The server can't answer now: Redis or Kafka is away, or it has too much to do (500 and above)."""


_KINDS: Mapping[int, type[Refused]] = {
    400: Invalid,
    401: NotAllowed,
    403: NotAllowed,
    404: NotFound,
    409: Conflict,
    413: Invalid,
    415: Invalid,
    422: Invalid,
    429: TooMany,
}

_read = msgspec.json.Decoder(_Problem).decode


def refusal(status: int, body: bytes, retry_after: str | None, now: float) -> Refused:
    """The error of an answer with an error status.

    Args:
        status: of HTTP.
        body: problem details, or anything else if a proxy answered.
        retry_after: value of the header, if there is one.
        now: seconds since the epoch.

    >>> error = refusal(429, b'{"title": "Too Many Requests", "detail": "20 lists a second."}', "3", now=0.0)
    >>> type(error).__name__, str(error), error.retry_after_seconds
    ('TooMany', '429 Too Many Requests: 20 lists a second.', 3.0)
    """
    try:
        problem = _read(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        problem = _Problem(title="without problem details", detail=body[:200].decode(errors="replace"))
    kind = Unavailable if status >= HTTPStatus.INTERNAL_SERVER_ERROR else _KINDS.get(status, Refused)
    return kind(status, problem, seconds_until_retry(retry_after, now))


def seconds_until_retry(retry_after: str | None, now: float) -> float | None:
    """Seconds that a `Retry-After` names: a number of them or a date (RFC 9110).

    None without one.

    >>> seconds_until_retry("2", now=0.0), seconds_until_retry("Thu, 01 Jan 1970 00:01:00 GMT", now=50.0)
    (2.0, 10.0)
    >>> seconds_until_retry("soon", now=0.0)
    """
    if retry_after is None:
        return None
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError):
        return None
