"""The reason of a reading of personal data, which the caller may give with the request.

A reading is mostly a GET without a body, so its reason is a header. Many programs send headers of plain ASCII only, so
the text may be percent-encoded.

This file decides how the reason is read and how much of it is kept. A request is never refused for its reason.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

HEADER = "X-Why"
KEPT_CHARACTERS = 500
"""Longest reason that is kept whole, so that the trail stays as small as its number of records lets one expect."""

PARAMETER: dict[str, Any] = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "Reason for the audit trail, if this call reads personal data with a key: ASCII, UTF-8 or "
    f"percent-encoded. Of a longer one the first {KEPT_CHARACTERS} characters are kept.",
    "schema": {"type": "string"},
    "example": "ticket 4711",
}
"""The header in the OpenAPI document."""


def reason_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The reason that a request gives; empty if it gives none.

    Args:
        headers: with names in lower case.

    >>> reason_of([(b"x-why", b"ticket 4711, 100 % caf%C3%A9")])
    'ticket 4711, 100 % café'
    """
    name = HEADER.lower().encode()
    given = b", ".join(value for each, value in headers if each == name)
    text = "".join(each if each.isprintable() else " " for each in unquote(_text(given))).strip()
    return text if len(text) <= KEPT_CHARACTERS else f"{text[: KEPT_CHARACTERS - 1]}…"


def _text(given: bytes) -> str:
    try:
        return given.decode()
    except UnicodeDecodeError:
        return given.decode("latin-1")
