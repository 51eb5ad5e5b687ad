"""Merge of shards into tables that go on learning, as one shard that had learned all their events would.

Lists from these tables are those that serving's merge of the same shards gives: the same code makes the counts, and the
ranker goes through the same rehearsal. Two things can differ. If the shards have more rows together than the settings
allow, the weakest are left out, as an eviction would do it. And an item with more than a hundred pairs may lose some
weak ones, because a set has eight slots.

The source of randomness is that of the first shard; all shards of a model have the same one.

This file decides the order of the steps.
"""

from __future__ import annotations

from collections.abc import Mapping

from stream.models.merging.learning_state.bounds import bound, busiest_first, latest_first
from stream.models.merging.learning_state.clock import merge_clock
from stream.models.merging.learning_state.outcome_models import (
    merge_conversion,
    merge_drifts,
    merge_pending,
    merge_ratings,
)
from stream.models.merging.learning_state.pair_sets import arrange_pairs
from stream.models.merging.learning_state.rings import merge_event_ids, merge_outcomes, merge_reservoir
from stream.models.merging.merge import fill, number_rows
from stream.models.merging.numbering import ShardRows, Views
from stream.models.merging.rehearsal import rehearse
from stream.models.ranking.rank import Options, options_of
from stream.models.schema import table_specs
from stream.models.settings import ModelSettings
from stream.state.tables import Tables


def merged_to_learn(settings: ModelSettings, shards: Mapping[int, Views], *, options: Options | None = None) -> Tables:
    """Merge the tables of several shards into tables that a shard can go on with.

    Args:
        settings: of the shards.
        shards: by number, the tables of each as (data, index) by name, at least one.
        options: what may be ranked; by default what the settings say.

    Returns:
        Tables of `table_specs(settings)`, without marks. Equal shards give equal tables, bit for bit.
    """
    views = [shards[number] for number in sorted(shards)]
    parts = [ShardRows(each) for each in views]
    tables = Tables(table_specs(settings))
    found = number_rows(parts)
    bound(tables, parts, found)
    items, visitors, _ = found
    by_count = busiest_first(parts, items)
    item_owners, visitor_owners = (len(tables[name].data) - 1 for name in ("items", "visitors"))
    fill(
        tables,
        settings,
        parts,
        found,
        item_order=by_count,
        visitor_order=latest_first(parts, visitors),
        item_owners=item_owners,
        visitor_owners=visitor_owners,
    )
    merge_event_ids(tables, views)
    merge_reservoir(tables, views, items)
    merge_outcomes(tables, views)
    merge_drifts(tables, views)
    merge_conversion(tables, views)
    merge_pending(tables, views)
    merge_ratings(tables, views, items, visitors)
    merge_clock(tables, views)
    if len(parts) > 1:
        rehearse(tables, options or options_of(settings))
    arrange_pairs(tables, by_count, item_owners)
    for table in tables.values():
        table.dirty[:] = 0
    return tables
