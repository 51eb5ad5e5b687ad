"""Bucket: what may still be done of something that is limited. It reads no clock.

A bucket with a rate holds what may be done at once and fills with time (a token bucket). A bucket without a rate holds
the quota of a calendar day (UTC).

This file decides when something fits into a limit, and how long it has to wait until it does.
"""

from __future__ import annotations

from typing import NamedTuple

from stream.versions.storage.limit_scripts import DAY_SECONDS


class Shown(NamedTuple):
    """Parts of the headers about a bucket that stay the same.

    Attributes:
        policy: its limit.
        lines: headers of an answer, with places for what is left and for seconds.
        seconds: longest time until it is full.
    """

    policy: bytes
    lines: bytes
    seconds: int


class Bucket:
    """Allowance of one key or address.

    Args:
        limit: name of the limit.
        name: of the bucket in Redis.
        rate: what it gains each second; 0 for a quota of a day.
        most: what it holds when full, or the quota.
        now: seconds since the epoch.

    Attributes:
        shown: what `serving.limits.rate_headers` makes once for each bucket.
        left: what may be done, as of `at`; less than 0 after several servers have spent the same.
        spent: what was taken and is not in Redis yet.
        waits: True while the bucket waits to be reported to Redis.
    """

    __slots__ = ("at", "left", "limit", "most", "name", "rate", "shown", "spent", "waits")

    def __init__(self, limit: str, name: str, rate: float, most: float, now: float) -> None:
        self.limit = limit
        self.name = name
        self.shown: Shown | None = None
        self.rate = rate
        self.most = most
        self.left = most
        self.at = now
        self.spent = 0.0
        self.waits = False

    def take(self, count: float, now: float) -> bool:
        """Take from the bucket; False if there is not enough, and nothing is taken then.

        >>> bucket = Bucket("lists", "a", rate=2.0, most=4.0, now=0.0)
        >>> [bucket.take(3, 0.0), bucket.take(3, 0.0), bucket.take(3, 1.0)]
        [True, False, True]
        """
        self._fill(now)
        if self.left < count:
            return False
        self.left -= count
        self.spent += count
        return True

    def give_back(self, count: float) -> None:
        """Return what was taken and not used."""
        self.left += count
        self.spent -= count

    def seconds_until(self, count: float, now: float) -> float:
        """Time until so much fits, if nothing else is taken; for a quota, until the day ends.

        >>> Bucket("lists", "a", rate=0, most=100, now=86_400.0 - 60).seconds_until(101, 86_400.0 - 60)
        60.0
        """
        if self.rate == 0:
            return DAY_SECONDS - now % DAY_SECONDS
        self._fill(now)
        return max(min(count, self.most) - self.left, 0.0) / self.rate

    def learn(self, left: float, reported: float, now: float) -> None:
        """Take over what Redis says is left.

        Args:
            left: after what was reported was taken.
            reported: part of `spent` that Redis has counted.
            now: seconds since the epoch.
        """
        self.spent -= reported
        self.left = left - self.spent
        self.at = now

    def full(self, now: float) -> bool:
        """True if forgetting the bucket changes nothing."""
        self._fill(now)
        return self.left >= self.most and not self.spent

    def _fill(self, now: float) -> None:
        if self.rate == 0:
            if now // DAY_SECONDS > self.at // DAY_SECONDS:
                self.left = self.most
                self.at = now
        elif now > self.at:
            self.left = min(self.most, self.left + (now - self.at) * self.rate)
            self.at = now
