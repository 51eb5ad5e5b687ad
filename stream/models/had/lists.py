"""Items that the visitor had, beyond their last events: purchases and dislikes that are kept, and kinds of events.

A dislike excludes its item from every list of the visitor, until a like, a cart or a purchase takes it back; a later
click or view suspends it for as long as it is among the last events. It also lowers the candidates that lie near the
disliked item. Near is measured by the share of visitors who had both (the cosine of `sources/cosine.py`), against the
same measure for the items that the visitor didn't turn down: what is near to both is lowered little, and what only the
disliked item explains is lowered by up to `STRENGTH` standard deviations of the scores of the list.

Lists alone are made like this. Tests before learning, and learning itself, read nothing of it, so that dislikes change
neither what is learned nor its speed.

This file decides which items are left out because of what the visitor had, and how far a dislike lowers others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from stream.models.event_codes import KINDS, PURCHASE
from stream.models.had.places import check_of, first_row, rows_each
from stream.models.kernels.compile import kernel
from stream.models.schema import COUNT, KEPT_ENTRIES, KEPT_WAYS, SET_SLOTS
from stream.models.source_names import COSINE
from stream.models.sources import cosine
from stream.models.sources.pairs import first_set, sets_of
from stream.models.workspace.scoring_view import Reader
from stream.models.workspace.scratch import (
    CANDIDATE,
    DISLIKED,
    DISLIKES,
    EXCLUDED,
    HAD,
    Work,
    known_local,
    local_of,
)
from stream.models.workspace.visitor_context import place_in, ring_count

STRENGTH = 3.0
"""Standard deviations of the scores by which a candidate is lowered that only the disliked item explains."""
PRIOR = 0.05
"""Nearness to the visitor's other items that is granted to every candidate: a single visitor in common means little."""

NO_KINDS = 0
SEEN_KINDS: Mapping[str, int] = {
    "clicked": (1 << KINDS["click"]) | (1 << KINDS["view"]),
    "carted": 1 << KINDS["cart"],
    "bought": 1 << KINDS["purchase"],
    "any": 0xFFFF,
}
"""Kinds of events by the word that a query has for them: bit k stands for kind k."""
BOUGHT = SEEN_KINDS["bought"]


def kinds_of(words: Iterable[str], *, everything: bool = False) -> int:
    """The kinds that these words of `SEEN_KINDS` stand for.

    Args:
        words: of kinds.
        everything: the history is left out by other means, and purchases beyond it have to be.

    >>> kinds_of(["carted", "bought"]) == kinds_of(["carted"], everything=True)
    True
    """
    kinds = BOUGHT if everything else NO_KINDS
    for word in words:
        kinds |= SEEN_KINDS[word]
    return kinds


@kernel
def leave_out(
    reader: Reader,
    work: Work,
    who: NDArray[np.int64],
    kinds: int,
    since: float,
    turned_down: NDArray[np.int64],
) -> None:
    """Exclude what the visitor disliked, and what they had by events of some kinds.

    Call it after `gather`, before anything else is excluded.

    Args:
        who: as `answer` takes it.
        kinds: bit k is set: items of events of kind k are excluded.
        since: only events at this time or later, in seconds.
        turned_down: rows of items that the request itself says are disliked.
    """
    for item in turned_down:
        local = local_of(work, item)
        if local >= 0:
            work.flags[local] |= HAD | EXCLUDED
            note_disliked(work, item, np.int64(1) << 40)
    bought = (kinds >> PURCHASE) & 1 != 0
    for number in range(3, 5):
        if who[number] and (number == 3 or who[number] != who[3]):
            apply_kept(reader, work, who[number], bought, since)
    if kinds:
        for number in range(2):
            if who[number] and (number == 0 or who[1] != who[0]):
                exclude_kinds(reader, work, who[number], kinds, since)


@kernel
def apply_kept(reader: Reader, work: Work, place: int, bought: bool, since: float) -> None:
    """Exclude the kept dislikes of a place, and note them; exclude its purchases if asked for."""
    rows = rows_each(reader.kept_visitors_index.size, reader.kept_items_index.size)
    visitors = reader.kept_visitors[reader.kept_visitors_index[place // KEPT_WAYS]]
    start = first_row(visitors[place % KEPT_WAYS].entries, place, rows)
    for row in range(start, start + rows):
        entries = reader.kept_items[reader.kept_items_index[row]]
        for column in range(KEPT_ENTRIES):
            entry = entries[column]
            item = np.int64(entry.item)
            if item == 0 or check_of(reader.items[reader.items_index[item]].key0) != entry.check:
                continue
            local = local_of(work, item)
            if local < 0:
                continue
            if entry.disliked:
                had = work.flags[local] & HAD
                if not had:
                    work.flags[local] |= HAD | EXCLUDED
                if not had or work.flags[local] & EXCLUDED:
                    note_disliked(work, item, np.int64(entry.disliked))
            if bought and entry.bought and entry.bought >= since:
                work.flags[local] |= EXCLUDED


@kernel
def note_disliked(work: Work, item: int, seconds: int) -> None:
    """Enter an item among those that lower others: the `DISLIKES` newest, the newest first."""
    count = work.counts[DISLIKED]
    at = count
    while at > 0 and work.disliked_seconds[at - 1] < seconds:
        at -= 1
    if at == DISLIKES:
        return
    for later in range(min(count, DISLIKES - 1), at, -1):
        work.disliked[later] = work.disliked[later - 1]
        work.disliked_seconds[later] = work.disliked_seconds[later - 1]
    work.disliked[at] = item
    work.disliked_seconds[at] = seconds
    work.counts[DISLIKED] = min(DISLIKES, count + 1)


@kernel
def exclude_kinds(reader: Reader, work: Work, visitor: int, kinds: int, since: float) -> None:
    """Exclude the items of a visitor's last events of some kinds."""
    record = reader.visitors[reader.visitors_index[visitor]]
    for age in range(ring_count(record.history, record.entries)):
        entry = reader.history[place_in(reader, record.history, record.entries, age)]
        if entry.item and (kinds >> np.int64(entry.kind)) & 1 and entry.seconds >= since:
            local = local_of(work, np.int64(entry.item))
            if local >= 0:
                work.flags[local] |= EXCLUDED


@kernel
def lower(reader: Reader, work: Work, by_challenger: bool) -> None:
    """Lower the scores of candidates that lie near a disliked item.

    Fills in `lowered`: by candidate, the amount that was subtracted from its score.

    Args:
        by_challenger: the challenger's scores order the list.
    """
    count = work.counts[CANDIDATE]
    work.lowered[:count] = 0
    for number in range(work.counts[DISLIKED]):
        measure_nearness(reader, work, work.disliked[number])
    mean = square = 0.0
    for number in range(count):
        score = work.challenger[number] if by_challenger else np.float64(work.scores[number])
        mean += score / count
        square += score * score / count
    amount = STRENGTH * math.sqrt(max(0.0, square - mean * mean))
    for number in range(count):
        work.lowered[number] *= amount
        if by_challenger:
            work.challenger[number] -= work.lowered[number]
        else:
            work.scores[number] -= np.float32(work.lowered[number])


@kernel
def measure_nearness(reader: Reader, work: Work, item: int) -> None:
    """Raise `lowered` to the nearness of each candidate to a disliked item, from 0 to 1, if that is more."""
    pointer = reader.items[reader.items_index[item]].pairs
    if pointer == 0:
        return
    count = reader.sums[reader.sums_index[item], COUNT]
    for row in range(first_set(pointer), first_set(pointer) + sets_of(pointer)):
        slots = reader.pairs[reader.pairs_index[row]]
        for column in range(SET_SLOTS):
            slot = slots[column]
            if slot.other == 0 or slot.together <= 0:
                continue
            local = known_local(work, np.int64(slot.other))
            if local < 0 or not work.taken[local]:
                continue
            other = reader.sums[reader.sums_index[np.int64(slot.other)], COUNT]
            norm = max(0.0, count) + cosine.SHRINK, max(0.0, other) + cosine.SHRINK
            near = np.float64(slot.together) / math.sqrt(norm[0] * norm[1])
            number = np.int64(work.taken[local]) - 1
            liked = np.float64(work.source_values[COSINE, number])
            work.lowered[number] = max(work.lowered[number], near / (near + liked + PRIOR))
