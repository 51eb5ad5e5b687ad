"""Events over time: how many in each bin, and the gaps and bursts among them.

This file decides how wide bins are, which pause is a gap, and which bin is a burst.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BIN_SECONDS = (1, 5, 15, 60, 300, 900, 3600, 3 * 3600, 6 * 3600, 86_400, 7 * 86_400, 30 * 86_400, 365 * 86_400)
MOST_BINS = 200
MOST_NAMED = 5
GAP_FACTOR = 100
"""A pause is a gap if it is this factor longer than 99 % of them, or than the mean one if that is longer."""
BURST_FACTOR, BURST_EVENTS = 5, 20
"""A bin is a burst if it has this factor more events than the median bin with any, and at least so many."""


@dataclass(frozen=True)
class Gap:
    """A pause: seconds since the epoch of the events before and behind it."""

    begin: float
    end: float


@dataclass(frozen=True)
class Burst:
    """A bin with many more events than usual: its beginning, its events, and their ratio to the median bin."""

    begin: float
    events: int
    factor: float


@dataclass(frozen=True)
class Timeline:
    """Events over time.

    Attributes:
        begin: of the first bin, in seconds since the epoch.
        bin_seconds: width of each bin.
        counts: events in each bin.
        hours: events by the hour of the day (UTC).
        gaps, bursts: the largest ones first.
    """

    begin: float
    bin_seconds: int
    counts: list[int]
    hours: list[int]
    gaps: list[Gap]
    bursts: list[Burst]


def timeline_of(seconds: NDArray[np.float64]) -> Timeline:
    """The timeline of events, given their times in any order; there is at least one."""
    rising = np.sort(seconds)
    span = float(rising[-1] - rising[0])
    width = next((each for each in BIN_SECONDS if span / each <= MOST_BINS - 1), BIN_SECONDS[-1])
    begin = float(rising[0] // width * width)
    counts = np.bincount(((rising - begin) // width).astype(np.int64))
    hours = np.bincount((rising % 86_400 // 3600).astype(np.int64), minlength=24)
    return Timeline(begin, width, counts.tolist(), hours.tolist(), _gaps(rising), _bursts(counts, begin, width))


def _gaps(rising: NDArray[np.float64]) -> list[Gap]:
    pauses = np.diff(rising)
    if pauses.size < 2:
        return []
    usual = max(float(np.quantile(pauses, 0.99)), float(pauses.mean()))
    longest = np.argsort(-pauses, kind="stable")[:MOST_NAMED].tolist()
    return [
        Gap(float(rising[place]), float(rising[place + 1])) for place in longest if pauses[place] > GAP_FACTOR * usual
    ]


def _bursts(counts: NDArray[np.int64], begin: float, width: int) -> list[Burst]:
    usual = float(np.median(counts[counts > 0]))
    largest = np.argsort(-counts, kind="stable")[:MOST_NAMED].tolist()
    return [
        Burst(begin + place * width, int(counts[place]), round(float(counts[place]) / usual, 1))
        for place in largest
        if counts[place] > BURST_FACTOR * usual and counts[place] >= BURST_EVENTS
    ]
