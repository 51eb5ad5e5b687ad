"""Filters: what a request may ask of the items of its list.

All parts of a filter hold at once. An item of which the catalogue knows nothing passes no filter: nothing says that it
is in the category, has the price, or can be bought.

This file decides which parts a filter has, and which filters contradict themselves. Which items it lets through is
decided in `matching`.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from stream.catalogue.item import steps_of
from stream.catalogue.labels import Label, LabelName, is_too_large

Operator = Literal["eq", "ne", "lt", "le", "gt", "ge", "in", "not_in", "exists"]
COMPARING = ("lt", "le", "gt", "ge")
MEMBERSHIP = ("in", "not_in")


class WrongFilter(ValueError):
    """A filter that no item can satisfy, or that makes no sense.

    Attributes:
        field: the part that is wrong.
    """

    def __init__(self, field: str, text: str) -> None:
        super().__init__(f"{field}: {text}")
        self.field = field


class LabelCondition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A condition on one label."""

    field: LabelName
    """Name of the label."""
    op: Operator
    """Comparison: `exists` takes true or false, `in` and `not_in` take an array, `lt` to `ge` a number."""
    value: Label | list[Label]
    """Value that the label is compared with."""


class Filter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Conditions on the items of a list. An empty one lets every item through that is not blocked.

    Attributes:
        categories, categories_all, categories_none: the item is in any, in all, in none of them. A category holds what
            lies below it.
        tags, tags_all, tags_none: the same for tags.
        brands, brands_none: the item's brand is one of them, is none of them.
        price_min, price_max: bounds of the price, themselves included.
        currency: the price is in it.
        available: True: the catalogue knows the item, and it can be bought.
        published_after: seconds since the epoch; the item was published then or later.
        labels: conditions on labels.
        hidden_brands, hidden_categories: the visitor doesn't want to see them. Unlike the other parts they let items
            through of which the catalogue knows nothing.
    """

    categories: tuple[str, ...] = ()
    categories_all: tuple[str, ...] = ()
    categories_none: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    tags_all: tuple[str, ...] = ()
    tags_none: tuple[str, ...] = ()
    brands: tuple[str, ...] = ()
    brands_none: tuple[str, ...] = ()
    price_min: float | None = None
    price_max: float | None = None
    currency: str | None = None
    available: bool | None = None
    published_after: float | None = None
    labels: tuple[LabelCondition, ...] = ()
    hidden_brands: tuple[str, ...] = ()
    hidden_categories: tuple[str, ...] = ()

    @property
    def passes_unknown(self) -> bool:
        """True if items pass of which the catalogue knows nothing: the request itself asks for nothing.

        >>> Filter(hidden_brands=("Acme",)).passes_unknown, Filter(brands_none=("Acme",)).passes_unknown
        (True, False)
        """
        return self.without_hidden() is NO_FILTER

    @property
    def hides(self) -> bool:
        """True if the visitor hides something."""
        return bool(self.hidden_brands or self.hidden_categories)

    def without_hidden(self) -> Filter:
        """This filter for visitors who hide nothing; `NO_FILTER` itself if nothing is left."""
        rest = msgspec.structs.replace(self, hidden_brands=(), hidden_categories=())
        return NO_FILTER if rest == NO_FILTER else rest

    @property
    def key(self) -> bytes:
        """Bytes that are equal for equal filters only, `1` and `true` being different."""
        return _encode(self)


_encode = msgspec.json.Encoder().encode

NO_FILTER = Filter()

HIDDEN = ("hidden_brands", "hidden_categories")
"""Names of the parts that come from a visitor's profile."""

PARTS = tuple(name for name in Filter.__struct_fields__ if name not in HIDDEN)
"""Names of the other parts, which are also those of the parameters of a request."""


def check(wanted: Filter) -> None:
    """Check a filter for what no item can satisfy.

    >>> check(Filter(price_min=10, price_max=5))
    Traceback (most recent call last):
    stream.catalogue.filters.WrongFilter: price_max: 5 is below price_min, 10; no price is between

    Raises:
        WrongFilter: names the part.
    """
    if wanted.available is False:
        raise WrongFilter("available", "unavailable items are in no list; leave it out, or give true")
    for name in ("price_min", "price_max", "published_after"):
        number = getattr(wanted, name)
        if number is not None and not math.isfinite(number):
            raise WrongFilter(name, "a finite number is needed")
    low, high = wanted.price_min, wanted.price_max
    if low is not None and high is not None and high < low:
        raise WrongFilter("price_max", f"{high:g} is below price_min, {low:g}; no price is between")
    for name in ("categories", "categories_all", "categories_none"):
        for path in getattr(wanted, name):
            if not steps_of(path):
                raise WrongFilter(name, f"{path!r} names no category")
    for name, refused in (("categories_all", "categories_none"), ("tags_all", "tags_none")):
        never = set(_plain(wanted, refused))
        for text in getattr(wanted, name):
            if both := [each for each in _with_wider(text, name) if each in never]:
                raise WrongFilter(refused, f"{both[0]!r} is in {name} too; no item has it and has it not")
    for name, refused in (("categories", "categories_none"), ("tags", "tags_none"), ("brands", "brands_none")):
        ask, never = getattr(wanted, name), set(_plain(wanted, refused))
        if ask and all(never.intersection(_with_wider(text, name)) for text in ask):
            raise WrongFilter(refused, f"it takes away everything that {name} asks for")
    for condition in wanted.labels:
        _check_condition(condition)


def _with_wider(text: str, name: str) -> list[str]:
    """A category with those that hold it, the widest first; a tag or a brand alone."""
    return steps_of(text) if name.startswith("categories") else [text]


def _plain(wanted: Filter, name: str) -> list[str]:
    """The texts of a part of a filter, categories without blanks around their steps."""
    return [_with_wider(text, name)[-1] for text in getattr(wanted, name)]


def _check_condition(condition: LabelCondition) -> None:
    where, op, value = f"labels.{condition.field}", condition.op, condition.value
    if any(map(is_too_large, value if isinstance(value, list) else [value])):
        raise WrongFilter(where, "the number is too large")
    if op in MEMBERSHIP:
        if not isinstance(value, list) or not value:
            raise WrongFilter(where, f"{op} takes an array of values, such as [1, 2]")
    elif isinstance(value, list):
        raise WrongFilter(where, f"{op} takes one value; in and not_in take an array")
    elif op in COMPARING and (isinstance(value, bool | str) or not math.isfinite(value)):
        raise WrongFilter(where, f"{op} takes a number, not {value!r}")
    elif op == "exists" and not isinstance(value, bool):
        raise WrongFilter(where, "exists takes true or false")
