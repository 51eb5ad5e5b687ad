"""`GET /v1/recommendations/{user}` from the served version, without waiting for anything.

The same reading, the same model and the same bytes as `serving.answers.recommendations` gives; what that refuses, or has to
wait for, is left to it.
"""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import unquote

import msgspec
import structlog

from serving.answers.recommendations import RecommendationsOfUser, query_of
from serving.answers.response import listed
from serving.loading.loader import Loader
from serving.metrics import Metrics
from serving.web.parsing import QueryReader
from serving.web.problems import Problem

log = structlog.get_logger(__name__)

PREFIX = b"/v1/recommendations/"
ROUTE = "/v1/recommendations/{user}"

_read_query = QueryReader(RecommendationsOfUser)
_encode = msgspec.json.Encoder().encode


class FastPath:
    """Answers targets that begin with `PREFIX`, or says None."""

    def __init__(self, state: Any) -> None:
        self._loader: Loader = state.loader
        self._metrics: Metrics = state.metrics

    def __call__(self, target: bytes) -> bytes | None:
        started = time.perf_counter()
        served = self._loader.served
        path, _, query = target.partition(b"?")
        if served is None or b"#" in target or b"/" in path[len(PREFIX) :]:
            return None
        try:
            user = path[len(PREFIX) :].decode("ascii")
            if "%" in user:
                user = unquote(user, errors="surrogateescape")
            ask = _read_query(query)
            if ask.version is not None:
                return None
            body = _encode(listed(self._loader, served, served.model.recommend(query_of(user, ask))))
        except (Problem, UnicodeDecodeError):
            return None
        except Exception:
            log.exception("no answer at once", target=target.decode("ascii", "replace"))
            return None
        self._metrics.count_request("GET", ROUTE, 200, time.perf_counter() - started)
        return body
