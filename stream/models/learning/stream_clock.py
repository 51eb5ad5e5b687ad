"""Stream clock: the time that decay, landmarks and "now" follow, made from the log alone.

Times of events come from producers, and a producer's clock can be wrong. If the latest time decided, one record that is
ten years ahead would make every other count weigh nothing for ten years. So the clock is the second-largest time among
visitors: a time counts only as far as another visitor has reached it as well.

An event may lead the clock by a *tolerance*: five minutes and eight times the mean step of the clock, so that a stream
with one visitor an hour has a wider one than a stream with a hundred a second. Within it, and anywhere behind the
clock, an event counts at its own time. An event beyond it is *ahead*: it is learned as any other, at the clock instead
of at its own time, and the caller counts it. Only a test of its visitor takes place at the event's own time.

Events that are ahead are evidence that the clock has fallen behind. An event that moves the clock on disproves them,
and so does, as long as they come from one visitor, any other event near the clock. Else the clock follows, and what
the events counted is moved to their own times (`held_events`), as if they had never been ahead:

- if several visitors are ahead, and their times span a twenty-thousandth of the gap: after a quiet night (1.4 seconds
  for eight hours) or a closed shop (43 seconds for ten days). The clock goes to what all have reached. A producer that
  writes for many visitors ten years ahead would have to be alone on the partition for more than four hours. (With a
  five-hundredth, the first orders of each morning counted at the evening before, which cost 0.0003 of HR@10 on Online
  Retail.)
- if one visitor is ahead `LONE_EVENTS` times in a row, over a twentieth of the gap: there is no other visitor. The
  clock follows this one, by up to a day at a time, until another comes. A visitor who is the only one in the state
  is followed from the first event and without a bound, because there is nothing else that could decay.

While the clock *rests on one visitor*, after the second case and at the start of a stream, or on a version from before
there was a stream clock, less is needed: two other visitors who are ahead move it on. Others who are all behind are
believed instead, once they are most of the visitors in the state, or `FAR_VISITORS` at a distance of `FAR_SECONDS`;
then everything that was counted is moved back with the clock (`move_back`). In no other case does the clock go back.

Everything here is part of the state (table `clock`), so a replay decides the same, and a restored shard goes on as if
it had never been away. As long as every event of the other visitors is within five minutes of a time that two of them
have reached, they count at the same times with and without any one visitor;
`tests/stream/models/learning/test_stream_clock.py` tests this.

This file decides what time it is, and at which time an event counts.
"""

from __future__ import annotations

import numpy as np

from stream.models.entities import visitors
from stream.models.kernels.compile import inlined, kernel
from stream.models.learning import held_events
from stream.models.outcomes.conversion import PENDING_SECONDS
from stream.models.schema import CLOCK, FAST_LANDMARK, HISTORY_ENTRIES, POPULARITY_LANDMARK, STARTED, VISITORS_LIVE
from stream.models.workspace.learning_view import State

LEAD_SECONDS = 300.0
"""Tolerance of a stream whose clock steps often. With a half-life of 20 minutes, an event that leads by it weighs 1.19
times as much as one at the clock."""
LEAD_STEPS = 8.0
"""Mean steps of the clock that are added to the tolerance."""
LONGEST_STEP_SECONDS = 3600.0
"""A longer step counts as this in the mean: one night does not make a tolerance of a day."""
STEPS = 32
"""Memory of the mean, in steps."""

SPAN_SHARE = 1 / 20_000
LONGEST_SPAN_SECONDS = 6 * 3600.0
"""Part of a gap that the times of several visitors have to span before the clock follows them, and the most of it."""
LONE_SHARE = 1 / 20
LONGEST_LONE_SPAN_SECONDS = 86_400.0
LONE_EVENTS = 64
"""Part of a gap, and the most of it, for a single visitor, and the number of events that it takes."""
MAX_LEADS = 0xFFFFFFFF
"""The count stops here: it is only compared with `LONE_EVENTS`, and 0 would mean that no event is ahead."""
LONE_STEP_SECONDS = 86_400.0
"""The largest step that the clock takes with one event of a single visitor, if others are in the state."""

FAR_VISITORS = 64
FAR_SECONDS = 7 * 86_400.0
"""Changes of visitor in a row, that far behind, after which they are believed instead of the clock. An event a week
back adds 2^-504 to a count of 20 minutes, which can't be compared with one at the clock."""


@kernel
def observe(state: State, visitor: np.uint64, seconds: float) -> float:
    """Take note of an event, and return the time at which it counts: its own, or the clock's if it is ahead.

    Args:
        state: the tables.
        visitor: first half of the visitor's key.
        seconds: the event's own time.
    """
    clock = state.clock[0]
    state.clock_dirty[0] = 1
    if clock.seconds == 0.0:
        begin(state, visitor, seconds)
    if clock.lone_visitor:
        if clock.lone_visitor == visitor:
            if follows(state, seconds):
                if seconds > clock.seconds:
                    clock.seconds = seconds
                    clock.latest_seconds = seconds
                return seconds
        else:
            clock.lone_visitor = 0
    if seconds > clock.seconds + tolerance(state):
        if not believe(state, visitor, seconds):
            return moment(state)
    elif seconds >= clock.seconds - tolerance(state):
        if visitor != clock.latest_visitor:
            clock.confirmed = 1
            clock.behind = 0
        if clock.leads and clock.lead_visitors == 1 and visitor != clock.lead_visitor:
            give_up_leads(state)
    elif not clock.confirmed and disproves(state, visitor, seconds):
        move_back(state, seconds)
    claim(state, visitor, seconds)
    return seconds


@kernel
def counted_at(state: State, seconds: float) -> float:
    """The time at which an event would count if the clock took no note of it."""
    clock = state.clock[0]
    if clock.seconds == 0.0 or clock.lone_visitor or seconds <= clock.seconds + tolerance(state):
        return seconds
    return moment(state)


@inlined
def latest_seen(state: State) -> float:
    """Own time of the latest learned event, be it held or not: "now" of a visitor who is ahead as well."""
    return max(state.scalars[CLOCK], state.clock[0].held_latest)


@inlined
def moment(state: State) -> float:
    """The time at which events that are ahead count: the latest that was learned, or the clock if that is later."""
    return max(state.clock[0].seconds, state.scalars[CLOCK])


@inlined
def tolerance(state: State) -> float:
    """Largest lead over the clock, in seconds, with which an event counts at its own time."""
    return LEAD_SECONDS + LEAD_STEPS * state.clock[0].step


@kernel
def begin(state: State, visitor: np.uint64, seconds: float) -> None:
    """Set the clock: to the latest event of a version that has none yet, else to the first event of the stream."""
    clock = state.clock[0]
    if state.scalars[CLOCK] > 0.0:
        clock.seconds = state.scalars[CLOCK]
    else:
        clock.seconds = max(1.0, seconds)
        clock.latest_visitor = visitor
        clock.lone_visitor = visitor
    clock.latest_seconds = clock.seconds


@inlined
def follows(state: State, seconds: float) -> bool:
    """True if the clock follows its single visitor to this time."""
    only_one = state.scalars[VISITORS_LIVE] <= 1
    return only_one or seconds <= state.clock[0].seconds + max(tolerance(state), LONE_STEP_SECONDS)


@kernel
def claim(state: State, visitor: np.uint64, seconds: float) -> None:
    """Count the time of a visitor: the clock goes to the second-largest."""
    clock = state.clock[0]
    if visitor == clock.latest_visitor:
        clock.latest_seconds = max(clock.latest_seconds, seconds)
        return
    second = min(seconds, clock.latest_seconds)
    if seconds > clock.latest_seconds:
        clock.latest_visitor = visitor
        clock.latest_seconds = seconds
    if second > clock.seconds:
        step_to(state, second)


@inlined
def step_to(state: State, seconds: float) -> None:
    """Move the clock forward. Time goes on, so whatever was ahead before is no evidence any more."""
    give_up_leads(state)
    clock = state.clock[0]
    clock.step += (min(seconds - clock.seconds, LONGEST_STEP_SECONDS) - clock.step) / STEPS
    clock.seconds = seconds


@inlined
def give_up_leads(state: State) -> None:
    """Drop the events that are ahead in a row as evidence. Those that are still held count where they were counted."""
    state.clock[0].leads = 0
    if state.clock[0].held_first:
        held_events.release(state, moment(state))


@kernel
def believe(state: State, visitor: np.uint64, seconds: float) -> bool:
    """Take an event beyond the tolerance as evidence, and move the clock if it is enough.

    Returns:
        True if the event is no longer ahead.
    """
    clock = state.clock[0]
    note_lead(state, visitor, seconds)
    gap = clock.lead_low - clock.seconds
    span = clock.lead_high - clock.lead_low
    if clock.lead_visitors > 1:
        if not clock.confirmed or span >= min(SPAN_SHARE * gap, LONGEST_SPAN_SECONDS):
            reached = max(clock.lead_low, min(clock.lead_reached, clock.others_low))
            held_events.confirm(state, moment(state), reached + tolerance(state))
            step_to(state, reached)
            clock.latest_visitor = 0
            clock.latest_seconds = reached
            clock.confirmed = 1
            clock.behind = 0
            if seconds <= clock.seconds + tolerance(state):
                return True
            note_lead(state, visitor, seconds)
    elif clock.leads >= LONE_EVENTS and span >= min(LONE_SHARE * gap, LONGEST_LONE_SPAN_SECONDS):
        held_events.confirm(state, moment(state), seconds)
        step_to(state, seconds)
        clock.latest_visitor = visitor
        clock.latest_seconds = seconds
        clock.lone_visitor = visitor
        clock.confirmed = 0
        clock.behind = 0
        return True
    return False


@kernel
def note_lead(state: State, visitor: np.uint64, seconds: float) -> None:
    """Add an event to those that are ahead in a row."""
    clock = state.clock[0]
    if clock.leads == 0:
        clock.lead_visitor = visitor
        clock.lead_visitors = 1
        clock.lead_low = seconds
        clock.lead_high = seconds
        clock.lead_reached = seconds
        clock.others_low = 0.0
    elif visitor == clock.lead_visitor:
        clock.lead_reached = max(clock.lead_reached, seconds)
    else:
        clock.others_low = seconds if clock.lead_visitors == 1 else min(clock.others_low, seconds)
        clock.lead_visitors = 2
    clock.leads = min(np.int64(clock.leads) + 1, MAX_LEADS)
    clock.lead_low = min(clock.lead_low, seconds)
    clock.lead_high = max(clock.lead_high, seconds)


@kernel
def disproves(state: State, visitor: np.uint64, seconds: float) -> bool:
    """Take an event far behind a clock that rests on one visitor as evidence against it; True if it is enough."""
    clock = state.clock[0]
    if visitor == clock.latest_visitor:
        return False
    if clock.behind == 0 or visitor != clock.behind_visitor:
        clock.behind += 1
        clock.behind_visitor = visitor
    if clock.behind > 1 and 2 * clock.behind > state.scalars[VISITORS_LIVE]:
        return True
    return clock.behind >= FAR_VISITORS and clock.seconds - seconds > FAR_SECONDS


@kernel
def move_back(state: State, seconds: float) -> None:
    """Set the clock back to this time, and everything that was counted with it. No stored time is later afterwards."""
    give_up_leads(state)
    clock = state.clock[0]
    lead = clock.seconds - seconds
    if state.scalars[STARTED]:
        state.scalars[POPULARITY_LANDMARK] -= lead
        state.scalars[FAST_LANDMARK] -= lead
    state.scalars[CLOCK] = min(state.scalars[CLOCK], seconds)
    clock.seconds = seconds
    clock.latest_visitor = 0
    clock.latest_seconds = seconds
    clock.behind = 0
    cut_times(state, np.uint32(seconds))


@kernel
def cut_times(state: State, latest: np.uint32) -> None:
    """Set every stored time that is later than this to it."""
    for row in range(1, state.items.size):
        item = state.items[row]
        if item.first_seconds > latest or item.last_seconds > latest or item.other_seconds > latest:
            item.first_seconds = min(item.first_seconds, latest)
            item.last_seconds = min(item.last_seconds, latest)
            item.other_seconds = min(item.other_seconds, latest)
            state.items_dirty[2 * row] = 1
            state.items_dirty[2 * row + 1] = 1
    for row in range(1, state.visitors.size):
        if state.visitors[row].last_seconds > latest:
            state.visitors[row].first_seconds = min(state.visitors[row].first_seconds, latest)
            state.visitors[row].last_seconds = latest
            state.visitors_dirty[row] = 1
    for row in range(1, state.sessions.size):
        if state.sessions[row].last_seconds > latest:
            state.sessions[row].last_seconds = latest
            state.sessions_dirty[row] = 1
    for row in range(1, state.history.shape[0]):
        for column in range(HISTORY_ENTRIES):
            if state.history[row, column].seconds > latest:
                state.history[row, column].seconds = latest
                visitors.mark(state, row, column)
    for row in range(state.pending.shape[0]):
        if state.pending[row, PENDING_SECONDS] > latest:
            state.pending[row, PENDING_SECONDS] = latest
            state.pending_dirty[row] = 1


@kernel
def forget(state: State, visitor: np.uint64) -> None:
    """Remove a visitor's key from the clock. The time that it reached stays, because it names no person."""
    clock = state.clock[0]
    state.clock_dirty[0] = 1
    if clock.latest_visitor == visitor:
        clock.latest_visitor = 0
    if clock.lone_visitor == visitor:
        clock.lone_visitor = 0
    if clock.behind_visitor == visitor:
        clock.behind_visitor = 0
        clock.behind = 0
    if clock.lead_visitor == visitor:
        clock.lead_visitor = 0
        clock.leads = 0
    if clock.held_first:
        held_events.release(state, moment(state))
