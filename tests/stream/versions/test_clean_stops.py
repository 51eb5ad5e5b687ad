"""A Redis that was restored from an older copy while everything was down: noticed, and a new lineage."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from stream.versions import Claim, VersionStore


@pytest.fixture
def shop(own_redis) -> VersionStore:
    return VersionStore.connect(own_redis.url, "shop")


def claim(store: VersionStore, token: str, partition: int = 0, **known: int) -> Claim:
    return store.claim(partition, worker="ada", token=token, now=1.0, known_offsets=known)


def copy(store: VersionStore) -> None:
    """Have Redis write the copy that it starts from next time."""
    store.redis.save()


def start_again(own_redis) -> None:
    own_redis.kill()
    own_redis.start()


def test_a_copy_from_before_the_last_publishes_is_noticed_without_kafka_and_no_number_comes_twice_in_a_lineage(
    shop: VersionStore, own_redis, another: Callable
) -> None:
    first = another(shop, token="first")
    first.publish(1)
    copy(shop)
    lost = first.publish(2)  # the worker is killed here, before Kafka has its offsets
    start_again(own_redis)
    assert [version.number for version in shop.versions()] == [1]
    second = another(shop, token="second")
    assert second.claim.new_lineage
    assert "did not stop cleanly, and Redis was started anew" in second.claim.why_new
    again = second.publish(3)
    assert (again.number, again.lineage) == (lost.number, second.claim.lineage)
    assert again.lineage != lost.lineage


def test_a_clean_stop_and_a_restart_of_redis_go_on_in_the_same_lineage(
    shop: VersionStore, own_redis, another: Callable
) -> None:
    first = another(shop, token="first")
    before = first.publish(1)
    shop.leave(first.claim)
    copy(shop)
    start_again(own_redis)
    second = another(shop, token="second")
    assert (second.claim.new_lineage, second.claim.why_new, second.claim.head) == (False, "", before.shards[0])


def test_a_worker_that_is_killed_while_redis_lives_leaves_no_doubt(shop: VersionStore, another: Callable) -> None:
    another(shop, token="first").publish(1)
    assert not claim(shop, "second").new_lineage


def test_a_publish_or_a_claim_after_a_clean_stop_takes_the_mark_away(
    shop: VersionStore, own_redis, another: Callable
) -> None:
    first = another(shop, token="first")
    first.publish(1)
    shop.leave(first.claim)
    first.publish(2)  # the shard went on after a rebalance
    copy(shop)
    start_again(own_redis)
    second = another(shop, token="second")
    assert second.claim.new_lineage
    second.publish(3)
    shop.leave(second.claim)
    claim(shop, "third")
    copy(shop)
    start_again(own_redis)
    assert claim(shop, "fourth").new_lineage


def test_a_copy_of_a_clean_stop_is_found_to_be_old_by_the_offsets_in_kafka(
    shop: VersionStore, own_redis, another: Callable
) -> None:
    first = another(shop, token="first")
    old = first.publish(1)
    shop.leave(first.claim)
    copy(shop)
    second = another(shop, token="second")
    newer = second.publish(2, 3)
    start_again(own_redis)
    third = claim(shop, "third", **newer.shards[0].offsets)
    assert third.new_lineage
    assert third.why_new == "Kafka's committed offsets are beyond the newest state"
    assert third.head == old.shards[0]


def test_the_doubt_lasts_until_a_new_lineage_has_begun(shop: VersionStore, own_redis, another: Callable) -> None:
    another(shop, token="first").publish(1)
    copy(shop)
    start_again(own_redis)
    begin = shop.publisher._new_lineage
    shop.publisher._new_lineage = lambda _: [b"fenced"]  # the connection broke after the claim
    assert not claim(shop, "second").new_lineage
    shop.publisher._new_lineage = begin
    assert claim(shop, "third").new_lineage
    assert not claim(shop, "fourth").new_lineage


def test_a_worker_that_no_longer_has_the_shard_leaves_no_mark(shop: VersionStore, own_redis, another: Callable) -> None:
    first = another(shop, token="first")
    first.publish(1)
    claim(shop, "second")
    shop.leave(first.claim)
    copy(shop)
    start_again(own_redis)
    assert claim(shop, "third").new_lineage


def test_the_shards_of_a_model_begin_one_lineage_together(shop: VersionStore, own_redis, another: Callable) -> None:
    another(shop, 0, token="first").publish(1)
    another(shop, 1, token="other first").publish(2)
    copy(shop)
    start_again(own_redis)
    zero, one = claim(shop, "second", 0), claim(shop, "other second", 1)
    assert (zero.new_lineage, one.new_lineage) == (True, False)
    assert zero.lineage == one.lineage


def test_a_user_who_may_not_ask_for_info_gets_a_new_lineage_unless_the_stop_was_clean(
    shop: VersionStore, own_redis, another: Callable
) -> None:
    with own_redis.client() as admin:
        admin.acl_setuser(
            "shop", enabled=True, passwords=["+secret"], categories=["+@all", "-@dangerous"], keys=["*"], reset=True
        )
    store = VersionStore.connect(own_redis.url.replace("redis://", "redis://shop:secret@"), "shop")
    first = another(store, token="first")
    first.publish(1)
    second = another(store, token="second")
    assert second.claim.new_lineage
    second.publish(2)
    store.leave(second.claim)
    assert not claim(store, "third").new_lineage
    (problem,) = store.redis_problems()
    assert problem.startswith("Redis refuses INFO")
    assert store.evicting_policy() is None
    store.close()
