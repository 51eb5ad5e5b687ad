"""Rejected records, and those that are left out on purpose, in metrics and logs.

This file decides the classes of reasons, and that each class is logged once a minute at most: a flood of bad records is
one line with a number, not a flood of lines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from prometheus_client import Counter as Metric

from stream.ingest.left_out import BOT, CONSENT
from stream.ingest.origins import topic_of
from stream.ingest.records import Rejection

LOG_SECONDS = 60.0
"""Least time between two log lines for one class of reasons."""

FIELDS = frozenset(
    (
        "bot",
        "consent",
        "event_id",
        "item",
        "mapping",
        "price",
        "quantity",
        "schema",
        "session",
        "timestamp",
        "topic",
        "user",
        "value",
    ),
)
"""Fields that a reason may begin with."""

WISHED = frozenset((BOT, CONSENT))
"""Rules by which a producer asks that an event isn't learned: they are logged, and no warning."""


def class_of(rejection: Rejection) -> str:
    """The class of a reason: the rule that leaves it out, else the field that is wrong, `ahead`, `failed` or `other`.

    >>> from stream.ingest.records import Record
    >>> class_of(Rejection(Record("clicks", 0, 0, b""), "item: an id is 1 to 256 bytes, this one is empty"))
    'item'
    """
    if rejection.unlearned:
        return rejection.unlearned
    if rejection.isolated:
        return "failed"
    if rejection.refused:
        return "ahead"
    field = rejection.reason.partition(":")[0]
    return field if field in FIELDS else "other"


class RejectionLog:
    """Counts rejections, and logs each class of them now and then.

    Args:
        metric: counter with the labels topic and reason.
        log: of the shard.
    """

    def __init__(self, metric: Metric, log: Any) -> None:
        self._metric = metric
        self._log = log
        self._next: dict[tuple[str, str], float] = {}
        self._since_last: Counter[tuple[str, str]] = Counter()

    def note(self, rejections: Sequence[Rejection], now: float) -> None:
        """Count these rejections, and log the classes whose time has come.

        Args:
            rejections: of one batch.
            now: seconds of a clock that never goes back.
        """
        if not rejections:
            return
        examples: dict[tuple[str, str], Rejection] = {}
        counts: Counter[tuple[str, str]] = Counter()
        for rejection in rejections:
            key = topic_of(rejection.record.origin), class_of(rejection)
            counts[key] += 1
            examples.setdefault(key, rejection)
        for key, count in counts.items():
            self._metric.labels(*key).inc(count)
            self._since_last[key] += count
            if now >= self._next.get(key, now):
                self._next[key] = now + LOG_SECONDS
                example = examples[key]
                about = {
                    "topic": key[0],
                    "reason": key[1],
                    "records": self._since_last.pop(key),
                    "example_origin": example.record.origin,
                    "example_offset": example.record.offset,
                    "example": example.reason,
                }
                if example.unlearned:
                    say = self._log.info if example.unlearned in WISHED else self._log.warning
                    say("records are left out on purpose and not learned", **about)
                else:
                    self._log.warning(
                        "records were rejected and become dead letters; see corrente dead-letters list", **about
                    )
