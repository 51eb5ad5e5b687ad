"""Learning: one batch of events, in order, through everything that remembers.

For each event: skip it if its id was seen; find the rows of item, visitor and session; test, if it was drawn for that;
then learn. All of it is one compiled loop. Nothing here knows about topics, Kafka or versions.
"""

from __future__ import annotations

import numba as nb
import numpy as np
from numpy.typing import NDArray

from stream.decoding import Columns
from stream.models import items, popularity, visitors
from stream.models.directory import enter_word, find_word
from stream.models.hashing import mixed
from stream.models.layout import (
    CLOCK,
    COUNT,
    EVENT_IDS_SEEN,
    EVENTS,
    POPULARITY_LANDMARK,
    SEEN_WAYS,
    STARTED,
    WEIGHT_ONE,
    table_specs,
)
from stream.models.state import State, state_of
from stream.settings import ModelSettings
from stream.tables import Tables

LEARNED = 0
DUPLICATE = 1


class Learner:
    """The tables of one model, and what writes them.

    Args:
        settings: what the model is.
        tables: filled tables to go on from (a restored version); empty ones if none.
    """

    def __init__(self, settings: ModelSettings, tables: Tables | None = None) -> None:
        self.settings = settings
        self.tables = Tables(table_specs(settings)) if tables is None else tables
        self.state = state_of(self.tables)

    def learn(self, columns: Columns) -> NDArray[np.uint8]:
        """Test and learn these events in order; returns what became of each: `LEARNED` or `DUPLICATE`."""
        return learn_batch(self.state, columns, self.settings.repeats == "first")


@nb.njit(cache=True, nogil=True)
def learn_batch(state: State, columns: Columns, only_first: bool) -> NDArray[np.uint8]:
    outcomes = np.zeros(columns.seconds.size, np.uint8)
    state.scalars_dirty[:] = 1
    for event in range(columns.seconds.size):
        if columns.event_ids[event] and not note_event_id(state, columns.event_ids[event]):
            outcomes[event] = DUPLICATE
            continue
        learn_event(state, columns, event, only_first)
    return outcomes


@nb.njit(cache=True, nogil=True)
def learn_event(state: State, columns: Columns, event: int, only_first: bool) -> None:
    seconds = max(1.0, columns.seconds[event])
    if state.scalars[STARTED] == 0:
        state.scalars[STARTED] = 1
        state.scalars[POPULARITY_LANDMARK] = seconds
    start = columns.starts[event]
    size = max(0, columns.starts[event + 1] - start - 1)
    item = items.find_or_add(
        state, columns.items[event, 0], columns.items[event, 1], columns.names, start, size, seconds
    )
    visitor = visitors.find_or_add(state, columns.visitors[event, 0], columns.visitors[event, 1], seconds)
    weight = columns.weights[event] / WEIGHT_ONE
    learned = columns.learned[event] != 0
    if only_first and learned:
        pair = mixed(columns.visitors[event, 0] ^ mixed(columns.items[event, 0]))
        learned = note_seen(state, pair)
    if learned:
        popularity.learn(state, item, seconds, weight)
        state.sums[item, COUNT] = max(0.0, state.sums[item, COUNT] + weight)
        row = state.items[item]
        if row.last_visitor != visitor:
            row.other_seconds = row.last_seconds
            row.last_visitor = visitor
        if seconds > row.last_seconds:
            row.last_seconds = np.uint32(seconds)
        state.items_dirty[2 * item + 1] = 1
    visitors.remember(
        state, visitor, item, seconds, columns.weights[event], columns.kinds[event], np.uint8(learned)
    )
    state.scalars[EVENTS] += 1
    if seconds > state.scalars[CLOCK]:
        state.scalars[CLOCK] = seconds


@nb.njit(cache=True, nogil=True)
def note_event_id(state: State, key: np.uint64) -> bool:
    """Remember an event id in the window; False if it is in there already."""
    ring = state.event_ids.reshape(-1)
    if find_word(state.event_cells, ring, key):
        return False
    place = np.int64(state.scalars[EVENT_IDS_SEEN]) % ring.size
    ring[place] = key
    state.event_ids_dirty[place // 4] = 1
    state.scalars[EVENT_IDS_SEEN] += 1
    enter_word(state.event_cells, state.cells_used, 2, ring, place)
    return True


@nb.njit(cache=True, nogil=True)
def note_seen(state: State, pair: np.uint64) -> bool:
    """Remember that a visitor had an item; False if that is known. The oldest of a set of 8 is forgotten."""
    row = np.int64(pair % np.uint64(state.seen.shape[0]))
    ways = state.seen[row]
    for way in range(SEEN_WAYS):
        if ways[way] == pair:
            return False
    for way in range(SEEN_WAYS - 1, 0, -1):
        ways[way] = ways[way - 1]
    ways[0] = pair
    state.seen_dirty[row] = 1
    return True
