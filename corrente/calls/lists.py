"""Calls for lists of items.

This file decides how the parameters of each list become a request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from corrente.answers import (
    Recommendations,
    RecommendationsForMany,
)
from corrente.calls.call import Call, encode, given, json_of, pairs_of
from corrente.events import Id
from corrente.filters import Filter

NO_FILTER = Filter()
_LIST = json_of(Recommendations)


def recommendations(
    user: Id,
    *,
    n: int | None = None,
    session: Id | None = None,
    include: Sequence[Id] = (),
    exclude: Sequence[Id] = (),
    exclude_seen: bool | Sequence[str] | None = None,
    seen_within: str | None = None,
    profiling: bool = True,
    version: Id | None = None,
    explain: bool | None = None,
    why: str = "",
    filter: Filter = NO_FILTER,  # noqa: A002  the word of the guide and of the API
) -> Call[Recommendations]:
    """Items for a user.

    Args:
        user: the visitor's user id.
        n: how many items; 10 unless given.
        session: of the visitor; its events count beside the user's.
        include: only these items may be in the list, at most 100.
        exclude: items not to recommend, at most 100.
        exclude_seen: True leaves out items that the visitor had; `["bought", "carted"]` those of these kinds of events.
        seen_within: how long ago such an event may be, as `30d`; any time unless given.
        profiling: False: nothing that is known of the visitor counts.
        version: number, alias or id of the version to answer from.
        explain: True adds the reasons of each item; with a named visitor the key needs `visitors:read` for them.
        why: reason for the audit trail, which records each reading of a named visitor's reasons.
        filter: conditions that every item meets.

    >>> client.recommendations("bob", n=2).item_ids
    ['cups', 'tea']
    """
    query = {"n": n, "session": session, "include": include, "exclude": exclude, "seen_within": seen_within}
    query |= {"exclude_seen": exclude_seen if isinstance(exclude_seen, bool | None) else ",".join(exclude_seen)}
    query |= {"profiling": None if profiling else "off", "version": version, "explain": explain}
    pairs = [*pairs_of(query), *filter.as_parameters()]
    return Call("GET /v1/recommendations/{user}", _LIST, ids=[user], query=pairs, why=why)


def recommendations_for(
    *,
    user: Id | None = None,
    session: Id | None = None,
    recent: Sequence[Id | Mapping[str, Id]] = (),
    basket: Sequence[Id] = (),
    candidates: Sequence[Id] | None = None,
    include: Sequence[Id] | None = None,
    exclude: Sequence[Id] = (),
    exclude_seen: bool | Sequence[str] | None = None,
    seen_within: str | None = None,
    profiling: bool = True,
    n: int | None = None,
    version: Id | None = None,
    explain: bool | None = None,
    why: str = "",
    filter: Filter = NO_FILTER,  # noqa: A002  as above
) -> Call[Recommendations]:
    """Items for a user, a session or a visitor with recent items, perhaps out of given candidates.

    Args:
        user: the visitor's user id.
        session: the visitor's session; its events count beside the user's.
        recent: items that the visitor just had, oldest first; `{"item": "lamp", "kind": "cart"}` names the kind.
        basket: items in the basket now: the list is what goes with them.
        candidates: rank only these, all of them.
        include: only these may be in the list, out of those that the sources propose.
        exclude, exclude_seen, seen_within, profiling, n, version, explain, why, filter: as for `recommendations`.

    >>> client.recommendations_for(recent=["teapot"], candidates=["cups", "spade"]).item_ids
    ['cups', 'spade']
    """
    fields: dict[str, Any] = {"user": user, "session": session, "recent": recent or None, "basket": basket or None}
    fields |= {"candidates": candidates, "n": n, "include": include, "exclude": exclude or None}
    fields |= {"exclude_seen": exclude_seen, "seen_within": seen_within}
    fields |= {"profiling": None if profiling else "off", "version": None if version is None else str(version)}
    fields |= {"explain": explain}
    body = encode({**given(fields), **filter.as_fields()})
    return Call("POST /v1/recommendations", _LIST, body=body, why=why)


def similar(
    item: Id,
    *,
    n: int | None = None,
    version: Id | None = None,
    explain: bool | None = None,
    filter: Filter = NO_FILTER,  # noqa: A002  as above
) -> Call[Recommendations]:
    """Items that the same visitors had.

    >>> client.similar("spade").item_ids[0]
    'seeds'
    """
    query = [*pairs_of({"n": n, "version": version, "explain": explain}), *filter.as_parameters()]
    return Call("GET /v1/items/{item}/similar", _LIST, ids=[item], query=query)


def bought_together(
    item: Id,
    *,
    n: int | None = None,
    version: Id | None = None,
    explain: bool | None = None,
    filter: Filter = NO_FILTER,  # noqa: A002  as above
) -> Call[Recommendations]:
    """Items that visitors bought within a day of this one, those of the most baskets first; then similar items.

    `made_from.bought_together` is the number of the former.

    >>> client.bought_together("spade", n=2).made_from.bought_together
    0
    """
    query = [*pairs_of({"n": n, "version": version, "explain": explain}), *filter.as_parameters()]
    return Call("GET /v1/items/{item}/bought-together", _LIST, ids=[item], query=query)


def recommendations_for_many(
    requests: Sequence[Mapping[str, Any]], *, version: Id | None = None
) -> Call[RecommendationsForMany]:
    """Lists for several visitors in one call, all from one version.

    Args:
        requests: one for each list, with the fields that `recommendations_for` takes. One that is wrong gets a problem
            in place of a list; the others get their lists.
        version: number, alias or id of the version to answer from.

    >>> [len(each.list.items) for each in client.recommendations_for_many([{"user": "bob", "n": 2}, {"n": 1}]).lists]
    [2, 1]
    """
    fields = {"requests": requests, **given({"version": None if version is None else str(version)})}
    return Call("POST /v1/recommendations/batch", json_of(RecommendationsForMany), body=encode(fields))


def rerank(
    items: Sequence[Id],
    *,
    user: Id | None = None,
    session: Id | None = None,
    recent: Sequence[Id] = (),
    profiling: bool = True,
    n: int | None = None,
    version: Id | None = None,
    filter: Filter = NO_FILTER,  # noqa: A002  as above
) -> Call[Recommendations]:
    """Put items in order for a visitor, such as the hits of a search. All come back that may be shown.

    Args:
        items: at most 1,000. Those of which no event is known come last, in this order.
        user, session, recent, profiling, version, filter: as for `recommendations_for`.
        n: how many; all unless given.

    >>> client.rerank(["spade", "cups"], recent=["teapot"]).item_ids
    ['cups', 'spade']
    """
    fields = {"items": items, "user": user, "session": session, "recent": recent or None, "n": n}
    fields |= {"profiling": None if profiling else "off", "version": None if version is None else str(version)}
    return Call("POST /v1/rerank", _LIST, body=encode({**given(fields), **filter.as_fields()}))


def recently_viewed(
    user: Id,
    *,
    n: int | None = None,
    session: Id | None = None,
    version: Id | None = None,
    filter: Filter = NO_FILTER,  # noqa: A002  as above
) -> Call[Recommendations]:
    """Items that a user had, the newest first."""
    query = [*pairs_of({"n": n, "session": session, "version": version}), *filter.as_parameters()]
    return Call("GET /v1/users/{user}/recently-viewed", _LIST, ids=[user], query=query)


def new_arrivals(
    *,
    n: int | None = None,
    version: Id | None = None,
    filter: Filter = NO_FILTER,  # noqa: A002  as above
) -> Call[Recommendations]:
    """The newest items: by `published_at` where the catalogue has it, else by their first event."""
    query = [*pairs_of({"n": n, "version": version}), *filter.as_parameters()]
    return Call("GET /v1/new-arrivals", _LIST, query=query)


def popular(
    *,
    n: int | None = None,
    window: str | None = None,
    version: Id | None = None,
    explain: bool | None = None,
    filter: Filter = NO_FILTER,  # noqa: A002  as above
) -> Call[Recommendations]:
    """Items with the most weight over the last weeks.

    Args:
        n: how many items; 10 unless given.
        window: `20m`, `2h`, `12h`, `3d` or `30d`: an event that is as old as this counts half.
        version, explain, filter: as for `recommendations`.

    >>> client.popular(n=1).item_ids
    ['teapot']
    """
    query = [*pairs_of({"n": n, "window": window, "version": version, "explain": explain}), *filter.as_parameters()]
    return Call("GET /v1/popular", _LIST, query=query)


def trending(
    *,
    n: int | None = None,
    window: str | None = None,
    version: Id | None = None,
    explain: bool | None = None,
    filter: Filter = NO_FILTER,  # noqa: A002  as above
) -> Call[Recommendations]:
    """Items with the most weight over the last hours; parameters as for `popular`."""
    query = [*pairs_of({"n": n, "window": window, "version": version, "explain": explain}), *filter.as_parameters()]
    return Call("GET /v1/trending", _LIST, query=query)
