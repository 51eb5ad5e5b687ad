"""Error documents of the server: recorded ones, by status.

This file decides when each status is met, in words, and which errors are safe to repeat.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from docs.generate.http import example
from docs.generate.http_examples import recorded
from docs.generate.markdown import table

MEANINGS: Mapping[int, tuple[str, str]] = {
    400: ("The body is no JSON, or it ended early.", "no: the same body is refused again"),
    404: ("There is no such address, no such version, or no such document.", "no"),
    405: ("The route takes another method.", "no"),
    409: (
        "The version is there and can't be read. Or a document has another revision than the request names.",
        "no; roll back, or read the document again",
    ),
    413: (
        "The body has more bytes than `CORRENTE_MAX_BODY_BYTES`, or events than `CORRENTE_MAX_BODY_EVENTS`.",
        "in smaller parts",
    ),
    415: (
        "The body is packed, and not with gzip; or an administrative call is not `application/json`.",
        "with the header that it names",
    ),
    422: ("A parameter, a field or an element is wrong; it is named, and nothing of the request was done.", "no"),
    500: ("An error in the server, which is in its log.", "it may help"),
    503: (
        "Redis, Kafka or the loading process does not answer; lists from versions in memory go on. Or too many wait.",
        "yes, after `Retry-After` seconds; events with the same `event_id` count once",
    ),
}


def overview() -> str:
    found = {each["status"] for each in recorded() if each["status"] >= HTTPStatus.BAD_REQUEST}
    if found != set(MEANINGS):
        raise LookupError(f"examples have the statuses {sorted(found)}; MEANINGS describes {sorted(MEANINGS)}")
    rows = [[str(status), meaning, again] for status, (meaning, again) in MEANINGS.items()]
    return table(["status", "when", "worth repeating"], rows)


def documents() -> str:
    errors = [each for each in recorded() if each["status"] >= HTTPStatus.BAD_REQUEST]
    parts = []
    for status in MEANINGS:
        parts.append(f"### {status} {HTTPStatus(status).phrase}")
        parts += [example(each) for each in errors if each["status"] == status]
    return "\n\n".join(parts)


SECTIONS = {"http-errors": overview, "http-error-documents": documents}
