"""Answers: what a visitor should see, what is similar to an item, what is popular.

A `Model` reads tables and changes nothing, so one model answers any number of threads. Row `r` of a table is
`data[index[r]]`: in the learner the index is the identity, in serving it leads into an arena that several versions
share. The scoring code is the same in both.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

from stream.decoding import ITEM_SALT
from stream.models.directory import cells_for
from stream.models.hashing import hash_ids, salt_key
from stream.models.layout import (
    CELL_WORDS,
    CLOCK,
    HALF_LIFE_NAMES,
    HALF_LIVES,
    HALF_LIVES_SECONDS,
    HISTORY_ENTRIES,
    LONGEST,
    NAME_BYTES,
    NEWEST,
    NEWEST_WRITTEN,
    POPULARITY_LANDMARK,
    TOP_ITEMS,
    TOP_SIZES,
    TOP_WIDTH,
)
from stream.models.pools import run_row, run_rows
from stream.settings import ModelSettings

Views = dict[str, tuple[NDArray, NDArray]]
"""Table name to (data, index of int32): row r is `data[index[r]]`."""


@dataclass(frozen=True)
class Query:
    """Whom a list is for.

    Attributes:
        user, session: who asks, as in events; either, both or none.
        recent: items an anonymous visitor looked at, oldest first.
        now: seconds; 0 = the time of the last learned event.
        n: length of the list.
        exclude: items that must not be in it.
        exclude_seen: leave out everything in the visitor's history.
        exclude_last: leave out the visitor's last item.
        candidates: rank these instead of what the sources propose.
    """

    user: str | None = None
    session: str | None = None
    recent: Sequence[str] = ()
    now: float = 0.0
    n: int = 10
    exclude: Collection[str] = ()
    exclude_seen: bool = False
    exclude_last: bool = False
    candidates: Sequence[str] | None = None


@dataclass(frozen=True)
class Ranking:
    """A list, best first. `fallback` says what it was made from where nothing is known about the visitor: None if
    something is, else `session`, `trending`, `popular` or `newest`."""

    items: list[str] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    fallback: str | None = None


class Hints:
    """Where a key's row probably is. Several versions share one: a hit counts only if the version's own row has the key.

    Built from the keys of one version, and told of the rows that later versions wrote. Reading while another thread
    adds is safe.
    """

    def __init__(self, keys: NDArray, index: NDArray) -> None:
        self._cells = cells_for(len(index))
        self._used = fill_hints(self._cells, keys, index)

    def add(self, keys: NDArray, index: NDArray, rows: NDArray) -> None:
        """Rows that got a key they may not have had before."""
        if self._used + len(rows) > self._cells.size * 0.7:
            cells = cells_for(max(len(index), self._cells.size))
            self._used = fill_hints(cells, keys, index)
            self._cells = cells
        self._used += add_hints(self._cells, keys, index, rows.astype(np.int64))

    def find(self, keys: NDArray, index: NDArray, key: NDArray) -> int:
        """The row of this version that has the key, or 0."""
        return int(find_hint(self._cells, keys, index, key[0], key[1]))


@nb.njit(cache=True, nogil=True)
def fill_hints(cells: NDArray, keys: NDArray, index: NDArray) -> int:
    return add_hints(cells, keys, index, np.arange(1, index.size))


@nb.njit(cache=True, nogil=True)
def add_hints(cells: NDArray, keys: NDArray, index: NDArray, rows: NDArray) -> int:
    mask = np.uint64(cells.size - 1)
    added = 0
    for row in rows:
        record = keys[index[row]]
        if record.key0 == 0 and record.key1 == 0:
            continue
        at = record.key0 & mask
        while cells[at] != 0 and cells[at] != row:
            at = (at + np.uint64(1)) & mask
        if cells[at] == 0:
            cells[at] = row
            added += 1
    return added


@nb.njit(cache=True, nogil=True)
def find_hint(cells: NDArray, keys: NDArray, index: NDArray, key0: np.uint64, key1: np.uint64) -> int:
    mask = np.uint64(cells.size - 1)
    at = key0 & mask
    while True:
        row = cells[at]
        if row == 0:
            return 0
        if row < index.size:
            record = keys[index[row]]
            if record.key0 == key0 and record.key1 == key1:
                return int(row)
        at = (at + np.uint64(1)) & mask


class Model:
    """Answers from one set of tables.

    Args:
        settings: what the model is.
        views: every table of `table_specs(settings)`.
        state: the readable state of the version.
        hints: shared indexes of `items` and `visitors` by key; made from the views if none are given.
    """

    HINTED = ("items", "visitors")

    def __init__(
        self,
        settings: ModelSettings,
        views: Views,
        state: Mapping[str, Any] | None = None,
        hints: Mapping[str, Hints] | None = None,
    ) -> None:
        self.settings = settings
        self.views = views
        self.state = state or {}
        self.hints = hints or {name: Hints(*views[name]) for name in self.HINTED}
        self._item_salt = salt_key(ITEM_SALT)
        self._visitor_salt = salt_key(settings.visitor_salt)
        data, index = views["scalars"]
        self._scalars = data[index[0]]

    @property
    def clock(self) -> float:
        """Time of the latest learned event, in seconds."""
        return float(self._scalars[CLOCK])

    def recommend(self, query: Query) -> Ranking:
        """The list for a visitor, known or not."""
        history = self._history(query)
        excluded = {self._item(item) for item in query.exclude}
        if query.exclude_seen or self.settings.repeats == "first":
            excluded |= set(history)
        if query.exclude_last and history:
            excluded.add(history[0])
        if query.candidates is None:
            proposed = [row for half_life in range(HALF_LIVES) for row in self._top(half_life)]
            rows = list(dict.fromkeys(row for row in proposed if row not in excluded))
        else:
            rows = [row for item in query.candidates if (row := self._item(item)) and row not in excluded]
        scores = np.zeros(len(rows))
        for half_life in range(HALF_LIVES):
            counts = self._sums(rows)[:, half_life] if rows else np.zeros(0)
            scores += counts / max(counts.max(initial=0.0), 1e-300)
        order = np.argsort(-scores, kind="stable")[: query.n]
        chosen = [rows[place] for place in order]
        values = [float(scores[place]) for place in order]
        fallback = None if history else "trending"
        return self._filled(chosen, values, query, excluded, fallback)

    def similar(self, item: str, n: int) -> Ranking:
        """Items that go with this one."""
        row = self._item(item)
        ranking = self.recommend(Query(n=n, exclude=[item]))
        return Ranking(ranking.items, ranking.scores, None if row else ranking.fallback)

    def popular(self, n: int, now: float = 0.0, half_life: str | None = None) -> Ranking:
        """The items with the largest decayed counts.

        Args:
            n: how many.
            now: seconds that the counts are decayed to; 0 = the time of the last learned event.
            half_life: one of `HALF_LIFE_NAMES`; the longest if not given.
        """
        number = LONGEST if half_life is None else HALF_LIFE_NAMES.index(half_life)
        rows = self._top(number)[: max(0, n)]
        if not rows:
            return Ranking()
        passed = (now or self.clock) - self._scalars[POPULARITY_LANDMARK]
        decay = 2.0 ** min(1000.0, max(-1000.0, -passed / HALF_LIVES_SECONDS[number]))
        return Ranking([self.name(row) for row in rows], (self._sums(rows)[:, number] * decay).tolist())

    def name(self, row: int) -> str:
        """The id of an item."""
        items, index = self.views["items"]
        record = items[index[row]]
        cells, cell_index = self.views["names"]
        return name_bytes(cells, cell_index, record["name"], record["name_bytes"]).tobytes().decode()

    def _item(self, item: str) -> int:
        return self.hints["items"].find(*self.views["items"], hash_ids([item], self._item_salt)[0])

    def _visitor(self, visitor: str) -> int:
        return self.hints["visitors"].find(*self.views["visitors"], hash_ids([visitor], self._visitor_salt)[0])

    def _sums(self, rows: Sequence[int]) -> NDArray:
        sums, index = self.views["sums"]
        return sums[index[list(rows)]]

    def _top(self, half_life: int) -> list[int]:
        top, index = self.views["top"]
        return top[index[half_life], : int(self._scalars[TOP_SIZES + half_life])].tolist()

    def _newest(self) -> list[int]:
        top, index = self.views["top"]
        written = int(self._scalars[NEWEST_WRITTEN])
        ring = top[index[NEWEST]]
        recent = [int(ring[number % TOP_WIDTH]) for number in range(written - 1, max(-1, written - 1 - TOP_ITEMS), -1)]
        return [row for row in recent if row]

    def _history(self, query: Query) -> list[int]:
        """Rows of the items a visitor had, newest first."""
        rows = [row for item in reversed(query.recent) if (row := self._item(item))]
        for name in (query.session, query.user):
            if name is not None and (visitor := self._visitor(name)):
                data, index = self.views["visitors"]
                record = data[index[visitor]]
                history, history_index = self.views["history"]
                rows += history_items(history, history_index, record["history"], record["entries"]).tolist()
        return list(dict.fromkeys(rows))

    def _filled(
        self, rows: list[int], scores: list[float], query: Query, excluded: set[int], fallback: str | None
    ) -> Ranking:
        """A list that is too short goes on with what is popular, then with what is new."""
        if len(rows) < query.n and query.candidates is None:
            for source, more in (("popular", self._top(LONGEST)), ("newest", self._newest())):
                for row in more:
                    if len(rows) < query.n and row not in rows and row not in excluded:
                        if not rows and fallback:
                            fallback = source
                        rows.append(row)
                        scores.append(min([0.0, *scores]) - 1.0 if not scores else min(0.0, scores[-1]))
        return Ranking([self.name(row) for row in rows], scores, fallback)


@nb.njit(cache=True, nogil=True)
def name_bytes(cells: NDArray, index: NDArray, first: int, size: int) -> NDArray:
    """The bytes of a name, put together from its cells."""
    result = np.empty(size, np.uint8)
    cell = first
    at = 0
    while cell and at < size:
        words = cells[index[cell]]
        for word in range(1, CELL_WORDS):
            for byte in range(4):
                if at < size and (word - 1) * 4 + byte < NAME_BYTES:
                    result[at] = (words[word] >> np.uint32(8 * byte)) & np.uint32(0xFF)
                    at += 1
        cell = words[0]
    return result


@nb.njit(cache=True, nogil=True)
def history_items(history: NDArray, index: NDArray, pointer: int, entries: int) -> NDArray:
    """Items of a visitor's history, newest first."""
    if pointer == 0:
        return np.empty(0, np.int64)
    pointer = np.uint32(pointer)
    length = run_rows(pointer) * HISTORY_ENTRIES
    count = min(int(entries), length)
    result = np.zeros(count, np.int64)
    for number in range(count):
        at = (int(entries) - 1 - number) % length
        result[number] = history[index[run_row(pointer) + at // HISTORY_ENTRIES], at % HISTORY_ENTRIES].item
    return result[result > 0]
