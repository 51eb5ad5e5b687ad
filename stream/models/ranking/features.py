"""Features of the candidates, which the ranker orders them by.

This file decides how values become features: the values of *all* sources for each candidate, then features of the item
and of the visitor's own history with it. Names and places of the features are in `feature_names.py`.
"""

from __future__ import annotations

import math

import numpy as np

from stream.models.feature_names import (
    AGREEMENT,
    FEATURES,
    ITEM_AGE,
    ITEM_BIAS,
    ITEM_COUNT,
    ITEM_SILENCE,
    LIKE_LAST,
    LOG,
    OWN_COUNT,
    OWN_IN_SESSION,
    OWN_LAST,
    OWN_PRESENT,
    OWN_RECENCY,
    RANK,
    SOURCE_PARTS,
    TREND,
    TRENDS,
    VALUE,
)
from stream.models.kernels.compile import kernel, natural_log, padded, prefetch, vectored
from stream.models.kernels.simd import count_above
from stream.models.ranking import item_bias
from stream.models.ranking.propose import largest_of
from stream.models.schema import COUNT, POPULARITY_LANDMARK
from stream.models.source_names import EMBEDDING, HALF_LIVES, HALF_LIVES_SECONDS, POPULAR, SOURCE_COUNT, VSKNN
from stream.models.sources import cosine, embedding
from stream.models.workspace.scoring_view import Reader
from stream.models.workspace.scratch import CANDIDATE, IN_SESSION, OWN_SUM_COUNT, UNIQUE, Work, known_local

RANK_SHIFT = 4.0
"""Softens rank features: the best has 1, the fifth a half."""
AGREEMENT_RANKS = 20
"""Ranks of a source that count for agreement."""
LEAST = 1e-30
"""Lower bound of a divisor: float32 has no reciprocal of less."""
NO_SILENCE = 1.5
"""Silence of an item that no other visitor has ever had."""


@kernel
def describe(reader: Reader, work: Work, disabled: int) -> None:
    """Fill in `source_values` and `candidate_features`.

    Args:
        disabled: bit s is set: the values of source s are 0.
    """
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
        work.source_values[source, count:wide] = 0
        if (disabled >> source) & 1:
            work.source_values[source, :count] = 0
    work.candidate_features[AGREEMENT, :wide] = 0
    for source in range(SOURCE_COUNT):
        source_features(work, source, wide)
    item_features(reader, work, wide)
    own_features(work, wide)


@kernel
def source_values(reader: Reader, work: Work) -> None:
    """Fill in `source_values`: popularity from the counts, the embedding from its logits, the others as collected."""
    now = work.visit[0].now
    landmark = reader.scalars[POPULARITY_LANDMARK]
    decays = work.decays
    for half_life in range(HALF_LIVES):
        decays[half_life] = 2.0 ** min(1000.0, max(-1000.0, (landmark - now) / HALF_LIVES_SECONDS[half_life]))
    count = work.counts[CANDIDATE]
    for source in range(SOURCE_COUNT):
        if POPULAR <= source <= EMBEDDING:
            continue
        for number in range(count):
            work.source_values[source, number] = work.values[source, work.candidates[number]]
    for number in range(count):
        local = work.candidates[number]
        sums = reader.sums[reader.sums_index[work.items[local]]]
        own = np.int64(work.own_of[local]) - 1
        for half_life in range(HALF_LIVES):
            value = sums[half_life]
            if own >= 0:
                value = max(0.0, value - work.own_popularity[own, half_life])
            work.source_values[POPULAR + half_life, number] = np.float32(value * decays[half_life])
        work.source_values[EMBEDDING, number] = np.float32(1) / (
            np.float32(1) + np.float32(math.exp(-work.logits[number]))
        )


@kernel
def source_features(work: Work, source: int, wide: int) -> None:
    """Fill in the three features of one source and add its part of the agreement."""
    at = SOURCE_PARTS * source
    values = work.source_values[source, :wide]
    largest = largest_of(values)
    if largest <= 0:
        for feature in range(at, at + SOURCE_PARTS):
            work.candidate_features[feature, :wide] = 0
        return
    largest = max(largest, np.float32(LEAST))
    better = work.ranks[:wide]
    for number in range(work.counts[CANDIDATE]):
        if values[number] > 0:
            better[number] = count_above(values, values[number])
    shares = work.candidate_features[at + VALUE, :wide]
    ranks = work.candidate_features[at + RANK, :wide]
    place_features(values, better, largest, shares, ranks, work.candidate_features[AGREEMENT, :wide])
    logs = work.candidate_features[at + LOG, :wide]
    if source == EMBEDDING:
        from_logits(values, work.logits[:wide], logs)
    elif POPULAR <= source < EMBEDDING:
        log_counts(values, logs)
    else:
        similarity = max(0.05, work.visit[0].similarity)
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
    """Fill in value and rank features of one source, and add to the agreement.

    Args:
        values: the source's value for each candidate.
        better: how many candidates have a larger value.
        largest: the largest value.
        shares, ranks: room for the two features.
        agreement: (candidates,), to which the source adds its share.
    """
    for number in range(values.size):
        scored = np.float32(1) if values[number] > 0 else np.float32(0)
        shares[number] = scored * (values[number] / largest)
        ranks[number] = scored * (np.float32(RANK_SHIFT) / (np.float32(RANK_SHIFT) + better[number]))
        first = scored if better[number] < np.float32(AGREEMENT_RANKS) else np.float32(0)
        agreement[number] += first * np.float32(1.0 / SOURCE_COUNT)


@vectored
def from_logits(values: np.ndarray, logits: np.ndarray, out: np.ndarray) -> None:
    """Fill in the log feature of the embedding, whose logits are logarithms already."""
    for number in range(values.size):
        out[number] = np.float32(0.2) * logits[number] + np.float32(0.5) if values[number] > 0 else np.float32(0)


@vectored
def log_counts(values: np.ndarray, out: np.ndarray) -> None:
    """Fill in the log feature of a decayed count."""
    for number in range(values.size):
        out[number] = np.float32(0.15) * natural_log(np.float32(1) + max(np.float32(0), values[number]))


@vectored
def log_scores(values: np.ndarray, scale: np.float32, out: np.ndarray) -> None:
    """Fill in the log feature of scores: 0 at 1e-5 and below, 1 at a scaled score of 1."""
    for number in range(values.size):
        value = values[number] * scale
        score = np.float32(1) + natural_log(max(np.float32(0), value) + np.float32(1e-5)) * np.float32(1 / 11.5)
        out[number] = max(np.float32(0), score) if value > 0 else np.float32(0)


@kernel
def item_features(reader: Reader, work: Work, wide: int) -> None:
    """Fill in the features of the items, without the visitor's own events."""
    now = work.visit[0].now
    visitor = work.visit[0].visitor
    ages = work.candidate_features[ITEM_AGE, :wide]
    silences = work.candidate_features[ITEM_SILENCE, :wide]
    counts = work.candidate_features[ITEM_COUNT, :wide]
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
            count = max(0.0, count - work.own_sums[np.int64(work.own_of[local]) - 1, OWN_SUM_COUNT])
        counts[number] = count
        like_last[number] = work.like_last[local] / math.sqrt(count + cosine.SHRINK)
    log_scores(like_last, np.float32(1), like_last)
    log_moments(ages, silences, counts)
    for shorter in range(TRENDS):
        ratios(
            work.source_values[POPULAR + shorter, :wide],
            work.source_values[POPULAR + shorter + 1, :wide],
            work.candidate_features[TREND + shorter, :wide],
        )
    item_bias.describe(reader, work, work.candidate_features[ITEM_BIAS])


@vectored
def log_moments(ages: np.ndarray, silences: np.ndarray, counts: np.ndarray) -> None:
    """Replace seconds and counts by scaled logarithms; a negative silence stands for none."""
    one = np.float32(1)
    for number in range(ages.size):
        ages[number] = np.float32(0.07) * natural_log(one + max(np.float32(0), ages[number]))
        silence_log = np.float32(0.07) * natural_log(one + max(np.float32(0), silences[number]))
        silences[number] = np.float32(NO_SILENCE) if silences[number] < 0 else silence_log
        counts[number] = np.float32(0.1) * natural_log(one + max(np.float32(0), counts[number]))


@vectored
def ratios(shorter: np.ndarray, longer: np.ndarray, out: np.ndarray) -> None:
    """Fill in the popularity over a half-life divided by that over the next longer one."""
    for number in range(shorter.size):
        out[number] = shorter[number] / (longer[number] + np.float32(0.1))


@kernel
def own_features(work: Work, wide: int) -> None:
    """Fill in the features of items in the visitor's own history. Such an item gets no bias: its last updates may come
    from this very visitor.
    """
    features = work.candidate_features
    for feature in range(OWN_PRESENT, OWN_IN_SESSION + 1):
        features[feature, :wide] = 0
    if work.visit[0].session_length > 0:
        for number in range(work.counts[CANDIDATE]):
            features[OWN_IN_SESSION, number] = 1.0 if work.flags[work.candidates[number]] & IN_SESSION else 0.0
    for place in range(work.counts[UNIQUE]):
        local = known_local(work, work.unique[place])
        if local < 0 or not work.taken[local]:
            continue
        candidate = np.int64(work.taken[local]) - 1
        features[ITEM_BIAS, candidate] = 0.0
        features[OWN_PRESENT, candidate] = 1.0
        features[OWN_RECENCY, candidate] = 1.0 / (1.0 + place)
        features[OWN_COUNT, candidate] = 0.5 * math.log(1.0 + work.unique_of[place])
        features[OWN_LAST, candidate] = 1.0 if place == 0 else 0.0


@kernel
def by_candidate(work: Work) -> None:
    """Fill in `features_by_candidate`: the features transposed, as learning takes them."""
    for number in range(work.counts[CANDIDATE]):
        for feature in range(FEATURES):
            work.features_by_candidate[number, feature] = work.candidate_features[feature, number]
