"""JSON of the catalogue's answers.

This file decides what an answer about documents says.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from stream.catalogue.item import Item
from stream.catalogue.profile import Profile


class ItemDocument(Item, kw_only=True, omit_defaults=False, frozen=True):
    """An item with its id and revision."""

    item: Annotated[str, Meta(description="Id of the item.")]
    revision: Annotated[int, Meta(description="Number of the document's last change.")]


class ItemToWrite(Item, kw_only=True, frozen=True):
    """An item with its id, as `PUT /v1/items` takes it."""

    item: Annotated[str | int, Meta(description="Id of the item.")]
    revision: (
        Annotated[int, Meta(ge=0, description="The one that the document must have, 0 if there must be none.")] | None
    ) = None


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


STRUCTS = [ItemDocument, ItemToWrite, ProfileDocument, ItemPage, ProfilePage, ItemDeleted, ProfileDeleted, ItemsWritten]
"""Structs that the OpenAPI document refers to."""
