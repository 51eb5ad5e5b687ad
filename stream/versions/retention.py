"""Retention: the newest versions are kept, then one a minute, one an hour, one a day, and all that an alias names.

Pure: times and numbers in, numbers out. This file decides which versions are kept. The folding of the states behind
them is decided in `stream.versions.compaction`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import NamedTuple

MINUTE, HOUR, DAY = 60, 3600, 86_400


@dataclass(frozen=True)
class Policy:
    """The amount of history that is kept. Names and defaults are those of the settings (`CORRENTE_KEEP_LAST` …)."""

    keep_last: int = 64
    keep_minutes: int = 60
    keep_hours: int = 48
    keep_days: int = 30


class Listed(NamedTuple):
    """A version as retention sees it; `created_at` in seconds."""

    number: int
    created_at: float


def kept(versions: Iterable[Listed], policy: Policy, now: float, named: Collection[int] = ()) -> set[int]:
    """Numbers of the versions to keep.

    The last version of each minute (hour, day, in UTC) stays, so the one that stands for an hour is among those that
    stood for its minutes.

    Args:
        versions: all there are, in any order.
        policy: how much is kept.
        now: seconds since the epoch.
        named: numbers that aliases point to; always kept.

    >>> history = [Listed(number, created_at=number * 20.0) for number in range(1, 13)]
    >>> sorted(kept(history, Policy(keep_last=2, keep_minutes=2, keep_hours=0, keep_days=0), now=240.0, named={1}))
    [1, 8, 11, 12]
    """
    newest_first = sorted(versions, reverse=True)
    keep = {version.number for version in newest_first[: policy.keep_last]}
    for width, count in ((MINUTE, policy.keep_minutes), (HOUR, policy.keep_hours), (DAY, policy.keep_days)):
        oldest = now // width - count
        last_of: dict[float, int] = {}
        for version in newest_first:
            last_of.setdefault(version.created_at // width, version.number)
        keep |= {number for bucket, number in last_of.items() if bucket >= oldest and count}
    return (keep | set(named)) & {version.number for version in newest_first}


def settled(first_at: float, last_at: float, next_at: float | None) -> bool:
    """True if the states from `first_at` to `last_at` are one whole minute, hour or day that no state will join.

    Args:
        first_at, last_at: seconds since the epoch.
        next_at: of the next state that is kept; None if there is none yet.

    >>> settled(61.0, 119.0, 120.5), settled(61.0, 90.0, 119.0), settled(59.0, 61.0, 122.0)
    (True, False, False)
    """
    if next_at is None:
        return False
    return any(first_at // width == last_at // width != next_at // width for width in (MINUTE, HOUR, DAY))
