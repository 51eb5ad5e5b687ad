"""Sessions: items that were looked at together, kept as neighbours for others.

A session is the one that the event declares, else the visitor. Its row holds up to fifty items, each once, ordered by
when they were last seen. A session's *ordinal* is the number of sessions that had begun when it did, itself included.
Its row is the ordinal modulo the capacity, so the newest session takes the row of the oldest. Each item has a list of
the ordinals of the newest sessions that it was *posted* to (up to 128), as low words (`kernels.ordinals`). An ordinal
that is too old to have a row is recognised by arithmetic alone.

This file decides what a session holds, and which sessions an item can be found by.
"""

from __future__ import annotations

import numpy as np

from stream.models.kernels.compile import inlined, kernel
from stream.models.kernels.hash_index import enter, find, remove
from stream.models.kernels.marks import mark_block
from stream.models.kernels.ordinals import high_word, listed_ordinal, low_word, whole
from stream.models.kernels.row_pool import CLASSES, give_back, ring_row, run_class, run_row, run_rows, take
from stream.models.schema import POOL_POSTINGS, POSTING_ENTRIES, SESSION_ITEMS, SESSIONS_BEGUN
from stream.models.workspace.learning_view import SESSION_INDEX, State

BLOCK_ITEMS = 10
"""Items of a session in one block of the table `session_items`."""

SESSIONS_BETWEEN_DROPS = 1 << 31
"""Sessions after which old entries of the items' lists are dropped: half of what a low word can tell apart. The pass
over all lists takes 50 ms in a million items, once in four hours at 150,000 new sessions/s."""


@kernel
def find_or_add(state: State, key0: np.uint64, key1: np.uint64) -> int:
    """The row of a session; a session that has none, or whose row went to a newer one, gets the next."""
    row = find(state.session_cells, state.sessions, key0, key1)
    if row:
        return row
    ordinal = np.int64(state.scalars[SESSIONS_BEGUN]) + 1
    if ordinal % SESSIONS_BETWEEN_DROPS == 0:
        drop_old_postings(state)
    state.scalars[SESSIONS_BEGUN] = ordinal
    row = ring_row(ordinal, state.sessions.size)
    session = state.sessions[row]
    if session.key0 or session.key1:
        remove(state.session_cells, state.cells_used, SESSION_INDEX, state.sessions, row)
    session.key0 = key0
    session.key1 = key1
    session.ordinal = low_word(ordinal)
    session.ordinal_high = high_word(ordinal)
    session.last_seconds = 0
    for column in range(np.int64(session.items)):
        state.session_items[row, column] = 0
        mark(state, row, column)
    session.items = 0
    state.sessions_dirty[row] = 1
    enter(state.session_cells, state.cells_used, SESSION_INDEX, state.sessions, row)
    return row


@inlined
def mark(state: State, row: int, column: int) -> None:
    """Mark the block of an item of a session as written."""
    mark_block(state.session_items_dirty, row * (SESSION_ITEMS // BLOCK_ITEMS) + column // BLOCK_ITEMS)


@kernel
def learn(state: State, row: int, item: int, seconds: float, posted: bool) -> None:
    """Write an item to the end of a session.

    Args:
        state: the tables.
        row: of the session.
        item: row of the item.
        seconds: time of the event.
        posted: true if others may find the session by the item.
    """
    session = state.sessions[row]
    count = np.int64(session.items)
    at = count
    for column in range(count):
        if state.session_items[row, column] == item:
            at = np.int64(column)
    known = at < count
    if at == SESSION_ITEMS:
        at = np.int64(0)
    last = at
    if known or count == SESSION_ITEMS:
        for column in range(at, count - 1):
            state.session_items[row, column] = state.session_items[row, column + 1]
            mark(state, row, column)
        last = count - 1
    else:
        session.items = count + 1
    state.session_items[row, last] = item
    mark(state, row, last)
    if seconds > session.last_seconds:
        session.last_seconds = np.uint32(seconds)
    state.sessions_dirty[row] = 1
    if posted and not known:
        post(state, item, whole(session.ordinal, session.ordinal_high))


@kernel
def post(state: State, item: int, ordinal: int) -> None:
    """Write a session into the list of an item, over the oldest if the list can't grow."""
    row = state.items[item]
    posted = whole(row.posted, row.posted_high)
    if row.postings == 0:
        row.postings = take(
            state.postings_words, state.postings_dirty, state.scalars, POOL_POSTINGS, state.items.size - 1, 0, 0
        )
        if row.postings == 0:
            return
    length = run_rows(row.postings) * POSTING_ENTRIES
    # If a ring moves when its next position is 0, its entries are in order as they are.
    if run_class(row.postings) + 1 < CLASSES and posted % (4 * length) == length:
        lengthen(state, item)
        length = run_rows(row.postings) * POSTING_ENTRIES
    at = posted % length
    posting_row = run_row(row.postings) + at // POSTING_ENTRIES
    state.postings[posting_row, at % POSTING_ENTRIES] = low_word(ordinal)
    mark_block(state.postings_dirty, posting_row)
    row.posted = low_word(posted + 1)
    row.posted_high = high_word(posted + 1)
    state.items_dirty[2 * item + 1] = 1


@kernel
def drop_old_postings(state: State) -> None:
    """Remove sessions that have no row any more from all lists, so that no word is taken for that of a newer one."""
    begun = np.int64(state.scalars[SESSIONS_BEGUN])
    oldest = begun - (state.sessions.size - 1)
    for item in range(1, state.items.size):
        pointer = state.items[item].postings
        if pointer:
            for row in range(run_row(pointer), run_row(pointer) + run_rows(pointer)):
                for column in range(POSTING_ENTRIES):
                    word = state.postings[row, column]
                    if word and listed_ordinal(word, begun) <= oldest:
                        state.postings[row, column] = 0
                        mark_block(state.postings_dirty, row)


@kernel
def lengthen(state: State, item: int) -> None:
    """Move an item's list into the next longer run. No change if the pool can't spare one."""
    old = state.items[item].postings
    new = take(
        state.postings_words,
        state.postings_dirty,
        state.scalars,
        POOL_POSTINGS,
        state.items.size - 1,
        run_class(old) + 1,
        run_rows(old),
    )
    if new == 0:
        return
    for number in range(run_rows(old)):
        for column in range(POSTING_ENTRIES):
            state.postings[run_row(new) + number, column] = state.postings[run_row(old) + number, column]
        mark_block(state.postings_dirty, run_row(new) + number)
    give_back(state.postings_words, state.postings_dirty, state.scalars, POOL_POSTINGS, old, False)
    state.items[item].postings = new


@kernel
def forget(state: State, item: int) -> None:
    """Free the list of an item that is evicted."""
    pointer = state.items[item].postings
    if pointer:
        give_back(state.postings_words, state.postings_dirty, state.scalars, POOL_POSTINGS, pointer, True)
        state.items[item].postings = 0
    state.items[item].posted = 0
    state.items[item].posted_high = 0


@kernel
def erase(state: State, row: int) -> None:
    """Empty a session. It keeps its ordinal and its row, and no answer finds it as a neighbour any more."""
    for column in range(SESSION_ITEMS):
        state.session_items[row, column] = 0
        mark(state, row, column)
    session = state.sessions[row]
    remove(state.session_cells, state.cells_used, SESSION_INDEX, state.sessions, row)
    session.key0 = 0
    session.key1 = 0
    session.items = 0
    session.last_seconds = 0
    state.sessions_dirty[row] = 1


@kernel
def forget_items(state: State, first: int, end: int) -> None:
    """Take leaving items out of the sessions in these rows."""
    for row in range(max(1, first), end):
        count = np.int64(state.sessions[row].items)
        kept = 0
        for column in range(count):
            item = state.session_items[row, column]
            if not state.items_leaving[item]:
                state.session_items[row, kept] = item
                kept += 1
        if kept < count:
            for column in range(kept, count):
                state.session_items[row, column] = 0
            for column in range(count):
                mark(state, row, column)
            state.sessions[row].items = kept
            state.sessions_dirty[row] = 1
