"""The reasons for which a partition stands still.

This file decides what is said of a partition that makes no progress: since when, why, and what mends it. Reasons are
few and fixed, because each is the label of a metric; details are for people.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

Reason = Literal[
    "dead letters",
    "failures",
    "kafka",
    "machine",
    "no progress",
    "redis",
    "refused",
    "schema registry",
    "topics",
    "version",
]

REASONS: tuple[Reason, ...] = get_args(Reason)

NO_PROGRESS_SECONDS = 30.0
"""Longest time without progress, while records wait, before a partition counts as standing still."""


class Standing(NamedTuple):
    """A partition that stands still.

    Attributes:
        since: seconds since the epoch.
        reason: one of `REASONS`.
        detail: the error, for people.
        command: what mends it.
    """

    since: float
    reason: Reason
    detail: str
    command: str
