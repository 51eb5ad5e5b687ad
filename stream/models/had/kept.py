"""Purchases and dislikes of a visitor, kept apart from the ring of their last events.

A hundred clicks overwrite a ring, and what was bought or turned down must be known longer than that. The visitor's key
gives a set of `KEPT_WAYS` places in `kept_visitors`, and each place has entries of its own in `kept_items`. A visitor
without a place gets a free one of the set, or that of the visitor who bought and disliked nothing for longest. An item
without an entry gets a free one, or the oldest. No table points at these places, so nothing has to be cleared when a
visitor or an item is evicted: a place is found by the visitor's key, and an entry carries a part of the item's.

A purchase takes back a dislike of the item, and so do a like, a cart and a rating of at least the neutral value. A
return leaves the purchase: the visitor had the item. Clicks and views change nothing here and cost nothing.

This file decides what is kept, what is taken back, and who goes if there is no room.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream.models.event_codes import CLICK, OTHER_KIND, PURCHASE, RETURN, VIEW
from stream.models.had.places import check_of, first_row, rows_each, set_of
from stream.models.kernels.compile import inlined, kernel
from stream.models.kernels.marks import mark_block
from stream.models.schema import KEPT_ENTRIES, KEPT_NUMBERED, KEPT_VISITORS, KEPT_WAYS
from stream.models.workspace.learning_view import State
from stream.state.compiled import compiled


@inlined
def may_note(kind: int) -> bool:
    """True if an event of this kind can change what is kept."""
    return kind != CLICK and kind != VIEW and kind != RETURN


@kernel
def note(state: State, key: np.uint64, item: int, seconds: float, weight: int, kind: int) -> None:
    """Keep a purchase or a dislike, or take back a dislike.

    Args:
        state: the tables.
        key: first half of the visitor's key.
        item: row of the item.
        seconds: time of the event.
        weight: its weight; below 0 it is a dislike, unless it is a purchase.
        kind: its kind, one for which `may_note` is true.
    """
    bought = kind == PURCHASE
    disliked = weight < 0 and not bought
    check = check_of(state.items[item].key0)
    if bought or disliked:
        place = place_for(state.kept_visitors, state.kept_items, state.kept_items_dirty, state.scalars, key)
    else:
        place = place_of(state.kept_visitors, key)
    if place == 0 or (kind == OTHER_KIND and not disliked):
        return
    at = entry_of(state.kept_visitors, state.kept_items, place, item, check)
    if at < 0:
        if not (bought or disliked):
            return
        at = oldest_entry(state.kept_visitors, state.kept_items, place)
        entry = state.kept_items[at // KEPT_ENTRIES, at % KEPT_ENTRIES]
        entry.item = item
        entry.check = check
        entry.bought = 0
        entry.disliked = 0
    entry = state.kept_items[at // KEPT_ENTRIES, at % KEPT_ENTRIES]
    moment = np.uint32(max(1.0, seconds))
    if bought:
        entry.bought = max(np.uint32(entry.bought), moment)
    entry.disliked = moment if disliked else np.uint32(0)
    if entry.bought == 0 and entry.disliked == 0:
        entry.item = 0
        entry.check = 0
    mark(state.kept_items, state.kept_items_dirty, at)
    if bought or disliked:
        visitor = state.kept_visitors[place // KEPT_WAYS, place % KEPT_WAYS]
        visitor.seconds = max(np.uint32(visitor.seconds), moment)
        state.kept_visitors_dirty[place] = 1


@inlined
def entries_each(visitors: NDArray, entries: NDArray) -> int:
    """Number of entries of a place."""
    return rows_each(visitors.shape[0], entries.shape[0]) * KEPT_ENTRIES


@inlined
def first_entry(visitors: NDArray, entries: NDArray, place: int) -> int:
    """Number of the first entry of a place."""
    each = rows_each(visitors.shape[0], entries.shape[0])
    return first_row(visitors[place // KEPT_WAYS, place % KEPT_WAYS].entries, place, each) * KEPT_ENTRIES


@inlined
def mark(entries: NDArray, dirty: NDArray[np.uint8], at: int) -> None:
    """Mark the block of an entry as written."""
    blocks = dirty.size // entries.shape[0]
    mark_block(dirty, at // KEPT_ENTRIES * blocks + at % KEPT_ENTRIES * blocks // KEPT_ENTRIES)


@kernel
def place_of(visitors: NDArray, key: np.uint64) -> int:
    """The place of a visitor; 0 if nothing of theirs is kept."""
    row = set_of(visitors.shape[0], key)
    for way in range(KEPT_WAYS):
        if visitors[row, way].key == key:
            return row * KEPT_WAYS + way
    return 0


@kernel
def place_for(
    visitors: NDArray, entries: NDArray, entries_dirty: NDArray[np.uint8], scalars: NDArray, key: np.uint64
) -> int:
    """The place of a visitor, who gets one if need be; what was kept for the one who goes is forgotten.

    The caller marks the visitor's place as written.

    Args:
        visitors, entries: the tables `kept_visitors` and `kept_items`.
        entries_dirty: marks of the entries.
        scalars: the table of the numbers of visitors and of places.
        key: first half of the visitor's key, not 0.
    """
    place = place_of(visitors, key)
    if place:
        return place
    row = set_of(visitors.shape[0], key)
    best = 0
    for way in range(1, KEPT_WAYS):
        free = visitors[row, way].key == 0
        if visitors[row, best].key and (free or visitors[row, way].seconds < visitors[row, best].seconds):
            best = way
    place = row * KEPT_WAYS + best
    if visitors[row, best].key:
        forget_place(visitors, entries, entries_dirty, place)
    else:
        if visitors[row, best].entries == 0 and (scalars[KEPT_NUMBERED] or not scalars[KEPT_VISITORS]):
            scalars[KEPT_NUMBERED] += 1
            visitors[row, best].entries = np.uint32(scalars[KEPT_NUMBERED])
        scalars[KEPT_VISITORS] += 1
    visitors[row, best].key = key
    return place


@kernel
def forget_place(visitors: NDArray, entries: NDArray, entries_dirty: NDArray[np.uint8], place: int) -> None:
    """Clear a place, but for the number of its entries, and clear these; the caller marks the place as written."""
    visitor = visitors[place // KEPT_WAYS, place % KEPT_WAYS]
    visitor.key = 0
    visitor.seconds = 0
    start = first_entry(visitors, entries, place)
    for at in range(start, start + entries_each(visitors, entries)):
        entry = entries[at // KEPT_ENTRIES, at % KEPT_ENTRIES]
        if entry.item:
            entry.item = 0
            entry.check = 0
            entry.bought = 0
            entry.disliked = 0
            mark(entries, entries_dirty, at)


@kernel
def entry_of(visitors: NDArray, entries: NDArray, place: int, item: int, check: int) -> int:
    """The number of the entry of an item in a place; -1 if there is none."""
    start = first_entry(visitors, entries, place)
    for at in range(start, start + entries_each(visitors, entries)):
        entry = entries[at // KEPT_ENTRIES, at % KEPT_ENTRIES]
        if entry.item == item and entry.check == check:
            return at
    return -1


@kernel
def oldest_entry(visitors: NDArray, entries: NDArray, place: int) -> int:
    """The number of a free entry of a place, or of the one whose latest time is the earliest."""
    best = start = first_entry(visitors, entries, place)
    least = np.int64(1) << 40
    for at in range(start, start + entries_each(visitors, entries)):
        entry = entries[at // KEPT_ENTRIES, at % KEPT_ENTRIES]
        latest = max(np.int64(entry.bought), np.int64(entry.disliked))
        if latest < least:
            least = latest
            best = at
    return best


@kernel
def erase(state: State, key: np.uint64) -> bool:
    """Forget the purchases and dislikes of a visitor; returns whether there were any."""
    place = place_of(state.kept_visitors, key)
    if place == 0:
        return False
    forget_place(state.kept_visitors, state.kept_items, state.kept_items_dirty, place)
    state.kept_visitors_dirty[place] = 1
    state.scalars[KEPT_VISITORS] -= 1
    return True


@compiled
def copy_kept(
    visitors: NDArray,
    entries: NDArray,
    scalars: NDArray,
    old_visitors: NDArray,
    old_visitors_index: NDArray[np.int32],
    old_entries: NDArray,
    old_entries_index: NDArray[np.int32],
    items: NDArray[np.int64],
) -> None:
    """Bring what is kept into tables of another size, or to what another shard kept.

    Where a visitor or an item is in both, the later time counts.

    Args:
        visitors, entries: the tables to write to; their marks stay as they are.
        scalars: the table of the numbers of visitors and of places.
        old_visitors, old_visitors_index: the table of visitors to read; row r is `old_visitors[old_visitors_index[r]]`.
        old_entries, old_entries_index: that of their items.
        items: by row of an item there, its row here, 0 if it has none.
    """
    unmarked = np.zeros(entries.size, np.uint8)
    old_rows = rows_each(old_visitors_index.size, old_entries_index.size)
    for old_place in range(KEPT_WAYS, old_visitors_index.size * KEPT_WAYS):
        visitor = old_visitors[old_visitors_index[old_place // KEPT_WAYS], old_place % KEPT_WAYS]
        if visitor.key == 0 or not outlives(visitors, visitor.key, visitor.seconds):
            continue
        place = place_for(visitors, entries, unmarked, scalars, visitor.key)
        here = visitors[place // KEPT_WAYS, place % KEPT_WAYS]
        here.seconds = max(np.uint32(here.seconds), np.uint32(visitor.seconds))
        start = first_row(visitor.entries, old_place, old_rows)
        for old_row in range(start, start + old_rows):
            for column in range(KEPT_ENTRIES):
                old = old_entries[old_entries_index[old_row], column]
                item = items[np.int64(old.item)] if np.int64(old.item) < items.size else 0
                if item:
                    copy_entry(visitors, entries, place, old, item)


@inlined
def outlives(visitors: NDArray, key: np.uint64, seconds: int) -> bool:
    """True if a visitor has a place or may get one: theirs is later than the earliest of a full set."""
    row = set_of(visitors.shape[0], key)
    may = False
    for way in range(KEPT_WAYS):
        other = visitors[row, way]
        may = may or other.key == 0 or other.key == key or other.seconds < seconds
    return may


@inlined
def copy_entry(visitors, entries, place, old, item):
    """Bring an entry to the place of its visitor, over the oldest entry if that is older."""
    at = entry_of(visitors, entries, place, item, old.check)
    if at < 0:
        at = oldest_entry(visitors, entries, place)
        found = entries[at // KEPT_ENTRIES, at % KEPT_ENTRIES]
        if max(np.int64(found.bought), np.int64(found.disliked)) < max(np.int64(old.bought), np.int64(old.disliked)):
            found.item = item
            found.check = old.check
            found.bought = old.bought
            found.disliked = old.disliked
        return
    found = entries[at // KEPT_ENTRIES, at % KEPT_ENTRIES]
    found.bought = max(np.uint32(found.bought), np.uint32(old.bought))
    found.disliked = max(np.uint32(found.disliked), np.uint32(old.disliked))
    if found.disliked and found.bought > found.disliked:
        found.disliked = 0
