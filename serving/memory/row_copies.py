"""Compiled loops that copy, compare and clear arena rows.

This file decides how a row is written to a place of its own while other versions go on reading the old one. Places are
chosen by `serving.memory.table_arena`.

Arguments that several of them share: `words`, the arena as (blocks, words of a block); `index` and `like`, the arena
row of each logical row in the version that is written and in the version that it resembles; `places`, free arena rows
to take from; `width`, blocks of a row; `ages`, one more than the age of the newest delta that wrote a block, 0 if none
did. Functions that take places return how many they took.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from serving.memory.row_index import RowIndex
from stream.state.compiled import compiled
from stream.state.tables import Words


@compiled
def distinct_rows(blocks: NDArray[np.uint32], width: int) -> NDArray[np.int32]:
    """Logical rows, rising and without repetition, that rising block numbers belong to."""
    rows = np.empty(blocks.size, np.int32)
    count = 0
    for at in range(blocks.size):
        row = blocks[at] // width
        if count == 0 or rows[count - 1] != row:
            rows[count] = row
            count += 1
    return rows[:count]


@compiled
def copy_and_write(
    words: Words,
    index: RowIndex,
    rows: RowIndex,
    places: RowIndex,
    blocks: NDArray[np.uint32],
    data: Words,
    width: int,
) -> None:
    """Copy `rows` to `places`, point the index there, and write the blocks `data` over the copies."""
    for at in range(rows.size):
        source = np.int64(index[rows[at]]) * width
        target = np.int64(places[at]) * width
        for block in range(width):
            for word in range(words.shape[1]):
                words[target + block, word] = words[source + block, word]
        index[rows[at]] = places[at]
    for at in range(blocks.size):
        row = blocks[at] // width
        target = np.int64(index[row]) * width + np.int64(blocks[at] - row * width)
        for word in range(words.shape[1]):
            words[target, word] = data[at, word]


@compiled
def put_newer_blocks(
    words: Words,
    index: RowIndex,
    like: RowIndex,
    ages: NDArray[np.uint16],
    age: int,
    places: RowIndex,
    blocks: NDArray[np.uint32],
    data: Words,
    width: int,
) -> int:
    """Write the blocks that differ from what is there, unless a newer delta wrote them; return the places taken.

    A row that is still shared with the version `like` is copied to a place of its own first.
    """
    taken = 0
    mark = np.uint16(age + 1)
    divisor = np.uint32(width)  # dividing 32 bits is faster, and there are millions of blocks
    for at in range(blocks.size):
        number = blocks[at]
        if ages[number] != 0 and ages[number] <= mark:
            continue
        ages[number] = mark
        row = number // divisor
        part = np.int64(number - row * divisor)
        place = np.int64(index[row])
        same = True
        for word in range(words.shape[1]):
            if words[place * width + part, word] != data[at, word]:
                same = False
                break
        if same:
            continue
        if place == like[row]:
            source, place = place, np.int64(places[taken])
            taken += 1
            for block in range(width):
                for word in range(words.shape[1]):
                    words[place * width + block, word] = words[source * width + block, word]
            index[row] = place
        for word in range(words.shape[1]):
            words[place * width + part, word] = data[at, word]
    return taken


@compiled
def partly_written_rows(words: Words, index: RowIndex, ages: NDArray[np.uint16], width: int) -> NDArray[np.int32]:
    """Rows in which some blocks were written while others, which no delta wrote, are not zero.

    A row in which nothing was written becomes the row of zeros.
    """
    found = np.empty(index.size, np.int32)
    count = 0
    for row in range(index.size):
        place = np.int64(index[row])
        if place == 0:
            continue
        written = False
        leftover = False
        for block in range(width):
            if ages[row * width + block]:
                written = True
            else:
                for word in range(words.shape[1]):
                    leftover |= words[place * width + block, word] != 0
        if not written:
            index[row] = 0
        elif leftover:
            found[count] = row
            count += 1
    return found[:count]


@compiled
def clear_unwritten_blocks(
    words: Words,
    index: RowIndex,
    like: RowIndex,
    rows: RowIndex,
    places: RowIndex,
    ages: NDArray[np.uint16],
    width: int,
) -> int:
    """Set the blocks of `rows` that no delta wrote to zero, in a place of their own; return the places taken."""
    taken = 0
    for at in range(rows.size):
        row = np.int64(rows[at])
        source = place = np.int64(index[row])
        if place == like[row]:
            place = np.int64(places[taken])
            taken += 1
            index[row] = place
        for block in range(width):
            for word in range(words.shape[1]):
                if ages[row * width + block]:
                    words[place * width + block, word] = words[source * width + block, word]
                else:
                    words[place * width + block, word] = 0
    return taken
