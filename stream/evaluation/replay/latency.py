"""Durations of single tests, measured while a history is replayed.

This file decides which tests are timed and what is subtracted. At most `TIMED_TESTS` tests, spread evenly over the
stream, are timed, each in the very state in which it is made. The duration of a replay of one event with nothing to do
is subtracted, which leaves candidates, features and ranking. The clock is an argument, so this file reads none.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stream.evaluation.protocol import Action, Plan
from stream.evaluation.replay.learner import Learner

Clock = Callable[[], float]
"""Rising seconds, such as `time.perf_counter`."""

TIMED_TESTS = 400


class LatencyProbe:
    """Times single tests of a learner.

    Args:
        learner: the learner that is replayed.
        plan: which events are tested.
        clock: rising seconds; without one nothing is timed.
    """

    def __init__(self, learner: Learner, plan: Plan, clock: Clock | None) -> None:
        self._learner, self._clock = learner, clock
        self._only_test = (plan.actions & Action.TEST).astype(np.uint8)
        self._nothing = np.zeros_like(plan.actions)
        tested = plan.tested
        chosen = np.linspace(0, len(tested) - 1, min(TIMED_TESTS, len(tested))).astype(int)
        self.events: list[int] = tested[chosen].tolist() if clock else []
        """Numbers of the events whose test is timed; spans have to begin at each of them."""
        self._microseconds: list[float] = []
        self.spent_seconds = 0.0
        """Time that the measurements themselves took."""

    def measure(self, event: int) -> None:
        """Time the test of the event that comes next, if it is one of those chosen."""
        if self._clock is None or event not in self.events:
            return
        moments = [self._clock()]
        # The first replay only warms the caches for the call of the kernel, which would outweigh the test itself.
        for actions in (self._nothing, self._nothing, self._only_test):
            self._learner.replay(event, event + 1, actions, top=10)
            moments.append(self._clock())
        _, nothing, test = np.diff(moments)
        self._microseconds.append(max(0.0, test - nothing) * 1e6)
        self.spent_seconds += moments[-1] - moments[0]

    @property
    def median_microseconds(self) -> float | None:
        """Median duration of the timed tests; None if none was timed."""
        return float(np.median(self._microseconds)) if self._microseconds else None
