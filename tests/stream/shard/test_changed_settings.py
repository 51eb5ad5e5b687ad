"""Settings that may change on a model with versions: learning goes on from the same tables, with the new value."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stream.models.query import Query
from stream.models.settings import FIXED, ModelSettings
from stream.models.source_names import SOURCES
from stream.shard.shard import Record, Shard
from stream.versions.salt import SALT
from tests.stream.restoring import tables_of

SETTINGS = ModelSettings(max_items=64, max_visitors=64, max_sessions=64, max_event_ids=64)
CHANGES: list[tuple[str, Any]] = [
    ("ranker", "river"),
    ("disabled_sources", SOURCES[:3]),
    ("weights", {"click": 5.0}),
    ("rating_scale", {"low": 1.0, "high": 10.0, "neutral": 6.0}),
    ("null_ids", ()),
    ("quantity_exponent", 0.5),
    ("consent_default", "aggregate"),
    ("drift_burn_in", 0),
    ("drift_burn_in", 1_000_000),
    ("seed", 7),
]


def clicks(first: int, count: int) -> list[Record]:
    return [
        Record(
            "clicks",
            number,
            1_700_000_000_000 + 1000 * number,
            json.dumps({"item": f"item {number * number % 31}", "user": f"visitor {number % 13}"}).encode(),
        )
        for number in range(first, first + count)
    ]


def restored(shard: Shard, settings: ModelSettings) -> Shard:
    """The shard that goes on from this one's state with other settings."""
    snapshot = shard.snapshot()
    return Shard.restore(settings, tables_of(settings, snapshot.delta), snapshot.state)


@pytest.fixture(scope="module")
def learned() -> Shard:
    shard = Shard(SETTINGS)
    shard.apply(clicks(0, 400), rate=1.0)
    return shard


def test_every_setting_is_kept_or_may_change() -> None:
    assert {*FIXED, SALT, *(name for name, _ in CHANGES)} == set(ModelSettings.model_fields)


@pytest.mark.parametrize(("name", "value"), CHANGES)
def test_a_shard_goes_on_from_the_same_tables_with_another_setting(learned: Shard, name: str, value: Any) -> None:
    other = restored(learned, SETTINGS.model_copy(update={name: value}))
    assert other.tables == learned.tables
    assert other.apply(clicks(400, 200), rate=1.0) == []
    assert other.counters["clicks"]["learned"] == 600
    found = other.model().recommend(Query(user="visitor 3", n=10))
    assert len(found.items) == 10
    assert found.scores == sorted(found.scores, reverse=True)
    again = restored(other, SETTINGS)
    again.apply(clicks(600, 100), rate=1.0)
    assert again.counters["clicks"]["learned"] == 700


def test_a_source_that_is_disabled_goes_on_learning_so_that_it_can_be_enabled_again(learned: Shard) -> None:
    as_it_was = restored(learned, SETTINGS)
    silenced = restored(learned, SETTINGS.model_copy(update={"disabled_sources": SOURCES}))
    for shard in (as_it_was, silenced):
        shard.apply(clicks(400, 200), rate=0.0)
    assert as_it_was.tables == silenced.tables


def test_new_weights_count_for_events_that_are_learned_from_then_on(learned: Shard) -> None:
    as_it_was = restored(learned, SETTINGS)
    heavier = restored(learned, SETTINGS.model_copy(update={"weights": {"click": 5.0}}))
    for shard in (as_it_was, heavier):
        shard.apply(clicks(400, 200), rate=0.0)
    assert heavier.tables["sums"].data.sum() > as_it_was.tables["sums"].data.sum()
