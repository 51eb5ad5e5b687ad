"""Every kept version gives back exact bytes, in whatever way history is thinned and folded."""

from __future__ import annotations

import itertools
import sys
import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream.state.checkpoint import Checkpoint
from stream.state.table_writer import TableWriter
from stream.state.tables import Tables, TableSpec
from stream.versions import JournalGone, Policy, UnknownVersion, VersionStore, compaction, reading
from stream.versions.compaction import compact
from stream.versions.retention import Listed, kept
from stream.versions.storage import chunks

NOTHING_BUT_THE_LAST_TWO = Policy(keep_last=2, keep_minutes=0, keep_hours=0, keep_days=0)


@pytest.fixture
def small_chains(monkeypatch):
    """Keyframes and folds after a few hundred bytes instead of megabytes."""
    monkeypatch.setattr(compaction, "CHAIN_BYTES", 3000)
    monkeypatch.setattr(compaction, "CHAIN_KEYFRAMES", 1.0)
    monkeypatch.setattr(compaction, "FOLD_RUN", 3)
    monkeypatch.setattr(chunks, "ALONE_BYTES", 300)


def states_kept(store: VersionStore, partition: int = 0) -> list[int]:
    return sorted(int(seq) for seq in store.redis.zrange(store.keys.states(partition), 0, -1))


def chunks_that_stay(store: VersionStore) -> set[str]:
    prefix = len(store.keys.chunk(""))
    return {key.decode()[prefix:] for key in store.redis.scan_iter(store.keys.chunk("*")) if store.redis.ttl(key) == -1}


def chunks_referred_to(store: VersionStore, partitions: int = 1) -> set[str]:
    names: set[str] = set()
    for partition in range(partitions):
        states = compaction._ShardStates(store, partition, Policy())
        names |= {name for record in states.records.values() for name in record.chunks if name}
    return names


@pytest.mark.usefixtures("small_chains")
def test_thinned_states_are_folded_and_dropped(publishing, loaded):
    store = publishing.store
    copies = {}
    for number in range(1, 61):
        version = publishing.publish(number % 7, number, value=number)
        copies[version.number] = publishing.learner.copy()
    done = compact(store, 0, NOTHING_BUT_THE_LAST_TWO, publishing.now)
    assert done.versions_dropped == 58
    assert done.states_dropped >= 50
    assert [version.number for version in store.versions()] == [60, 59]
    for version in store.versions():
        assert loaded(store, 0, version.shards[0]) == copies[version.number]
    newer, older = store.versions()
    older_tables = copies[older.number]
    older_tables.write(store.changes(0, older.shards[0], newer.shards[0]))
    assert older_tables == copies[newer.number]
    with pytest.raises(UnknownVersion):
        store.version(3)


@pytest.mark.usefixtures("small_chains")
def test_a_minute_that_is_over_is_one_packed_delta_and_what_is_fresh_is_not_packed(publishing, loaded):
    store = publishing.store
    publishing.now = 1_000_020.0 - 1  # a minute begins with the first version
    for number in range(130):
        publishing.publish(*range(number, number + 20), value=1)
        if number % 10 == 9:
            compact(store, 0, Policy(keep_last=2, keep_minutes=10, keep_hours=0, keep_days=0), publishing.now)
    assert [version.number for version in store.versions()] == [130, 129, 120, 60]
    chain = store.chain(0, store.version(130).shards[0], store.version(60).shards[0].digest)
    minute = next(record for record in chain if record.seq == 120)
    assert minute.parent == 60
    assert "safetensors+zstd" in {ref.codec for ref in minute.delta}
    assert {ref.codec for ref in chain[0].delta} == {"safetensors"}
    assert loaded(store, 0, store.latest().shards[0]) == publishing.learner.tables


@pytest.mark.usefixtures("small_chains")
def test_the_journal_survives_folding(publishing):
    store = publishing.store
    for number in range(1, 41):
        publishing.publish(number)
    before = store.journal(0, None, store.latest().shards[0])
    compact(store, 0, NOTHING_BUT_THE_LAST_TWO, publishing.now)
    newer, older = store.versions()
    assert store.journal(0, None, newer.shards[0]) == before
    assert before.offsets[:, 0].tolist() == list(range(1, 41))
    assert store.journal(0, older.shards[0], newer.shards[0]).offsets.tolist() == [[40, 20]]
    with pytest.raises(JournalGone, match="not built upon"):
        store.journal(0, newer.shards[0], older.shards[0])


@pytest.mark.usefixtures("small_chains")
def test_batches_before_the_oldest_state_go_when_they_are_many(publishing, monkeypatch):
    monkeypatch.setattr(compaction, "ROOT_JOURNAL_BYTES", 10)
    store = publishing.store
    for _ in range(2):
        for number in range(1, 41):
            publishing.publish(number, number + 1, number + 2)
        compact(store, 0, NOTHING_BUT_THE_LAST_TWO, publishing.now)
    newer, older = store.versions()
    with pytest.raises(JournalGone, match="no longer kept"):
        store.journal(0, None, newer.shards[0])
    assert store.journal(0, older.shards[0], newer.shards[0]).batches == 1


@pytest.mark.usefixtures("small_chains")
def test_what_an_alias_names_stays(publishing, loaded):
    store = publishing.store
    copies = {}
    for number in range(1, 41):
        version = publishing.publish(number, value=number)
        copies[version.number] = publishing.learner.copy()
        if number in (5, 17):
            store.move_alias(f"kept-{number}", number, who="ada", why="", now=1.0)
        compact(store, 0, NOTHING_BUT_THE_LAST_TWO, publishing.now)
    assert [version.number for version in store.versions()] == [40, 39, 17, 5]
    for version in store.versions():
        assert loaded(store, 0, version.shards[0]) == copies[version.number]
    store.move_alias("kept-5", None, who="ada", why="", now=2.0)
    compact(store, 0, NOTHING_BUT_THE_LAST_TWO, publishing.now)
    assert [version.number for version in store.versions()] == [40, 39, 17]


@pytest.mark.usefixtures("small_chains")
@pytest.mark.parametrize(("pack_bytes", "codec"), [(0, "safetensors"), (8 * 1024 * 1024, "safetensors+zstd")])
def test_a_long_chain_gets_a_keyframe(publishing, loaded, monkeypatch, pack_bytes, codec):
    monkeypatch.setattr(compaction, "KEYFRAME_PACK_BYTES", pack_bytes)
    store = publishing.store
    for number in range(200):
        publishing.publish(*range(number, number + 20), value=number)
    assert len(store.chain(0, store.latest().shards[0], "keyframe")) == 200
    done = compact(store, 0, Policy(), publishing.now)
    assert done.keyframes >= 1
    chain = store.chain(0, store.latest().shards[0], "keyframe")
    assert [{ref.codec for ref in record.keyframe} for record in chain] == [{codec}]
    assert loaded(store, 0, store.latest().shards[0]) == publishing.learner.tables
    publishing.publish(3, value=7)
    assert loaded(store, 0, store.latest().shards[0]) == publishing.learner.tables


@pytest.mark.usefixtures("small_chains")
def test_replaced_chunks_outlive_a_reader_on_its_way(publishing, rebuilt):
    """A reader that has read a state's old record still gets its bytes."""
    store = publishing.store
    for number in range(1, 41):
        version = publishing.publish(number, value=number)
    chain = store.chain(0, version.shards[0], "keyframe")
    compact(store, 0, NOTHING_BUT_THE_LAST_TWO, publishing.now)
    refs = [*chain[-1].keyframe, *(ref for record in reversed(chain[:-1]) for ref in record.delta)]
    assert rebuilt(store.read_tables(refs)) == publishing.learner.tables


@pytest.mark.usefixtures("small_chains")
@pytest.mark.parametrize("read_before", [1, 7])
def test_a_reader_whose_chunks_have_gone_reads_the_record_again(publishing, monkeypatch, read_before):
    store = publishing.store
    for number in range(1, 41):
        version = publishing.publish(number, value=number)
    monkeypatch.setattr(reading, "_CHUNKS_A_FETCH", 1)
    tables = Tables([table.spec for table in publishing.learner.tables.values()])

    class ThatGoWhenSomeWereRead(TableWriter):
        pieces = 0

        def put(self, age, piece):
            super().put(age, piece)
            self.pieces += 1
            if self.pieces == read_before:
                compact(store, 0, NOTHING_BUT_THE_LAST_TWO, publishing.now)
                gone = [key for key in store.redis.scan_iter(store.keys.chunk("*")) if store.redis.ttl(key) > 0]
                assert gone
                store.redis.delete(*gone)

    filling = ThatGoWhenSomeWereRead(tables)
    store.load(0, version.shards[0], filling)
    assert filling.pieces > read_before
    assert tables == publishing.learner.tables


@pytest.mark.usefixtures("small_chains")
def test_readers_a_publisher_and_two_compactions_at_once(new_store, another, loaded):
    """They run without locks, and every state that is read is exact."""
    store = new_store()
    publishing = another(store)
    copies = {}
    done = threading.Event()
    failures: list[BaseException] = []

    def guarded(step):
        def run():
            try:
                while not done.is_set():
                    step()
            except BaseException as error:
                failures.append(error)

        return threading.Thread(target=run)

    def read():
        versions = store.versions()
        for version in versions[:3] + versions[-3:]:
            try:
                tables = loaded(store, 0, version.shards[0])
            except UnknownVersion:
                continue  # thinned out between the listing and the loading
            assert tables == copies[version.shards[0].digest]

    def keep_small():
        compact(store, 0, Policy(keep_last=4, keep_minutes=1, keep_hours=0, keep_days=0), publishing.now)

    publishing.learner.write(1)
    threads = [guarded(read), guarded(read), guarded(keep_small), guarded(keep_small)]

    def publish(number):
        publishing.learner.write(number, number * 3, value=number)
        checkpoint = publishing.learner.checkpoint()
        publishing.now += 1.0
        publishing.publish_checkpoint(checkpoint)

    original = store.publisher.run_publish  # a reader may see a version before its publisher has the answer

    def file_copy_first(request, *chunks):
        copies[request.digest] = publishing.learner.copy()
        return original(request, *chunks)

    store.publisher.run_publish = file_copy_first
    publish(1)
    for thread in threads:
        thread.start()
    for number in range(2, 150):
        publish(number)
    done.set()
    for thread in threads:
        thread.join()
    assert failures == []
    compact(store, 0, NOTHING_BUT_THE_LAST_TWO, publishing.now)
    assert chunks_that_stay(store) == chunks_referred_to(store)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.integers(0, 1), st.lists(st.integers(0, 199), max_size=6), st.integers(0, 90)),
        st.tuples(st.just("publish"), st.integers(0, 1), st.lists(st.integers(0, 199), max_size=6), st.integers(0, 2)),
        st.tuples(st.just("alias"), st.sampled_from(["pinned", "canary", "sale"]), st.integers(0, 1 << 16)),
        st.tuples(st.just("unalias"), st.sampled_from(["pinned", "canary", "sale"])),
        st.tuples(
            st.just("compact"),
            st.integers(0, 1),
            st.integers(1, 4),
            st.integers(0, 3),
            st.integers(0, 2),
            st.integers(0, 1),
        ),
        st.tuples(st.just("claim"), st.integers(0, 1)),
    ),
    max_size=60,
)


@pytest.mark.unmeasured
@pytest.mark.usefixtures("small_chains")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_any_history_keeps_exact_bytes(new_store, another, rebuilt, loaded, steps):
    """Two shards, random writes, times, aliases, claims and retention: everything that is kept is what it was."""
    store = new_store()
    shards = [another(store, partition, token=f"{partition}") for partition in range(2)]
    tokens = itertools.count()
    now = 1_000_000.0
    tables, versions, named = {}, {}, {}
    for step in steps:
        match step:
            case ("publish", partition, rows, seconds):
                now += seconds
                shard = shards[partition]
                shard.now = now
                version = shard.publish(*rows, value=len(versions) + 1, after_seconds=0)
                tables[version.shards[partition].digest] = shard.learner.copy()
                versions[version.number] = version
            case ("alias", name, which) if versions:
                number = sorted(versions)[which % len(versions)]
                if number in {version.number for version in store.versions()}:
                    store.move_alias(name, number, who="ada", why="", now=now)
                    named[name] = number
            case ("unalias", name):
                store.move_alias(name, None, who="ada", why="", now=now)
                named.pop(name, None)
            case ("compact", partition, last, minutes, hours, days):
                before = {version.number: version.created_at for version in store.versions()}
                policy = Policy(last, minutes, hours, days)
                compact(store, partition, policy, now)
                expected = kept([Listed(*each) for each in before.items()], policy, now, set(named.values()))
                latest = {max(before)} if before else set()
                assert {version.number for version in store.versions()} == expected | latest
            case ("claim", partition):
                shards[partition].claim = store.claim(partition, worker="bob", token=f"again-{next(tokens)}", now=now)

    listed = store.versions()
    assert set(named.values()) <= {version.number for version in listed}
    for version in listed:
        assert version == versions[version.number]
        for partition, state in version.shards.items():
            assert loaded(store, partition, state) == tables[state.digest]
    for newer, older in itertools.pairwise(listed):
        for partition, state in older.shards.items():
            changes = store.changes(partition, state, newer.shards[partition])
            assert changes is not None, "whatever is kept is connected"
            assert rebuilt(tables[state.digest].snapshot(), changes) == tables[newer.shards[partition].digest]
            journal = store.journal(partition, state, newer.shards[partition])
            if journal.batches:
                assert np.all(journal.offsets[:, 0] >= state.offsets["clicks"])
                assert journal.offsets[-1, 0] == newer.shards[partition].offsets["clicks"]
    for partition, shard in enumerate(shards):
        if shard.claim.head is not None:
            reached = store.journal(partition, None, shard.claim.head)
            assert reached.batches == shard.claim.head.seq, "one batch a publish, none lost and none twice"
    assert chunks_that_stay(store) == chunks_referred_to(store, partitions=2)


@pytest.mark.unmeasured
def test_fifty_versions_a_minute_apart_cost_less_than_two_keyframes_more(store, another, capsys):
    """20,000 rows of 256 bytes; each minute a fiftieth of them is written, in sixty publishes."""
    specs = [TableSpec("pairs", 20_000, np.dtype([("other", "<u4", (32,)), ("count", "<f4", (32,))]), 32)]
    tables, random = Tables(specs), np.random.default_rng(0)
    publishing = another(store)

    def write(rows):
        slots = random.integers(0, 32, len(rows))
        tables["pairs"].data["other"][rows, slots] = random.integers(0, 20_000, len(rows))
        tables["pairs"].data["count"][rows, slots] += 1
        tables["pairs"].dirty[rows * 8 + slots // 8] = 1
        tables["pairs"].dirty[rows * 8 + 4 + slots // 8] = 1
        publishing.publish_checkpoint(Checkpoint(tables.checkpoint(), {"offsets": {}}))

    tables["pairs"].data["other"] = random.integers(1, 20_000, (20_000, 32))
    tables["pairs"].mark_rows(range(20_000))
    publishing.now = 1_000_020.0 - 1
    publishing.publish_checkpoint(Checkpoint(tables.checkpoint(), {"offsets": {}}))
    policy = Policy(keep_last=8, keep_minutes=50, keep_hours=0, keep_days=0)
    for second in range(50 * 60):
        publishing.now = 1_000_020.0 + second
        write(random.choice(20_000, 7, replace=False))
        if second % 20 == 19:
            compact(store, 0, policy, publishing.now)
    kept_versions = store.versions()
    assert len(kept_versions) >= 50 + 7
    keyframe = tables["pairs"].data.nbytes
    history = sum(store.redis.memory_usage(store.keys.chunk(name)) for name in chunks_that_stay(store))
    with capsys.disabled():
        sys.stdout.write(f"\n{len(kept_versions)} versions over 50 minutes: {history / keyframe:.2f} keyframes\n")
    assert history <= 3 * keyframe
    restored = Tables(specs)
    store.load(0, store.latest().shards[0], TableWriter(restored))
    assert restored == tables
