"""Lag: the learning rate, and the time that it will take to catch up.

This file decides how fast records are said to be learned, when a shard counts as far behind, and how often that is
logged. The numbers are estimates for people and for the publish interval; nothing that is learned depends on them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

FAR_BEHIND_SECONDS = 2.0
"""A shard is far behind if it has more to learn than it learns in this time: freshness is worth little then."""

LOG_SECONDS = 10.0
"""Least time between two log lines about catching up."""

KEPT = 0.7
"""Share of the previous estimate that each update keeps."""


@dataclass
class LagEstimator:
    """Learning rate and time to catch up of one shard, from its lag at successive moments.

    >>> lag = LagEstimator()
    >>> lag.update(100.0, behind=9000)
    >>> lag.learned += 2000
    >>> lag.update(101.0, behind=8000)           # 2000 a second are learned, and 1000 arrive
    >>> lag.records_per_second, lag.catch_up_seconds
    (2000.0, 8.0)

    Attributes:
        learned: records that were learned since the last update; the caller adds to it.
        records_per_second: smoothed learning rate.
        catch_up_seconds: estimated time until nothing is behind; 0 when up to date, infinite when falling behind.
    """

    learned: int = 0
    records_per_second: float = 0.0
    catch_up_seconds: float = 0.0
    _updated: float | None = None
    _behind: int = 0
    _logged: float = -math.inf
    _gained_per_second: float = 0.0

    def update(self, now: float, behind: int) -> None:
        """Take the lag of this moment.

        Args:
            now: seconds of a clock that never goes back.
            behind: records in Kafka that are not learned yet.
        """
        if self._updated is not None and now > self._updated:
            passed = now - self._updated
            kept = KEPT if self.records_per_second else 0.0
            self.records_per_second = kept * self.records_per_second + (1 - kept) * self.learned / passed
            self._gained_per_second = kept * self._gained_per_second + (1 - kept) * (self._behind - behind) / passed
        self._updated, self._behind, self.learned = now, behind, 0
        if not behind:
            self.catch_up_seconds = 0.0
        elif self._gained_per_second > 0:
            self.catch_up_seconds = behind / self._gained_per_second
        else:
            self.catch_up_seconds = math.inf

    def far_behind(self, batch_records: int) -> bool:
        """Return True if more than one batch and more than `FAR_BEHIND_SECONDS` of learning are behind."""
        return self._behind > max(batch_records, FAR_BEHIND_SECONDS * self.records_per_second)

    def log_due(self, now: float) -> bool:
        """Return True if it is time to log the lag again, at most once in `LOG_SECONDS`."""
        if now - self._logged < LOG_SECONDS:
            return False
        self._logged = now
        return True
