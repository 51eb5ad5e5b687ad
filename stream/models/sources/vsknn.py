"""Vector multiplication session kNN: items of the sessions that are most like this one.

The query is the last ten items of the session. Item z of q, 0 the newest, adds (q - z)/q to each of the newest sessions
that had it; the best hundred are the neighbours. A neighbour gives each of its items its similarity · (1 - 0.1 · newest
matching z), and rare items count more: ln((S + 1)/(df + 1)) + 0.1.

This file decides which sessions are neighbours, for both `vsknn` and `stan`, and what `vsknn` scores.

Ludewig & Jannach, "Evaluation of session-based recommendation algorithms", UMUAI 2018; Kersbergen, Sprangers &
Schelter, "Serenade", SIGMOD 2022.
"""

from __future__ import annotations

import numpy as np

from stream.models.kernels.compile import kernel, natural_log, padded, prefetch, vectored
from stream.models.kernels.ordinals import began_before, listed_ordinal, low_word, whole
from stream.models.kernels.row_pool import ring_row, run_row, run_rows
from stream.models.schema import POSTING_ENTRIES, SESSIONS_BEGUN
from stream.models.source_names import VSKNN
from stream.models.sources import stan
from stream.models.workspace.scoring_view import Reader
from stream.models.workspace.scratch import (
    HISTORY,
    IN_SESSION,
    MET,
    NEIGHBOUR_CELLS,
    NEIGHBOURS_MET,
    SESSION,
    TOUCHED,
    Work,
    local_of,
)

QUERY_ITEMS = 10
NEIGHBOURS = 100
MOST_SIMILAR = QUERY_ITEMS * (QUERY_ITEMS + 1) // 2
"""Largest similarity, in units of 1/q."""
OLDER_MATCH = 0.1
"""Share that a neighbour's items lose for each place between the newest item of the query and the newest match."""
RARITY_FLOOR = 0.1


@kernel
def prefetch_postings(reader: Reader, work: Work) -> None:
    """Prefetch the lists of sessions of the query's items."""
    for z in range(min(QUERY_ITEMS, work.counts[SESSION])):
        pointer = reader.items[reader.items_index[work.session[z]]].postings
        if pointer:
            for row in range(run_row(pointer), run_row(pointer) + run_rows(pointer)):
                prefetch(reader.postings, reader.postings_index[row])


@kernel
def find_neighbours(reader: Reader, work: Work) -> int:
    """Fill in `met_*`: sessions that share items with this one, and their similarity in units of 1/q; returns q."""
    wanted = min(QUERY_ITEMS, work.counts[SESSION])
    rows = reader.sessions_index.size
    begun = np.int64(reader.scalars[SESSIONS_BEGUN])
    own = low_word(work.visit[0].ordinal)
    mask = np.uint64(NEIGHBOUR_CELLS - 1)
    for z in range(wanted):
        item = reader.items[reader.items_index[work.session[z]]]
        if item.postings == 0:
            continue
        length = run_rows(item.postings) * POSTING_ENTRIES
        first = run_row(item.postings)
        posted = whole(item.posted, item.posted_high)
        for age in range(min(posted, length)):
            at = (posted - 1 - age) % length
            row = reader.postings_index[first + at // POSTING_ENTRIES]
            word = reader.postings[row, at % POSTING_ENTRIES]
            if word == 0 or word == own or began_before(word, begun) >= rows - 1:
                continue
            cell = (np.uint64(word) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(44)
            cell &= mask
            while True:
                met = np.int64(work.met_cells[cell]) - 1
                if met < 0:
                    met = work.counts[MET]
                    if met < NEIGHBOURS_MET:
                        work.met_cells[cell] = met + 1
                        work.met_cell_of[met] = cell
                        work.met_words[met] = word
                        work.met_similarity[met] = wanted - z
                        work.met_newest[met] = z
                        work.met_oldest[met] = z
                        work.counts[MET] = met + 1
                    break
                if work.met_words[met] == word:
                    # A long session that lost an item and met it again is in that item's list twice.
                    if work.met_oldest[met] != z:
                        work.met_similarity[met] += wanted - z
                        work.met_oldest[met] = z
                    break
                cell = (cell + np.uint64(1)) & mask
    return wanted


@kernel
def score(reader: Reader, work: Work) -> None:
    """Fill in the scores of both neighbour sources, `vsknn` and `stan`; `finish` completes those of `vsknn`."""
    wanted = find_neighbours(reader, work)
    if wanted == 0 or work.counts[MET] == 0:
        return
    spread = work.spread
    spread[:] = 0
    for met in range(work.counts[MET]):
        spread[work.met_similarity[met]] += 1
    # Similarities are small whole numbers: sessions above `least` are all taken, and of those at it the first met.
    least = MOST_SIMILAR + 1
    taken = 0
    while least > 1 and taken + spread[least - 1] <= NEIGHBOURS:
        least -= 1
        taken += spread[least]
    at_least = NEIGHBOURS - taken
    best = 0
    count = 0
    rows = reader.sessions_index.size
    begun = np.int64(reader.scalars[SESSIONS_BEGUN])
    for met in range(work.counts[MET]):
        similar = work.met_similarity[met]
        if similar < least:
            if similar != least - 1 or at_least <= 0:
                continue
            at_least -= 1
        best = max(best, similar)
        work.neighbours[count] = met
        count += 1
        session = ring_row(listed_ordinal(work.met_words[met], begun), rows)
        prefetch(reader.sessions_index, session)
        prefetch(reader.session_items_index, session)
    for number in range(count):
        session = ring_row(listed_ordinal(work.met_words[work.neighbours[number]], begun), rows)
        prefetch(reader.sessions, reader.sessions_index[session])
        prefetch(reader.session_items, reader.session_items_index[session])
    for number in range(count):
        met = work.neighbours[number]
        session = ring_row(listed_ordinal(work.met_words[met], begun), rows)
        score_neighbour(reader, work, session, work.met_similarity[met] / wanted, work.met_newest[met])
    work.visit[0].similarity = best / wanted


@kernel
def score_neighbour(reader: Reader, work: Work, session: int, similarity: float, newest: int) -> None:
    """Add a neighbour's scores to its items.

    Args:
        session: row of the neighbour.
        similarity: from 0 to (q + 1)/2.
        newest: place in the query of the newest item that the neighbour has.
    """
    row = reader.sessions[reader.sessions_index[session]]
    items = reader.session_items[reader.session_items_index[session]]
    length = np.int64(row.items)
    gain = np.float32(similarity * (1.0 - OLDER_MATCH * newest))
    age = max(0.0, work.visit[0].now - row.last_seconds)
    stan_gain = stan.gain(similarity, length, age)
    matched = work.session[newest]
    match = -1
    for column in range(length):
        if items[column] == matched:
            match = column
    for column in range(length):
        if items[column] == 0:
            continue
        local = local_of(work, np.int64(items[column]))
        if local >= 0:
            if work.values[VSKNN, local] == 0:
                work.touched[work.counts[TOUCHED]] = local
                work.counts[TOUCHED] += 1
                prefetch(reader.items_index, work.items[local])
            work.values[VSKNN, local] += gain
            stan.score_item(work, local, stan_gain, column - match if match >= 0 else length)


@kernel
def finish(reader: Reader, work: Work) -> None:
    """Multiply the scores of `vsknn` by the rarity of each item, once per item."""
    count = work.counts[TOUCHED]
    for number in range(count):
        prefetch(reader.items, reader.items_index[work.items[work.touched[number]]])
    begun = reader.scalars[SESSIONS_BEGUN] + 1.0
    own = work.counts[HISTORY] > 0 and work.history_learned[0] != 0
    for number in range(count):
        local = work.touched[number]
        item = reader.items[reader.items_index[work.items[local]]]
        posted = whole(item.posted, item.posted_high)
        if own and work.flags[local] & IN_SESSION:
            posted = max(np.int64(0), posted - 1)  # without this very session
        work.gathered[number] = begun / (posted + 1.0)
    rarities(work.gathered[: padded(count)])
    for number in range(count):
        work.values[VSKNN, work.touched[number]] *= work.gathered[number]


@vectored
def rarities(shares: np.ndarray) -> None:
    """Replace (S + 1)/(df + 1) by the rarity."""
    for number in range(shares.size):
        shares[number] = natural_log(max(np.float32(1e-30), shares[number])) + np.float32(RARITY_FLOOR)
