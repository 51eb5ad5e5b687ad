"""Items: their rows, their names, and everything that an evicted item leaves.

If all rows (or all cells of names) are in use, the weakest items by thirty-day popularity are evicted in one batch. An
evicted item leaves the top lists, the runs that it owned, and every place that points at it, so that the next owner of
the row inherits nothing.

A name is a chain of cells in the table `names`: the first word of a cell is the number of the next, the others hold 28
bytes. Free cells are a chain of the same form.

This file decides how an item gets its row and its name, and what is cleared when it goes. The order in which rows are
handed out and evicted is decided by `row_lifecycle`.
"""

from __future__ import annotations

import numpy as np

from stream.models.entities import sessions
from stream.models.entities.row_lifecycle import flag_weakest, give_back_row, no_row_left, take_row
from stream.models.kernels.compile import kernel
from stream.models.kernels.hash_index import enter, find
from stream.models.kernels.row_pool import run_row, run_rows
from stream.models.ranking import item_bias
from stream.models.schema import (
    CELL_WORDS,
    ITEM_FREE,
    ITEM_ROWS,
    ITEMS_EVICTED,
    ITEMS_LIVE,
    NAME_BYTES,
    NAME_CELLS,
    NAME_CELLS_FREE,
    NAME_FREE,
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
        return row
    cells = max(1, -(-size // NAME_BYTES))
    while no_row_left(state.items, state.scalars, ITEM_ROWS, ITEM_FREE) or name_cells_left(state) < cells:
        evict(state)
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
def name_cells_left(state):
    """The number of cells that a new name can be written to."""
    used = max(1, int(state.scalars[NAME_CELLS]))
    return state.names.shape[0] - used + int(state.scalars[NAME_CELLS_FREE])


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
        state.names_dirty[cell] = 1
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
        state.names_dirty[cell] = 1
        state.scalars[NAME_FREE] = cell
        state.scalars[NAME_CELLS_FREE] += 1
        cell = following


@kernel
def evict(state):
    """Free the rows of the weakest items, and clear everything that points at them."""
    rows = int(state.scalars[ITEM_ROWS])
    evict_flags = state.evict_flags
    evicted = flag_weakest(state.items, state.sums[:, LONGEST], rows, evict_flags, state.evict_order)
    for row in range(rows - 1, 0, -1):
        if evict_flags[row]:
            forget(state, row)
    state.scalars[ITEMS_EVICTED] += evicted
    forget_in_histories(state, evict_flags)
    pairs.forget_others(state, evict_flags)
    sessions.forget_items(state, evict_flags)
    embedding.forget_in_reservoir(state, evict_flags)


@kernel
def forget(state, row):
    """Free an item's row with everything that the row owns. Other rows may go on pointing at it."""
    popularity.forget(state, row)
    pairs.forget(state, row)
    sessions.forget(state, row)
    embedding.forget(state, row)
    item_bias.forget(state, row)
    custom.forget(state, row)
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
    give_back_row(state.items, state.scalars, ITEM_FREE, ITEMS_LIVE, row)
    state.items_dirty[2 * row] = 1
    state.items_dirty[2 * row + 1] = 1


@kernel
def forget_in_histories(state: State, evict_flags: np.ndarray) -> None:
    """Make entries of evicted items entries of no item."""
    blocks = state.history_dirty.size // state.history.shape[0]
    per_block = state.history.shape[1] // blocks
    for visitor in range(1, state.visitors.size):
        pointer = state.visitors[visitor].history
        if pointer:
            for row in range(run_row(pointer), run_row(pointer) + run_rows(pointer)):
                for column in range(state.history.shape[1]):
                    item = state.history[row, column].item
                    if item and evict_flags[item]:
                        state.history[row, column].item = 0
                        state.history_dirty[row * blocks + column // per_block] = 1
