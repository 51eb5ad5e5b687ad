"""A new lineage: a model begins anew with other settings, and servers keep the version that they have."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from stream.ingest.records import Record
from stream.models.settings import ModelSettings
from stream.runner.recovery.checks import check_settings
from stream.runner.recovery.errors import WrongModelSettings
from stream.settings import Settings
from stream.shard.shard import Shard
from stream.state.table_writer import TableWriter
from stream.versions import (
    PINNED,
    Fenced,
    Policy,
    ShardReport,
    StaleParent,
    UnknownVersion,
    Version,
    VersionStore,
    WorkersRunning,
    WrongSalt,
)
from stream.versions.changed_settings.layouts import tables_for
from stream.versions.changed_settings.new_lineage import SILENCE_SECONDS, Begun, begin_lineage
from stream.versions.cli import app
from stream.versions.compaction import compact
from stream.versions.resharding.model_claim import ModelClaim

BEFORE = ModelSettings(
    max_items=128, max_visitors=128, max_sessions=128, max_event_ids=128, visitor_salt="a salt of tests"
)
AFTER = BEFORE.model_copy(update={"max_items": 64, "repeats": "first"})
START = 1_700_000_000.0


def clicks(first: int, count: int) -> list[Record]:
    events = [{"user": f"u{number % 7}", "item": f"i{number % 5}"} for number in range(first, first + count)]
    return [
        Record("clicks", number, 1000 * number, json.dumps(event).encode())
        for number, event in enumerate(events, first)
    ]


def claim_of(store: VersionStore, shard: int = 0, known: dict[str, int] | None = None) -> Any:
    return store.claim(
        shard, worker=f"worker {shard}", token=f"{shard} {store.redis.dbsize()}", now=START, known_offsets=known or {}
    )


def learned(store: VersionStore, shard: int, count: int, settings: ModelSettings = BEFORE, shards: int = 1) -> Version:
    """The version of a worker that has learned some clicks from what the shard had."""
    claim, newest = claim_of(store, shard), store.latest()
    if claim.head is None or newest is None:
        learner = Shard(settings, partition=shard, shards=shards)
    else:
        tables = tables_for(store, settings, newest, shard, claim.head)
        state = store.load(shard, claim.head, TableWriter(tables))
        learner = Shard.restore(settings, tables, state, partition=shard, shards=shards)
    learner.apply(clicks(learner.offsets.get("clicks", 0), count), rate=0.5)
    return store.publish(
        claim, learner.checkpoint(), settings=settings.model_dump(mode="json"), code_version="1", now=START
    )


def begin(store: VersionStore, settings: ModelSettings = AFTER, shards: int = 1, *, pin: bool = True) -> Begun:
    return begin_lineage(
        store,
        settings,
        shards,
        pin=pin,
        who="ada",
        why="smaller",
        code_version="2",
        now=lambda: START + 1.0,
        sleep=lambda _: None,
    )


def test_a_model_begins_anew_with_settings_that_it_could_not_go_on_with(store: VersionStore) -> None:
    before = learned(store, 0, 50)
    with pytest.raises(WrongModelSettings):
        check_settings(store, Settings(model=AFTER))
    done = begin(store)
    check_settings(store, Settings(model=AFTER))
    assert done.before == before
    assert done.after.number == before.number + 1
    assert done.after.lineage != before.lineage
    assert (done.after.events, done.after.shards[0].offsets) == (0, {})
    assert done.after.settings["repeats"] == "first"
    after = learned(store, 0, 30, AFTER)
    assert after.shards[0].offsets == {"clicks": 30}, "it begins at the beginning of the topic"
    twin = Shard(AFTER)
    twin.apply(clicks(0, 30), rate=0.5)
    tables = tables_for(store, AFTER, after, 0, after.shards[0])
    store.load(0, after.shards[0], TableWriter(tables))
    assert tables == twin.tables


def test_servers_answer_from_the_version_before_until_they_follow(store: VersionStore) -> None:
    before = learned(store, 0, 50)
    assert begin(store).pinned == before.number
    assert store.served() == before
    learned(store, 0, 30, AFTER)
    assert store.served() == before
    (move,) = store.history()
    assert (move.name, move.to, move.who, move.why) == (PINNED, before.number, "ada", "smaller")
    tables = tables_for(store, AFTER, before, 0, before.shards[0])
    store.load(0, before.shards[0], TableWriter(tables))
    twin = Shard(BEFORE)
    twin.apply(clicks(0, 50), rate=0.5)
    assert tables == twin.tables, "the version before is what it was"


def test_a_version_that_is_pinned_already_stays_pinned(store: VersionStore) -> None:
    first = learned(store, 0, 20)
    learned(store, 0, 20)
    store.move_alias(PINNED, first.number, who="bob", why="", now=START)
    assert begin(store).pinned == first.number
    assert store.served() == first


def test_without_a_pin_servers_answer_from_the_new_lineage_at_once(store: VersionStore) -> None:
    learned(store, 0, 20)
    done = begin(store, pin=False)
    assert done.pinned is None
    assert store.served() == done.after


@pytest.mark.parametrize("shards", [1, 2, 3])
def test_all_shards_begin_anew_at_once_and_may_be_more_or_fewer(store: VersionStore, shards: int) -> None:
    for shard in range(2):
        learned(store, shard, 20, shards=2)
    done = begin(store, shards=shards)
    assert sorted(done.after.shards) == list(range(shards))
    assert done.after.events == 0
    for shard in range(shards):
        version = learned(store, shard, 10, AFTER, shards)
    assert {shard: state.events for shard, state in version.shards.items()} == dict.fromkeys(range(shards), 10)


def test_committed_offsets_of_the_lineage_before_are_no_sign_of_lost_versions(store: VersionStore) -> None:
    learned(store, 0, 50)
    begin(store)
    assert not claim_of(store, known={"clicks": 50}).new_lineage


def test_a_worker_of_the_lineage_before_publishes_nothing_more(store: VersionStore) -> None:
    learned(store, 0, 20)
    claim, shard = claim_of(store), Shard(BEFORE)
    shard.apply(clicks(0, 60), rate=0.5)
    done = begin(store)
    with pytest.raises(Fenced):
        store.publish(claim, shard.checkpoint(), settings=BEFORE.model_dump(), code_version="1", now=START)
    assert store.latest() == done.after


def test_beside_a_worker_that_reports_nothing_is_changed(store: VersionStore) -> None:
    before = learned(store, 0, 20)
    claim = claim_of(store)

    def report(_: float = 0.0) -> None:
        store.report(0, claim, "worker 7", ShardReport())

    report()
    slept: list[float] = []
    with pytest.raises(WorkersRunning, match=r"is learned by worker 7\. Stop all workers"):
        begin_lineage(
            store,
            AFTER,
            1,
            pin=True,
            who="ada",
            why="",
            code_version="2",
            now=lambda: START,
            sleep=lambda seconds: (slept.append(seconds), report())[0],
        )
    assert slept == [SILENCE_SECONDS]
    assert store.latest() == before
    assert store.served() == before
    assert store.aliases().get(PINNED) is None
    store.publish(claim, Shard(BEFORE).checkpoint(), settings=BEFORE.model_dump(), code_version="1", now=START)


def test_if_a_worker_takes_a_shard_meanwhile_nothing_is_changed_and_nothing_is_pinned(
    store: VersionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = learned(store, 0, 20)
    replace = ModelClaim.replace

    def taken(claim: ModelClaim, *arguments: Any, **more: Any) -> Version:
        store.redis.hincrby(store.keys.fence(0), "epoch", 1)
        return replace(claim, *arguments, **more)

    monkeypatch.setattr(ModelClaim, "replace", taken)
    with pytest.raises((Fenced, StaleParent)):
        begin(store)
    assert store.latest() == before
    assert store.aliases().get(PINNED) is None


def test_another_salt_and_a_model_without_versions_are_refused(store: VersionStore) -> None:
    with pytest.raises(UnknownVersion, match="has no versions"):
        begin(store)
    before = learned(store, 0, 20)
    with pytest.raises(WrongSalt):
        begin(store, AFTER.model_copy(update={"visitor_salt": "another salt"}))
    assert store.latest() == before


def test_states_of_both_lineages_are_thinned_and_the_pinned_version_stays(store: VersionStore) -> None:
    for _ in range(4):
        before = learned(store, 0, 20)
    begin(store)
    for _ in range(6):
        learned(store, 0, 10, AFTER)
    policy = Policy(keep_last=2, keep_minutes=0, keep_hours=0, keep_days=0)
    for _ in range(3):
        compact(store, 0, policy, START + 1000.0)
    assert store.served() == before
    newest = store.latest()
    assert newest is not None
    for version, settings, count in ((before, BEFORE, 80), (newest, AFTER, 60)):
        tables = tables_for(store, AFTER, version, 0, version.shards[0])
        assert store.load(0, version.shards[0], TableWriter(tables))["counters"]["clicks"]["learned"] == count
        assert tables["items"].spec.rows == settings.max_items + 1


def test_the_command_says_what_happened_and_what_comes_next(
    store: VersionStore, shared_redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = learned(store, 0, 20)
    monkeypatch.setenv("CORRENTE_MODEL__MAX_ITEMS", "64")
    monkeypatch.setenv("CORRENTE_MODEL__VISITOR_SALT", BEFORE.visitor_salt)
    address = ["--redis", shared_redis.url, "--model", store.model]
    run = CliRunner().invoke(app, ["new-lineage", *address])
    assert run.exit_code == 0, run.output
    said = " ".join(run.output.split())
    assert f"version {before.number + 1} begins a new lineage of model {store.model!r}" in said
    assert f"Servers answer from version {before.number} until `corrente versions follow`" in said
    assert "Start the workers" in said
    newest = store.latest()
    assert newest is not None
    assert newest.settings["max_items"] == 64
    run = CliRunner().invoke(app, ["new-lineage", "--json", *address])
    assert json.loads(run.output)["pinned"] == before.number
