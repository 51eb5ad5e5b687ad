"""The catalogue in memory as requests see it: always one revision, and what is kept for each filter that was used.

A filter becomes a truth value for each row of the catalogue, then a mask over the rows of a model, then the popular
items among those. All three are kept: a request with a filter that was used before finds them with one look into a
dictionary. A change of some documents makes a new snapshot in which only the changed rows were looked at again; a new
version of the model takes over the masks of the last one if no item has another row in it.

One thread writes (`Catalogue.apply`). A request takes the current snapshot as one reference and needs a lock only for
a filter that it meets for the first time.

This file decides what is kept, for how long, and what is taken over when the catalogue or the model changes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from stream.catalogue.arrivals import Arrivals, newest_first
from stream.catalogue.columns import Change, Columns
from stream.catalogue.filters import NO_FILTER, Filter
from stream.catalogue.item_rows import ItemRows, KnownRows
from stream.catalogue.matching import HiddenRows, matching
from stream.models.kernels.compile import packed
from stream.models.model import Model
from stream.models.ranking.allowed import AllowedItems, ListCheck

KEPT_FILTERS = 64
"""Filters whose result is kept. With a million items each of them takes about 2 MB."""

KEPT_HIDING = 16
"""Those of them by which single visitors hide something. They are made quickly, and must not push out the filters that
many requests share."""

KEPT_CHANGES = 1000
"""Changes after which the result of a filter that isn't used is forgotten."""

KEPT_VERSIONS = 4
"""Versions of the model for which masks are kept: the served one, and some that are named by requests."""

Rows = NDArray[np.int64]
"""Rows of the catalogue, rising."""

V = TypeVar("V")


class Served(NamedTuple):
    """A version of the model, as the catalogue needs it.

    Attributes:
        version: id of the version.
        same_rows: equal for versions in which every item has the same row (`item_rows.same_rows_key`).
        model: its tables.
    """

    version: str
    same_rows: Hashable
    model: Model


class FilterResult:
    """Items that a filter lets through, at one revision of the catalogue.

    Attributes:
        wanted: the filter.
        passes_unknown: items pass of which the catalogue knows nothing.
        passes: bool by row of the catalogue.
        flags: `passes`, for reading one row at a time.
        used: True once a request has used it at this revision.
        masks: items that may be in a list, by `Served.same_rows`.
        allowed: items that may be in a list, by version.
        unmet: items that the model has not met, the newest first, by `Served.same_rows`.
        arrivals: the newest items, by `Served.same_rows`.
    """

    def __init__(self, wanted: Filter, passes: NDArray[np.bool_]) -> None:
        self.wanted = wanted
        self.passes_unknown = wanted.passes_unknown
        self.passes = passes
        self.flags = passes.view(np.uint8).data
        self.used = False
        self.masks: dict[Hashable, AllowedItems] = {}
        self.allowed: dict[str, AllowedItems] = {}
        self.unmet: dict[Hashable, list[str]] = {}
        self.arrivals: dict[Hashable, Arrivals] = {}

    def shows(self, row: int) -> bool:
        """True if the item of a row passes; -1 is an item that the catalogue doesn't know."""
        flags = self.flags
        return flags[row] != 0 if 0 <= row < len(flags) else self.passes_unknown


class Snapshot(NamedTuple):
    """The catalogue at one revision.

    Attributes:
        revision: number of its last change.
        items: number of items that are not deleted.
        rows: number of rows, those of deleted items included.
        blocked: number of rows that no list may show.
        unfiltered: result of the empty filter.
        results: results of other filters, by `Filter.key`.
        older: results of filters that were not used since a change, with the rows of each change since.
    """

    revision: int
    items: int
    rows: int
    blocked: int
    unfiltered: FilterResult
    results: dict[bytes, FilterResult]
    older: dict[bytes, tuple[FilterResult, list[Rows]]]


class View(NamedTuple):
    """The catalogue for one request: one filter, one revision, one version of the model.

    Attributes:
        revision: number of the catalogue's last change.
        allowed: items of the model that may be in the list; None: all of them.
        result: of the filter.
        catalogue: that it is a view of.
        served: the version; None before there is one.
    """

    revision: int
    allowed: AllowedItems | None
    result: FilterResult
    catalogue: Catalogue
    served: Served | None

    def shows(self, item: str) -> bool:
        """True if an item may be in the list. One that the catalogue doesn't know passes if no part asks for more."""
        return self.result.shows(self.catalogue.row_of(item))

    def shows_all(self, items: Sequence[str]) -> bool:
        """True if all of these items may be in the list: `shows` for each of them, in a fifth of the time."""
        find, flags = self.catalogue.find_row, self.result.flags
        known, others = len(flags), self.result.passes_unknown
        for item in items:
            row = find(item, -1)
            if not (flags[row] if 0 <= row < known else others):
                return False
        return True

    def unmet(self, among: Sequence[str] | None = None) -> list[str]:
        """Items that pass the filter and that the model has not met.

        Args:
            among: only these, in this order; None: all, the newest first.
        """
        return self.catalogue.unmet(self) if among is None else self.catalogue.unmet_among(self, among)

    def arrivals(self) -> Arrivals:
        """The newest items that pass the filter, as `stream.catalogue.arrivals` orders them."""
        return self.catalogue.arrivals(self)


class Catalogue:
    """All items in memory, at the newest revision that was applied.

    >>> from stream.catalogue.item import Item
    >>> catalogue = Catalogue()
    >>> catalogue.apply([Change("cup", 1, Item(tags=["blue"])), Change("pot", 2, Item(hidden=True))], 2)
    >>> catalogue.current.items, catalogue.current.blocked
    (2, 1)
    """

    def __init__(self) -> None:
        self._columns = Columns()
        self._hidden = HiddenRows(self._columns)
        self._lock = threading.Lock()
        self._rows = KnownRows(KEPT_VERSIONS)
        self.current = self._after_all(0)
        self._open_view = View(0, None, self.current.unfiltered, self, None)
        """The view of a request without a filter while nothing is blocked; most requests get the one of the last."""
        self._views: tuple[Served | None, dict[int, tuple[Filter, View]]] = None, {}
        """Views of one version at the current revision, by the identity of their filter, which a server keeps for each
        query. Views of another version are dropped, because they keep its tables in memory."""

    @property
    def find_row(self) -> Callable[[str, int], int]:
        """A function that finds the row of an item, or gives its second argument."""
        return self._columns.row_of.get

    def row_of(self, item: str) -> int:
        """The row of an item, -1 if there is none."""
        return self._columns.row_of.get(item, -1)

    # ---- writing

    def apply(self, changes: Sequence[Change], revision: int) -> None:
        """Take over documents; a request that begins from now on sees all of them.

        Args:
            changes: documents as they are now, at most some hundred at a time: readers of new filters wait meanwhile.
            revision: of the catalogue with these changes.
        """
        with self._lock:
            rows = self._columns.put(changes)
            self._hidden.note(rows)
            self.current = self._after(rows, revision)
            self._views = None, {}

    def replace(self, columns: Columns, revision: int) -> None:
        """Take over a whole catalogue in place of this one.

        Args:
            columns: of all its documents; the caller writes to them no more.
            revision: of the catalogue.
        """
        with self._lock:
            self._columns = columns
            self._hidden = HiddenRows(columns)
            self._rows.clear()
            self.current = self._after_all(revision)
            self._views = None, {}

    def order_rows(self) -> None:
        """Make what visitors hide quick to find, if it is not. Call it in the thread that writes, now and then."""
        if self._hidden.due:
            ordered = self._hidden.order()
            with self._lock:
                self._hidden.take(ordered)

    def _after(self, rows: Rows, revision: int) -> Snapshot:
        """The snapshot after a change of these rows.

        Results that a request has used since the last change are renewed here, in the thread that writes; others when
        a request uses them again.
        """
        columns, before = self._columns, self.current
        older = {
            key: (result, [*changes, rows])
            for key, (result, changes) in before.older.items()
            if len(changes) < KEPT_CHANGES
        }
        older |= {key: (result, [rows]) for key, result in before.results.items() if not result.used}
        results = {key: self._renewed(result, rows) for key, result in before.results.items() if result.used}
        _forget(older, len(older) + len(results) - KEPT_FILTERS)
        blocked = int(np.count_nonzero(columns.blocked[: len(columns)]))
        unfiltered = self._renewed(before.unfiltered, rows)
        return Snapshot(revision, columns.live, len(columns), blocked, unfiltered, results, older)

    def _after_all(self, revision: int) -> Snapshot:
        columns = self._columns
        blocked = columns.blocked[: len(columns)]
        unfiltered = FilterResult(NO_FILTER, ~blocked)
        return Snapshot(revision, columns.live, len(columns), int(np.count_nonzero(blocked)), unfiltered, {}, {})

    def _renewed(self, result: FilterResult, rows: Rows) -> FilterResult:
        """A filter's result after a change of these rows."""
        passes = np.zeros(len(self._columns), np.bool_)
        passes[: len(result.passes)] = result.passes
        passes[rows] = matching(result.wanted, self._columns, rows)
        renewed = FilterResult(result.wanted, passes)
        for same_rows, allowed in list(result.masks.items()):
            known = self._rows.get(same_rows)
            if known is not None and (not len(rows) or rows[-1] < len(known)):
                changed = allowed.mask.copy()
                met = known[rows] > 0
                changed[known[rows][met]] = passes[rows][met]
                renewed.masks[same_rows] = self._allowed_items(changed, renewed, same_rows)
        return renewed

    # ---- reading

    def view(self, wanted: Filter, served: Served | None) -> View:
        """The catalogue for a request.

        Args:
            wanted: a filter that was checked.
            served: the version that answers; None before there is one.
        """
        current = self.current
        if wanted is NO_FILTER and (served is None or not current.blocked):
            view = self._open_view
            if view.result is not current.unfiltered or view.served is not served:
                view = self._open_view = View(current.revision, None, current.unfiltered, self, served)
            return view
        kept_for, views = self._views
        if kept_for is not served:
            views = {}
            self._views = served, views
        kept = views.get(id(wanted))
        if kept is not None and kept[0] is wanted:
            kept[1].result.used = True
            return kept[1]
        if len(views) >= KEPT_FILTERS:
            views.clear()
        view = self._made_view(wanted, served)
        if view.revision == self.current.revision:
            views[id(wanted)] = wanted, view
        return view

    def _made_view(self, wanted: Filter, served: Served | None) -> View:
        current = self.current
        key = b"" if wanted is NO_FILTER else wanted.key
        result = current.results.get(key) if key else current.unfiltered
        if result is not None and served is not None:
            allowed = result.allowed.get(served.version)
            if allowed is not None:
                result.used = True
                return View(current.revision, allowed, result, self, served)
        with self._lock:
            result = self._result(wanted, served)
            allowed = None if served is None else self._allowed(result, served)
            return View(self.current.revision, allowed, result, self, served)

    def _result(self, wanted: Filter, served: Served | None) -> FilterResult:
        """The result of a filter, which is kept from now on. The caller holds the lock."""
        current = self.current
        if wanted == NO_FILTER:
            current.unfiltered.used = True
            return current.unfiltered
        key = wanted.key
        result = current.results.get(key)
        if result is None:
            before, changes = current.older.pop(key, (None, []))
            if before is not None:
                result = self._renewed(before, np.unique(np.concatenate(changes)))
            elif wanted.hides and (hidden := self._hidden.of(wanted)) is not None:
                result = self._without(hidden, wanted, served)
            else:
                result = FilterResult(wanted, matching(wanted, self._columns, slice(len(self._columns))))
            _keep(current.results, key, result, KEPT_FILTERS)
            hiding = [key for key, each in current.results.items() if each.wanted.hides] if wanted.hides else []
            for each in hiding[:-KEPT_HIDING]:
                del current.results[each]
            _forget(current.older, len(current.older) + len(current.results) - KEPT_FILTERS)
        result.used = True
        return result

    def _without(self, rows: Rows, wanted: Filter, served: Served | None) -> FilterResult:
        """The result of a filter by which these rows are hidden: that of its other parts, without the rows.

        Looking at whole columns for every visitor who hides something takes some ten milliseconds of a million items.
        """
        others = self._result(wanted.without_hidden(), served)
        passes = others.passes.copy()
        passes[rows] = False
        result = FilterResult(wanted, passes)
        if served is not None:
            mask = self._allowed(others, served).mask.copy()
            mask[self._rows_of(served)[rows]] = 0  # row 0 is that of items which the model hasn't met
            result.masks[served.same_rows] = self._allowed_items(mask, result, served.same_rows)
        return result

    def prepare(self, served: Served) -> None:
        """Find the items of a version before it answers, for every filter that was used lately."""
        for result in [*self.current.results.values()]:
            if result.used:
                self.view(result.wanted, served)
        self.view(NO_FILTER, served)

    def unmet(self, view: View) -> list[str]:
        """`View.unmet`."""
        served, result = view.served, view.result
        key = None if served is None else served.same_rows
        found = result.unmet.get(key)
        if found is None:
            with self._lock:
                columns = self._columns
                candidates = result.passes.copy()
                if served is not None:
                    candidates &= self._rows_of(served)[: len(candidates)] == 0
                rows = np.flatnonzero(candidates)
                published = np.nan_to_num(columns.published[rows], nan=-1.0)
                ordered = rows[np.lexsort((columns.revision[rows], published))[::-1]]
                found = [columns.items[row] for row in ordered]
            _keep(result.unmet, key, found, KEPT_VERSIONS)
        return found

    def arrivals(self, view: View) -> Arrivals:
        """`View.arrivals`."""
        served, result = view.served, view.result
        key = None if served is None else served.same_rows
        found = result.arrivals.get(key)
        if found is None:
            with self._lock:
                rows = None if served is None else self._rows_of(served)
                model = None if served is None else served.model
                others = result.passes_unknown
                found = newest_first(self._columns, result.passes, rows, model, others=others)
            _keep(result.arrivals, key, found, KEPT_VERSIONS)
        return found

    def unmet_among(self, view: View, items: Sequence[str]) -> list[str]:
        """`View.unmet` of some items."""
        passes, served = view.result.passes, view.served
        with self._lock:
            rows = None if served is None else self._rows_of(served)
            places = [self.row_of(item) for item in items]
        return [
            item
            for item, row in zip(items, places, strict=True)
            if 0 <= row < len(passes) and passes[row] and (rows is None or rows[row] == 0)
        ]

    def _allowed(self, result: FilterResult, served: Served) -> AllowedItems:
        """Items of a version that a filter lets through. The caller holds the lock."""
        allowed = result.allowed.get(served.version)
        if allowed is None:
            same = result.masks.get(served.same_rows)
            if same is None:
                rows = self._rows_of(served)[: len(result.passes)]
                met = rows > 0
                model_rows = len(served.model.views["items"][1])
                mask = np.full(model_rows, result.passes_unknown, np.uint8)
                mask[rows[met]] = result.passes[met]
                mask[0] = 0
                same = self._allowed_items(mask, result, served.same_rows)
                _keep(result.masks, served.same_rows, same, KEPT_VERSIONS)
            allowed = AllowedItems(same)
            _keep(result.allowed, served.version, allowed, KEPT_VERSIONS)
        return allowed

    def _allowed_items(self, mask: NDArray[np.uint8], result: FilterResult, same_rows: Hashable) -> AllowedItems:
        """A mask over a model's rows, with what its lists are compared with. The caller holds the lock."""
        places = self._rows.places(same_rows, len(mask))
        if places is None:
            return AllowedItems(mask)
        keys = self._columns.keys[: len(result.passes)]
        return AllowedItems(mask, packed(ListCheck(places, result.passes.view(np.uint8), keys)))

    def _rows_of(self, served: Served) -> ItemRows:
        """The version's row of each row of the catalogue. The caller holds the lock."""
        return self._rows.of(served.same_rows, served.model, self._columns.keys[: len(self._columns)])


def _keep(kept: dict[V, Any], key: V, value: Any, most: int) -> None:
    """Add an entry as the newest, and drop the oldest ones beyond `most`."""
    kept.pop(key, None)
    kept[key] = value
    _forget(kept, len(kept) - most)


def _forget(kept: dict[V, Any], count: int) -> None:
    """Drop so many of the oldest entries, as far as there are any."""
    for _ in range(min(count, len(kept))):
        del kept[next(iter(kept))]
