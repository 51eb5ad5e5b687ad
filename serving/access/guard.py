"""Guard of every route: lets a request in, or refuses it with 401, 403 or 503.

A key comes as `Authorization: Bearer …` or as `X-API-Key: …`. No refusal, log or metric repeats it. Requests with an
administrative scope ask Redis again, so that a revoked key does nothing more, and are refused while Redis is away.

This file decides whether a request is let in, and how it is refused. Which keys there are is decided by
`serving.access.key_ring`, and the scope of a route by `serving.access.route_scopes`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from hmac import compare_digest
from typing import Any

import msgspec
import redis.exceptions
from fastapi import Request

from serving.access.key_ring import HeldKey, KeyRing
from serving.access.refusals import Reason, Refused
from serving.access.route_scopes import BEACON_ROUTES, PUBLIC_ROUTES, scope_of
from serving.access.visitors import (
    BEACON_BYTES,
    Beacon,
    is_beacon,
    read_beacon,
    refuse_secrets_in_address,
    require_own_list,
    token_of,
)
from serving.access.why import reason_of
from serving.limits.bucket import Bucket
from serving.limits.limits import Limits
from serving.limits.rate_headers import note_limits
from serving.limits.too_many import TooMany
from serving.web.body import read_body
from serving.web.problems import RETRY_SOON
from stream.access.acts import READ_VISITORS, Caller, hidden_visitor
from stream.access.audit import AuditTrail
from stream.access.scopes import ADMINISTRATIVE, METRICS_READ, RECOMMENDATIONS_READ, VISITORS_READ
from stream.access.visitor_token import Visitor, WrongToken, verify
from stream.events import Id, text_of

Headers = Iterable[tuple[bytes, bytes]]

REALM = 'Bearer realm="corrente"'
LOOK_SECONDS = 1.0
"""Longest time that an administrative call waits for Redis to say whether its key still holds, or to record it."""

CALLER = "corrente_caller"
"""Place of the caller in the scope of a request that was let in."""

KEY = "corrente_key"
"""Place of the key in the scope of a request that was let in; None if it needed none."""

VISITOR = "corrente_visitor"
"""Place of the visitor for whom a public key acts; nothing stands there for other keys."""

BEACON_EVENTS = "corrente_beacon_events"
"""Place of the events of a beacon, whose body was read for its key."""


class Guard:
    """Checks requests against the keys of this process.

    Args:
        ring: the keys in memory.
        count_refusal: is called with the reason of each refusal.
        limits: how much a caller may do.
        trail: takes records of readings of personal data.
        visitor_salt: under which the trail hides visitors.
        metrics_token: text that opens what `metrics:read` opens, beside keys; empty for none.
    """

    def __init__(
        self,
        ring: KeyRing,
        count_refusal: Callable[[str], None],
        limits: Limits,
        trail: AuditTrail,
        visitor_salt: str,
        metrics_token: str = "",
    ) -> None:
        self.ring = ring
        self.limits = limits
        self._trail = trail
        self._visitor_salt = visitor_salt
        self._count_refusal = count_refusal
        self._token_digest = sha256(metrics_token.encode()).digest() if metrics_token else None

    def check(self, headers: Headers, needed: str, beacon: Beacon | None = None) -> HeldKey | None:
        """The key of a request, if it opens a scope; None if none is needed. It waits for nothing.

        Args:
            headers: of the request, with names in lower case.
            needed: the scope.
            beacon: key and token of a body, in place of headers. Only a public key may stand there.

        Returns:
            The key. A public one has its `visitor`, to whom the caller has to keep the request.

        Raises:
            Refused: 401, 403 or 503.
        """
        ring = self.ring
        if ring.open:
            return None
        digest = sha256(_presented(headers) if beacon is None else beacon.key.encode()).digest()
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
        if key.public:
            key = key._replace(visitor=self._visitor(key, headers, beacon, now))
        elif beacon is not None:
            raise Refused(401, "token", "Only a public key may stand in a body. Send this one as a header.", {})
        elif key.origins and not _from_one_of(headers, key.origins):
            raise Refused(
                403, "origin", "This key is for requests of certain web pages only, and this one comes from none.", {}
            )
        ring.uses[key.id] = now
        return key

    def _visitor(self, key: HeldKey, headers: Headers, beacon: Beacon | None, now: float) -> Visitor:
        """The visitor of the token beside a public key, from a page that may use it."""
        if not _from_one_of(headers, key.origins) and not _from_own_page(headers):
            raise Refused(
                403,
                "origin",
                "This public key is for web pages of certain origins only, and this request comes from none of them.",
                {},
            )
        token = token_of(headers) if beacon is None else beacon.token.encode()
        if not token:
            raise _invalid(
                "token",
                "A public key needs one token of a visitor, signed by the shop: as the header `X-Visitor-Token`, or in "
                "the body of a beacon.",
            )
        try:
            return verify(token, key.signing_secret, model=self.ring.model, now=now)
        except WrongToken as wrong:
            raise _invalid("token", f"The token of the visitor does not hold: {wrong}.") from None

    def keep_to_visitor(self, scope: Mapping[str, Any], request: Any) -> None:
        """Refuse what the visitor of a public key may not ask for, as `require_own_list`; other keys may.

        Args:
            scope: of a request that was admitted.
            request: query or body.
        """
        visitor = scope.get(VISITOR)
        if visitor is not None:
            with self.counted():
                require_own_list(visitor, request, scope["path_params"])

    async def admit_reasons(self, scope: Mapping[str, Any], request: Any) -> None:
        """Let a request see the reasons of a list. They name what a visitor had, which `visitors:read` opens.

        The visitor of a token sees their own. A list that names no visitor has nothing of one. Any other reading is
        recorded.

        Args:
            scope: of a request that was admitted.
            request: query or body.

        Raises:
            Refused: 403 without the scope; 503 if Redis can't say whether the key still holds, or takes no record.
        """
        key = scope[KEY]
        user = scope["path_params"].get("user", getattr(request, "user", None))
        session = getattr(request, "session", None)
        if key is None or key.visitor is not None or (user is None and session is None):
            return
        with self.counted():
            self.check(scope["headers"], VISITORS_READ)
            await self._look_again(VISITORS_READ)
            self.check(scope["headers"], VISITORS_READ)
        await self._record_reading(scope, "reasons of a list", user, session)

    def take_reasons(self, scope: Mapping[str, Any], items: int) -> None:
        """Take the reasons of a list from the limits of the caller of a request that was admitted.

        Those of an item take a server as long as a list, so they count as one (measured with a model of 10,000 items: a
        list of 10 takes 0.12 ms, its reasons 1.4 ms; those of 100 items take 11 ms).

        Args:
            scope: of the request.
            items: number of items whose reasons are asked for.

        Raises:
            TooMany: they don't fit.
        """
        asks = f"a list with the reasons of {items} items counts as {items + 1}"
        self.limits.take_further_lists(scope[KEY], scope[CALLER].origin, items, asks, divisible=False)

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count a refusal that is raised inside."""
        try:
            yield
        except Refused as refused:
            self._count_refusal(refused.reason)
            raise

    def allows(self, headers: Headers, needed: str) -> bool:
        """True if a request may see what a scope opens. Nothing is counted as refused."""
        try:
            self.check(headers, needed)
        except Refused:
            return False
        return True

    async def admit(
        self,
        scope: MutableMapping[str, Any],
        method: str,
        template: str,
        receive: Callable[[], Awaitable[Mapping[str, Any]]] | None = None,
    ) -> None:
        """Let a request in to its route, and note its caller in its scope.

        Args:
            scope: of the request, as ASGI has it.
            method: of HTTP; a HEAD is a GET here.
            template: of the route.
            receive: gives the body, for routes that take beacons. The events of one stand in the scope afterwards.

        Raises:
            Refused: it has no key that opens the route.
            TooMany: its key or its address has done too much.
            Problem: it is a beacon whose body can't be read.
            UndeclaredRoute: the route has no scope.
        """
        needed = scope_of(method, template)
        if needed is None:
            return
        address = (scope.get("client") or ("",))[0]
        try:
            key = await self._let_in(scope, f"{method} {template}", needed, receive)
        except Refused as refused:
            self._count_refusal(refused.reason)
            note_limits(scope, self.limits.note_refusal(refused.reason, address))
            raise
        note_limits(scope, *self.take(key, address, needed))
        scope[KEY] = key
        scope[CALLER] = Caller(f"key {key.id} of {key.owner}" if key else "anyone on this machine", address)
        if needed == VISITORS_READ:
            await self._record_reading(scope, f"{method} {template}", scope["path_params"].get("user"))

    async def _let_in(
        self,
        scope: MutableMapping[str, Any],
        route: str,
        needed: str,
        receive: Callable[[], Awaitable[Mapping[str, Any]]] | None,
    ) -> HeldKey | None:
        """The key that opens a route, as `check`; that of a beacon comes from its body."""
        headers, beacon = scope["headers"], None
        if not self.ring.open:
            refuse_secrets_in_address(scope["query_string"])
            if receive is not None and route in BEACON_ROUTES and is_beacon(headers):
                beacon = read_beacon(await read_body(scope, receive, BEACON_BYTES))
                scope[BEACON_EVENTS] = bytes(beacon.events)
        key = self.check(headers, needed, beacon)
        if key is not None and needed in ADMINISTRATIVE:
            await self._look_again(needed)
            key = self.check(headers, needed)
        if key is not None and key.visitor is not None:
            if route not in PUBLIC_ROUTES:
                raise Refused(403, "scope", "A public key does not open this route.", {})
            scope[VISITOR] = key.visitor
        return key

    def take(self, key: HeldKey | None, address: str, needed: str) -> Sequence[Bucket]:
        """Take a request that was let in from the limits of its key and its address. It waits for nothing.

        Returns:
            The buckets that it took from.

        Raises:
            TooMany: one of them is used up.
        """
        try:
            of_address = self.limits.take_request(key, address, self.ring.used_before)
        except TooMany as refusal:
            if key is not None and refusal.limit == "guesses":
                self.ring.uses.pop(key.id, None)  # it was not let in, so it was not used
            raise
        of_lists = self.limits.take_list(key) if needed == RECOMMENDATIONS_READ else None
        if of_address is None:
            return () if of_lists is None else (of_lists,)
        return (of_address,) if of_lists is None else (of_address, of_lists)

    async def _look_again(self, needed: str) -> None:
        """Read the keys from Redis now. Raises `Refused` 503 if that is impossible, or takes too long."""
        try:
            if self.ring.away:
                raise redis.exceptions.ConnectionError
            async with asyncio.timeout(LOOK_SECONDS):
                await asyncio.to_thread(self.ring.look)
        except (redis.exceptions.RedisError, msgspec.MsgspecError, ValueError, TimeoutError):
            raise Refused(
                503,
                "redis away",
                "Redis does not answer, so it is not known whether this key still holds. Calls with the scope "
                f"{needed} wait for Redis.",
                RETRY_SOON,
            ) from None

    async def _record_reading(
        self, scope: Mapping[str, Any], what: str, user: Id | None, session: Id | None = None
    ) -> None:
        """Record that a key reads personal data, before it does. On an open server nobody is known, and none is made.

        Raises:
            Refused: 503 if Redis takes no record.
        """
        if scope[KEY] is None:
            return
        named = [
            f"{kind} {hidden_visitor(text_of(given), self._visitor_salt)}"
            for kind, given in (("user", user), ("session", session))
            if given is not None
        ]
        target = " of ".join([what, *([" and ".join(named)] if named else [])])
        act = scope[CALLER].act(READ_VISITORS, target, why=reason_of(scope["headers"]))
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await asyncio.to_thread(self._trail.note, act)
        except (redis.exceptions.RedisError, TimeoutError):
            with self.counted():
                raise Refused(
                    503,
                    "redis away",
                    "Redis takes no record of this reading, and personal data is read with a record only.",
                    RETRY_SOON,
                ) from None


async def require_scope(request: Request) -> None:
    """Dependency of every FastAPI route: admit the request."""
    scope = request.scope
    await scope["app"].state.guard.admit(scope, scope["method"], scope["route"].path_format, request.receive)


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


def _from_own_page(headers: Headers) -> bool:
    """True for a GET of a page whose origin is that of the server: browsers send no Origin then, and say so instead."""
    names = {name: value for name, value in headers if name in {b"origin", b"sec-fetch-site"}}
    return names == {b"sec-fetch-site": b"same-origin"}


def _invalid(reason: Reason, detail: str) -> Refused:
    return Refused(401, reason, detail, {"WWW-Authenticate": f'{REALM}, error="invalid_token"'})


def _unread(*, known: bool) -> Refused:
    detail = (
        "Redis has been away for longer than CORRENTE_KEYS_STALE_SECONDS, so the keys of this server count no more."
        if known
        else "This server has not read its keys from Redis yet."
    )
    return Refused(503, "redis away", f"{detail} Calls go on when Redis answers.", RETRY_SOON)
