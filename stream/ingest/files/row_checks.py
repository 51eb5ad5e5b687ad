"""Checks of rows of a file of events.

This file decides what is wrong with a row, and which good ids are doubtful. Some thousand rows are checked together, by
a few operations on whole columns; only if something is wrong among them is each row checked by itself. Bad rows are
left out and reported.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.events import check_id, plain
from stream.ingest.files.columns import IDS, NUMBERS, is_not_utf8
from stream.values import (
    LATEST_SECONDS,
    InvalidEvent,
    bot_of,
    consent_of,
    number_of,
    seconds_of,
    seconds_of_numbers,
)

BadRow = Callable[[int, str], None]
"""Called with the line number and what is wrong with the row; the row is left out."""

_CHECKS: Mapping[str, Callable[[str | None], object]] = {"consent": consent_of, "bot": bot_of}
"""Columns with a few words as cells, and the function that raises for another one."""

Rows = tuple[list[int], dict[str, list[Any]]]
"""Line numbers, and the cells of each column, by our names."""


def good_rows(
    lines: list[int], cells: dict[str, list[Any]], bad_row: BadRow
) -> tuple[list[int], NDArray[np.float64], dict[str, list[str | None]]]:
    """Take the rows that can be learned.

    Args:
        lines: line number of each row.
        cells: cells of each column, by our names, as they stand in the file.
        bad_row: called for every other row.

    Returns:
        Line numbers, times in seconds, and the cells of all columns but `ts`, where an empty cell is None.
    """
    seconds = all_good(cells)
    if seconds is None:
        rows = [dict(zip(cells, row, strict=True)) for row in zip(*cells.values(), strict=True)]
        kept = []
        for index, row in enumerate(rows):
            if reason := _wrong_with(row):
                bad_row(lines[index], reason)
            else:
                kept.append(index)
        lines = [lines[index] for index in kept]
        cells = {column: [_cell(column, values[index]) for index in kept] for column, values in cells.items()}
        seconds = np.array([_seconds(cell) for cell in cells["ts"]], np.float64)
    without_empty = {
        column: [cell or None for cell in values] if "" in values else values for column, values in cells.items()
    }
    del without_empty["ts"]
    return lines, seconds, without_empty


def all_good(cells: dict[str, list[Any]]) -> NDArray[np.float64] | None:
    """The times of rows in which nothing can be wrong; None if each row has to be checked by itself."""
    try:
        seconds = seconds_of_numbers(np.array(cells["ts"], np.float64))
        texts = ["".join(cells[column]) for column in cells if column in IDS or column == "event"]
        for column in NUMBERS:
            if column in cells and not np.isfinite(np.array([cell or 0 for cell in cells[column]], np.float64)).all():
                return None
        for column, check in _CHECKS.items():
            for cell in set(cells.get(column, ())):
                check(cell)
                if not isinstance(cell, str | None):
                    return None
    except (TypeError, ValueError):
        return None
    in_time = bool(((seconds >= 0) & (seconds <= LATEST_SECONDS)).all())
    visitors = [cells[column] for column in ("user", "session") if column in cells]
    named = all(all(column) for column in visitors) or all(map(any, zip(*visitors, strict=True)))
    short = all(max(map(len, cells[column])) <= 64 for column in cells if column in IDS)  # 64 characters: 256 bytes
    good = in_time and named and short and plain(texts) and all(cells["item"]) and all(cells.get("event", ["x"]))
    return seconds if good else None


def _wrong_with(row: dict[str, Any]) -> str | None:
    """The reason why a row can't be learned, or None."""
    try:
        row = {column: _cell(column, value) for column, value in row.items()}
        _seconds(row["ts"])
        for column in IDS:
            if row.get(column) is not None or column == "item":
                if is_not_utf8(row[column] or ""):
                    raise InvalidEvent(f"{column}: not UTF-8 text; is the file in another encoding?")
                check_id(column, row[column] or "")
        if row.get("user") is None and row.get("session") is None:
            raise InvalidEvent("user: neither a user nor a session")
        if not row.get("event", "x"):
            raise InvalidEvent("event: empty, a kind such as click is needed")
        for column in NUMBERS:
            number_of(column, row.get(column))
        for column, check in _CHECKS.items():
            check(row.get(column))
    except ValueError as error:
        return str(error)
    return None


def _cell(column: str, value: Any) -> str | None:
    """A cell as text: JSON numbers as they were written, an empty cell as None.

    Raises:
        InvalidEvent: it is neither text nor a number, or an id is a fraction.
    """
    if value is None or value == "" or (column in NUMBERS and isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, str):
        return value
    if column == "bot" and isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, bool) or not isinstance(value, int | float) or (column in IDS and isinstance(value, float)):
        raise InvalidEvent(f"{column}: {str(value)[:80]!r} is neither text nor a whole number")
    return repr(value)


def _seconds(cell: str | None) -> float:
    """A time as it stands in a file, in seconds since the epoch. 0 is 1970: a row has no other time."""
    return seconds_of(cell or "")


def kind_of_reason(reason: str) -> str:
    """A reason without the values in it, under which rows with the same fault are counted together.

    >>> kind_of_reason("timestamp: 'yesterday' is neither seconds since the epoch nor RFC 3339")
    'timestamp: … is neither seconds since the epoch nor RFC 3339'
    """
    return _QUOTED.sub("…", reason)


class NumberIds:
    """Ids that are whole numbers written as fractions or powers: `42.0` is another id than `42`.

    Programs write whole numbers so where a column has gaps, or where a spreadsheet rounded it. An id is text and stays
    as it is, because `1e5` may as well be part of a hash; so these ids are said, and nothing is changed.

    >>> ids = NumberIds()
    >>> ids.add(["42.0", "42", "7", "1e5"])
    >>> print(*ids.sentences("item"))
    item: 2 ids are whole numbers written as '42.0', '1e5': other ids than '42', '100000'; write whole numbers as such
    """

    def __init__(self) -> None:
        self._found: dict[str, str] = {}

    def add(self, ids: Iterable[str | None]) -> None:
        """Look at some ids; None is none."""
        for identifier in ids:
            if identifier and _POINT_OR_POWER.fullmatch(identifier) and identifier not in self._found:
                number = Decimal(identifier)
                if number == number.to_integral_value():
                    self._found[identifier] = f"{number:.0f}"

    def sentences(self, column: str) -> list[str]:
        """A sentence that names the first of these ids in a column, if there are any."""
        if not self._found:
            return []
        written = ", ".join(map(repr, list(self._found)[:3]))
        plainly = ", ".join(map(repr, dict.fromkeys(list(self._found.values())[:3])))
        count = "1 id is a whole number" if len(self._found) == 1 else f"{len(self._found)} ids are whole numbers"
        other = "another id than" if len(self._found) == 1 else "other ids than"
        return [f"{column}: {count} written as {written}: {other} {plainly}; write whole numbers as such"]


_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|(?<=timestamp: )[-\d.e+]+")
"""Values as messages quote them."""

_POINT_OR_POWER = re.compile(r"-?\d+(?:\.0+|(?:\.\d{1,15})?[eE][+]?\d{1,2})", re.ASCII)
"""A number with a point or a power that may be whole. Its powers are small, so that it is quickly written plainly."""
