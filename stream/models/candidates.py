"""What could be on the list, and what the ranker gets to know of it.

Every source scores what it touches (`collect`); the best of each are united (`propose`); then each candidate gets the
values of *all* sources, and features of the item and of the visitor's own history with it (`describe`). To add a
source: write its file, name it in `layout.SOURCES`, and call its `score` in `collect`.
"""

from __future__ import annotations

import math

import numpy as np

from stream.models import cosine, embedding, transitions, vsknn
from stream.models.hashing import mixed
from stream.models.kernels import counting, inlined, kernel
from stream.models.layout import (
    COSINE,
    COSINE_FLAT,
    COUNT,
    EMBEDDING,
    FAST_LANDMARK,
    FAST_SUM,
    FEATURES,
    FORWARD_SUM,
    HALF_LIVES,
    HALF_LIVES_SECONDS,
    PAIR_SLOTS,
    POPULAR,
    POPULARITY_LANDMARK,
    SHARDS,
    SOURCE_COUNT,
    STAN,
    TOP_SIZES,
    TRANSITION_FAST,
    TRANSITIONS,
    VSKNN,
)
from stream.models.pairs import fast_factor
from stream.models.pools import run_row, run_rows
from stream.models.reader import Reader
from stream.models.request import CHECKED, EXCLUDED, IN_SESSION, NOW, SESSION_LENGTH, SIMILARITY, VISITOR, was_seen
from stream.models.work import CANDIDATE, CANDIDATES, HISTORY, LOCAL, UNIQUE, Work, known_local, local_of

PROPOSED = ((TRANSITIONS, 50), (COSINE, 50), (VSKNN, 50), (TRANSITION_FAST, 25), (COSINE_FLAT, 25), (STAN, 25))
PROPOSED_POPULAR = 30
PROPOSED_OWN = 20
AGREEMENT = 20
RANK_SHIFT = 4.0


@kernel
def collect(reader: Reader, work: Work) -> None:
    """Scores of the sources that start from the visitor's items."""
    fast_prior = fast_factor(reader.scalars[FAST_LANDMARK], work.facts[NOW])
    scale = max(1.0, reader.scalars[SHARDS])
    for k in range(min(work.counts[UNIQUE], cosine.ITEMS)):
        item = work.unique[k]
        pointer = reader.items[reader.items_index[item]].pairs
        if pointer == 0:
            continue
        sums = reader.sums[reader.sums_index[item]]
        own = np.int64(work.own_of[known_local(work, item)]) - 1
        count = sums[COUNT]
        forward_sum = sums[FORWARD_SUM]
        fast_sum = sums[FAST_SUM]
        if own >= 0:
            count = max(0.0, count - work.own_sums[own, 0])
            forward_sum = max(0.0, forward_sum - work.own_sums[own, 1])
            fast_sum = max(0.0, fast_sum - work.own_sums[own, 2])
        count *= scale
        forward_sum *= scale
        fast_sum *= scale
        share = 1.0 / math.sqrt(count + cosine.SHRINK)
        flat_share = share * cosine.FLAT_FADE**k
        share *= cosine.FADE**k
        next_share = transitions.FADE**k / max(forward_sum, 1e-3)
        last_share = 1.0 / (forward_sum + transitions.PRIOR)
        fast_share = 1.0 / (fast_sum + transitions.PRIOR * fast_prior)
        for row in range(run_row(pointer), run_row(pointer) + run_rows(pointer)):
            slots = reader.pairs[reader.pairs_index[row]]
            for column in range(PAIR_SLOTS):
                slot = slots[column]
                if slot.other == 0 or slot.together <= 0:
                    continue
                local = local_of(work, np.int64(slot.other))
                if local < 0:
                    continue
                together = np.float64(slot.together)
                forward = np.float64(slot.forward)
                fast = np.float64(slot.fast)
                if own >= 0 and work.own_of[local]:
                    other = np.int64(work.own_of[local]) - 1
                    together = max(0.0, together - work.own_together[own, other])
                    forward = max(0.0, forward - work.own_forward[own, other])
                    fast = max(0.0, fast - work.own_fast[own, other])
                    if together < 1e-4:
                        continue
                cosine.score_slot(work, local, together * scale, share, flat_share)
                if k < transitions.ITEMS:
                    forward *= scale
                    fast *= scale
                    transitions.score_slot(work, local, k, forward, fast, next_share, last_share, fast_share)
    vsknn.score(reader, work)
    for local in range(work.counts[LOCAL]):
        if work.values[local, COSINE_FLAT] > 0:
            cosine.finish(work, local, own_count(reader, work, local))
        if work.values[local, VSKNN] > 0:
            posted = np.int64(reader.items[reader.items_index[work.items[local]]].posted)
            if work.flags[local] & IN_SESSION and work.counts[HISTORY] and work.history_learned[0]:
                posted = max(0, posted - 1)  # by this very session
            vsknn.finish(reader, work, local, posted)


@inlined
def own_count(reader: Reader, work: Work, local: int) -> float:
    """How often an item was had, without the visitor's own last events; scaled to all shards."""
    count = reader.sums[reader.sums_index[work.items[local]], COUNT]
    if work.own_of[local]:
        count = max(0.0, count - work.own_sums[np.int64(work.own_of[local]) - 1, 0])
    return count * max(1.0, reader.scalars[SHARDS])


@kernel
def propose(reader: Reader, work: Work, seen_by: np.uint64, own: bool, disabled: int) -> None:
    """Unite the best of all sources.

    Args:
        seen_by: key of the visitor (or session) whose remembered items are never ranked; 0 = repeats are allowed.
        own: the visitor's last items are candidates too.
        disabled: bit s is set: source s proposes nothing.
    """
    for source, most in PROPOSED:
        if not (disabled >> source) & 1:
            propose_best(reader, work, seen_by, source, most)
    for half_life in range(HALF_LIVES):
        if not (disabled >> (POPULAR + half_life)) & 1:
            listed = reader.top[reader.top_index[half_life]]
            left = PROPOSED_POPULAR
            for place in range(np.int64(reader.scalars[TOP_SIZES + half_life])):
                local = local_of(work, np.int64(listed[place]))
                if local >= 0 and allowed(reader, work, local, seen_by):
                    take(work, local)
                    left -= 1
                    if left == 0:
                        break
    if own:
        for number in range(min(PROPOSED_OWN, work.counts[UNIQUE])):
            local = known_local(work, work.unique[number])
            if local >= 0 and allowed(reader, work, local, seen_by):
                take(work, local)


@kernel
def allowed(reader: Reader, work: Work, local: int, seen_by: np.uint64) -> bool:
    """True if the item may be ranked."""
    if work.flags[local] & EXCLUDED:
        return False
    if seen_by and not work.flags[local] & CHECKED:
        work.flags[local] |= CHECKED
        item = reader.items[reader.items_index[work.items[local]]]
        if was_seen(reader, mixed(seen_by ^ mixed(item.key0))):
            work.flags[local] |= EXCLUDED
            return False
    return True


@inlined
def take(work: Work, local: int) -> None:
    if not work.taken[local] and work.counts[CANDIDATE] < CANDIDATES:
        work.taken[local] = 1
        work.candidates[work.counts[CANDIDATE]] = local
        work.counts[CANDIDATE] += 1


@kernel
def take_item(work: Work, item: int) -> None:
    """Make an item a candidate unless it must not be one."""
    local = local_of(work, item)
    if local >= 0 and not work.flags[local] & EXCLUDED:
        take(work, local)


@kernel
def propose_best(reader: Reader, work: Work, seen_by: np.uint64, source: int, most: int) -> None:
    """The `most` items with the highest scores of a source; ties to the one met first."""
    held = 0
    for local in range(work.counts[LOCAL]):
        value = work.values[local, source]
        if value <= 0 or (held == most and value <= work.best_values[most - 1]):
            continue
        if not allowed(reader, work, local, seen_by):
            continue
        at = min(held, most - 1)
        while at > 0 and work.best_values[at - 1] < value:
            work.best_values[at] = work.best_values[at - 1]
            work.best_locals[at] = work.best_locals[at - 1]
            at -= 1
        work.best_values[at] = value
        work.best_locals[at] = local
        held = min(held + 1, most)
    for number in range(held):
        take(work, work.best_locals[number])


@kernel
def describe(reader: Reader, work: Work, disabled: int) -> None:
    """Fill in `columns` (the value of each source for each candidate) and `features`."""
    embedding.score(reader, work)
    source_values(reader, work)
    count = work.counts[CANDIDATE]
    for source in range(SOURCE_COUNT):
        if (disabled >> source) & 1:
            work.columns[source, :count] = 0
    work.features[:count] = 0
    for source in range(SOURCE_COUNT):
        source_features(work, source, count)
    item_features(reader, work, count)
    own_features(work, count)


@kernel
def source_values(reader: Reader, work: Work) -> None:
    now = work.facts[NOW]
    landmark = reader.scalars[POPULARITY_LANDMARK]
    decays = work.decays
    for half_life in range(HALF_LIVES):
        decays[half_life] = 2.0 ** min(1000.0, max(-1000.0, (landmark - now) / HALF_LIVES_SECONDS[half_life]))
        decays[half_life] *= max(1.0, reader.scalars[SHARDS])
    for number in range(work.counts[CANDIDATE]):
        local = work.candidates[number]
        for source in range(POPULAR):
            work.columns[source, number] = work.values[local, source]
        sums = reader.sums[reader.sums_index[work.items[local]]]
        own = np.int64(work.own_of[local]) - 1
        for half_life in range(HALF_LIVES):
            value = sums[half_life]
            if own >= 0:
                value = max(0.0, value - work.own_popularity[own, half_life])
            work.columns[POPULAR + half_life, number] = np.float32(value * decays[half_life])
        logit = work.values[local, EMBEDDING]
        work.columns[EMBEDDING, number] = np.float32(1) / (np.float32(1) + np.float32(math.exp(-logit)))


@counting
def above(values: np.ndarray, count: int, value: float) -> float:
    """How many of `values[:count]` are larger."""
    better = np.float32(0)
    for number in range(count):
        better += np.float32(1) if values[number] > value else np.float32(0)
    return better


@kernel
def source_features(work: Work, source: int, count: int) -> None:
    """Of one source: value over the largest, a rank score, a log score; and its part of the agreement."""
    values = work.columns[source]
    largest = np.float32(1e-30)
    for number in range(count):
        largest = max(largest, values[number])
    similarity = max(0.05, work.facts[SIMILARITY])
    at = 3 * source
    for number in range(count):
        value = values[number]
        if value <= 0:
            continue
        better = above(values, count, value)
        features = work.features[number]
        features[at] = value / largest
        features[at + 1] = RANK_SHIFT / (RANK_SHIFT + better)
        if source == EMBEDDING:
            features[at + 2] = 0.2 * work.values[work.candidates[number], EMBEDDING] + 0.5
        elif source >= POPULAR:
            features[at + 2] = 0.15 * math.log(1.0 + value)
        else:
            scaled = value / (10.0 * similarity) if source == VSKNN else value
            features[at + 2] = max(0.0, 1.0 + math.log(scaled + 1e-5) / 11.5)
        if better < AGREEMENT:
            features[FEATURES - 1] += 1.0 / SOURCE_COUNT


@kernel
def item_features(reader: Reader, work: Work, count: int) -> None:
    now = work.facts[NOW]
    visitor = np.int64(work.facts[VISITOR])
    for number in range(count):
        local = work.candidates[number]
        item = reader.items[reader.items_index[work.items[local]]]
        features = work.features[number]
        at = 3 * SOURCE_COUNT
        others = item.other_seconds if visitor and item.last_visitor == visitor else item.last_seconds
        features[at] = 0.07 * math.log(1.0 + max(0.0, now - item.first_seconds))
        features[at + 1] = 0.07 * math.log(1.0 + max(0.0, now - others)) if others else 1.5
        features[at + 2] = 0.1 * math.log(1.0 + own_count(reader, work, local))
        for shorter in range(HALF_LIVES - 1):
            longer = work.columns[POPULAR + shorter + 1, number]
            features[at + 3 + shorter] = work.columns[POPULAR + shorter, number] / (longer + np.float32(0.1))


@kernel
def own_features(work: Work, count: int) -> None:
    at = 3 * SOURCE_COUNT + 3 + HALF_LIVES - 1
    for number in range(count):
        if work.flags[work.candidates[number]] & IN_SESSION and work.facts[SESSION_LENGTH] > 0:
            work.features[number, at + 4] = 1.0
    for place in range(work.counts[UNIQUE]):
        local = known_local(work, work.unique[place])
        if local < 0 or not work.taken[local]:
            continue
        for number in range(count):
            if work.candidates[number] == local:
                features = work.features[number]
                features[at] = 1.0
                features[at + 1] = 1.0 / (1.0 + place)
                features[at + 2] = 0.5 * math.log(1.0 + work.unique_of[place])
                features[at + 3] = 1.0 if place == 0 else 0.0
                break
