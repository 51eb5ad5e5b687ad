"""The neighbours of `vsknn`, weighted by time and place: short and fresh sessions count more, and items near the match.

similarity / √(length + 1) · (.1 + e^(-age / 3 days)) · place, where place is 1 for the matching item itself, e^(-.35 d)
for the d-th item after it and .6 e^(-.35 d) for the d-th before it.

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
NEARNESS = 0.35
BEFORE = 0.6


@inlined
def gain(similarity: float, length: int, age_seconds: float) -> float:
    """What a neighbour gives to the item at the match."""
    return similarity / math.sqrt(length + 1.0) * (0.1 + math.exp(-age_seconds / AGE_SECONDS))


@inlined
def score_item(work: Work, local: int, gained: float, distance: int) -> None:
    """What an item gets that stands `distance` places after the match (negative: before it)."""
    nearness = PLACES[min(max(distance, -LONGEST), LONGEST) + LONGEST]
    work.values[STAN, local] += np.float32(gained * nearness)


LONGEST = 50
PLACES = np.array(
    [
        1.0 if distance == 0 else math.exp(-NEARNESS * abs(distance)) * (BEFORE if distance < 0 else 1.0)
        for distance in range(-LONGEST, LONGEST + 1)
    ]
)
