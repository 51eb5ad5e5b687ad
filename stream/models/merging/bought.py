"""Items that are bought together, in the merge: the baskets of all shards, added up.

This file decides which of an item's slots stay: those of the most baskets, and of equal ones those that were met first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.models.had.bought_together import growth
from stream.models.had.places import checks_of
from stream.models.kernels.compile import kernel
from stream.models.merging.numbering import Numbering, Rows, ShardRows
from stream.models.schema import BOUGHT, BOUGHT_SLOTS
from stream.state.compiled import compiled
from stream.state.tables import Tables

ITEMS_AT_ONCE = 8192
"""Items whose slots of all shards are held at once."""


def merge_bought(tables: Tables, parts: Sequence[ShardRows], items: Numbering) -> None:
    """Fill the table `bought`.

    Args:
        tables: of the merge.
        parts: the shards.
        items: their numbering.
    """
    out = tables["bought"].data
    rows = np.zeros((len(parts), items.count + 1), np.int64)
    for shard, live in enumerate(items.live):
        rows[shard, items.targets(shard)] = live
    checks = [checks_of(part.items["key0"]) for part in parts]
    for first in range(0, items.count + 1, ITEMS_AT_ONCE):
        here = rows[:, first : first + ITEMS_AT_ONCE]
        slots = np.zeros((here.shape[1], len(parts) * BOUGHT_SLOTS), BOUGHT)
        size = np.zeros(here.shape[1], np.int64)
        for shard, part in enumerate(parts):
            add_shard(*part.bought, here[shard], checks[shard], items.of[shard], slots, size)
        keep_largest(slots, size, out[first:])


@compiled
def add_shard(
    data: NDArray,
    index: Rows,
    rows: Rows,
    checks: NDArray[np.uint32],
    items: Rows,
    slots: NDArray,
    size: NDArray[np.int64],
) -> None:
    """Add the slots of a shard in the common numbering.

    Args:
        data, index: the shard's table; row r is `data[index[r]]`.
        rows: (n,) rows of the shard; 0 for none.
        checks: by row of the shard, the check of its item. A slot with another one counts for no item.
        items: common numbers of the shard's items; an item beyond them is no item.
        slots: (n, slots) of these rows; those met so far come first.
        size: (n,) how many there are.
    """
    for number in range(rows.size):
        if rows[number] == 0:
            continue
        for column in range(BOUGHT_SLOTS):
            slot = data[index[rows[number]], column]
            old = np.int64(slot.other)
            if old == 0 or old >= items.size or items[old] == 0 or checks[old] != slot.check:
                continue
            at = 0
            while at < size[number] and slots[number, at].other != items[old]:
                at += 1
            found = slots[number, at]
            if at == size[number]:
                size[number] += 1
                found.other = items[old]
                found.check = slot.check
                found.weight = slot.weight
                found.seconds = slot.seconds
            else:
                unite(found, slot)


@kernel
def unite(found: Any, slot: Any) -> None:
    """Add the count of a slot to that of another, at the later of their times."""
    later = max(np.int64(found.seconds), np.int64(slot.seconds))
    weight = found.weight * growth(later, found.seconds) + slot.weight * growth(later, slot.seconds)
    found.weight = np.float32(weight)
    found.seconds = later


@compiled
def keep_largest(slots: NDArray, size: NDArray[np.int64], out: NDArray) -> None:
    """Write for each item the slots with the largest counts, in the order in which they were met.

    Args:
        slots, size: as `add_shard` fills them in.
        out: (at least as many rows, `BOUGHT_SLOTS`), filled in.
    """
    counts = np.zeros(slots.shape[1])
    for number in range(size.size):
        latest = np.int64(0)
        for at in range(size[number]):
            latest = max(latest, np.int64(slots[number, at].seconds))
        for at in range(size[number]):
            counts[at] = slots[number, at].weight * growth(latest, slots[number, at].seconds)
        written = 0
        for at in range(size[number]):
            larger = 0
            for other in range(size[number]):
                larger += counts[other] > counts[at] or (counts[other] == counts[at] and other < at)
            if larger < BOUGHT_SLOTS:
                source = slots[number, at]
                target = out[number, written]
                target.other = source.other
                target.check = source.check
                target.weight = source.weight
                target.seconds = source.seconds
                written += 1
