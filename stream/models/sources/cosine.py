"""Items that go together: cosine of items over visitors' histories, recent history first.

Σ over the last fifty items a_k of fade^k · together(a_k, i) / √((n_a + 10)(n_i + 10)), with a fade of 0.8 (`cosine`)
and of 0.95 (`cosine_flat`). The 10 keeps items that few visitors had from looking alike.

This file decides what a pair adds to these scores, and the norm. The counts are kept in `pairs.py`.

Sarwar et al., "Item-based collaborative filtering recommendation algorithms", WWW 2001.
"""

from __future__ import annotations

import numpy as np

from stream.models.kernels.compile import inlined, vectored

ITEMS = 50
"""Items of the history that count."""
FADE = 0.8
FLAT_FADE = 0.95
SHRINK = 10.0


@inlined
def score_slot(
    cosines: np.ndarray,
    flat_cosines: np.ndarray,
    local: int,
    together: np.float32,
    share: np.float32,
    flat_share: np.float32,
) -> None:
    """Add what the slot of one pair gives to its other item; shares are fade^k / √(n_a + 10)."""
    cosines[local] += together * share
    flat_cosines[local] += together * flat_share


@vectored
def finish(counts: np.ndarray, cosines: np.ndarray, flat_cosines: np.ndarray) -> None:
    """Divide by the other half of the norm, once per item, from the count of each item."""
    for local in range(counts.size):
        norm = np.float32(1) / np.sqrt(max(np.float32(0), counts[local]) + np.float32(SHRINK))
        cosines[local] *= norm
        flat_cosines[local] *= norm
