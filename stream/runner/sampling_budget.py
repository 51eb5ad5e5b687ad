"""The share of the events that are tested before they are learned: as large as a CPU budget allows.

Learning an event takes microseconds. Testing it takes a ranking and everything that is learned from that: a hundred
times as much. Therefore the ranker learns from a sample. The sample's rate is the largest of three:

- the rate at which testing takes `share` of learning's CPU time, however fast the stream is;
- the rate at which testing keeps a core busy for `QUIET_CORE` of its time, so that a quiet stream is tested completely;
- the rate at which `floor` events a second are tested.

With a `share` of 1 there is no budget: every event is tested, whatever that costs.

The cost to learn an event and the additional cost to test it are estimated from the CPU time of the batches that were
learned. Every second batch gets a rate above the wanted one and the others one below: with equal rates the two costs
could not be separated. Only neighbouring batches are compared. Over longer times both costs move, and the rate with
them, so a fit over all batches would attribute a change of one cost to the other.

This file decides the rate. The rate is journaled with its batch (`stream.shard.shard`), so that a replay doesn't depend
on the speed of any machine. The events of a batch that are tested are chosen in `stream.shard.sampling`.
"""

from __future__ import annotations

import math

QUIET_CORE = 0.05
"""Share of one core that testing may take in any case."""

SWING = 0.6
"""Batches alternate between the wanted rate plus and minus this share of it."""

MEMORY_SECONDS = 5.0
"""Time constant of the estimates: older batches fade exponentially."""

FIRST_LEARN_SECONDS = 5e-6
"""CPU seconds to learn an event, before any batch was measured."""

FIRST_TEST_SECONDS = 300e-6
"""Additional CPU seconds to test an event, before any batch was measured."""


class SampleRate:
    """The sample rate of the next batch, from the measured cost of the last ones.

    >>> rate = SampleRate(share=0.15, floor=20.0)
    >>> now = 0.0
    >>> for _ in range(2000):                    # 50,000 events a second: 5 us to learn one, 100 us to test one
    ...     now += 0.02
    ...     r = rate.next(now)
    ...     rate.spent(1000, r, 1000 * (5e-6 + r * 100e-6), now)
    >>> round(rate.learn_seconds * 1e6), round(rate.test_seconds * 1e6)
    (5, 100)
    >>> 0.006 < rate.wanted(now) < 0.011        # 0.15/0.85 of 5 us pays 0.009 tests, the quiet core 0.01
    True

    Args:
        share: part of learning's CPU time, from 0 to 1, for everything that is done with the sample; 1 for no limit.
        floor: least number of tests a second.
    """

    def __init__(self, share: float, floor: float) -> None:
        self._share = share
        self._floor = floor
        self._high = False
        self._updated: float | None = None
        self._previous: tuple[int, float, float] | None = None  # events, rate, CPU seconds an event
        # Sums that fade with time: over all batches, and over the differences between neighbours.
        self._events = self._sampled = self._seconds = self._span = 0.0
        self._rate_steps = self._cost_steps = 0.0
        self.learn_seconds = FIRST_LEARN_SECONDS
        self.test_seconds = FIRST_TEST_SECONDS
        self.spent_learning = 0.0
        self.spent_testing = 0.0

    def next(self, now: float, events: int = 0) -> float:
        """The rate for the next batch, from 0 to 1.

        Args:
            now: seconds of a clock that never goes back.
            events: number of events in the batch.
        """
        wanted = self.wanted(now, events)
        if self._share >= 1.0:
            return 1.0
        # Compared with the total cost, not with the estimated cost of testing: that estimate needs different rates.
        if wanted >= 1.0 and self._seconds < QUIET_CORE * max(self._span, 1.0):
            return 1.0
        self._high = not self._high
        return min(1.0, wanted * (1 + SWING if self._high else 1 - SWING))

    def wanted(self, now: float, events: int = 0) -> float:
        """The average rate of the batches at this moment; see `next` for the arguments."""
        self._fade(now)
        learn, test = self.learn_seconds, self.test_seconds
        affordable = self._share / (1 - self._share) * learn / test if self._share < 1 else 1.0
        a_second = self._events_a_second(events)
        quiet = QUIET_CORE / (a_second * test) if a_second else 1.0
        least = self._floor / a_second if a_second else 1.0
        return min(1.0, max(affordable, quiet, least))

    def spent(self, events: int, rate: float, cpu_seconds: float, now: float) -> None:
        """Take the measured cost of a batch.

        Args:
            events: number of its events.
            rate: as `next` gave it.
            cpu_seconds: CPU time to decode and learn it.
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
        else:  # there is nothing to compare with: the costs keep their ratio
            factor = self._seconds / (self._events * self.learn_seconds + self._sampled * self.test_seconds)
            learn, test = self.learn_seconds * factor, self.test_seconds * factor
        if test < learn:
            # A test ranks a hundred candidates, so it never costs less than learning: some delay fell on the wrong
            # batches. If this estimate were used, every event would be tested, and equal rates would never correct it.
            learn = test = self._seconds / (self._events + self._sampled)
        self.learn_seconds = max(learn, 1e-7)
        self.test_seconds = max(test, 1e-6)

    def _events_a_second(self, coming: int = 0) -> float:
        # A batch counts as a second's events at least: the tests that a quiet minute left unused would otherwise all
        # be made at the start of a burst, and hold it up.
        return max((self._events + coming) / max(self._span, 1.0), coming)

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
