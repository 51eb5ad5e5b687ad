"""What share of the events is tested before it is learned: as much as the time allows.

Learning an event takes microseconds, testing it takes a ranking and everything that is learned from one: a hundred
times as much. So the ranker learns from a sample. Its size follows from three wishes, and the largest of them wins:

- testing takes at most `share` of learning's CPU time, however fast the stream is;
- a quiet stream is tested event by event: as long as testing everything keeps a core busy for less than `QUIET_CORE`;
- at least `floor` events a second are tested.

What an event costs to learn, and what to test on top, is estimated from the CPU time of the batches that were applied.
Neighbouring batches are given rates a little above and below the wanted one: were all the same, the two costs could not
be told apart.

This file decides the rate. It is journaled with the batch (`stream.shard`), so that a replay doesn't depend on how fast
any machine was. Which events of a batch are tested is decided there too.
"""

from __future__ import annotations

import math

QUIET_CORE = 0.05
"""Share of a core that testing may take in any case."""

SWING = 1.5
"""Batches alternate between the wanted rate times this and divided by this."""

MEMORY_SECONDS = 10.0
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
        # Sums for a least-squares fit of seconds = learn * events + test * sampled, which fade with time.
        self._events = self._cross = self._sampled = self._events_time = self._sampled_time = 0.0
        self._arrived = 0.0
        self._span = 0.0
        self.learn_seconds = FIRST_LEARN_SECONDS
        self.test_seconds = FIRST_TEST_SECONDS
        self.spent_learning = 0.0
        self.spent_testing = 0.0

    def next(self, now: float) -> float:
        """The rate for the next batch.

        Args:
            now: seconds of any clock that only moves forward.
        """
        wanted = self.wanted(now)
        if wanted >= 1.0 and self._events_a_second() * self.test_seconds * SWING < QUIET_CORE:
            return 1.0
        self._high = not self._high
        return min(1.0, wanted * SWING if self._high else wanted / SWING)

    def wanted(self, now: float) -> float:
        """The rate that the batches are given on average."""
        self._fade(now)
        learn, test = self.learn_seconds, self.test_seconds
        affordable = self._share / (1 - self._share) * learn / test if self._share < 1 else 1.0
        a_second = self._events_a_second()
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
        sampled = rate * events
        weight = 1.0 / events  # the noise of a batch grows with its size
        self._events += weight * events * events
        self._cross += weight * events * sampled
        self._sampled += weight * sampled * sampled
        self._events_time += weight * events * cpu_seconds
        self._sampled_time += weight * sampled * cpu_seconds
        self._arrived += events
        self._estimate()
        self.spent_testing += min(cpu_seconds, sampled * self.test_seconds)
        self.spent_learning += cpu_seconds

    def _estimate(self) -> None:
        spread = self._events * self._sampled - self._cross * self._cross
        if spread > 1e-6 * self._events * self._sampled:
            learn = (self._sampled * self._events_time - self._cross * self._sampled_time) / spread
            test = (self._events * self._sampled_time - self._cross * self._events_time) / spread
        else:  # every batch had the same rate: the costs keep their proportion
            factor = self._events_time / (self._events * self.learn_seconds + self._cross * self.test_seconds)
            learn, test = self.learn_seconds * factor, self.test_seconds * factor
        self.learn_seconds = max(learn, 1e-7)
        self.test_seconds = max(test, 1e-6)

    def _events_a_second(self) -> float:
        return self._arrived / self._span if self._span > 0 else 0.0

    def _fade(self, now: float) -> None:
        if self._updated is None:
            self._updated = now
            return
        passed = now - self._updated
        self._updated = now
        kept = math.exp(-passed / MEMORY_SECONDS)
        self._events *= kept
        self._cross *= kept
        self._sampled *= kept
        self._events_time *= kept
        self._sampled_time *= kept
        self._arrived *= kept
        self._span = self._span * kept + passed
