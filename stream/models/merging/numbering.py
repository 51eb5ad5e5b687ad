"""Numbering: the rows of each shard, and their numbers in the merge.

A shard's table is read through an index (row r is `data[index[r]]`), and only its rows in use: the scalars of the shard
say how many rows were ever handed out. Rows of one key in several shards get one common number.

This file decides which rows are read, and which number they get: numbers begin with 1 and follow the order of the
shards and, within a shard, of its rows. Row 0 is no row, in a shard as in the merge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.models.kernels.ordinals import whole_column
from stream.models.kernels.row_pool import POOL_USED
from stream.models.schema import (
    ITEM_ROWS,
    NAME_CELLS,
    POOL_HISTORY,
    POOL_PAIRS,
    POOL_POSTINGS,
    RUN_SETS,
    SESSIONS_BEGUN,
    VISITOR_ROWS,
)
from stream.models.source_names import CUSTOM

Views = Mapping[str, tuple[NDArray, NDArray]]
"""Table name to (data, index): row r is `data[index[r]]`."""

Rows = NDArray[np.int64]
"""Row numbers."""


class ShardRows:
    """The rows in use of one shard, in the shard's own numbering.

    Small tables are copied. The largest ones (vectors, pairs, postings, histories) stay (data, index), because a copy
    would take as long as the merge of them.
    """

    def __init__(self, views: Views) -> None:
        def used(name: str, count: float) -> tuple[NDArray, Rows]:
            data, index = views[name]
            return data, index[: max(1, int(count))]

        def rows(name: str, count: float) -> NDArray:
            data, index = used(name, count)
            return data[index]

        self.scalars = rows("scalars", 1)[0]
        begun = self.scalars[SESSIONS_BEGUN]
        self.items = rows("items", self.scalars[ITEM_ROWS])
        self.sums = rows("sums", self.scalars[ITEM_ROWS])
        self.vectors = used("vectors", self.scalars[ITEM_ROWS])
        self.item_bias = rows("merits", self.scalars[ITEM_ROWS])
        self.custom = {name: rows(name, self.scalars[ITEM_ROWS]) for name in CUSTOM}
        self.names = rows("names", self.scalars[NAME_CELLS])
        self.visitors = rows("visitors", self.scalars[VISITOR_ROWS])
        self.session_rows = len(views["sessions"][1])
        """Rows of the whole table of sessions, from which the row of an ordinal follows."""
        self.sessions = rows("sessions", begun + 2)
        self.session_ordinals = whole_column(self.sessions, "ordinal")
        self.session_items = rows("session_items", begun + 2)
        self.pairs = used("pairs", RUN_SETS * self.scalars[POOL_PAIRS + POOL_USED])
        self.postings = used("postings", self.scalars[POOL_POSTINGS + POOL_USED])
        self.history = used("history", self.scalars[POOL_HISTORY + POOL_USED])
        self.seen = rows("seen", len(views["seen"][1]))
        self.kept = (*views["kept_visitors"], *views["kept_items"])
        self.bought = views["bought"]
        self.linear = rows("linear", len(views["linear"][1]))
        self.network = rows("network", len(views["network"][1]))
        self.challenger = rows("challenger", 1)


class Numbering:
    """Common numbers of the rows of several tables, matched by key.

    Args:
        tables: by shard, records with the fields `key0` and `key1`; a record without a key is not in use.

    Attributes:
        count: number of keys; numbers are 1 to `count`.
        live: by shard, its rows in use, rising.
        of: by shard, the common number by row of the shard; 0 for a row that is not in use.

    >>> keys = np.dtype([("key0", "<u8"), ("key1", "<u8")])
    >>> one, other = (np.array([(0, 0), *keys_of], keys) for keys_of in ([(7, 7), (5, 5)], [(5, 5), (0, 0), (9, 9)]))
    >>> numbering = Numbering([one, other])
    >>> numbering.count, [numbers.tolist() for numbers in numbering.of]
    (3, [[0, 1, 2], [0, 2, 0, 3]])
    """

    def __init__(self, tables: Sequence[NDArray]) -> None:
        live = [np.flatnonzero((table["key0"] != 0) | (table["key1"] != 0)) for table in tables]
        live = [rows[rows > 0] for rows in live]
        keys = np.concatenate(
            [
                np.column_stack([table["key0"][rows], table["key1"][rows]])
                for table, rows in zip(tables, live, strict=True)
            ]
        )
        order = np.lexsort((np.arange(len(keys)), keys[:, 1], keys[:, 0]))
        ordered = keys[order]
        fresh = np.ones(len(keys), bool)
        fresh[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
        group = np.cumsum(fresh) - 1
        firsts = order[fresh]  # for each key, sorted: its first place in `keys`
        number_of_group = np.empty(len(firsts), np.int64)
        number_of_group[np.argsort(firsts)] = np.arange(1, len(firsts) + 1)
        numbers = np.empty(len(keys), np.int64)
        numbers[order] = number_of_group[group]
        self.count = len(firsts)
        self.live = live
        self.of: list[Rows] = []
        at = 0
        for table, rows in zip(tables, live, strict=True):
            mapping = np.zeros(len(table), np.int64)
            mapping[rows] = numbers[at : at + len(rows)]
            at += len(rows)
            self.of.append(mapping)

    def keep(self, numbers: Rows) -> None:
        """Treat all other rows as not in use. Those that stay get numbers from 1 on, in the order that they had.

        >>> keys = np.array([(0, 0), (7, 7), (5, 5), (9, 9)], [("key0", "<u8"), ("key1", "<u8")])
        >>> numbering = Numbering([keys])
        >>> numbering.keep(np.array([3, 1]))
        >>> numbering.count, numbering.of[0].tolist(), numbering.live[0].tolist()
        (2, [0, 1, 0, 2], [1, 3])
        """
        kept = np.zeros(self.count + 1, np.int64)
        kept[np.sort(numbers)] = np.arange(1, len(numbers) + 1)
        self.of = [kept[mapping] for mapping in self.of]
        self.live = [np.flatnonzero(mapping) for mapping in self.of]
        self.count = len(numbers)

    def targets(self, shard: int) -> Rows:
        """Common numbers of the rows in use of a shard, in the order of `live[shard]`."""
        return self.of[shard][self.live[shard]]


class Numberings(NamedTuple):
    """Common numbers of everything that has rows of its own."""

    items: Numbering
    visitors: Numbering
    sessions: Numbering


def mapped(mapping: NDArray, rows: NDArray) -> NDArray:
    """Rows of a shard in the common numbering; 0 for a row beyond those in use.

    >>> mapped(np.array([0, 4, 6]), np.array([2, 1, 9])).tolist()
    [6, 4, 0]
    """
    return np.where(rows < len(mapping), mapping[np.minimum(rows, len(mapping) - 1)], 0)
