"""Answers for scripts of web pages of other origins, which a browser asks for (https://fetch.spec.whatwg.org/#http-cors-protocol).

Off unless `CORRENTE_CORS_ORIGINS` names origins: a browser then gives a page no answer, and sends none of the requests
that need its leave. A preflight is answered without a key, because browsers send none with it; it opens nothing.
Cookies are never allowed (`Access-Control-Allow-Credentials`), because nothing here reads one.

This file decides which origins may read what.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any

from serving.web.body import Headers

PREFLIGHT_SECONDS = 600
"""Time for which a browser may remember the answer of a preflight."""

ALLOWED_HEADERS = b"authorization, content-encoding, content-type, x-api-key, x-visitor-token"
EXPOSED_HEADERS = b"ratelimit, ratelimit-policy, retry-after, www-authenticate"

Pairs = list[tuple[bytes, bytes]]


class Cors:
    """Leave for web pages of some origins.

    Args:
        origins: of web pages; none unless a setting names some.
    """

    def __init__(self, origins: Iterable[str] = ()) -> None:
        self._origins = frozenset(origin.encode() for origin in origins)

    def __bool__(self) -> bool:
        return bool(self._origins)

    def headers_for(self, headers: Headers) -> Pairs:
        """Headers of the answer to a request with these headers."""
        origin = next((value for name, value in headers if name == b"origin"), None)
        vary = (b"vary", b"origin")
        if origin not in self._origins or origin is None:
            return [vary]
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", EXPOSED_HEADERS),
            vary,
        ]

    def preflight_for(self, scope: Mapping[str, Any]) -> list[MutableMapping[str, Any]] | None:
        """The messages that answer a preflight; None if the request is none."""
        if scope["method"] != "OPTIONS" or not self._origins:
            return None
        headers = dict(scope["headers"])
        if b"origin" not in headers or b"access-control-request-method" not in headers:
            return None
        allowed = self.headers_for(scope["headers"])
        if len(allowed) > 1:
            allowed += [
                (b"access-control-allow-methods", b"DELETE, GET, PATCH, POST, PUT"),
                (b"access-control-allow-headers", ALLOWED_HEADERS),
                (b"access-control-max-age", b"%d" % PREFLIGHT_SECONDS),
            ]
        start = {"type": "http.response.start", "status": 204, "headers": allowed}
        return [start, {"type": "http.response.body", "body": b""}]
