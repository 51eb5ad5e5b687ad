"""Visitors' histories as sequences of items: rows to train on, contexts of tests, and items that may not be ranked.

This file decides which events stand in front of which target. Everything is NumPy over columns in file order, so it
needs no PyTorch and is tested without it. An item is a number from 1 here; 0 stands for padding and for items that the
network doesn't know. Sequences are aligned to the left: a causal network never looks to the right, so padding there
needs no mask.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int32] | NDArray[np.int64]
Numbers = NDArray[np.int64]
Mask = NDArray[np.bool_]


class Sequences(NamedTuple):
    """The events of each visitor, side by side.

    Attributes:
        order: int64[n], numbers of the events, sorted by visitor and then in file order.
        place: int64[n], place of each event in `order`.
        start: int64[n], place in `order` at which the visitor of each event begins.
    """

    order: Numbers
    place: Numbers
    start: Numbers


def sequences_of(visitor: Ints) -> Sequences:
    """Sort events by visitor.

    Args:
        visitor: (n,) code of the visitor of each event.
    """
    n = len(visitor)
    order = np.argsort(visitor, kind="stable").astype(np.int64)
    place = np.empty(n, np.int64)
    place[order] = np.arange(n)
    in_order = visitor[order]
    begins = np.ones(n, bool)
    begins[1:] = in_order[1:] != in_order[:-1]
    start_of_place = np.maximum.accumulate(np.where(begins, np.arange(n), 0))
    return Sequences(order, place, start_of_place[place])


def number_items(item: Ints, learned: Mask) -> tuple[Numbers, int]:
    """Number the items that occur among the learned events.

    Args:
        item: (n,) code of the item of each event.
        learned: (n,) True for events whose item the network may learn.

    Returns:
        int64[n], the number of each event's item from 1, 0 for an item that was never learned; and the count of
        numbered items.
    """
    codes = np.unique(item[learned])
    number_of_code = np.zeros(int(item.max(initial=0)) + 1, np.int64)
    number_of_code[codes] = np.arange(1, len(codes) + 1)
    return number_of_code[item], len(codes)


def training_rows(
    sequences: Sequences, number: Numbers, *, readable: Mask, learned: Mask, length: int
) -> tuple[Numbers, Numbers]:
    """Cut the sequences into rows in which each place predicts the next one.

    A sequence longer than `length` gives several rows, so that no event of a long history is left out. The first places
    of every row but the first see a shortened context, as they do when a test's context is cut to `length`.

    Args:
        sequences: the events by visitor.
        number: (n,) number of each event's item, 0 if unknown; such events are left out.
        readable: (n,) True for events that may stand in a row.
        learned: (n,) True for events that are predicted. Other targets are 0, which the loss leaves out.
        length: most items of a row.

    Returns:
        Two int64 arrays (rows, length): items, and the item that follows each of them. Rows without a target are
        dropped.
    """
    events = sequences.order[(readable & (number > 0))[sequences.order]]
    start = sequences.start[events]
    begins = np.ones(len(events), bool)
    begins[1:] = start[1:] != start[:-1]
    along = np.arange(len(events))
    position = along - np.maximum.accumulate(np.where(begins, along, 0))
    row = np.cumsum(position % length == 0) - 1
    column = position % length
    items = np.zeros((int(row[-1]) + 1 if len(row) else 0, length), np.int64)
    targets = np.zeros_like(items)
    items[row, column] = number[events]
    followed = np.flatnonzero(~begins[1:])
    targets[row[followed], column[followed]] = np.where(learned, number, 0)[events[followed + 1]]
    kept = targets.any(axis=1)
    return items[kept], targets[kept]


def contexts_of(sequences: Sequences, number: Numbers, tests: Numbers, length: int) -> Numbers:
    """The last known items of the visitor before each test, oldest first, as int64 (tests, length) padded with 0.

    Args:
        sequences: the events by visitor.
        number: (n,) number of each event's item, 0 if unknown; such events are left out.
        tests: numbers of the tested events. The test's own event and later ones are never in its context.
        length: most items of a context; the newest are kept.
    """
    known = number[sequences.order] > 0
    known_before = np.concatenate([[0], np.cumsum(known)])
    items = number[sequences.order[known]]
    end = known_before[sequences.place[tests]]
    begin = np.maximum(known_before[sequences.start[tests]], end - length)
    at = begin[:, None] + np.arange(length)
    inside = at < end[:, None]
    padded = np.append(items, 0)
    return np.where(inside, padded[np.minimum(at, len(items))], 0)


def earlier_items(
    sequences: Sequences, number: Numbers, tests: Numbers, *, only_last: bool = False
) -> tuple[Numbers, Numbers]:
    """Items that each test's visitor had before, as pairs of a test's position and an item.

    Args:
        sequences: the events by visitor.
        number: (n,) number of each event's item, 0 if unknown.
        tests: numbers of the tested events.
        only_last: the newest earlier event alone.

    Returns:
        int64 position in `tests`, and int64 number of the item; an item can occur twice.
    """
    end = sequences.place[tests]
    begin = sequences.start[tests]
    if only_last:
        begin = np.maximum(begin, end - 1)
    counts = end - begin
    position = np.repeat(np.arange(len(tests)), counts)
    step = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    return position, number[sequences.order[np.repeat(begin, counts) + step]]
