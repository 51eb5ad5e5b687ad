"""Candidates: the best items of every source, united.

This file decides how many items each source proposes, which items may be ranked at all, and how the best of a source
are found. Sources of one's own propose as many as they say (`sources/custom.py`).
"""

from __future__ import annotations

import numpy as np

from stream.models.kernels.compile import bits_of, float_of, inlined, kernel, padded, vectored
from stream.models.kernels.hashing import mixed
from stream.models.kernels.simd import count_above, count_from
from stream.models.schema import TOP_SIZES
from stream.models.source_names import (
    COSINE,
    COSINE_FLAT,
    EMBEDDING,
    HALF_LIVES,
    POPULAR,
    SOURCE_COUNT,
    STAN,
    TRANSITION_FAST,
    TRANSITIONS,
    VSKNN,
)
from stream.models.sources import custom
from stream.models.workspace.scoring_view import Reader
from stream.models.workspace.scratch import (
    BEST,
    CANDIDATE,
    CANDIDATES,
    CHECKED,
    EXCLUDED,
    LOCAL,
    UNIQUE,
    Work,
    known_local,
    local_of,
)
from stream.models.workspace.visitor_context import was_seen

PROPOSED = ((TRANSITIONS, 50), (COSINE, 50), (VSKNN, 50), (TRANSITION_FAST, 25), (COSINE_FLAT, 25), (STAN, 25))
"""Sources and the number of candidates that each proposes."""
PROPOSED_POPULAR = 30
"""Candidates from the list of each half-life."""
PROPOSED_OWN = 20
"""Candidates from the visitor's own items."""


@kernel
def propose(
    reader: Reader,
    work: Work,
    seen_by: np.uint64,
    own: bool,
    disabled: int,
    allowed: np.ndarray,
    popular: np.ndarray,
) -> None:
    """Fill in `candidates`: the best of all sources, each item once.

    Args:
        seen_by: key of the visitor (or session) whose remembered items are never ranked; 0 = repeats are allowed.
        own: the visitor's last items are candidates too.
        disabled: bit s is set: source s proposes nothing.
        allowed: bits over item rows, as `allows` takes them, 0 = never a candidate; empty = all may be.
        popular: (half-lives, places) the most popular allowed rows, 0 = none; empty = the lists of all items, which
            stand for it if `allowed` is empty.
    """
    if allowed.size:
        silence_others(work, allowed)
    else:
        for local in range(work.counts[LOCAL]):
            if work.flags[local] & EXCLUDED:
                silence(work, local)
    for source, most in PROPOSED + custom.PROPOSED:
        if not (disabled >> source) & 1:
            propose_best(reader, work, seen_by, source, most)
    for half_life in range(HALF_LIVES):
        if not (disabled >> (POPULAR + half_life)) & 1:
            if popular.size:
                propose_popular(reader, work, seen_by, popular[half_life], popular.shape[1])
            else:
                size = np.int64(reader.scalars[TOP_SIZES + half_life])
                propose_popular(reader, work, seen_by, reader.top[reader.top_index[half_life]], size)
    if own:
        for number in range(min(PROPOSED_OWN, work.counts[UNIQUE])):
            local = known_local(work, work.unique[number])
            if local >= 0 and may_rank(reader, work, local, seen_by):
                take(work, local)


@kernel
def propose_popular(reader: Reader, work: Work, seen_by: np.uint64, listed: np.ndarray, size: int) -> None:
    """Make the first rankable items of a list of popular ones candidates; `listed[:size]` are rows, 0 = none."""
    left = PROPOSED_POPULAR
    for place in range(size):
        if listed[place] == 0:
            continue
        local = local_of(work, np.int64(listed[place]))
        if local >= 0 and may_rank(reader, work, local, seen_by):
            take(work, local)
            left -= 1
            if left == 0:
                break


@inlined
def allows(allowed: np.ndarray, item: int) -> bool:
    """True if a mask allows an item.

    Args:
        allowed: bit r % 8 of byte r // 8 is that of row r. With a million items these are 125 kB, which stay in the
            second cache, while a byte for each row would not.
        item: its row.
    """
    return (allowed[item >> 3] >> (item & 7)) & 1 != 0


@kernel
def may_rank(reader: Reader, work: Work, local: int, seen_by: np.uint64) -> bool:
    """True if the item may be ranked. An item that may not loses its values, so that others take its place."""
    if work.flags[local] & EXCLUDED:
        return False
    if seen_by and not work.flags[local] & CHECKED:
        work.flags[local] |= CHECKED
        item = reader.items[reader.items_index[work.items[local]]]
        if was_seen(reader, mixed(seen_by ^ mixed(item.key0))):
            work.flags[local] |= EXCLUDED
            silence(work, local)
            return False
    return True


@kernel
def silence(work: Work, local: int) -> None:
    """Set an item's values to 0, in all sources."""
    for source in range(SOURCE_COUNT):
        work.values[source, local] = 0


@kernel
def silence_others(work: Work, allowed: np.ndarray) -> None:
    """Exclude the items that a mask hides, and set the values of all excluded items to 0.

    A filter hides most of the items that a list touches. Source by source, many elements at a time, that takes a tenth
    of the time of `silence` for each of them.
    """
    count = work.counts[LOCAL]
    kept = work.gathered[: padded(count)]
    for local in range(count):
        hidden = np.uint8(0) if allows(allowed, work.items[local]) else np.uint8(EXCLUDED)
        flags = work.flags[local] | hidden
        work.flags[local] = flags
        kept[local] = np.float32(1) if flags & EXCLUDED == 0 else np.float32(0)  # without a branch
    for source in range(SOURCE_COUNT):
        if not POPULAR <= source <= EMBEDDING:  # these keep their values elsewhere
            keep(work.values[source, : padded(count)], kept)


@vectored
def keep(values: np.ndarray, kept: np.ndarray) -> None:
    """Set values to 0 where `kept` is 0, and leave them where it is 1."""
    for number in range(values.size):
        values[number] *= kept[number]


@inlined
def take(work: Work, local: int) -> None:
    """Make an item a candidate, unless it is one or there is no room."""
    if not work.taken[local] and work.counts[CANDIDATE] < CANDIDATES:
        work.candidates[work.counts[CANDIDATE]] = local
        work.counts[CANDIDATE] += 1
        work.taken[local] = work.counts[CANDIDATE]


@kernel
def take_item(work: Work, item: int, allowed: np.ndarray) -> None:
    """Make an item a candidate unless it must not be one."""
    if allowed.size and not allows(allowed, item):
        return
    local = local_of(work, item)
    if local >= 0 and not work.flags[local] & EXCLUDED:
        take(work, local)


@kernel
def propose_best(reader: Reader, work: Work, seen_by: np.uint64, source: int, most: int) -> None:
    """Make the `most` rankable items with the highest scores of a source candidates; of equal scores the first met."""
    values = work.values[source, : padded(work.counts[LOCAL])]
    while True:
        held = find_best(work, values, most)
        silenced = False
        for place in range(held):
            local = work.best_locals[work.best_order[place]]
            if may_rank(reader, work, local, seen_by):
                take(work, local)
            else:
                silenced = True  # others take its place
        if not silenced:
            break


@kernel
def find_best(work: Work, values: np.ndarray, most: int) -> int:
    """Fill in `best_locals` and, best first, `best_order`; returns how many there are, at most `most`.

    The value to be reached is found by bisection over the bits of the values: counting 1,500 numbers ten times takes a
    microsecond, while inserting all of them into a sorted list of fifty took four.

    Args:
        values: scores by local number, none negative; 0 = no score.
        most: how many are wanted, at most `BEST`.
    """
    least = np.int32(1)
    count = count_from(values, float_of(least))
    if count > BEST:
        beyond = np.int64(bits_of(largest_of(values))) + 1
        while count > BEST and beyond - least > 1:
            middle = np.int32((np.int64(least) + beyond) // 2)
            found = count_from(values, float_of(middle))
            if found >= most:
                least = middle
                count = found
            else:
                beyond = np.int64(middle)
    limit = float_of(np.int32(least))
    best_values = work.best_values
    best_values[:] = -1
    held = 0
    if count <= BEST:
        for local in range(values.size):
            work.best_locals[held] = local
            held += values[local] >= limit
    else:  # too many are at the limit: take those that were met first
        ties = most - count_from(values, float_of(np.int32(least + 1)))
        for local in range(values.size):
            if values[local] > limit or (values[local] == limit and ties > 0):
                ties -= values[local] == limit
                work.best_locals[held] = local
                held += 1
    for number in range(held):
        best_values[number] = values[work.best_locals[number]]
    for number in range(held):
        place = count_above(best_values, best_values[number])
        for earlier in range(number):
            place += best_values[earlier] == best_values[number]
        work.best_order[place] = number
    return min(held, most)


@vectored
def largest_of(values: np.ndarray) -> np.float32:
    """The largest of these numbers, 0 if none is positive."""
    largest = np.float32(0)
    for number in range(values.size):
        largest = max(largest, values[number])
    return largest
