"""What share of the events is tested before it is learned: as much as the time allows.

Learning an event takes microseconds, testing it takes a ranking and everything that is learned from one: a hundred
times as much. So the ranker learns from a sample. Its size follows from three wishes, and the largest of them wins:

- testing takes at most `share` of learning's CPU time, however fast the stream is;
- a quiet stream is tested event by event: as long as testing everything keeps a core busy for less than `QUIET_CORE`;
- at least `floor` events a second are tested.

What an event costs to learn, and what to test on top, is estimated from the CPU time of the batches that were applied.
Every second batch is given a rate above the wanted one and the others one below: were all the same, the two costs could
not be told apart. Only neighbouring batches are compared. Over longer times both costs move, and the rate with them, so
that a fit over all batches would blame the one for the other.

This file decides the rate. It is journaled with the batch (`stream.shard.shard`), so that a replay doesn't depend on how fast
any machine was. Which events of a batch are tested is decided there too.
"""

from __future__ import annotations

import math

QUIET_CORE = 0.05
"""Share of a core that testing may take in any case."""

SWING = 0.6
"""Batches alternate between the wanted rate and this share of it more, or less."""

MEMORY_SECONDS = 5.0
"""The costs are those of the last so many seconds, roughly."""

FIRST_LEARN_SECONDS = 5e-6
FIRST_TEST_SECONDS = 300e-6


class SampleRate:
    """The rate for the next batch, from what the last ones cost.

    >>> rate = SampleRate(share=0.15, floor=20.0)
    >>> now = 0.0
    >>> for _ in range(2000):                    # 50,000 events a second: 5 us to learn one, 100 us to test one
    ...     now += 0.02
    ...     r = rate.next(now)
    ...     rate.spent(1000, r, 1000 * (5e-6 + r * 100e-6), now)
    >>> round(rate.learn_seconds * 1e6), round(rate.test_seconds * 1e6)
    (5, 100)
    >>> 0.006 < rate.wanted(now) < 0.011        # .15/.85 of 5 us buys .009 tests, the quiet core .01
    True

    Args:
        share: of learning's CPU time, for everything that is done on the sample.
        floor: tests a second at least.
    """

    def __init__(self, share: float, floor: float) -> None:
        self._share = share
        self._floor = floor
        self._high = False
        self._updated: float | None = None
        self._previous: tuple[int, float, float] | None = None  # events, rate, CPU seconds an event
        # Sums that fade with time: of all batches, and of the differences between neighbours.
        self._events = self._sampled = self._seconds = self._span = 0.0
        self._rate_steps = self._cost_steps = 0.0
        self.learn_seconds = FIRST_LEARN_SECONDS
        self.test_seconds = FIRST_TEST_SECONDS
        self.spent_learning = 0.0
        self.spent_testing = 0.0

    def next(self, now: float, events: int = 0) -> float:
        """The rate for the next batch.

        Args:
            now: seconds of any clock that only moves forward.
            events: how many the batch has.
        """
        wanted = self.wanted(now, events)
        # Of all that was spent, not of what testing is said to cost: that estimate needs batches that differ.
        if wanted >= 1.0 and self._seconds < QUIET_CORE * max(self._span, 1.0):
            return 1.0
        self._high = not self._high
        return min(1.0, wanted * (1 + SWING if self._high else 1 - SWING))

    def wanted(self, now: float, events: int = 0) -> float:
        """The rate that the batches are given on average."""
        self._fade(now)
        learn, test = self.learn_seconds, self.test_seconds
        affordable = self._share / (1 - self._share) * learn / test if self._share < 1 else 1.0
        a_second = self._events_a_second(events)
        quiet = QUIET_CORE / (a_second * test) if a_second else 1.0
        least = self._floor / a_second if a_second else 1.0
        return min(1.0, max(affordable, quiet, least))

    def spent(self, events: int, rate: float, cpu_seconds: float, now: float) -> None:
        """What a batch cost.

        Args:
            events: how many it had.
            rate: what `next` said.
            cpu_seconds: CPU time of the thread that applied it.
            now: as in `next`.
        """
        self._fade(now)
        if events <= 0:
            return
        cost = cpu_seconds / events
        if self._previous is not None and self._previous[1] != rate:
            events_before, rate_before, cost_before = self._previous
            weight = min(events, events_before)  # the noise of a batch's cost shrinks with its size
            self._rate_steps += weight * abs(rate - rate_before)
            self._cost_steps += weight * (cost - cost_before) * (1 if rate > rate_before else -1)
        self._previous = events, rate, cost
        self._events += events
        self._sampled += rate * events
        self._seconds += cpu_seconds
        self._estimate()
        self.spent_testing += min(cpu_seconds, rate * events * self.test_seconds)
        self.spent_learning += cpu_seconds

    def _estimate(self) -> None:
        if self._rate_steps > 0 and self._cost_steps > 0:
            test = self._cost_steps / self._rate_steps
            learn = (self._seconds - test * self._sampled) / self._events
        else:  # nothing to compare with: the costs keep their proportion
            factor = self._seconds / (self._events * self.learn_seconds + self._sampled * self.test_seconds)
            learn, test = self.learn_seconds * factor, self.test_seconds * factor
        if test < learn:
            # A test ranks a hundred candidates, so it never costs less: some hiccup fell on the wrong batches. If
            # that were believed, every event would be tested, and with no two rates to compare it would stay so.
            learn = test = self._seconds / (self._events + self._sampled)
        self.learn_seconds = max(learn, 1e-7)
        self.test_seconds = max(test, 1e-6)

    def _events_a_second(self, coming: int = 0) -> float:
        return (self._events + coming) / max(self._span, 1.0)

    def _fade(self, now: float) -> None:
        if self._updated is None:
            self._updated = now
            return
        passed = now - self._updated
        self._updated = now
        kept = math.exp(-passed / MEMORY_SECONDS)
        self._events *= kept
        self._sampled *= kept
        self._seconds *= kept
        self._rate_steps *= kept
        self._cost_steps *= kept
        self._span = self._span * kept + passed
