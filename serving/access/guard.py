"""Guard of every route: lets a request in, or refuses it with 401, 403 or 503.

A key comes as `Authorization: Bearer …` or as `X-API-Key: …`. No refusal, log or metric repeats it. Requests with an
administrative scope ask Redis again, so that a revoked key does nothing more, and are refused while Redis is away.

This file decides whether a request is let in, and how it is refused. Which keys there are is decided by
`serving.access.key_ring`, and the scope of a route by `serving.access.route_scopes`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from hashlib import sha256
from hmac import compare_digest
from typing import Any, Literal

import msgspec
import redis.exceptions
from fastapi import Request

from serving.access.key_ring import HeldKey, KeyRing
from serving.access.route_scopes import scope_of
from serving.limits.limits import Limits
from serving.limits.too_many import TooMany
from serving.web.problems import RETRY_SOON, Problem
from stream.access.acts import Caller
from stream.access.scopes import ADMINISTRATIVE, METRICS_READ, RECOMMENDATIONS_READ

Headers = Iterable[tuple[bytes, bytes]]

REALM = 'Bearer realm="corrente"'
LOOK_SECONDS = 1.0
"""Longest time that an administrative call waits for Redis to say whether its key still holds."""

CALLER = "corrente_caller"
"""Place of the caller in the scope of a request that was let in."""

KEY = "corrente_key"
"""Place of the key in the scope of a request that was let in; None if it needed none."""

Reason = Literal["no key", "two keys", "unknown", "expired", "revoked", "scope", "origin", "redis away"]
"""Reason of a refusal, as the metric has it."""


class Refused(Problem):
    """A request without the key that its route needs.

    Args:
        status: of HTTP.
        reason: word or two for the metric.
        detail: what was missing, and what would be right.
        headers: of the response.
    """

    def __init__(self, status: int, reason: Reason, detail: str, headers: Mapping[str, str]) -> None:
        super().__init__(status, detail, headers=headers)
        self.reason: Reason = reason


class Guard:
    """Checks requests against the keys of this process.

    Args:
        ring: the keys in memory.
        count_refusal: is called with the reason of each refusal.
        limits: how much a caller may do.
        metrics_token: text that opens what `metrics:read` opens, beside keys; empty for none.
    """

    def __init__(
        self, ring: KeyRing, count_refusal: Callable[[str], None], limits: Limits, metrics_token: str = ""
    ) -> None:
        self.ring = ring
        self.limits = limits
        self._count_refusal = count_refusal
        self._token_digest = sha256(metrics_token.encode()).digest() if metrics_token else None

    def check(self, headers: Headers, needed: str) -> HeldKey | None:
        """The key of a request, if it opens a scope; None if none is needed. It waits for nothing.

        Args:
            headers: of the request, with names in lower case.
            needed: the scope.

        Raises:
            Refused: 401, 403 or 503.
        """
        ring = self.ring
        if ring.open:
            return None
        digest = sha256(_presented(headers)).digest()
        if self._token_digest is not None and needed == METRICS_READ and compare_digest(digest, self._token_digest):
            return None
        if time.monotonic() > ring.trusted_until:
            raise _unread(known=ring.known)
        key = ring.find(digest)
        if key is None or not compare_digest(key.digest, digest):
            raise _invalid("unknown", "This key is unknown here: it was never made, or it is another model's.")
        if key.revoked:
            raise _invalid("revoked", "This key was revoked. Ask for another one.")
        now = time.time()
        if now >= key.expires_at:
            raise _invalid("expired", "This key has expired. Ask for another one.")
        if needed not in key.scopes:
            raise Refused(
                403,
                "scope",
                f"This call needs a key with the scope {needed}, which this one does not have.",
                {"WWW-Authenticate": f'{REALM}, error="insufficient_scope", scope="{needed}"'},
            )
        if key.origins and not _from_one_of(headers, key.origins):
            raise Refused(
                403, "origin", "This key is for requests of certain web pages only, and this one comes from none.", {}
            )
        ring.uses[key.id] = now
        return key

    def allows(self, headers: Headers, needed: str) -> bool:
        """True if a request may see what a scope opens. Nothing is counted as refused."""
        try:
            self.check(headers, needed)
        except Refused:
            return False
        return True

    async def admit(self, scope: MutableMapping[str, Any], method: str, template: str) -> None:
        """Let a request in to its route, and note its caller in its scope.

        Args:
            scope: of the request, as ASGI has it.
            method: of HTTP; a HEAD is a GET here.
            template: of the route.

        Raises:
            Refused: it has no key that opens the route.
            TooMany: its key or its address has done too much.
            UndeclaredRoute: the route has no scope.
        """
        needed = scope_of(method, template)
        if needed is None:
            return
        headers = scope["headers"]
        address = (scope.get("client") or ("",))[0]
        try:
            key = self.check(headers, needed)
            if key is not None and needed in ADMINISTRATIVE:
                await self._look_again(needed)
                key = self.check(headers, needed)
        except Refused as refused:
            self._count_refusal(refused.reason)
            self.limits.note_refusal(refused.reason, address)
            raise
        self.take(key, address, needed)
        scope[KEY] = key
        scope[CALLER] = Caller(f"key {key.id} of {key.owner}" if key else "anyone on this machine", address)

    def take(self, key: HeldKey | None, address: str, needed: str) -> None:
        """Take a request that was let in from the limits of its key and its address. It waits for nothing.

        Raises:
            TooMany: one of them is used up.
        """
        try:
            self.limits.take_request(key, address, self.ring.used_before)
        except TooMany as refusal:
            if key is not None and refusal.limit == "guesses":
                self.ring.uses.pop(key.id, None)  # it was not let in, so it was not used
            raise
        if needed == RECOMMENDATIONS_READ:
            self.limits.take_list(key)

    async def _look_again(self, needed: str) -> None:
        """Read the keys from Redis now. Raises `Refused` 503 if that is impossible, or takes too long."""
        try:
            if self.ring.away:
                raise redis.exceptions.ConnectionError
            await asyncio.wait_for(asyncio.to_thread(self.ring.look), LOOK_SECONDS)
        except (redis.exceptions.RedisError, msgspec.MsgspecError, ValueError, TimeoutError):
            raise Refused(
                503,
                "redis away",
                f"Redis does not answer, so nobody knows whether this key still holds. Calls with the scope {needed} "
                "wait for Redis.",
                RETRY_SOON,
            ) from None


async def require_scope(request: Request) -> None:
    """Dependency of every FastAPI route: admit the request."""
    scope = request.scope
    await scope["app"].state.guard.admit(scope, scope["method"], scope["route"].path_format)


def caller_of(scope: Mapping[str, Any]) -> Caller:
    """The caller of a request that was admitted, for the audit trail."""
    found: Caller = scope[CALLER]
    return found


def key_of(scope: Mapping[str, Any]) -> HeldKey | None:
    """The key of a request that was admitted; None if it needed none."""
    found: HeldKey | None = scope[KEY]
    return found


def _presented(headers: Headers) -> bytes:
    """The text of the key that a request brings.

    Raises:
        Refused: it brings none, or several.
    """
    found: bytes | None = None
    for name, value in headers:
        if name == b"authorization":
            if value[:7].lower() != b"bearer ":
                continue  # of a proxy, perhaps
            value = value[7:].strip()
        elif name != b"x-api-key":
            continue
        if found is not None:
            raise Refused(
                401, "two keys", "The request brings more than one key. Send one of them.", {"WWW-Authenticate": REALM}
            )
        found = value
    if not found:
        raise Refused(
            401,
            "no key",
            "This call needs a key, as `Authorization: Bearer …` or `X-API-Key: …`. `corrente keys create` makes one.",
            {"WWW-Authenticate": REALM},
        )
    return found


def _from_one_of(headers: Headers, origins: frozenset[bytes]) -> bool:
    found = [value for name, value in headers if name == b"origin"]
    return len(found) == 1 and found[0] in origins


def _invalid(reason: Reason, detail: str) -> Refused:
    return Refused(401, reason, detail, {"WWW-Authenticate": f'{REALM}, error="invalid_token"'})


def _unread(*, known: bool) -> Refused:
    detail = (
        "Redis has been away for longer than CORRENTE_KEYS_STALE_SECONDS, so the keys of this server count no more."
        if known
        else "This server has not read its keys from Redis yet."
    )
    return Refused(503, "redis away", f"{detail} Calls go on when Redis answers.", RETRY_SOON)
