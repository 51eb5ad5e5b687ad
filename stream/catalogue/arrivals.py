"""New arrivals: the items of the catalogue and of the model, the newest first.

An item is as new as its document says (`published_at`). Without that it is as new as its first event, and if it has no
event either it comes last, the document that was written last first.

This file decides that order, and how many items of it are found.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.catalogue.columns import Columns
from stream.catalogue.item_rows import ItemRows
from stream.models.model import Model

MOST_ARRIVALS = 1000
"""Items that are found; a list has at most 500."""


class Arrivals(NamedTuple):
    """The newest items.

    Attributes:
        items: ids, the newest first.
        seconds: since when each is there, in seconds since the epoch; 0 if that is not known.
    """

    items: list[str]
    seconds: list[float]


def newest_first(
    columns: Columns,
    passes: NDArray[np.bool_],
    rows: ItemRows | None,
    model: Model | None,
    *,
    others: bool,
) -> Arrivals:
    """The newest items that pass a filter.

    Args:
        columns: the catalogue.
        passes: by row of the catalogue, whether the item passes; may be shorter than the catalogue.
        rows: the model's row of each row of the catalogue.
        model: None before there is one.
        others: items that the catalogue doesn't know pass, too.
    """
    listed = np.flatnonzero(passes)
    seconds = columns.published[listed]
    first = np.empty(0) if model is None else model.first_seconds()
    if rows is not None:
        met = rows[listed]
        seconds = np.where(np.isnan(seconds) & (met > 0), first[met], seconds)
    seconds = np.where(np.isnan(seconds), -np.inf, seconds)
    best = _latest(seconds, columns.revision[listed])
    items, times = [columns.items[row] for row in listed[best]], seconds[best]
    if model is not None and others:
        unlisted = ~np.isnan(first)
        if rows is not None:
            unlisted[rows] = False
        unlisted[0] = False
        others_rows = np.flatnonzero(unlisted)
        latest = others_rows[_latest(first[others_rows], others_rows)]
        items, times = items + model.names(latest), np.concatenate([times, first[latest]])
        both = np.argsort(-times, kind="stable")[:MOST_ARRIVALS]
        items, times = [items[at] for at in both], times[both]
    return Arrivals(items, np.where(np.isinf(times), 0.0, times).tolist())


def _latest(seconds: NDArray[np.float64], number: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places of the largest times, the largest first; of equal ones, those with the largest number."""
    places = np.arange(len(seconds))
    if len(seconds) > MOST_ARRIVALS:
        least = np.partition(seconds, len(seconds) - MOST_ARRIVALS)[len(seconds) - MOST_ARRIVALS]
        places = np.flatnonzero(seconds >= least)
    return places[np.lexsort((-number[places], -seconds[places]))][:MOST_ARRIVALS]
