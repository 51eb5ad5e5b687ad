"""A model in use: lists for visitors, lists of similar items, lists of popular items.

A `Model` reads tables and changes nothing, so one model answers any number of threads. Row `r` of a table is
`data[index[r]]`: for live tables the index is the identity, in serving it leads into an arena that several versions
share. The scoring code is the same for both.

This file decides which list a query gets and what its `fallback` says. The order of candidates is decided in
`stream.models.ranking`.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream.events import ID_MAX_BYTES
from stream.models.batch import ITEM_SALT, session_salt
from stream.models.had.bought_together import bought_with
from stream.models.had.lists import kinds_of
from stream.models.kernels.compile import packed
from stream.models.kernels.hashing import SEPARATOR, hash_ids, salt_key
from stream.models.kernels.key_hints import KeyHints
from stream.models.query import Query, Ranking
from stream.models.ranking.allowed import AllowedItems, all_pass
from stream.models.ranking.answer import fill, fill_from
from stream.models.ranking.explanation import HistoryPart, Reasons, explain_added, explain_candidates
from stream.models.ranking.list_call import FALLBACKS, Lookup, Scratch, address_of, make_list
from stream.models.ranking.rank import options_of
from stream.models.schema import CLOCK, ITEMS_LIVE, POPULARITY_LANDMARK, SESSION_KEYS, TOP_ITEMS, TOP_SIZES
from stream.models.settings import ModelSettings
from stream.models.source_names import HALF_LIFE_NAMES, HALF_LIVES_SECONDS, LONGEST
from stream.models.workspace.item_names import write_names
from stream.models.workspace.scoring_view import Views, reader_of
from stream.models.workspace.scratch import HISTORY, UNIQUE, Work

NO_ITEMS = np.empty(0, np.int64)
NO_VISITOR = np.empty(0, np.uint8)
ALL_ITEMS = np.empty(0, np.uint8)
NO_ROWS = np.empty((0, 0), np.uint32)

Allowed = NDArray[Any] | AllowedItems | None
"""A mask over item rows, or the same with what was found for it; None allows all."""


class Model:
    """A model that answers from one set of tables.

    Args:
        settings: settings of the model.
        views: the tables of `table_specs(settings)`; those in `LEARNING_ONLY` are not needed.
        state: the readable state of the version.
        hints: shared indexes of the tables in `HINTED` by key; made from the views if none are given.

    >>> from stream.models.schema import table_specs
    >>> from stream.models.workspace.scoring_view import views_of
    >>> from stream.state.tables import Tables
    >>> settings = ModelSettings(max_items=64, max_visitors=64, max_sessions=64, max_event_ids=64)
    >>> Model(settings, views_of(Tables(table_specs(settings)))).recommend(Query(user="ada"))
    Ranking(items=[], scores=[], fallback='trending', popular=0, newest=0, together=None, checked=False)
    """

    HINTED = ("items", "visitors", "sessions")

    def __init__(
        self,
        settings: ModelSettings,
        views: Views,
        state: Mapping[str, Any] | None = None,
        hints: Mapping[str, KeyHints] | None = None,
    ) -> None:
        self.settings = settings
        self.views = views
        self.state = state or {}
        self.hints = hints or {name: KeyHints(*views[name]) for name in self.HINTED}
        self._reader = reader_of(views)
        self._reader_address = address_of(self._reader)
        self._lookup: Lookup | None = None
        self._options = options_of(settings)
        self._by_challenger = settings.ranker == "river"
        self._rows = len(views["items"][1])
        self._item_salt = salt_key(ITEM_SALT)
        user_salt = salt_key(settings.visitor_salt)
        of_sessions = session_salt(settings.visitor_salt) if self._reader.scalars[SESSION_KEYS] else user_salt
        self._visitor_salts = np.concatenate([user_salt, of_sessions])
        self._everything: tuple[bytes, AllowedItems] | None = None

    @property
    def clock(self) -> float:
        """The latest time at which an event was learned, in seconds; see `stream.models.learning.stream_clock`."""
        return float(self._reader.scalars[CLOCK])

    @property
    def item_rows(self) -> int:
        """Number of rows of the table `items`, which is the length of a mask."""
        return self._rows

    def rows_of(self, items: Collection[str]) -> NDArray[np.int64]:
        """Rows of these items, as far as they are known."""
        return self._items(items)

    @property
    def scalars(self) -> NDArray[np.float64]:
        """The numbers of the model that are not about one row, at the places that `schema` names."""
        return self._reader.scalars

    def recommend(self, query: Query, allowed: Allowed = None) -> Ranking:
        """The list for a visitor, known or not. Unknown items in `exclude` or `candidates` do not matter.

        The list has `query.n` items if there are as many, whatever is allowed: beyond what the sources propose it goes
        on with popular items, then with new ones.

        Args:
            query: the visitor, and what the list may hold.
            allowed: (item rows,) uint8 mask over the rows of the table `items`; an item whose row is 0 is neither a
                candidate nor anywhere in the list. None allows all.

        Raises:
            ValueError: `allowed` has another length than the table.
        """
        only = self._allowed(allowed)
        if query.n <= 0:
            return Ranking()
        most = min(query.n, self._rows)
        scratch = _scratch_of_thread(most)
        room = scratch.room
        recent = self._items(query.recent)[::-1].copy() if query.recent else NO_ITEMS
        wanted = NO_ITEMS if query.candidates is None else self._items(query.candidates)
        if query.candidates is not None and not wanted.size:
            return Ranking()
        excluded = self._items(query.exclude) if query.exclude else NO_ITEMS
        only_first, by_session, _, _, disabled = self._options
        lookup = self._current_lookup()
        held, used, made_from = make_list(
            self._reader_address,
            address_of(lookup),
            scratch.work_address,
            scratch.room_address,
            _named(query),
            query.session is not None,
            only_first,
            by_session,
            query.exclude_last,
            query.exclude_seen,
            disabled,
            query.now,
            kinds_of(query.exclude_kinds, everything=query.exclude_seen),
            -1.0 if query.seen_within is None else query.seen_within,
            self._items(query.disliked) if query.disliked else NO_ITEMS,
            recent,
            excluded,
            wanted,
            ALL_ITEMS if only is None else only.bits,
            NO_ROWS if only is None or wanted.size else only.popular(self._reader),
            self._by_challenger,
            most,
        )
        fallback = FALLBACKS[made_from]
        by_count = by_age = 0
        if held < most and query.candidates is None:
            ranked = held
            rows, scores = room.rows[:most], room.scores
            by_count, by_age = self._fill(scratch.work, room.seen_by[0], only, rows, held)
            held += by_count + by_age
            least = scores[ranked - 1] if ranked else 0.0
            scores[ranked:held] = least - 1.0 - np.arange(held - ranked)
            if ranked == 0 and held and fallback:
                fallback = "popular" if by_count else "newest"
            names = self.names(rows[:held])
        elif used > 0:
            names = str(scratch.names[: used - 1], "utf-8").split(SEPARATOR)
        else:  # there are none, or they are too long for the room
            names = self.names(room.rows[:held])
        check = None if only is None else only.check
        checked = check is not None and all_pass(self._reader_address, address_of(check), room.rows[:held])
        return Ranking(names, room.scores[:held].tolist(), fallback, by_count, by_age, None, checked)

    def explain(self, query: Query, allowed: Allowed = None) -> tuple[Ranking, list[Reasons]]:
        """The list of `recommend`, and the reasons of each of its items; arguments as `recommend` takes them."""
        ranking = self.recommend(query, allowed)
        ranked = len(ranking.items) - ranking.popular - ranking.newest
        rows = self._items(ranking.items[:ranked])
        work = _scratch_of_thread(1).work
        found = explain_candidates(self._reader, work, rows, by_challenger=self._by_challenger)
        behind = self.names(np.array([each.row for row in rows for each in found[row].history], np.int64))
        names = iter(behind)
        reasons = [
            msgspec.structs.replace(
                found[row].reasons,
                history=[HistoryPart(next(names), each.contribution, each.sources) for each in found[row].history],
            )
            for row in rows.tolist()
        ]
        added = ["popular"] * ranking.popular + ["newest"] * ranking.newest
        return ranking, reasons + explain_added(ranking.scores[:ranked], added)

    def history(self, query: Query, allowed: Allowed = None) -> Ranking:
        """Items that the visitor had, the last one first, each once; scores are the times of their last events.

        Items that the visitor has turned down are left out. Of long histories the last 100 events count.

        Args:
            query: `user`, `session` and `n`.
            allowed: as `recommend` takes it.

        Raises:
            ValueError: `allowed` has another length than the table `items`.
        """
        only = self._allowed(allowed)
        self.recommend(Query(user=query.user, session=query.session, n=1))
        work = _scratch_of_thread(1).work  # where that list has left the history
        rows = work.unique[: work.counts[UNIQUE]]
        if only is not None:
            rows = rows[only.mask[rows] != 0]
        rows = rows[: max(0, query.n)]
        events = work.counts[HISTORY]
        # The newest event comes first, so it is the last to be written here.
        last = dict(zip(work.history_items[:events][::-1], work.history_seconds[:events][::-1], strict=True))
        return Ranking(self.names(rows), [float(last[row]) for row in rows])

    def first_seconds(self) -> NDArray[np.float64]:
        """(item rows,) time of each item's first event, in seconds since the epoch; NaN in rows without an item."""
        items, index = self.views["items"]
        there = (items["key0"][index] != 0) | (items["key1"][index] != 0)
        return np.where(there, items["first_seconds"][index].astype(np.float64), np.nan)

    def similar(self, item: str, n: int, allowed: Allowed = None) -> Ranking:
        """Items for a visitor of whom nothing but this one is known; `allowed` as `recommend` takes it."""
        return self.recommend(Query(n=n, recent=[item], exclude=[item]), allowed)

    def bought_together(self, query: Query, allowed: Allowed = None) -> Ranking:
        """Items that are bought together with one, those of the most baskets first; then items that are similar to it.

        The score of the former is the decayed number of baskets. If there are none, the list is that of `similar`.

        Args:
            query: `recent` ends with the item; `n`; `exclude` names the item, too.
            allowed: as `recommend` takes it.

        Raises:
            ValueError: `allowed` has another length than the table `items`.
        """
        only = self._allowed(allowed)
        known = self._items(query.recent[-1:])
        names, scores = list[str](), list[float]()
        if known.size:
            rows, baskets = bought_with(self.views, int(known[0]), self.clock)
            for row, name, count in zip(rows, self.names(rows), baskets.tolist(), strict=True):
                if len(names) < query.n and name not in query.exclude and (only is None or only.mask[row]):
                    names.append(name)
                    scores.append(count)
        rest = self.recommend(
            Query(recent=query.recent, n=query.n - len(names), exclude={*query.exclude, *names}), only
        )
        if names:
            least = scores[-1] - 1.0
            scores += [least - place for place in range(len(rest.items))]
        return Ranking(
            names + rest.items,
            scores if names else rest.scores,
            None if names else rest.fallback,
            rest.popular,
            rest.newest,
            len(names),
        )

    def popular(self, n: int, now: float = 0.0, half_life: str | None = None, allowed: Allowed = None) -> Ranking:
        """The items with the largest decayed counts.

        Args:
            n: how many.
            now: the time that counts are decayed to, in seconds; 0 = the time of the last learned event.
            half_life: one of `HALF_LIFE_NAMES`; the longest if not given.
            allowed: as `recommend` takes it.

        Raises:
            ValueError: there is no such half-life, or `allowed` has another length than the table `items`.
        """
        number = LONGEST if half_life is None else HALF_LIFE_NAMES.index(half_life)
        only = self._allowed(allowed)
        scalars = self._reader.scalars
        sums, sums_index = self.views["sums"]
        wanted = max(0, n)
        if only is None and wanted > TOP_ITEMS:
            only = self._all_items()
        if only is None:
            top, index = self.views["top"]
            rows = top[index[number], : int(scalars[TOP_SIZES + number])][:wanted].astype(np.int64)
        else:
            rows = only.by_count(self._reader, number, wanted)[:wanted]
            rows = rows[sums[sums_index[rows], number] > 0]
        passed = (now or self.clock) - scalars[POPULARITY_LANDMARK]
        decay = 2.0 ** min(1000.0, max(-1000.0, -passed / HALF_LIVES_SECONDS[number]))
        return Ranking(self.names(rows), (sums[sums_index[rows], number] * decay).tolist(), None, len(rows))

    def names(self, rows: NDArray[np.int64]) -> list[str]:
        """The ids of these items."""
        if not len(rows):
            return []
        room = np.empty(64 * len(rows), np.uint8)
        names = (*self.views["names"], *self.views["items"])
        used = write_names(*names, rows, room)
        if used < 0:
            room = np.empty((ID_MAX_BYTES + 1) * len(rows), np.uint8)
            used = write_names(*names, rows, room)
        return room[: used - 1].tobytes().decode().split(SEPARATOR)

    def _current_lookup(self) -> Lookup:
        """Arrays that turn ids into rows. Cells of hints are replaced when a later version needs more of them."""
        lookup = self._lookup
        visitor_cells, session_cells = self.hints["visitors"].cells, self.hints["sessions"].cells
        if lookup is None or lookup.visitor_cells is not visitor_cells or lookup.session_cells is not session_cells:
            names = self.views["names"]
            lookup = self._lookup = packed(Lookup(*names, visitor_cells, session_cells, self._visitor_salts))
        return lookup

    def _allowed(self, allowed: Allowed) -> AllowedItems | None:
        if allowed is None:
            return None
        only = allowed if isinstance(allowed, AllowedItems) else AllowedItems(allowed)
        if only.mask.shape != (self._rows,):
            raise ValueError(f"allowed has shape {only.mask.shape}; the table `items` has {self._rows} rows")
        return only

    def _all_items(self) -> AllowedItems:
        """Every item. What is found for it is kept until another event has been learned."""
        state = self._reader.scalars.tobytes()
        if self._everything is None or self._everything[0] != state:
            self._everything = state, AllowedItems.everything(self._reader)
        return self._everything[1]

    def _items(self, names: Collection[str]) -> NDArray[np.int64]:
        """Rows of these items, as far as they are known."""
        if not names:
            return NO_ITEMS
        keys = hash_ids(list(names), self._item_salt)
        find, items = self.hints["items"].find, self.views["items"]
        return np.array([row for key in keys if (row := find(*items, key))], np.int64)

    def _fill(
        self,
        work: Work,
        seen_by: np.uint64,
        only: AllowedItems | None,
        rows: NDArray[np.int64],
        held: int,
    ) -> tuple[int, int]:
        """Go on with popular items, then with new ones; returns how many of each were added to `rows`."""
        popular = newest = 0
        if only is None:
            popular = fill(self._reader, work, seen_by, rows, held, False) - held
            newest = fill(self._reader, work, seen_by, rows, held + popular, True) - held - popular
            held += popular + newest
            if held >= min(len(rows), int(self._reader.scalars[ITEMS_LIVE])):
                return popular, newest
            only = self._all_items()
        wanted = len(rows)
        while held < len(rows):
            ordered = only.by_count(self._reader, LONGEST, wanted)
            added = fill_from(self._reader, work, seen_by, ordered, rows, held) - held
            popular, held = popular + added, held + added
            if len(ordered) < wanted:
                break
            wanted *= 4  # excluded items, and those that are in the list already, took places of the order
        if held < len(rows):
            newest += fill_from(self._reader, work, seen_by, only.uncounted(self._reader), rows, held) - held
        return popular, newest


_thread = threading.local()


def _scratch_of_thread(items: int) -> Scratch:
    """Scratch arrays of this thread, for all models, with room for a list of so many items."""
    scratch: Scratch | None = getattr(_thread, "scratch", None)
    if scratch is None:
        scratch = _thread.scratch = Scratch()
    if scratch.items < items:
        scratch.reserve(items)
    return scratch


def _named(query: Query) -> NDArray[np.uint8]:
    """Bytes of the user, of the session, or of both with NUL between them; none if neither is named."""
    user, session = query.user, query.session
    if user is None:
        if session is None:
            return NO_VISITOR
        named = session
    else:
        named = user if session is None else f"{user}{SEPARATOR}{session}"
    return np.frombuffer(named.encode(), np.uint8)
