"""What goes together: cosine of items over visitors' histories, recent history first.

Σ over the last fifty items a_k of fade^k · together(a_k, i) / √((n_a + 10)(n_i + 10)), with a fade of .8 (`cosine`) and
of .95 (`cosine_flat`). The 10 keeps items that hardly anybody saw from looking alike.

Sarwar et al., "Item-based collaborative filtering recommendation algorithms", WWW 2001.
"""

from __future__ import annotations

import numpy as np

from stream.models.kernels.compile import inlined, vectored

ITEMS = 50
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
    """What the slot of one pair adds to its other item; shares are fade^k / √(n_a + 10)."""
    cosines[local] += together * share
    flat_cosines[local] += together * flat_share


@vectored
def finish(counts: np.ndarray, cosines: np.ndarray, flat_cosines: np.ndarray) -> None:
    """The other half of the norm, once per item, from how often each item was had."""
    for local in range(counts.size):
        norm = np.float32(1) / np.sqrt(max(np.float32(0), counts[local]) + np.float32(SHRINK))
        cosines[local] *= norm
        flat_cosines[local] *= norm
