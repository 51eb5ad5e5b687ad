"""One request, from rows of the tables to the rows and scores of a list.

This file decides how the best candidates become a list, and what fills a list that is too short.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream.models.kernels.compile import kernel
from stream.models.kernels.hashing import mixed
from stream.models.ranking import challenger
from stream.models.ranking.own_events import gather
from stream.models.ranking.propose import may_rank
from stream.models.ranking.rank import Options, order, order_these
from stream.models.schema import NEWEST, NEWEST_WRITTEN, TOP_SIZES, TOP_WIDTH
from stream.models.source_names import LONGEST
from stream.models.workspace.scoring_view import Reader
from stream.models.workspace.scratch import CANDIDATE, EXCLUDED, Work, known_local, local_of
from stream.models.workspace.visitor_context import was_seen


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
        challenger.score(reader, work)
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

    The lists of popular and of new items end after a few hundred, and a mask may allow none of these. So this goes
    through all rows, which takes 3 to 10 ms in a million; it runs only if a list with a mask is too short otherwise.

    Args:
        seen_by, allowed: as `order` takes them; the mask is not empty.
        half_life: number of the half-life whose counts are compared.
        rows: the list, of which `held` places are filled.
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
