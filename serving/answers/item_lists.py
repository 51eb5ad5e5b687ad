"""Routes of the lists that are not about a visitor: similar, bought together, popular, trending and new items.

This file decides which routes there are and how each is described in the OpenAPI document.
"""

from __future__ import annotations

from serving.answers.contexts import POPULAR_HALF_LIFE, TRENDING_HALF_LIFE
from serving.answers.requests import (
    ListOfCounts,
    ListOfItems,
    NewArrivals,
    ask_of_arrivals,
    ask_of_bought_together,
    ask_of_counts,
    ask_of_item,
)
from serving.answers.responder import Responder
from serving.answers.response import Recommendations
from serving.web.endpoint import Endpoint


async def similar_items(responder: Responder, request: ListOfItems, item: str) -> Recommendations:
    """Items that the same visitors had.

    For an item without any events the list is what is trending or popular, and `fallback` says so.
    """
    return await responder.respond_from(request.version, ask_of_item(item, request))


async def items_bought_together(responder: Responder, request: ListOfItems, item: str) -> Recommendations:
    """Items that visitors bought within a day of this one, those of the most baskets first; then similar items.

    `made_from.bought_together` is the number of the former. Their score is the number of baskets, of which one counts
    half after ninety days. The others have scores below them, in the order of the similar items.
    """
    return await responder.respond_from(request.version, ask_of_bought_together(item, request))


async def popular_items(responder: Responder, request: ListOfCounts) -> Recommendations:
    """Items with the most weight over the last weeks, or over another window; with `categories`, of a category."""
    return await responder.respond_from(request.version, ask_of_counts(POPULAR_HALF_LIFE, request))


async def trending_items(responder: Responder, request: ListOfCounts) -> Recommendations:
    """Items with the most weight over the last hours, or over another window; with `categories`, of a category."""
    return await responder.respond_from(request.version, ask_of_counts(TRENDING_HALF_LIFE, request))


async def new_arrivals(responder: Responder, request: NewArrivals) -> Recommendations:
    """Items that are new in the shop, the newest first; the score is since when, in seconds.

    An item is as new as its `published_at`, or else as its first event.
    """
    return await responder.respond_from(request.version, ask_of_arrivals(request))


ROUTES = [
    Endpoint(
        "GET",
        "/v1/items/{item:id}/similar",
        similar_items,
        request_type=ListOfItems,
        response_type=Recommendations,
    ),
    Endpoint(
        "GET",
        "/v1/items/{item:id}/bought-together",
        items_bought_together,
        request_type=ListOfItems,
        response_type=Recommendations,
    ),
    Endpoint("GET", "/v1/popular", popular_items, request_type=ListOfCounts, response_type=Recommendations),
    Endpoint("GET", "/v1/trending", trending_items, request_type=ListOfCounts, response_type=Recommendations),
    Endpoint("GET", "/v1/new-arrivals", new_arrivals, request_type=NewArrivals, response_type=Recommendations),
]
