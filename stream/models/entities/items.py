"""Items: their rows, their names, and who makes room when all rows are taken.

Rows are handed out in order. When none is left, the weakest sixty-fourth by thirty-day popularity goes in one batch:
it leaves the top lists, the runs that it owned, and every place that points at it, so that the next owner of the row
inherits nothing.
"""

from __future__ import annotations

import numpy as np

from stream.models.entities import sessions
from stream.models.kernels.compile import kernel
from stream.models.kernels.hash_index import enter, find
from stream.models.kernels.quickselect import smallest
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
from stream.models.source_names import LONGEST
from stream.models.sources import custom, embedding, pairs, popularity
from stream.models.workspace.learning_view import State

EVICTED_SHARE = 64


@kernel
def find_or_add(state, key0, key1, joined, start, size, seconds):  # type: ignore[no-untyped-def]
    """The row of an item, a new one if it has none. Its name is `size` bytes of `joined` from `start`."""
    row = find(state.item_cells, state.items, key0, key1)
    if row:
        return row
    cells = max(1, -(-size // NAME_BYTES))
    while no_row(state) or name_cells_left(state) < cells:
        evict(state)
    row = np.int64(state.scalars[ITEM_FREE])
    if row:
        state.scalars[ITEM_FREE] = state.items[row].next_free
    else:
        row = max(1, np.int64(state.scalars[ITEM_ROWS]))
        state.scalars[ITEM_ROWS] = row + 1
    state.scalars[ITEMS_LIVE] += 1
    item = state.items[row]
    item.key0 = key0
    item.key1 = key1
    item.next_free = 0
    item.first_seconds = np.uint32(seconds)
    item.name = keep_name(state, joined, start, size)
    item.name_bytes = size
    state.items_dirty[2 * row] = 1
    state.items_dirty[2 * row + 1] = 1
    enter(state.item_cells, state.cells_used, 0, state.items, row)
    popularity.note_new(state, row)
    embedding.begin(state, row)
    return row


@kernel
def no_row(state):  # type: ignore[no-untyped-def]
    return state.scalars[ITEM_FREE] == 0 and state.scalars[ITEM_ROWS] >= state.items.size


@kernel
def name_cells_left(state):  # type: ignore[no-untyped-def]
    handed = max(1, np.int64(state.scalars[NAME_CELLS]))
    return state.names.shape[0] - handed + np.int64(state.scalars[NAME_CELLS_FREE])


@kernel
def keep_name(state, joined, start, size):  # type: ignore[no-untyped-def]
    """Write a name into a chain of cells, last cell first; returns the first."""
    cells = max(1, -(-size // NAME_BYTES))
    following = 0
    for number in range(cells - 1, -1, -1):
        cell = np.int64(state.scalars[NAME_FREE])
        if cell:
            state.scalars[NAME_FREE] = state.names[cell, 0]
            state.scalars[NAME_CELLS_FREE] -= 1
        else:
            cell = max(1, np.int64(state.scalars[NAME_CELLS]))
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
def drop_name(state, row):  # type: ignore[no-untyped-def]
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
def evict(state):  # type: ignore[no-untyped-def]
    """Make room: the weakest items go, and with them all that points at them."""
    rows = np.int64(state.scalars[ITEM_ROWS])
    mark_weakest(state, rows)
    going = state.going
    count = 0
    for row in range(rows - 1, 0, -1):
        if going[row]:
            count += 1
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
            item.key0 = 0
            item.key1 = 0
            item.name = 0
            item.name_bytes = 0
            item.first_seconds = 0
            item.last_seconds = 0
            item.last_visitor = 0
            item.other_seconds = 0
            item.listed = 0
            item.next_free = np.uint32(state.scalars[ITEM_FREE])
            state.scalars[ITEM_FREE] = row
            state.items_dirty[2 * row] = 1
            state.items_dirty[2 * row + 1] = 1
    state.scalars[ITEMS_LIVE] -= count
    state.scalars[ITEMS_EVICTED] += count
    forget_in_histories(state, going)
    pairs.forget_others(state, going)
    sessions.forget_items(state, going)
    embedding.forget_in_reservoir(state, going)


@kernel
def mark_weakest(state: State, rows: int) -> None:
    """Flag the items with the least long popularity, ties to the lower row."""
    count = 0
    for row in range(rows):
        state.going[row] = 0
        if state.items[row].key0 or state.items[row].key1:
            state.order[count] = state.sums[row, LONGEST]
            count += 1
    wanted = min(count, max(1, (state.items.size - 1) // EVICTED_SHARE))
    limit = smallest(state.order, count, wanted - 1)
    for row in range(1, rows):
        if (state.items[row].key0 or state.items[row].key1) and state.sums[row, LONGEST] < limit:
            state.going[row] = 1
            wanted -= 1
    for row in range(1, rows):
        if wanted > 0 and (state.items[row].key0 or state.items[row].key1) and state.sums[row, LONGEST] == limit:
            state.going[row] = 1
            wanted -= 1


@kernel
def forget_in_histories(state: State, going: np.ndarray) -> None:
    """Entries of evicted items become entries of no item."""
    blocks = state.history_dirty.size // state.history.shape[0]
    per_block = state.history.shape[1] // blocks
    for visitor in range(1, state.visitors.size):
        pointer = state.visitors[visitor].history
        if pointer:
            for row in range(run_row(pointer), run_row(pointer) + run_rows(pointer)):
                for column in range(state.history.shape[1]):
                    item = state.history[row, column].item
                    if item and going[item]:
                        state.history[row, column].item = 0
                        state.history_dirty[row * blocks + column // per_block] = 1
