"""Filters as they come over HTTP: the same names in a query string and in a body.

This file decides which parameters and fields make up a filter, their limits, and how a label's condition is written in
a query string. Their meaning is decided by `stream.catalogue`.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from serving.web.problems import Problem
from stream.catalogue.filters import NO_FILTER, PARTS, Filter, LabelCondition, WrongFilter, check
from stream.values import InvalidEvent, seconds_of

Texts = Annotated[list[Annotated[str, Meta(min_length=1, max_length=200)]], Meta(max_length=50)]
Category = Annotated[
    str, Meta(min_length=1, max_length=200, extra_json_schema={"pattern": r"[^\s/\u001c-\u001f\u0085]"})
]
Categories = Annotated[list[Category], Meta(max_length=50)]


class _FilterParts(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Parts that are written alike in a query string and in a body."""

    categories: Annotated[
        Categories, Meta(description="In any of these categories or below them: `home/kitchen`. May be repeated.")
    ] = []
    categories_all: Annotated[Categories, Meta(description="In all of these categories.")] = []
    categories_none: Annotated[Categories, Meta(description="In none of these categories.")] = []
    tags: Annotated[Texts, Meta(description="With any of these tags.")] = []
    tags_all: Annotated[Texts, Meta(description="With all of these tags.")] = []
    tags_none: Annotated[Texts, Meta(description="With none of these tags.")] = []
    brands: Annotated[Texts, Meta(description="Of one of these brands.")] = []
    brands_none: Annotated[Texts, Meta(description="Of none of these brands.")] = []
    price_min: Annotated[float, Meta(ge=0, description="With this price or a higher one.")] | None = None
    price_max: Annotated[float, Meta(ge=0, description="With this price or a lower one.")] | None = None
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$", description="With a price in this currency.")] | None = None
    available: (
        Annotated[
            bool,
            Meta(
                description="True: only items that the catalogue knows. Sold-out ones never come.",
                extra_json_schema={"enum": [True]},
            ),
        ]
        | None
    ) = None
    published_after: (
        Annotated[
            float | str, Meta(description="Published at this time or later: seconds, or a time as events have it.")
        ]
        | None
    ) = None


class FilterParameters(_FilterParts, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The part of a query string that is a filter. A parameter that takes several values is repeated."""

    labels: Annotated[
        list[str],
        Meta(max_length=20, description='A condition as JSON: `{"field": "size", "op": "ge", "value": 40}`.'),
    ] = msgspec.field(default_factory=list)


class FilterFields(_FilterParts, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The part of a body that is a filter."""

    labels: Annotated[list[LabelCondition], Meta(max_length=20, description="Conditions on labels.")] = msgspec.field(
        default_factory=list
    )


_NOTHING = {name: getattr(FilterParameters(), name) for name in PARTS}
_read_condition = msgspec.json.Decoder(LabelCondition).decode


def filter_of(request: FilterParameters | FilterFields) -> Filter:
    """The filter of a request.

    Raises:
        Problem: 422, naming the parameter, if it contradicts itself or another one.
    """
    given: dict[str, Any] = {name: value for name in PARTS if (value := getattr(request, name)) != _NOTHING[name]}
    if not given:
        return NO_FILTER
    if "published_after" in given:
        try:
            given["published_after"] = seconds_of(given["published_after"])
        except InvalidEvent as error:
            raise Problem(422, f"published_after: {error}", field="published_after") from None
    if "labels" in given:
        given["labels"] = [each if isinstance(each, LabelCondition) else _condition(each) for each in given["labels"]]
    parts: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    wanted = Filter(**parts)
    try:
        check(wanted)
    except WrongFilter as error:
        raise Problem(422, str(error), field=error.field.partition(".")[0]) from None
    return wanted


def _condition(text: str) -> LabelCondition:
    try:
        return _read_condition(text.encode("utf-8", "surrogatepass"))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Problem(
            422,
            f"labels: {text[:80]!r} is no condition ({error}); one is such as "
            '{"field": "size", "op": "ge", "value": 40}',
            field="labels",
        ) from None
