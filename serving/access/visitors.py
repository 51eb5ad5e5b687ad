"""Calls with a public key: the visitor of their token, and nothing beyond that visitor.

A public key stands in web pages, so anybody has it. It opens nothing by itself; with a token that the shop has signed
it posts events of the token's visitor and reads that visitor's lists. A page that is being closed sends with
`navigator.sendBeacon`, which can set no header: key, token and events then stand in one body of `text/plain`.

This file decides what such a call may name, and how a beacon is read. Which tokens hold is decided by
`stream.access.visitor_token`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from serving.access.refusals import Refused
from serving.web.parsing import BodyReader
from stream.access.visitor_token import Visitor
from stream.events import Event, Id, text_of

Headers = Iterable[tuple[bytes, bytes]]

TOKEN_HEADER = b"x-visitor-token"
BEACON_BYTES = 65_536
"""Largest beacon. Browsers refuse larger ones (https://fetch.spec.whatwg.org/#http-network-or-cache-fetch)."""

SECRET_PARAMETERS = {"key", "api_key", "apikey", "x-api-key", "token", "access_token", "visitor_token"}
"""Parameters under which programs put keys and tokens into addresses."""


class Beacon(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Body of a beacon, with the media type `text/plain`."""

    key: str
    """Public key."""
    token: str
    """Token of the visitor."""
    events: msgspec.Raw
    """One event or an array of events, as in a body of JSON."""


read_beacon = BodyReader(Beacon)


def is_beacon(headers: Headers) -> bool:
    """True for a body of plain text without a key in the headers."""
    plain = False
    for name, value in headers:
        if name in {b"authorization", b"x-api-key"}:
            return False
        if name == b"content-type":
            plain = value.partition(b";")[0].strip().lower() == b"text/plain"
    return plain


def token_of(headers: Headers) -> bytes | None:
    """The token that headers bring; None for none, or for several."""
    found = [value for name, value in headers if name == TOKEN_HEADER]
    return found[0] if len(found) == 1 else None


def refuse_secrets_in_address(query: bytes) -> None:
    """Refuse an address with a key or a token. Addresses stand in logs, histories and the header Referer.

    Raises:
        Refused: 401.
    """
    if not query or not (b"key" in query.lower() or b"token" in query.lower() or b"corrente_" in query):
        return
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name.lower() in SECRET_PARAMETERS or value.startswith("corrente_"):
            raise Refused(
                401,
                "in the address",
                "Keys and tokens never stand in an address, because addresses end up in logs. Send them as headers, or "
                "in the body of a beacon, and replace this one: it has been written down.",
                {"WWW-Authenticate": 'Bearer realm="corrente"'},
            )


def require_own_list(visitor: Visitor, request: Any, path_params: Mapping[str, Any]) -> None:
    """Refuse a list of another visitor, and one from a version that would have to be loaded.

    Args:
        visitor: of the token.
        request: query or body; its `user`, `session` and `version` are looked at, if it has them.
        path_params: of the route; a `user` among them is the visitor of the list.

    Raises:
        Refused: 403.
    """
    _require_own(visitor, path_params.get("user", getattr(request, "user", None)), getattr(request, "session", None))
    if getattr(request, "version", None) is not None:
        raise Refused(
            403,
            "visitor",
            "version: a public key reads from the version that is served. Leave it out.",
            {},
            field="version",
        )


def require_own_event(visitor: Visitor, event: Event, index: int | None) -> None:
    """Refuse an event of another visitor.

    Raises:
        Refused: 403, with the number of the event in its array.
    """
    _require_own(visitor, event.user, event.session, index)


def _require_own(visitor: Visitor, user: Id | None, session: Id | None, index: int | None = None) -> None:
    for field, given, own in (("user", user, visitor.user), ("session", session, visitor.session)):
        if given is not None and (own is None or text_of(given) != own):
            element = "" if index is None else f"element {index}: "
            raise Refused(
                403,
                "visitor",
                f"{element}{field}: the token names another one or none. A public key acts for its token's visitor.",
                {},
                index=index,
                field=field,
            )
