"""Tables of a model: their rows, their cells and their capacities.

This file decides shapes and capacities. Which code writes a row, and when, is decided by the file that is named in its
comment or docstring.

Every row layout reads zeros as "nothing here", and row 0 of a table that others point into is never used. Rows of
several sizes (pair rows, session lists of an item, a visitor's history) are *runs* of neighbouring rows in one pool: a
pointer of 32 bits holds the size class in its upper 2 bits and the first row in the other 30.

Numbers that rise for as long as a model lives have a low word and, in a field that ends in `_high`, the 16 bits above
it (`kernels.ordinals`). Row numbers and pointers are bounded by the capacities, and seconds by the year 2106.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from stream.events import ID_MAX_BYTES
from stream.models.feature_names import CONTEXT_FEATURES, CROSS_BUCKETS, CROSSES, FEATURES_WIDE
from stream.models.settings import ModelSettings
from stream.models.source_names import CUSTOM, HALF_LIVES, SOURCE_COUNT
from stream.models.source_registry import CUSTOM_MODULES, load
from stream.state.tables import TableSpec

TOP_ITEMS = 200
"""Items in the list of the most popular, one list a half-life."""
TOP_WIDTH = 256
"""Items in a row of `top`."""
NEWEST = HALF_LIVES
"""Row of `top` that is a ring of the newest items."""

SET_SLOTS = 8
"""Slots of a set. A set is a row of `pairs`: versions in serving share equal rows, and an event writes single slots of
many sets."""
RUN_SETS = 2
"""Sets of one row of a run of pairs."""
PAIR_SLOTS = RUN_SETS * SET_SLOTS
RUNS = (1, 4, 16)
"""Rows of a run, by size class."""
HISTORY_ENTRIES = 8
"""Entries of a row of `history`."""
POSTING_ENTRIES = 8
"""Session ordinals in a row of `postings`: low words, see `kernels.ordinals`."""
SESSION_ITEMS = 50
"""Unique items that a session remembers."""
KEPT_WAYS = 8
"""Visitors in a row of `kept_visitors`."""
KEPT_ENTRIES = 8
"""Entries of a row of `kept_items`."""
BOUGHT_SLOTS = 16
"""Slots of a row of `bought`: other items that are bought together with the item."""
SEEN_WAYS = 8
"""Pairs of visitor and item in a row of `seen`, from the newest to the oldest."""
CELL_WORDS = 8
NAME_BYTES = 28
"""Bytes of a name in a cell of `names`; the first word of a cell is the number of the next."""
ID_CELLS = -(-ID_MAX_BYTES // NAME_BYTES)
"""Cells of the longest name. The table has room for as many in every row, so that long names evict nothing. Cells that
are never written cost no memory."""
DIMENSIONS = 32
"""Dimensions of an embedding. A row of `vectors` is the item's input vector, then its output vector."""

ITEM = np.dtype(
    [
        ("key0", "<u8"),
        ("key1", "<u8"),
        ("name", "<u4"),  # first cell in `names`
        ("name_bytes", "<u4"),
        ("first_seconds", "<u4"),
        ("next_free", "<u4"),
        # ---- the half that moves
        ("pairs", "<u4"),
        ("postings", "<u4"),
        ("posted", "<u4"),  # sessions ever posted, the low word: the ring position
        ("last_seconds", "<u4"),
        ("last_visitor", "<u4"),
        ("other_seconds", "<u4"),  # last event of a visitor other than `last_visitor`
        ("listed", "u1", (HALF_LIVES,)),  # place in the top list of each half-life, from 1; 0 = not in it
        ("leaving", "u1"),  # 1 if the item is about to be evicted
        ("posted_high", "<u2"),
    ]
)
VISITOR = np.dtype(
    [
        ("key0", "<u8"),
        ("key1", "<u8"),
        ("history", "<u4"),
        ("entries", "<u4"),  # position in the ring; below the length of the run it is the number of events
        ("last_seconds", "<u4"),
        ("next_free", "<u4"),
        ("session", "<u4"),
        ("session_ordinal", "<u4"),
        ("first_seconds", "<u4"),
        ("session_ordinal_high", "<u2"),
        ("leaving", "<u2"),  # 1 if the visitor is about to be evicted
    ]
)
SESSION = np.dtype(
    [
        ("key0", "<u8"),
        ("key1", "<u8"),
        ("ordinal", "<u4"),
        ("last_seconds", "<u4"),
        ("items", "<u2"),  # unique items, at most SESSION_ITEMS
        ("ordinal_high", "<u2"),
        ("spare", "<u4"),
    ]
)
ENTRY = np.dtype([("item", "<u4"), ("seconds", "<u4"), ("weight", "<i2"), ("kind", "u1"), ("learned", "u1")])
"""One event in a visitor's history. `weight` is in units of 1/WEIGHT_ONE."""
KEPT_VISITOR = np.dtype([("key", "<u8"), ("seconds", "<u4"), ("entries", "<u4")])
"""A visitor whose purchases and dislikes are kept: the first half of their key, 0 for none, and their latest time.
`entries` says where the entries of the place are (`had.places`); it stays with the place when the visitor goes."""
KEPT_ITEM = np.dtype([("item", "<u4"), ("check", "<u4"), ("bought", "<u4"), ("disliked", "<u4")])
"""An item that a visitor bought or disliked, and when: the last time of each in seconds, 0 for never. `check` is a part
of the item's key. If the item was evicted, its row has another key, and the entry counts for no item."""
BOUGHT = np.dtype([("other", "<u4"), ("check", "<u4"), ("weight", "<f4"), ("seconds", "<u4")])
"""An item that was bought together with another: how many baskets held both, as that was worth at `seconds`. `check` is
as in `kept_items`."""
STREAM_CLOCK = np.dtype(
    [
        ("seconds", "<f8"),  # the stream clock; 0 before the first event
        ("latest_seconds", "<f8"),  # the largest time within its tolerance, and whose it is
        ("latest_visitor", "<u8"),
        ("step", "<f8"),  # mean step of the clock
        ("lone_visitor", "<u8"),  # the visitor that the clock follows alone, 0 for none
        ("lead_visitor", "<u8"),  # events beyond the tolerance in a row: the first visitor, smallest and largest time
        ("lead_low", "<f8"),
        ("lead_high", "<f8"),
        ("leads", "<u4"),
        ("lead_visitors", "<u4"),  # 1, or 2 for several
        ("behind_visitor", "<u8"),  # the last visitor far behind a clock that rests on one visitor
        ("behind", "<u4"),  # changes of visitor among them
        ("confirmed", "<u4"),  # 0 while the clock rests on one visitor, or on a version without a stream clock
        ("lead_reached", "<f8"),  # the largest time of the first visitor of those events
        ("others_low", "<f8"),  # the smallest time of the others; 0 without others
        ("held_first", "<u4"),  # rows of the first and of the last visitor whose events are held; 0 for none
        ("held_last", "<u4"),
        ("held_latest", "<f8"),  # the latest time of a held event that is learned; 0 for none
        ("spare", "<u8", (1,)),
    ]
)
"""The row of the table `clock`; visitors are first halves of their keys."""
PAIR = np.dtype([("other", "<u4"), ("together", "<f4"), ("forward", "<f4"), ("fast", "<f4")])
"""Counts of two items: events in one history (`together`), one following the other (`forward`), and `forward` decayed
with a half-life of one day (`fast`)."""

WEIGHT_ONE = 256

CHAMPION = SOURCE_COUNT
CHALLENGER = SOURCE_COUNT + 1
RANKINGS = SOURCE_COUNT + 2
"""Rankings that are tested: each source, the champion (named `blend` in settings, metrics and JSON), the challenger."""

# Columns of `sums`, float64: the decayed counts come first.
COUNT = 5
FORWARD_SUM = 6
FAST_SUM = 7
SUMS = 8

EXPECTED, CHOSEN = range(2)
"""Columns of the table `merits`, float32: sums over the updates of the ranker, from which the item bias is made. The
table keeps the name under which versions in Redis hold it."""

# Cells of `scalars`, float64 (whole numbers are exact up to 2^53).
CLOCK = 0
POPULARITY_LANDMARK = 1
FAST_LANDMARK = 2
EVENTS = 3
ITEM_ROWS = 4
ITEM_FREE = 5
ITEMS_LIVE = 6
ITEMS_EVICTED = 7
VISITOR_ROWS = 8
VISITOR_FREE = 9
VISITORS_LIVE = 10
VISITORS_EVICTED = 11
SESSIONS_BEGUN = 12
EVENT_IDS_SEEN = 13
NEWEST_WRITTEN = 14
TESTS = 15
UPDATES = 16
RESERVOIR_WRITTEN = 17
PENDING_WRITTEN = 18
RANDOM = 19
TOP_SIZES = 20  # HALF_LIVES cells
STARTED = 25
DETECTOR_TESTS = 26
PENDING_RESOLVED = 27
NAME_CELLS = 30
NAME_FREE = 31
NAME_CELLS_FREE = 32
SESSION_KEYS = 34  # 1 if sessions have keys of their own (`batch.session_salt`); 0 in states of older programs
KEPT_VISITORS = 35  # visitors whose purchases and dislikes are kept
KEPT_NUMBERED = 36  # places that have entries of their own number; 0 in states of older programs, where none has
POOL_PAIRS = 40  # pools: POOL_CELLS each
POOL_POSTINGS = 48
POOL_HISTORY = 56
POOL_CELLS = 8
EVICT_ITEMS = 64  # evictions: EVICT_CELLS each
EVICT_VISITORS = 72
EVICT_CELLS = 8
EVICTION_SAMPLE = 512  # rows from which the strength of the weakest is estimated
SCALARS = 128

OUTCOME_ROWS = 8192
"""Tests that are remembered: at least twice as many as the drift detectors restart from."""

PENDING = 4096
"""Clicks that wait for their purchase."""
CONVERSION_FEATURES = 12
FACTORS = 12
"""Latent factors of a visitor and of an item, in the tables `visitor_tastes` and `item_tastes`, which keep the names
under which versions in Redis hold them."""

RESERVOIR_WIDTH = 32
RESERVOIR_ROWS = 625

LINEAR_ROWS = 1 + CROSSES * CROSS_BUCKETS
"""Rows of weights in `linear`: the common ones, then one row a bucket of each cross. As many rows of squared gradients
follow."""

HIDDEN = 32
"""Hidden units of the network."""
NETWORK_WIDE = HIDDEN
NETWORK_ROWS = FEATURES_WIDE + CONTEXT_FEATURES + 2
"""Rows of weights in `network`: one a feature, one a context feature, the biases, the output weights. As many rows of
first and of second moments follow."""


LEARNING_ONLY = ("event_ids",)
"""Tables that learning alone reads. Servers keep none of their rows."""


class Capacities(NamedTuple):
    """Rows of each table, including row 0 where that stands for none."""

    items: int
    visitors: int
    sessions: int
    event_ids: int
    names: int
    pairs: int
    postings: int
    history: int
    seen: int
    kept_visitors: int
    kept_items: int


def capacities(settings: ModelSettings) -> Capacities:
    """Rows that each table gets: every item and visitor can have a short run, and the busiest 20,000 the longest."""
    items, visitors = settings.max_items + 1, settings.max_visitors + 1
    kept = 1 + -(-min(settings.max_visitors, settings.max_kept_visitors) // KEPT_WAYS)
    return Capacities(
        items=items,
        visitors=visitors,
        sessions=settings.max_sessions,
        event_ids=-(-settings.max_event_ids // 8),
        names=settings.max_items * ID_CELLS + 16,
        pairs=_pool(settings.max_items),
        postings=_pool(settings.max_items),
        history=_pool(settings.max_visitors),
        seen=max(64, settings.max_visitors * 2) if settings.repeats == "first" else 1,
        kept_visitors=kept,
        kept_items=kept * KEPT_WAYS * settings.max_kept_items // KEPT_ENTRIES,
    )


def _pool(owners: int) -> int:
    busiest = min(owners, 20_000)
    return RUNS[-1] * busiest + 2 * (owners - busiest) + 1


def table_specs(settings: ModelSettings) -> list[TableSpec]:
    """Every table of a model with these settings.

    Raises:
        ValueError: a source of one's own has the name of another table, or its module lacks something.
    """
    rows = capacities(settings)
    specs = [
        TableSpec("scalars", 1, _wide("<f8", SCALARS), 64),
        TableSpec("clock", 1, STREAM_CLOCK, 128),
        TableSpec("items", rows.items, ITEM, 32),
        TableSpec("sums", rows.items, _wide("<f8", SUMS), 64),
        TableSpec("names", rows.names, _wide("<u4", CELL_WORDS), 4 * CELL_WORDS, grouped=True),
        TableSpec("top", HALF_LIVES + 1, _wide("<u4", TOP_WIDTH), 32),
        TableSpec("visitors", rows.visitors, VISITOR, 48),
        TableSpec("history", rows.history, _wide(ENTRY, HISTORY_ENTRIES), 48, grouped=True),
        TableSpec("seen", rows.seen, _wide("<u8", SEEN_WAYS), 64),
        TableSpec("kept_visitors", rows.kept_visitors, _wide(KEPT_VISITOR, KEPT_WAYS), 16),
        TableSpec("kept_items", rows.kept_items, _wide(KEPT_ITEM, KEPT_ENTRIES), 32, grouped=True),
        TableSpec("bought", rows.items, _wide(BOUGHT, BOUGHT_SLOTS), 64, grouped=True),
        TableSpec("sessions", rows.sessions + 1, SESSION, 32),
        TableSpec("session_items", rows.sessions + 1, _wide("<u4", SESSION_ITEMS), 40, grouped=True),
        TableSpec("postings", rows.postings, _wide("<u4", POSTING_ENTRIES), 32, grouped=True),
        TableSpec("pairs", RUN_SETS * rows.pairs, _wide(PAIR, SET_SLOTS), 16, grouped=True),
        TableSpec("merits", rows.items, _wide("<f4", 2), 8),
        TableSpec("vectors", rows.items, _wide("<f4", 2 * DIMENSIONS), 128),
        TableSpec("reservoir", RESERVOIR_ROWS, _wide("<u4", RESERVOIR_WIDTH), 32),
        TableSpec("linear", 2 * LINEAR_ROWS, _wide("<f4", FEATURES_WIDE), 64),
        TableSpec("network", 3 * NETWORK_ROWS, _wide("<f4", NETWORK_WIDE), 64),
        TableSpec("challenger", 1, _wide("<f8", FEATURES_WIDE), 64),
        TableSpec("outcomes", OUTCOME_ROWS, _wide("<u2", -(-RANKINGS // 16) * 16), 32),
        TableSpec("drifts", RANKINGS, _wide("<f8", 8), 64),
        TableSpec("pending", PENDING, _wide("<f8", 2 + CONVERSION_FEATURES), 2 * 56),
        TableSpec("pending_keys", PENDING // 8, _wide("<u4", 8), 32),
        TableSpec("conversion", 1, _wide("<f8", 64), 64),
        TableSpec("ratings", 1, _wide("<f8", 8), 64),
        TableSpec("visitor_tastes", rows.visitors, _wide("<f8", FACTORS), 96),
        TableSpec("item_tastes", rows.items, _wide("<f8", FACTORS), 96),
        TableSpec("event_ids", rows.event_ids, _wide("<u8", 8), 32),
    ]
    if clash := sorted({spec.name for spec in specs} & set(CUSTOM)):
        raise ValueError(f"the source {clash[0]!r} of {CUSTOM_MODULES[clash[0]]} has the name of a table; rename it")
    return specs + [_custom_spec(name, rows.items) for name in CUSTOM]


def _custom_spec(name: str, items: int) -> TableSpec:
    """A row an item, one block wide, so that the mark of a row is that of its item."""
    columns = max(1, int(load(name).COLUMNS))
    return TableSpec(name, items, _wide("<f4", columns), 4 * columns)


def _wide(kind: Any, columns: int) -> np.dtype:
    return np.dtype((np.dtype(kind), (columns,)))
