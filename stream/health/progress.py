"""Progress of one partition: whether it goes on, since when it stands still, and when it is tried again.

This file decides what counts as progress and how pauses grow. Records that are learned again after going back to an
older state after a failure are none: only what is beyond everything that was learned before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prometheus_client import Gauge

from stream.health.standing import NO_PROGRESS_SECONDS, REASONS, Reason, Standing

STOPPED_SECONDS = (1.0, 60.0)
"""First and longest pause before a shard that stands still for no record's fault is tried again."""


class Progress:
    """The progress of one partition.

    Args:
        partition: its number, as a label.
        metric: gauge with the labels partition and reason.
        log: of the partition.
        monotonic: seconds of a clock that never goes back.
        time: seconds since the epoch.
    """

    def __init__(
        self, partition: int, metric: Gauge, log: Any, monotonic: Callable[[], float], time: Callable[[], float]
    ) -> None:
        self._partition = str(partition)
        self._metric = metric
        self._log = log
        self._monotonic = monotonic
        self._time = time
        self._stopped: Standing | None = None
        self._silent = False
        self._failures = 0
        self._furthest = -1
        self._moved = monotonic()

    def standing(self, behind: float) -> Standing | None:
        """The reason why the partition stands still; None while it doesn't. May be called from any thread.

        A partition that waits without an error is found here, so this is called again and again; the first call that
        finds it logs it.

        Args:
            behind: number of records that wait.
        """
        if self._stopped is not None:
            return self._stopped
        waited = self._monotonic() - self._moved
        if waited < NO_PROGRESS_SECONDS or not behind:
            return None
        found = Standing(
            self._time() - waited,
            "no progress",
            f"nothing was learned for {waited:.0f} seconds, and records wait",
            "look for the worker's last log lines; if they don't say why, restart the worker",
        )
        if not self._silent:
            self._silent = True
            self._log.error("the partition stands still", reason=found.reason, detail=found.detail, mend=found.command)
            self._show()
        return found

    def stop(self, reason: Reason, detail: str, command: str) -> None:
        """Say that the partition stands still: since now, unless it did before for the same reason."""
        since = self._time()
        if self._stopped is not None and self._stopped.reason == reason:
            since = self._stopped.since
        else:
            self._log.error("the partition stands still", reason=reason, detail=detail, mend=command)
        self._stopped = Standing(since, reason, detail, command)
        self._show()

    def pause_seconds(self) -> float:
        """The pause before the next attempt: longer with every call since the last progress."""
        first, longest = STOPPED_SECONDS
        self._failures = min(self._failures + 1, 30)
        return min(longest, first * 2.0 ** (self._failures - 1))

    def resume(self, position: int | None = None) -> None:
        """Say that the partition goes on, unless it hasn't got beyond an earlier position.

        Args:
            position: sum of the next offsets of all topics; None if nothing is left to learn.
        """
        self._moved = self._monotonic()
        if self._silent:
            self._silent = False
            self._log.info("the partition goes on", reason="no progress")
            self._show()
        if position is not None:
            again = self._stopped is not None and self._stopped.reason in ("failures", "machine")
            if again and position <= self._furthest:
                return
            self._furthest = position
        self._failures = 0
        if self._stopped is not None:
            since, reason, _, _ = self._stopped
            self._stopped = None
            self._log.info("the partition goes on", reason=reason, stood_still_seconds=round(self._time() - since))
            self._show()

    def _show(self) -> None:
        reason: Reason | None = "no progress" if self._silent else None
        if self._stopped is not None:
            reason = self._stopped.reason
        for each in REASONS:
            self._metric.labels(self._partition, each).set(each == reason)
