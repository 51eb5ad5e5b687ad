"""Calls for documents of items and users.

This file decides how documents and changes become a request, and which of them may be repeated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from corrente.calls.call import Call, encode, given, json_of, pairs_of
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
from corrente.events import Id

_ITEM = json_of(ItemDocument)
_ITEM_WRITTEN = json_of(ItemWritten)
_PROFILE_WRITTEN = json_of(ProfileWritten)


def put_items(items: Mapping[Id, Item]) -> Call[ItemsWritten]:
    """Write many items, by their ids; each replaces what there was.

    >>> from corrente import Item
    >>> client.put_items({"teapot": Item(title="A teapot"), "jug": Item(available=False)}).written
    2
    """
    documents = [{**msgspec.to_builtins(document), "item": item} for item, document in items.items()]
    return Call("PUT /v1/items", json_of(ItemsWritten), body=encode(documents))


def items(*, cursor: str | None = None, limit: int | None = None) -> Call[ItemPage]:
    """Items in the order of their ids, one page at a time.

    Args:
        cursor: of the page before; None begins at the start.
        limit: most items of a page; 100 unless given.
    """
    return Call("GET /v1/items", json_of(ItemPage), query=pairs_of({"cursor": cursor, "limit": limit}))


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
    fields = msgspec.to_builtins(document) | given({"revision": revision})
    return Call("PUT /v1/items/{item}", _ITEM, ids=[item], body=encode(fields), repeatable=revision is None)


def patch_item(item: Id, changes: Mapping[str, Any], *, revision: int | None = None) -> Call[ItemWritten]:
    """Change some fields of an item; None removes one. The item is made if it isn't there.

    >>> client.patch_item("jug", {"available": True, "brand": None}).item
    'jug'
    """
    fields = {**changes, **given({"revision": revision})}
    return Call(
        "PATCH /v1/items/{item}", json_of(ItemWritten), ids=[item], body=encode(fields), repeatable=revision is None
    )


def item(item: Id) -> Call[ItemDocument]:
    """An item's document. Raises `NotFound` if there is none."""
    return Call("GET /v1/items/{item}", _ITEM, ids=[item])


def delete_item(item: Id) -> Call[ItemDeleted]:
    """Delete an item: it is in no list any more, until it is written again."""
    return Call("DELETE /v1/items/{item}", json_of(ItemDeleted), ids=[item])


def users(*, cursor: str | None = None, limit: int | None = None, why: str = "") -> Call[ProfilePage]:
    """Users' profiles in the order of their ids, one page at a time; as `items`. `why` is for the audit trail."""
    return Call("GET /v1/users", json_of(ProfilePage), query=pairs_of({"cursor": cursor, "limit": limit}), why=why)


def put_user(user: Id, profile: Profile, *, revision: int | None = None) -> Call[ProfileWritten]:
    """Write a user's profile: it replaces what there was. `revision` is as for `put_item`.

    >>> from corrente import Profile
    >>> client.put_user("ada", Profile(language="de-CH")).user
    'ada'
    """
    fields = msgspec.to_builtins(profile) | given({"revision": revision})
    return Call("PUT /v1/users/{user}", _PROFILE_WRITTEN, ids=[user], body=encode(fields), repeatable=revision is None)


def patch_user(user: Id, changes: Mapping[str, Any], *, revision: int | None = None) -> Call[ProfileWritten]:
    """Change some fields of a profile; None removes one. The profile is made if it isn't there."""
    fields = {**changes, **given({"revision": revision})}
    return Call(
        "PATCH /v1/users/{user}", _PROFILE_WRITTEN, ids=[user], body=encode(fields), repeatable=revision is None
    )


def user(user: Id, *, why: str = "") -> Call[ProfileDocument]:
    """A user's profile. `why` is for the audit trail. Raises `NotFound` if there is none."""
    return Call("GET /v1/users/{user}", json_of(ProfileDocument), ids=[user], why=why)


def delete_user(user: Id) -> Call[ProfileDeleted]:
    """Delete a user's profile, and nothing else: what was learned from the user's events stays."""
    return Call("DELETE /v1/users/{user}", json_of(ProfileDeleted), ids=[user])
