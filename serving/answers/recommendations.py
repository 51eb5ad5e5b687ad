"""Lists for a visitor: `GET /v1/recommendations/{user}` and `POST /v1/recommendations`.

The moment that a list is made for is the model's own clock, the time of its last learned event, not the server's: so
one version gives one list, whenever and wherever it is asked, and a rollback gives back the very same scores.

A visitor nobody has seen gets a list too, and the answer says what it was made from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from serving.answers.response import EMPTY, Recommendations, listed
from serving.loading.loader import Loader
from serving.web.endpoint import Endpoint
from serving.web.problems import Problem
from stream.events import Id, InvalidEvent, check_id, text_of
from stream.models.query import Query

Count = Annotated[int, Meta(ge=1, le=500, description="How many items.")]
VersionName = Annotated[
    str, Meta(min_length=1, max_length=64, description="Answer from this version: a number, an alias or an id.")
]
Ids = Annotated[list[Id], Meta(max_length=1000)]
NOTHING: frozenset[str] = frozenset()


class RecommendationsOfUser(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Query of `GET /v1/recommendations/{user}`."""

    n: Count = 10
    session: Annotated[str, Meta(description="Of the visitor; its events count beside the user's.")] | None = None
    exclude: Annotated[list[str], Meta(max_length=100, description="Items not to recommend; may be repeated.")] = []
    exclude_seen: Annotated[bool, Meta(description="Leave out items that the visitor had.")] = False
    version: VersionName | None = None


class RecommendationsFor(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Body of `POST /v1/recommendations`. Without user, session and recent items the list is what is popular."""

    user: Id | None = None
    session: Id | None = None
    recent: Ids = []
    """Items the visitor just had, oldest first: for visitors who are not to be known, or events not yet sent."""
    candidates: Ids | None = None
    """Rank only these."""
    exclude: Ids = []
    exclude_seen: bool = False
    n: Count = 10
    version: VersionName | None = None


def query_of(user: str, ask: RecommendationsOfUser) -> Query:
    """What the model is asked for a user. Raises `Problem` 422 for what is no id."""
    _check("user", user)
    if ask.session is not None:
        _check("session", ask.session)
    return Query(
        user=user,
        session=ask.session,
        n=ask.n,
        exclude=_exclusion(ask.exclude),
        exclude_seen=ask.exclude_seen,
    )


async def recommend_to_user(loader: Loader, ask: RecommendationsOfUser, user: str) -> Recommendations:
    """Items for a user."""
    query = query_of(user, ask)
    served = await loader.answering(ask.version)
    return listed(loader, served, served.model.recommend(query) if served else EMPTY)


async def recommend_for(loader: Loader, ask: RecommendationsFor) -> Recommendations:
    """Items for a user, a session or an anonymous visitor with recent items, perhaps out of given candidates."""
    served = await loader.answering(ask.version)
    query = Query(
        user=_id("user", ask.user),
        session=_id("session", ask.session),
        recent=_ids("recent", ask.recent),
        candidates=None if ask.candidates is None else _ids("candidates", ask.candidates),
        exclude=_exclusion(ask.exclude),
        exclude_seen=ask.exclude_seen,
        n=ask.n,
    )
    return listed(loader, served, served.model.recommend(query) if served else EMPTY)


ROUTES = [
    Endpoint(
        "GET",
        "/v1/recommendations/{user:id}",
        recommend_to_user,
        asks=RecommendationsOfUser,
        answers=Recommendations,
    ),
    Endpoint("POST", "/v1/recommendations", recommend_for, asks=RecommendationsFor, answers=Recommendations),
]


def _exclusion(items: Sequence[Id]) -> frozenset[str]:
    return frozenset(_ids("exclude", items)) if items else NOTHING


def _ids(field: str, ids: Sequence[Id]) -> list[str]:
    for identifier in ids:
        _check(field, identifier)
    return [text_of(identifier) for identifier in ids]


def _id(field: str, identifier: Id | None) -> str | None:
    if identifier is None:
        return None
    _check(field, identifier)
    return text_of(identifier)


def _check(field: str, identifier: Id) -> None:
    try:
        check_id(field, identifier)
    except InvalidEvent as error:
        raise Problem(422, str(error), field=field) from None
