"""Merging the shards of a model in Redis: at once or not at all, with workers fenced, and nothing counted twice."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import redis
from typer.testing import CliRunner

from stream.ingest.records import Record
from stream.models.schema import table_specs
from stream.models.settings import ModelSettings
from stream.shard.shard import Shard
from stream.state.table_writer import TableWriter
from stream.state.tables import Tables
from stream.versions import (
    Claim,
    Fenced,
    JournalGone,
    Policy,
    ShardsMerging,
    UnknownVersion,
    Version,
    VersionStore,
    WrongSalt,
    WrongShardCount,
)
from stream.versions.cli import app
from stream.versions.compaction import compact
from stream.versions.resharding import merge_shards as steps
from stream.versions.resharding.merge_shards import Merged, merge_shards
from stream.versions.resharding.model_claim import ModelClaim, claim_model

SETTINGS = ModelSettings(
    max_items=64, max_visitors=64, max_sessions=64, max_event_ids=64, visitor_salt="a salt of tests"
)
START = 1_700_000_000
SHARDS = 4


class Learning:
    """A shard with its claim, learning clicks and publishing them."""

    def __init__(self, store: VersionStore, shard: int, shards: int = SHARDS, *, stated: int | None = None) -> None:
        self.store = store
        self.claim: Claim = store.claim(shard, worker=f"worker {shard}", token=f"t{shard}", now=START, shards=stated)
        options: dict[str, Any] = {"partition": shard, "shards": shards}
        if self.claim.head is None:
            self.shard = Shard(SETTINGS, **options)
        else:
            tables = Tables(table_specs(SETTINGS))
            state = store.load(shard, self.claim.head, TableWriter(tables))
            self.shard = Shard.restore(SETTINGS, tables, state, **options)

    def learn(self, count: int) -> Version:
        """Learn some more clicks and publish them."""
        number, at = self.shard.partition, self.shard.offsets.get("clicks", 0)
        self.shard.apply([click(number, offset) for offset in range(at, at + count)], rate=0.0)
        return self.publish()

    def publish(self) -> Version:
        settings = SETTINGS.model_dump(mode="json")
        return self.store.publish(self.claim, self.shard.checkpoint(), settings=settings, code_version="1", now=START)


def click(shard: int, offset: int) -> Record:
    event = {"item": f"i{offset % 9}", "user": f"u{shard} {offset % 5}", "event_id": f"{shard} {offset}"}
    return Record("clicks", offset, 1000 * (START + offset), json.dumps(event | {"timestamp": START + offset}).encode())


@pytest.fixture
def learning(store: VersionStore) -> list[Learning]:
    """Four shards with versions, the first of them with a history."""
    shards = [Learning(store, shard) for shard in range(SHARDS)]
    for each in shards:
        each.learn(10 + each.shard.partition)
    shards[0].learn(5)
    return shards


def merge(store: VersionStore, to: int = 1) -> Merged | None:
    return merge_shards(
        store, to, visitor_salt=SETTINGS.visitor_salt, worker="the command", code_version="2", now=lambda: START + 1.0
    )


def merged(store: VersionStore, to: int = 1) -> Merged:
    done = merge(store, to)
    assert done is not None
    return done


def tables_of(store: VersionStore, shard: int, version: Version) -> Tables:
    tables = Tables(table_specs(SETTINGS))
    store.load(shard, version.shards[shard], TableWriter(tables))
    return tables


def test_one_version_has_the_events_and_offsets_of_all_shards(store: VersionStore, learning: list[Learning]) -> None:
    before = store.latest()
    assert before is not None
    done = merged(store)
    after = store.latest()
    assert after is not None
    assert (after, done.before, done.shards_before, done.shards_after) == (done.after, before, 4, 1)
    assert (after.number, after.parent, after.lineage) == (before.number + 1, before.id, before.lineage)
    assert after.events == before.events == 51
    assert after.shards[0].offsets == {"clicks": 15, "clicks/1": 11, "clicks/2": 12, "clicks/3": 13}
    assert list(after.shards) == [0]
    state = store.state(0, after.shards[0])
    assert (state["shards"], state["partition"]) == (1, 0)
    assert store.redis.scard(store.keys.retired) == 3


def test_four_shards_become_two(store: VersionStore, learning: list[Learning]) -> None:
    after = merged(store, to=2).after
    assert {shard: state.offsets for shard, state in after.shards.items()} == {
        0: {"clicks": 15, "clicks/2": 12},
        1: {"clicks": 11, "clicks/3": 13},
    }
    again = merged(store).after
    assert again.shards[0].offsets == {"clicks": 15, "clicks/1": 11, "clicks/2": 12, "clicks/3": 13}
    assert again.events == after.events


def test_a_second_run_says_that_there_is_nothing_to_do(store: VersionStore, learning: list[Learning]) -> None:
    done = merged(store)
    assert merge(store) is None
    assert store.latest() == done.after


def test_a_worker_with_the_new_number_goes_on_and_counts_every_event_once(
    store: VersionStore, learning: list[Learning]
) -> None:
    merged(store)
    one = Learning(store, 0, 1, stated=1)
    one.shard.apply([click(3, offset)._replace(offset=15 + offset) for offset in range(13)], rate=0.0)  # known ids
    one.shard.apply([click(0, 40)], rate=0.0)
    version = one.publish()
    assert one.shard.counters["clicks"]["duplicates"] == 13
    assert version.events == 52
    assert tables_of(store, 0, version) == one.shard.tables


def test_workers_of_the_old_shards_are_fenced_and_get_to_know_what_to_set(
    store: VersionStore, learning: list[Learning]
) -> None:
    merged(store)
    latest = store.latest()
    for each in learning:
        with pytest.raises(Fenced, match="the command"):
            each.learn(1)
    for shard in range(SHARDS):
        with pytest.raises(
            WrongShardCount, match=r"has 1 shard, and this worker has CORRENTE_SHARDS=4\. Set CORRENTE_SHARDS=1"
        ):
            Learning(store, shard, stated=4)
    with pytest.raises(WrongShardCount, match="has 1 shard"):
        Learning(store, 2)  # a worker that doesn't say how many there are
    assert store.latest() == latest


def test_a_worker_with_another_number_says_which_command_to_run(store: VersionStore, learning: list[Learning]) -> None:
    with pytest.raises(
        WrongShardCount, match=r"CORRENTE_SHARDS=4, or merge .* `corrente versions merge-shards --to 1`"
    ):
        store.claim(0, worker="new", token="n", now=START, shards=1)
    learning[0].learn(1)  # nothing was claimed


@pytest.mark.parametrize(
    ("to", "reason"), [(3, "which can't become 3: possible are 1, 2"), (8, "which can't become 8: possible are 1, 2")]
)
def test_numbers_that_would_tear_visitors_apart_are_refused(
    store: VersionStore, learning: list[Learning], to: int, reason: str
) -> None:
    with pytest.raises(WrongShardCount, match=reason):
        merge(store, to)
    learning[0].learn(1)


def test_a_model_without_versions_has_no_shards_to_merge(store: VersionStore) -> None:
    with pytest.raises(UnknownVersion, match="has no versions"):
        merge(store)


def test_another_salt_is_refused_before_anything_is_claimed(store: VersionStore, learning: list[Learning]) -> None:
    with pytest.raises(WrongSalt):
        merge_shards(store, 1, visitor_salt="another", worker="w", code_version="2", now=lambda: START)
    learning[0].learn(1)


def test_a_partition_without_events_had_no_shard(store: VersionStore) -> None:
    for shard in (0, 2):
        Learning(store, shard).learn(3)
    after = merged(store, to=2).after
    assert {shard: state.offsets for shard, state in after.shards.items()} == {0: {"clicks": 3, "clicks/2": 3}}
    assert Learning(store, 1, 2, stated=2).claim.head is None


def test_versions_of_the_old_shards_are_still_there_and_can_be_pinned(
    store: VersionStore, learning: list[Learning]
) -> None:
    before = store.latest()
    assert before is not None
    tables = [each.shard.tables for each in learning]
    merged(store)
    store.move_alias("pinned", before.number, who="ada", why="compare", now=START)
    assert store.served() == before
    for shard in range(SHARDS):
        assert tables_of(store, shard, before) == tables[shard]
    one = Learning(store, 0, 1, stated=1)
    assert one.learn(2).number == before.number + 2, "learning goes on from the merge, whatever is pinned"


def test_a_replay_can_begin_at_the_merge_and_not_before(store: VersionStore, learning: list[Learning]) -> None:
    before = store.latest()
    assert before is not None
    done = merged(store)
    version = Learning(store, 0, 1, stated=1).learn(4)
    assert store.journal(0, done.after.shards[0], version.shards[0]).batches == 1
    for since in (None, before.shards[0]):
        with pytest.raises(JournalGone):
            store.journal(0, since, version.shards[0])


def test_states_of_merged_shards_go_with_the_versions_that_have_them(
    store: VersionStore, learning: list[Learning]
) -> None:
    merged(store)
    one = Learning(store, 0, 1, stated=1)
    for _ in range(4):
        version = one.learn(3)
    policy = Policy(keep_last=2, keep_minutes=0, keep_hours=0, keep_days=0)
    for _ in range(3):
        compact(store, 0, policy, START + 100.0)
    assert [each.number for each in store.versions()] == [version.number, version.number - 1]
    for shard in range(1, SHARDS):
        assert not store.redis.exists(store.keys.states(shard))
    assert not store.redis.exists(store.keys.retired)
    assert tables_of(store, 0, version) == one.shard.tables


def test_no_shard_is_claimed_while_they_are_merged(store: VersionStore, learning: list[Learning]) -> None:
    with claim_model(store.space, SHARDS, worker="the command", token="m", now=START):
        with pytest.raises(
            ShardsMerging, match=r"being merged by the command\. If that command was killed, .* 30 seconds"
        ):
            Learning(store, 0)
        with pytest.raises(ShardsMerging):
            merge(store)
    Learning(store, 0).learn(1)


def test_a_worker_that_took_a_shard_in_the_meantime_wins(
    store: VersionStore, learning: list[Learning], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command may have been asleep for longer than its claims are held."""
    load = steps._merged

    def sleep_first(*arguments: Any, **options: Any) -> Any:
        store.redis.delete(store.keys.merging)
        learning[2] = Learning(store, 2)
        return load(*arguments, **options)

    monkeypatch.setattr(steps, "_merged", sleep_first)
    before = store.latest()
    with pytest.raises(Fenced, match=r"shard 2 was claimed by worker 2 meanwhile; nothing was changed"):
        merge(store)
    assert store.latest() == before
    learning[2].learn(1)


def test_what_was_written_and_got_lost_changes_nothing(
    store: VersionStore, learning: list[Learning], monkeypatch: pytest.MonkeyPatch
) -> None:
    write, before = ModelClaim.write, store.latest()

    def lose(claim: ModelClaim, *arguments: Any) -> Any:
        new = write(claim, *arguments)
        store.redis.delete(*(store.keys.chunk(ref.name) for ref in new.keyframe))
        return new

    with monkeypatch.context() as patched:
        patched.setattr(ModelClaim, "write", lose)
        with pytest.raises(Exception, match=r"nothing was changed\. Run the command again"):
            merge(store)
    assert store.latest() == before
    assert merged(store).after.events == 51


def test_an_answer_that_got_lost_is_found_when_the_script_comes_again(
    store: VersionStore, learning: list[Learning], monkeypatch: pytest.MonkeyPatch
) -> None:
    """redis-py sends a script again by itself if the connection broke before its answer."""
    replace = ModelClaim.replace

    def twice(claim: ModelClaim, *arguments: Any, **options: Any) -> Version:
        run = claim.run_replace
        claim.run_replace = lambda *each: (run(*each), run(*each))[1]
        return replace(claim, *arguments, **options)

    monkeypatch.setattr(ModelClaim, "replace", twice)
    assert merged(store).after == store.latest()
    assert len(store.versions()) == 6


def test_the_command_says_what_to_set_and_the_second_time_that_nothing_is_left(
    store: VersionStore, learning: list[Learning], shared_redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORRENTE_REDIS", shared_redis.url)
    monkeypatch.setenv("CORRENTE_MODEL_NAME", store.model)
    monkeypatch.setenv("CORRENTE_MODEL__VISITOR_SALT", SETTINGS.visitor_salt)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["merge-shards", *arguments])
        return result.exit_code, result.output

    code, output = run("--to", "3")
    assert (code, "which can't become 3" in output) == (1, True)
    assert run("--to", "2") == (
        0,
        "version 6 has the 51 events of version 5 in 2 instead of 4 shards. Start workers with CORRENTE_SHARDS=2\n",
    )
    code, output = run("--json")
    assert json.loads(output) == {
        "merged": True,
        "shards": 1,
        "shards_before": 2,
        "version": 7,
        "version_before": 6,
        "events": 51,
    }
    assert run() == (0, f"nothing to do: model '{store.model}' has 1 shard\n")
    assert json.loads(run("--json")[1]) == {"merged": False, "shards": 1}


# ---- killed at any point


class Killed(redis.Redis):
    """A client whose process is killed before its n-th command."""

    commands = 0
    last = 0

    def execute_command(self, *arguments: Any, **options: Any) -> Any:
        Killed.commands += 1
        if Killed.commands == Killed.last:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().execute_command(*arguments, **options)


def run_killed(url: str, model: str, last: int) -> int:
    """Merge in a process of its own that is killed before its `last`-th command; returns its exit status."""
    child = os.fork()
    if child == 0:
        status = 1
        with suppress(BaseException):
            Killed.commands, Killed.last = 0, last
            merge(VersionStore(Killed.from_url(url), model))
            status = 0
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture
def new_model(new_store: Callable[[], VersionStore]) -> Callable[[], tuple[VersionStore, list[Learning]]]:
    def make() -> tuple[VersionStore, list[Learning]]:
        store = new_store()
        shards = [Learning(store, shard, 2) for shard in range(2)]
        for each in shards:
            each.learn(6)
        return store, shards

    return make


@pytest.mark.unmeasured
def test_a_command_that_is_killed_at_any_command_leaves_the_old_or_the_new_model_whole(
    new_model: Callable[[], tuple[VersionStore, list[Learning]]], shared_redis: Any
) -> None:
    outcomes = []
    for last in range(1, 200):
        store, shards = new_model()
        before = store.latest()
        assert before is not None
        status = run_killed(shared_redis.url, store.model, last)
        after = store.latest()
        assert after is not None
        store.redis.delete(store.keys.merging)  # thirty seconds later
        outcomes.append("new" if after != before else "old")
        if after == before:
            again = Learning(store, 0, 2, stated=2)
            assert again.shard.tables == shards[0].shard.tables
            assert again.learn(2).events == 14
            assert merged(store).after.events == 14
        else:
            assert merge(store) is None
            assert Learning(store, 0, 1, stated=1).learn(2).events == 14
        if status == 0:
            break
        assert status == -signal.SIGKILL
    assert status == 0, "the command has more commands than the test expects"
    assert outcomes == ["old"] * outcomes.count("old") + ["new"] * outcomes.count("new")
    assert outcomes.count("old") > 8
    assert outcomes.count("new") >= 2, "killed after the last step, and not killed at all"
