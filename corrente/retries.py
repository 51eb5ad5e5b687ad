"""Retries: which failed requests are sent again, and after how long.

The wait is drawn between 0 and a bound that doubles with each attempt ("full jitter"; M. Brooker, Exponential Backoff
And Jitter, AWS Architecture Blog, 2015), so that many clients don't come back together. A `Retry-After` of the server
is waited first, and the drawn time is added to it.

This file decides that. It reads no clock; chance is a field.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from corrente.errors import CorrenteError, Refused, TooMany, Unreachable

RETRIED = frozenset({429, 502, 503, 504})
"""Statuses after which a request is sent again."""


@dataclass(frozen=True)
class Retries:
    """Number of attempts and the waits between them.

    Attributes:
        most: attempts after the first one; 0 for none.
        first_seconds: bound of the first wait. It doubles with each attempt.
        most_seconds: largest bound.
        patience_seconds: longest time that one call waits between its attempts in total. A `Retry-After` beyond it ends
            the call at once, with the server's refusal.
        chance: a number of at least 0 and less than 1 for each call.
    """

    most: int = 4
    first_seconds: float = 0.1
    most_seconds: float = 5.0
    patience_seconds: float = 15.0
    chance: Callable[[], float] = random.random

    def wait_seconds(self, attempt: int, error: CorrenteError) -> float:
        """Time to wait after an attempt.

        Args:
            attempt: number of the failed attempt, from 0.
            error: its failure.

        >>> from corrente.errors import refusal
        >>> half = Retries(chance=lambda: 0.5)
        >>> [half.wait_seconds(attempt, Unreachable("", sent=False)) for attempt in (0, 1, 2, 9)]
        [0.05, 0.1, 0.2, 2.5]
        >>> half.wait_seconds(0, refusal(503, b"", "2", now=0.0))
        2.05
        """
        bound = min(self.most_seconds, self.first_seconds * 2.0 ** min(attempt, 60))
        named = error.retry_after_seconds if isinstance(error, Refused) else None
        return (named or 0.0) + bound * self.chance()

    def next_wait(self, attempt: int, waited: float, error: CorrenteError, *, repeatable: bool) -> float | None:
        """Time to wait before the next attempt; None if there is none.

        Args:
            attempt: number of the failed attempt, from 0.
            waited: seconds that were waited before.
            error: its failure.
            repeatable: False for a call that does something else the second time. It is repeated only if the server
                certainly did nothing.
        """
        if attempt >= self.most or not may_help(error, repeatable=repeatable):
            return None
        wait = self.wait_seconds(attempt, error)
        return wait if waited + wait <= self.patience_seconds else None


def may_help(error: CorrenteError, *, repeatable: bool = True) -> bool:
    """True if sending the request again may help.

    >>> may_help(Unreachable("", sent=True)), may_help(Unreachable("", sent=True), repeatable=False)
    (True, False)
    """
    if isinstance(error, Unreachable):
        return repeatable or not error.sent
    if isinstance(error, TooMany):
        return True
    return isinstance(error, Refused) and error.status in RETRIED and repeatable
