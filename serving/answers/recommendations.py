"""Routes of the lists for a visitor: `GET /v1/recommendations/{user}` and `POST /v1/recommendations`.

This file decides which routes there are and how each is described in the OpenAPI document. A visitor without any events
gets a list too, and the answer says what it was made from. Most GETs are answered before they get here, by
`serving.answers.fast_path`.
"""

from __future__ import annotations

from serving.answers.requests import RecommendationsFor, RecommendationsOfUser, ask_of_body, ask_of_user
from serving.answers.responder import Responder
from serving.answers.response import Recommendations
from serving.web.endpoint import PERSONAL_HEADERS, Endpoint


async def recommend_to_user(responder: Responder, request: RecommendationsOfUser, user: str) -> Recommendations:
    """Items for a user."""
    return await responder.respond_from(request.version, ask_of_user(user, request))


async def recommend_for(responder: Responder, request: RecommendationsFor) -> Recommendations:
    """Items for a user, a session or an anonymous visitor with recent items, perhaps out of given candidates."""
    return await responder.respond_from(request.version, ask_of_body(request))


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
]
