"""Reports of workers: the owner of a shard is heard, a worker that was shut out isn't, and silence is noticed."""

from __future__ import annotations

import pytest

from stream.versions import Claim, ShardReport, StoppedShard, VersionStore
from stream.versions.storage.reports import NO_WORKER, SILENT_SECONDS

NOW = 1_700_000_000.0
GOES_ON = ShardReport()
STANDS = ShardReport(
    ["clicks-3"], NOW - 60, "dead letters", "dead letters can't be written to letters", "kafka-topics.sh --create"
)


def claim(store: VersionStore, worker: str, shard: int = 3) -> Claim:
    return store.claim(shard, worker=worker, token=worker, now=NOW)


def let_pass(store: VersionStore, seconds: float, shard: int = 3) -> None:
    """Make a shard's report older."""
    store.redis.zincrby(store.keys.prefix + "reports", -seconds, str(shard))


def reasons(store: VersionStore, **more: bool) -> dict[int, tuple[str, str]]:
    """Reason and worker by shard."""
    return {each.shard: (each.reason, each.worker) for each in store.stopped_shards(NOW, **more)}


def test_a_shard_stands_still_as_its_worker_says_until_it_says_otherwise(store: VersionStore) -> None:
    held = claim(store, "one")
    assert store.report(3, held, "one", STANDS)
    assert store.stopped_shards(NOW) == [
        StoppedShard(
            shard=3,
            since=NOW - 60,
            reason="dead letters",
            detail="dead letters can't be written to letters",
            mend="kafka-topics.sh --create",
            worker="one",
            partitions=["clicks-3"],
        )
    ]
    assert store.report(3, held, "one", GOES_ON)
    assert store.stopped_shards(NOW) == []


def test_shards_and_models_are_told_apart(new_store) -> None:
    shop, books = new_store(), new_store()
    for shard, report in ((10, STANDS), (2, STANDS), (5, GOES_ON)):
        assert shop.report(shard, claim(shop, "one", shard), "one", report)
    assert list(reasons(shop)) == [2, 10]
    assert reasons(books) == {}


def test_a_worker_that_lost_its_claim_is_not_heard(store: VersionStore) -> None:
    zombie = claim(store, "one")
    store.report(3, zombie, "one", GOES_ON)
    owner = claim(store, "two")
    assert store.report(3, owner, "two", GOES_ON)
    assert not store.report(3, zombie, "one", STANDS)
    assert reasons(store) == {}


def test_a_worker_without_a_claim_is_heard_while_no_other_one_is(store: VersionStore) -> None:
    """A worker of another Kafka, for instance, can't open the shards of a model that others learn."""
    assert store.report(3, None, "two", STANDS), "the first word about a shard"
    assert reasons(store) == {3: ("dead letters", "two")}
    store.report(3, claim(store, "one"), "one", GOES_ON)
    assert not store.report(3, None, "two", STANDS)
    assert reasons(store) == {}
    let_pass(store, SILENT_SECONDS)
    assert store.report(3, None, "two", STANDS)
    assert store.report(3, None, "two", STANDS), "it may renew its own"
    assert reasons(store) == {3: ("dead letters", "two")}


@pytest.mark.parametrize("last", [GOES_ON, STANDS])
def test_a_shard_whose_worker_falls_silent_has_no_worker_since_then(store: VersionStore, last: ShardReport) -> None:
    store.report(3, claim(store, "one"), "one", last)
    let_pass(store, SILENT_SECONDS + 40)
    assert reasons(store, silence_counts=False) == {}
    (found,) = store.stopped_shards(NOW)
    assert (found.reason, found.worker, found.partitions) == (NO_WORKER, "one", last.partitions)
    assert found.since == pytest.approx(NOW - SILENT_SECONDS - 40, abs=30)
    assert "worker one had shard 3 of model 'model-" in found.detail
    assert f"CORRENTE_MODEL_NAME={store.model} corrente worker" in found.mend


def test_a_shard_that_was_claimed_since_is_learned_by_a_worker_that_reports_nothing(store: VersionStore) -> None:
    """Workers of release 0.1 report nothing, and may run beside servers of this release."""
    store.report(3, claim(store, "one"), "one", STANDS)
    claim(store, "of release 0.1")
    let_pass(store, SILENT_SECONDS + 40)
    assert reasons(store) == {}


def test_a_shard_without_any_report_stands_nowhere(store: VersionStore) -> None:
    claim(store, "one")
    assert store.stopped_shards(NOW) == []


def test_shards_have_caught_up_if_their_present_workers_said_so_a_moment_ago(store: VersionStore) -> None:
    caught_up, behind = ShardReport(caught_up=True), ShardReport(["clicks-2"])
    held = {shard: claim(store, "one", shard) for shard in (2, 3)}
    store.report(2, held[2], "one", caught_up)
    store.report(3, held[3], "one", behind)
    assert (store.caught_up([2]), store.caught_up([3]), store.caught_up([2, 3]), store.caught_up([4])) == (
        True,
        False,
        False,
        False,
    )
    store.report(3, held[3], "one", caught_up)
    assert store.caught_up([2, 3])
    let_pass(store, SILENT_SECONDS + 1, shard=2)
    assert not store.caught_up([2]), "a report that isn't renewed says nothing"
    claim(store, "two", 3)
    assert not store.caught_up([3]), "nothing is known of a shard that was claimed since"
