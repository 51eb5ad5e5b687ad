"""Scratch arrays of one thread, reused from list to list, so that making a list allocates nothing.

Items that a list touches get local numbers, in the order in which they are met. The scores of all sources stand side by
side under that number.

This file decides what lies in these arrays, how many items a list may touch, and how an item's local number is found.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.models.feature_names import CONTEXT_FEATURES, CROSSES, FEATURES_WIDE
from stream.models.kernels.compile import inlined, kernel, packed, padded, vectored
from stream.models.schema import HIDDEN, NETWORK_ROWS, SESSION_ITEMS
from stream.models.source_names import EMBEDDING, HALF_LIVES, POPULAR, SOURCE_COUNT

HISTORY_MOST = 128
"""Room for events of a history; the first 100 are used (`visitor_context.KNOWN_MOST`)."""
LOCALS = 16_384
"""Items that a list may touch; further ones are left out."""
CELLS = 4 * LOCALS
CELLS_LEAST = 8192
"""Cells in use at the start of a list. Most lists touch some 1,500 items: cells for these stay in the first two caches
and are emptied quickly."""

NEIGHBOUR_CELLS = 8192
NEIGHBOURS_MET = 4096
"""Sessions that may be met while neighbours are looked for; further ones are left out."""
CANDIDATES = 1024
"""Most candidates of a list: more than all sources propose together, and every item that a request may name."""
ROW = CANDIDATES + 16
"""Numbers in a row of candidates: rows a power of two apart would all lie in the same few places of a cache."""

BEST = 64
"""Room for the best of a source: more than any proposes."""

OWN = 12
"""The visitor's own events that counts are corrected for."""
OWN_SUM_COUNT, OWN_SUM_FORWARD, OWN_SUM_FAST = range(3)
"""Columns of `own_sums`: parts of `COUNT`, `FORWARD_SUM` and `FAST_SUM` of an item."""

DISLIKES = 8
"""Disliked items of a visitor that lower what lies near them; the newest count."""

# Cells of `counts`.
HISTORY = 0
UNIQUE = 1
SESSION = 2
LOCAL = 3
CANDIDATE = 4
OWN_ITEMS = 5
MET = 6
DISLIKED = 9
TOUCHED = 8
MASK = 7
"""Cells of the index of local numbers that are in use, less one."""

# Bits of `flags`.
HAD = 1
"""The item is in the visitor's history."""
EXCLUDED = 2
"""The item may not be ranked."""
CHECKED = 4
"""The item has been looked up among those that the visitor must not get again."""
IN_SESSION = 8
"""The item is in this session."""

VISIT = np.dtype(
    [
        ("now", "<f8"),
        ("moment", "<f8"),
        ("similarity", "<f8"),
        ("visitor", "<i8"),
        ("ordinal", "<i8"),
        ("session_length", "<i8"),
    ]
)
"""Scalars of one list, in the record `visit[0]`.

`moment` is the time at which the list is asked for, in seconds. `now` is the time of the last learned event: while
nothing is learned, no item gets older or less popular relative to the others, and a list that is asked for years later
is not made from counts that have decayed to nothing. `similarity` is that of the best neighbour session; `visitor` the
visitor's row, 0 if unknown; `ordinal` that of the session, 0 if there is none; `session_length` its unique items.
"""


class Work(NamedTuple):
    """Scratch arrays.

    Attributes:
        counts: how much of each array is filled.
        history_*: events of the visitor, newest first.
        unique: items of the history, newest first, each once; `unique_of`: how often each is in the history.
        session: items of this session, newest first, each once.
        cells: item · 2^32 + local number + 1, at a hash of the item.
        items, flags: by local number, the item and its bits.
        values: (sources, locals), the scores of all sources that propose; 0 beyond the last local number.
        like_last: by local number, the last item's part of `cosine` before the other half of the norm.
        met_*: sessions that share an item with this one, by the low words of their ordinals.
        own_of: by local number, the item's place among `own_items` + 1.
        own_*: amounts that the visitor's own learned events have added to the counts.
        candidates: local numbers; `taken`: by local number, that of the candidate + 1.
        best_*: the best of one source.
        touched: local numbers of the items of neighbour sessions.
        gathered: by local number or place in `touched`, a number that is needed once per item.
        neighbours: the chosen ones of the sessions met; `spread`: how many sessions have each similarity.
        source_values: (sources, candidates), the value of each source for each candidate.
        candidate_features: (features, candidates), as named in `feature_names`; `features_by_candidate`: (candidates,
            features), the same transposed, which only learning needs.
        ranks: by candidate, how many others one source prefers; logits: by candidate, of the embedding.
        context_features, buckets: context of the list, and the bucket of each cross, as named in `feature_names`.
        weights, dense, hidden, vector: of the ranker: summed linear weights, the network's weights by unit, (units,
            candidates) activations, biases.
        scores, challenger: by candidate, the scores of champion and challenger.
        disliked, disliked_seconds: disliked items that lower others, the newest first, and their times.
        lowered: by candidate, the amount that dislikes took from its score; filled in only if there are any.
        visit: one record of `VISIT`.
        decays: by half-life, the factor from stored to current popularity.
        chosen, slopes, slope, back: of one update of the ranker.
        met: items that an event meets in the visitor's history.
        no_items: the empty list of items.
        all_items: the empty mask, which allows every item.
        no_rows: the empty table of popular items, which stands for the lists of all items.
    """

    counts: NDArray[np.int64]
    history_items: NDArray[np.int64]
    history_seconds: NDArray[np.float64]
    history_weights: NDArray[np.float64]
    history_learned: NDArray[np.uint8]
    unique: NDArray[np.int64]
    unique_of: NDArray[np.int64]
    session: NDArray[np.int64]
    cells: NDArray[np.uint64]
    items: NDArray[np.int64]
    values: NDArray[np.float32]
    like_last: NDArray[np.float32]
    flags: NDArray[np.uint8]
    own_of: NDArray[np.uint8]
    met_cells: NDArray[np.uint32]
    met_cell_of: NDArray[np.int64]
    met_words: NDArray[np.uint32]
    met_similarity: NDArray[np.int64]
    met_newest: NDArray[np.int64]
    met_oldest: NDArray[np.int64]
    own_items: NDArray[np.int64]
    own_together: NDArray[np.float64]
    own_forward: NDArray[np.float64]
    own_fast: NDArray[np.float64]
    own_popularity: NDArray[np.float64]
    own_sums: NDArray[np.float64]
    candidates: NDArray[np.int64]
    taken: NDArray[np.uint16]
    best_values: NDArray[np.float32]
    best_locals: NDArray[np.int64]
    best_order: NDArray[np.int64]
    touched: NDArray[np.int64]
    gathered: NDArray[np.float32]
    neighbours: NDArray[np.int64]
    source_values: NDArray[np.float32]
    features_by_candidate: NDArray[np.float32]
    candidate_features: NDArray[np.float32]
    ranks: NDArray[np.float32]
    logits: NDArray[np.float32]
    context_features: NDArray[np.float32]
    buckets: NDArray[np.int64]
    weights: NDArray[np.float32]
    dense: NDArray[np.float32]
    hidden: NDArray[np.float32]
    scores: NDArray[np.float32]
    challenger: NDArray[np.float64]
    vector: NDArray[np.float32]
    disliked: NDArray[np.int64]
    disliked_seconds: NDArray[np.int64]
    lowered: NDArray[np.float64]
    visit: NDArray
    decays: NDArray[np.float64]
    spread: NDArray[np.int64]
    chosen: NDArray[np.int64]
    slopes: NDArray[np.float32]
    slope: NDArray[np.float32]
    back: NDArray[np.float32]
    met: NDArray[np.int64]
    no_items: NDArray[np.int64]
    all_items: NDArray[np.uint8]
    no_rows: NDArray[np.uint32]


def new_work() -> Work:
    """Empty scratch arrays."""
    return packed(
        Work(
            counts=np.zeros(16, np.int64),
            history_items=np.zeros(HISTORY_MOST, np.int64),
            history_seconds=np.zeros(HISTORY_MOST),
            history_weights=np.zeros(HISTORY_MOST),
            history_learned=np.zeros(HISTORY_MOST, np.uint8),
            unique=np.zeros(HISTORY_MOST, np.int64),
            unique_of=np.zeros(HISTORY_MOST, np.int64),
            session=np.zeros(SESSION_ITEMS + HISTORY_MOST, np.int64),
            cells=np.zeros(CELLS, np.uint64),
            items=np.zeros(LOCALS, np.int64),
            values=np.zeros((SOURCE_COUNT, LOCALS + 16), np.float32),
            like_last=np.zeros(LOCALS + 16, np.float32),
            flags=np.zeros(LOCALS, np.uint8),
            own_of=np.zeros(LOCALS, np.uint8),
            met_cells=np.zeros(NEIGHBOUR_CELLS, np.uint32),
            met_cell_of=np.zeros(NEIGHBOURS_MET, np.int64),
            met_words=np.zeros(NEIGHBOURS_MET, np.uint32),
            met_similarity=np.zeros(NEIGHBOURS_MET, np.int64),
            met_newest=np.zeros(NEIGHBOURS_MET, np.int64),
            met_oldest=np.zeros(NEIGHBOURS_MET, np.int64),
            own_items=np.zeros(OWN, np.int64),
            own_together=np.zeros((OWN, OWN)),
            own_forward=np.zeros((OWN, OWN)),
            own_fast=np.zeros((OWN, OWN)),
            own_popularity=np.zeros((OWN, 8)),
            own_sums=np.zeros((OWN, 4)),
            candidates=np.zeros(CANDIDATES, np.int64),
            taken=np.zeros(LOCALS, np.uint16),
            best_values=np.zeros(BEST, np.float32),
            best_locals=np.zeros(BEST + 1, np.int64),
            best_order=np.zeros(BEST, np.int64),
            touched=np.zeros(LOCALS, np.int64),
            gathered=np.zeros(LOCALS, np.float32),
            neighbours=np.zeros(128, np.int64),
            source_values=np.zeros((max(16, SOURCE_COUNT), ROW), np.float32),
            features_by_candidate=np.zeros((CANDIDATES, FEATURES_WIDE), np.float32),
            candidate_features=np.zeros((FEATURES_WIDE, ROW), np.float32),
            ranks=np.zeros(CANDIDATES, np.float32),
            logits=np.zeros(CANDIDATES, np.float32),
            context_features=np.zeros(CONTEXT_FEATURES, np.float32),
            buckets=np.zeros(CROSSES, np.int64),
            weights=np.zeros(FEATURES_WIDE, np.float32),
            dense=np.zeros((HIDDEN, FEATURES_WIDE), np.float32),
            hidden=np.zeros((HIDDEN, ROW), np.float32),
            scores=np.zeros(CANDIDATES, np.float32),
            challenger=np.zeros(CANDIDATES),
            vector=np.zeros(64, np.float32),
            disliked=np.zeros(DISLIKES, np.int64),
            disliked_seconds=np.zeros(DISLIKES, np.int64),
            lowered=np.zeros(CANDIDATES),
            visit=np.zeros(1, VISIT),
            decays=np.zeros(HALF_LIVES),
            spread=np.zeros(64, np.int64),
            chosen=np.zeros(64, np.int64),
            slopes=np.zeros(64, np.float32),
            slope=np.zeros((NETWORK_ROWS, HIDDEN), np.float32),
            back=np.zeros(HIDDEN, np.float32),
            met=np.zeros(16, np.int64),
            no_items=np.zeros(0, np.int64),
            all_items=np.zeros(0, np.uint8),
            no_rows=np.zeros((0, 0), np.uint32),
        )
    )


@kernel
def clear(work: Work) -> None:
    """Empty what the previous list touched."""
    used = padded(work.counts[LOCAL])
    for source in range(SOURCE_COUNT):
        if not POPULAR <= source <= EMBEDDING:
            empty(work.values[source, :used])
    empty(work.like_last[:used])
    work.flags[:used] = 0
    work.own_of[:used] = 0
    work.taken[:used] = 0
    work.cells[: work.counts[MASK] + 1] = 0
    for met in range(work.counts[MET]):
        work.met_cells[work.met_cell_of[met]] = 0
    work.counts[:] = 0
    work.counts[MASK] = CELLS_LEAST - 1


@vectored
def empty(values: np.ndarray) -> None:
    for place in range(values.size):
        values[place] = 0


@inlined
def cell_at(item: int, mask: np.uint64) -> np.uint64:
    return (np.uint64(item) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40) & mask


@inlined
def local_of(work: Work, item: int) -> np.int64:
    """The local number of an item, a new one if it has none; -1 if there are too many."""
    mask = np.uint64(work.counts[MASK])
    at = cell_at(item, mask)
    while work.cells[at] != 0:
        cell = work.cells[at]
        if cell >> np.uint64(32) == np.uint64(item):
            return np.int64(cell & np.uint64(0xFFFFFFFF)) - 1
        at = (at + np.uint64(1)) & mask
    local = work.counts[LOCAL]
    if 2 * local > np.int64(mask):
        if local >= LOCALS:
            return np.int64(-1)
        widen(work)
        mask = np.uint64(work.counts[MASK])
        at = cell_at(item, mask)
        while work.cells[at] != 0:
            at = (at + np.uint64(1)) & mask
    work.cells[at] = (np.uint64(item) << np.uint64(32)) | np.uint64(local + 1)
    work.items[local] = item
    work.counts[LOCAL] = local + 1
    return local


@kernel
def widen(work: Work) -> None:
    """Use four times as many cells, up to all."""
    work.cells[: work.counts[MASK] + 1] = 0
    work.counts[MASK] = min(CELLS, 4 * (work.counts[MASK] + 1)) - 1
    mask = np.uint64(work.counts[MASK])
    for local in range(work.counts[LOCAL]):
        item = work.items[local]
        at = cell_at(item, mask)
        while work.cells[at] != 0:
            at = (at + np.uint64(1)) & mask
        work.cells[at] = (np.uint64(item) << np.uint64(32)) | np.uint64(local + 1)


@inlined
def known_local(work: Work, item: int) -> np.int64:
    """The local number of an item, or -1."""
    mask = np.uint64(work.counts[MASK])
    at = cell_at(item, mask)
    while work.cells[at] != 0:
        cell = work.cells[at]
        if cell >> np.uint64(32) == np.uint64(item):
            return np.int64(cell & np.uint64(0xFFFFFFFF)) - 1
        at = (at + np.uint64(1)) & mask
    return np.int64(-1)
