"""Counts over all visitors: popularity, pairs, vectors and custom sources.

This file decides which of them an event changes, and which items of the visitor's history it meets.
"""

from __future__ import annotations

import numpy as np

from stream.models.kernels.compile import kernel
from stream.models.kernels.row_pool import run_row, run_rows
from stream.models.learning import prefetch
from stream.models.schema import COUNT, EVENTS, HISTORY_ENTRIES
from stream.models.sources import custom, embedding, pairs, popularity
from stream.models.sources.pairs import MEETINGS
from stream.models.workspace.learning_view import State

EMBEDDING_INTERVAL = 4
"""Vectors learn from one event in this number: each writes sixteen rows, most of what two versions differ by."""


@kernel
def learn_counts(
    state: State,
    item: int,
    visitor: int,
    seconds: float,
    weight: float,
    held: bool,
    met: np.ndarray,
    scratch: np.ndarray,
) -> None:
    """Add an event to everything that is counted over all visitors.

    Args:
        state: the tables.
        item, visitor: rows.
        seconds: time of the event.
        weight: of the event; negative takes weight back.
        held: True if the event is ahead of the stream clock.
        met: (MEETINGS,) scratch.
        scratch: (at least as long as a vector) scratch.
    """
    count = meet(state, visitor, item, met)
    prefetch.prefetch_pair_sets(state, item, met, count)
    popularity.learn(state, item, seconds, weight)
    state.sums[item, COUNT] = max(0.0, state.sums[item, COUNT] + weight)
    row = state.items[item]
    if row.last_visitor != visitor:
        row.other_seconds = row.last_seconds
        row.last_visitor = visitor
    if seconds > row.last_seconds:
        row.last_seconds = np.uint32(seconds)
    state.items_dirty[2 * item + 1] = 1
    pairs.learn(state, item, seconds, weight, held, met, count)
    if weight > 0:
        if np.int64(state.scalars[EVENTS]) % EMBEDDING_INTERVAL == 0:
            embedding.learn(state, item, met, count, scratch)
        embedding.remember(state, item)
    custom.learn(state, item, visitor, seconds, weight, met, count)


@kernel
def meet(state: State, visitor: int, item: int, met: np.ndarray) -> int:
    """Fill in the last items that an event on `item` meets in the visitor's history, newest first.

    Items that are about to be evicted are left out: nothing may point at them any more.

    Returns:
        The number of these items.
    """
    row = state.visitors[visitor]
    if row.history == 0:
        return 0
    length = run_rows(row.history) * HISTORY_ENTRIES
    entries = np.int64(row.entries)
    first = run_row(row.history)
    count = 0
    for age in range(min(entries, length)):
        at = (entries - 1 - age) % length
        entry = state.history[first + at // HISTORY_ENTRIES, at % HISTORY_ENTRIES]
        if entry.item and entry.item != item and entry.weight >= 0 and not state.items[entry.item].leaving:
            met[count] = entry.item
            count += 1
            if count == MEETINGS:
                break
    return count
