"""History and session of the visitor that a list is for.

This file decides which events of the visitor count for a list, in which order, and which items are its session. The
corrections for the visitor's own events are in `ranking/own_events.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from stream.models.kernels.compile import inlined, kernel
from stream.models.kernels.ordinals import whole
from stream.models.kernels.row_pool import run_row, run_rows
from stream.models.schema import CLOCK, HISTORY_ENTRIES, SEEN_WAYS, SESSION_ITEMS, WEIGHT_ONE
from stream.models.workspace.scoring_view import Reader
from stream.models.workspace.scratch import (
    EXCLUDED,
    HAD,
    HISTORY,
    HISTORY_MOST,
    IN_SESSION,
    SESSION,
    UNIQUE,
    Work,
    clear,
    local_of,
)

KNOWN_MOST = 100
"""Events of a history that count."""
PAST_ITEMS = 3
"""Items of the history that stand in for an empty session."""


@kernel
def gather_history(
    reader: Reader, work: Work, visitor: int, anonymous: int, session: int, recent: np.ndarray, now: float
) -> None:
    """Fill in history and session.

    Args:
        visitor: row of the visitor, 0 if unknown.
        anonymous: row of the session as a visitor of its own, whose history is merged by time; 0 if there is none.
        session: row of the session, 0 if there is none.
        recent: rows of items that came with the request, newest first.
        now: the time at which the list is asked for, in seconds.
    """
    clear(work)
    visit = work.visit[0]
    visit.moment = now
    visit.now = reader.scalars[CLOCK] if reader.scalars[CLOCK] > 0 else now
    visit.visitor = visitor
    visit.ordinal = 0
    visit.similarity = 0
    for number in range(min(recent.size, KNOWN_MOST)):
        put(work, recent[number], now, 1.0, 0)
    join(reader, work, visitor, anonymous if anonymous != visitor else 0)
    mark_unique(work)
    take_session(reader, work, session, recent)


@kernel
def put(work: Work, item: int, seconds: float, weight: float, learned: int) -> None:
    """Append an event to the history, as long as there is room."""
    at = work.counts[HISTORY]
    if at < HISTORY_MOST and at < KNOWN_MOST:
        work.history_items[at] = item
        work.history_seconds[at] = seconds
        work.history_weights[at] = weight
        work.history_learned[at] = learned
        work.counts[HISTORY] = at + 1


@kernel
def join(reader: Reader, work: Work, first: int, second: int) -> None:
    """Append two visitors' histories to that in `work`, merged by time, newest first; 0 stands for no visitor."""
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
def is_session(visitor: Any, session: Any) -> bool:
    """True if a row of `sessions` is still that of the visitor's last session, and not of a newer one."""
    same = session.ordinal == visitor.session_ordinal
    return same and session.ordinal_high == visitor.session_ordinal_high


@inlined
def ring_count(pointer: np.uint32, entries: np.uint32) -> int:
    if pointer == 0:
        return 0
    return min(np.int64(entries), run_rows(pointer) * HISTORY_ENTRIES)


@inlined
def place_in(reader: Reader, pointer: np.uint32, entries: np.uint32, age: int) -> tuple:
    """Row and column of the entry that was written `age` entries before the newest."""
    at = (np.int64(entries) - 1 - age) % (run_rows(pointer) * HISTORY_ENTRIES)
    return reader.history_index[run_row(pointer) + at // HISTORY_ENTRIES], at % HISTORY_ENTRIES


@kernel
def mark_unique(work: Work) -> None:
    """Fill in `unique` from the history. Items whose newest event has a negative weight are excluded instead."""
    for at in range(work.counts[HISTORY]):
        local = local_of(work, work.history_items[at])
        if local < 0:
            continue
        had = work.flags[local] & HAD
        if work.history_weights[at] < 0 and not had:
            work.flags[local] |= HAD | EXCLUDED
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


@kernel
def take_session(reader: Reader, work: Work, session: int, recent: np.ndarray) -> None:
    """Fill in `session` with the items of this session, newest first, each once.

    An empty session gets the visitor's last items instead; its length stays 0.
    """
    count = 0
    for number in range(min(recent.size, SESSION_ITEMS)):
        count = put_session(work, recent[number], count)
    if session:
        row = reader.sessions[reader.sessions_index[session]]
        work.visit[0].ordinal = whole(row.ordinal, row.ordinal_high)
        items = reader.session_items[reader.session_items_index[session]]
        for column in range(np.int64(row.items) - 1, -1, -1):
            if items[column]:
                count = put_session(work, np.int64(items[column]), count)
    work.visit[0].session_length = count
    if count == 0:
        for number in range(min(PAST_ITEMS, work.counts[UNIQUE])):
            work.session[number] = work.unique[number]
            count += 1
    work.counts[SESSION] = count


@kernel
def put_session(work: Work, item: int, count: int) -> int:
    """Append an item to the session, whose length is `count`, unless it is there or turned down; returns the length."""
    local = local_of(work, item)
    if local < 0 or work.flags[local] & IN_SESSION or (work.flags[local] & EXCLUDED and work.flags[local] & HAD):
        return count
    work.flags[local] |= IN_SESSION
    work.session[count] = item
    return count + 1


@kernel
def was_seen(reader: Reader, pair: np.uint64) -> bool:
    """True if this pair of visitor and item, one hash of both keys, is in the table `seen`."""
    ways = reader.seen[reader.seen_index[np.int64(pair % np.uint64(reader.seen_index.size))]]
    for way in range(SEEN_WAYS):
        if ways[way] == pair:
            return True
    return False
