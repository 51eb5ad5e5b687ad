"""A publish that breaks at any point leaves nothing half visible, and is never lost and never counted twice."""

from __future__ import annotations

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from stream.versions import Fenced, VersionStore
from tests.stream.versions.checkpoints import folded
from tests.tcp_proxy import BreakingProxy


@pytest.fixture
def proxy(shared_redis):
    proxy = BreakingProxy(shared_redis.port)
    yield proxy
    proxy.close()


@pytest.fixture
def broken_line(proxy, store, another):
    """A publisher behind the proxy that does not try again by itself; `store` is a direct line to the same model."""
    client = redis.Redis(port=proxy.port, retry=Retry(NoBackoff(), 0))
    publishing = another(VersionStore(client, store.model))
    publishing.publish(1)  # Redis knows the scripts from here on
    yield publishing
    client.close()


def write_and_checkpoint(publishing, *rows, value):
    publishing.learner.write(*rows, value=value)
    return publishing.learner.checkpoint()


def batches(store):
    return store.journal(0, None, store.latest().shards[0]).offsets[:, 0].tolist()


def test_a_request_that_never_arrived_is_published_with_the_next_checkpoint(proxy, broken_line, store, loaded):
    proxy.break_before = True
    lost = write_and_checkpoint(broken_line, 2, value=2)
    with pytest.raises(redis.exceptions.ConnectionError):
        broken_line.publish_checkpoint(lost)
    assert proxy.broken == 1
    assert store.latest().number == 1
    version = broken_line.publish_checkpoint(folded(lost, write_and_checkpoint(broken_line, 3, value=3)))
    assert (version.number, version.shards[0].seq) == (2, 2)
    assert loaded(store, 0, version.shards[0]) == broken_line.learner.tables
    assert batches(store) == [1, 2, 3]


def test_an_answer_that_got_lost_is_found_when_the_same_checkpoint_comes_again(proxy, broken_line, store):
    proxy.break_after = True
    checkpoint = write_and_checkpoint(broken_line, 2, value=2)
    with pytest.raises(redis.exceptions.ConnectionError):
        broken_line.publish_checkpoint(checkpoint)
    visible = store.latest()
    assert visible.number == 2, "it was carried out"
    broken_line.now += 5
    assert broken_line.publish_checkpoint(checkpoint) == visible, "the same version, not another of the same state"
    assert store.latest() == visible
    assert broken_line.publish(3).number == 3
    assert batches(store) == [1, 2, 3]


def test_an_answer_that_got_lost_is_found_when_its_checkpoint_comes_folded(proxy, broken_line, store, loaded):
    proxy.break_after = True
    lost = write_and_checkpoint(broken_line, 2, value=2)
    with pytest.raises(redis.exceptions.ConnectionError):
        broken_line.publish_checkpoint(lost)
    version = broken_line.publish_checkpoint(folded(lost, write_and_checkpoint(broken_line, 3, value=3)))
    assert (version.number, version.shards[0].seq, version.shards[0].journal) == (3, 3, {"batches": 1})
    assert loaded(store, 0, version.shards[0]) == broken_line.learner.tables
    assert batches(store) == [1, 2, 3], "no batch twice"


def test_several_lost_answers_in_a_row(proxy, broken_line, store, loaded):
    kept = None
    for number in range(2, 6):
        checkpoint = write_and_checkpoint(broken_line, number, value=number)
        kept = checkpoint if kept is None else folded(kept, checkpoint)
        proxy.break_after, proxy.break_before = number % 2 == 0, number % 2 == 1
        with pytest.raises(redis.exceptions.ConnectionError):
            broken_line.publish_checkpoint(kept)
    version = broken_line.publish_checkpoint(kept)
    assert loaded(store, 0, version.shards[0]) == broken_line.learner.tables
    assert batches(store) == [1, 2, 3, 4, 5]


def test_a_lost_answer_and_then_another_owner(proxy, broken_line, store, another):
    proxy.break_after = True
    checkpoint = write_and_checkpoint(broken_line, 2, value=2)
    with pytest.raises(redis.exceptions.ConnectionError):
        broken_line.publish_checkpoint(checkpoint)
    owner = another(store, worker="owner", token="other")
    assert owner.claim.head == store.latest().shards[0], "the new owner has what got through"
    with pytest.raises(Fenced, match="owner"):
        broken_line.publish_checkpoint(checkpoint)


def test_a_client_that_tries_again_by_itself_publishes_once(proxy, store, another):
    """redis-py's own retries send the script twice when the first answer is lost."""
    with redis.Redis(port=proxy.port, retry=Retry(NoBackoff(), 3)) as client:
        publishing = another(VersionStore(client, store.model))
        publishing.publish(1)
        for number in range(2, 8):
            proxy.break_after = True
            assert publishing.publish(number).number == number
        assert proxy.broken == 6
    assert [version.number for version in store.versions()] == [7, 6, 5, 4, 3, 2, 1]
    assert batches(store) == [1, 2, 3, 4, 5, 6, 7]


def test_a_connection_killed_between_chunks_and_script(publishing, loaded):
    store = publishing.store
    publishing.publish(1)
    run = store.publisher.run_publish

    def kill_first(*arguments):
        with redis.Redis(port=store.redis.connection_pool.connection_kwargs["port"]) as other:
            for client in other.client_list():
                if client["id"] != str(other.client_id()):
                    other.client_kill_filter(_id=client["id"])
        return run(*arguments)

    store.publisher.run_publish = kill_first
    version = publishing.publish(2, value=2)
    assert version.number == 2
    assert loaded(store, 0, version.shards[0]) == publishing.learner.tables


def test_redis_killed_between_chunks_and_script(own_redis, another, loaded):
    store = VersionStore.connect(own_redis.url, "shop")
    publishing = another(store)
    before = publishing.publish(1)
    store.redis.save()
    run = store.publisher.run_publish

    def kill_first(*arguments):
        own_redis.kill()
        return run(*arguments)

    store.publisher.run_publish = kill_first
    kept = write_and_checkpoint(publishing, 2, value=2)
    with pytest.raises(redis.exceptions.ConnectionError):
        publishing.publish_checkpoint(kept)
    own_redis.start()
    store.publisher.run_publish = run
    assert store.latest() == before
    version = publishing.publish_checkpoint(folded(kept, write_and_checkpoint(publishing, 3, value=3)))
    assert version.number == 2
    assert loaded(store, 0, version.shards[0]) == publishing.learner.tables
    assert batches(store) == [1, 2, 3]
    store.close()


def test_chunks_that_expired_before_the_script_are_written_again(publishing, loaded):
    store = publishing.store
    publishing.publish(1)
    run, lost = store.publisher.run_publish, []

    def lose_chunks_first(*arguments):
        if not lost:
            lost.extend(key for key in store.redis.scan_iter(store.keys.chunk("*")) if store.redis.ttl(key) > 0)
            store.redis.delete(*lost)
        return run(*arguments)

    store.publisher.run_publish = lose_chunks_first
    version = publishing.publish(2, value=2)
    assert len(lost) == 2
    assert loaded(store, 0, version.shards[0]) == publishing.learner.tables


def test_a_full_redis_refuses_and_nothing_is_visible(own_redis, another):
    store = VersionStore.connect(own_redis.url, "shop")
    publishing = another(store)
    before = publishing.publish(1)
    store.redis.config_set("maxmemory", 1)
    kept = write_and_checkpoint(publishing, 2, value=2)
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        publishing.publish_checkpoint(kept)
    assert store.latest() == before
    store.redis.config_set("maxmemory", 0)
    assert publishing.publish_checkpoint(kept).number == 2
    assert batches(store) == [1, 2]
    store.close()
