"""Guessed keys: an address that brings wrong keys again and again has to wait.

A key has 256 random bits, so what is limited is not the chance of a guess but its cost, and the noise in the audit
trail. A key that was in use before goes on working from the same address, so that a stranger behind the same proxy as
a shop can't lock the shop out by guessing.

This file decides when an address has guessed too often, and what the audit trail keeps of it.
"""

from __future__ import annotations

import threading

from serving.limits.bucket import Bucket
from serving.limits.sharing import SharedBuckets
from stream.access.acts import Act
from stream.access.limit_store import LimitStore

GUESSES: frozenset[str] = frozenset({"unknown", "expired", "revoked"})
"""Reasons of refusals that count as a guess."""

MOST_NAMED = 5
"""Addresses that one record of the audit trail names; more are counted."""

MOST_ADDRESSES = 10_000
"""Addresses that are remembered until the next record."""


class Guesses:
    """Wrong keys by address.

    Args:
        buckets: of this process.
        store: takes records of guesses.
        per_minute: wrong keys a minute of one address; 0 for no limit.
    """

    def __init__(self, buckets: SharedBuckets, store: LimitStore, per_minute: float) -> None:
        self._buckets = buckets
        self._store = store
        self.per_minute = per_minute
        self.blocked: dict[str, Bucket] = {}
        """Addresses that have to wait. Nearly always empty."""
        self._lock = threading.Lock()
        self._unrecorded: dict[str, int] = {}

    def note(self, address: str, now: float) -> Bucket | None:
        """Count one wrong key of an address; return its bucket if that was one too many."""
        if not self.per_minute:
            return None
        if (found := self.waits(address, now)) is not None:
            return found
        bucket = self._buckets.bucket(f"guesses:{address}", self.per_minute / 60.0, self.per_minute, now)
        if self._buckets.take(bucket, 1, now):
            return None
        if len(self.blocked) >= MOST_ADDRESSES:
            self.blocked.clear()
        self.blocked[address] = bucket
        with self._lock:
            if address in self._unrecorded or len(self._unrecorded) < MOST_ADDRESSES:
                self._unrecorded[address] = self._unrecorded.get(address, 0) + 1
        return bucket

    def waits(self, address: str, now: float) -> Bucket | None:
        """The bucket of an address that has to wait until it is half full; None if it need not."""
        bucket = self.blocked.get(address)
        if bucket is None:
            return None
        if bucket.seconds_until(bucket.most / 2, now) == 0:
            del self.blocked[address]
            return None
        with self._lock:
            if address in self._unrecorded:
                self._unrecorded[address] += 1
        return bucket

    def record(self) -> None:
        """Put guesses into the audit trail, in a thread. Those that come too soon after a record wait for the next.

        Raises:
            redis.exceptions.RedisError: Redis gave no answer; the guesses wait.
        """
        if not self._unrecorded:
            return
        with self._lock:
            found = dict(self._unrecorded)
        named = ", ".join(sorted(found)[:MOST_NAMED])
        more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
        act = Act(
            who="somebody with wrong keys",
            what="keys.guess",
            target=f"{sum(found.values())} requests refused",
            why=f"more than {self.per_minute:g} wrong keys a minute from {len(found)} addresses",
            origin=named + more,
        )
        if self._store.note_guesses(act):
            with self._lock:
                for address, count in found.items():
                    left = self._unrecorded[address] - count
                    if left > 0:
                        self._unrecorded[address] = left
                    else:
                        del self._unrecorded[address]
