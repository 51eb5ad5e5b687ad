"""JSON of the catalogue's bodies and answers.

This file decides what a body about documents may hold, beside the fields of a document, and what an answer says.
"""

from __future__ import annotations

from typing import Annotated, Any, get_type_hints

import msgspec
from msgspec import Meta

from stream.catalogue.item import Item
from stream.catalogue.labels import Label, LabelName
from stream.catalogue.profile import Profile
from stream.events import Id


class ItemDocument(Item, kw_only=True, omit_defaults=False, frozen=True):
    """An item with its id and revision."""

    item: Annotated[str, Meta(description="Id of the item.")]
    revision: Annotated[int, Meta(description="Number of the document's last change.")]


ChangedLabels = Annotated[
    dict[LabelName, Label | None], Meta(max_length=64, description="Labels to set; null removes one.")
]
Expected = Annotated[int, Meta(ge=0, description="The one that the document must have, 0 if there must be none.")]


class ItemBody(Item, kw_only=True, frozen=True):
    """An item as `PUT /v1/items/{item}` takes it."""

    revision: Expected | None = None


class ItemToWrite(ItemBody, kw_only=True, frozen=True):
    """An item with its id, as `PUT /v1/items` takes it."""

    item: Annotated[Id, Meta(description="Id of the item.")]


class ProfileBody(Profile, kw_only=True, frozen=True):
    """A profile as `PUT /v1/users/{user}` takes it."""

    revision: Expected | None = None


def _change_of(name: str, kind: type[ItemBody | ProfileBody], text: str) -> type[msgspec.Struct]:
    """The shape of a change: every field of a document, each of which may be null, and so may a label in it."""
    fields: list[tuple[str, Any, None]] = [
        (each, hint | None, None) for each, hint in get_type_hints(kind, include_extras=True).items()
    ]
    label = ("labels", ChangedLabels | None, None)
    fields = [label if each[0] == "labels" else each for each in fields]
    return msgspec.defstruct(name, fields, kw_only=True, forbid_unknown_fields=True, namespace={"__doc__": text})


ITEM_CHANGE = _change_of("ItemChange", ItemBody, "A change of an item: null removes a field.")
PROFILE_CHANGE = _change_of("ProfileChange", ProfileBody, "A change of a profile: null removes a field.")


class ProfileDocument(Profile, kw_only=True, omit_defaults=False, frozen=True):
    """A user's profile with the user's id and the document's revision."""

    user: Annotated[str, Meta(description="Id of the user.")]
    revision: Annotated[int, Meta(description="Number of the document's last change.")]


class ItemPage(msgspec.Struct):
    """Some items, in the order of their ids."""

    items: list[ItemDocument]
    """At most as many as `limit` says."""
    cursor: str | None
    """Parameter of the next page; null if this is the last one."""
    total: int
    """Number of items in the catalogue."""
    revision: int
    """Number of the catalogue's last change."""


class ProfilePage(msgspec.Struct):
    """Some profiles, in the order of the users' ids."""

    users: list[ProfileDocument]
    """At most as many as `limit` says."""
    cursor: str | None
    """Parameter of the next page; null if this is the last one."""
    total: int
    """Number of profiles."""
    revision: int
    """Number of the last change of a profile."""


class ItemWritten(msgspec.Struct):
    """The item is changed. The rest of it isn't shown, because writing takes another scope than reading."""

    item: str
    """Id of the item."""
    revision: int
    """Number of this change."""


class ProfileWritten(msgspec.Struct):
    """The profile is written. It isn't repeated, because writing takes another scope than reading."""

    user: str
    """Id of the user."""
    revision: int
    """Number of this change."""


class ItemDeleted(msgspec.Struct):
    """The item is in no list any more."""

    item: str
    """Id of the item."""
    revision: int
    """Number of this change."""
    note: str
    """Says what was deleted, and what remains."""


class ProfileDeleted(msgspec.Struct):
    """The profile is deleted, and nothing else."""

    user: str
    """Id of the user."""
    revision: int
    """Number of this change."""
    note: str
    """Says what was deleted, and what remains."""


class ItemsWritten(msgspec.Struct):
    """Number of items that were written together."""

    written: int
    """Number of documents."""
    revision: int
    """Number of the last of these changes."""


STRUCTS: list[type] = [
    ItemBody,
    ItemToWrite,
    ITEM_CHANGE,
    ItemDocument,
    ItemPage,
    ItemsWritten,
    ItemWritten,
    ItemDeleted,
    ProfileBody,
    PROFILE_CHANGE,
    ProfileDocument,
    ProfilePage,
    ProfileWritten,
    ProfileDeleted,
]
"""Structs that the OpenAPI document refers to."""
