"""Items that a filter lets through, as one truth value for each row of the columns.

This file decides what each part of a filter means. A million rows take some milliseconds a part; after a change only
the changed rows are looked at again (`snapshot`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream.catalogue.columns import Columns, Numbers
from stream.catalogue.filters import NO_FILTER, Filter, LabelCondition
from stream.catalogue.item import steps_of

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
    if wanted.hidden_categories:
        texts_hidden = _names(wanted.hidden_categories, "categories")
        passes &= ~_has_any(columns.categories[rows], columns.category_names, texts_hidden)
    if wanted.brands:
        passes &= np.isin(columns.brand[rows], _known(columns.brands, wanted.brands))
    if not_these := wanted.brands_none + wanted.hidden_brands:
        passes &= ~np.isin(columns.brand[rows], _known(columns.brands, not_these))
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
