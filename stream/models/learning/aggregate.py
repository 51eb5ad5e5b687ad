"""Aggregate events: the item is counted, and nothing is kept under the visitor.

A visitor may agree to be counted and not to be remembered (`stream.values.Consent`). Of such an event only these move:

- the row and the name of its item, with the times of the item's first and last events;
- the decayed counts and the plain count of the item, and the lists of popular, trending and newest items;
- the time of the latest event, and the stream clock, in which all aggregate events are those of one unnamed visitor;
- the window of event ids, if the event has an id, so that an event that comes again counts once.

Visitors and their histories, sessions, remembered items, pairs, vectors, columns of custom sources, tests, the ranker,
the conversion model and the ratings model stay as they are. Three things follow, because a visitor would have to be
known for them: an event ahead of the stream clock stays where it was counted, a return takes nothing back, and every
event counts with `repeats = first`.

This file decides which tables an aggregate event changes.
"""

from __future__ import annotations

import numpy as np

from stream.models.batch import EventBatch
from stream.models.entities import items
from stream.models.event_codes import RETURN
from stream.models.kernels.compile import inlined, kernel
from stream.models.learning import stream_clock
from stream.models.schema import CLOCK, COUNT, FAST_LANDMARK, POPULARITY_LANDMARK, STARTED, WEIGHT_ONE
from stream.models.sources import popularity
from stream.models.workspace.learning_view import State

UNNAMED = np.uint64(0x6167_6772_6567_6174)
"""Key under which the stream clock takes all aggregate events. It is a constant, so it names no person."""


@kernel
def learn(state: State, batch: EventBatch, event: int) -> float:
    """Count an event for its item.

    Args:
        state: the tables.
        batch: the events.
        event: number of the event in the batch.

    Returns:
        The time at which it counts: its own, or that of the stream clock if it is ahead.
    """
    counted = stream_clock.observe(state, UNNAMED, batch.seconds[event])
    weight = batch.weights[event] / WEIGHT_ONE
    if batch.kinds[event] == RETURN and weight < 0:
        return counted
    seconds = max(1.0, counted)
    begin_counts(state, seconds)
    start = batch.starts[event]
    size = max(0, batch.starts[event + 1] - start - 1)
    item = items.find_or_add(state, batch.items[event, 0], batch.items[event, 1], batch.names, start, size, seconds)
    popularity.learn(state, item, seconds, weight)
    state.sums[item, COUNT] = max(0.0, state.sums[item, COUNT] + weight)
    row = state.items[item]
    row.other_seconds = row.last_seconds
    row.last_visitor = 0
    if seconds > row.last_seconds:
        row.last_seconds = np.uint32(seconds)
    state.items_dirty[2 * item + 1] = 1
    state.scalars[CLOCK] = max(state.scalars[CLOCK], seconds)
    return counted


@inlined
def begin_counts(state: State, seconds: float) -> None:
    """Set the landmarks of decayed counts at the first event of a model."""
    if state.scalars[STARTED] == 0:
        state.scalars[STARTED] = 1
        state.scalars[POPULARITY_LANDMARK] = seconds
        state.scalars[FAST_LANDMARK] = seconds
