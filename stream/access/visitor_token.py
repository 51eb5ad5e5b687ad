"""Visitor tokens: a shop's signed word on which visitor a web page belongs to.

A token is a JSON Web Token (RFC 7519) that is signed with HMAC-SHA256 (`HS256`, RFC 7518, section 3.2) under the
signing secret of a public key. It names the model (`aud`), a visitor (`sub` is the user, `sid` the session; one of them
or both) and its end (`exp`). The algorithm is fixed: the one that a token names is compared and never obeyed.

This file decides which tokens hold, and which users and sessions a visitor may name. It reads no clock.
"""

from __future__ import annotations

import base64
import hmac
import re
from typing import NamedTuple

import msgspec

LONGEST_SECONDS = 3600.0
"""Longest time from now to the end of a token."""

MAX_TOKEN_BYTES = 4096

_FORM = re.compile(rb"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{43})")
"""Header, claims and 32 bytes of signature in base64url without padding (RFC 7515, section 3.1)."""


class WrongToken(ValueError):
    """A token does not hold; the text says why, without repeating it."""


class Visitor(NamedTuple):
    """The visitor that a token names.

    Attributes:
        user, session: ids as text; None if the token names none.
    """

    user: str | None
    session: str | None


class _Header(msgspec.Struct, forbid_unknown_fields=True):
    alg: str
    typ: str = "JWT"
    kid: str = ""


class _Claims(msgspec.Struct):
    aud: str
    exp: float
    sub: str | None = None
    sid: str | None = None
    nbf: float | None = None


_read_header = msgspec.json.Decoder(_Header).decode
_read_claims = msgspec.json.Decoder(_Claims).decode


def verify(token: bytes, secret: bytes, *, model: str, now: float) -> Visitor:
    """The visitor of a token, if it holds.

    Args:
        token: as it was sent.
        secret: signing secret of the public key.
        model: that the token has to be made for.
        now: seconds since the epoch.

    Raises:
        WrongToken: it has another form, signature, algorithm or model, has ended, ends too late, or names no visitor.
    """
    found = _FORM.fullmatch(token) if len(token) <= MAX_TOKEN_BYTES else None
    if found is None:
        raise WrongToken("it is no JSON Web Token with a signature of HS256")
    header, claims, signature = found.groups()
    if not hmac.compare_digest(_encoded(hmac.digest(secret, b"%s.%s" % (header, claims), "sha256")), signature):
        raise WrongToken("its signature is not by the signing secret of this key, with HS256")
    try:
        algorithm = _read_header(_decoded(header)).alg
        told = _read_claims(_decoded(claims))
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
        raise WrongToken(
            f"it needs the header {{alg, typ}} and the claims aud, exp, and sub or sid ({error})"
        ) from None
    if algorithm != "HS256":
        raise WrongToken("its algorithm is not HS256")
    if told.aud != model:
        raise WrongToken("it was made for another model: aud is the name of the model")
    if now >= told.exp:
        raise WrongToken("it has expired")
    if told.exp > now + LONGEST_SECONDS:
        raise WrongToken("it ends more than an hour from now")
    if told.nbf is not None and now < told.nbf:
        raise WrongToken("it is not valid yet")
    if not (told.sub or told.sid) or "" in {told.sub, told.sid}:
        raise WrongToken("it names no visitor: sub is the user, and sid the session")
    return Visitor(told.sub, told.sid)


def _encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _decoded(data: bytes) -> bytes:
    return base64.urlsafe_b64decode(data + b"=" * (-len(data) % 4))
