"""Fast HTTP path: `GET /v1/recommendations/{user}` from the served version, without waiting for anything.

This file decides which requests are answered inside the HTTP protocol. Reading, decision and response are those of
`serving.answers.recommendations`, so the bytes are the same but for the answer id. A request that is refused, or that
has to wait for a version to be loaded, is left to the full path through the application.
"""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import unquote

import msgspec
import structlog

from serving.access.guard import Guard
from serving.access.refusals import Refused
from serving.access.visitors import require_own_list
from serving.answers.parameters.filters import filter_of
from serving.answers.requests import RecommendationsOfUser, ask_of_user
from serving.answers.responder import Responder
from serving.limits.rate_headers import lines_of
from serving.limits.too_many import TooMany
from serving.loading.served import VersionSource
from serving.metrics import Metrics
from serving.web.body import Headers
from serving.web.fast_protocol import JSON_HEAD
from serving.web.parsing import QueryReader
from serving.web.problems import STORE_PROBLEMS, Problem
from stream.access.scopes import RECOMMENDATIONS_READ
from stream.catalogue.filters import Filter

log = structlog.get_logger(__name__)

PREFIX = b"/v1/recommendations/"
PREFIX_BYTES = len(PREFIX)
ROUTE = "/v1/recommendations/{user}"

REFUSED: tuple[type[Exception], ...] = (Problem, UnicodeDecodeError, *STORE_PROBLEMS)
"""Errors that the full path answers with a status of its own."""

KEPT_QUERIES = 1024
"""Queries whose meaning is kept: a page of a shop asks for many visitors with the same filter."""

MAX_KEPT_BYTES = 500
"""Longest query whose meaning is kept."""

_read_query = QueryReader(RecommendationsOfUser)
_encode = msgspec.json.Encoder().encode


class FastPath:
    """Answers targets that begin with `PREFIX` if they can be answered without waiting.

    Args:
        state: of the application: its `loader`, `responder`, `guard` and `metrics`.
    """

    def __init__(self, state: Any) -> None:
        self._loader: VersionSource = state.loader
        responder: Responder = state.responder
        self._respond = responder.respond
        guard: Guard = state.guard
        self._check = guard.check
        self._take = guard.take
        self._limits = guard.limits
        metrics: Metrics = state.metrics
        self._count_too_many = metrics.request_counter("GET", ROUTE, 429)
        self._count_request = metrics.request_counter("GET", ROUTE, 200)
        self._meanings: dict[bytes, tuple[RecommendationsOfUser, Filter]] = {}

    def __call__(self, target: bytes, headers: Headers = (), peer: str = "") -> bytes | tuple[bytes, bytes] | None:
        """The JSON body of status 200, with its head if limits were taken from; a refusal; None for the full path.

        Args:
            target: path and query of a GET as they were sent.
            headers: of the request, with names in lower case.
            peer: address of the other end of the connection.
        """
        started = time.perf_counter()
        served = self._loader.served
        segment, _, query = target[PREFIX_BYTES:].partition(b"?")
        if served is None or b"/" in segment or b"#" in target:
            return None
        try:
            key = self._check(headers, RECOMMENDATIONS_READ)
            user = segment.decode("ascii")
            if "%" in user:
                user = unquote(user, errors="surrogateescape")
            request, wanted = self._meanings.get(query) or self._read(query)
            if request.version is not None or request.explain:
                return None
            if key is not None and key.visitor is not None:
                require_own_list(key.visitor, request, {"user": user})
            ask = ask_of_user(user, request, wanted)
            # An address is looked up if it matters: a key of a backend has no limit of addresses.
            limited = key is None or key.origins or self._limits.guesses.blocked
            address = self._limits.address_of(peer, headers) if limited else ""
            taken = self._take(key, address, RECOMMENDATIONS_READ)
            body = _encode(self._respond(ask, served))
        except TooMany as refusal:
            return self._refuse(refusal, started)
        except Refused:
            return self._refuse_guesser(peer, headers, started)
        except REFUSED:
            return None
        except Exception:  # the full path answers it too, with a 500 if it fails there; the connection lives on
            log.exception("the fast path failed; the full path answers", target=target.decode("ascii", "replace"))
            return None
        self._count_request(time.perf_counter() - started)
        return (JSON_HEAD + lines_of(taken), body) if taken else body

    def _read(self, query: bytes) -> tuple[RecommendationsOfUser, Filter]:
        request = _read_query(query)
        meaning = request, filter_of(request)
        if len(query) <= MAX_KEPT_BYTES:
            if len(self._meanings) >= KEPT_QUERIES:
                self._meanings.clear()
            self._meanings[query] = meaning
        return meaning

    def _refuse_guesser(self, peer: str, headers: Headers, started: float) -> tuple[bytes, bytes] | None:
        """Refuse a request with a wrong key at once if its address has to wait; otherwise the full path counts it."""
        if not self._limits.guesses.blocked:
            return None
        try:
            self._limits.refuse_guesser(self._limits.address_of(peer, headers))
        except TooMany as refusal:
            return self._refuse(refusal, started)
        return None

    def _refuse(self, refusal: TooMany, started: float) -> tuple[bytes, bytes]:
        self._count_too_many(time.perf_counter() - started)
        return refusal.raw()
