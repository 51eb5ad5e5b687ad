"""Scores of the sources that start from the visitor's items.

This file decides in which order the sources go through the tables. A list touches some 1,500 items for its hundred
candidates. So scores are kept in one array a source, which is gone through many elements at once, and rows of large
tables are prefetched: waiting for memory was half of the time of a list from a million items.
"""

from __future__ import annotations

import math

import numpy as np

from stream.models.kernels.compile import kernel, padded, prefetch
from stream.models.ranking.propose import PROPOSED_POPULAR
from stream.models.schema import COUNT, FAST_LANDMARK, FAST_SUM, FORWARD_SUM, SET_SLOTS, TOP_SIZES
from stream.models.source_names import COSINE, COSINE_FLAT, HALF_LIVES, TRANSITIONS
from stream.models.sources import cosine, custom, transitions, vsknn
from stream.models.sources.pairs import fast_factor, first_set, sets_of
from stream.models.workspace.scoring_view import Reader
from stream.models.workspace.scratch import (
    LOCAL,
    OWN_ITEMS,
    OWN_SUM_COUNT,
    OWN_SUM_FAST,
    OWN_SUM_FORWARD,
    UNIQUE,
    Work,
    known_local,
    local_of,
)

ITEMS_AHEAD = 32
"""Items between the one whose count is read and the one whose count is prefetched."""


@kernel
def collect(reader: Reader, work: Work) -> None:
    """Fill in `values`: the scores of the sources that start from the visitor's items."""
    known = min(work.counts[UNIQUE], cosine.ITEMS)
    for k in range(known):
        prefetch(reader.items, reader.items_index[work.unique[k]])
        prefetch(reader.sums, reader.sums_index[work.unique[k]])
    vsknn.prefetch_postings(reader, work)
    for k in range(known):
        if k + 1 < known:
            pointer = reader.items[reader.items_index[work.unique[k + 1]]].pairs
            if pointer:
                for row in range(first_set(pointer), first_set(pointer) + sets_of(pointer)):
                    prefetch(reader.pairs, reader.pairs_index[row])
        collect_pairs(reader, work, k)
    vsknn.score(reader, work)
    finish_cosine(reader, work)
    vsknn.finish(reader, work)
    if custom.COUNT:
        touch_popular(reader, work)
        custom.score(reader, work)


@kernel
def touch_popular(reader: Reader, work: Work) -> None:
    """Give local numbers to what popularity may propose, so that sources that score the items touched see it."""
    for half_life in range(HALF_LIVES):
        listed = reader.top[reader.top_index[half_life]]
        size = np.int64(reader.scalars[TOP_SIZES + half_life])
        for place in range(min(np.int64(2 * PROPOSED_POPULAR), size)):
            local_of(work, np.int64(listed[place]))


@kernel
def collect_pairs(reader: Reader, work: Work, k: int) -> None:
    """Add the scores that the pairs of the k-th newest item of the history give to other items."""
    item = work.unique[k]
    pointer = reader.items[reader.items_index[item]].pairs
    if pointer == 0:
        return
    sums = reader.sums[reader.sums_index[item]]
    own = np.int64(work.own_of[known_local(work, item)]) - 1
    count = sums[COUNT]
    forward_sum = sums[FORWARD_SUM]
    fast_sum = sums[FAST_SUM]
    if own >= 0:
        count = max(0.0, count - work.own_sums[own, OWN_SUM_COUNT])
        forward_sum = max(0.0, forward_sum - work.own_sums[own, OWN_SUM_FORWARD])
        fast_sum = max(0.0, fast_sum - work.own_sums[own, OWN_SUM_FAST])
    fast_prior = fast_factor(reader.scalars[FAST_LANDMARK], work.visit[0].now)
    share = 1.0 / math.sqrt(count + cosine.SHRINK)
    cosine_share = np.float32(share * cosine.FADE**k)
    flat_share = np.float32(share * cosine.FLAT_FADE**k)
    next_share = np.float32(transitions.FADE**k / max(forward_sum, 1e-3))
    last_share = np.float32(1.0 / (forward_sum + transitions.PRIOR))
    fast_share = np.float32(1.0 / (fast_sum + transitions.PRIOR * fast_prior))
    cosines = work.values[COSINE]
    flat_cosines = work.values[COSINE_FLAT]
    followers = work.values[TRANSITIONS]
    for row in range(first_set(pointer), first_set(pointer) + sets_of(pointer)):
        slots = reader.pairs[reader.pairs_index[row]]
        for column in range(SET_SLOTS):
            slot = slots[column]
            if slot.other == 0 or slot.together <= 0:
                continue
            local = local_of(work, np.int64(slot.other))
            if local < 0:
                continue
            together = slot.together
            forward = slot.forward
            fast = slot.fast
            if own >= 0 and work.own_of[local]:
                other = np.int64(work.own_of[local]) - 1
                together = np.float32(max(0.0, together - work.own_together[own, other]))
                forward = np.float32(max(0.0, forward - work.own_forward[own, other]))
                fast = np.float32(max(0.0, fast - work.own_fast[own, other]))
                if together < 1e-4:
                    continue
            if k == 0:
                work.like_last[local] = together * cosine_share
            cosine.score_slot(cosines, flat_cosines, local, together, cosine_share, flat_share)
            transitions.score_slot(work, followers, local, k, forward, fast, (next_share, last_share, fast_share))


@kernel
def finish_cosine(reader: Reader, work: Work) -> None:
    """Divide by the other half of the norm, once per item: its count, without the visitor's own last events."""
    count = work.counts[LOCAL]
    for local in range(count):
        prefetch(reader.sums_index, work.items[local])
    for local in range(min(ITEMS_AHEAD, count)):
        prefetch(reader.sums, reader.sums_index[work.items[local]])
    for local in range(count):
        if local + ITEMS_AHEAD < count:
            prefetch(reader.sums, reader.sums_index[work.items[local + ITEMS_AHEAD]])
        work.gathered[local] = reader.sums[reader.sums_index[work.items[local]], COUNT]
    for own in range(work.counts[OWN_ITEMS]):
        local = known_local(work, work.own_items[own])
        work.gathered[local] = max(0.0, work.gathered[local] - work.own_sums[own, OWN_SUM_COUNT])
    wide = padded(count)
    cosine.finish(work.gathered[:wide], work.values[COSINE, :wide], work.values[COSINE_FLAT, :wide])
