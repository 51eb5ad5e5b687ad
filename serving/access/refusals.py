"""Refusals of requests: 401, 403 and 503 with the reason that the metric counts.

This file decides which reasons there are and how a refusal looks. Which requests are refused is decided by
`serving.access.guard` and `serving.access.visitors`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from serving.web.problems import Problem

Reason = Literal[
    "no key",
    "two keys",
    "unknown",
    "expired",
    "revoked",
    "scope",
    "origin",
    "redis away",
    "token",
    "visitor",
    "in the address",
]
"""Reason of a refusal, as the metric has it."""


class Refused(Problem):
    """A request without the key that its route needs, or beyond what its key may do.

    Args:
        status: of HTTP.
        reason: word or two for the metric.
        detail: what was missing, and what would be right.
        headers: of the response.
        index: number of the posted element that is refused, from 0.
        field: field or parameter that is refused.
    """

    def __init__(
        self,
        status: int,
        reason: Reason,
        detail: str,
        headers: Mapping[str, str],
        *,
        index: int | None = None,
        field: str | None = None,
    ) -> None:
        super().__init__(status, detail, headers=headers, index=index, field=field)
        self.reason: Reason = reason
