"""What could be on the list, and what the ranker gets to know of it.

Every source scores what it touches (`collect`); the best of each are united (`propose`); then each candidate gets the
values of *all* sources, and features of the item and of the visitor's own history with it (`describe`). To add a
source: write its file and name it in `layout.ADDED` (`custom.py` says how).

An answer touches some 1,500 items for its hundred candidates. So what is done for every item touched stands in columns,
a source at a time, that are gone through many elements at once; and what lies in large tables is asked for before it
is needed, because waiting for memory was half of the time of an answer from a million items.
"""

from __future__ import annotations

import math

import numpy as np

from stream.models.kernels.compile import bits_of, float_of, inlined, kernel, natural_log, padded, prefetch, vectored
from stream.models.kernels.hashing import mixed
from stream.models.kernels.simd import count_above, count_from
from stream.models.ranking import item_bias
from stream.models.schema import (
    COUNT,
    FAST_LANDMARK,
    FAST_SUM,
    FEATURES,
    FORWARD_SUM,
    ITEM_BIAS,
    ITEM_FEATURES,
    LIKE_LAST,
    POPULARITY_LANDMARK,
    SET_SLOTS,
    SOURCE_COUNT,
    SOURCE_FEATURES,
    TOP_SIZES,
)
from stream.models.source_names import (
    COSINE,
    COSINE_FLAT,
    EMBEDDING,
    HALF_LIVES,
    HALF_LIVES_SECONDS,
    POPULAR,
    STAN,
    TRANSITION_FAST,
    TRANSITIONS,
    VSKNN,
)
from stream.models.sources import cosine, custom, embedding, transitions, vsknn
from stream.models.sources.pairs import fast_factor, first_set, sets_of
from stream.models.workspace.scoring_view import Reader
from stream.models.workspace.scratch import (
    BEST,
    CANDIDATE,
    CANDIDATES,
    LOCAL,
    OWN_ITEMS,
    UNIQUE,
    Work,
    known_local,
    local_of,
)
from stream.models.workspace.visitor_context import (
    CHECKED,
    EXCLUDED,
    IN_SESSION,
    NOW,
    SESSION_LENGTH,
    SIMILARITY,
    VISITOR,
    was_seen,
)

PROPOSED = ((TRANSITIONS, 50), (COSINE, 50), (VSKNN, 50), (TRANSITION_FAST, 25), (COSINE_FLAT, 25), (STAN, 25))
PROPOSED_POPULAR = 30
PROPOSED_OWN = 20
AGREEMENT = 20
RANK_SHIFT = 4.0
LEAST = 1e-30
"""What a value is divided by at least: 32 bits have no reciprocal of less."""


@kernel
def collect(reader: Reader, work: Work) -> None:
    """Scores of the sources that start from the visitor's items."""
    known = min(work.counts[UNIQUE], cosine.ITEMS)
    for k in range(known):
        prefetch(reader.items, reader.items_index[work.unique[k]])
        prefetch(reader.sums, reader.sums_index[work.unique[k]])
    vsknn.look_ahead(reader, work)
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
    """Let what popularity may propose be known to those who score what was touched."""
    for half_life in range(HALF_LIVES):
        listed = reader.top[reader.top_index[half_life]]
        for place in range(min(2 * PROPOSED_POPULAR, np.int64(reader.scalars[TOP_SIZES + half_life]))):
            local_of(work, np.int64(listed[place]))


@kernel
def collect_pairs(reader: Reader, work: Work, k: int) -> None:
    """What the pairs of the k-th newest item of the history add."""
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
        count = max(0.0, count - work.own_sums[own, 0])
        forward_sum = max(0.0, forward_sum - work.own_sums[own, 1])
        fast_sum = max(0.0, fast_sum - work.own_sums[own, 2])
    fast_prior = fast_factor(reader.scalars[FAST_LANDMARK], work.facts[NOW])
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
    """The other half of the norm, once per item: how often it was had, without the visitor's own last events."""
    count = work.counts[LOCAL]
    for local in range(count):
        prefetch(reader.sums_index, work.items[local])
    ahead = 32
    for local in range(min(ahead, count)):
        prefetch(reader.sums, reader.sums_index[work.items[local]])
    for local in range(count):
        if local + ahead < count:
            prefetch(reader.sums, reader.sums_index[work.items[local + ahead]])
        work.gathered[local] = reader.sums[reader.sums_index[work.items[local]], COUNT]
    for own in range(work.counts[OWN_ITEMS]):
        local = known_local(work, work.own_items[own])
        work.gathered[local] = max(0.0, work.gathered[local] - work.own_sums[own, 0])
    wide = padded(count)
    cosine.finish(work.gathered[:wide], work.values[COSINE, :wide], work.values[COSINE_FLAT, :wide])


@kernel
def propose(reader: Reader, work: Work, seen_by: np.uint64, own: bool, disabled: int, allowed: np.ndarray) -> None:
    """Unite the best of all sources.

    Args:
        seen_by: key of the visitor (or session) whose remembered items are never ranked; 0 = repeats are allowed.
        own: the visitor's last items are candidates too.
        disabled: bit s is set: source s proposes nothing.
        allowed: (item rows,) uint8, 0 = never a candidate; empty = all may be.
    """
    if allowed.size:
        for local in range(work.counts[LOCAL]):
            if not allowed[work.items[local]]:
                work.flags[local] |= EXCLUDED
    for local in range(work.counts[LOCAL]):
        if work.flags[local] & EXCLUDED:
            silence(work, local)
    for source, most in PROPOSED + custom.PROPOSED:
        if not (disabled >> source) & 1:
            propose_best(reader, work, seen_by, source, most, allowed)
    for half_life in range(HALF_LIVES):
        if not (disabled >> (POPULAR + half_life)) & 1:
            listed = reader.top[reader.top_index[half_life]]
            left = PROPOSED_POPULAR
            for place in range(np.int64(reader.scalars[TOP_SIZES + half_life])):
                local = local_of(work, np.int64(listed[place]))
                if local >= 0 and may_rank(reader, work, local, seen_by, allowed):
                    take(work, local)
                    left -= 1
                    if left == 0:
                        break
    if own:
        for number in range(min(PROPOSED_OWN, work.counts[UNIQUE])):
            local = known_local(work, work.unique[number])
            if local >= 0 and may_rank(reader, work, local, seen_by, allowed):
                take(work, local)


@kernel
def may_rank(reader: Reader, work: Work, local: int, seen_by: np.uint64, allowed: np.ndarray) -> bool:
    """True if the item may be ranked. An item that may not loses its values, so that others come up in its place."""
    if work.flags[local] & EXCLUDED:
        return False
    if allowed.size and not allowed[work.items[local]]:
        work.flags[local] |= EXCLUDED
        silence(work, local)
        return False
    if seen_by and not work.flags[local] & CHECKED:
        work.flags[local] |= CHECKED
        item = reader.items[reader.items_index[work.items[local]]]
        if was_seen(reader, mixed(seen_by ^ mixed(item.key0))):
            work.flags[local] |= EXCLUDED
            silence(work, local)
            return False
    return True


@kernel
def silence(work: Work, local: int) -> None:
    """No source has anything to say of an item that may not be ranked."""
    for source in range(SOURCE_COUNT):
        work.values[source, local] = 0


@inlined
def take(work: Work, local: int) -> None:
    if not work.taken[local] and work.counts[CANDIDATE] < CANDIDATES:
        work.candidates[work.counts[CANDIDATE]] = local
        work.counts[CANDIDATE] += 1
        work.taken[local] = work.counts[CANDIDATE]


@kernel
def take_item(work: Work, item: int, allowed: np.ndarray) -> None:
    """Make an item a candidate unless it must not be one."""
    if allowed.size and not allowed[item]:
        return
    local = local_of(work, item)
    if local >= 0 and not work.flags[local] & EXCLUDED:
        take(work, local)


@kernel
def propose_best(reader: Reader, work: Work, seen_by: np.uint64, source: int, most: int, allowed: np.ndarray) -> None:
    """The `most` items with the highest scores of a source that may be ranked; ties to the one met first."""
    values = work.values[source, : padded(work.counts[LOCAL])]
    while True:
        held = find_best(work, values, most)
        silenced = False
        for place in range(held):
            local = work.best_locals[work.best_order[place]]
            if may_rank(reader, work, local, seen_by, allowed):
                take(work, local)
            else:
                silenced = True  # others come up in its place
        if not silenced:
            break


@kernel
def find_best(work: Work, values: np.ndarray, most: int) -> int:
    """Fill in `best_locals` and, best first, `best_order`; returns how many there are.

    The value to be reached is found by halving the range of the bits of all values: ten times counting 1,500 numbers is
    done in a microsecond, a sorted list of fifty that everybody passes through took four.
    """
    least = np.int32(1)
    count = count_from(values, float_of(least))
    if count > BEST:
        beyond = np.int64(bits_of(largest_of(values))) + 1
        while count > BEST and beyond - least > 1:
            middle = np.int32((np.int64(least) + beyond) // 2)
            found = count_from(values, float_of(middle))
            if found >= most:
                least = middle
                count = found
            else:
                beyond = np.int64(middle)
    limit = float_of(np.int32(least))
    best_values = work.best_values
    best_values[:] = -1
    held = 0
    if count <= BEST:
        for local in range(values.size):
            work.best_locals[held] = local
            held += np.int64(values[local] >= limit)
    else:  # many are at the limit: those met first
        ties = most - count_from(values, float_of(np.int32(least + 1)))
        for local in range(values.size):
            if values[local] > limit or (values[local] == limit and ties > 0):
                ties -= values[local] == limit
                work.best_locals[held] = local
                held += 1
    for number in range(held):
        best_values[number] = values[work.best_locals[number]]
    for number in range(held):
        place = count_above(best_values, best_values[number])
        for earlier in range(number):
            place += best_values[earlier] == best_values[number]
        work.best_order[place] = number
    return min(held, most)


@vectored
def largest_of(values: np.ndarray) -> np.float32:
    largest = np.float32(0)
    for number in range(values.size):
        largest = max(largest, values[number])
    return largest


@kernel
def describe(reader: Reader, work: Work, disabled: int) -> None:
    """Fill in `columns` (the value of each source for each candidate) and `traits` (what the ranker knows of it)."""
    count = work.counts[CANDIDATE]
    wide = padded(count)
    for number in range(count):
        item = work.items[work.candidates[number]]
        prefetch(reader.vectors, reader.vectors_index[item])
        prefetch(reader.items, reader.items_index[item])
        prefetch(reader.sums, reader.sums_index[item])
        prefetch(reader.merits, reader.merits_index[item])
    embedding.score(reader, work)
    source_values(reader, work)
    for source in range(SOURCE_COUNT):
        work.columns[source, count:wide] = 0
        if (disabled >> source) & 1:
            work.columns[source, :count] = 0
    work.candidate_features[FEATURES - 1, :wide] = 0
    for source in range(SOURCE_COUNT):
        source_features(work, source, wide)
    item_features(reader, work, wide)
    own_features(work, wide)


@kernel
def source_values(reader: Reader, work: Work) -> None:
    now = work.facts[NOW]
    landmark = reader.scalars[POPULARITY_LANDMARK]
    decays = work.decays
    for half_life in range(HALF_LIVES):
        decays[half_life] = 2.0 ** min(1000.0, max(-1000.0, (landmark - now) / HALF_LIVES_SECONDS[half_life]))
    count = work.counts[CANDIDATE]
    for source in range(SOURCE_COUNT):
        if POPULAR <= source <= EMBEDDING:
            continue
        for number in range(count):
            work.columns[source, number] = work.values[source, work.candidates[number]]
    for number in range(count):
        local = work.candidates[number]
        sums = reader.sums[reader.sums_index[work.items[local]]]
        own = np.int64(work.own_of[local]) - 1
        for half_life in range(HALF_LIVES):
            value = sums[half_life]
            if own >= 0:
                value = max(0.0, value - work.own_popularity[own, half_life])
            work.columns[POPULAR + half_life, number] = np.float32(value * decays[half_life])
        work.columns[EMBEDDING, number] = np.float32(1) / (np.float32(1) + np.float32(math.exp(-work.logits[number])))


@kernel
def source_features(work: Work, source: int, wide: int) -> None:
    """Of one source: value over the largest, a rank score, a log score; and its part of the agreement."""
    at = 3 * source
    values = work.columns[source, :wide]
    largest = largest_of(values)
    if largest <= 0:
        for feature in range(at, at + 3):
            work.candidate_features[feature, :wide] = 0
        return
    largest = max(largest, np.float32(LEAST))
    better = work.ranks[:wide]
    for number in range(work.counts[CANDIDATE]):
        if values[number] > 0:
            better[number] = count_above(values, values[number])
    agreement = work.candidate_features[FEATURES - 1, :wide]
    place_features(
        values, better, largest, work.candidate_features[at, :wide], work.candidate_features[at + 1, :wide], agreement
    )
    logs = work.candidate_features[at + 2, :wide]
    if source == EMBEDDING:
        from_logits(values, work.logits[:wide], logs)
    elif POPULAR <= source < EMBEDDING:
        log_counts(values, logs)
    else:
        similarity = max(0.05, work.facts[SIMILARITY])
        log_scores(values, np.float32(1.0 / (10.0 * similarity) if source == VSKNN else 1.0), logs)


@vectored
def place_features(
    values: np.ndarray,
    better: np.ndarray,
    largest: np.float32,
    shares: np.ndarray,
    ranks: np.ndarray,
    agreement: np.ndarray,
) -> None:
    for number in range(values.size):
        said = np.float32(1) if values[number] > 0 else np.float32(0)
        shares[number] = said * (values[number] / largest)
        ranks[number] = said * (np.float32(RANK_SHIFT) / (np.float32(RANK_SHIFT) + better[number]))
        first = said if better[number] < np.float32(AGREEMENT) else np.float32(0)
        agreement[number] += first * np.float32(1.0 / SOURCE_COUNT)


@vectored
def from_logits(values: np.ndarray, logits: np.ndarray, out: np.ndarray) -> None:
    for number in range(values.size):
        out[number] = np.float32(0.2) * logits[number] + np.float32(0.5) if values[number] > 0 else np.float32(0)


@vectored
def log_counts(values: np.ndarray, out: np.ndarray) -> None:
    for number in range(values.size):
        out[number] = np.float32(0.15) * natural_log(np.float32(1) + max(np.float32(0), values[number]))


@vectored
def log_scores(values: np.ndarray, scale: np.float32, out: np.ndarray) -> None:
    for number in range(values.size):
        value = values[number] * scale
        score = np.float32(1) + natural_log(max(np.float32(0), value) + np.float32(1e-5)) * np.float32(1 / 11.5)
        out[number] = max(np.float32(0), score) if value > 0 else np.float32(0)


@kernel
def item_features(reader: Reader, work: Work, wide: int) -> None:
    now = work.facts[NOW]
    visitor = np.int64(work.facts[VISITOR])
    at = SOURCE_FEATURES
    ages = work.candidate_features[at, :wide]
    silences = work.candidate_features[at + 1, :wide]
    counts = work.candidate_features[at + 2, :wide]
    like_last = work.candidate_features[LIKE_LAST, :wide]
    like_last[:] = 0
    for number in range(work.counts[CANDIDATE]):
        local = work.candidates[number]
        item = reader.items[reader.items_index[work.items[local]]]
        others = item.other_seconds if visitor and item.last_visitor == visitor else item.last_seconds
        ages[number] = max(0.0, now - item.first_seconds)
        silences[number] = max(0.0, now - others) if others else -1.0
        count = reader.sums[reader.sums_index[work.items[local]], COUNT]
        if work.own_of[local]:
            count = max(0.0, count - work.own_sums[np.int64(work.own_of[local]) - 1, 0])
        counts[number] = count
        like_last[number] = work.like_last[local] / math.sqrt(count + cosine.SHRINK)
    log_scores(like_last, np.float32(1), like_last)
    log_moments(ages, silences, counts)
    for shorter in range(HALF_LIVES - 1):
        ratios(
            work.columns[POPULAR + shorter, :wide],
            work.columns[POPULAR + shorter + 1, :wide],
            work.candidate_features[at + 3 + shorter, :wide],
        )
    item_bias.describe(reader, work, work.candidate_features[ITEM_BIAS])


@vectored
def log_moments(ages: np.ndarray, silences: np.ndarray, counts: np.ndarray) -> None:
    one = np.float32(1)
    for number in range(ages.size):
        ages[number] = np.float32(0.07) * natural_log(one + max(np.float32(0), ages[number]))
        silence_log = np.float32(0.07) * natural_log(one + max(np.float32(0), silences[number]))
        silences[number] = np.float32(1.5) if silences[number] < 0 else silence_log
        counts[number] = np.float32(0.1) * natural_log(one + max(np.float32(0), counts[number]))


@vectored
def ratios(shorter: np.ndarray, longer: np.ndarray, out: np.ndarray) -> None:
    for number in range(shorter.size):
        out[number] = shorter[number] / (longer[number] + np.float32(0.1))


@kernel
def own_features(work: Work, wide: int) -> None:
    at = SOURCE_FEATURES + ITEM_FEATURES
    for feature in range(at, at + 5):
        work.candidate_features[feature, :wide] = 0
    if work.facts[SESSION_LENGTH] > 0:
        for number in range(work.counts[CANDIDATE]):
            work.candidate_features[at + 4, number] = 1.0 if work.flags[work.candidates[number]] & IN_SESSION else 0.0
    for place in range(work.counts[UNIQUE]):
        local = known_local(work, work.unique[place])
        if local < 0 or not work.taken[local]:
            continue
        number = np.int64(work.taken[local]) - 1
        work.candidate_features[ITEM_BIAS, number] = 0.0
        work.candidate_features[at, number] = 1.0
        work.candidate_features[at + 1, number] = 1.0 / (1.0 + place)
        work.candidate_features[at + 2, number] = 0.5 * math.log(1.0 + work.unique_of[place])
        work.candidate_features[at + 3, number] = 1.0 if place == 0 else 0.0


@kernel
def lay_out(work: Work) -> None:
    """`features`: the traits of each candidate side by side, as learning takes them."""
    for number in range(work.counts[CANDIDATE]):
        for feature in range(FEATURES):
            work.features_by_candidate[number, feature] = work.candidate_features[feature, number]
