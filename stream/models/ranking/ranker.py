"""The champion, named `blend` in settings, metrics and JSON: the ranker that orders the candidates.

score = x · (w + u1[length of the session] + u2[count of the last item] + u3[seconds since the last event] + u4[best
similarity of a neighbour]) + network(x, context). The crosses give each source a weight of its own in each situation;
the network (32 leaky units) adds what is not linear.

It learns from test-then-learn outcomes on the bounded sample: softmax cross-entropy of the event that happened against
thirty of the other candidates; AdaGrad for the linear part, Adam for the network. An event on an item that was no
candidate changes nothing. Weights are rows of the tables `linear` and `network`, like everything else.

This file decides how candidates are scored and how the weights are updated. The features are decided in `features.py`.

Duchi, Hazan & Singer, "Adaptive subgradient methods", JMLR 2011; Kingma & Ba, "Adam", ICLR 2015; Cao et al., "Learning
to rank: from pairwise approach to listwise approach", ICML 2007.
"""

from __future__ import annotations

import math

import numpy as np

from stream.models.feature_names import (
    BEYOND_HALF_AN_HOUR,
    BY_COUNT,
    BY_LENGTH,
    BY_SECONDS,
    BY_SIMILARITY,
    CANDIDATE_COUNT,
    CONTEXT_FEATURES,
    COUNT_EDGES,
    CROSS_BUCKETS,
    CROSSES,
    DAY_COSINE,
    DAY_SINE,
    FEATURES,
    FEATURES_WIDE,
    FIRST_OF_SESSION,
    HAS_REPEATS,
    HISTORY_LOG,
    ITEM_BIAS,
    LAST_ITEM_COUNT_LOG,
    LENGTH_EDGES,
    NO_HISTORY,
    RANK,
    SECONDS_EDGES,
    SECONDS_LOG,
    SESSION_ITEMS_USED,
    SESSION_LENGTH,
    SESSION_LENGTH_LOG,
    SIMILARITY,
    SIMILARITY_EDGES,
    SIMILARITY_WIDE,
    SOURCE_PARTS,
    WITHIN_A_MINUTE,
)
from stream.models.kernels.compile import LANES, inlined, kernel, padded, vectored
from stream.models.kernels.hashing import mixed
from stream.models.kernels.simd import combine
from stream.models.ranking import item_bias
from stream.models.schema import COUNT, HIDDEN, LINEAR_ROWS, NETWORK_ROWS, RANDOM, TESTS, UPDATES
from stream.models.source_names import SOURCE_COUNT
from stream.models.workspace.learning_view import State
from stream.models.workspace.scoring_view import Reader
from stream.models.workspace.scratch import CANDIDATE, HISTORY, ROW, SESSION, UNIQUE, Work

NEGATIVES = 30
"""Other candidates that an update compares with the event that happened."""
LINEAR_RATE = 0.05
NETWORK_RATE = 0.002
NETWORK_RATE_LEAST = 0.0004
NETWORK_RATE_UPDATES = 20_000.0
FIRST_MOMENT = 0.9
SECOND_MOMENT = 0.999
LEAK = 0.1
"""Slope of a hidden unit below zero."""
RANK_START = 0.3
"""Weight of the rank feature of every source before the first update."""
BIASES = FEATURES_WIDE + CONTEXT_FEATURES
OUTPUT = BIASES + 1
"""Rows of the network: the units' biases, and their weights in the score."""


@kernel
def begin(state: State) -> None:
    """Write the weights before the first update: rank features 0.3, the item bias its start, the network small ones."""
    for source in range(SOURCE_COUNT):
        state.linear[0, SOURCE_PARTS * source + RANK] = RANK_START
    state.linear[0, ITEM_BIAS] = item_bias.START
    word = np.uint64(np.int64(state.scalars[RANDOM]))
    for row in range(NETWORK_ROWS):
        scale = 0.0 if row == BIASES else 0.1 if row == OUTPUT else 0.3
        if FEATURES <= row < FEATURES_WIDE:
            scale = 0.0
        for unit in range(HIDDEN):
            word = mixed(word + np.uint64(0x9E3779B97F4A7C15))
            state.network[row, unit] = scale * (np.float64(word >> np.uint64(11)) / 2.0**53 - 0.5)
    state.linear_dirty[:] = 1
    state.network_dirty[:] = 1


@inlined
def bucket(value: float, edges: tuple) -> int:
    """Number of the edges that a value reaches."""
    number = 0
    for edge in edges:
        number += value >= edge
    return number


@kernel
def describe_context(reader: Reader, work: Work) -> None:
    """Fill in `buckets` (the row of each cross that applies) and `context_features`."""
    visit = work.visit[0]
    length = visit.session_length
    known = 1 if work.counts[UNIQUE] else 0
    count = 0.0
    seconds = 0.0
    if known:
        count = reader.sums[reader.sums_index[work.unique[0]], COUNT]
        seconds = max(0.0, visit.moment - work.history_seconds[0])
    similarity = visit.similarity
    work.buckets[BY_LENGTH] = bucket(length, LENGTH_EDGES)
    work.buckets[BY_COUNT] = bucket(count, COUNT_EDGES) + known
    work.buckets[BY_SECONDS] = bucket(seconds, SECONDS_EDGES) + known
    work.buckets[BY_SIMILARITY] = bucket(similarity, SIMILARITY_EDGES)
    day = 2.0 * math.pi * (visit.moment % 86_400.0) / 86_400.0
    features = work.context_features
    features[SESSION_LENGTH] = min(1.0, length / 10.0)
    features[SESSION_LENGTH_LOG] = 0.3 * math.log(1.0 + length)
    features[HISTORY_LOG] = 0.2 * math.log(1.0 + work.counts[HISTORY])
    features[LAST_ITEM_COUNT_LOG] = 0.1 * math.log(1.0 + count)
    features[SECONDS_LOG] = 0.08 * math.log(1.0 + seconds)
    features[SIMILARITY] = min(1.0, similarity)
    features[SIMILARITY_WIDE] = min(1.0, 0.2 * similarity)
    features[CANDIDATE_COUNT] = work.counts[CANDIDATE] / 200.0
    features[NO_HISTORY] = 0.0 if known else 1.0
    features[FIRST_OF_SESSION] = 1.0 if length == 1 else 0.0
    features[WITHIN_A_MINUTE] = 1.0 if seconds < 60 else 0.0
    features[BEYOND_HALF_AN_HOUR] = 1.0 if seconds > 1800 else 0.0
    features[DAY_SINE] = 0.3 * math.sin(day)
    features[DAY_COSINE] = 0.3 * math.cos(day)
    features[HAS_REPEATS] = 1.0 if work.counts[UNIQUE] < work.counts[HISTORY] else 0.0
    features[SESSION_ITEMS_USED] = min(1.0, work.counts[SESSION] / 50.0)


@kernel
def score(reader: Reader, work: Work) -> None:
    """Fill in `scores`, and `hidden`, `buckets` and `context_features`, which an update needs."""
    describe_context(reader, work)
    weights = work.weights
    weights[:] = 0
    for feature in range(FEATURES):
        weights[feature] = reader.linear[reader.linear_index[0], feature]
    for cross in range(CROSSES):
        row = reader.linear_index[1 + cross * CROSS_BUCKETS + work.buckets[cross]]
        for feature in range(FEATURES):
            weights[feature] += reader.linear[row, feature]
    wide = padded(work.counts[CANDIDATE])
    scores = work.scores[:wide]
    features = work.candidate_features
    for at in range(0, wide, LANES):
        combine(features, ROW, at, weights, FEATURES, np.float32(0), scores)
    base = work.vector[:HIDDEN]
    dense = work.dense
    for feature in range(FEATURES):
        row = reader.network_index[feature]
        for unit in range(HIDDEN):
            dense[unit, feature] = reader.network[row, unit]
    for unit in range(HIDDEN):
        base[unit] = reader.network[reader.network_index[BIASES], unit]
    for context in range(CONTEXT_FEATURES):
        row = reader.network_index[FEATURES_WIDE + context]
        for unit in range(HIDDEN):
            base[unit] += work.context_features[context] * reader.network[row, unit]
    for unit in range(HIDDEN):
        hidden = work.hidden[unit, :wide]
        for at in range(0, wide, LANES):
            combine(features, ROW, at, dense[unit], FEATURES, base[unit], hidden)
        add_leaky(hidden, reader.network[reader.network_index[OUTPUT], unit], scores)


@vectored
def add_leaky(hidden: np.ndarray, weight: np.float32, out: np.ndarray) -> None:
    """Add one hidden unit's part of the scores of all candidates."""
    for number in range(out.size):
        out[number] += weight * max(hidden[number], np.float32(LEAK) * hidden[number])


@kernel
def learn(state: State, work: Work, target: int) -> int:
    """Update the weights: candidate `target` is what happened, and the candidates have been scored.

    Returns how many candidates were compared: they are the first of `work.chosen`, the target before the others, and
    `work.slopes` are their softmax probabilities, less 1 for the target.
    """
    count = work.counts[CANDIDATE]
    if count < 2:
        return 0
    chosen = work.chosen
    chosen[0] = target
    size = 1
    if count - 1 <= NEGATIVES:
        for number in range(count):
            if number != target:
                chosen[size] = number
                size += 1
    else:
        draw = np.uint64(np.int64(state.scalars[TESTS])) ^ np.uint64(np.int64(state.scalars[RANDOM]))
        while size <= NEGATIVES:
            draw = mixed(draw + np.uint64(0x9E3779B97F4A7C15))
            drawn = np.int64(draw % np.uint64(count))
            if drawn != target:
                chosen[size] = drawn
                size += 1
    most = np.float32(-1e30)
    for place in range(size):
        most = max(most, work.scores[chosen[place]])
    slopes = work.slopes
    total = np.float32(0)
    for place in range(size):
        slopes[place] = math.exp(work.scores[chosen[place]] - most)
        total += slopes[place]
    for place in range(size):
        slopes[place] /= total
    slopes[0] -= np.float32(1)
    learn_linear(state, work, chosen, slopes, size)
    learn_network(state, work, chosen, slopes, size)
    state.scalars[UPDATES] += 1
    return size


@kernel
def learn_linear(state: State, work: Work, chosen: np.ndarray, slopes: np.ndarray, size: int) -> None:
    """Update the linear weights by AdaGrad: the common row, and the row of each cross that applied."""
    slope = work.weights
    slope[:] = 0
    for place in range(size):
        for feature in range(FEATURES):
            slope[feature] += slopes[place] * work.features_by_candidate[chosen[place], feature]
    for part in range(CROSSES + 1):
        row = 0 if part == 0 else 1 + (part - 1) * CROSS_BUCKETS + work.buckets[part - 1]
        for feature in range(FEATURES):
            step = slope[feature]
            squares = state.linear[LINEAR_ROWS + row, feature] + step * step
            state.linear[LINEAR_ROWS + row, feature] = squares
            state.linear[row, feature] -= np.float32(LINEAR_RATE) * step / (math.sqrt(squares) + np.float32(1e-6))
        blocks = state.linear_dirty.size // state.linear.shape[0]
        state.linear_dirty[row * blocks : (row + 1) * blocks] = 1
        state.linear_dirty[(LINEAR_ROWS + row) * blocks : (LINEAR_ROWS + row + 1) * blocks] = 1


@kernel
def learn_network(state: State, work: Work, chosen: np.ndarray, slopes: np.ndarray, size: int) -> None:
    """Update the network by Adam, whose rate falls with the number of updates."""
    slope = work.slope
    slope[:] = 0
    back = work.back
    for place in range(size):
        number = chosen[place]
        for unit in range(HIDDEN):
            sent = work.hidden[unit, number]
            slope[OUTPUT, unit] += slopes[place] * (sent if sent > 0 else np.float32(LEAK) * sent)
            back[unit] = slopes[place] * state.network[OUTPUT, unit] * (np.float32(1) if sent > 0 else np.float32(LEAK))
            slope[BIASES, unit] += back[unit]
        for feature in range(FEATURES):
            value = work.features_by_candidate[number, feature]
            if value != 0:
                for unit in range(HIDDEN):
                    slope[feature, unit] += value * back[unit]
    for context in range(CONTEXT_FEATURES):
        for unit in range(HIDDEN):
            slope[FEATURES_WIDE + context, unit] = work.context_features[context] * slope[BIASES, unit]
    updates = state.scalars[UPDATES]
    rate = max(NETWORK_RATE_LEAST, NETWORK_RATE / (1.0 + updates / NETWORK_RATE_UPDATES))
    first_scale = 1.0 - FIRST_MOMENT ** (updates + 1.0)
    second_scale = 1.0 - SECOND_MOMENT ** (updates + 1.0)
    step = np.float32(rate / first_scale)
    second_share = np.float32(1.0 / second_scale)
    for row in range(NETWORK_ROWS):
        if FEATURES <= row < FEATURES_WIDE:
            continue
        weights = state.network[row]
        means = state.network[NETWORK_ROWS + row]
        squares = state.network[2 * NETWORK_ROWS + row]
        for unit in range(HIDDEN):
            d = slope[row, unit]
            means[unit] = np.float32(FIRST_MOMENT) * means[unit] + np.float32(1 - FIRST_MOMENT) * d
            squares[unit] = np.float32(SECOND_MOMENT) * squares[unit] + np.float32(1 - SECOND_MOMENT) * d * d
            weights[unit] -= step * means[unit] / (math.sqrt(squares[unit] * second_share) + np.float32(1e-7))
    state.network_dirty[:] = 1
