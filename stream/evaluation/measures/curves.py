"""Quality over time: the hit rate in a sliding window over the tests, and the events at which it changed.

A curve shows what a mean hides: a model that stops learning, a source that helps only at night, a drift.

This file decides the points of a curve, and when a change is marked. Detections come from River's ADWIN on the blend's
hits. As in the live detectors (`stream.models.drift.detectors`), a drift is a fall, a change for the better is a
rise, and the first events (the setting `drift_burn_in`) are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from river.drift import ADWIN

from stream.evaluation.measures.metrics import moving_mean
from stream.evaluation.measures.result import BLEND, Evaluation

POINTS = 400
"""Number of points of a curve. More can't be seen in a plot."""
DETECTION_DELTA = 1e-5
"""ADWIN's confidence parameter: the probability of marking a change where there is none.

River's default, 0.002, marks a change in some streams of coin flips of this length, and a mark in a plot should mean a
real change.
"""


@dataclass(frozen=True)
class Curves:
    """Hit rate over time.

    Attributes:
        window: number of tests in a window.
        event: (points,) number of the event at the end of each window.
        time: (points,) time of that event in seconds.
        hr: by name, (points,) mean HR of the window.
        detections: (d,) event numbers at which the blend's hit rate was found to have fallen.
        rises: (r,) event numbers at which it was found to have risen.
        cutoff: the k of HR@k.
    """

    window: int
    event: NDArray[np.int64]
    time: NDArray[np.float64]
    hr: dict[str, NDArray[np.float64]]
    detections: list[int]
    rises: list[int]
    cutoff: int


def curves(evaluation: Evaluation, window: int | None = None, names: list[str] | None = None) -> Curves:
    """Sliding-window HR of the blend, the sources and the challengers.

    Args:
        evaluation: the result.
        window: number of tests in a window; by default a twentieth of all tests, at least 50.
        names: the rankings to draw; all by default.
    """
    tests = evaluation.tests
    size = window or max(50, len(tests) // 20)
    wanted = names or [BLEND, *evaluation.sources, *evaluation.challengers]
    hr: dict[str, NDArray[np.float64]] = {}
    for name in wanted:
        ends, hr[name] = moving_mean(evaluation.measured(name), size)
    watched = np.flatnonzero(tests.event >= evaluation.settings.get("drift_burn_in", 0))
    falls, rises = changes(evaluation.measured(BLEND)[watched])
    shown = np.unique(np.linspace(0, len(ends) - 1, POINTS).astype(int))
    event = tests.event[ends[shown] - 1]
    return Curves(
        window=min(size, len(tests)),
        event=event,
        time=evaluation.time[event],
        hr={name: values[shown] for name, values in hr.items()},
        detections=tests.event[watched[falls]].tolist(),
        rises=tests.event[watched[rises]].tolist(),
        cutoff=evaluation.cutoff,
    )


def changes(values: NDArray[np.float64]) -> tuple[list[int], list[int]]:
    """Numbers of the tests at which ADWIN (Bifet & Gavaldà, SDM 2007) finds that the mean has fallen, and risen.

    >>> good, bad = np.tile([1.0, 1.0, 1.0, 0.0], 500), np.tile([1.0, 0.0, 0.0, 0.0], 500)
    >>> changes(good)
    ([], [])
    >>> falls, rises = changes(np.concatenate([good, bad, good]))
    >>> 2000 < falls[0] < 2200, 4000 < rises[0] < 4200
    (True, True)
    """
    detector = ADWIN(delta=DETECTION_DELTA)
    falls: list[int] = []
    rises: list[int] = []
    for number, value in enumerate(values.tolist()):
        before = detector.estimation
        detector.update(value)
        if detector.drift_detected:
            (falls if detector.estimation < before else rises).append(number)
    return falls, rises
