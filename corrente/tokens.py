"""Tokens of visitors: the shop's signed word that a page belongs to a visitor.

A page that has a public key sends a token beside it. The shop's server makes the token with the signing secret that
`corrente keys create --public` prints. It is a JSON Web Token (RFC 7519) with the algorithm HS256.

This file decides the claims of a token.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

MOST_SECONDS = 3600
"""Longest life of a token that a server accepts."""


def visitor_token(
    secret: str,
    *,
    model: str,
    user: str | None = None,
    session: str | None = None,
    seconds: int = 1800,
    now: float | None = None,
) -> str:
    """A token for one visitor.

    Args:
        secret: signing secret of the public key.
        model: name of the model.
        user: the visitor's user id, as in events.
        session: the visitor's session, as in events; beside the user, or alone for a visitor who isn't known.
        seconds: life of the token, at most an hour.
        now: seconds since the epoch; the present if None.

    Raises:
        ValueError: neither user nor session is given, or the life is too long.

    >>> visitor_token("secret", model="default", user="ada", now=0.0).split(".")[0]
    'eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9'
    """
    if user is None and session is None:
        raise ValueError("a token names a user, a session, or both; name one of them")
    if not 0 < seconds <= MOST_SECONDS:
        raise ValueError(f"a token lives at most {MOST_SECONDS} seconds, not {seconds}")
    claims: dict[str, str | int] = {"aud": model, "exp": int((time.time() if now is None else now) + seconds)}
    if user is not None:
        claims["sub"] = user
    if session is not None:
        claims["sid"] = session
    text = f"{_part({'alg': 'HS256', 'typ': 'JWT'})}.{_part(claims)}"
    return f"{text}.{_encoded(hmac.digest(secret.encode(), text.encode(), hashlib.sha256))}"


def _part(value: dict[str, Any]) -> str:
    return _encoded(json.dumps(value, separators=(",", ":")).encode())


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
