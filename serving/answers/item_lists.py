"""Lists that are not about a visitor: items similar to one, popular ones, and those that are popular just now."""

from __future__ import annotations

import msgspec

from serving.answers.recommendations import Count, VersionName
from serving.answers.response import EMPTY, Recommendations, listed
from serving.loading.loader import Loader
from serving.web.endpoint import Endpoint
from serving.web.problems import Problem
from stream.events import InvalidEvent, check_id

TRENDING_HALF_LIFE = "2h"
"""What `trending` counts: an event of two hours ago counts half."""


class ListOfItems(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Query of the lists that are not about a visitor."""

    n: Count = 10
    version: VersionName | None = None


async def similar_items(loader: Loader, ask: ListOfItems, item: str) -> Recommendations:
    """Items that the same visitors had.

    For an item that nobody had yet the list is what is trending or popular, and `fallback` says so.
    """
    try:
        check_id("item", item)
    except InvalidEvent as error:
        raise Problem(422, str(error), field="item") from None
    served = await loader.answering(ask.version)
    return listed(loader, served, served.model.similar(item, ask.n) if served else EMPTY)


async def popular_items(loader: Loader, ask: ListOfItems) -> Recommendations:
    """Items with the most weight over the last weeks."""
    served = await loader.answering(ask.version)
    return listed(loader, served, served.model.popular(ask.n) if served else EMPTY)


async def trending_items(loader: Loader, ask: ListOfItems) -> Recommendations:
    """Items with the most weight over the last hours."""
    served = await loader.answering(ask.version)
    return listed(loader, served, served.model.popular(ask.n, half_life=TRENDING_HALF_LIFE) if served else EMPTY)


ROUTES = [
    Endpoint("GET", "/v1/items/{item:id}/similar", similar_items, asks=ListOfItems, answers=Recommendations),
    Endpoint("GET", "/v1/popular", popular_items, asks=ListOfItems, answers=Recommendations),
    Endpoint("GET", "/v1/trending", trending_items, asks=ListOfItems, answers=Recommendations),
]
