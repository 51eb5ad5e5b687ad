"""What goes together: cosine of items over visitors' histories, recent history first.

Σ over the last fifty items a_k of fade^k · together(a_k, i) / √((n_a + 10)(n_i + 10)), with a fade of .8 (`cosine`) and
of .95 (`cosine_flat`). The 10 keeps items that hardly anybody saw from looking alike.

Sarwar et al., "Item-based collaborative filtering recommendation algorithms", WWW 2001.
"""

from __future__ import annotations

import math

import numpy as np

from stream.models.kernels import inlined
from stream.models.layout import COSINE, COSINE_FLAT
from stream.models.work import Work

ITEMS = 50
FADE = 0.8
FLAT_FADE = 0.95
SHRINK = 10.0


@inlined
def score_slot(work: Work, local: int, together: float, share: float, flat_share: float) -> None:
    """What the slot of one pair adds; shares are fade^k / √(n_a + 10)."""
    work.values[local, COSINE] += np.float32(together * share)
    work.values[local, COSINE_FLAT] += np.float32(together * flat_share)


@inlined
def finish(work: Work, local: int, count: float) -> None:
    """The other half of the norm, once per item."""
    norm = np.float32(1.0 / math.sqrt(count + SHRINK))
    work.values[local, COSINE] *= norm
    work.values[local, COSINE_FLAT] *= norm
