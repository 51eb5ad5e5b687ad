"""Columns of a file of events.

This file decides which columns a file must have, and under which names they are found. A file needs a time (`ts`, or
`timestamp` as in events), an `item`, and a `user` or a `session` or both. `event` is the kind of the event; a file
without that column holds one kind, which the caller names. `value`, `quantity`, `price`, `currency`, `event_id`,
`consent` and `bot` are read if they exist. Other columns are ignored.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from stream.values import InvalidEvent, has_time, number_of

COLUMNS = (
    *("ts", "user", "session", "item", "event", "value", "quantity", "price", "currency", "event_id"),
    *("consent", "bot"),
)
"""Columns that can be read from a file, by our names."""

TIME, TIME_OF_EVENTS = "ts", "timestamp"
"""Our two names of the time. A file that has both columns is read by the first."""

NUMBERS = ("value", "quantity", "price")
IDS = ("item", "user", "session", "event_id")


Choose = Callable[[list[str]], dict[str, str]]
"""The columns of a file that are read, by the key of each, given its header."""


class WrongFile(ValueError):
    """A file that can't be read as events. The message says where, what was found and what would be right."""


def is_not_utf8(cell: str) -> bool:
    """True if a cell was read from bytes that are not UTF-8; such bytes become lone surrogates."""
    return any("\ud800" <= character <= "\udfff" for character in cell)


def with_one_time(columns: Mapping[str, str]) -> dict[str, str]:
    """Our column names to the file's, with `ts` for the time that was called `timestamp`.

    >>> with_one_time({"timestamp": "when", "item": "product"})
    {'item': 'product', 'ts': 'when'}

    Raises:
        WrongFile: a name is no column of events, or both names of the time were given.
    """
    if unknown := set(columns) - {*COLUMNS, TIME_OF_EVENTS}:
        there = ", ".join(COLUMNS).replace(TIME, f"{TIME} (or {TIME_OF_EVENTS})", 1)
        raise WrongFile(f"{min(unknown)!r} is no column of events; there are {there}")
    if TIME in columns and TIME_OF_EVENTS in columns:
        raise WrongFile(
            f"the time was named twice: {TIME}={columns[TIME]} and {TIME_OF_EVENTS}={columns[TIME_OF_EVENTS]}; "
            "both mean the same column, so name one"
        )
    found = dict(columns)
    if TIME_OF_EVENTS in found:
        found[TIME] = found.pop(TIME_OF_EVENTS)
    return found


@dataclass(frozen=True)
class ColumnNames:
    """The names of the wanted columns in one file.

    Attributes:
        path: the file, for messages.
        columns: our column name to the file's, where they differ.
        kind: kind of every event, for a file without an `event` column.
        has_header: False if the caller named the columns in their order, and the first line is an event.
    """

    path: Path
    columns: Mapping[str, str]
    kind: str | None
    has_header: bool = True

    def find(self, header: list[str]) -> dict[str, str]:
        """Our column names to the file's, for those that the header has.

        Raises:
            WrongFile: a needed column, or one that the caller named, is missing, or occurs twice.
        """
        found = {}
        if not header:
            raise WrongFile(f"{self.path}: the file is empty; its first line names the columns")
        if any(is_not_utf8(name) for name in header):
            raise WrongFile(f"{self.path}: line 1 is not UTF-8 text; is it in another encoding, or packed otherwise?")
        for column in COLUMNS:
            name = self.name_of(column, header)
            if header.count(name) > 1:
                raise WrongFile(f"{self.path}: there are {header.count(name)} columns {name!r}; which one is meant?")
            if name in header:
                found[column] = name
            elif column in self.columns:
                raise self._missing(name, header, f"You named it for {column!r}")
        for column, names in ((TIME, f"{TIME}' or '{TIME_OF_EVENTS}"), ("item", "item")):
            if column not in found:
                raise self._missing(names, header, f"Say which one is meant: {column}=<its name>")
        if "user" not in found and "session" not in found:
            raise self._missing("user' or 'session", header, "Say which one is meant: user=<its name>")
        if self.kind is not None:
            found.pop("event", None)
        elif "event" not in found:
            remedy = "Say which one is the kind, event=<its name>, or name one kind for all rows (--kind click)"
            raise self._missing("event", header, remedy)
        return found

    def find_all(self, header: Collection[str]) -> dict[str, str]:
        """Our column names to the file's, for all that a later row may have. `header` is that of the first rows."""
        found = {column: self.name_of(column, header) for column in COLUMNS}
        if self.kind is not None:
            del found["event"]
        return found

    def name_of(self, column: str, header: Collection[str]) -> str:
        """The name of one of our columns in a file with this header."""
        if column == TIME and TIME not in self.columns and TIME not in header and TIME_OF_EVENTS in header:
            return TIME_OF_EVENTS
        return self.columns.get(column, column)

    def _missing(self, name: str, header: list[str], remedy: str) -> WrongFile:
        """The error for a missing column, with the columns that there are and what to do."""
        listed = textwrap.shorten(", ".join(header), 500, placeholder=" …")
        if self.has_header and any(map(_is_value, header)):
            return WrongFile(
                f"{self.path}: no column '{name}'. Line 1 seems to be an event instead of names of columns: {listed}. "
                f"Name its {len(header)} columns in their order, such as --columns ts,user,item (- for one that isn't "
                f"read), or name those that are meant: {name.partition(chr(39))[0]}=<its name>."
            )
        if len(header) == 1:
            remedy = "If they are several, say what separates them, such as --separator ';'"
        return WrongFile(f"{self.path}: no column '{name}'. There are: {listed}. {remedy}.")


def _is_value(name: str) -> bool:
    """True for what is rather a number or a time than the name of a column.

    >>> [_is_value(name) for name in ("881250949", "2024-01-14 00:00:00 UTC", "ts", "item", "")]
    [True, True, False, False, False]
    """
    try:
        return number_of("name", name) is not None
    except InvalidEvent:
        pass
    try:
        return has_time(name)
    except InvalidEvent:
        return False
