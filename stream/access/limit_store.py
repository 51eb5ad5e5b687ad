"""Buckets of limits in Redis, shared by all servers of a model, and the record of guessed keys.

This file decides how buckets are reported, and how often guesses are recorded. How a bucket fills is decided in
`stream.versions.storage.limit_scripts`; what is limited, in `serving.limits`.
"""

from __future__ import annotations

from collections.abc import Sequence

from stream.access.acts import Act
from stream.access.audit import AuditTrail
from stream.versions.storage import limit_scripts
from stream.versions.storage.limit_scripts import LimitRow
from stream.versions.storage.namespace import Namespace

ROWS_AT_ONCE = 1000
"""Buckets in one call of the script, which takes less than some milliseconds of Redis's time then."""

GUESSES_SECONDS = 600
"""Least interval between two records of guessed keys, by all servers together. In the 400 days of the audit trail they
are 57,600 of its 100,000 records at most, so that guessing can't push the acts of owners out."""


class LimitStore:
    """Buckets of one model.

    Args:
        space: the model's part of a Redis. Its client is safe to share between threads.
    """

    def __init__(self, space: Namespace) -> None:
        self._redis, self._keys = space.redis, space.keys
        self._run = space.redis.register_script(limit_scripts.SPEND)
        self._trail = AuditTrail(space)

    def spend(self, rows: Sequence[LimitRow]) -> list[float]:
        """Take what was spent from each bucket, and return what is left.

        Raises:
            redis.exceptions.RedisError: Redis gave no answer; what was spent may or may not have been taken.
        """
        left: list[float] = []
        for start in range(0, len(rows), ROWS_AT_ONCE):
            cells = [cell for row in rows[start : start + ROWS_AT_ONCE] for cell in row]
            left += [int(millionths) / 1e6 for millionths in self._run(keys=[self._keys.prefix], args=cells)]
        return left

    def note_guesses(self, act: Act) -> bool:
        """Record guessed keys in the audit trail; False if that was done less than `GUESSES_SECONDS` ago."""
        if not self._redis.set(self._keys.limit("guesses-noted"), 1, nx=True, ex=GUESSES_SECONDS):
            return False
        self._trail.note(act)
        return True
