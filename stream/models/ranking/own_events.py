"""Amounts that the visitor's own events have added to the counts, so that their list can leave them out.

A visitor's events are in the tables a moment after they happened, so for the items of this very visit every count is
inflated by the visit itself. A ranker that learns from such features learns to trust them, and fails for a visitor
whose events are not learned yet. So everything that the last twelve learned events added is computed again here, and
the scores subtract it.

This file decides what is computed again; `collect.py` and `features.py` subtract it.
"""

from __future__ import annotations

import numpy as np

from stream.models.kernels.compile import kernel
from stream.models.schema import CLOCK, FAST_LANDMARK, POPULARITY_LANDMARK
from stream.models.source_names import HALF_LIVES, HALF_LIVES_SECONDS
from stream.models.sources.pairs import FORWARD_MEETINGS, MEETINGS, fast_factor
from stream.models.workspace.scoring_view import Reader
from stream.models.workspace.scratch import (
    HISTORY,
    OWN,
    OWN_ITEMS,
    OWN_SUM_COUNT,
    OWN_SUM_FAST,
    OWN_SUM_FORWARD,
    Work,
    local_of,
)
from stream.models.workspace.visitor_context import gather_history


@kernel
def gather(
    reader: Reader, work: Work, visitor: int, anonymous: int, session: int, recent: np.ndarray, now: float
) -> None:
    """Fill in history, session and the amounts of own events; arguments as `gather_history` takes them."""
    gather_history(reader, work, visitor, anonymous, session, recent, now)
    own_events(reader, work)


@kernel
def own_events(reader: Reader, work: Work) -> None:
    """Fill in `own_*`: what the visitor's last learned events added to the counts of their items, as `pairs.learn` and
    `popularity.learn` did.
    """
    entries = min(OWN, work.counts[HISTORY])
    work.own_together[:] = 0
    work.own_forward[:] = 0
    work.own_fast[:] = 0
    work.own_popularity[:] = 0
    work.own_sums[:] = 0
    for later in range(entries):
        if not work.history_learned[later]:
            continue
        item = work.history_items[later]
        weight = work.history_weights[later]
        held = work.history_seconds[later] > reader.scalars[CLOCK]  # and counted at the clock, without fast counts
        seconds = reader.scalars[CLOCK] if held else work.history_seconds[later]
        own = own_number(work, item)
        for half_life in range(HALF_LIVES):
            halvings = (seconds - reader.scalars[POPULARITY_LANDMARK]) / HALF_LIVES_SECONDS[half_life]
            work.own_popularity[own, half_life] += weight * 2.0 ** max(-1000.0, halvings)
        work.own_sums[own, OWN_SUM_COUNT] += weight
        fast = 0.0 if held else fast_factor(reader.scalars[FAST_LANDMARK], seconds)
        met = 0
        for earlier in range(later + 1, entries):
            before = work.history_items[earlier]
            if before == item or work.history_weights[earlier] < 0:
                continue
            other = own_number(work, before)
            work.own_together[other, own] += weight
            work.own_together[own, other] += weight
            if met < FORWARD_MEETINGS:
                work.own_forward[other, own] += weight / (met + 1)
                work.own_fast[other, own] += weight / (met + 1) * fast
                work.own_sums[other, OWN_SUM_FORWARD] += weight / (met + 1)
                work.own_sums[other, OWN_SUM_FAST] += weight / (met + 1) * fast
            met += 1
            if met == MEETINGS:
                break


@kernel
def own_number(work: Work, item: int) -> np.int64:
    """The place of an item among those that are corrected for, a new one if it has none."""
    local = local_of(work, item)
    if work.own_of[local] == 0:
        work.own_items[work.counts[OWN_ITEMS]] = item
        work.counts[OWN_ITEMS] += 1
        work.own_of[local] = work.counts[OWN_ITEMS]
    return np.int64(work.own_of[local]) - 1
