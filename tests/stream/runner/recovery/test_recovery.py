"""The start of a shard: what counts as lost in a log, and which settings a model goes on with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from stream.models.migration.layout import layout_of
from stream.models.schema import table_specs
from stream.models.settings import CAPACITIES, FIXED, ModelSettings
from stream.runner.recovery.checks import check_settings
from stream.runner.recovery.errors import EvictingRedis, WrongModelSettings
from stream.runner.task import ShardRunner
from stream.shard.shard import Shard
from stream.start_checks import check_versions
from stream.state.processor import processor_family
from stream.versions import ShardState
from stream.versions.salt import SALT
from tests.stream.runner.conftest import ASSIGNMENT, CLICKS, FEEDBACK, PURCHASES, SETTINGS, Bench, click, eventually


async def start_again(bench: Bench) -> None:
    """Let another worker process take the shard over."""
    await bench.runner.drop()
    bench.runner = ShardRunner(ASSIGNMENT, bench.resources)


def lost(bench: Bench, topic: str) -> float:
    return bench.metric("lost_records_total", topic=topic)


async def test_a_new_model_on_an_old_topic_has_lost_nothing(bench: Bench) -> None:
    bench.write(9)
    bench.kafka.first[CLICKS] = 5
    await bench.open()
    assert bench.kafka.starts[-1] == {CLICKS: 5, PURCHASES: 0, FEEDBACK: 0}
    (line,) = bench.logged("Kafka no longer has the beginning of a topic")
    assert (line["topic"], line["kafka_partition"], line["first_kept"]) == ("shop-clicks", 3, 5)
    bench.poll()
    await bench.publish()
    await bench.runner.halt(240.0)
    await bench.open()
    await start_again(bench)
    await bench.open()
    assert lost(bench, "clicks") == 0
    assert not bench.logged("Kafka's retention removed")


async def test_what_retention_removed_from_a_log_that_the_shard_had_is_lost_although_nothing_was_learned_from_it(
    bench: Bench,
) -> None:
    await bench.open()
    await bench.learn(20)
    await bench.publish()
    await start_again(bench)
    bench.kafka.append(PURCHASES, *(click(number) for number in range(9)))
    bench.kafka.first[PURCHASES] = 7
    await bench.open()
    assert bench.kafka.starts[-1] == {CLICKS: 20, PURCHASES: 7, FEEDBACK: 0}
    assert lost(bench, "purchases") == 7
    (line,) = bench.logged("Kafka's retention removed records before they were learned")
    assert (line["topic"], line["first_lost"], line["first_kept"], line["records"]) == ("shop-purchases", 0, 7, 7)


async def test_a_loss_is_counted_once_by_a_worker_that_opens_the_shard_again(bench: Bench) -> None:
    await bench.open()
    await bench.learn(20)
    await bench.publish()
    await start_again(bench)
    bench.write(9)
    bench.kafka.first[CLICKS] = 26
    await bench.open()
    await bench.runner.halt(240.0)
    await bench.open()
    assert lost(bench, "clicks") == 6


async def test_a_worker_on_another_family_of_processors_says_so(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    await bench.open()
    await bench.learn(20)
    await bench.publish()
    await start_again(bench)
    await bench.open()
    assert not bench.logged("the state was learned on another family of processors")
    bench.store.published[-1].state["processor"] = "x86_64 without FMA"
    await start_again(bench)
    await bench.open()
    (line,) = bench.logged("the state was learned on another family of processors")
    assert (line["before"], line["here"]) == ("x86_64 without FMA", processor_family())


async def test_a_worker_that_takes_numbers_over_that_are_not_finite_says_which(bench: Bench) -> None:
    await bench.open()
    await bench.learn(20)
    await bench.publish()
    bench.store.published[-1].delta["sums"].data.view("<f8")[1, 2] = np.inf
    del bench.store.published[-1].state["finite"]
    await start_again(bench)
    await bench.open()
    (line,) = bench.logged("the state held numbers that are not finite; they are 0 now")
    assert line["numbers"] == {"sums": 1}


async def test_a_topic_created_again_has_lost_nothing_of_the_old_one(bench: Bench) -> None:
    await bench.open()
    await bench.learn(20)
    await bench.publish()
    await start_again(bench)
    bench.kafka.recreate(CLICKS)
    bench.topic_ids.recreate("shop-clicks")
    bench.write(9)
    bench.kafka.first[CLICKS] = 4
    await bench.open()
    assert bench.kafka.starts[-1][CLICKS] == 4
    assert lost(bench, "clicks") == 0


async def test_a_redis_that_evicts_is_refused_before_a_shard_is_claimed_unless_the_settings_allow_it(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench()
    bench.store.evicts = "allkeys-lru"
    with pytest.raises(EvictingRedis, match="maxmemory-policy allkeys-lru"):
        await check_versions(bench.resources, frozenset({"shop-clicks"}))
    bench.runner.start()
    await eventually(lambda: bench.logged("can't open the shard yet") and bench.idle)
    assert bench.store.claims == []
    standing = bench.runner.standing
    assert standing is not None
    assert (standing.reason, "CORRENTE_ALLOW_EVICTION=true" in standing.command) == ("redis", True)
    bench.resources.settings = SETTINGS.model_copy(update={"allow_eviction": True})
    await check_versions(bench.resources, frozenset({"shop-clicks"}))
    bench.clock.advance(1.0)
    await eventually(lambda: bench.kafka.starts and bench.idle, "the shard to be opened")


async def test_a_shard_that_is_halted_with_everything_published_leaves_the_mark_of_a_clean_stop(bench: Bench) -> None:
    await bench.open()
    await bench.learn(20)
    await bench.publish()
    assert bench.store.left == []
    await bench.runner.halt(240.0)
    assert bench.store.left == [bench.runner.claim]


async def test_a_redis_that_is_away_at_a_clean_stop_holds_nothing_up(bench: Bench) -> None:
    await bench.open()
    await bench.learn(20)
    await bench.publish()
    bench.store.fail("leave", RedisConnectionError("no answer"))
    await bench.runner.halt(240.0)
    assert bench.runner.claim is not None, "the state stays for the next start"
    await bench.open()
    await bench.learn(20)


OTHER = {
    "max_items": 128,
    "max_visitors": 32_000,
    "max_sessions": 65,
    "max_event_ids": 1 << 20,
    "max_kept_visitors": 1024,
    "max_kept_items": 64,
    "repeats": "first",
}
SMALLER = dict.fromkeys(CAPACITIES, 64) | {"repeats": "first"}


def with_model(bench: Bench, monkeypatch: pytest.MonkeyPatch, **changed: Any) -> ModelSettings:
    """Give the workers of this bench other settings of the model."""
    model = bench.resources.settings.model.model_copy(update=changed)
    monkeypatch.setattr(bench.resources, "settings", SETTINGS.model_copy(update={"model": model}))
    return model


@pytest.mark.parametrize("name", CAPACITIES)
async def test_a_worker_with_a_larger_capacity_goes_on_and_publishes_all_of_the_larger_tables(
    make_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    bench = make_bench()
    await bench.open()
    await bench.learn(20)
    await bench.publish()
    await start_again(bench)
    model = with_model(bench, monkeypatch, **{name: OTHER[name]})
    await bench.open()
    (line,) = bench.logged("the model goes on with a larger capacity")
    before = getattr(SETTINGS.model, name)
    assert (line["setting"], line["before"], line["after"]) == (
        f"CORRENTE_MODEL__{name.upper()}",
        before,
        OTHER[name],
    )
    await bench.learn(5)
    await bench.publish()
    assert bench.store.published[-1].whole
    assert bench.store.settings[name] == OTHER[name]
    twin = Shard(model)
    twin.apply(bench.kafka.logs[CLICKS], rate=1.0)
    state = bench.store.shards[ASSIGNMENT.shard].state
    assert state["counters"]["clicks"]["learned"] == twin.counters["clicks"]["learned"] == 25
    assert state["layout"][name] == OTHER[name]
    await bench.learn(5)
    await bench.publish()
    assert not bench.store.published[-1].whole


@pytest.mark.parametrize("name", FIXED)
async def test_a_worker_with_a_smaller_capacity_is_refused_before_it_claims_a_shard(
    make_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    bench = make_bench()
    larger = with_model(bench, monkeypatch, **dict.fromkeys(CAPACITIES, 128))
    await bench.open()
    await bench.learn(20)
    await bench.publish()
    await start_again(bench)
    claims = len(bench.store.claims)
    with_model(bench, monkeypatch, **{name: SMALLER[name]})
    bench.runner.start()
    await eventually(lambda: bench.logged("can't open the shard yet") and bench.idle)
    assert len(bench.store.claims) == claims, "workers with the right settings go on"
    variable, before = f"CORRENTE_MODEL__{name.upper()}", getattr(larger, name)
    standing = bench.runner.standing
    assert standing is not None
    assert standing.reason == "version"
    assert f"{variable}={SMALLER[name]}: version 1 of model 'default' has {variable}={before}" in standing.detail
    assert f"{variable} has to be {before}" in standing.detail
    assert "begin anew with corrente versions new-lineage" in standing.detail


def test_all_settings_that_do_not_fit_are_named_at_once_also_those_of_release_0_1(bench: Bench) -> None:
    check_settings(bench.store, SETTINGS)  # there is no version yet
    bench.store.shards[0].head = ShardState(1, "digest")
    bench.store.settings = {"items": 64, "visitors": 1000, "sessions": 2000, "event_ids": 64, "repeats": "all"}
    with pytest.raises(WrongModelSettings) as refused:
        check_settings(bench.store, SETTINGS)
    assert "CORRENTE_MODEL__MAX_VISITORS=64, CORRENTE_MODEL__MAX_SESSIONS=64: version 1" in str(refused.value)
    assert "has to be 1000 or more; CORRENTE_MODEL__MAX_SESSIONS has to be 2000 or more" in str(refused.value)


def test_shards_that_do_not_say_their_capacities_are_published_before_any_grows(bench: Bench) -> None:
    """They have those of the newest version, which another shard may have published."""
    larger = SETTINGS.model_copy(update={"model": SETTINGS.model.model_copy(update={"max_items": 128})})
    bench.store.settings = SETTINGS.model.model_dump(mode="json")
    bench.store.shards[0].head = ShardState(1, "digest")
    check_settings(bench.store, larger)
    bench.store.shards[1].head = ShardState(1, "digest", layout=layout_of(SETTINGS.model))
    with pytest.raises(WrongModelSettings, match="has to be 64 until this release has published every shard"):
        check_settings(bench.store, larger)
    bench.store.shards[0].head = ShardState(2, "digest", layout=layout_of(SETTINGS.model))
    check_settings(bench.store, larger)


def test_a_model_keeps_exactly_those_settings_that_its_tables_depend_on() -> None:
    others = {
        **OTHER,
        "ranker": "river",
        "disabled_sources": ("embedding",),
        "weights": {"click": 2.0},
        "rating_scale": {"low": 1.0, "high": 10.0, "neutral": 6.0},
        "null_ids": (),
        "quantity_exponent": 0.5,
        "consent_default": "none",
        "drift_burn_in": 7,
        "seed": 7,
        SALT: "another",
    }
    assert set(others) == set(ModelSettings.model_fields)
    usual = SETTINGS.model.model_copy(update={"max_visitors": 2 * OTHER["max_kept_visitors"]})
    before = table_specs(usual)
    changed = {name for name, value in others.items() if table_specs(usual.model_copy(update={name: value})) != before}
    assert changed == set(FIXED)
