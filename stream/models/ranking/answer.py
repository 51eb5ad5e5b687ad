"""One request, from rows of the tables to the rows and scores of a list.

This file decides how the best candidates become a list, and what fills a list that is too short.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream.models.had import lists as had
from stream.models.kernels.compile import kernel
from stream.models.kernels.hashing import mixed
from stream.models.ranking import challenger
from stream.models.ranking.own_events import gather
from stream.models.ranking.propose import may_rank
from stream.models.ranking.rank import Options, order, order_these
from stream.models.schema import NEWEST, NEWEST_WRITTEN, TOP_SIZES, TOP_WIDTH
from stream.models.source_names import LONGEST
from stream.models.workspace.scoring_view import Reader
from stream.models.workspace.scratch import CANDIDATE, DISLIKED, EXCLUDED, Work, known_local, local_of
from stream.models.workspace.visitor_context import was_seen


@kernel
def answer(
    reader: Reader,
    work: Work,
    options: Options,
    who: NDArray[np.int64],
    seen_by: np.uint64,
    now: float,
    kinds: int,
    since: float,
    turned_down: NDArray[np.int64],
    recent: NDArray[np.int64],
    excluded: NDArray[np.int64],
    wanted: NDArray[np.int64],
    allowed: NDArray[np.uint8],
    popular: NDArray[np.uint32],
    by_challenger: bool,
    rows: NDArray[np.int64],
    scores: NDArray[np.float64],
) -> int:
    """Fill in the best candidates and their scores, best first; returns how many there are.

    Args:
        who: rows of the visitor, of the session as a visitor, and of the session, then the places of visitor and
            session among those whose purchases and dislikes are kept; 0 for none.
        seen_by: as `rank` takes it.
        kinds, since, turned_down: as `had.leave_out` takes them.
        recent, excluded, wanted: rows of items that came with the request.
        allowed: bits over item rows, as `propose` takes them; empty = all may be in the list.
        popular: as `propose` takes it.
        by_challenger: the challenger orders the list.
        rows, scores: room for the answer.
    """
    gather(reader, work, who[0], who[1], who[2], recent, now)
    if kinds or who[3] or who[4] or turned_down.size:
        had.leave_out(reader, work, who, kinds, since, turned_down)
    for item in excluded:
        local = local_of(work, item)
        if local >= 0:
            work.flags[local] |= EXCLUDED
    if wanted.size:
        order_these(reader, work, options, wanted, allowed)
    else:
        order(reader, work, options, seen_by, allowed, popular)
    if by_challenger:
        challenger.score(reader, work)
    if work.counts[DISLIKED]:
        had.lower(reader, work, by_challenger)
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
) -> int:
    """Go on with what is popular over the longest half-life, or with what is new; returns how many there are then.

    Args:
        seen_by: as `order` takes it.
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
        if known or local < 0 or not may_rank(reader, work, local, seen_by):
            continue
        rows[held] = row
        held += 1
    return held


@kernel
def fill_from(
    reader: Reader,
    work: Work,
    seen_by: np.uint64,
    ordered: NDArray[np.int64],
    rows: NDArray[np.int64],
    held: int,
) -> int:
    """Go on with rows in the order in which they are given; returns how many there are then.

    Args:
        seen_by: as `order` takes it.
        ordered: allowed rows, best first, each once.
        rows: the list, of which `held` places are filled.
    """
    ranked = held
    for row in ordered:
        if held == rows.size:
            break
        local = known_local(work, row)
        if local >= 0 and work.flags[local] & EXCLUDED:
            continue
        item = reader.items[reader.items_index[row]]
        if seen_by and was_seen(reader, mixed(seen_by ^ mixed(item.key0))):
            continue
        known = False
        for number in range(ranked):
            known = known or rows[number] == row
        if not known:
            rows[held] = row
            held += 1
    return held
