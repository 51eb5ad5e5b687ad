"""Compaction goes round lost chunks: history stays bounded, and every version that is whole stays what it was."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from stream.state.checkpoint import Checkpoint
from stream.versions import Fenced, JournalGone, LostData, Policy, StaleParent, VersionStore, compaction
from stream.versions.compaction import compact
from stream.versions.damage.holes import whole_states
from stream.versions.storage.chunks import ChunkRef
from stream.versions.storage.records import StateRecord, absent_chunks, read_records

LAST_TWO = Policy(keep_last=2, keep_minutes=0, keep_hours=0, keep_days=0)


@pytest.fixture
def short_chains(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keyframes and folds after a few hundred bytes instead of megabytes."""
    monkeypatch.setattr(compaction, "CHAIN_BYTES", 3000)
    monkeypatch.setattr(compaction, "CHAIN_KEYFRAMES", 1.0)
    monkeypatch.setattr(compaction, "FOLD_RUN", 3)


def record_of(store: VersionStore, seq: int) -> StateRecord:
    return read_records(store.space, 0)[seq]


def lose(store: VersionStore, refs: list[ChunkRef] | None) -> None:
    assert refs
    assert store.redis.delete(*(store.keys.chunk(ref.name) for ref in refs)) == len(refs)


def states(store: VersionStore) -> int:
    return int(store.redis.zcard(store.keys.states(0)))


def keyframe_of(publishing) -> Checkpoint:
    """The live tables as a checkpoint that has every block."""
    return replace(publishing.learner.checkpoint(), delta=publishing.learner.tables.snapshot(), whole=True)


@pytest.mark.usefixtures("short_chains")
@pytest.mark.parametrize("lost", ["delta", "journal", "other bytes"])
def test_a_lost_part_while_running_does_not_end_compaction(publishing, loaded, lost: str) -> None:
    store = publishing.store
    for number in range(1, 20):
        publishing.publish(number, value=number)
    record = record_of(store, 10)
    if lost == "other bytes":
        store.redis.setrange(store.keys.chunk(record.delta[0].name), 70, b"others")
    else:
        lose(store, getattr(record, lost))
    done = compact(store, 0, LAST_TWO, publishing.now)
    assert done.broken_heads == (lost != "journal")
    if done.broken_heads:
        assert done.lost_chunks == 1
        with pytest.raises(LostData):
            loaded(store, 0, store.latest().shards[0])
        publishing.learner.write(3)
        publishing.publish_checkpoint(keyframe_of(publishing))
    sizes = []
    for number in range(200):
        publishing.publish(number, value=number)
        if number % 10 == 9:
            done = compact(store, 0, LAST_TWO, publishing.now)
            assert done.broken_heads == 0
            sizes.append(states(store))
    assert max(sizes[5:]) < 30, "states without a version are folded and dropped again"
    assert done.lost_chunks == 0
    for version in store.versions():
        tables = loaded(store, 0, version.shards[0])
    newest, before = store.versions()
    assert loaded(store, 0, newest.shards[0]) == publishing.learner.tables
    tables = loaded(store, 0, before.shards[0])
    changes = store.changes(0, before.shards[0], newest.shards[0])
    assert changes is not None
    tables.write(changes)
    assert tables == publishing.learner.tables


def test_a_keyframe_from_the_live_tables_is_a_delta_as_well(publishing, loaded) -> None:
    store = publishing.store
    before = publishing.publish(1, 2, 3)
    publishing.learner.write(4)
    version = publishing.publish_checkpoint(keyframe_of(publishing))
    assert record_of(store, 2).keyframe == record_of(store, 2).delta
    tables = loaded(store, 0, before.shards[0])
    changes = store.changes(0, before.shards[0], version.shards[0])
    assert changes is not None
    tables.write(changes)
    assert tables == loaded(store, 0, version.shards[0]) == publishing.learner.tables


def test_a_hole_behind_the_newest_keyframe_breaks_no_head(publishing, loaded) -> None:
    store = publishing.store
    versions = [publishing.publish(number) for number in range(1, 6)]
    publishing.learner.write(6)
    publishing.publish_checkpoint(keyframe_of(publishing))
    versions += [publishing.publish(number) for number in range(7, 9)]
    lose(store, record_of(store, 3).delta)
    done = compact(store, 0, Policy(), publishing.now)
    assert (done.lost_chunks, done.broken_heads) == (1, 0)
    assert record_of(store, 6).parent is None, "the chain of the newest state begins behind the hole"
    assert loaded(store, 0, versions[-1].shards[0]) == publishing.learner.tables
    assert loaded(store, 0, versions[1].shards[0]) is not None
    assert store.changes(0, versions[1].shards[0], versions[-1].shards[0]) is None, "the whole state is loaded then"
    with pytest.raises(LostData):
        loaded(store, 0, versions[3].shards[0])
    with pytest.raises(JournalGone):
        store.journal(0, versions[1].shards[0], versions[-1].shards[0])


@pytest.mark.usefixtures("short_chains")
def test_a_lost_keyframe_is_forgotten_where_deltas_lead_to_its_state(publishing, loaded) -> None:
    store = publishing.store
    for number in range(1, 6):
        publishing.publish(number)
    publishing.learner.write(6)
    publishing.publish_checkpoint(keyframe_of(publishing))
    record = record_of(store, 6)
    # the same state in two encodings: a keyframe of its own beside the delta, as compaction makes them
    keyframe = list(record.keyframe or [])
    store.redis.hset(
        store.keys.state(0, 6),
        "keyframe",
        store.redis.hget(store.keys.state(0, 6), "keyframe").replace(keyframe[0].name.encode(), b"lost"),
    )
    assert absent_chunks(store.space, read_records(store.space, 0).values()) == {"lost"}
    done = compact(store, 0, Policy(), publishing.now)
    assert done.broken_heads == 0
    assert loaded(store, 0, store.latest().shards[0]) == publishing.learner.tables
    assert absent_chunks(store.space, read_records(store.space, 0).values()) == set()


@pytest.mark.parametrize(
    ("lost", "whole"),
    [
        ((), [4, 3, 2, 1]),
        (("d2",), [4, 3, 1]),
        (("k3",), [2, 1]),
        (("k1",), [4, 3]),
        (("d4", "k1"), [3]),
        (("d3",), [4, 3, 2, 1]),
    ],
)
def test_a_state_is_whole_if_its_keyframe_and_the_deltas_after_it_are(lost: tuple[str, ...], whole: list[int]) -> None:
    """Four states: 1 is a keyframe, 2 a delta, 3 both, 4 a delta."""

    def refs(name: str) -> list[ChunkRef]:
        return [ChunkRef(name, 1, "", "")]

    records = {
        1: StateRecord(1, "a", None, [], refs("k1"), []),
        2: StateRecord(2, "b", 1, refs("d2"), None, []),
        3: StateRecord(3, "c", 2, refs("d3"), refs("k3"), []),
        4: StateRecord(4, "d", 3, refs("d4"), None, []),
    }
    assert whole_states(records, set(lost)) == whole


def test_lost_chunks_are_found_among_thousands(publishing) -> None:
    store = publishing.store
    names = [f"many-{number}" for number in range(1200)]
    for name in names:
        store.redis.set(store.keys.chunk(name), b"x")
    records = [
        StateRecord(number, "", None, [ChunkRef(name, 1, "", "")], None, [])
        for number, name in zip(itertools.count(1), names, strict=False)
    ]
    assert absent_chunks(store.space, records) == set()
    gone = {names[0], names[499], names[500], names[1199]}
    store.redis.delete(*(store.keys.chunk(name) for name in gone))
    assert absent_chunks(store.space, records) == gone


def test_a_healed_shard_is_whole_again_although_newer_states_are_damaged(publishing, loaded) -> None:
    store = publishing.store
    versions = [publishing.publish(number) for number in range(1, 6)]
    lose(store, record_of(store, 5).delta)
    assert compact(store, 0, Policy(), publishing.now).broken_heads == 1
    store.set_aside(publishing.claim, versions[3].shards[0], who="ada", why="lost", now=1.0, known_number=0)
    assert publishing.claim.new_lineage
    done = compact(store, 0, Policy(), publishing.now)
    assert (done.lost_chunks, done.broken_heads) == (1, 0)
    claimed = store.claim(0, worker="ada", token="next", now=2.0)
    assert (claimed.head, claimed.next_seq) == (versions[3].shards[0], 6)
    assert store.version("damaged-shard-0") == versions[4]
    with pytest.raises(LostData):
        loaded(store, 0, versions[4].shards[0])


@pytest.mark.parametrize("state", ["fenced", "changed"])
def test_only_the_owner_of_a_shard_sets_its_state_aside_and_only_the_one_it_saw(
    publishing, another, state: str
) -> None:
    store = publishing.store
    older = publishing.publish(1).shards[0]
    publishing.publish(2)
    zombie = replace(publishing.claim)
    if state == "fenced":
        another(store, token="other")
    else:
        publishing.publish(3)
    before = store.latest()
    with pytest.raises((Fenced, StaleParent)):
        store.set_aside(zombie, older, who="ada", why="lost", now=1.0, known_number=0)
    assert store.latest() == before
    assert "damaged-shard-0" not in store.aliases()
