"""Item vectors learned online: which items come after such a history.

The context is the weighted mean of the input vectors of the last ten items (0.75^k, newest first); an item's score is
the dot product with its output vector. An event pulls its own output vector to the context and pushes away those of
five items drawn from a reservoir of the 20,000 most recent events (skip-gram with negative sampling, one pass). It
orders candidates and proposes none.

This file decides how vectors begin, learn and score.

Mikolov et al., "Distributed representations of words and phrases", NIPS 2013; Barkan & Koenigstein, "Item2Vec", 2016.
"""

from __future__ import annotations

import math

import numpy as np

from stream.models.kernels.compile import kernel, prefetch
from stream.models.kernels.hashing import mixed
from stream.models.kernels.simd import product
from stream.models.schema import (
    DIMENSIONS,
    EVENTS,
    RANDOM,
    RESERVOIR_ROWS,
    RESERVOIR_WIDTH,
    RESERVOIR_WRITTEN,
)
from stream.models.workspace.learning_view import State
from stream.models.workspace.scoring_view import Reader
from stream.models.workspace.scratch import CANDIDATE, UNIQUE, Work

CONTEXT_ITEMS = 10
FADE = 0.75
NEGATIVES = 5
RATE = 0.05


@kernel
def begin(state: State, item: int) -> None:
    """Write the vectors of a new item: a small random input, an output of zeros."""
    word = state.items[item].key0 ^ np.uint64(np.int64(state.scalars[RANDOM]))
    for place in range(DIMENSIONS):
        word = mixed(word + np.uint64(0x9E3779B97F4A7C15))
        state.vectors[item, place] = (np.float32(word >> np.uint64(40)) / np.float32(1 << 24) - np.float32(0.5)) / 8
        state.vectors[item, DIMENSIONS + place] = 0
    state.vectors_dirty[2 * item] = 1
    state.vectors_dirty[2 * item + 1] = 1


@kernel
def remember(state: State, item: int) -> None:
    """Write an event into the reservoir that negatives are drawn from."""
    written = np.int64(state.scalars[RESERVOIR_WRITTEN])
    place = written % (RESERVOIR_ROWS * RESERVOIR_WIDTH)
    state.reservoir[place // RESERVOIR_WIDTH, place % RESERVOIR_WIDTH] = item
    state.reservoir_dirty[place // 8] = 1
    state.scalars[RESERVOIR_WRITTEN] = written + 1


@kernel
def learn(state: State, item: int, met: np.ndarray, count: int, scratch: np.ndarray) -> None:
    """Learn an event on `item` after `met[:count]`, newest first; `scratch` has room for two vectors."""
    used = min(count, CONTEXT_ITEMS)
    filled = min(np.int64(state.scalars[RESERVOIR_WRITTEN]), np.int64(RESERVOIR_ROWS * RESERVOIR_WIDTH))
    if used == 0 or filled == 0:
        return
    draw = mixed(np.uint64(np.int64(state.scalars[EVENTS])) ^ np.uint64(np.int64(state.scalars[RANDOM])))
    prefetch_vectors(state, item, met, used, draw, filled)
    context = scratch[:DIMENSIONS]
    pull = scratch[DIMENSIONS:]
    context[:] = 0
    pull[:] = 0
    total = np.float32(0)
    share = np.float32(1)
    for k in range(used):
        vector = state.vectors[met[k]]
        for place in range(DIMENSIONS):
            context[place] += share * vector[place]
        total += share
        share *= np.float32(FADE)
    for place in range(DIMENSIONS):
        context[place] /= total
    for number in range(NEGATIVES + 1):
        other = np.int64(item)
        wanted = np.float32(1)
        if number:
            draw = mixed(draw + np.uint64(0x9E3779B97F4A7C15))
            drawn = np.int64(draw % np.uint64(filled))
            other = np.int64(state.reservoir[drawn // RESERVOIR_WIDTH, drawn % RESERVOIR_WIDTH])
            wanted = np.float32(0)
            if other == item or other == 0:
                continue
        output = state.vectors[other, DIMENSIONS:]
        dot = np.float32(0)
        for place in range(DIMENSIONS):
            dot += context[place] * output[place]
        step = np.float32(RATE) * (wanted - np.float32(1) / (np.float32(1) + np.float32(math.exp(-dot))))
        for place in range(DIMENSIONS):
            pull[place] += step * output[place]
            output[place] += step * context[place]
        state.vectors_dirty[2 * other + 1] = 1
    share = np.float32(1) / total
    for k in range(used):
        vector = state.vectors[met[k]]
        for place in range(DIMENSIONS):
            vector[place] += share * pull[place]
        share *= np.float32(FADE)
        state.vectors_dirty[2 * met[k]] = 1


@kernel
def prefetch_vectors(state: State, item: int, met: np.ndarray, used: int, draw: np.uint64, filled: int) -> None:
    """Prefetch the vectors that `learn` is about to use: sixteen rows far from each other."""
    halves = state.vectors.reshape((2 * state.vectors.shape[0], DIMENSIONS))
    for k in range(used):
        prefetch(halves, 2 * met[k])
    prefetch(halves, 2 * item + 1)
    for _ in range(NEGATIVES):
        draw = mixed(draw + np.uint64(0x9E3779B97F4A7C15))
        place = np.int64(draw % np.uint64(filled))
        prefetch(halves, 2 * np.int64(state.reservoir[place // RESERVOIR_WIDTH, place % RESERVOIR_WIDTH]) + 1)


@kernel
def score(reader: Reader, work: Work) -> None:
    """Fill in `logits`: the dot product of each candidate's output vector with the context."""
    used = min(work.counts[UNIQUE], CONTEXT_ITEMS)
    context = work.vector[:DIMENSIONS]
    context[:] = 0
    total = np.float32(0)
    share = np.float32(1)
    for k in range(used):
        vector = reader.vectors[reader.vectors_index[work.unique[k]]]
        for place in range(DIMENSIONS):
            context[place] += share * vector[place]
        total += share
        share *= np.float32(FADE)
    for place in range(DIMENSIONS):
        context[place] /= max(total, np.float32(1e-9))
    for number in range(work.counts[CANDIDATE]):
        row = reader.vectors_index[work.items[work.candidates[number]]]
        work.logits[number] = product(context, 0, reader.vectors[row], DIMENSIONS, DIMENSIONS)


@kernel
def forget(state: State, item: int) -> None:
    """Empty the vectors of an item that is evicted."""
    state.vectors[item] = 0
    state.vectors_dirty[2 * item] = 1
    state.vectors_dirty[2 * item + 1] = 1


@kernel
def forget_in_reservoir(state: State, first: int, end: int) -> None:
    """Empty the places of leaving items in these rows of the reservoir."""
    for row in range(first, end):
        for column in range(RESERVOIR_WIDTH):
            if state.items_leaving[state.reservoir[row, column]]:
                state.reservoir[row, column] = 0
                state.reservoir_dirty[(row * RESERVOIR_WIDTH + column) // 8] = 1
