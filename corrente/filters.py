"""Filters of lists.

This file decides how a filter is written in a query string and in a body. The guide to the catalogue says what each
part means.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec


class Condition(msgspec.Struct, frozen=True):
    """A condition on one label: `Condition("size", "ge", 40)`.

    Attributes:
        field: name of the label.
        op: `eq`, `ne`, `lt`, `le`, `gt`, `ge`, `in`, `not_in` or `exists`.
        value: value that the label is compared with.
    """

    field: str
    op: str
    value: Any


class Filter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Conditions that every item of a list meets.

    Attributes:
        categories, categories_all, categories_none: in any of them, in all of them, in none of them, or below:
            `home/kitchen`.
        tags, tags_all, tags_none: with any of them, all of them, none of them.
        brands, brands_none: of one of them, of none of them.
        price_min, price_max: bounds of the price.
        currency: of the price.
        available: True for items that the catalogue knows.
        published_after: seconds since the epoch, or text as in RFC 3339.
        labels: conditions on labels.
    """

    categories: Sequence[str] = ()
    categories_all: Sequence[str] = ()
    categories_none: Sequence[str] = ()
    tags: Sequence[str] = ()
    tags_all: Sequence[str] = ()
    tags_none: Sequence[str] = ()
    brands: Sequence[str] = ()
    brands_none: Sequence[str] = ()
    price_min: float | None = None
    price_max: float | None = None
    currency: str | None = None
    available: bool | None = None
    published_after: float | str | None = None
    labels: Sequence[Condition] = ()

    def as_parameters(self) -> list[tuple[str, str]]:
        """Pairs of a query string.

        >>> Filter(brands=["Bodum"], price_max=20, labels=[Condition("size", "ge", 40)]).as_parameters()
        [('brands', 'Bodum'), ('price_max', '20'), ('labels', '{"field":"size","op":"ge","value":40}')]
        """
        pairs: list[tuple[str, str]] = []
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is None:
                continue
            several = value if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
            pairs += [(name, text_of(each)) for each in several]
        return pairs

    def as_fields(self) -> dict[str, Any]:
        """Fields of a body."""
        built: dict[str, Any] = msgspec.to_builtins(self)
        return built


def text_of(value: Any) -> str:
    """A value as a parameter of a query string: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
