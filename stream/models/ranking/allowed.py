"""Items that a list may hold, when not all of them may: a mask over item rows, and the most counted of them in order.

A mask alone would make popularity look for its candidates among the 200 most popular items of the whole shop, of which
a narrow filter allows one or none. So the popular items *among the allowed ones* are found here, exactly: from the
lists of the 200 where these hold enough allowed items, else from the counts of all allowed items. That takes about
20 ns an allowed item, once for a mask and a version, because the result is kept.

This file decides which items popularity proposes under a mask, in which order allowed items fill a short list, and when
a finished list is known to hold allowed items only.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.models.kernels.compile import kernel, packed_at
from stream.models.ranking.propose import PROPOSED_POPULAR
from stream.models.schema import TOP_ITEMS, TOP_SIZES
from stream.models.source_names import HALF_LIVES, LONGEST
from stream.models.workspace.scoring_view import Reader

Mask = NDArray[np.uint8]
"""One byte for each row of the table `items`: 0 hides the item everywhere in the list, 1 allows it."""

ENOUGH_LISTED = 10
"""Allowed items in the list of a half-life that are proposed as they are; with fewer, all counts are compared."""

FIRST_ORDERED = 1024
"""Items that are put into order at first; a list that needs more has all of them ordered."""


class ListCheck(NamedTuple):
    """Arrays that a finished list is compared with. The mask is none of them: an error of the mask is to be found.

    Attributes:
        places: int32 by row of the table `items`, the place of the item in what made the mask; -1: it isn't there.
        passes: uint8 by place, 1 for items that may be in a list.
        keys: (places, 2) uint64, the key of the item in each place.
    """

    places: NDArray[np.int32]
    passes: NDArray[np.uint8]
    keys: NDArray[np.uint64]


class AllowedItems:
    """Allowed items of one set of tables.

    The tables must not change while it is in use: what was found in them is kept.

    Args:
        mask: (item rows,) uint8 or bool; an item whose row is 0 is nowhere in the list. Or the allowed items of other
            tables in which every item has the same row, and perhaps another count.
        check: what finished lists are compared with, packed; None: nothing. Other tables have the same one.
    """

    def __init__(self, mask: NDArray | AllowedItems, check: ListCheck | None = None) -> None:
        self.check: ListCheck | None = mask.check if isinstance(mask, AllowedItems) else check
        self._same = mask if isinstance(mask, AllowedItems) else None
        self.mask: Mask
        self.bits: Mask
        """The mask as kernels take it (`propose.allows`)."""
        if isinstance(mask, AllowedItems):
            self.mask, self.bits = mask.mask, mask.bits
        else:
            self.mask = np.require(mask, np.uint8, ["C"])
            self.bits = np.packbits(self.mask, bitorder="little")
        self._rows: NDArray[np.int64] | None = None
        self._popular: NDArray[np.uint32] | None = None
        self._by_count: dict[int, tuple[NDArray[np.int64], bool]] = {}
        self._uncounted: NDArray[np.int64] | None = None

    @classmethod
    def everything(cls, reader: Reader) -> AllowedItems:
        """Every item of these tables."""
        mask = np.ones(len(reader.items_index), np.uint8)
        mask[0] = 0
        return cls(mask)

    def rows(self, reader: Reader) -> NDArray[np.int64]:
        """Allowed rows that hold an item, rising."""
        if self._rows is None and self._same is not None:
            self._rows = self._same.rows(reader)
        if self._rows is None:
            rows = np.flatnonzero(self.mask)
            items = reader.items[reader.items_index[rows]]
            self._rows = rows[(items["key0"] != 0) | (items["key1"] != 0)]
        return self._rows

    def popular(self, reader: Reader) -> NDArray[np.uint32]:
        """The most popular allowed items over each half-life.

        Returns:
            (half-lives, `PROPOSED_POPULAR`) rows, best first; 0 where there are no more.
        """
        if self._popular is None:
            popular = np.zeros((HALF_LIVES, PROPOSED_POPULAR), np.uint32)
            missing = False
            for half_life in range(HALF_LIVES):
                known, complete = self._listed(reader, half_life)
                popular[half_life, : len(known)] = known[:PROPOSED_POPULAR]
                missing |= not complete and len(known) < ENOUGH_LISTED
            if missing:
                popular = self.compare_counts(reader)
            self._popular = popular
        return self._popular

    def compare_counts(self, reader: Reader) -> NDArray[np.uint32]:
        """`popular` from the counts of all allowed items."""
        popular = np.zeros((HALF_LIVES, PROPOSED_POPULAR), np.uint32)
        most_counted(reader.sums, reader.sums_index, self.rows(reader), popular)
        return popular

    def by_count(self, reader: Reader, half_life: int, wanted: int) -> NDArray[np.int64]:
        """Allowed items whose count is above 0, the largest count first: at least `wanted` of them if there are.

        Args:
            half_life: number of the half-life whose counts are compared.
            wanted: how many are needed.
        """
        known, complete = self._by_count.get(half_life) or self._listed(reader, half_life)
        if not complete and len(known) < wanted:
            self._by_count[half_life] = known, complete = self._ordered(reader, half_life, wanted)
        return known

    def uncounted(self, reader: Reader) -> NDArray[np.int64]:
        """Allowed items whose count over the longest half-life is 0, the newest first."""
        if self._uncounted is None:
            rows = self.rows(reader)
            rows = rows[reader.sums[reader.sums_index[rows], LONGEST] <= 0]
            first = reader.items[reader.items_index[rows]]["first_seconds"].astype(np.int64)
            self._uncounted = rows[np.lexsort((rows, -first))]
        return self._uncounted

    def _listed(self, reader: Reader, half_life: int) -> tuple[NDArray[np.int64], bool]:
        """Allowed items of a half-life's list, and whether there are no others with a count.

        The list holds the items of the largest counts, so those of its items that are allowed come first among all
        allowed items.
        """
        size = int(reader.scalars[TOP_SIZES + half_life])
        listed = reader.top[reader.top_index[half_life]][:size]
        return listed[self.mask[listed] != 0].astype(np.int64), size < TOP_ITEMS

    def _ordered(self, reader: Reader, half_life: int, wanted: int) -> tuple[NDArray[np.int64], bool]:
        listed, _ = self._listed(reader, half_life)
        rows = np.setdiff1d(self.rows(reader), listed, assume_unique=True)
        counts = reader.sums[reader.sums_index[rows], half_life]
        rows, counts = rows[counts > 0], counts[counts > 0]
        complete = len(rows) <= FIRST_ORDERED or wanted > FIRST_ORDERED
        if not complete:
            least = np.partition(counts, len(counts) - FIRST_ORDERED)[len(counts) - FIRST_ORDERED]
            rows, counts = rows[counts >= least], counts[counts >= least]
        return np.concatenate([listed, rows[np.lexsort((rows, -counts))]]), complete


_reader_at = packed_at("Reader")
_check_at = packed_at("ListCheck")


@kernel
def all_pass(reader_address: int, check_address: int, rows: NDArray[np.int64]) -> bool:
    """True if the items of these rows are known to be allowed; False for one that isn't known.

    An item is compared by its key, because a row may have been given to another one. Looking up the ids of ten items in
    a dictionary of a million takes seven microseconds, and this one.

    Args:
        reader_address, check_address: of the packed arrays.
        rows: of the table `items`.
    """
    reader, check = _reader_at(reader_address), _check_at(check_address)
    for row in rows:
        place = np.int64(check.places[row]) if row < check.places.size else np.int64(-1)
        if place < 0 or place >= check.passes.size or check.passes[place] == 0:
            return False
        item = reader.items[reader.items_index[row]]
        if item.key0 != check.keys[place, 0] or item.key1 != check.keys[place, 1]:
            return False
    return True


@kernel
def most_counted(sums: NDArray, sums_index: NDArray, rows: NDArray, popular: NDArray) -> None:
    """Fill in the rows with the largest counts over each half-life; of equal counts the first met.

    Args:
        sums, sums_index: as `Reader` has them.
        rows: rows to choose from, rising.
        popular: (half-lives, width) of zeros.
    """
    width = popular.shape[1]
    for row in rows:
        counts = sums[sums_index[row]]
        for half_life in range(popular.shape[0]):
            count = counts[half_life]
            last = popular[half_life, width - 1]
            if count <= 0 or (last and sums[sums_index[last], half_life] >= count):
                continue
            at = width - 1
            while at > 0:
                before = popular[half_life, at - 1]
                if before and sums[sums_index[before], half_life] >= count:
                    break
                popular[half_life, at] = before
                at -= 1
            popular[half_life, at] = row
