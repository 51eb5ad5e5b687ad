"""Buckets of this process, and their exchange with those of other processes over Redis.

This file decides when buckets are reported, how many are kept, and which are forgotten.

Let P be the number of processes, r the rate of a limit, m what its bucket holds and s `SHARE_SECONDS`. Between two
reports each process spends from the same m, so in T seconds at most m + r T + (P - 1) (m + r s) is let through. What
was too much is missing afterwards, so the mean over a long time is r. While Redis is away each process counts by
itself: up to P times the limit.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from serving.limits.bucket import Bucket
from stream.access.limit_store import LimitStore
from stream.runtime.tasks import cancel_and_wait
from stream.versions.storage.limit_scripts import LimitRow

log = structlog.get_logger(__name__)

SHARE_SECONDS = 0.2
"""Interval of reports."""

MOST_BUCKETS = 20_000
"""Buckets of one process; beyond that the oldest is forgotten, and its caller begins with a full one."""

MOST_WAITING = 2 * MOST_BUCKETS
"""Buckets that wait for an exchange, those included that were forgotten meanwhile."""

SWEEP_SECONDS = 10.0
"""Interval at which full buckets are forgotten."""


class SharedBuckets:
    """Buckets by name.

    Args:
        store: of buckets in Redis.
        redis_name: gives the name of a bucket in Redis for its name here.
    """

    def __init__(self, store: LimitStore, redis_name: Callable[[str], str]) -> None:
        self._store = store
        self._redis_name = redis_name
        self._buckets: dict[str, Bucket] = {}
        self._waiting: list[Bucket] = []
        self._task: asyncio.Task[None] | None = None
        self._away = False

    def __len__(self) -> int:
        return len(self._buckets)

    # ---- for requests

    def bucket(self, name: str, rate: float, most: float, now: float) -> Bucket:
        """The bucket of a name; a new one is full. One whose limit was changed starts anew.

        Args:
            name: name of the limit, a colon, and whose bucket it is.
            rate, most, now: as for `Bucket`.
        """
        found = self._buckets.get(name)
        if found is None or found.rate != rate or found.most != most:
            if len(self._buckets) >= MOST_BUCKETS:
                del self._buckets[next(iter(self._buckets))]
            found = self._buckets[name] = Bucket(name.partition(":")[0], self._redis_name(name), rate, most, now)
            self.report(found)  # others may have spent from it
        return found

    def take(self, bucket: Bucket, count: float, now: float) -> bool:
        """Take from a bucket, and let Redis know soon; False if there is not enough."""
        if not bucket.take(count, now):
            if not bucket.waits:
                self.report(bucket)
            return False
        if not bucket.waits:
            self.report(bucket)
        return True

    def report(self, bucket: Bucket) -> None:
        """Report a bucket with the next exchange, unless too many wait already because Redis is away."""
        if len(self._waiting) < MOST_WAITING:
            bucket.waits = True
            self._waiting.append(bucket)

    # ---- exchange

    def start(self, each_time: Callable[[], None]) -> None:
        """Report from now on; `each_time` is called in a thread after each interval."""
        self._task = asyncio.create_task(self._run(each_time), name="share limits")

    async def stop(self) -> None:
        """Report once more, and end."""
        if self._task is not None:
            await cancel_and_wait(self._task)
            await self._exchange()

    async def _run(self, each_time: Callable[[], None]) -> None:
        swept = time.monotonic()
        while True:
            await asyncio.sleep(SHARE_SECONDS)
            try:
                await self._exchange()
                await asyncio.to_thread(each_time)
            except Exception as error:  # whatever it is, it must not end the exchange; each process counts by itself
                self._note_away(error)
            if time.monotonic() - swept > SWEEP_SECONDS:
                swept = time.monotonic()
                self._forget_full()

    async def _exchange(self) -> None:
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        rows = []
        for bucket in waiting:
            bucket.waits = False
            rows.append(LimitRow(bucket.name, bucket.rate, bucket.most, bucket.spent))
        try:
            left = await asyncio.to_thread(self._store.spend, rows)
        except Exception as error:
            # The spent part stays in the buckets and is reported later, unless Redis counted it after all. Then the
            # caller has less for a while, which is the safe side.
            self._note_away(error)
            for bucket in waiting:
                if not bucket.waits:
                    self.report(bucket)
            return
        if self._away:
            log.info("limits are shared again")
            self._away = False
        now = time.time()
        for bucket, row, what_is_left in zip(waiting, rows, left, strict=True):
            bucket.learn(what_is_left, row.spent, now)

    def _forget_full(self) -> None:
        now = time.time()
        for name in [name for name, bucket in self._buckets.items() if not bucket.waits and bucket.full(now)]:
            del self._buckets[name]

    def _note_away(self, error: Exception) -> None:
        if not self._away:
            log.warning(
                "limits are not shared: each process counts by itself", error=f"{type(error).__name__}: {error}"
            )
            self._away = True
