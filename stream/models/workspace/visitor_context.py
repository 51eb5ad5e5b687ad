"""What is known of whoever asks: their history, this session, and what their own events did to the counts.

The own-event correction is the point of half of this file. A visitor's events are in the tables a moment after they
happened, so for the items of this very visit every count is inflated by the visit itself. A ranker that learns on such
features learns to trust them, and fails for a visitor whose events are not learned yet. So for the last twelve learned
events everything they added is worked out again, and the scores leave it out.
"""

from __future__ import annotations

import numpy as np

from stream.models.kernels.compile import inlined, kernel
from stream.models.kernels.row_pool import run_row, run_rows
from stream.models.schema import (
    CLOCK,
    HISTORY_ENTRIES,
    SEEN_WAYS,
    SESSION_ITEMS,
    WEIGHT_ONE,
)
from stream.models.workspace.scoring_view import Reader
from stream.models.workspace.scratch import (
    HISTORY,
    HISTORY_MOST,
    SESSION,
    UNIQUE,
    Work,
    clear,
    local_of,
)

KNOWN_MOST = 100
"""Events of a history that count."""

NOW = 0
ORDINAL = 1
VISITOR = 2
SIMILARITY = 3
SESSION_LENGTH = 4
MOMENT = 5
"""Cells of `facts`. `MOMENT` is when the list is asked for. `NOW` is the time of the last learned event: while nothing
is learned, no item gets older and none less popular than the others, and an event that comes years late is not answered
with counts that have not happened yet."""

# Bits of `flags`.
HAD = 1
EXCLUDED = 2
CHECKED = 4
IN_SESSION = 8


@kernel
def gather_history(
    reader: Reader, work: Work, visitor: int, anonymous: int, session: int, recent: np.ndarray, now: float
) -> None:
    """Fill in history, session and own counts.

    Args:
        visitor: row of the visitor, 0 if unknown.
        anonymous: row of the session as a visitor of its own, whose history joins by time; 0 if there is none.
        session: row of the session, 0 if there is none.
        recent: rows of items that came with the request, newest first.
        now: seconds.
    """
    clear(work)
    work.facts[MOMENT] = now
    work.facts[NOW] = reader.scalars[CLOCK] if reader.scalars[CLOCK] > 0 else now
    work.facts[VISITOR] = visitor
    work.facts[ORDINAL] = 0
    work.facts[SIMILARITY] = 0
    for number in range(min(recent.size, KNOWN_MOST)):
        put(work, recent[number], now, 1.0, 0)
    join(reader, work, visitor, anonymous if anonymous != visitor else 0)
    negated = mark_unique(work)
    take_session(reader, work, session, recent, negated)


@kernel
def put(work: Work, item: int, seconds: float, weight: float, learned: int) -> None:
    at = work.counts[HISTORY]
    if at < HISTORY_MOST and at < KNOWN_MOST:
        work.history_items[at] = item
        work.history_seconds[at] = seconds
        work.history_weights[at] = weight
        work.history_learned[at] = learned
        work.counts[HISTORY] = at + 1


@kernel
def join(reader: Reader, work: Work, first: int, second: int) -> None:
    """Two histories as one, newest first."""
    left = right = np.int64(0)
    one = reader.visitors[reader.visitors_index[first]]
    two = reader.visitors[reader.visitors_index[second]]
    one_count = ring_count(one.history, one.entries) if first else 0
    two_count = ring_count(two.history, two.entries) if second else 0
    while (left < one_count or right < two_count) and work.counts[HISTORY] < KNOWN_MOST:
        take_left = left < one_count
        if take_left and right < two_count:
            mine = reader.history[place_in(reader, one.history, one.entries, left)].seconds
            theirs = reader.history[place_in(reader, two.history, two.entries, right)].seconds
            take_left = mine >= theirs
        if take_left:
            entry = reader.history[place_in(reader, one.history, one.entries, left)]
            left += 1
        else:
            entry = reader.history[place_in(reader, two.history, two.entries, right)]
            right += 1
        if entry.item:
            learned = np.int64(entry.learned) if take_left else 0
            put(work, np.int64(entry.item), np.float64(entry.seconds), entry.weight / WEIGHT_ONE, learned)


@inlined
def ring_count(pointer: np.uint32, entries: np.uint32) -> int:
    if pointer == 0:
        return 0
    return min(np.int64(entries), run_rows(pointer) * HISTORY_ENTRIES)


@inlined
def place_in(reader: Reader, pointer: np.uint32, entries: np.uint32, age: int) -> tuple:
    """Where the entry is that was written `age` entries before the newest."""
    at = (np.int64(entries) - 1 - age) % (run_rows(pointer) * HISTORY_ENTRIES)
    return reader.history_index[run_row(pointer) + at // HISTORY_ENTRIES], at % HISTORY_ENTRIES


@kernel
def mark_unique(work: Work) -> int:
    """Items of the history, each once; those that were last spoken of badly are excluded. Returns how many of these."""
    negated = 0
    for at in range(work.counts[HISTORY]):
        local = local_of(work, work.history_items[at])
        if local < 0:
            continue
        had = work.flags[local] & HAD
        if work.history_weights[at] < 0 and not had:
            work.flags[local] |= HAD | EXCLUDED
            negated += 1
        elif not had:
            work.flags[local] |= HAD
            work.unique[work.counts[UNIQUE]] = work.history_items[at]
            work.unique_of[work.counts[UNIQUE]] = 1
            work.counts[UNIQUE] += 1
        elif not work.flags[local] & EXCLUDED and work.history_weights[at] >= 0:
            for number in range(work.counts[UNIQUE]):
                if work.unique[number] == work.history_items[at]:
                    work.unique_of[number] += 1
                    break
    return negated


@kernel
def take_session(reader: Reader, work: Work, session: int, recent: np.ndarray, negated: int) -> None:
    """Items of this session, newest first, each once; for an empty session the visitor's last three."""
    count = 0
    for number in range(min(recent.size, SESSION_ITEMS)):
        count = put_session(work, recent[number], count)
    if session:
        row = reader.sessions[reader.sessions_index[session]]
        work.facts[ORDINAL] = row.ordinal
        items = reader.session_items[reader.session_items_index[session]]
        for column in range(np.int64(row.items) - 1, -1, -1):
            if items[column]:
                count = put_session(work, np.int64(items[column]), count)
    work.facts[SESSION_LENGTH] = count
    if count == 0:
        for number in range(min(3, work.counts[UNIQUE])):
            work.session[number] = work.unique[number]
            count += 1
    work.counts[SESSION] = count


@kernel
def put_session(work: Work, item: int, count: int) -> int:
    local = local_of(work, item)
    if local < 0 or work.flags[local] & IN_SESSION or (work.flags[local] & EXCLUDED and work.flags[local] & HAD):
        return count
    work.flags[local] |= IN_SESSION
    work.session[count] = item
    return count + 1


@kernel
def was_seen(reader: Reader, pair: np.uint64) -> bool:
    """True if this pair of visitor and item is remembered."""
    ways = reader.seen[reader.seen_index[np.int64(pair % np.uint64(reader.seen_index.size))]]
    for way in range(SEEN_WAYS):
        if ways[way] == pair:
            return True
    return False
