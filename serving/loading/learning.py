"""Learning, as servers see it: shards that stand still, as their workers report in Redis.

Lists are answered while learning stands still, and grow old. A server asks Redis beside its checks for new versions, so
this costs requests nothing.

This file decides how often Redis is asked, and when the silence of a worker means anything: only once Redis has
answered for as long as a report holds, because after an outage of Redis every report is old.
"""

from __future__ import annotations

from stream.versions import StoppedShard, VersionStore
from stream.versions.storage.reports import SILENT_SECONDS

LOOK_SECONDS = 1.0
"""Shortest interval between two questions."""


class LearningWatch:
    """The shards that stand still, asked from one thread.

    Args:
        store: of versions and reports.
    """

    def __init__(self, store: VersionStore) -> None:
        self._store = store
        self._asked: float | None = None
        self._answered_since: float | None = None
        self._stopped: tuple[StoppedShard, ...] = ()

    def look(self, monotonic: float, now: float) -> tuple[StoppedShard, ...]:
        """Shards that stand still; Redis is asked if `LOOK_SECONDS` have passed.

        Args:
            monotonic: seconds of a clock that never goes back.
            now: seconds since the epoch.

        Raises:
            RedisError: Redis does not answer.
        """
        if self._asked is None or monotonic - self._asked >= LOOK_SECONDS:
            self._asked = monotonic
            since = monotonic if self._answered_since is None else self._answered_since
            silence_counts = monotonic - since >= SILENT_SECONDS
            self._stopped = tuple(self._store.stopped_shards(now, silence_counts=silence_counts))
            self._answered_since = since
        return self._stopped

    def redis_failed(self) -> None:
        """Take note that Redis did not answer."""
        self._answered_since = None
