"""Guesses: which of a file's columns could be which of ours.

A column of ours is found by its own name first, then by a name that other systems use for it, and the time also by its
values. A guess is taken only if the first values fit: times have to be times, numbers numbers, kinds few.

This file decides the names and the checks of values.

>>> guess_columns({"when": ["2026-01-01", "2026-01-02"], "Customer ID": ["7", "8"], "sku": ["a", "b"]}, {})
{'ts': 'when', 'item': 'sku', 'user': 'Customer ID'}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stream.ingest.files.columns import NUMBERS, TIME, TIME_OF_EVENTS
from stream.values import InvalidEvent, number_of, seconds_of

NAMES: Mapping[str, tuple[str, ...]] = {
    "ts": (
        "ts", "timestamp", "time", "datetime", "date", "eventtime", "eventtimestamp", "eventdate", "when", "createdat",
        "occurredat", "at", "atms", "unixtime", "unixtimestamp", "clicktimestamp", "invoicedate", "orderdate",
    ),
    "item": (
        "item", "itemid", "product", "productid", "sku", "article", "articleid", "movie", "movieid", "book", "track",
        "trackid", "content", "contentid", "asin", "isbn", "stockcode", "clickarticleid", "variant", "parentasin",
    ),
    "user": (
        "user", "userid", "visitor", "visitorid", "customer", "customerid", "client", "clientid", "who", "uid",
        "member", "account", "anonymousid", "reviewerid", "deviceid",
    ),
    "session": ("session", "sessionid", "usersession", "visit", "visitid", "sid", "basket", "basketid"),
    "event": ("event", "eventtype", "eventname", "kind", "action", "behavior", "behaviour", "type", "interaction"),
    "value": ("value", "rating", "stars", "score", "overall"),
    "quantity": ("quantity", "qty", "pieces"),
    "price": ("price", "unitprice", "saleprice"),
    "currency": ("currency", "currencycode"),
    "event_id": ("eventid", "messageid", "uuid", "id"),
}  # fmt: skip
"""Names by column of ours, without case, blanks and marks, the likeliest first."""

FIRST_SECONDS = 631_152_000
"""1 January 1990: a column of smaller numbers is rather something else than the time."""

MOST_KINDS = 50
ENOUGH_VALUES = 200


def guess_columns(sample: Mapping[str, Sequence[Any]], named: Mapping[str, str]) -> dict[str, str]:
    """Our column names to the file's, as far as they can be guessed.

    Args:
        sample: the first values of each column, by the file's names.
        named: columns that the caller named, which stay.
    """
    found = dict(named)
    bare = {name: "".join(character for character in name.lower() if character.isalnum()) for name in sample}
    for column, names in NAMES.items():
        if column in found:
            continue
        exact = [TIME, TIME_OF_EVENTS] if column == TIME else [column]
        candidates = [name for name in exact if name in sample]
        candidates += [each for name in names for each, written in bare.items() if written == name]
        if column == TIME:
            candidates += sample
        for name in candidates:
            if name not in found.values() and _fits(column, _first(sample[name])):
                found[column] = name
                break
    return found


def fitting_columns(values: Sequence[Any]) -> list[str]:
    """Our columns that a column's values would fit, among those that values alone can tell.

    >>> fitting_columns([1_700_000_000, 1_700_000_060]), fitting_columns(["ada", "bob"])
    (['ts', 'item', 'user', 'session', 'event'], ['item', 'user', 'session', 'event'])
    """
    first = _first(values)
    return [column for column in ("ts", "item", "user", "session", "event") if _fits(column, first)]


def _first(values: Sequence[Any]) -> list[Any]:
    """The first values that are there."""
    return [value for value in values if value is not None and value != ""][:ENOUGH_VALUES]


def _fits(column: str, values: list[Any]) -> bool:
    if column == TIME:
        return bool(values) and 2 * sum(map(_is_time, values)) > len(values)
    if column in NUMBERS:
        return bool(values) and 2 * sum(map(_is_number, values)) > len(values)
    if column == "event":
        kinds = set(map(str, values))
        return 0 < len(kinds) <= MOST_KINDS and all(len(kind) <= 64 for kind in kinds)
    if column == "event_id":
        return bool(values) and len(set(map(str, values))) == len(values)
    return bool(values) and all(isinstance(value, str | int | float) for value in values)


def _is_time(value: Any) -> bool:
    try:
        return isinstance(value, str | int | float) and seconds_of(value) >= FIRST_SECONDS
    except InvalidEvent:
        return False


def _is_number(value: Any) -> bool:
    try:
        return isinstance(value, str | int | float) and number_of("", value) is not None
    except InvalidEvent:
        return False
