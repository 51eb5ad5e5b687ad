"""Columns of free labels: one for each name, with the type of each value, so that `1`, `true` and `"1"` differ.

This file decides how labels become columns, and what a condition on a label means. An item without the label satisfies
only `ne`, `not_in` and `exists: false`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from stream.catalogue.labels import Label

NOTHING, TRUTH, NUMBER, TEXT = range(4)
"""Type of a value; 0 stands for none."""

Bools = NDArray[np.bool_]


class LabelColumns:
    """Values of all labels, by row.

    Args:
        rows: number of rows there is room for.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._kinds: dict[str, NDArray[np.uint8]] = {}
        self._values: dict[str, NDArray[np.float64]] = {}
        self._texts: dict[str, int] = {}

    def widen(self, rows: int) -> None:
        """Make room for more rows."""
        self._rows = rows
        for name, kinds in self._kinds.items():
            more = rows - len(kinds)
            self._kinds[name] = np.concatenate([kinds, np.zeros(more, np.uint8)])
            self._values[name] = np.concatenate([self._values[name], np.zeros(more)])

    def put(self, row: int, labels: Mapping[str, Label]) -> None:
        """Replace all labels of a row."""
        for kinds in self._kinds.values():
            kinds[row] = NOTHING
        for name, value in labels.items():
            if name not in self._kinds:
                self._kinds[name] = np.zeros(self._rows, np.uint8)
                self._values[name] = np.zeros(self._rows)
            self._kinds[name][row] = kind_of(value)
            if isinstance(value, str):
                value = self._texts.setdefault(value, len(self._texts))
            self._values[name][row] = value

    def equal(self, name: str, values: Sequence[Label], rows: slice | NDArray[np.int64]) -> Bools:
        """Rows whose label is one of these values."""
        kinds, numbers = self._columns(name, rows)
        found = np.zeros(len(kinds), np.bool_)
        for value in values:
            number = self._texts.get(value) if isinstance(value, str) else value
            if number is not None:
                found |= (kinds == kind_of(value)) & (numbers == float(number))
        return found

    def compared(
        self, name: str, low: float, high: float, within: tuple[bool, bool], rows: slice | NDArray[np.int64]
    ) -> Bools:
        """Rows whose label is a number between two bounds.

        Args:
            name: of the label.
            low, high: the bounds.
            within: whether each bound itself counts.
            rows: to be looked at.
        """
        kinds, numbers = self._columns(name, rows)
        above = numbers >= low if within[0] else numbers > low
        below = numbers <= high if within[1] else numbers < high
        return (kinds == NUMBER) & above & below

    def there(self, name: str, rows: slice | NDArray[np.int64]) -> Bools:
        """Rows that have the label."""
        return self._columns(name, rows)[0] != NOTHING

    def _columns(self, name: str, rows: slice | NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        if name not in self._kinds:
            count = len(np.zeros(self._rows, np.uint8)[rows])
            return np.zeros(count, np.uint8), np.zeros(count)
        return self._kinds[name][rows], self._values[name][rows]


def kind_of(value: Label) -> int:
    """Type of a label's value.

    >>> kind_of(True), kind_of(1), kind_of("1")
    (1, 2, 3)
    """
    if isinstance(value, bool):
        return TRUTH
    return TEXT if isinstance(value, str) else NUMBER
