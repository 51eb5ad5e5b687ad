"""Documents of the catalogue: items and profiles of users.

This file decides the fields of documents and of the answers about them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import msgspec

Label: TypeAlias = bool | int | float | str
Labels: TypeAlias = Mapping[str, Label]


class Item(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An item's document. Every field may be left out.

    Attributes:
        title: name of the item, for people.
        brand: its brand.
        categories: paths such as `home/kitchen`.
        tags: words of your own.
        price, currency: a number, and three letters as in ISO 4217.
        available: False: sold out, in no list.
        hidden: True: in no list, whatever else is said.
        published_at: seconds since the epoch, or text as in RFC 3339.
        group: product that the item is a variant of.
        labels: names of your own, each with true or false, a number or a text.
        image, link: addresses of a picture and of the item's page.
    """

    title: str | None = None
    brand: str | None = None
    categories: list[str] = msgspec.field(default_factory=list)
    tags: list[str] = msgspec.field(default_factory=list)
    price: float | None = None
    currency: str | None = None
    available: bool = True
    hidden: bool = False
    published_at: float | str | None = None
    group: str | None = None
    labels: Labels = msgspec.field(default_factory=dict)
    image: str | None = None
    link: str | None = None


class ItemDocument(Item, frozen=True, kw_only=True):
    """An item with its id, and the number of its document's last change."""

    item: str
    revision: int


class ItemPage(msgspec.Struct, frozen=True):
    """Some items, in the order of their ids.

    Attributes:
        items: of this page.
        cursor: of the next page; None if this is the last one.
        total: number of items in the catalogue.
        revision: number of the catalogue's last change.
    """

    items: list[ItemDocument]
    cursor: str | None
    total: int
    revision: int


class ItemsWritten(msgspec.Struct, frozen=True):
    """Number of items that were written together, and the number of the last change."""

    written: int
    revision: int


class ItemWritten(msgspec.Struct, frozen=True):
    """The item is changed."""

    item: str
    revision: int


class ItemDeleted(msgspec.Struct, frozen=True):
    """The item is in no list any more."""

    item: str
    revision: int
    note: str


class Profile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A user's profile. Every field may be left out.

    Attributes:
        language: as in BCP 47, such as `de-CH`.
        country: two letters, as in ISO 3166.
        tags: words of your own.
        labels: names of your own, each with true or false, a number or a text.
        profiling: `off`: this visitor's lists are made without what is known of the visitor.
        hidden_brands, hidden_categories: this visitor's lists hold no items of them.
    """

    language: str | None = None
    country: str | None = None
    tags: list[str] = msgspec.field(default_factory=list)
    labels: Labels = msgspec.field(default_factory=dict)
    profiling: str = "on"
    hidden_brands: list[str] = msgspec.field(default_factory=list)
    hidden_categories: list[str] = msgspec.field(default_factory=list)


class ProfileDocument(Profile, frozen=True, kw_only=True):
    """A profile with the user's id, and the number of the document's last change."""

    user: str
    revision: int


class ProfilePage(msgspec.Struct, frozen=True):
    """Some profiles, in the order of the users' ids; as `ItemPage`."""

    users: list[ProfileDocument]
    cursor: str | None
    total: int
    revision: int


class ProfileWritten(msgspec.Struct, frozen=True):
    """The profile is written."""

    user: str
    revision: int


class ProfileDeleted(msgspec.Struct, frozen=True):
    """The profile is deleted, and nothing else."""

    user: str
    revision: int
    note: str
