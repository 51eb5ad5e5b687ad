"""Items that a filter lets through, as one truth value for each row of the columns.

This file decides what each part of a filter means. A million rows take some milliseconds a part; after a change only
the changed rows are looked at again (`snapshot`). What visitors hide is another set for each of them, so the rows of a
brand and of a category are found without looking at the others (`RowsByNumber`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.catalogue.columns import Columns, Numbers
from stream.catalogue.filters import NO_FILTER, Filter, LabelCondition
from stream.catalogue.item import steps_of

MOST_CHANGED = 20_000
"""Changes after which rows are put into order anew. Each of them is looked at for every set that a visitor hides."""

Bools = NDArray[np.bool_]
Rows = slice | NDArray[np.int64]


def matching(wanted: Filter, columns: Columns, rows: Rows) -> Bools:
    """Truth values of these rows: the row passes the filter and is not blocked.

    Args:
        wanted: a filter that was checked.
        columns: the catalogue.
        rows: row numbers, or a slice of all rows.
    """
    passes = ~columns.blocked[rows]
    if wanted == NO_FILTER:
        return passes
    tables = (
        (columns.categories[rows], columns.category_names, "categories"),
        (columns.tags[rows], columns.tag_names, "tags"),
    )
    for table, numbers, name in tables:
        texts = [_names(getattr(wanted, name + ending), name) for ending in ("", "_all", "_none")]
        if texts[0]:
            passes &= _has_any(table, numbers, texts[0])
        for text in texts[1]:
            passes &= _has_any(table, numbers, [text])
        if texts[2]:
            passes &= ~_has_any(table, numbers, texts[2])
    if wanted.hides:
        passes &= ~hidden(wanted, columns, rows)
    if wanted.brands:
        passes &= np.isin(columns.brand[rows], _known(columns.brands, wanted.brands))
    if wanted.brands_none:
        passes &= ~np.isin(columns.brand[rows], _known(columns.brands, wanted.brands_none))
    if wanted.price_min is not None:
        passes &= columns.price[rows] >= wanted.price_min
    if wanted.price_max is not None:
        passes &= columns.price[rows] <= wanted.price_max
    if wanted.currency is not None:
        passes &= columns.currency[rows] == columns.currencies.get(wanted.currency, -1)
    if wanted.published_after is not None:
        passes &= columns.published[rows] >= wanted.published_after
    for condition in wanted.labels:
        passes &= _satisfies(condition, columns, rows)
    return passes


def hidden(wanted: Filter, columns: Columns, rows: Rows) -> Bools:
    """Truth values of these rows: the visitor doesn't want to see the row."""
    texts = _names(wanted.hidden_categories, "categories")
    found = _has_any(columns.categories[rows], columns.category_names, texts)
    if wanted.hidden_brands:
        found |= np.isin(columns.brand[rows], _known(columns.brands, wanted.hidden_brands))
    return found


class RowsByNumber:
    """Rows of a column by the numbers that they hold, as they were when it was made.

    Args:
        column: (rows,) or (rows, width) int32; 0 is none.

    >>> RowsByNumber(np.array([[1, 2], [0, 0], [2, 0]], np.int32)).rows_of([2, 9]).tolist()
    [0, 2]
    """

    def __init__(self, column: NDArray[np.int32]) -> None:
        flat = column.reshape(-1)
        most = int(flat.max(initial=0))
        there = np.flatnonzero(flat)
        numbers = flat[there]
        if most <= np.iinfo(np.uint16).max:
            numbers = numbers.astype(np.uint16)  # NumPy orders these by their digits, ten times faster
        order = np.argsort(numbers, kind="stable")
        self._rows = (there[order] // (column.shape[1] if column.ndim > 1 else 1)).astype(np.int32)
        self._ends = np.cumsum(np.bincount(numbers, minlength=most + 1))

    def rows_of(self, numbers: Sequence[int]) -> NDArray[np.int64]:
        """Rows that hold one of these numbers; a row that holds two of them stands there twice."""
        parts = [self._rows[self._ends[each - 1] : self._ends[each]] for each in numbers if 0 < each < len(self._ends)]
        return np.concatenate([np.empty(0, np.int64), *parts])


class HiddenRows:
    """Rows that visitors hide, found by their brands and categories.

    Putting a million rows into order takes a tenth of a second. So the thread that writes does it, and only if some
    visitor hides something.

    Args:
        columns: the catalogue.
    """

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._in_use = False
        self._ordered: OrderedRows | None = None
        self._changed: list[NDArray[np.int64]] = []

    def note(self, rows: NDArray[np.int64]) -> None:
        """Take note that these rows were written."""
        if self._ordered is not None:
            self._changed.append(rows)

    @property
    def due(self) -> bool:
        """True if rows have to be put into order."""
        return self._in_use and (self._ordered is None or sum(map(len, self._changed)) > MOST_CHANGED)

    def order(self) -> OrderedRows:
        """Put all rows into order. Call it in the thread that writes, and `take` the result."""
        count = len(self._columns)
        return OrderedRows(RowsByNumber(self._columns.brand[:count]), RowsByNumber(self._columns.categories[:count]))

    def take(self, ordered: OrderedRows) -> None:
        """Use this order from now on. Nothing may have been written since it was made."""
        self._ordered = ordered
        self._changed.clear()

    def of(self, wanted: Filter) -> NDArray[np.int64] | None:
        """Rows that are hidden, rising, each once: where `hidden` is true among all rows.

        None: rows are in no order yet, so every row has to be looked at.
        """
        self._in_use = True
        if self._ordered is None:
            return None
        columns = self._columns
        by_brand = _known(columns.brands, wanted.hidden_brands).tolist()
        by_category = _known(columns.category_names, _names(wanted.hidden_categories, "categories")).tolist()
        found = self._ordered.brands.rows_of(by_brand), self._ordered.categories.rows_of(by_category)
        rows = np.unique(np.concatenate([*found, *self._changed]))
        return rows[hidden(wanted, columns, rows)]


class OrderedRows(NamedTuple):
    """Rows of the catalogue by brand and by category."""

    brands: RowsByNumber
    categories: RowsByNumber


def _names(texts: Sequence[str], part: str) -> list[str]:
    """Texts as the columns number them: a category's path without blanks around its steps."""
    return [steps_of(text)[-1] for text in texts] if part == "categories" else list(texts)


def _known(numbers: Numbers, texts: Sequence[str]) -> NDArray[np.int32]:
    return np.array([numbers[text] for text in texts if text in numbers], np.int32)


def _has_any(table: NDArray[np.int32], numbers: Numbers, texts: Sequence[str]) -> Bools:
    """Rows of a table of numbers that hold the number of one of these texts."""
    known = _known(numbers, texts)
    found = np.zeros(len(table), np.bool_)
    if not len(known):
        return found
    wanted = np.zeros(len(numbers) + 1, np.bool_)
    wanted[known] = True
    for column in range(table.shape[1]):
        found |= wanted[table[:, column]]
    return found


def _satisfies(condition: LabelCondition, columns: Columns, rows: Rows) -> Bools:
    labels, name, value = columns.labels, condition.field, condition.value
    values = value if isinstance(value, list) else [value]
    match condition.op:
        case "eq" | "in":
            return labels.equal(name, values, rows)
        case "ne" | "not_in":
            return ~labels.equal(name, values, rows)
        case "exists":
            return labels.there(name, rows) == bool(value)
        case "lt" | "le":
            return labels.compared(name, -math.inf, float(values[0]), (True, condition.op == "le"), rows)
        case _:
            return labels.compared(name, float(values[0]), math.inf, (condition.op == "ge", True), rows)
