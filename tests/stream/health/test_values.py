"""Doubtful values in logs and metrics: each is said once."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter
from structlog import get_logger
from structlog.testing import capture_logs

from stream.health.values import ENOUGH_RATINGS, MOST_KINDS, ValueCautions
from stream.models.settings import ModelSettings
from stream.shard.shard import LearnResult, RatingRange

NOTHING = LearnResult([], {}, {})


def cautions(registry: CollectorRegistry, **settings: object) -> ValueCautions:
    counter = Counter("unknown_kinds", "Events.", ["kind"], registry=registry)
    return ValueCautions(counter, ModelSettings(**settings), get_logger())


def test_an_unknown_kind_is_said_once_with_the_nearest_known_one_and_counted_always() -> None:
    registry = CollectorRegistry()
    with capture_logs() as lines:
        noted = cautions(registry)
        for _ in range(3):
            noted.note(NOTHING._replace(unknown_kinds={"addtocart": 2, "zzz": 1}))
    assert [(line["kind"], line["nearest"]) for line in lines] == [("addtocart", "cart"), ("zzz", None)]
    assert "did you mean 'cart'? Send that, or give it a weight (CORRENTE_MODEL__WEIGHTS)" in lines[0]["problem"]
    assert registry.get_sample_value("unknown_kinds_total", {"kind": "addtocart"}) == 6


def test_a_flood_of_different_kinds_makes_few_series_and_lines() -> None:
    registry = CollectorRegistry()
    with capture_logs() as lines:
        noted = cautions(registry)
        for number in range(3 * MOST_KINDS):
            noted.note(NOTHING._replace(unknown_kinds={f"kind {number}": 1}))
    assert len(lines) == MOST_KINDS
    assert registry.get_sample_value("unknown_kinds_total", {"kind": "other"}) == 2 * MOST_KINDS


def test_ratings_that_never_use_their_scale_are_said_once() -> None:
    with capture_logs() as lines:
        noted = cautions(CollectorRegistry())
        for _ in range(2 * ENOUGH_RATINGS // 10):
            noted.note(NOTHING._replace(ratings=RatingRange(10, 0.0, 1.0)))
    assert len(lines) == 1
    assert f"all {ENOUGH_RATINGS} ratings are from 0 to 1, and the scale is 0 to 5" in lines[0]["problem"]


def test_ratings_that_use_their_scale_are_not_said() -> None:
    with capture_logs() as lines:
        noted = cautions(CollectorRegistry(), rating_scale={"low": 1, "high": 10})
        noted.note(NOTHING._replace(ratings=RatingRange(ENOUGH_RATINGS, 1.0, 9.0)))
        noted.note(NOTHING)
    assert lines == []
