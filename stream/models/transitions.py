"""What comes next: three readings of how often one item followed another.

- `transition`: forward / (row sum + 2), from the last item alone;
- `transition_fast`: the same of the counts with a half-life of one day;
- `transitions`: Σ .6^k forward / row sum over the last five items.

Sequential rules as in Ludewig & Jannach, "Evaluation of session-based recommendation algorithms", UMUAI 2018.
"""

from __future__ import annotations

import numpy as np

from stream.models.kernels import inlined
from stream.models.layout import TRANSITION, TRANSITION_FAST, TRANSITIONS
from stream.models.work import Work

ITEMS = 5
FADE = 0.6
PRIOR = 2.0


@inlined
def score_slot(
    work: Work, local: int, k: int, forward: float, fast: float, share: float, last_share: float, fast_share: float
) -> None:
    """What the slot of one pair adds to the scores of its other item.

    Args:
        work: where the scores are.
        local: number of the other item.
        k: place of the row's item in the history, 0 the newest.
        forward, fast: counts of the slot.
        share, last_share, fast_share: what a count of 1 gives to each of the three.
    """
    if forward > 0.0:
        work.values[local, TRANSITIONS] += np.float32(forward * share)
        if k == 0:
            work.values[local, TRANSITION] = np.float32(forward * last_share)
            work.values[local, TRANSITION_FAST] = np.float32(fast * fast_share)
