"""Routes of the lists for a visitor.

This file decides which routes there are and how each is described in the OpenAPI document. A visitor without any events
gets a list too, and the answer says what it was made from. Most GETs are answered before they get here, by
`serving.answers.fast_path`.
"""

from __future__ import annotations

from serving.answers.batch import BATCH
from serving.answers.requests import (
    RecentlyViewed,
    RecommendationsFor,
    RecommendationsOfUser,
    Rerank,
    ask_of_body,
    ask_of_history,
    ask_of_rerank,
    ask_of_user,
)
from serving.answers.responder import Responder
from serving.answers.response import Recommendations
from serving.web.endpoint import PERSONAL_HEADERS, Endpoint


async def recommend_to_user(responder: Responder, request: RecommendationsOfUser, user: str) -> Recommendations:
    """Items for a user."""
    return await responder.respond_from(request.version, ask_of_user(user, request))


async def recommend_for(responder: Responder, request: RecommendationsFor) -> Recommendations:
    """Items for a user, a session or an anonymous visitor with recent items, perhaps out of given candidates.

    With a `basket` the list is what goes with the items in it.
    """
    return await responder.respond_from(request.version, ask_of_body(request))


async def rerank_items(responder: Responder, request: Rerank) -> Recommendations:
    """Given items in the order that suits the visitor, such as the hits of a search. All of them are ranked."""
    return await responder.respond_from(request.version, ask_of_rerank(request))


async def recently_viewed(responder: Responder, request: RecentlyViewed, user: str) -> Recommendations:
    """Items of a user's own events, the last one first, each once; the score is the time of its last event.

    Items that the user has turned down are left out. A user without events gets an empty list.
    """
    return await responder.respond_from(request.version, ask_of_history(user, request))


ROUTES = [
    Endpoint(
        "GET",
        "/v1/recommendations/{user:id}",
        recommend_to_user,
        request_type=RecommendationsOfUser,
        response_type=Recommendations,
        headers=PERSONAL_HEADERS,
    ),
    Endpoint(
        "POST",
        "/v1/recommendations",
        recommend_for,
        request_type=RecommendationsFor,
        response_type=Recommendations,
        headers=PERSONAL_HEADERS,
    ),
    Endpoint(
        "POST",
        "/v1/rerank",
        rerank_items,
        request_type=Rerank,
        response_type=Recommendations,
        headers=PERSONAL_HEADERS,
    ),
    Endpoint(
        "GET",
        "/v1/users/{user:id}/recently-viewed",
        recently_viewed,
        request_type=RecentlyViewed,
        response_type=Recommendations,
        headers=PERSONAL_HEADERS,
    ),
    BATCH,
]
