"""Calls: one function for each route, which makes the request and knows the type of its answer.

Nothing is sent here. The functions are the methods of both clients (`corrente.routes`), and their docstrings document
those methods; `client` in the examples is such a client.

This file decides how parameters become a path, a query string and a body, and which calls may be repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from corrente.answers import (
    Accepted,
    Health,
    Live,
    Pinned,
    Recommendations,
    RecommendationsForMany,
    Transparency,
    VersionList,
)
from corrente.documents import (
    Item,
    ItemDeleted,
    ItemDocument,
    ItemPage,
    ItemsWritten,
    ItemWritten,
    Profile,
    ProfileDeleted,
    ProfileDocument,
    ProfilePage,
    ProfileWritten,
)
from corrente.events import Event, Id
from corrente.filters import Filter, text_of

T = TypeVar("T")

NO_FILTER = Filter()
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request and the type of its answer.

    Attributes:
        route: method and template, as in the OpenAPI document.
        read: makes the answer from its body.
        ids: values of the template, in order.
        query: pairs of the query string.
        body: JSON; None for none.
        repeatable: False if the call does something else the second time.
        answers: statuses beside 200 and 202 that are answers and not errors.
    """

    route: str
    read: Callable[[bytes], T]
    ids: Sequence[Id] = ()
    query: Sequence[tuple[str, str]] = ()
    body: bytes | None = None
    repeatable: bool = True
    answers: frozenset[int] = field(default_factory=frozenset)

    @property
    def method(self) -> str:
        """Method of HTTP."""
        return self.route.partition(" ")[0]

    @property
    def target(self) -> str:
        """Path and query string, percent-encoded.

        >>> Call("GET /v1/items/{item}/similar", bytes, ids=["a/b .."], query=[("n", "3")]).target
        '/v1/items/a%2Fb%20%2E%2E/similar?n=3'
        """
        path = self.route.partition(" ")[2]
        for each in self.ids:
            before, _, after = path.partition("{")
            # A segment of dots alone would be taken as a step in the tree of paths.
            path = before + quote(str(each), safe="").replace(".", "%2E") + after.partition("}")[2]
        return f"{path}?{urlencode(self.query, quote_via=quote)}" if self.query else path


def _json(kind: type[T]) -> Callable[[bytes], T]:
    return msgspec.json.Decoder(kind).decode


def _text(body: bytes) -> str:
    return body.decode()


_LIST = _json(Recommendations)
_ITEM = _json(ItemDocument)
_ITEM_WRITTEN = _json(ItemWritten)
_PROFILE_WRITTEN = _json(ProfileWritten)
_PINNED = _json(Pinned)
_OBJECT = _json(dict[str, Any])


def _pairs(given: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Parameters that are given, as pairs; a sequence is repeated."""
    pairs: list[tuple[str, str]] = []
    for name, value in given.items():
        if value is None:
            continue
        several = value if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
        pairs += [(name, text_of(each)) for each in several]
    return pairs


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


# ---- lists


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
        filter: conditions that every item meets.

    >>> client.recommendations("bob", n=2).item_ids
    ['cups', 'tea']
    """
    query = {"n": n, "session": session, "include": include, "exclude": exclude, "seen_within": seen_within}
    query |= {"exclude_seen": exclude_seen if isinstance(exclude_seen, bool | None) else ",".join(exclude_seen)}
    query |= {"profiling": None if profiling else "off", "version": version, "explain": explain}
    return Call("GET /v1/recommendations/{user}", _LIST, ids=[user], query=[*_pairs(query), *filter.as_parameters()])


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
        exclude, exclude_seen, seen_within, profiling, n, version, explain, filter: as for `recommendations`.

    >>> client.recommendations_for(recent=["teapot"], candidates=["cups", "spade"]).item_ids
    ['cups', 'spade']
    """
    fields: dict[str, Any] = {"user": user, "session": session, "recent": recent or None, "basket": basket or None}
    fields |= {"candidates": candidates, "n": n, "include": include, "exclude": exclude or None}
    fields |= {"exclude_seen": exclude_seen, "seen_within": seen_within}
    fields |= {"profiling": None if profiling else "off", "version": None if version is None else str(version)}
    fields |= {"explain": explain}
    return Call("POST /v1/recommendations", _LIST, body=_encode({**_given(fields), **filter.as_fields()}))


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
    query = [*_pairs({"n": n, "version": version, "explain": explain}), *filter.as_parameters()]
    return Call("GET /v1/items/{item}/similar", _LIST, ids=[item], query=query)


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
    fields = {"requests": requests, **_given({"version": None if version is None else str(version)})}
    return Call("POST /v1/recommendations/batch", _json(RecommendationsForMany), body=_encode(fields))


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
    return Call("POST /v1/rerank", _LIST, body=_encode({**_given(fields), **filter.as_fields()}))


def recently_viewed(
    user: Id,
    *,
    n: int | None = None,
    session: Id | None = None,
    version: Id | None = None,
    filter: Filter = NO_FILTER,  # noqa: A002  as above
) -> Call[Recommendations]:
    """Items that a user had, the newest first."""
    query = [*_pairs({"n": n, "session": session, "version": version}), *filter.as_parameters()]
    return Call("GET /v1/users/{user}/recently-viewed", _LIST, ids=[user], query=query)


def new_arrivals(
    *,
    n: int | None = None,
    version: Id | None = None,
    filter: Filter = NO_FILTER,  # noqa: A002  as above
) -> Call[Recommendations]:
    """The newest items: by `published_at` where the catalogue has it, else by their first event."""
    query = [*_pairs({"n": n, "version": version}), *filter.as_parameters()]
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
    query = [*_pairs({"n": n, "window": window, "version": version, "explain": explain}), *filter.as_parameters()]
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
    query = [*_pairs({"n": n, "window": window, "version": version, "explain": explain}), *filter.as_parameters()]
    return Call("GET /v1/trending", _LIST, query=query)


# ---- events


def post_events(topic: str, events: Sequence[Event], names: Mapping[str, str]) -> Call[Accepted]:
    """Events of one topic.

    Args:
        topic: `clicks`, `purchases` or `feedback`.
        events: of it.
        names: our name of a field to the one that the server reads (`CORRENTE_FIELDS`).
    """
    content: Any = events
    if names:
        content = [
            {names.get(name, name): each for name, each in msgspec.to_builtins(event).items()} for event in events
        ]
    return Call(f"POST /v1/events/{topic}", _json(Accepted), body=_encode(content))


# ---- catalogue


def put_items(items: Mapping[Id, Item]) -> Call[ItemsWritten]:
    """Write many items, by their ids; each replaces what there was.

    >>> from corrente import Item
    >>> client.put_items({"teapot": Item(title="A teapot"), "jug": Item(available=False)}).written
    2
    """
    documents = [{**msgspec.to_builtins(document), "item": item} for item, document in items.items()]
    return Call("PUT /v1/items", _json(ItemsWritten), body=_encode(documents))


def items(*, cursor: str | None = None, limit: int | None = None) -> Call[ItemPage]:
    """Items in the order of their ids, one page at a time.

    Args:
        cursor: of the page before; None begins at the start.
        limit: most items of a page; 100 unless given.
    """
    return Call("GET /v1/items", _json(ItemPage), query=_pairs({"cursor": cursor, "limit": limit}))


def put_item(item: Id, document: Item, *, revision: int | None = None) -> Call[ItemDocument]:
    """Write an item: the document replaces what there was.

    Args:
        item: its id.
        document: everything about it.
        revision: the one that the document must have, 0 if there must be none. Another one is a `Conflict`.

    >>> from corrente import Item
    >>> client.put_item("teapot", Item(title="A teapot", price=24.5)).price
    24.5
    """
    fields = msgspec.to_builtins(document) | _given({"revision": revision})
    return Call("PUT /v1/items/{item}", _ITEM, ids=[item], body=_encode(fields), repeatable=revision is None)


def patch_item(item: Id, changes: Mapping[str, Any], *, revision: int | None = None) -> Call[ItemWritten]:
    """Change some fields of an item; None removes one. The item is made if it isn't there.

    >>> client.patch_item("jug", {"available": True, "brand": None}).item
    'jug'
    """
    fields = {**changes, **_given({"revision": revision})}
    return Call(
        "PATCH /v1/items/{item}", _json(ItemWritten), ids=[item], body=_encode(fields), repeatable=revision is None
    )


def item(item: Id) -> Call[ItemDocument]:
    """An item's document. Raises `NotFound` if there is none."""
    return Call("GET /v1/items/{item}", _ITEM, ids=[item])


def delete_item(item: Id) -> Call[ItemDeleted]:
    """Delete an item: it is in no list any more, until it is written again."""
    return Call("DELETE /v1/items/{item}", _json(ItemDeleted), ids=[item])


def users(*, cursor: str | None = None, limit: int | None = None) -> Call[ProfilePage]:
    """Users' profiles in the order of their ids, one page at a time; as `items`."""
    return Call("GET /v1/users", _json(ProfilePage), query=_pairs({"cursor": cursor, "limit": limit}))


def put_user(user: Id, profile: Profile, *, revision: int | None = None) -> Call[ProfileWritten]:
    """Write a user's profile: it replaces what there was. `revision` is as for `put_item`.

    >>> from corrente import Profile
    >>> client.put_user("ada", Profile(language="de-CH")).user
    'ada'
    """
    fields = msgspec.to_builtins(profile) | _given({"revision": revision})
    return Call("PUT /v1/users/{user}", _PROFILE_WRITTEN, ids=[user], body=_encode(fields), repeatable=revision is None)


def patch_user(user: Id, changes: Mapping[str, Any], *, revision: int | None = None) -> Call[ProfileWritten]:
    """Change some fields of a profile; None removes one. The profile is made if it isn't there."""
    fields = {**changes, **_given({"revision": revision})}
    return Call(
        "PATCH /v1/users/{user}", _PROFILE_WRITTEN, ids=[user], body=_encode(fields), repeatable=revision is None
    )


def user(user: Id) -> Call[ProfileDocument]:
    """A user's profile. Raises `NotFound` if there is none."""
    return Call("GET /v1/users/{user}", _json(ProfileDocument), ids=[user])


def delete_user(user: Id) -> Call[ProfileDeleted]:
    """Delete a user's profile, and nothing else: what was learned from the user's events stays."""
    return Call("DELETE /v1/users/{user}", _json(ProfileDeleted), ids=[user])


# ---- versions


def versions(*, limit: int | None = None) -> Call[VersionList]:
    """Kept versions, newest first, with aliases and the history of their moves.

    >>> [version.number for version in client.versions().versions]
    [2, 1]
    """
    return Call("GET /v1/versions", _json(VersionList), query=_pairs({"limit": limit}))


def version(version: Id) -> Call[dict[str, Any]]:
    """The manifest of a version, by number, alias or id."""
    return Call("GET /v1/versions/{version}", _OBJECT, ids=[version])


def diff(a: Id, b: Id) -> Call[dict[str, Any]]:
    """Differences of two versions: what changed from the first one to the second."""
    return Call("GET /v1/versions/{a}/diff/{b}", _OBJECT, ids=[a, b])


def roll_back(version: Id, *, who: str = "", why: str = "") -> Call[Pinned]:
    """Pin a version: every server answers from it until another is pinned or the pin is removed.

    Args:
        version: its number, alias or id.
        who, why: for the history.

    >>> client.roll_back(1, why="an experiment").pinned
    1
    >>> client.follow_newest().served
    2
    """
    body = _encode({"who": who, "why": why})
    return Call("POST /v1/versions/{version}/rollback", _PINNED, ids=[version], body=body, repeatable=False)


def follow_newest(*, who: str = "", why: str = "") -> Call[Pinned]:
    """Remove the pin: answer from the newest version again."""
    return Call("DELETE /v1/pin", _PINNED, body=_encode({"who": who, "why": why}), repeatable=False)


# ---- the server


def transparency() -> Call[Transparency]:
    """The main parameters that decide the lists, and their relative weight."""
    return Call("GET /v1/transparency", _json(Transparency))


def transparency_page() -> Call[str]:
    """The main parameters as a page of HTML for visitors."""
    return Call("GET /v1/transparency/page", _text)


def live() -> Call[Live]:
    """Say that the process runs."""
    return Call("GET /health/live", _json(Live))


def ready() -> Call[Health]:
    """State of the server. A server that is still starting answers too, with the status `starting`.

    >>> client.ready().status
    'ready'
    """
    return Call("GET /health/ready", _json(Health), answers=frozenset({503}))


def metrics() -> Call[str]:
    """Counters in the text format of Prometheus."""
    return Call("GET /metrics", _text)
