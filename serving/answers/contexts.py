"""Lists that no ranker orders: what is bought together, what the visitor viewed last, and what is new in the shop.

Items of the lists made here have a score, too: the number of baskets, or the time from which the order follows, in
seconds since the epoch.

This file decides which items these lists hold and in which order, and how far popular and trending lists look back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from stream.catalogue.snapshot import View
from stream.models.model import Model
from stream.models.query import Query, Ranking
from stream.models.ranking.allowed import AllowedItems
from stream.models.source_names import HALF_LIFE_NAMES, LONGEST

POPULAR_HALF_LIFE = HALF_LIFE_NAMES[LONGEST]
"""Half-life of the counts behind `/v1/popular`: the longest there is."""

TRENDING_HALF_LIFE = "2h"
"""Half-life of the counts behind `/v1/trending`: an event of two hours ago counts half."""

BOUGHT_TOGETHER = "bought_together"
RECENTLY_VIEWED = "recently_viewed"
NEW_ARRIVALS = "new_arrivals"

ListMaker = Callable[[Model | None, View | None, Query, AllowedItems | None], Ranking]
"""Model, catalogue under the filter, visitor with length, and allowed items to a list; None before there is one."""


def bought_together(model: Model | None, _: View | None, query: Query, allowed: AllowedItems | None) -> Ranking:
    """Items that are in one basket with the last recent item, those of the most baskets first; then similar items."""
    return Ranking(fallback="empty", together=0) if model is None else model.bought_together(query, allowed)


def recently_viewed(model: Model | None, _: View | None, query: Query, allowed: AllowedItems | None) -> Ranking:
    """Items of the visitor's history, the last one first, each once, without those that the visitor has turned down."""
    return Ranking(fallback="empty") if model is None else model.history(query, allowed)


def new_arrivals(model: Model | None, view: View | None, query: Query, _: AllowedItems | None) -> Ranking:
    """The newest items: by `published_at`, and items without one by their first event.

    Items of which neither is known come last, with a score of 0.
    """
    if view is None:
        return Ranking(fallback="empty")
    items, seconds = view.arrivals()
    listed = items[: query.n]
    fallback = "empty" if model is None and not listed else None
    return Ranking(listed, seconds[: query.n], fallback, newest=len(listed))


LISTS: Mapping[str, ListMaker] = {
    BOUGHT_TOGETHER: bought_together,
    RECENTLY_VIEWED: recently_viewed,
    NEW_ARRIVALS: new_arrivals,
}
"""Makers of these lists by the context that an ask names."""

FILLED = (None, BOUGHT_TOGETHER)
"""Contexts whose lists go on with items that have no event yet; None is that of a list that a ranker orders."""
