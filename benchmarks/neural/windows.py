"""Rounds of a comparison: the events that one training may read, and the tests that follow it.

This file decides when a network is trained anew. A frozen split has one round: its `train` rows, then all its tests.
Any other stream is cut into windows of equal duration, counted from its first event. At the beginning of each window a
network is trained from scratch on everything before, and it answers all tests of the window as it is; only the
visitors' contexts stay current. The tests themselves are those of `stream.evaluation.protocol`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.evaluation.protocol import Action, Plan, WrongInput

Mask = NDArray[np.bool_]

DAY_SECONDS = 86_400.0


@dataclass(frozen=True)
class Round:
    """One training and its tests.

    Attributes:
        name: the window, for tables and progress.
        readable: bool[n], events that training may read.
        learned: bool[n], events that are predicted in training; all of them are readable.
        recent: bool[n], learned events of the newest window before the tests, from which popularity is counted.
        tests: int64[t], numbers of the tested events, rising.
    """

    name: str
    readable: Mask
    learned: Mask
    recent: Mask
    tests: NDArray[np.int64]


def rounds_of(plan: Plan, seconds: NDArray[np.float64], window_seconds: float = DAY_SECONDS) -> list[Round]:
    """The rounds of a planned stream. Tests before the second window have no network yet and are in no round.

    Args:
        plan: learned and tested events, and their weights. Events that weigh nothing or less are not learned.
        seconds: (n,) time of each event. A row that is older than the row before it belongs to that row's window.
        window_seconds: duration of a window; ignored for a frozen split.

    Raises:
        WrongInput: the duration is not positive, or no test lies behind the first window.
    """
    shown = (plan.actions & Action.LEARN) > 0
    learned = shown & (plan.weights > 0)
    if plan.frozen:
        return [Round("frozen split", shown, learned, learned, plan.tested)]
    if not window_seconds > 0:
        raise WrongInput(f"window: {window_seconds!r} seconds; a window has a positive duration (a day is 86400)")
    window = np.floor((np.maximum.accumulate(seconds) - seconds[0]) / window_seconds).astype(np.int64)
    rounds = []
    for number in np.unique(window[plan.tested]).tolist():
        cut = int(np.searchsorted(window, number))
        before = np.arange(len(seconds)) < cut
        if not (learned & before).any():
            continue
        newest = window[np.flatnonzero(learned & before)[-1]]
        tests = plan.tested[window[plan.tested] == number]
        name = f"window {number + 1}"
        rounds.append(Round(name, before, learned & before, learned & before & (window == newest), tests))
    if not rounds:
        raise WrongInput(
            f"all tests lie in the first window of {window_seconds:g} seconds, before anything is learned: choose a "
            f"shorter window (the stream lasts {seconds.max() - seconds[0]:g} seconds)"
        )
    return rounds
