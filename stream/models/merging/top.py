"""Top lists of the merge: the most popular items of every half-life, and the newest items.

This file decides which items are listed. Ties go to the lower row, which is that of the lower shard.
"""

from __future__ import annotations

import numpy as np

from stream.models.merging.numbering import Numbering
from stream.models.schema import NEWEST, NEWEST_WRITTEN, TOP_ITEMS, TOP_SIZES, TOP_WIDTH
from stream.models.source_names import HALF_LIVES
from stream.state.tables import Tables


def fill_top_lists(tables: Tables, items: Numbering) -> None:
    """Fill the table `top` from the merged sums, with each item's places in it (the field `listed` of `items`)."""
    top, sums, scalars = tables["top"].data, tables["sums"].data, tables["scalars"].data[0]
    records = tables["items"].data
    numbers = np.arange(1, items.count + 1)
    for half_life in range(HALF_LIVES):
        counts = sums[1 : items.count + 1, half_life]
        best = numbers[np.lexsort((numbers, -counts))[:TOP_ITEMS]]
        best = best[sums[best, half_life] > 0]
        top[half_life, : len(best)] = best
        scalars[TOP_SIZES + half_life] = len(best)
        records["listed"][best, half_life] = np.arange(1, len(best) + 1)
    newest = numbers[np.lexsort((numbers, records["first_seconds"][numbers]))][-TOP_WIDTH:]
    top[NEWEST, : len(newest)] = newest
    scalars[NEWEST_WRITTEN] = len(newest)
