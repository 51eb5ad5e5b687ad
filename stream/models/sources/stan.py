"""Time and place in neighbour sessions: short and fresh sessions count more, and items near the match.

A neighbour of `vsknn` gives an item similarity / √(length + 1) · (0.1 + e^(-age / 3 days)) · nearness, where nearness
is 1 for the matching item itself, e^(-0.35 d) for the d-th item after it and 0.6 e^(-0.35 d) for the d-th before it.

This file decides what `stan` scores. The neighbours are those that `vsknn` finds.

Garg, Gupta, Malhotra, Vig & Shroff, "Sequence and time aware neighborhood for session-based recommendations: STAN",
SIGIR 2019.
"""

from __future__ import annotations

import math

import numpy as np

from stream.models.kernels.compile import inlined
from stream.models.source_names import STAN
from stream.models.workspace.scratch import Work

AGE_SECONDS = 259_200.0
"""Age at which a neighbour's freshness has fallen to 1/e."""
NEARNESS = 0.35
BEFORE = 0.6
LONGEST = 50
"""Distances beyond this count as this."""
PLACES = np.array(
    [
        1.0 if distance == 0 else math.exp(-NEARNESS * abs(distance)) * (BEFORE if distance < 0 else 1.0)
        for distance in range(-LONGEST, LONGEST + 1)
    ]
)
"""Nearness by distance + `LONGEST`."""


@inlined
def gain(similarity: float, length: int, age_seconds: float) -> float:
    """The score that a neighbour gives to the matching item."""
    return similarity / math.sqrt(length + 1.0) * (0.1 + math.exp(-age_seconds / AGE_SECONDS))


@inlined
def score_item(work: Work, local: int, gained: float, distance: int) -> None:
    """Add to the score of an item that stands `distance` places after the match (negative: before it)."""
    nearness = PLACES[min(max(distance, -LONGEST), LONGEST) + LONGEST]
    work.values[STAN, local] += np.float32(gained * nearness)
