"""Items that follow: three readings of how often one item followed another.

- `transition`: forward / (row sum + 2), from the last item alone;
- `transition_fast`: the same ratio of the counts with a half-life of one day;
- `transitions`: Σ 0.6^k forward / row sum over the last five items.

This file decides what a pair adds to these scores. The counts are kept in `pairs.py`.

Sequential rules as in Ludewig & Jannach, "Evaluation of session-based recommendation algorithms", UMUAI 2018.
"""

from __future__ import annotations

import numpy as np

from stream.models.kernels.compile import inlined
from stream.models.source_names import TRANSITION, TRANSITION_FAST
from stream.models.workspace.scratch import Work

ITEMS = 5
"""Items of the history that `transitions` starts from."""
FADE = 0.6
PRIOR = 2.0
"""Added to row sums, so that an item that was followed once does not predict with certainty."""


@inlined
def score_slot(
    work: Work,
    followers: np.ndarray,
    local: int,
    k: int,
    forward: np.float32,
    fast: np.float32,
    shares: tuple[np.float32, np.float32, np.float32],
) -> None:
    """Add what the slot of one pair gives to its other item.

    Args:
        followers: the values of `transitions`, by local number.
        local: number of the other item.
        k: place of the row's item in the history, 0 the newest.
        forward, fast: counts of the slot.
        shares: score of a count of 1 in `transitions`, `transition` and `transition_fast`.
    """
    if k < ITEMS and forward > 0:
        followers[local] += forward * shares[0]
        if k == 0:
            work.values[TRANSITION, local] = forward * shares[1]
            work.values[TRANSITION_FAST, local] = fast * shares[2]
