"""Publishing and reading: one atomic step, refused where it must be, exact where it is not."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import threading

import msgspec
import numpy as np
import pytest

from stream.versions import (
    CorruptVersion,
    Fenced,
    StaleParent,
    UnknownFormat,
    UnknownVersion,
    VersionStore,
    WrongAlias,
    reading,
)
from stream.versions.announcements import Announcement
from stream.versions.manifest import FORMAT, canonical_json
from tests.stream.versions.checkpoints import folded


def test_an_empty_store_has_nothing(store):
    assert store.latest() is None
    assert store.served() is None
    assert store.versions() == []
    assert store.aliases() == {}
    assert store.history() == []


def test_a_published_state_is_loaded_bit_for_bit(publishing, loaded):
    for number in range(1, 6):
        version = publishing.publish(number, number * 7, value=number)
        assert loaded(publishing.store, 0, version.shards[0]) == publishing.learner.tables
        state = publishing.store.state(0, version.shards[0])
        assert state["offsets"] == version.shards[0].offsets == {"clicks": number * 2, "purchases": number}


def test_every_older_version_stays_what_it_was(publishing, loaded):
    copies = [(publishing.publish(3, number, value=number), publishing.learner.copy()) for number in range(1, 20)]
    for version, tables in copies:
        assert loaded(publishing.store, 0, version.shards[0]) == tables
        assert publishing.store.version(version.number) == version


def test_a_chain_of_any_length_is_read_newest_first(publishing, loaded, monkeypatch):
    """Ages have a largest value, and a chain that was never folded is longer."""
    monkeypatch.setattr(reading, "OLDEST", 3)
    monkeypatch.setattr(reading, "CHUNK_BYTES", 0)  # as large states are read
    for number in range(1, 30):
        version = publishing.publish(number % 7, 9, value=number)
    assert len(publishing.store.chain(0, version.shards[0], "keyframe")) == 29
    assert loaded(publishing.store, 0, version.shards[0]) == publishing.learner.tables


def test_changes_lead_from_one_version_to_a_later_one(publishing, rebuilt):
    first = publishing.publish(1, 2, 3)
    before = publishing.learner.copy()
    publishing.publish(2, value=5)
    last = publishing.publish(9, value=6)
    changes = publishing.store.changes(0, first.shards[0], last.shards[0])
    assert changes is not None
    assert sum(len(part.blocks) for part in changes.values()) == 4
    before.write(changes)
    assert before == publishing.learner.tables
    assert publishing.store.changes(0, last.shards[0], last.shards[0]) == {}
    assert publishing.store.changes(0, last.shards[0], first.shards[0]) is None, "backwards is a load"


def test_a_manifest_is_readable_and_named_by_its_hash(publishing):
    first, second = publishing.publish(1), publishing.publish(2, 3)
    stored = publishing.store.redis.hget(publishing.store.keys.version(second.number), "manifest")
    manifest = json.loads(stored)
    assert manifest["number"] == second.number == first.number + 1
    assert manifest["parent"] == second.parent == first.id
    assert manifest["events"] == second.events == 3
    assert manifest["shards"]["0"]["offsets"] == {"clicks": 3, "purchases": 1}
    assert manifest["metrics"] == {"0": {"hr_at_10": 0.003}}
    assert manifest["settings"] == {"items": 40}
    assert manifest["created_at"] == "1970-01-12T13:46:42.000000Z"
    assert canonical_json(second.manifest) == stored


def test_a_version_is_found_by_number_alias_and_beginning_of_its_id(publishing):
    store = publishing.store
    version = publishing.publish(1)
    publishing.publish(2)
    store.move_alias("before-sale", version.number, who="ada", why="", now=1.0)
    assert store.version(version.number) == store.version(str(version.number)) == version
    assert store.version("before-sale") == version
    assert store.version(version.id) == store.version(version.id[:7]) == version
    assert store.version("latest").number == 2
    for unknown in (99, "nobody", "0123456789abcdef"):
        with pytest.raises(UnknownVersion, match=str(unknown)):
            store.version(unknown)


@pytest.mark.parametrize("name", ["latest", 1, "before-sale"])
def test_a_model_without_any_version_says_so(store, name):
    with pytest.raises(UnknownVersion, match=f"model '{store.model}' has no versions yet"):
        store.version(name)


def test_an_id_may_begin_with_digits_only(publishing):
    store = publishing.store
    version = publishing.publish(1)
    while not version.id[:7].isdecimal():
        version = publishing.publish(1)
    assert store.version(version.id[:7]) == version
    assert store.version("1").number == 1


def test_a_checkpoint_that_was_kept_is_folded_with_the_next(publishing, loaded):
    publishing.publish(1)
    publishing.learner.write(1, 2, value=4)
    kept = publishing.learner.checkpoint()
    publishing.learner.write(2, 3, value=5)
    version = publishing.publish_checkpoint(folded(kept, publishing.learner.checkpoint()))
    assert loaded(publishing.store, 0, version.shards[0]) == publishing.learner.tables
    assert publishing.store.journal(0, None, version.shards[0]).offsets[:, 0].tolist() == [1, 3, 5]


# ---- fences and parents


def test_a_second_claim_shuts_the_first_worker_out(store, another):
    zombie = another(store, worker="zombie", token="a")
    zombie.publish(1)
    owner = another(store, worker="owner", token="b")
    assert owner.claim.head == store.latest().shards[0]
    with pytest.raises(Fenced, match=r"epoch 2 by owner.*zombie\) holds epoch 1"):
        zombie.publish(2)
    assert store.latest().number == 1
    owner.publish(3)
    with pytest.raises(Fenced):
        zombie.publish(4)
    assert store.latest().events == owner.learner.offset


def test_the_same_epoch_with_another_token_is_refused(store, another):
    """A Redis that came back older may hand one epoch to two workers; the token distinguishes them."""
    first = another(store, worker="first", token="a")
    store.redis.delete(store.keys.fence(0))
    second = another(store, worker="second", token="b")
    assert first.claim.epoch == second.claim.epoch
    second.publish(1)
    with pytest.raises(Fenced, match="second"):
        first.publish(1)


def test_a_store_that_lost_the_claim_refuses(publishing):
    publishing.publish(1)
    publishing.store.redis.flushdb()
    with pytest.raises(Fenced, match="no worker"):
        publishing.publish(2)
    assert publishing.store.latest() is None


def test_a_head_that_moved_back_is_a_stale_parent(publishing):
    store = publishing.store
    first = publishing.publish(1)
    second = publishing.publish(2)
    store.redis.hset(store.keys.head(0), mapping={"seq": 1, "digest": first.shards[0].digest})
    with pytest.raises(StaleParent, match=r"is state 1 .*made upon state 2 .*claim, restore and seek"):
        publishing.publish(3)
    assert store.latest() == second


def test_two_shards_race_and_every_version_has_both(store, another):
    shards = [another(store, partition, token=str(partition)) for partition in range(2)]
    barrier = threading.Barrier(2)
    failures = []

    def publish_many(shard):
        try:
            barrier.wait()
            for number in range(40):
                shard.publish(number, value=number)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=publish_many, args=(shard,)) for shard in shards]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    versions = store.versions()
    assert [version.number for version in versions] == list(range(80, 0, -1))
    for newer, older in itertools.pairwise(versions):
        assert newer.parent == older.id
        assert sum(newer.shards[p] != older.shards.get(p) for p in newer.shards) == 1, "one shard moves at a time"
    assert {p: state.seq for p, state in versions[0].shards.items()} == {0: 40, 1: 40}
    assert versions[0].events == 80
    for shard in shards:
        state = store.state(shard.partition, versions[0].shards[shard.partition])
        assert state["counters"]["clicks"]["read"] == 40


def test_a_worker_that_knows_the_newest_version_follows_one_that_another_shard_published(store, another):
    first, second = another(store, 0, token="0"), another(store, 1, token="1")
    first.publish(1)  # of a model of one shard: nobody else will publish the next one
    second.publish(2)
    version = first.publish(3)
    assert version.parent == store.version(2).id
    assert {p: state.seq for p, state in version.shards.items()} == {0: 2, 1: 1}


def test_the_only_shard_publishes_a_small_version_in_two_round_trips(store, publishing):
    publishing.publish(1)

    def scripts_run():
        return sum(
            found["calls"]
            for command, found in store.redis.info("commandstats").items()
            if command in ("cmdstat_evalsha", "cmdstat_eval")
        )

    before = scripts_run()
    for number in range(2, 7):
        publishing.publish(number)
    assert scripts_run() - before == 5, "the newest version is asked for before the first publish only"


def test_an_unknown_format_is_refused(store, publishing):
    version = publishing.publish(1)
    store.redis.hset(store.keys.store, "format", FORMAT + 1)
    with pytest.raises(UnknownFormat, match=f"format {FORMAT + 1}; this release reads up to {FORMAT}"):
        store.claim(0, worker="w", token="x", now=1.0)
    manifest = canonical_json({**version.manifest, "format": 7})
    store.redis.hset(store.keys.version(1), "manifest", manifest)
    store.redis.hdel(store.keys.version(1), "id")
    with pytest.raises((UnknownFormat, CorruptVersion)):
        store.latest()


def test_versions_of_a_later_release_are_left_out_of_those_that_can_be_read(store, publishing):
    versions = [publishing.publish(row) for row in range(3)]
    later = canonical_json({**versions[2].manifest, "format": FORMAT + 1})
    known = {"manifest": later, "id": hashlib.sha256(later).hexdigest()}
    store.redis.hset(store.keys.version(versions[2].number), mapping=known)
    assert store.readable_versions(9) == versions[1::-1]
    assert store.readable_versions(1) == versions[1:2]
    with pytest.raises(UnknownFormat, match=f"manifest format {FORMAT + 1}"):
        store.versions()


# ---- a Redis that forgets


def test_an_older_store_starts_a_new_lineage(store, another):
    early = another(store, token="a")
    for row in range(5):
        early.publish(row)
    seen = store.latest()
    unharmed = store.claim(0, worker="w", token="b", now=1.0, known_offsets=seen.shards[0].offsets, known_number=5)
    assert not unharmed.new_lineage
    assert unharmed.lineage == seen.lineage
    behind = store.claim(0, worker="w", token="c", now=1.0, known_offsets={"clicks": 6})
    assert behind.new_lineage
    assert behind.lineage != seen.lineage


def test_numbers_rise_beyond_what_was_seen(store, another):
    early = another(store, token="a")
    early.publish(1)
    late = another(store, token="b")
    late.claim = store.claim(0, worker="w", token="c", now=1.0, known_number=70)
    version = late.publish(2)
    assert (version.number, version.lineage) == (71, late.claim.lineage)
    assert version.parent == store.version(1).id


def test_restored_from_an_older_snapshot_it_goes_on_in_a_new_lineage(own_redis, another, loaded, tmp_path):
    store = VersionStore.connect(own_redis.url, "shop")
    worker = another(store, token="a")
    old = worker.publish(1, 2)
    store.redis.save()
    lost = worker.publish(3, value=8)
    own_redis.kill()
    own_redis.start()

    with pytest.raises(StaleParent, match="other data"):
        worker.publish(4)
    assert store.latest() == old
    claim = store.claim(
        0, worker="ada", token="b", now=2.0, known_offsets=lost.shards[0].offsets, known_number=lost.number
    )
    assert claim.new_lineage
    assert claim.head == old.shards[0]
    again = another(store, token="c")
    again.learner.tables = loaded(store, 0, claim.head)
    again.learner.offset = claim.head.offsets["clicks"]
    again.claim = store.claim(0, worker="ada", token="d", now=2.0, known_number=lost.number)
    version = again.publish(9)
    assert version.number > lost.number
    assert version.lineage != lost.lineage
    assert store.changes(0, lost.shards[0], version.shards[0]) is None, "what was lost leads nowhere"
    assert version.shards[0].seq == lost.shards[0].seq, "the same number, told apart by its digest"
    with pytest.raises(UnknownVersion):
        loaded(store, 0, lost.shards[0])
    store.close()


# ---- damage


def test_a_changed_chunk_is_found(publishing, loaded):
    store = publishing.store
    version = publishing.publish(1, 2, 3)
    record = store.chain(0, version.shards[0], "keyframe")[0]
    key = store.keys.chunk(record.keyframe[0].name)
    encoded = bytearray(store.redis.get(key))
    encoded[-1] ^= 1
    store.redis.set(key, bytes(encoded))
    with pytest.raises(CorruptVersion, match="checksum"):
        loaded(store, 0, version.shards[0])


def test_a_lost_chunk_is_found(publishing, loaded):
    store = publishing.store
    version = publishing.publish(1, 2, 3)
    record = store.chain(0, version.shards[0], "keyframe")[0]
    store.redis.delete(store.keys.chunk(record.keyframe[0].name))
    with pytest.raises(CorruptVersion, match="lost data"):
        loaded(store, 0, version.shards[0])


def test_a_changed_manifest_is_found(publishing):
    version = publishing.publish(1)
    key = publishing.store.keys.version(version.number)
    publishing.store.redis.hset(key, "manifest", canonical_json({**version.manifest, "events": 9}))
    with pytest.raises(CorruptVersion, match="it was changed"):
        publishing.store.latest()


def test_a_lost_record_is_found(publishing, loaded):
    store = publishing.store
    first, second = publishing.publish(1), publishing.publish(2)
    store.redis.delete(store.keys.state(0, first.shards[0].seq))
    with pytest.raises(CorruptVersion, match="missing"):
        loaded(store, 0, second.shards[0])
    with pytest.raises(UnknownVersion):
        loaded(store, 0, first.shards[0])


# ---- aliases


def test_served_is_the_pinned_version_or_the_newest(publishing):
    store = publishing.store
    first = publishing.publish(1)
    store.move_alias("pinned", first.number, who="ada", why="bad list", now=5.0)
    second = publishing.publish(2)
    assert store.served() == first
    assert store.latest() == second
    store.move_alias("pinned", None, who="bob", why='fixed "it"', now=6.0)
    assert store.served() == second
    assert [msgspec.structs.astuple(move) for move in store.history()] == [
        ("pinned", 1, None, "bob", 'fixed "it"', 6.0),
        ("pinned", None, 1, "ada", "bad list", 5.0),
    ]
    assert store.aliases() == {"latest": 2}


@pytest.mark.parametrize("name", ["latest", "12", "", "deadbeef", "a b", "x" * 65, "-x", "a/b"])
def test_a_name_that_could_be_something_else_is_refused(publishing, name):
    publishing.publish(1)
    with pytest.raises(WrongAlias):
        publishing.store.move_alias(name, 1, who="ada", why="", now=1.0)
    assert publishing.store.history() == []


def test_an_alias_points_to_what_exists(publishing):
    publishing.publish(1)
    with pytest.raises(UnknownVersion, match="version 9"):
        publishing.store.move_alias("canary", 9, who="ada", why="", now=1.0)
    assert publishing.store.history() == []


# ---- announcements


def test_publishes_and_alias_moves_are_announced(publishing):
    store = publishing.store
    hints = store.announcements(wait_seconds=5.0)
    listener = threading.Thread(target=lambda: heard.extend(next(hint for hint in hints if hint) for _ in range(2)))
    heard = []
    listener.start()
    while not store.redis.pubsub_numsub(store.keys.announcements)[0][1]:
        pass
    version = publishing.publish(1)
    store.move_alias("pinned", version.number, who="ada", why="", now=1.0, origin="a server")
    listener.join()
    hints.close()
    assert heard == [Announcement(1, partition=0), Announcement(1, alias="pinned", origin="a server")]


def test_silence_is_a_none(store):
    hints = store.announcements(wait_seconds=0.001)
    assert next(hints) is None
    hints.close()


def test_settings_of_redis_that_would_lose_versions_are_reported(own_redis):
    store = VersionStore.connect(own_redis.url, "shop")
    assert [problem.split(":")[0] for problem in store.redis_problems()] == ["nothing on disk"]
    store.redis.config_set("appendonly", "yes")
    assert store.redis_problems() == []
    store.redis.config_set("maxmemory-policy", "allkeys-lru")
    assert [problem.split(":")[0] for problem in store.redis_problems()] == ["maxmemory-policy allkeys-lru"]
    store.close()


# ---- sizes


def test_large_tables_are_split_into_chunks_that_each_fit(store, monkeypatch, publishing, loaded):
    from stream.versions.storage import chunks

    monkeypatch.setattr(chunks.split, "__defaults__", (256,))
    version = publishing.publish(*range(200))
    record = store.chain(0, version.shards[0], "keyframe")[0]
    assert len(record.keyframe) > 10
    assert loaded(store, 0, version.shards[0]) == publishing.learner.tables


@pytest.mark.parametrize("limit", [0, 700, 128 * 1024], ids=["alone", "some together", "all together"])
def test_chunks_that_share_round_trips_are_those_that_were_given(store, monkeypatch, limit):
    from stream.versions.storage import chunks

    monkeypatch.setattr(chunks, "TOGETHER_BYTES", limit)
    contents = [(bytes([number]) * (100 + 40 * number), "plain") for number in range(12)]
    refs = chunks.write_chunks(store.redis, store.keys, contents)
    assert [(ref.bytes, ref.codec) for ref in refs] == [(len(encoded), codec) for encoded, codec in contents]
    assert [encoded for _, encoded in chunks.fetch_chunks(store.redis, store.keys, refs)] == [e for e, _ in contents]
    assert all(0 < store.redis.ttl(store.keys.chunk(ref.name)) <= chunks.UNREFERENCED_SECONDS for ref in refs)


def test_nothing_that_is_visible_expires(publishing):
    store = publishing.store
    publishing.publish(1)
    publishing.publish(2)
    chunks = list(store.redis.scan_iter(store.keys.chunk("*")))
    assert len(chunks) == 4
    assert {store.redis.ttl(chunk) for chunk in chunks} == {-1}


def test_states_are_values(publishing):
    version = publishing.publish(1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        version.number = 9  # type: ignore[misc]
    assert np.isfinite(version.created_at)
