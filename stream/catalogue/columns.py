"""The catalogue as columns: one row for each item that was ever named, one array for each property.

Texts are numbered, so that a filter compares integers. A row is never given to another item; a deleted item keeps its
row, which is blocked. Blocked items (hidden, unavailable or deleted) are in no list.

This file decides how a document becomes a row, and which items are blocked. One thread writes; readers and the writer
exclude each other (`stream.catalogue_store.live`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.catalogue.item import Item, steps_of
from stream.catalogue.label_columns import LabelColumns
from stream.models.batch import ITEM_SALT
from stream.models.kernels.hashing import hash_ids, salt_key

FIRST_ROWS = 64
FIRST_WIDTH = 4
"""Categories and tags of a row there is room for at first."""


class Change(NamedTuple):
    """A document as it is now.

    Attributes:
        item: id of the item.
        revision: number of the change; a later one is larger.
        document: None for an item that was deleted.
    """

    item: str
    revision: int
    document: Item | None


class Numbers(dict[str, int]):
    """Numbers of texts, from 1 in the order in which they are met."""

    def of(self, text: str | None) -> int:
        """The number of a text, a new one if it has none; 0 for None."""
        return 0 if text is None else self.setdefault(text, len(self) + 1)


class Columns:
    """Columns of all items.

    Attributes:
        items: ids by row.
        row_of: row by id.
        keys: (rows, 2) uint64, the key under which a model knows each item.
        revision: int64 by row.
        blocked: bool by row.
        price: float64, NaN for none; currency, brand: number of the text, 0 for none.
        published: float64, seconds, NaN for none.
        categories, tags: (rows, width) int32, numbers of texts, 0 for none. A category stands beside its parents.
        labels: free labels.
        currencies, brands, category_names, tag_names: numbers of the texts.
        live: number of items that are not deleted.
    """

    def __init__(self) -> None:
        self.items: list[str] = []
        self.row_of: dict[str, int] = {}
        self.keys = np.zeros((FIRST_ROWS, 2), np.uint64)
        self.revision = np.zeros(FIRST_ROWS, np.int64)
        self.blocked = np.zeros(FIRST_ROWS, np.bool_)
        self.deleted = np.zeros(FIRST_ROWS, np.bool_)
        self.price = np.full(FIRST_ROWS, np.nan)
        self.published = np.full(FIRST_ROWS, np.nan)
        self.currency = np.zeros(FIRST_ROWS, np.int32)
        self.brand = np.zeros(FIRST_ROWS, np.int32)
        self.categories = np.zeros((FIRST_ROWS, FIRST_WIDTH), np.int32)
        self.tags = np.zeros((FIRST_ROWS, FIRST_WIDTH), np.int32)
        self.labels = LabelColumns(FIRST_ROWS)
        self.currencies, self.brands, self.category_names, self.tag_names = Numbers(), Numbers(), Numbers(), Numbers()
        self.live = 0
        self._salt = salt_key(ITEM_SALT)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.items)

    def put(self, changes: Sequence[Change]) -> NDArray[np.int64]:
        """Write documents; one that is no newer than its row is left out.

        Returns:
            The rows that were written, rising, each once.
        """
        self._add_rows(list(dict.fromkeys(change.item for change in changes if change.item not in self.row_of)))
        written = set()
        for change in changes:
            row = self.row_of[change.item]
            if change.revision > self.revision[row]:
                self._write(row, change)
                written.add(row)
        return np.array(sorted(written), np.int64)

    def _add_rows(self, items: list[str]) -> None:
        if not items:
            return
        first, count = len(self.items), len(self.items) + len(items)
        if count > len(self.revision):
            self._widen(max(count, 2 * len(self.revision)))
        self.items += items
        self.row_of.update(zip(items, range(first, count), strict=True))
        self.keys[first:count] = hash_ids(items, self._salt)
        self.deleted[first:count] = True  # until it is written

    def _write(self, row: int, change: Change) -> None:
        document = change.document
        self.live += int(self.deleted[row]) - int(document is None)
        self.revision[row] = change.revision
        self.deleted[row] = document is None
        shown = document if document is not None else Item()
        self.blocked[row] = document is None or document.hidden or not document.available
        self.price[row] = math.nan if shown.price is None else shown.price
        published = shown.published_seconds
        self.published[row] = math.nan if published is None else published
        self.currency[row] = self.currencies.of(shown.currency)
        self.brand[row] = self.brands.of(shown.brand)
        steps = dict.fromkeys(step for path in shown.categories for step in steps_of(path))
        self.categories = _with_numbers(self.categories, row, [self.category_names.of(step) for step in steps])
        self.tags = _with_numbers(self.tags, row, [self.tag_names.of(tag) for tag in dict.fromkeys(shown.tags)])
        self.labels.put(row, shown.labels)

    def _widen(self, rows: int) -> None:
        for name, empty in (("price", np.nan), ("published", np.nan), *((each, 0) for each in _ZERO)):
            column = getattr(self, name)
            wider = np.full((rows, *column.shape[1:]), empty, column.dtype)
            wider[: len(column)] = column
            setattr(self, name, wider)
        self.labels.widen(rows)


_ZERO = ("keys", "revision", "blocked", "deleted", "currency", "brand", "categories", "tags")
"""Columns whose empty rows are zeros."""


def _with_numbers(table: NDArray[np.int32], row: int, numbers: Iterable[int]) -> NDArray[np.int32]:
    """The table with these numbers in a row, made wider if there is no room."""
    listed = list(numbers)
    if len(listed) > table.shape[1]:
        wider = np.zeros((len(table), max(len(listed), 2 * table.shape[1])), np.int32)
        wider[:, : table.shape[1]] = table
        table = wider
    table[row] = 0
    table[row, : len(listed)] = listed
    return table
