"""Values that are learned and may not mean what their producer thinks: unknown kinds, and ratings of another scale.

This file decides what is said of them, and that each is said once: a line in the log for every unknown kind, a metric
with the kinds, and one line if the ratings never use their scale.
"""

from __future__ import annotations

from typing import Any

from prometheus_client import Counter

from stream.ingest.kinds import nearest_kind, unknown_kind_sentence
from stream.models.settings import ModelSettings
from stream.shard.shard import LearnResult

MOST_KINDS = 50
"""Unknown kinds that are named. Events of further ones are counted as `other`: a producer may write anything there."""

OTHER = "other"

ENOUGH_RATINGS = 1000
"""Ratings after which their range is judged, once."""


class ValueCautions:
    """Counts and logs doubtful values of one shard.

    Args:
        metric: counter with the label kind.
        settings: of the model.
        log: of the shard.
    """

    def __init__(self, metric: Counter, settings: ModelSettings, log: Any) -> None:
        self._metric = metric
        self._settings = settings
        self._log = log
        self._named: set[str] = set()
        self._ratings = 0
        self._least, self._most = settings.scale.high, settings.scale.low
        self._judged = False

    def note(self, result: LearnResult) -> None:
        """Take note of the values of a learned batch."""
        for kind, count in result.unknown_kinds.items():
            if kind not in self._named and len(self._named) < MOST_KINDS:
                self._named.add(kind)
                self._log.warning(
                    "unknown kind of event",
                    kind=kind,
                    nearest=nearest_kind(kind, self._settings.weights),
                    problem=unknown_kind_sentence(kind, self._settings.weights),
                )
            self._metric.labels(kind if kind in self._named else OTHER).inc(count)
        if result.ratings is not None and not self._judged:
            self._ratings += result.ratings.ratings
            self._least = min(self._least, result.ratings.least)
            self._most = max(self._most, result.ratings.most)
            if self._ratings >= ENOUGH_RATINGS:
                self._judged = True
                sentence = self._settings.scale.unused(self._ratings, self._least, self._most)
                if sentence is not None:
                    self._log.warning("ratings do not use their scale", problem=sentence)
