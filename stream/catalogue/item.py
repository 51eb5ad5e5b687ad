"""An item's document.

Every field may be left out. A document without any says that the item exists and is for sale, and a list may show it as
before. A field that isn't named here is refused: a misspelt `availabel` that is silently kept would go on selling what
is sold out.

This file decides the fields of an item, their types and their limits. Their effect on lists is decided in `columns` and
`matching`.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from stream.catalogue.labels import Labels
from stream.values import seconds_of

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Link = Annotated[str, Meta(max_length=2000)]
SEPARATOR = "/"
"""Separator of the steps of a category's path."""


class Item(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """Everything that a shop says about one item."""

    title: Annotated[str, Meta(max_length=1000, description="Name of the item, for people.")] | None = None
    brand: Annotated[Name, Meta(description="Its brand.")] | None = None
    categories: Annotated[
        list[Name], Meta(max_length=32, description="Paths such as `home/kitchen`; the item is in `home`, too.")
    ] = []
    tags: Annotated[list[Name], Meta(max_length=64, description="Words of your own.")] = []
    price: Annotated[float, Meta(ge=0, description="A number without a currency.")] | None = None
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$", description="Three letters, as in ISO 4217.")] | None = None
    available: Annotated[bool, Meta(description="False: sold out. The item is in no list.")] = True
    hidden: Annotated[bool, Meta(description="True: the item is in no list, whatever else is said.")] = False
    published_at: (
        Annotated[float | str, Meta(description="Seconds since the epoch, or a time as events have it.")] | None
    ) = None
    group: Annotated[Name, Meta(description="Product that the item is a variant of.")] | None = None
    labels: Labels = {}
    image: Annotated[Link, Meta(description="Address of a picture.")] | None = None
    link: Annotated[Link, Meta(description="Address of the item's page.")] | None = None

    @property
    def published_seconds(self) -> float | None:
        """The moment of publication in seconds since the epoch.

        Raises:
            InvalidEvent: it is no time.
        """
        return None if self.published_at is None else seconds_of(self.published_at)


def steps_of(path: str) -> list[str]:
    """A category's path with those of its parents, the widest first.

    >>> steps_of("home/kitchen/teapots")
    ['home', 'home/kitchen', 'home/kitchen/teapots']
    """
    steps = [step.strip() for step in path.split(SEPARATOR) if step.strip()]
    return [SEPARATOR.join(steps[: number + 1]) for number in range(len(steps))]
