"""How Redis and Kafka are doing: up, or away since when and why. The log says it once, not at every attempt."""

from __future__ import annotations

import structlog

from serving.metrics import Metrics

log = structlog.get_logger(__name__)


class Dependency:
    """One thing that this server needs. Away until it has answered once; written by one thread or task, read by all."""

    def __init__(self, name: str, metrics: Metrics | None = None) -> None:
        self.name = name
        self.up = False
        self.since: float | None = None
        """Seconds since the epoch at which it went away; None while it answers or was never asked."""
        self.reason = "not reached yet"
        self._gauge = metrics.dependency_up.labels(name) if metrics else None
        if self._gauge:
            self._gauge.set(0)

    def answered(self) -> None:
        if not self.up:
            log.info("dependency answers", dependency=self.name)
            if self._gauge:
                self._gauge.set(1)
        self.up, self.since, self.reason = True, None, ""

    def failed(self, reason: str, now: float) -> None:
        if self.up or self.since is None:
            log.warning("dependency is away", dependency=self.name, reason=reason)
            if self._gauge:
                self._gauge.set(0)
            self.since = now
        self.up, self.reason = False, reason
