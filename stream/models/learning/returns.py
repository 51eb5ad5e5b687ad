"""Returns: a return takes back what its purchase gave, where and when it gave it.

The purchase is the newest one of the item in the visitor's history that has weight left. Its entry says when it counted
and with which weight, and the entries before it are the items that it met. So the same amounts are computed again and
subtracted: from decayed counts at the time of the purchase, and from the pairs of the purchase alone. The weight of the
return is the most that is taken. What was taken leaves the entry, so that the next return of the item takes back
another purchase, and corrections for the visitor's own events (`ranking.own_events`) stay right.

If the history has no such purchase (it was overwritten, was made under another visitor, or never arrived), nothing is
taken from any count. The same holds for a part of the purchase: items that it met and that the history no longer has
keep what they got. Vectors, item biases, the ranker and the conversion model learned from the purchase as from any
event; that can't be undone.

This file decides what a return takes back. What it does besides, it does as an event with a negative weight: the item
leaves the visitor's own lists.
"""

from __future__ import annotations

import numpy as np

from stream.models.entities import visitors
from stream.models.event_codes import PURCHASE
from stream.models.kernels.compile import kernel
from stream.models.kernels.row_pool import run_row, run_rows
from stream.models.learning import stream_clock
from stream.models.learning.held_events import entry_at
from stream.models.schema import COUNT, HISTORY_ENTRIES, WEIGHT_ONE
from stream.models.sources import custom, pairs, popularity
from stream.models.sources.pairs import MEETINGS
from stream.models.workspace.learning_view import State


@kernel
def take_back(state: State, visitor: int, item: int, weight: int, met: np.ndarray) -> None:
    """Take back what the visitor's newest purchase of an item gave to counts over all visitors.

    Call it before the return is in the visitor's history.

    Args:
        state: the tables.
        visitor, item: rows.
        weight: the most that is taken, in units of 1/WEIGHT_ONE, above 0.
        met: (MEETINGS,) scratch.
    """
    age = purchase_age(state, visitor, item)
    if age < 0:
        return
    row = state.visitors[visitor]
    at = (np.int64(row.entries) - 1 - age) % (run_rows(row.history) * HISTORY_ENTRIES)
    history_row = run_row(row.history) + at // HISTORY_ENTRIES
    entry = state.history[history_row, at % HISTORY_ENTRIES]
    units = min(np.int64(weight), np.int64(entry.weight))
    entry.weight = np.int16(np.int64(entry.weight) - units)
    visitors.mark(state, history_row, at % HISTORY_ENTRIES)
    if not entry.learned:
        return
    taken = units / WEIGHT_ONE
    counted = stream_clock.moment(state)
    held = entry.seconds > counted
    seconds = counted if held else np.float64(entry.seconds)
    popularity.learn(state, item, seconds, -taken)
    state.sums[item, COUNT] = max(0.0, state.sums[item, COUNT] - taken)
    count = met_before(state, visitor, item, age, met)
    pairs.take_back(state, item, seconds, taken, held, met, count)
    known = 0
    for k in range(count):
        if met[k]:
            met[known] = met[k]
            known += 1
    custom.learn(state, item, visitor, seconds, -taken, met, known)


@kernel
def purchase_age(state: State, visitor: int, item: int) -> int:
    """Number of entries after the visitor's newest purchase of an item that has weight left; -1 if there is none."""
    row = state.visitors[visitor]
    if row.history == 0:
        return -1
    for age in range(min(np.int64(row.entries), run_rows(row.history) * HISTORY_ENTRIES)):
        entry = entry_at(state, visitor, age)
        if entry.item == item and entry.kind == PURCHASE and entry.weight > 0:
            return age
    return -1


@kernel
def met_before(state: State, visitor: int, item: int, age: int, met: np.ndarray) -> int:
    """Fill in the items that the event `age` entries before the newest met, and return their number.

    An item that was evicted since then is 0: its place counts, because later ones got less for it.
    """
    row = state.visitors[visitor]
    count = 0
    for earlier in range(age + 1, min(np.int64(row.entries), run_rows(row.history) * HISTORY_ENTRIES)):
        entry = entry_at(state, visitor, earlier)
        if entry.item != item and entry.weight >= 0:
            met[count] = entry.item
            count += 1
            if count == MEETINGS:
                break
    return count
