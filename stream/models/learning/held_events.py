"""Held events: events ahead of the stream clock, until other visitors reach their times or disprove them.

An event ahead of the clock is counted at the clock. In the visitor's history its entry has the event's own time, so the
ages of the visitor's own events are right, and the event can be found again. The visitors of such events are a list:
`held_first` of the clock is the first row, `next_free` of a visitor the next, which only a free row needs otherwise.
So the list is emptied before a row is freed.

- If the clock reaches the events, what they counted is moved to their own times (`confirm`): decayed counts, the times
  of items, visitors and sessions, "now". Then the tables are those of events that were never ahead, but for the last
  bits of sums, for custom sources, and for which pairs and rows made room for others.
- Else their entries are set to the time at which they were counted (`release`).

This file decides what is held, and what changes when it ends. When it ends is decided by `stream_clock`.
"""

from __future__ import annotations

import numpy as np

from stream.models.entities import visitors
from stream.models.kernels.compile import inlined, kernel
from stream.models.kernels.row_pool import CLASSES, run_class, run_row, run_rows
from stream.models.outcomes.conversion import PENDING_SECONDS
from stream.models.schema import CLOCK, HISTORY_ENTRIES, PENDING, PENDING_RESOLVED, PENDING_WRITTEN, WEIGHT_ONE
from stream.models.sources import pairs, popularity
from stream.models.workspace.learning_view import State

LAST = np.uint32(0xFFFFFFFF)
"""`next_free` of the last visitor of the list; 0 stands for a visitor who is not in it."""
OLDER_ENTRIES = 16
"""Entries of a full history that are kept before a held one, because its event is counted as following them."""


@kernel
def hold(state: State, visitor: int, seconds: float, learned: bool, new_item: bool) -> None:
    """Set the newest entry of a visitor's history to its own time, and put the visitor into the list.

    Args:
        state: the tables.
        visitor: row of the visitor.
        seconds: the event's own time.
        learned: False if the event is only context.
        new_item: True if it is the first event of its item, whose age follows the event's own time then.
    """
    row = state.visitors[visitor]
    if row.history == 0:
        return
    at = (np.int64(row.entries) - 1) % (run_rows(row.history) * HISTORY_ENTRIES)
    history_row = run_row(row.history) + at // HISTORY_ENTRIES
    state.history[history_row, at % HISTORY_ENTRIES].seconds = np.uint32(seconds)
    visitors.mark(state, history_row, at % HISTORY_ENTRIES)
    if new_item:
        item = np.int64(state.history[history_row, at % HISTORY_ENTRIES].item)
        state.items[item].first_seconds = np.uint32(seconds)
        state.items_dirty[2 * item] = 1
    clock = state.clock[0]
    if learned:
        clock.held_latest = max(clock.held_latest, seconds)
    if row.next_free:
        return
    row.next_free = LAST
    state.visitors_dirty[visitor] = 1
    if clock.held_first:
        state.visitors[clock.held_last].next_free = np.uint32(visitor)
        state.visitors_dirty[np.int64(clock.held_last)] = 1
    else:
        clock.held_first = np.uint32(visitor)
    clock.held_last = np.uint32(visitor)


@kernel
def confirm(state: State, counted_seconds: float, latest_seconds: float) -> None:
    """Move held events to their own times, and empty the list.

    Args:
        state: the tables.
        counted_seconds: the time at which the events were counted.
        latest_seconds: later events stay where they were counted.
    """
    reached = min(state.clock[0].lead_high, latest_seconds)
    waiting = min(int(state.scalars[PENDING_WRITTEN] - state.scalars[PENDING_RESOLVED]), PENDING)
    for number in range(min(waiting, int(state.clock[0].leads) - 1)):  # the last one ahead is not learned yet
        place = (np.int64(state.scalars[PENDING_WRITTEN]) - 1 - number) % PENDING
        if state.pending[place, PENDING_SECONDS] != counted_seconds:
            break
        state.pending[place, PENDING_SECONDS] = reached
        state.pending_dirty[place] = 1
    visitor = next_visitor(state)
    while visitor:
        recount(state, visitor, counted_seconds, latest_seconds)
        visitor = next_visitor(state)


@kernel
def release(state: State, counted_seconds: float) -> None:
    """Set held events to the time at which they were counted, and empty the list."""
    visitor = next_visitor(state)
    while visitor:
        recount(state, visitor, counted_seconds, 0.0)
        visitor = next_visitor(state)


@kernel
def next_visitor(state: State) -> np.int64:
    """Take the first visitor off the list; 0 if it is empty."""
    clock = state.clock[0]
    clock.held_latest = 0.0
    visitor = np.int64(clock.held_first)
    if visitor:
        following = state.visitors[visitor].next_free
        state.visitors[visitor].next_free = np.uint32(0)
        state.visitors_dirty[visitor] = 1
        clock.held_first = np.uint32(0) if following == LAST else following
    return visitor


@kernel
def recount(state: State, visitor: int, counted_seconds: float, latest_seconds: float) -> None:
    """Move a visitor's held events up to `latest_seconds`, oldest first; set the entries of others back."""
    row = state.visitors[visitor]
    if row.history == 0:
        return
    length = run_rows(row.history) * HISTORY_ENTRIES
    for age in range(min(np.int64(row.entries), length) - 1, -1, -1):
        entry = entry_at(state, visitor, age)
        if entry.seconds <= counted_seconds:
            continue
        if entry.seconds > latest_seconds:
            stay(state, visitor, age, counted_seconds)
            continue
        seconds = np.float64(entry.seconds)
        move_times(state, visitor, entry.seconds, age + 1 == np.int64(row.entries))
        if entry.item and entry.learned:
            item = np.int64(entry.item)
            weight = entry.weight / WEIGHT_ONE
            popularity.move(state, item, counted_seconds, seconds, weight)
            move_item_times(state, item, visitor, entry.seconds)
            learn_fast(state, visitor, age, seconds)
            state.scalars[CLOCK] = max(state.scalars[CLOCK], seconds)


@kernel
def move_times(state: State, visitor: int, seconds: np.uint32, first: bool) -> None:
    """Move the times of a visitor, whose first event this may be, and of their last session."""
    row = state.visitors[visitor]
    if first:
        row.first_seconds = seconds
    row.last_seconds = max(row.last_seconds, seconds)
    state.visitors_dirty[visitor] = 1
    session = state.sessions[row.session]
    if row.session and session.ordinal == row.session_ordinal:
        session.last_seconds = max(session.last_seconds, seconds)
        state.sessions_dirty[np.int64(row.session)] = 1


@kernel
def move_item_times(state: State, item: int, visitor: int, seconds: np.uint32) -> None:
    """Move the times of an item's last events."""
    row = state.items[item]
    row.last_seconds = max(row.last_seconds, seconds)
    if row.last_visitor != visitor:
        row.other_seconds = max(row.other_seconds, seconds)
    state.items_dirty[2 * item + 1] = 1


@kernel
def make_room(state: State, visitor: int, counted_seconds: float) -> None:
    """Let the oldest held event of a visitor stay at the clock, if its entry is about to be overwritten."""
    row = state.visitors[visitor]
    if row.history == 0 or run_class(row.history) + 1 < CLASSES:
        return
    age = run_rows(row.history) * HISTORY_ENTRIES - OLDER_ENTRIES
    if np.int64(row.entries) > age and entry_at(state, visitor, age).seconds > counted_seconds:
        stay(state, visitor, age, counted_seconds)


@kernel
def stay(state: State, visitor: int, age: int, counted_seconds: float) -> None:
    """Set the entry of a held event to the time at which it was counted, and add what was left out."""
    row = state.visitors[visitor]
    at = (np.int64(row.entries) - 1 - age) % (run_rows(row.history) * HISTORY_ENTRIES)
    history_row = run_row(row.history) + at // HISTORY_ENTRIES
    state.history[history_row, at % HISTORY_ENTRIES].seconds = np.uint32(counted_seconds)
    visitors.mark(state, history_row, at % HISTORY_ENTRIES)
    item = np.int64(state.history[history_row, at % HISTORY_ENTRIES].item)
    if item and state.items[item].first_seconds > counted_seconds:
        state.items[item].first_seconds = np.uint32(counted_seconds)
        state.items_dirty[2 * item] = 1
    learn_fast(state, visitor, age, counted_seconds)


@kernel
def learn_fast(state: State, visitor: int, age: int, seconds: float) -> None:
    """Add the fast pair counts of a held event, whose entry is `age` entries before the newest."""
    row = state.visitors[visitor]
    event = entry_at(state, visitor, age)
    if event.item == 0 or not event.learned:
        return
    pairs.keep_landmark_near(state, seconds)
    weight = event.weight / WEIGHT_ONE
    met = 0
    for earlier in range(age + 1, min(np.int64(row.entries), run_rows(row.history) * HISTORY_ENTRIES)):
        entry = entry_at(state, visitor, earlier)
        if entry.item and entry.item != event.item and entry.weight >= 0:
            pairs.learn_fast(state, np.int64(entry.item), np.int64(event.item), seconds, weight / (met + 1))
            met += 1
            if met == pairs.FORWARD_MEETINGS:
                break


@inlined
def entry_at(state: State, visitor: int, age: int) -> np.void:
    """The entry that was written `age` entries before the newest of a visitor."""
    row = state.visitors[visitor]
    at = (np.int64(row.entries) - 1 - age) % (run_rows(row.history) * HISTORY_ENTRIES)
    return state.history[run_row(row.history) + at // HISTORY_ENTRIES, at % HISTORY_ENTRIES]
