"""Answers: what a visitor should see, what is similar to an item, what is popular.

A `Model` reads tables and changes nothing, so one model answers any number of threads. Row `r` of a table is
`data[index[r]]`: in the learner the index is the identity, in serving it leads into an arena that several versions
share. The scoring code is the same in both.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.events import ID_MAX_BYTES
from stream.models.batch import ITEM_SALT
from stream.models.kernels.compile import kernel
from stream.models.kernels.hashing import SEPARATOR, hash_ids, mixed, salt_key, siphash128
from stream.models.kernels.key_hints import KeyHints, find_hint
from stream.models.query import Query, Ranking
from stream.models.ranking.candidates import may_rank
from stream.models.ranking.own_events import gather
from stream.models.ranking.rank import Options, challenge, options_of, order, order_these
from stream.models.schema import (
    CLOCK,
    NAME_BYTES,
    NEWEST,
    NEWEST_WRITTEN,
    POPULARITY_LANDMARK,
    TOP_ITEMS,
    TOP_SIZES,
    TOP_WIDTH,
)
from stream.models.settings import ModelSettings
from stream.models.source_names import HALF_LIFE_NAMES, HALF_LIVES_SECONDS, LONGEST
from stream.models.workspace.scoring_view import Reader, Views, reader_of
from stream.models.workspace.scratch import CANDIDATE, UNIQUE, Work, clear, known_local, local_of, new_work
from stream.models.workspace.visitor_context import EXCLUDED, was_seen


@kernel
def answer(
    reader: Reader,
    work: Work,
    options: Options,
    who: NDArray[np.int64],
    seen_by: np.uint64,
    now: float,
    recent: NDArray[np.int64],
    excluded: NDArray[np.int64],
    wanted: NDArray[np.int64],
    allowed: NDArray[np.uint8],
    by_challenger: bool,
    rows: NDArray[np.int64],
    scores: NDArray[np.float64],
) -> int:
    """Fill in the best candidates and their scores, best first; returns how many there are.

    Args:
        who: rows of the visitor, of the session as a visitor, and of the session.
        seen_by: as `rank` takes it.
        recent, excluded, wanted: rows of items that came with the request.
        allowed: (item rows,) uint8, 0 = may not be in the list; empty = all may.
        by_challenger: the challenger orders the list.
        rows, scores: room for the answer.
    """
    gather(reader, work, who[0], who[1], who[2], recent, now)
    for item in excluded:
        local = local_of(work, item)
        if local >= 0:
            work.flags[local] |= EXCLUDED
    if wanted.size:
        order_these(reader, work, options, wanted, allowed)
    else:
        order(reader, work, options, seen_by, allowed)
    if by_challenger:
        challenge(reader, work)
    held = 0
    for number in range(work.counts[CANDIDATE]):
        score = work.challenger[number] if by_challenger else np.float64(work.scores[number])
        at = min(held, rows.size - 1)
        if held == rows.size and score <= scores[at]:
            continue
        while at > 0 and scores[at - 1] < score:
            rows[at] = rows[at - 1]
            scores[at] = scores[at - 1]
            at -= 1
        rows[at] = work.items[work.candidates[number]]
        scores[at] = score
        held = min(held + 1, rows.size)
    return held


@kernel
def fill(
    reader: Reader,
    work: Work,
    seen_by: np.uint64,
    rows: NDArray[np.int64],
    held: int,
    newest: bool,
    allowed: NDArray[np.uint8],
) -> int:
    """Go on with what is popular over the longest half-life, or with what is new; returns how many there are then.

    Args:
        seen_by, allowed: as `order` takes them.
        rows: the list, of which `held` places are filled.
        newest: go on with what is new.
    """
    source = NEWEST if newest else LONGEST
    listed = reader.top[reader.top_index[source]]
    size = TOP_WIDTH if newest else np.int64(reader.scalars[TOP_SIZES + LONGEST])
    written = np.int64(reader.scalars[NEWEST_WRITTEN])
    for place in range(size):
        at = (written - 1 - place) % TOP_WIDTH if newest else place
        row = np.int64(listed[at])
        if held == rows.size:
            break
        if row == 0:
            continue
        known = False
        for number in range(held):
            known = known or rows[number] == row
        local = local_of(work, row)
        if known or local < 0 or not may_rank(reader, work, local, seen_by, allowed):
            continue
        rows[held] = row
        held += 1
    return held


@kernel
def fill_from_counts(
    reader: Reader,
    work: Work,
    seen_by: np.uint64,
    half_life: int,
    allowed: NDArray[np.uint8],
    rows: NDArray[np.int64],
    held: int,
) -> int:
    """Go on with the allowed items of the largest counts; returns how many there are then.

    The lists of popular and of new items end after some hundred, none of which a mask may allow. So this goes through
    all rows; it costs a millisecond or so in a million, and runs only if a list with a mask is too short otherwise.
    """
    first = held
    for row in range(1, allowed.size):
        if not allowed[row]:
            continue
        item = reader.items[reader.items_index[row]]
        if item.key0 == 0 and item.key1 == 0:
            continue
        count = reader.sums[reader.sums_index[row], half_life]
        if held == rows.size and count <= reader.sums[reader.sums_index[rows[held - 1]], half_life]:
            continue
        local = known_local(work, row)
        if local >= 0 and work.flags[local] & EXCLUDED:
            continue
        if seen_by and was_seen(reader, mixed(seen_by ^ mixed(item.key0))):
            continue
        known = False
        for number in range(first):
            known = known or rows[number] == row
        if known:
            continue
        at = min(held, rows.size - 1)
        while at > first and reader.sums[reader.sums_index[rows[at - 1]], half_life] < count:
            rows[at] = rows[at - 1]
            at -= 1
        rows[at] = row
        held = min(held + 1, rows.size)
    return held


@kernel
def write_names(
    names: NDArray, names_index: NDArray, items: NDArray, items_index: NDArray, rows: NDArray, room: NDArray
) -> int:
    """The names of these items with NUL between them; returns how many bytes that is, -1 if `room` is too small."""
    at = 0
    for row in rows:
        item = items[items_index[row]]
        if at + np.int64(item.name_bytes) + 1 > room.size:
            return -1
        cell = np.int64(item.name)
        left = np.int64(item.name_bytes)
        while cell and left:
            words = names[names_index[cell]]
            for place in range(min(left, NAME_BYTES)):  # type: ignore[call-overload]
                room[at] = (words[1 + place // 4] >> np.uint32(8 * (place % 4))) & np.uint32(0xFF)
                at += 1
            left -= min(left, NAME_BYTES)  # type: ignore[operator]
            cell = np.int64(words[0])
        room[at] = 0
        at += 1
    return at


@kernel
def find_visitor(
    reader: Reader,
    named: NDArray[np.uint8],
    salt: NDArray[np.uint64],
    has_session: bool,
    visitor_cells: NDArray[np.uint64],
    session_cells: NDArray[np.uint64],
    who: NDArray[np.int64],
) -> np.uint64:
    """Fill in the rows of the visitor, of the session as a visitor, and of the session; returns the visitor's key.

    Args:
        named: the user, the session, or both with NUL between them.
        has_session: a session is named; without one it is the visitor's last.
    """
    end = 0
    while end < named.size and named[end] != 0:
        end += 1
    key0, key1 = siphash128(named, 0, end, salt[0], salt[1])
    visitor = find_hint(visitor_cells, reader.visitors, reader.visitors_index, key0, key1)
    who[0] = visitor
    if has_session:
        last0, last1 = key0, key1
        if end < named.size:
            last0, last1 = siphash128(named, end + 1, named.size - end - 1, salt[0], salt[1])
            who[1] = find_hint(visitor_cells, reader.visitors, reader.visitors_index, last0, last1)
        who[2] = find_hint(session_cells, reader.sessions, reader.sessions_index, last0, last1)
    elif visitor:
        record = reader.visitors[reader.visitors_index[visitor]]
        session = np.int64(record.session)
        if session and reader.sessions[reader.sessions_index[session]].ordinal == record.session_ordinal:
            who[2] = session
    return key0


NO_ITEMS = np.empty(0, np.int64)
NO_VISITOR = np.uint64(0)
ALL_ITEMS = np.empty(0, np.uint8)


class Model:
    """Answers from one set of tables.

    Args:
        settings: what the model is.
        views: every table of `table_specs(settings)`.
        state: the readable state of the version.
        hints: shared indexes of the tables in `HINTED` by key; made from the views if none are given.
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
        self._options = options_of(settings)
        self._rows = len(views["items"][1])
        self._item_salt = salt_key(ITEM_SALT)
        self._visitor_salt = salt_key(settings.visitor_salt)

    @property
    def clock(self) -> float:
        """Time of the latest learned event, in seconds."""
        return float(self._reader.scalars[CLOCK])

    def recommend(self, query: Query, allowed: NDArray[np.uint8] | None = None) -> Ranking:
        """The list for a visitor, known or not. Unknown items in `exclude` or `candidates` do not matter.

        Args:
            query: whom the list is for.
            allowed: (item rows,) uint8 mask over the rows of the table `items`; an item whose row is 0 is neither a
                candidate nor anywhere in the list. None allows all.

        Raises:
            ValueError: `allowed` has another length than the table.
        """
        mask = self._mask(allowed)
        if query.n <= 0:
            return Ranking()
        work = _room_of_thread()
        who, seen_by = self._who(query)
        recent = self._items(query.recent)[::-1].copy() if query.recent else NO_ITEMS
        wanted = NO_ITEMS if query.candidates is None else self._items(query.candidates)
        if query.candidates is not None and not wanted.size:
            return Ranking()
        options = self._options
        if query.exclude_last or query.exclude_seen:
            options = options._replace(exclude_last=query.exclude_last, exclude_had=query.exclude_seen)
        rows = np.empty(min(query.n, self._rows), np.int64)
        scores = np.empty(len(rows))
        excluded = self._items(query.exclude) if query.exclude else NO_ITEMS
        by_challenger = self.settings.ranker == "river"
        now = query.now or self.clock
        held = answer(
            self._reader, work, options, who, seen_by, now, recent, excluded, wanted, mask, by_challenger, rows, scores
        )
        fallback = None if work.counts[UNIQUE] and (who[0] or recent.size) else "session"
        if not work.counts[UNIQUE]:
            fallback = "trending"
        if held < len(rows) and query.candidates is None:
            held, fallback = self._filled(work, seen_by, mask, rows, scores, held, fallback)
        return Ranking(self.names(rows[:held]), scores[:held].tolist(), fallback)

    def similar(self, item: str, n: int, allowed: NDArray[np.uint8] | None = None) -> Ranking:
        """Items for a visitor of whom nothing but this one is known; `allowed` as `recommend` takes it."""
        return self.recommend(Query(n=n, recent=[item], exclude=[item]), allowed)

    def popular(
        self,
        n: int,
        now: float = 0.0,
        half_life: str | None = None,
        allowed: NDArray[np.uint8] | None = None,
    ) -> Ranking:
        """The items with the largest decayed counts.

        Args:
            n: how many, at most 200.
            now: seconds that the counts are decayed to; 0 = the time of the last learned event.
            half_life: one of `HALF_LIFE_NAMES`; the longest if not given.
            allowed: as `recommend` takes it.

        Raises:
            ValueError: there is no such half-life, or `allowed` has another length than the table `items`.
        """
        number = LONGEST if half_life is None else HALF_LIFE_NAMES.index(half_life)
        top, index = self.views["top"]
        scalars = self._reader.scalars
        sums, sums_index = self.views["sums"]
        listed = top[index[number], : int(scalars[TOP_SIZES + number])]
        if allowed is None:
            rows = listed[: max(0, n)].astype(np.int64)
        else:
            mask, rows = self._mask(allowed), np.empty(min(max(0, n), TOP_ITEMS, self._rows), np.int64)
            known = listed[mask[listed] != 0][: len(rows)]
            rows[: len(known)] = known
            held = len(known)
            if held < len(rows) and not mask[1:].all():
                work = _room_of_thread()
                clear(work)
                held = fill_from_counts(self._reader, work, NO_VISITOR, number, mask, rows, held)
            rows = rows[:held]
            rows = rows[sums[sums_index[rows], number] > 0]
        passed = (now or self.clock) - scalars[POPULARITY_LANDMARK]
        decay = 2.0 ** min(1000.0, max(-1000.0, -passed / HALF_LIVES_SECONDS[number]))
        return Ranking(self.names(rows), (sums[sums_index[rows], number] * decay).tolist())

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

    def _who(self, query: Query) -> tuple[NDArray[np.int64], np.uint64]:
        """Rows of the visitor, of the session as a visitor and of the session, and whose remembered items count."""
        who = np.zeros(3, np.int64)
        user, session = query.user, query.session
        if user is None and session is None:
            return who, NO_VISITOR
        both = user is not None and session is not None
        named = f"{user}{SEPARATOR}{session}" if both else (user if user is not None else session)
        assert named is not None
        seen_by = find_visitor(
            self._reader,
            np.frombuffer(named.encode(), np.uint8),
            self._visitor_salt,
            session is not None,
            self.hints["visitors"].cells,
            self.hints["sessions"].cells,
            who,
        )
        return who, np.uint64(seen_by) if self.settings.repeats == "first" else NO_VISITOR

    def _mask(self, allowed: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
        """The mask as kernels take it: writable and in one piece, or else they would be compiled once more for it."""
        if allowed is None:
            return ALL_ITEMS
        if allowed.shape != (self._rows,):
            raise ValueError(f"allowed has shape {allowed.shape}; the table `items` has {self._rows} rows")
        return np.require(allowed, np.uint8, ["C", "W"])

    def _items(self, names: Collection[str]) -> NDArray[np.int64]:
        """Rows of the items that are known."""
        if not names:
            return NO_ITEMS
        keys = hash_ids(list(names), self._item_salt)
        find, items = self.hints["items"].find, self.views["items"]
        return np.array([row for key in keys if (row := find(*items, key))], np.int64)

    def _filled(
        self,
        work: Work,
        seen_by: np.uint64,
        allowed: NDArray[np.uint8],
        rows: NDArray[np.int64],
        scores: NDArray[np.float64],
        held: int,
        fallback: str | None,
    ) -> tuple[int, str | None]:
        """A list that is too short goes on with what is popular, then with what is new, below everything else."""
        ranked = held
        for source in ("popular", "newest"):
            before = held
            held = fill(self._reader, work, seen_by, rows, held, source == "newest", allowed)
            if before == 0 and held and fallback:
                fallback = source
        if held < len(rows) and allowed.size and not allowed[1:].all():
            before = held
            held = fill_from_counts(self._reader, work, seen_by, LONGEST, allowed, rows, held)
            if before == 0 and held and fallback:
                fallback = "popular"
        least = scores[ranked - 1] if ranked else 0.0
        scores[ranked:held] = least - 1.0 - np.arange(held - ranked)
        return held, fallback


_rooms = threading.local()


def _room_of_thread() -> Work:
    """One room a thread, whatever models it asks."""
    work: Work | None = getattr(_rooms, "work", None)
    if work is None:
        work = _rooms.work = new_work()
    return work
