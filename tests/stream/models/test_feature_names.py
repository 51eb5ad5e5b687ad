"""Names and places of features: one name a place, and tables that are wide enough."""

from __future__ import annotations

from stream.models import feature_names as names
from stream.models.schema import LINEAR_ROWS, NETWORK_ROWS, table_specs
from stream.models.settings import ModelSettings
from stream.models.source_names import COSINE, HALF_LIVES, SOURCES

CANDIDATE_PLACES = {
    "ITEM_AGE": "item.age",
    "ITEM_SILENCE": "item.silence",
    "ITEM_COUNT": "item.count",
    "TREND": "trend.20m_2h",
    "LIKE_LAST": "like_last",
    "ITEM_BIAS": "item.bias",
    "OWN_PRESENT": "own.present",
    "OWN_RECENCY": "own.recency",
    "OWN_COUNT": "own.count",
    "OWN_LAST": "own.last",
    "OWN_IN_SESSION": "own.in_session",
    "AGREEMENT": "agreement",
}
CONTEXT_PLACES = {
    "SESSION_LENGTH": "session.length",
    "SESSION_LENGTH_LOG": "session.length_log",
    "HISTORY_LOG": "history.log",
    "LAST_ITEM_COUNT_LOG": "last_item.count_log",
    "SECONDS_LOG": "seconds.log",
    "SIMILARITY": "similarity",
    "SIMILARITY_WIDE": "similarity.wide",
    "CANDIDATE_COUNT": "candidates",
    "NO_HISTORY": "history.none",
    "FIRST_OF_SESSION": "session.first",
    "WITHIN_A_MINUTE": "seconds.within_a_minute",
    "BEYOND_HALF_AN_HOUR": "seconds.beyond_half_an_hour",
    "DAY_SINE": "day.sine",
    "DAY_COSINE": "day.cosine",
    "HAS_REPEATS": "history.repeats",
    "SESSION_ITEMS_USED": "session.items",
}


def test_every_candidate_feature_has_one_name_at_its_place():
    assert len(names.CANDIDATE_FEATURE_NAMES) == names.FEATURES == len(set(names.CANDIDATE_FEATURE_NAMES))
    for constant, name in CANDIDATE_PLACES.items():
        assert names.CANDIDATE_FEATURE_NAMES[getattr(names, constant)] == name
    for number, source in enumerate(SOURCES):
        for part, name in ((names.VALUE, "value"), (names.RANK, "rank"), (names.LOG, "log")):
            assert names.CANDIDATE_FEATURE_NAMES[names.SOURCE_PARTS * number + part] == f"{source}.{name}"
    assert names.CANDIDATE_FEATURE_NAMES[names.SOURCE_PARTS * COSINE + names.RANK] == "cosine.rank"
    named = names.SOURCE_FEATURES + len(CANDIDATE_PLACES) + names.TRENDS - 1
    assert named == names.FEATURES, "a feature has no constant"
    assert names.TRENDS == HALF_LIVES - 1


def test_every_context_feature_has_one_name_at_its_place():
    places = {getattr(names, constant): name for constant, name in CONTEXT_PLACES.items()}
    assert [places[place] for place in sorted(places)] == list(names.CONTEXT_FEATURE_NAMES)
    assert len(places) == names.CONTEXT_FEATURES == len(set(names.CONTEXT_FEATURE_NAMES))


def test_every_cross_has_a_name_and_no_more_buckets_than_there_is_room_for():
    assert tuple(range(names.CROSSES)) == (names.BY_LENGTH, names.BY_COUNT, names.BY_SECONDS, names.BY_SIMILARITY)
    assert names.CROSS_NAMES == ("session_length", "last_item_count", "seconds", "similarity")
    for edges, more in (
        (names.LENGTH_EDGES, 0),
        (names.COUNT_EDGES, 1),
        (names.SECONDS_EDGES, 1),
        (names.SIMILARITY_EDGES, 0),
    ):
        assert list(edges) == sorted(edges)
        assert len(edges) + 1 + more == names.CROSS_BUCKETS


def test_tables_have_a_weight_for_every_feature():
    specs = {spec.name: spec for spec in table_specs(ModelSettings(max_items=64, max_visitors=64, max_sessions=64))}
    for table in ("linear", "challenger"):
        assert specs[table].dtype.shape == (names.FEATURES_WIDE,)
    assert names.FEATURES <= names.FEATURES_WIDE < names.FEATURES + 16
    assert specs["linear"].rows == 2 * LINEAR_ROWS == 2 * (1 + names.CROSSES * names.CROSS_BUCKETS)
    assert specs["network"].rows == 3 * NETWORK_ROWS
