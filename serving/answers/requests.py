"""Requests for lists as they come over HTTP, and the ask that each stands for.

This file decides which parameters and fields a request for a list may have, their limits, and which ids are refused.
The effect of a field on the list is decided by `serving.answers.decision`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from serving.answers.contexts import BOUGHT_TOGETHER, NEW_ARRIVALS, RECENTLY_VIEWED
from serving.answers.decision import Ask
from serving.answers.parameters.filters import FilterFields, FilterParameters, filter_of
from serving.answers.parameters.seen import (
    NOTHING,
    SEEN_PATTERN,
    RecentEvent,
    Seen,
    SeenKind,
    SeenWithin,
    seen_of,
)
from serving.web.problems import Problem
from stream.catalogue.filters import Filter
from stream.events import ID_SCHEMA, Id, check_id, text_of
from stream.values import InvalidEvent

Count = Annotated[int, Meta(ge=1, le=500, description="How many items.")]
VersionName = Annotated[
    str, Meta(min_length=1, max_length=64, description="Answer from this version: a number, an alias or an id.")
]
Ids = Annotated[list[Id], Meta(max_length=1000)]
TextId = Annotated[str, Meta(extra_json_schema=dict(ID_SCHEMA))]
MAX_EXPLAINED = 100
"""Longest list whose reasons are given. Taking a score apart costs 0.3 ms an item, during which a server does nothing
else; a list without reasons costs 0.1 ms as a whole."""

Explain = Annotated[
    bool, Meta(description=f"Give the reasons of each item, for a list of at most {MAX_EXPLAINED} items.")
]
Profiling = Annotated[
    str,
    Meta(
        pattern="^(on|off)$",
        description="`off`: nothing that is known of the visitor counts, only this request and what is popular.",
    ),
]


class RecommendationsOfUser(FilterParameters, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Query of `GET /v1/recommendations/{user}`."""

    n: Count = 10
    session: (
        Annotated[
            str,
            Meta(description="Of the visitor; its events count beside the user's.", extra_json_schema=dict(ID_SCHEMA)),
        ]
        | None
    ) = None
    include: Annotated[
        list[TextId], Meta(max_length=100, description="Only these items may be in the list; may be repeated.")
    ] = msgspec.field(default_factory=list)
    exclude: Annotated[list[TextId], Meta(max_length=100, description="Items not to recommend; may be repeated.")] = (
        msgspec.field(default_factory=list)
    )
    exclude_seen: Annotated[
        str,
        Meta(
            pattern=SEEN_PATTERN,
            description="Leave out items that the visitor had: `true` or `false`, or the kinds of events that "
            "count, such as `bought,carted`: `clicked`, `carted`, `bought`.",
        ),
    ] = "false"
    seen_within: SeenWithin | None = None
    profiling: Profiling = "on"
    explain: Explain = False
    version: VersionName | None = None


class RecommendationsFor(FilterFields, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Body of `POST /v1/recommendations`. Without user, session and recent items the list is what is popular."""

    user: Id | None = None
    session: Id | None = None
    recent: Annotated[list[Id | RecentEvent], Meta(max_length=1000)] = msgspec.field(default_factory=list)
    """Items the visitor just had, oldest first: for visitors who are not to be known, or events not yet sent. An id is
    a click; an object names the kind of event: `{"item": "lamp", "kind": "cart"}`."""
    basket: Ids = msgspec.field(default_factory=list)
    """Items in the basket now, in the order in which they were put there: the list is what goes with them."""
    candidates: Ids | None = None
    """Rank only these, all of them."""
    include: Ids | None = None
    """Only these may be in the list, which holds those that the sources propose first."""
    exclude: Ids = msgspec.field(default_factory=list)
    exclude_seen: bool | Annotated[list[SeenKind], Meta(min_length=1, max_length=3)] = False
    """Leave out items that the visitor had: all of them, or those of these kinds of events."""
    seen_within: SeenWithin | None = None
    profiling: Profiling = "on"
    explain: Explain = False
    n: Count = 10
    version: VersionName | None = None


class ListOfItems(FilterParameters, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Query of the lists that are not about a visitor."""

    n: Count = 10
    explain: Explain = False
    version: VersionName | None = None


class ListOfCounts(ListOfItems, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Query of the lists that are made from counts."""

    window: (
        Annotated[
            Literal["20m", "2h", "12h", "3d", "30d"],
            Meta(description="An event that is as old as this counts half, one twice as old a quarter."),
        ]
        | None
    ) = None


class NewArrivals(FilterParameters, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Query of `GET /v1/new-arrivals`."""

    n: Count = 10
    version: VersionName | None = None


class RecentlyViewed(FilterParameters, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Query of `GET /v1/users/{user}/recently-viewed`."""

    n: Count = 10
    session: (
        Annotated[
            str,
            Meta(description="Of the visitor; its events count beside the user's.", extra_json_schema=dict(ID_SCHEMA)),
        ]
        | None
    ) = None
    version: VersionName | None = None


class Rerank(FilterFields, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Body of `POST /v1/rerank`: items to be put in order for a visitor, such as the hits of a search."""

    items: Annotated[list[Id], Meta(min_length=1, max_length=1000)]
    """All of them come back, but for those that the catalogue or the filter forbids. Items of which no event is known
    come last, in this order."""
    user: Id | None = None
    session: Id | None = None
    recent: Ids = msgspec.field(default_factory=list)
    """Items the visitor just had, oldest first."""
    profiling: Profiling = "on"
    n: Annotated[int, Meta(ge=1, le=1000, description="How many items; all of them if it is left out.")] | None = None
    version: VersionName | None = None


def ask_of_user(user: str, request: RecommendationsOfUser, wanted: Filter | None = None) -> Ask:
    """The ask of `GET /v1/recommendations/{user}`. Raises `Problem` 422, naming the field, for an invalid id.

    Args:
        user: from the path.
        request: the query.
        wanted: the filter of the request, if it is known already.
    """
    _check("user", user)
    if request.session is not None:
        _check("session", request.session)
    for item in request.exclude:
        _check("exclude", item)
    for item in request.include:
        _check("include", item)
    _check_exclude("include", request.include, request.exclude)
    had = seen_of(request.exclude_seen, request.seen_within)
    return Ask(
        user=user,
        session=request.session,
        include=request.include or None,
        exclude=request.exclude,
        exclude_seen=had.everything,
        seen_kinds=had.kinds,
        seen_within=had.within,
        profiling=_profiling(request.profiling, had),
        n=request.n,
        wanted=filter_of(request) if wanted is None else wanted,
        explain=_explain(request),
    )


def ask_of_body(request: RecommendationsFor) -> Ask:
    """The ask of `POST /v1/recommendations`. Raises `Problem` 422, naming the field, for an invalid id."""
    if request.candidates is not None and request.include is not None:
        raise Problem(422, "include: candidates are given too; both name the items of the list", field="include")
    candidates = None if request.candidates is None else _ids("candidates", request.candidates)
    include = None if request.include is None else _ids("include", request.include)
    exclude = _ids("exclude", request.exclude)
    _check_exclude("candidates", candidates, exclude)
    _check_exclude("include", include, exclude)
    had = seen_of(request.exclude_seen, request.seen_within)
    recent = [each if isinstance(each, RecentEvent) else RecentEvent(each) for each in request.recent]
    typed = any(each.kind != "click" for each in recent)
    return Ask(
        user=_id("user", request.user),
        session=_id("session", request.session),
        recent=_ids("recent", [each.item for each in recent]),
        recent_kinds=[each.kind for each in recent] if typed else (),
        basket=_ids("basket", request.basket),
        candidates=candidates,
        include=include,
        exclude=exclude,
        exclude_seen=had.everything,
        seen_kinds=had.kinds,
        seen_within=had.within,
        profiling=_profiling(request.profiling, had),
        n=request.n,
        wanted=filter_of(request),
        explain=_explain(request),
    )


def ask_of_item(item: str, request: ListOfItems) -> Ask:
    """The ask of `GET /v1/items/{item}/similar`. Raises `Problem` 422 for an invalid id."""
    _check("item", item)
    return Ask(item=item, n=request.n, wanted=filter_of(request), explain=_explain(request))


def ask_of_bought_together(item: str, request: ListOfItems) -> Ask:
    """The ask of `GET /v1/items/{item}/bought-together`. Raises `Problem` 422 for an invalid id."""
    _check("item", item)
    return Ask(item=item, context=BOUGHT_TOGETHER, n=request.n, wanted=filter_of(request), explain=_explain(request))


def ask_of_counts(half_life: str, request: ListOfCounts) -> Ask:
    """The ask of `GET /v1/popular` and `GET /v1/trending`: items by decayed counts over one half-life.

    Args:
        half_life: if the request names no window.
        request: the query.
    """
    wanted = filter_of(request)
    return Ask(half_life=request.window or half_life, n=request.n, wanted=wanted, explain=_explain(request))


def ask_of_rerank(request: Rerank) -> Ask:
    """The ask of `POST /v1/rerank`. Raises `Problem` 422, naming the field, for an invalid id."""
    items = _ids("items", request.items)
    return Ask(
        user=_id("user", request.user),
        session=_id("session", request.session),
        recent=_ids("recent", request.recent),
        candidates=items,
        keep_all=True,
        profiling=_profiling(request.profiling, NOTHING),
        n=len(items) if request.n is None else request.n,
        wanted=filter_of(request),
    )


def ask_of_history(user: str, request: RecentlyViewed) -> Ask:
    """The ask of `GET /v1/users/{user}/recently-viewed`. Raises `Problem` 422 for an invalid id."""
    _check("user", user)
    if request.session is not None:
        _check("session", request.session)
    return Ask(user=user, session=request.session, context=RECENTLY_VIEWED, n=request.n, wanted=filter_of(request))


def ask_of_arrivals(request: NewArrivals) -> Ask:
    """The ask of `GET /v1/new-arrivals`."""
    return Ask(context=NEW_ARRIVALS, n=request.n, wanted=filter_of(request))


def _check_exclude(field: str, items: Sequence[str] | None, exclude: Sequence[str]) -> None:
    if items and exclude and set(items) <= set(exclude):
        raise Problem(422, f"exclude: it takes away everything that {field} names", field="exclude")


def _profiling(profiling: str, had: Seen) -> bool:
    """True unless profiling is off. Raises `Problem` 422 for an option that needs the visitor's history then."""
    if profiling == "on":
        return True
    if had != NOTHING:
        raise Problem(
            422,
            "exclude_seen: it needs the visitor's history, which profiling=off leaves alone; name the items in "
            "`exclude`, or leave one of the two out",
            field="exclude_seen",
        )
    return False


def _explain(request: RecommendationsOfUser | RecommendationsFor | ListOfItems) -> bool:
    """True if reasons are to be given. Raises `Problem` 422 if the list is too long for them."""
    if request.explain and request.n > MAX_EXPLAINED:
        raise Problem(
            422, f"n: reasons are given for at most {MAX_EXPLAINED} items, not {request.n}; ask for fewer", field="n"
        )
    return request.explain


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
