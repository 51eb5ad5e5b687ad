"""Names of sources and features in versions: everyone finds numbers by their names, or refuses the state."""

from __future__ import annotations

import json

import pytest

from stream.ingest.records import Record
from stream.models.schema import table_specs
from stream.models.settings import ModelSettings
from stream.models.state_names import RELEASE_0_1, TODAY, TODAY_DIGEST, digest_of
from stream.runner.recovery.checks import check_model_names
from stream.shard.shard import Shard, UnknownState
from stream.state.checkpoint import Checkpoint
from stream.state.table_writer import TableWriter
from stream.state.tables import Tables
from stream.versions import JournalGone, Policy, ShardState, UnknownVersion, VersionStore, WrongNames
from stream.versions.changed_settings.layouts import tables_for
from stream.versions.compaction import compact
from tests.stream.other_order import in_other_order, shuffled_names, with_names
from tests.stream.other_sources import MISSING_HERE, checkpoint_there, other_names

SETTINGS = ModelSettings(
    max_items=64, max_visitors=64, max_sessions=64, max_event_ids=64, visitor_salt="a salt of a test, long enough"
)
SPECS = table_specs(SETTINGS)
FOREIGN = {**TODAY, "conversion_features": [*TODAY["conversion_features"], "weekday"]}


def clicks(first: int, count: int) -> list[Record]:
    return [
        Record(
            "clicks",
            number,
            1_700_000_000_000 + 20_000 * number,
            json.dumps({"user": f"u{number % 13}", "item": f"i{number * number % 17}"}).encode(),
        )
        for number in range(first, first + count)
    ]


def publish(store: VersionStore, claim, checkpoint: Checkpoint, now: float = 1.0):
    return store.publish(claim, checkpoint, settings=SETTINGS.model_dump(), code_version="test", now=now)


def claim_of(store: VersionStore, token: str = "t"):
    return store.claim(0, worker="w", token=token, now=1.0)


def restored(store: VersionStore, state: ShardState) -> Shard:
    tables = tables_for(store, SETTINGS, store.latest(), 0, state)
    return Shard.restore(SETTINGS, tables, store.load(0, state, TableWriter(tables)))


def learned(count: int = 200) -> Shard:
    shard = Shard(SETTINGS)
    shard.apply(clicks(0, count), rate=1.0)
    return shard


def test_a_state_carries_its_names_and_the_manifest_their_digest(store):
    version = publish(store, claim_of(store), learned().checkpoint())
    assert store.state(0, version.shards[0])["names"] == TODAY
    assert store.latest().shards[0].names == TODAY_DIGEST
    assert version.manifest["shards"]["0"]["names"] == TODAY_DIGEST
    assert store.names(0, version.shards[0]) == TODAY


def test_a_state_in_another_order_is_restored_and_goes_on_bit_for_bit(store):
    names, undisturbed = shuffled_names(5), learned()
    theirs = Checkpoint(
        in_other_order(SPECS, names, undisturbed.tables.snapshot()), with_names(undisturbed.readable_state(), names)
    )
    claim = claim_of(store)
    version = publish(store, claim, theirs)
    assert version.shards[0].names == digest_of(names)
    assert store.names(0, version.shards[0]) == names
    shard = restored(store, version.shards[0])
    assert shard.tables == undisturbed.tables
    for each in (shard, undisturbed):
        each.apply(clicks(200, 100), rate=1.0)
    assert shard.tables == undisturbed.tables
    assert shard.readable_state() == undisturbed.readable_state()


def test_deltas_of_both_orders_are_one_state_also_after_compaction(store):
    """The next worker has another order than the one before it: what it writes replaces all that moved."""
    names, undisturbed = shuffled_names(6), learned()
    claim = claim_of(store)
    state = with_names(undisturbed.readable_state(), names)
    publish(store, claim, Checkpoint(in_other_order(SPECS, names, undisturbed.tables.snapshot()), state))
    shard = restored(store, claim.head)
    for number in range(3):
        for each in (shard, undisturbed):
            each.apply(clicks(200 + 10 * number, 10), rate=0.3)
        version = publish(store, claim, shard.checkpoint(), now=2.0 + number)
        assert version.shards[0].names == TODAY_DIGEST
        assert restored(store, version.shards[0]).tables == undisturbed.tables
    compact(store, 0, Policy(keep_last=1, keep_minutes=0, keep_hours=0, keep_days=0), 100.0)
    assert restored(store, store.latest().shards[0]).tables == undisturbed.tables


@pytest.mark.parametrize(
    "names", [other_names(), other_names(without=("stan", "cosine"), more=("a", "b", "c", "d"))], ids=["one", "many"]
)
def test_a_state_of_other_sources_is_restored_published_whole_and_goes_on(store, names):
    """Tables of sources that are missing here are left out; no delta leads from those shapes to these."""
    undisturbed = learned()
    claim = claim_of(store)
    theirs = publish(store, claim, checkpoint_there(SETTINGS, undisturbed.tables, undisturbed.readable_state(), names))
    assert theirs.shards[0].names == digest_of(names)
    assert store.names(0, theirs.shards[0]) == names
    shard = restored(store, theirs.shards[0])
    for number in range(4):
        shard.apply(clicks(200 + 10 * number, 10), rate=0.5)
        version = publish(store, claim, shard.checkpoint(), now=2.0 + number)
        assert version.shards[0].names == TODAY_DIGEST
        assert restored(store, version.shards[0]).tables == shard.tables
        assert store.changes(0, theirs.shards[0], version.shards[0]) is None
    assert store.journal(0, store.versions()[-2].shards[0], version.shards[0]).batches == 3
    with pytest.raises(JournalGone):
        store.journal(0, theirs.shards[0], version.shards[0])
    compact(store, 0, Policy(keep_last=1, keep_minutes=0, keep_hours=0, keep_days=0), 100.0)
    compact(store, 0, Policy(keep_last=1, keep_minutes=0, keep_hours=0, keep_days=0), 200.0)
    assert restored(store, store.latest().shards[0]).tables == shard.tables
    with pytest.raises(UnknownVersion):
        store.state(0, theirs.shards[0])


def test_changes_between_states_of_other_sources_leave_out_the_tables_that_are_missing_here(store):
    claim, shard, names = claim_of(store), learned(), other_names()
    first = publish(store, claim, checkpoint_there(SETTINGS, shard.tables, shard.readable_state(), names))
    state = {**shard.readable_state(), "names": names}
    delta = checkpoint_there(SETTINGS, shard.tables, {}, names).delta
    kept = {name: delta[name] for name in ("items", MISSING_HERE)}
    second = publish(store, claim, Checkpoint(kept, state), now=2.0)
    assert set(store.changes(0, first.shards[0], second.shards[0])) == {"items"}


def test_a_state_that_can_not_be_mapped_is_refused_before_anything_is_written(store):
    shard = learned(20)
    checkpoint = shard.checkpoint()
    version = publish(store, claim_of(store), Checkpoint(checkpoint.delta, with_names(checkpoint.state, FOREIGN)))
    tables = Tables(SPECS)
    for read in (
        lambda: store.names(0, version.shards[0]),
        lambda: store.load(0, version.shards[0], TableWriter(tables)),
    ):
        with pytest.raises(WrongNames, match=r"weekday is missing here.* new-lineage"):
            read()
    assert tables == Tables(SPECS)
    with pytest.raises(UnknownState, match="weekday is missing here"):
        Shard.restore(SETTINGS, tables, with_names(checkpoint.state, FOREIGN))


def test_a_worker_that_can_not_map_the_names_does_not_take_the_shard(store):
    claim, checkpoint = claim_of(store), learned(20).checkpoint()
    publish(store, claim, Checkpoint(checkpoint.delta, with_names(checkpoint.state, FOREIGN)))
    fence = store.redis.hgetall(store.keys.fence(0))
    with pytest.raises(WrongNames, match="weekday is missing here"):
        check_model_names(store)
    assert store.redis.hgetall(store.keys.fence(0)) == fence, "the worker that can goes on"


def test_a_model_without_versions_may_have_any_names(store):
    check_model_names(store)


def test_a_state_of_release_0_1_is_known_without_asking_redis(store):
    assert store.names(0, ShardState(seq=7, digest="of no state in Redis")) == RELEASE_0_1
