"""Legs that need no Kafka, on small loads: every figure is there, and those that are no times are right."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.harness import model_fixture
from benchmarks.harness.processes import cpu_seconds, resident_bytes, shared_bytes
from benchmarks.harness.servers import NO_REDIS, RedisServer
from benchmarks.legs import aging, large_model, model, scale, versions
from stream.models.query import Query
from stream.versions import VersionStore

needs_redis = pytest.mark.skipif(shutil.which("redis-server") is None, reason=NO_REDIS)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`small(leg, EVENTS=100)` changes sizes of a leg for this test."""

    def change(leg: object, **sizes: object) -> None:
        for name, size in sizes.items():
            assert hasattr(leg, name)
            monkeypatch.setattr(leg, name, size)

    return change


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis") as server:
        yield server


def test_model_measures_both_streams_beside_river(small: Callable[..., None]) -> None:
    small(model, SESSION_EVENTS=6000, SESSION_ITEMS=300, DENSE_EVENTS=6000, DENSE_VISITORS=40, DENSE_ITEMS=120)
    small(model, RIVER_EVENTS=2000, ANSWERS=20, BATCH=1000)
    said: list[str] = []
    result = model.measure(2, said.append)
    paces = {f"{name}_events_per_second" for name in ("sessions", "dense", "river_biasedmf")}
    assert set(result["figures"]) == paces | {"answer_microseconds_10", "answer_microseconds_100"}
    assert all(figure > 0 for figure in result["figures"].values())
    for name in ("sessions", "dense"):
        figures = result["figures"]
        ratio = figures[f"{name}_events_per_second"] / figures["river_biasedmf_events_per_second"]
        assert result["ratios"][f"{name}_to_river_biasedmf"] == pytest.approx(ratio, abs=0.01)
        least, most = result["spread"][name]
        assert least <= figures[f"{name}_events_per_second"] <= most
    assert len(said) == 2, "a line for each run"
    json.dumps(result)


def test_a_year_of_a_small_shop_evicts_tests_both_models_on_the_same_events_and_leaves_numbers_only(
    small: Callable[..., None],
) -> None:
    small(aging, GROUPS=20, TESTS=400)
    said: list[str] = []
    result = aging.measure(aging.Size(visitors=1000, items=2000, events=24_000, days=120), 1, said.append)
    figures = result["figures"]
    assert figures["not_finite"] == 0
    assert figures["aged_hr10"] - figures["young_hr10"] == pytest.approx(figures["difference"], abs=1e-4)
    assert result["tests"] >= 300
    assert figures["aged_hr10"] > 0.02, "ten of two thousand items by chance are 0.005"
    assert result["rows"]["aged"]["visitors"]["evicted"] > 0
    assert all(each["live"] <= each["most"] for rows in result["rows"].values() for each in rows.values())
    assert all(0 < part <= 1 for fill in result["fill"].values() for part in fill.values())
    assert len(said) == 4, "a line for each month"
    json.dumps(result)


def test_ids_of_the_years_items_have_8_to_200_bytes_and_differ() -> None:
    names = [aging.item_name(number) for number in range(100_000)]
    assert len(set(names)) == len(names)
    assert (min(map(len, names)), max(map(len, names))) == (8, 200)


def test_a_large_model_takes_about_the_memory_that_is_planned(
    small: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    small(large_model, LAST_EVENTS=4000, BATCH=2000)
    large_model.main(3000)
    found = json.loads(capsys.readouterr().out)
    assert found["worker_computed"] > found["server_computed"] * 0.5 > 0
    assert 0 < found["arena_bytes"] <= found["server_computed"]
    assert found["microseconds"] > 0
    assert found["program_bytes"] > 10_000_000


def test_several_shards_recommend_much_as_one_that_learned_the_same_events(small: Callable[..., None]) -> None:
    small(scale, SHARD_EVENTS=8000, SHARD_ITEMS=200, SHARD_VISITORS=200, SHARDS=2, ANSWERS=50, BATCH=1000)
    one, several = scale._models()
    queries = [Query(user=f"visitor-{number}") for number in range(40)]
    lists = [[set(each.recommend(query).items) for query in queries] for each in (one, several)]
    shared = [len(first & second) / 10 for first, second in zip(*lists, strict=True)]
    assert sum(shared) / len(shared) > 0.4, "both know the same events; their rankers are not the same"
    assert scale._answer_microseconds(several) > 0


@needs_redis
@pytest.mark.parametrize("shards", [1, 2])
def test_a_published_model_knows_the_visitors_that_it_names(
    small: Callable[..., None], redis: RedisServer, shards: int
) -> None:
    small(model_fixture, LEAST_EVENTS=6000, DEEP_VISITORS=10, DEEP_EVENTS=40, RECENT_EVENTS=3000, BATCH=500)
    published = model_fixture.publish_model(100, redis.url, "bench", shards=shards)
    assert len(published.deep_visitors) == 10
    assert len(set(published.visitors)) == len(published.visitors) > 50
    store = VersionStore.connect(redis.url, "bench")
    try:
        newest = store.versions()[0]
        assert set(newest.shards) == set(range(shards))
        seen = sum(sum(state.offsets.values()) for state in newest.shards.values())
        assert seen == 6000 + 10 * 40
    finally:
        store.close()


@needs_redis
def test_a_history_is_measured_in_redis_in_memory_and_by_rolling_back(
    small: Callable[..., None], redis: RedisServer, tmp_path: Path
) -> None:
    small(versions, FIRST_EVENTS=4000, MINUTES=6, ITEMS=300, VISITORS=300, BATCH=1000)
    said: list[str] = []
    history = versions._history(redis, 10, said.append, resident=True)
    assert history["bytes"] > history["keyframe"] > 0, "versions cost something"
    assert history["one"] < history["resident"] < 6 * history["one"], "and share rows in memory"
    rollbacks = versions._rollbacks(redis, tmp_path, 1, said.append)
    assert {name: len(values) for name, values in rollbacks.items()} == {
        "rollback_resident_ms": 1,
        "rollback_cold_ms": 1,
        "server_ready_ms": 1,
    }
    assert len(said) == 3


def test_a_process_is_read_from_outside() -> None:
    own = os.getpid()
    assert cpu_seconds(own) > 0
    assert 10_000_000 < resident_bytes(own) < 1 << 36
    assert shared_bytes(own) > 10_000_000
