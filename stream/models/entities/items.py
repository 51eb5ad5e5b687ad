"""Items: their rows, their names, and everything that an evicted item leaves.

When rows are short, the weakest items by thirty-day popularity are evicted, a little with every new item. An evicted
item leaves the top lists, the runs that it owned, and every place that points at it, so that the next owner of the row
inherits nothing.

A name is a chain of cells in the table `names`: the first word of a cell is the number of the next, the others hold 28
bytes. Free cells are a chain of the same form.

This file decides how an item gets its row and its name, and what is cleared when it goes. Which row it gets is decided
by `row_lifecycle`, when and which items go by `eviction`.
"""

from __future__ import annotations

import numpy as np

from stream.models.entities import eviction, sessions
from stream.models.entities.eviction import FREE_STEPS, LEAVING, POSITION, WANTED
from stream.models.entities.row_lifecycle import give_back_row, no_row_left, take_row
from stream.models.had import bought_together
from stream.models.kernels.compile import inlined, kernel
from stream.models.kernels.hash_index import enter, find, remove
from stream.models.kernels.marks import mark_block
from stream.models.kernels.row_pool import run_row, run_rows
from stream.models.ranking import item_bias
from stream.models.schema import (
    CELL_WORDS,
    EVICT_ITEMS,
    ITEM_FREE,
    ITEM_ROWS,
    ITEMS_EVICTED,
    ITEMS_LIVE,
    NAME_BYTES,
    NAME_CELLS,
    NAME_CELLS_FREE,
    NAME_FREE,
    RESERVOIR_ROWS,
)
from stream.models.source_names import HALF_LIVES, LONGEST
from stream.models.sources import custom, embedding, pairs, popularity
from stream.models.workspace.learning_view import ITEM_INDEX, State


@kernel
def find_or_add(state, key0, key1, joined, start, size, seconds):
    """The row of an item; an item without a row gets one, and others are evicted for it if necessary.

    Args:
        state: the tables.
        key0, key1: the two halves of its key.
        joined: names of a batch as bytes; that of this item is `size` bytes from `start`.
        start, size: see there.
        seconds: time of the event.
    """
    row = find(state.item_cells, state.items, key0, key1)
    if row:
        eviction.stay(state.items, state.items_dirty, state.items_leaving, state.scalars, EVICT_ITEMS, row)
        return row
    make_room(state)
    row = take_row(state.items, state.scalars, ITEM_ROWS, ITEM_FREE, ITEMS_LIVE)
    item = state.items[row]
    item.key0 = key0
    item.key1 = key1
    item.first_seconds = np.uint32(seconds)
    item.name = keep_name(state, joined, start, size)
    item.name_bytes = size
    state.items_dirty[2 * row] = 1
    state.items_dirty[2 * row + 1] = 1
    enter(state.item_cells, state.cells_used, ITEM_INDEX, state.items, row)
    popularity.note_new(state, row)
    embedding.begin(state, row)
    return row


@kernel
def keep_name(state, joined, start, size):
    """Write a name into a chain of cells, last cell first; returns the first."""
    cells = max(1, -(-size // NAME_BYTES))
    following = 0
    for number in range(cells - 1, -1, -1):
        cell = int(state.scalars[NAME_FREE])
        if cell:
            state.scalars[NAME_FREE] = state.names[cell, 0]
            state.scalars[NAME_CELLS_FREE] -= 1
        else:
            cell = max(1, int(state.scalars[NAME_CELLS]))
            state.scalars[NAME_CELLS] = cell + 1
        state.names[cell, 0] = following
        for word in range(1, CELL_WORDS):
            packed = np.uint32(0)
            for byte in range(4):
                at = number * NAME_BYTES + (word - 1) * 4 + byte
                if at < size:
                    packed |= np.uint32(joined[start + at]) << np.uint32(8 * byte)
            state.names[cell, word] = packed
        mark_block(state.names_dirty, cell)
        following = cell
    return following


@kernel
def drop_name(state, row):
    """Clear the cells of an item's name and put them into the chain of free cells."""
    cell = np.int64(state.items[row].name)
    while cell:
        following = np.int64(state.names[cell, 0])
        state.names[cell] = 0
        state.names[cell, 0] = np.uint32(state.scalars[NAME_FREE])
        mark_block(state.names_dirty, cell)
        state.scalars[NAME_FREE] = cell
        state.scalars[NAME_CELLS_FREE] += 1
        cell = following


@kernel
def make_room(state: State) -> None:
    """Do the part of an eviction that a new row has to do, and all of it if no row is left."""
    if eviction.due(state.items, state.scalars, EVICT_ITEMS, ITEMS_LIVE):
        evict_some(state)
    while no_row_left(state.items, state.scalars, ITEM_ROWS, ITEM_FREE):
        evict_some(state)


@kernel
def evict_some(state):
    """Go on with the eviction of items, or begin one.

    The steps are numbered through: a row of the choice, a visitor's history, an item's pairs, a session, a row of the
    reservoir, a row to be freed.
    """
    scalars = state.scalars
    strengths = state.sums[:, LONGEST]
    if scalars[EVICT_ITEMS + POSITION] == 0:
        eviction.begin(state.items, strengths, scalars, EVICT_ITEMS, ITEMS_LIVE, state.evict_order)
    chosen = state.items.size - 1
    histories = chosen + state.visitors.size
    pairs_end = histories + state.items.size
    sessions_end = pairs_end + state.sessions.size
    reservoir = sessions_end + RESERVOIR_ROWS
    freed = reservoir + state.items.size
    at = np.int64(scalars[EVICT_ITEMS + POSITION]) - 1
    steps = eviction.share(freed - at, scalars, EVICT_ITEMS)
    while steps > 0 and at < freed:
        if at < chosen:
            done = eviction.choose(
                state.items,
                state.items_dirty,
                strengths,
                state.items_leaving,
                scalars,
                EVICT_ITEMS,
                min(steps, chosen - at),
            )
            steps -= max(1, done)
            at += done
            if scalars[EVICT_ITEMS + LEAVING] >= scalars[EVICT_ITEMS + WANTED]:
                at = chosen
            if at == chosen and scalars[EVICT_ITEMS + LEAVING] == 0:
                at = freed
            continue
        if at < histories:
            done = min(steps, histories - at)
            forget_in_histories(state, at - chosen, at - chosen + done)
        elif at < pairs_end:
            done = min(steps, pairs_end - at)
            pairs.forget_others(state, at - histories, at - histories + done)
        elif at < sessions_end:
            done = min(steps, sessions_end - at)
            sessions.forget_items(state, at - pairs_end, at - pairs_end + done)
        elif at < reservoir:
            done = min(steps, reservoir - at)
            embedding.forget_in_reservoir(state, at - sessions_end, at - sessions_end + done)
        else:
            done = 1 if scalars[EVICT_ITEMS + LEAVING] else freed - at
            if done == 1 and free_if_leaving(state, at - reservoir):
                steps -= FREE_STEPS
        at += done
        steps -= done
    scalars[EVICT_ITEMS + POSITION] = at + 1
    if at >= freed:
        eviction.end(scalars, EVICT_ITEMS, scalars[ITEM_FREE] > 0)


@inlined
def free_if_leaving(state: State, row: int) -> bool:
    """Free the row of an item if it is leaving; returns whether it was."""
    leaving = state.items_leaving[row] != 0
    if leaving:
        eviction.stay(state.items, state.items_dirty, state.items_leaving, state.scalars, EVICT_ITEMS, row)
        forget(state, row)
        state.scalars[ITEMS_EVICTED] += 1
    return leaving


@kernel
def forget(state, row):
    """Free an item's row with everything that the row owns. Other rows may go on pointing at it."""
    popularity.forget(state, row)
    pairs.forget(state, row)
    sessions.forget(state, row)
    embedding.forget(state, row)
    item_bias.forget(state, row)
    custom.forget(state, row)
    bought_together.forget(state, row)
    drop_name(state, row)
    state.item_tastes[row] = 0.0
    state.item_tastes_dirty[row] = 1
    state.sums[row] = 0.0
    state.sums_dirty[row] = 1
    item = state.items[row]
    item.name = 0
    item.name_bytes = 0
    item.first_seconds = 0
    item.last_seconds = 0
    item.last_visitor = 0
    item.other_seconds = 0
    for half_life in range(HALF_LIVES):
        item.listed[half_life] = 0
    remove(state.item_cells, state.cells_used, ITEM_INDEX, state.items, row)
    give_back_row(state.items, state.scalars, ITEM_FREE, ITEMS_LIVE, row)
    state.items_dirty[2 * row] = 1
    state.items_dirty[2 * row + 1] = 1


@kernel
def forget_in_histories(state: State, first: int, end: int) -> None:
    """Make entries of leaving items entries of no item, in the histories of these visitors."""
    blocks = state.history_dirty.size // state.history.shape[0]
    per_block = state.history.shape[1] // blocks
    for visitor in range(max(1, first), end):
        pointer = state.visitors[visitor].history
        if pointer:
            for row in range(run_row(pointer), run_row(pointer) + run_rows(pointer)):
                for column in range(state.history.shape[1]):
                    item = state.history[row, column].item
                    if item and state.items_leaving[item]:
                        state.history[row, column].item = 0
                        mark_block(state.history_dirty, row * blocks + column // per_block)
