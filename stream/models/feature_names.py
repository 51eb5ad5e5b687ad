"""Names and places of the features that the ranker sees, and of those of a click that may become a purchase.

This file decides the order of every feature vector. A place is a module constant, because a Numba kernel takes plain
integers. The tuples of names beside them are part of every stored state (`state_names`), so a release may change the
order; a release that changes the set of names starts a new model. People see them in explanations and tuning.
"""

from __future__ import annotations

from itertools import pairwise

from stream.models.source_names import HALF_LIFE_NAMES, HALF_LIVES, SOURCE_COUNT, SOURCES

# ---- candidates: three features of each source, then those of the item, of the visitor's own history, and agreement.
VALUE, RANK, LOG = range(3)
"""Features of a source, at `SOURCE_PARTS * source + part`: its value over the largest of all candidates,
`RANK_SHIFT / (RANK_SHIFT + candidates with a larger value)`, and a logarithm of the value."""
SOURCE_PARTS = 3
SOURCE_FEATURES = SOURCE_PARTS * SOURCE_COUNT

ITEM_AGE, ITEM_SILENCE, ITEM_COUNT, TREND = range(SOURCE_FEATURES, SOURCE_FEATURES + 4)
"""Logarithms of the seconds since the item's first event, of those since its last event by another visitor (1.5 if
there is none), and of its count. From `TREND` on: popularity over a half-life divided by that over the next longer."""
TRENDS = HALF_LIVES - 1
LIKE_LAST, ITEM_BIAS = range(TREND + TRENDS, TREND + TRENDS + 2)
"""Logarithm of the cosine with the visitor's last item alone, and the item's bias (`ranking/item_bias.py`)."""

OWN_PRESENT, OWN_RECENCY, OWN_COUNT, OWN_LAST, OWN_IN_SESSION = range(ITEM_BIAS + 1, ITEM_BIAS + 6)
"""Features of an item in the visitor's own history: 1 if it is there, 1/(1 + its place from the newest), a logarithm of
its events, 1 if it is the newest, 1 if it is in this session."""
AGREEMENT = OWN_IN_SESSION + 1
"""Share of the sources that have the candidate among their best `AGREEMENT_RANKS`."""
FEATURES = AGREEMENT + 1

CANDIDATE_FEATURE_NAMES: tuple[str, ...] = (
    *(f"{source}.{part}" for source in SOURCES for part in ("value", "rank", "log")),
    "item.age",
    "item.silence",
    "item.count",
    *(f"trend.{one}_{other}" for one, other in pairwise(HALF_LIFE_NAMES)),
    "like_last",
    "item.bias",
    "own.present",
    "own.recency",
    "own.count",
    "own.last",
    "own.in_session",
    "agreement",
)
"""Names by place: `cosine.rank` is at `SOURCE_PARTS * COSINE + RANK`, `trend.20m_2h` at `TREND`."""

FEATURES_WIDE = -(-FEATURES // 16) * 16
"""Width of a row of features: the next multiple of sixteen."""

# ---- context: inputs of the ranker's network that are the same for all candidates of a list.
(
    SESSION_LENGTH,
    SESSION_LENGTH_LOG,
    HISTORY_LOG,
    LAST_ITEM_COUNT_LOG,
    SECONDS_LOG,
    SIMILARITY,
    SIMILARITY_WIDE,
    CANDIDATE_COUNT,
    NO_HISTORY,
    FIRST_OF_SESSION,
    WITHIN_A_MINUTE,
    BEYOND_HALF_AN_HOUR,
    DAY_SINE,
    DAY_COSINE,
    HAS_REPEATS,
    SESSION_ITEMS_USED,
) = range(16)
CONTEXT_FEATURE_NAMES: tuple[str, ...] = (
    "session.length",
    "session.length_log",
    "history.log",
    "last_item.count_log",
    "seconds.log",
    "similarity",
    "similarity.wide",
    "candidates",
    "history.none",
    "session.first",
    "seconds.within_a_minute",
    "seconds.beyond_half_an_hour",
    "day.sine",
    "day.cosine",
    "history.repeats",
    "session.items",
)
"""Names by place. `seconds` is the time since the visitor's last event, `similarity` that of the best neighbour session
(up to 1, and up to 5 for `wide`), `session.items` the items that neighbours are looked up with."""
CONTEXT_FEATURES = len(CONTEXT_FEATURE_NAMES)

# ---- crosses: one bucket of each applies to a list, and its row of weights is added to the weights of all features.
BY_LENGTH, BY_COUNT, BY_SECONDS, BY_SIMILARITY = range(4)
CROSS_NAMES: tuple[str, ...] = ("session_length", "last_item_count", "seconds", "similarity")
LENGTH_EDGES = (1.0, 2.0, 3.0, 4.0, 7.0, 13.0, 31.0)
COUNT_EDGES = (2.0, 8.0, 30.0, 100.0, 400.0, 2000.0)
SECONDS_EDGES = (1.0, 60.0, 600.0, 1800.0, 86_400.0, 604_800.0)
SIMILARITY_EDGES = (0.3, 0.5, 0.7, 0.85, 0.99, 1.5, 2.5)
"""Lower edges of the buckets from the second on. Count and seconds have a bucket more: 0 is for an empty history."""
CROSSES = len(CROSS_NAMES)
CROSS_BUCKETS = 8

# ---- conversion: features of a click that may become a purchase; their places are in `outcomes/conversion.py`.
CONVERSION_FEATURE_NAMES = (
    "item_count",
    "item_age",
    "item_idle",
    "visitor_item_events",
    "history_length",
    "items_in_session",
    "visitor_idle",
    "neighbour_similarity",
    "champion_rank",
    "challenger_rank",
    "day_sine",
    "day_cosine",
)
"""Features of a click: the weight of the item's events; seconds since the item's first and last event; events of the
visitor on the item, events in the history, items in the session; seconds since the visitor's last event; the best
similarity of a neighbour session; 4/(4 + rank) by champion and challenger; the time of day on a circle. Counts and
seconds are logarithms, scaled to about one."""
