"""Items that are wanted on this day of the week: the day's share of the item's events.

Time of use as a context of recommendation: Campos, Díez and Cantador, "Time-aware recommender systems: a comprehensive
survey and analysis of existing evaluation protocols", User Modeling and User-Adapted Interaction 24, 2014.

This file decides what an event adds to an item's seven counts, and how they become a score.
"""

import numpy as np

from stream.models.kernels.compile import inlined, kernel
from stream.models.workspace.scratch import LOCAL

COLUMNS = 7
"""Numbers for each item: the weight of its events by day of the week, Monday first, in UTC."""
PROPOSES = 20
"""The best items of this source that become candidates."""
SHRINK = 5.0
"""Events without a day that every item is given, so that one event is no certainty."""


@inlined
def day_of(seconds):
    """Day of the week of a moment, 0 for Monday. The first of January 1970 was a Thursday."""
    return (np.int64(seconds // 86_400) + 3) % 7


@kernel
def learn(state, item, visitor, seconds, weight, met, count):
    """Add an event to its day. Counts stay at 0 or above: a dislike or a return has a negative weight."""
    day = day_of(seconds)
    state.weekday[item, day] = max(0.0, state.weekday[item, day] + weight)
    state.weekday_dirty[item] = 1


@kernel
def score(reader, work, values):
    """Score the items that the list has touched."""
    day = day_of(work.visit[0].moment)
    for local in range(work.counts[LOCAL]):
        counts = reader.weekday[reader.weekday_index[work.items[local]]]
        total = SHRINK
        for other in range(COLUMNS):
            total += counts[other]
        values[local] = counts[day] / total


@kernel
def forget(state, item):
    """Empty the row of an evicted item."""
    state.weekday[item] = 0
    state.weekday_dirty[item] = 1
