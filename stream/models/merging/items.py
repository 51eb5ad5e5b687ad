"""Items of the merge: names, and the times of their first and last events.

This file decides what the merge knows of an item that several shards have: the name and key of the first shard, the
earliest first event, the latest event with its visitor, and the latest event of another visitor.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream.models.merging.numbering import Numbering, Rows, ShardRows, mapped
from stream.models.schema import NAME_BYTES, NAME_CELLS
from stream.state.compiled import compiled
from stream.state.tables import Tables


def merge_items(tables: Tables, parts: Sequence[ShardRows], items: Numbering, visitors: Numbering) -> None:
    """Fill the tables `items` (but for its pointers to runs) and `names`."""
    records, names = tables["items"].data, tables["names"].data
    cells = 1
    for shard, part in enumerate(parts):
        source, target = part.items[items.live[shard]], items.targets(shard)
        known = records["key0"][target] != 0
        known |= records["key1"][target] != 0
        fresh = target[~known]
        moved = copy_names(part.names, source["name"][~known].astype(np.int64), names, cells)
        cells += int(moved[-1]) if len(moved) else 0
        for field in ("key0", "key1", "name_bytes"):
            records[field][fresh] = source[field][~known]
        records["name"][fresh] = moved[:-1]
        first = records["first_seconds"][target]
        records["first_seconds"][target] = np.where(
            known, np.minimum(first, source["first_seconds"]), source["first_seconds"]
        )
        _merge_last_events(records, target, source, mapped(visitors.of[shard], source["last_visitor"]))
    tables["scalars"].data[0, NAME_CELLS] = cells


def name_cells(parts: Sequence[ShardRows], items: Numbering) -> NDArray[np.int64]:
    """Cells that each name needs: (numbers + 1,), 0 for number 0."""
    cells = np.zeros(items.count + 1, np.int64)
    for shard, part in enumerate(parts):
        size = part.items["name_bytes"][items.live[shard]].astype(np.int64)
        cells[items.targets(shard)] = np.maximum(1, -(-size // NAME_BYTES))
    return cells


def _merge_last_events(records: NDArray, target: Rows, source: NDArray, visitor: Rows) -> None:
    """Keep the latest event of these items, its visitor, and the latest event of any other visitor.

    Args:
        records: of all items of the merge.
        target: (n,) rows of the shard's items among them.
        source: (n,) the shard's records.
        visitor: (n,) the last visitor of each, in the common numbering.
    """
    newer = source["last_seconds"] > records["last_seconds"][target]
    last_visitor = visitor.astype(np.uint32)
    before, other_before = records["last_seconds"][target], records["other_seconds"][target]
    returned = records["last_visitor"][target] == last_visitor
    records["other_seconds"][target] = np.where(
        newer,
        np.maximum(source["other_seconds"], np.where(returned, other_before, before)),
        np.maximum(other_before, np.where(returned, source["other_seconds"], source["last_seconds"])),
    )
    records["last_seconds"][target] = np.where(newer, source["last_seconds"], before)
    records["last_visitor"][target] = np.where(newer, last_visitor, records["last_visitor"][target])


@compiled
def copy_names(source: NDArray, firsts: Rows, target: NDArray, cell: int) -> NDArray:
    """Copy names, which are chains of cells, into neighbouring cells.

    Args:
        source: (cells, words) of the shard; the first word of a cell is the number of the next.
        firsts: (n,) first cell of each name; 0 for no name.
        target: (cells, words) of the merge.
        cell: first free cell of `target`.

    Returns:
        (n + 1,): the first cell of each name in `target`, and last the number of cells that were written.
    """
    begins = np.zeros(firsts.size + 1, np.int64)
    start = cell
    for number in range(firsts.size):
        at = firsts[number]
        begins[number] = cell if at else 0
        while at:
            target[cell] = source[at]
            at = np.int64(source[at, 0])
            target[cell, 0] = cell + 1 if at else 0
            cell += 1
    begins[firsts.size] = cell - start
    return begins
