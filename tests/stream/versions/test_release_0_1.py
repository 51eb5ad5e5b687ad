"""Versions that release 0.1 published load, go on, and no longer show the salt that their manifests carry."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from stream.ingest.records import Record
from stream.models.kernels.hashing import salt_key
from stream.models.kernels.ordinals import whole_column
from stream.models.merging.merge import merged
from stream.models.model import Model
from stream.models.query import Query
from stream.models.schema import KEPT_NUMBERED, KEPT_VISITORS, SESSION_KEYS, SESSIONS_BEGUN, table_specs
from stream.models.settings import ModelSettings
from stream.models.state_names import RELEASE_0_1
from stream.models.workspace.scoring_view import views_of
from stream.shard.shard import STATE_FORMAT, Shard
from stream.state.table_writer import TableWriter
from stream.state.tables import Tables
from stream.versions import Policy, VersionStore, WrongSalt, compaction, redacted, settings_of
from stream.versions.cli import app
from stream.versions.compaction import compact
from stream.versions.manifest import FORMAT
from stream.versions.resharding.merge_shards import merge_shards
from stream.versions.salt import salt_digest
from tests.stream.versions.redis_bytes import every_byte
from tests.stream.versions.release_0_1 import (
    AFTER_DISLIKES,
    FILE,
    MODEL,
    Refused,
    checksums,
    claim_as_release_0_1,
    fixture,
    read_as_release_0_1,
    restore,
)

SALT = fixture()["salt"]


@pytest.fixture
def store(shared_redis):
    store = VersionStore.connect(shared_redis.url, MODEL)
    store.redis.flushdb()
    restore(store.redis)
    yield store
    store.redis.flushdb()
    store.close()


def settings_today() -> ModelSettings:
    return ModelSettings(max_items=80, max_visitors=96, max_sessions=96, max_event_ids=256, visitor_salt=SALT)


def load(store, partition, state):
    tables = Tables(table_specs(settings_today()))
    return tables, store.load(partition, state, TableWriter(tables))


def restored(store, partition, claim) -> Shard:
    tables, state = load(store, partition, claim.head)
    return Shard.restore(settings_today(), tables, state, partition=partition, shards=2)


def publish(store, claim, checkpoint, now):
    settings = settings_today().model_dump(mode="json")
    return store.publish(claim, checkpoint, settings=settings, code_version="today", now=now)


def later_records(partition):
    return [Record(topic, offset, ms, value.encode()) for topic, offset, ms, value in fixture()["later"][partition]]


def test_the_fixture_is_small_and_has_every_kind_of_record(store):
    assert FILE.stat().st_size < 300_000
    assert {stored["type"] for stored in fixture()["redis"].values()} == {"hash", "zset", "list", "string"}
    newest, oldest = store.versions()[0], store.versions()[-1]
    records = store.chain(0, newest.shards[0], oldest.shards[0].digest)
    assert {ref.codec for record in records for ref in record.delta} == {"safetensors", "safetensors+zstd"}
    assert any(record.keyframe for record in records)
    assert any(record.revision for record in compaction._ShardStates(store, 0, Policy()).records.values())


def test_manifests_ids_aliases_and_history_are_what_they_were(store):
    """A manifest that is read has been hashed and compared with its id."""
    found = store.versions()
    assert [{"id": version.id, "manifest": version.manifest} for version in found] == fixture()["versions"]
    assert store.aliases() == fixture()["aliases"] == {"latest": 28, "pinned": 7}
    moves = [[move.name, move.came_from, move.to, move.who, move.why, move.at] for move in store.history()]
    assert moves == fixture()["history"]
    assert store.served() == store.version("pinned") == store.version(found[-1].id[:9])


def test_every_state_loads_to_the_exact_tables(store):
    states = {
        (partition, state.digest): state for version in store.versions() for partition, state in version.shards.items()
    }
    assert len(states) == len(fixture()["tables"]) > 8
    for (partition, digest), state in states.items():
        tables, readable = load(store, partition, state)
        assert checksums(tables) == fixture()["tables"][f"{partition}/{digest}"]
        assert readable == store.state(partition, state) == fixture()["states"][f"{partition}/{digest}"]


def test_changes_and_journals_lead_from_the_oldest_version_to_the_newest(store):
    newest, oldest = store.versions()[0], store.versions()[-1]
    for partition in range(2):
        tables, _ = load(store, partition, oldest.shards[partition])
        tables.write(store.changes(partition, oldest.shards[partition], newest.shards[partition]))
        assert checksums(tables) == fixture()["tables"][f"{partition}/{newest.shards[partition].digest}"]
        journal = store.journal(partition, oldest.shards[partition], newest.shards[partition])
        assert journal.offsets.tolist() == fixture()["journals"][str(partition)]


def test_lists_are_what_they_were(store):
    newest = store.latest()
    shards = {p: views_of(load(store, p, state)[0]) for p, state in newest.shards.items()}
    whole = {
        name: (t.data, np.arange(t.spec.rows, dtype=np.int32)) for name, t in merged(settings_today(), shards).items()
    }
    for name, views in {"0": shards[0], "1": shards[1], "merged": whole}.items():
        model = Model(settings_today(), views)
        lists = [model.recommend(Query(**query)) for query in fixture()["queries"]]
        assert [[found.items, found.scores, found.fallback] for found in lists] == fixture()["lists"][name]


def test_its_settings_are_todays_under_new_names(store):
    for version in store.versions():
        assert version.settings == fixture()["settings"]
        assert settings_of(version.settings, "a server's own salt") == settings_today()


def test_a_worker_claims_restores_and_goes_on_bit_for_bit(store, monkeypatch):
    """But for the keys of sessions: `tests/stream/shard/test_values.py` has what becomes of them."""
    monkeypatch.setattr("stream.ingest.id_keys.session_salt", salt_key)
    old = store.latest()
    pinned = store.version("pinned")
    learned = {}
    for partition in range(2):
        claim = store.claim(
            partition,
            worker="today",
            token=f"new {partition}",
            now=1_700_001_000.0,
            visitor_salt=SALT,
            known_offsets=old.shards[partition].offsets,
            known_number=old.number,
        )
        assert claim.head == old.shards[partition]
        assert not claim.new_lineage
        shard = restored(store, partition, claim)
        assert shard.apply(later_records(partition), rate=0.5) == []
        assert shard.tables["scalars"].data[0, SESSION_KEYS] == 1
        shard.tables["scalars"].data[0, [SESSION_KEYS, KEPT_VISITORS, KEPT_NUMBERED]] = 0
        later, expected = checksums(shard.tables), fixture()["later_tables"][partition]
        learned[partition] = later
        disliked = any(b"dislike" in record.value for record in later_records(partition))
        assert disliked == (partition == 1)
        assert {name for name in expected if later[name] != expected[name]} == (AFTER_DISLIKES if disliked else set())
        assert shard.ahead == {"clicks": 0, "purchases": 0, "feedback": 0}
        version = publish(store, claim, shard.checkpoint(), now=1_700_001_000.0 + partition)
    assert (version.number, version.events) == (old.number + 2, old.events + 80)
    assert version.settings["visitor_salt_digest"] == salt_digest(SALT)
    assert settings_of(version.settings, SALT) == settings_today()
    changed = {each["name"].partition(".")[0] for each in store.diff(old.number, version.number)["settings"]}
    assert changed == {
        *("consent_default", "null_ids", "quantity_exponent", "rating_scale", "max_kept_visitors", "max_kept_items")
    }, "old names and an old salt are no difference; these are new settings"
    for partition in range(2):
        compact(store, partition, Policy(keep_last=2, keep_minutes=0, keep_hours=0, keep_days=0), 1_700_001_010.0)
    assert [version.number for version in store.versions()] == [30, 29, 7]
    for partition, state in pinned.shards.items():
        assert checksums(load(store, partition, state)[0]) == fixture()["tables"][f"{partition}/{state.digest}"]
    for partition, state in store.latest().shards.items():
        assert checksums(load(store, partition, state)[0]) == learned[partition]


def test_its_stream_clock_begins_at_its_latest_event_and_one_record_does_not_move_it(store):
    claim = store.claim(0, worker="today", token="t", now=1.0, visitor_salt=SALT)
    shard = restored(store, 0, claim)
    latest = shard.clock
    assert shard.tables["clock"].data["seconds"] == [0.0], "a table that the release did not write"
    ahead = Record("clicks", shard.offsets["clicks"], int((latest + 3e8) * 1000), b'{"item": "a", "user": "wrong"}')
    shard.apply([ahead], rate=0.0)
    assert shard.tables["clock"].data["seconds"] == [latest]
    assert (shard.clock, shard.ahead["clicks"]) == (latest, 1)


def test_a_worker_with_another_salt_is_refused_before_it_takes_the_shard(store):
    fence = store.redis.hgetall(store.keys.fence(0))
    with pytest.raises(WrongSalt, match="Set CORRENTE_MODEL__VISITOR_SALT to the salt of the model's workers"):
        store.claim(0, worker="w", token="t", now=1.0, visitor_salt="another salt, long enough")
    assert store.redis.hgetall(store.keys.fence(0)) == fence


def test_the_salt_leaves_redis_with_the_last_manifest_that_carries_it(store):
    """Retention drops those manifests as any others; an alias keeps one for as long as it names it."""
    claim = store.claim(0, worker="today", token="t", now=1.0, visitor_salt=SALT)
    shard = restored(store, 0, claim)
    for number in range(3):
        publish(store, claim, shard.checkpoint(), now=1_700_001_000.0 + number)
    policy = Policy(keep_last=2, keep_minutes=0, keep_hours=0, keep_days=0)
    compact(store, 0, policy, 1_700_001_010.0)
    carrying = [value for value in every_byte(store.redis) if SALT.encode() in value]
    assert [msgspec.json.decode(manifest)["number"] for manifest in carrying] == [7], "the pinned one alone"
    store.move_alias("pinned", None, who="ada", why="", now=1_700_001_011.0)
    compact(store, 0, policy, 1_700_001_012.0)
    assert [value for value in every_byte(store.redis) if SALT.encode() in value] == []


def test_no_command_prints_its_salt(store, shared_redis, monkeypatch):
    monkeypatch.setenv("CORRENTE_REDIS", shared_redis.url)
    printed = ""
    for command in (
        *("show pinned", "show pinned --json", "list", "list --json", "history --json"),
        *("diff pinned", "diff pinned latest --json"),
    ):
        printed += CliRunner().invoke(app, command.split(), catch_exceptions=False).output
    assert salt_digest(SALT) in printed
    assert SALT not in printed
    assert SALT not in json.dumps(redacted(store.latest().manifest))
    assert SALT not in repr(store.latest())


def test_a_worker_of_today_raises_the_format_so_that_older_ones_are_refused(store):
    assert store.redis.hget(store.keys.store, "format") == b"1"
    assert store.latest().format == 1
    claim = store.claim(0, worker="today", token="a", now=1.0, visitor_salt=SALT)
    assert store.redis.hget(store.keys.store, "format") == str(FORMAT).encode()
    shard = restored(store, 0, claim)
    assert publish(store, claim, shard.checkpoint(), now=2.0).format == FORMAT
    assert store.state(0, store.latest().shards[0])["format"] == STATE_FORMAT


def test_release_0_1_refuses_the_store_and_every_version_of_today(store):
    """Its worker and its server, with words that name the format. Until then it reads what it wrote."""
    claim_as_release_0_1(store)
    manifest = store.redis.hget(store.keys.version(store.latest().number), "manifest")
    assert read_as_release_0_1(manifest)["number"] == 28
    claim = store.claim(0, worker="today", token="a", now=1.0, visitor_salt=SALT)
    with pytest.raises(Refused, match="'default' in Redis has format 2; this release reads and writes 1"):
        claim_as_release_0_1(store)
    version = publish(store, claim, restored(store, 0, claim).checkpoint(), now=2.0)
    manifest = store.redis.hget(store.keys.version(version.number), "manifest")
    with pytest.raises(Refused, match="version 29 has manifest format 2; this release reads 1"):
        read_as_release_0_1(manifest)


def test_its_states_have_the_names_of_that_release(store):
    """The readable states were written by the release: their signals of drift are by name of the ranking."""
    state = store.latest().shards[0]
    assert store.names(0, state) == RELEASE_0_1
    readable = store.state(0, state)
    assert "names" not in readable
    assert sorted(readable["drift"]) == sorted(RELEASE_0_1["rankings"])
    assert sorted(readable["metrics"]["sources"]) == sorted(RELEASE_0_1["sources"])


def test_numbers_of_the_release_are_read_as_they_are(store):
    """Its rows have 32 bits for them; the 16 bits above are zeros in the same blocks."""
    tables, _ = load(store, 0, store.latest().shards[0])
    begun = int(tables["scalars"].data[0, SESSIONS_BEGUN])
    ordinals = whole_column(tables["sessions"].data, "ordinal")
    assert 0 < ordinals.max() <= begun < 2**32
    for name, column in (("items", "posted"), ("visitors", "session_ordinal"), ("sessions", "ordinal")):
        assert not tables[name].data[f"{column}_high"].any()
        assert whole_column(tables[name].data, column).any()


def test_its_shards_are_merged_answer_as_before_and_go_on_with_every_event_once(store):
    old = store.latest()
    done = merge_shards(store, 1, visitor_salt=SALT, worker="w", code_version="today", now=lambda: 1_700_001_000.0)
    assert (done.shards_before, done.after.events, list(done.after.shards)) == (2, old.events, [0])
    claim = store.claim(0, worker="today", token="t", now=1_700_001_001.0, visitor_salt=SALT, shards=1)
    tables, state = load(store, 0, claim.head)
    shard = Shard.restore(settings_today(), tables, state, partition=0, shards=1)
    for query, (items, scores, fallback) in zip(fixture()["queries"], fixture()["lists"]["merged"], strict=True):
        found = shard.model().recommend(Query(**query))
        assert found.fallback == fallback
        assert len(set(found.items) & set(items)) >= len(items) - 1, "the last place may go to another of its score"
        assert found.scores == pytest.approx(scores, rel=0.02, abs=0.02)
    second = [record._replace(origin=f"{record.origin}/1") for record in later_records(1)]
    assert shard.apply([*later_records(0), *second], rate=0.5) == []
    version = publish(store, claim, shard.checkpoint(), now=1_700_001_002.0)
    assert (version.number, version.events) == (old.number + 2, old.events + 80)
    assert store.version("pinned").shards.keys() == {0, 1}
