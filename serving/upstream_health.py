"""Health of Redis and Kafka, as this server sees it.

This file decides when one of them counts as up or down, and that the log says so once for each change, not at every
attempt.
"""

from __future__ import annotations

import structlog

from serving.metrics import Metrics

log = structlog.get_logger(__name__)


class UpstreamHealth:
    """State of one service that this server needs: down until it has answered once.

    One thread or task writes it, all read it.

    Args:
        name: `redis` or `kafka`, for the log and the gauge.
        metrics: of the server; None: no gauge is set.
    """

    def __init__(self, name: str, metrics: Metrics | None = None) -> None:
        self.name = name
        self.up = False
        self.since: float | None = None
        """Seconds since the epoch at which it went down; None while it answers or was never tried."""
        self.reason = "not reached yet"
        self._gauge = metrics.dependency_up.labels(name) if metrics else None
        if self._gauge:
            self._gauge.set(0)

    def answered(self) -> None:
        """Note that it answers."""
        if not self.up:
            log.info("upstream is up", upstream=self.name)
            if self._gauge:
                self._gauge.set(1)
        self.up, self.since, self.reason = True, None, ""

    def failed(self, reason: str, now: float) -> None:
        """Note that it does not answer.

        Args:
            reason: for the log and the health route.
            now: seconds since the epoch.
        """
        if self.up or self.since is None:
            log.warning("upstream is down", upstream=self.name, reason=reason)
            if self._gauge:
                self._gauge.set(0)
            self.since = now
        self.up, self.reason = False, reason
