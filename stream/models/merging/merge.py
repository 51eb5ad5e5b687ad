"""Merge: several shards as one model, whose counts are the sums over the shards, in shard order.

Each shard has rows of its own for the items that it has seen, so items, visitors and sessions are matched by key and
numbered anew: in the order of the shards, and within a shard in the order of its rows. Then

- counts and pair counts are added (decayed ones after they are brought to the latest landmark), and the strongest pairs
  of an item are kept that fit into the longest run, so that an answer costs the same for one shard and for eight;
- sessions of all shards become one list of neighbours, ordered by when they were last seen;
- a visitor's histories are joined by time;
- the ranker, the challenger and the vectors, which started from equal seeds, are averaged by number of updates;
- the ranker goes through the last events once more, on the counts of all shards (`rehearsal`).

The result has everything that answering needs, and events can be *shown* to its visitors. It never learns: the tables
that only learning reads (the window of event ids, the reservoir) stay empty. A merge that learns is made by
`learning_state`.

This file decides the order of these steps and the sizes of the merged tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from stream.models.had.kept import copy_kept
from stream.models.merging.bought import merge_bought
from stream.models.merging.counts import copy_seen, merge_scalars, merge_sums
from stream.models.merging.histories import merge_visitors
from stream.models.merging.items import merge_items, name_cells
from stream.models.merging.numbering import Numbering, Numberings, Rows, ShardRows, Views
from stream.models.merging.pairs import merge_pairs
from stream.models.merging.rehearsal import rehearse
from stream.models.merging.sessions import merge_postings, merge_sessions
from stream.models.merging.top import fill_top_lists
from stream.models.merging.weights import merge_weights
from stream.models.ranking.rank import Options, options_of
from stream.models.schema import KEPT_VISITORS, table_specs
from stream.models.settings import ModelSettings
from stream.state.tables import Tables

MIN_ROWS = 64
"""Smallest capacity that settings allow."""

KEPT_ROOM = 2
"""Places for each visitor whose purchases and dislikes are kept: with two, hardly any set of eight overflows."""


def merged(
    settings: ModelSettings, shards: Mapping[int, Views], *, room: int = 0, options: Options | None = None
) -> Tables:
    """Merge the tables of several shards into tables that answer as all shards together would.

    Args:
        settings: of the shards.
        shards: by partition, the tables of each as (data, index) by name: row r is `data[index[r]]`.
        room: number of further items, visitors and sessions to leave rows for, if events will be shown to the merge.
        options: what may be ranked; by default what the settings say.

    Returns:
        Tables of `table_specs(settings)`, but with as many rows as the merge needs. Equal shards give equal tables, bit
        for bit, whatever the order of the mapping.
    """
    parts = [ShardRows(shards[partition]) for partition in sorted(shards)]
    found = number_rows(parts)
    names = int(name_cells(parts, found.items).sum())
    kept = int(sum(part.scalars[KEPT_VISITORS] for part in parts)) * KEPT_ROOM
    capacities = {
        "max_items": max(MIN_ROWS, found.items.count + room, names // 2 + room),  # two cells of names an item
        "max_visitors": max(MIN_ROWS, found.visitors.count + room, kept),
        "max_sessions": max(MIN_ROWS, found.sessions.count + room),
        "max_event_ids": MIN_ROWS,
        "max_kept_visitors": max(MIN_ROWS, kept),
    }
    tables = Tables(table_specs(settings.model_copy(update=capacities)))
    fill(
        tables,
        settings,
        parts,
        found,
        item_order=np.arange(1, found.items.count + 1),
        visitor_order=np.arange(1, found.visitors.count + 1),
    )
    if len(parts) > 1:
        rehearse(tables, options or options_of(settings))
    return tables


def number_rows(parts: Sequence[ShardRows]) -> Numberings:
    """Common numbers of the items, visitors and sessions of these shards."""
    return Numberings(
        items=Numbering([part.items for part in parts]),
        visitors=Numbering([part.visitors for part in parts]),
        sessions=Numbering([part.sessions for part in parts]),
    )


def fill(
    tables: Tables,
    settings: ModelSettings,
    parts: Sequence[ShardRows],
    numberings: Numberings,
    *,
    item_order: Rows,
    visitor_order: Rows,
    item_owners: int = 0,
    visitor_owners: int = 0,
) -> None:
    """Fill empty tables with everything that answers are made of, but for the rehearsal.

    Args:
        tables: with rows for all numbers.
        settings: of the shards.
        parts: the shards, in order.
        numberings: of their rows.
        item_order, visitor_order: numbers in the order in which they get their runs of pairs, sessions and events.
        item_owners, visitor_owners: see `runs.append_run`.
    """
    items, visitors, sessions = numberings
    merge_scalars(tables, parts, items, visitors)
    merge_items(tables, parts, items, visitors)
    merge_sums(tables, parts, items)
    merge_pairs(tables, parts, items, item_order, item_owners)
    ordinals = merge_sessions(tables, parts, sessions, items)
    merge_postings(tables, parts, items, ordinals, item_order, item_owners)
    merge_visitors(tables, parts, visitors, items, ordinals, visitor_order, visitor_owners)
    fill_top_lists(tables, items)
    merge_weights(tables, parts, items)
    for part, numbers in zip(parts, items.of, strict=True):
        into = (tables["kept_visitors"].data, tables["kept_items"].data, tables["scalars"].data[0])
        copy_kept(*into, *part.kept, numbers)
    merge_bought(tables, parts, items)
    if settings.repeats == "first":
        for part in parts:
            copy_seen(tables["seen"].data, part.seen)
