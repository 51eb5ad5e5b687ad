"""The follower: a shard that is taken over from memory equals the one that was learned, or is loaded whole."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from stream.ingest.records import Record
from stream.models.query import Query
from stream.models.schema import table_specs
from stream.models.settings import ModelSettings
from stream.shard.shard import Shard
from stream.standby.follower import KEPT_SECONDS, Follower, follow
from stream.standby.pace import LONGEST_SECONDS, SHARE, SHORTEST_SECONDS, pause_seconds
from stream.state.checkpoint import Checkpoint
from stream.state.tables import differing_tables
from stream.versions import VersionStore
from tests.stream.other_order import in_other_order, shuffled_names, with_names

SETTINGS = ModelSettings(max_items=256, max_visitors=256, max_sessions=256, max_event_ids=256)


class Learning:
    """A worker that learns and publishes a shard."""

    def __init__(self, store: VersionStore, shard: int = 0) -> None:
        self.store, self.shard = store, Shard(SETTINGS, partition=shard)
        self.claim = store.claim(shard, worker="ada", token="t", now=1.0)
        self.offset = 0

    def publish(self, events: int = 20) -> None:
        records = [
            Record("clicks", n, 1_700_000_000_000 + 1000 * n, b'{"item": "i%d", "user": "u%d"}' % (n % 40, n % 9))
            for n in range(self.offset, self.offset + events)
        ]
        self.offset += events
        self.shard.apply(records, rate=0.0)
        checkpoint = self.shard.checkpoint()
        self.store.publish(self.claim, checkpoint, settings={}, code_version="1", now=2.0)


@pytest.fixture
def learning(store: VersionStore) -> Learning:
    return Learning(store)


@pytest.fixture
def follower(store: VersionStore) -> Follower:
    return Follower(store, SETTINGS)


def test_a_shard_that_is_taken_over_equals_the_learned_one_bit_for_bit(learning: Learning, follower: Follower) -> None:
    for _ in range(3):
        learning.publish()
        follower.look()
    learning.publish()  # after the last look, so that the takeover reads it
    head = learning.claim.head
    assert head is not None
    assert follower.state != head
    taken = follower.take(0, head)
    assert taken is not None
    tables, state = taken
    assert list(differing_tables(tables, learning.shard.tables)) == []
    assert state == learning.shard.readable_state()
    heir = Shard.restore(SETTINGS, tables, state)
    assert not heir.tables.checkpoint(), "nothing that a version has is published again"
    assert follower.take(0, head) is None, "the tables are the heir's alone"


def test_a_state_whose_features_stand_in_another_order_is_taken_over_by_their_names(
    learning: Learning, follower: Follower
) -> None:
    """The worker before was of a release with another order; the one before it had this one."""
    learning.publish()
    follower.look()
    learning.publish()
    names, shard = shuffled_names(8), learning.shard
    moved = in_other_order(table_specs(SETTINGS), names, shard.tables.snapshot())
    theirs = Checkpoint(moved, with_names(shard.readable_state(), names))
    learning.store.publish(learning.claim, theirs, settings={}, code_version="2", now=3.0)
    head = learning.claim.head
    assert head is not None
    taken = follower.take(0, head)
    assert taken is not None
    assert Shard.restore(SETTINGS, *taken).tables == shard.tables


def test_without_a_look_everything_is_loaded_whole(learning: Learning, follower: Follower) -> None:
    learning.publish()
    assert learning.claim.head is not None
    assert follower.take(0, learning.claim.head) is None


def test_a_model_of_several_shards_is_not_followed(store: VersionStore, learning: Learning, follower: Follower) -> None:
    learning.publish()
    Learning(store, shard=1).publish()
    follower.look()
    assert follower.state is None


def test_a_state_that_was_not_built_upon_the_followed_one_is_loaded_whole(
    new_store: Callable[[], VersionStore], learning: Learning, follower: Follower
) -> None:
    learning.publish()
    follower.look()
    other = Learning(new_store())
    other.publish(30)
    assert other.claim.head is not None
    assert follower.take(0, other.claim.head) is None


def test_a_worker_with_larger_capacities_goes_on_from_what_its_follower_holds(
    store: VersionStore, learning: Learning
) -> None:
    large = SETTINGS.model_copy(update={"max_items": 500, "max_sessions": 400})
    follower = Follower(store, large)
    learning.publish(60)
    follower.look()
    learning.publish(20)
    assert learning.claim.head is not None
    warm = follower.take(0, learning.claim.head)
    assert warm is not None
    grown = Shard.restore(large, *warm)
    assert set(grown.migration.grown) == {"max_items", "max_sessions"}
    query = Query(user="u1", n=5)
    assert grown.model().recommend(query) == learning.shard.model().recommend(query)


def test_following_takes_no_more_than_its_share_of_a_core() -> None:
    for spent in (0.001, 0.02, 0.5, 1.5):
        assert spent / (spent + pause_seconds(spent)) <= SHARE
    assert pause_seconds(0.0) == pause_seconds(1.5, first=True) == SHORTEST_SECONDS
    assert pause_seconds(1000.0) == LONGEST_SECONDS


class FakeFollower:
    """A follower that counts, and fails on demand."""

    def __init__(self) -> None:
        self.looks = self.drops = 0
        self.error: Exception | None = None

    def look(self) -> float:
        self.looks += 1
        if self.error is not None:
            raise self.error
        return 7.0

    def drop(self) -> None:
        self.drops += 1


async def test_a_worker_looks_while_it_stands_by_and_keeps_the_state_until_its_shard_is_claimed() -> None:
    follower, standing_by = FakeFollower(), [True]
    paused: list[float] = []
    steps: asyncio.Queue[None] = asyncio.Queue()

    async def in_thread(look: Callable[[], float]) -> float:
        return look()

    async def sleep(seconds: float) -> None:
        paused.append(seconds)
        await steps.get()

    async def step() -> None:
        before = len(paused)
        steps.put_nowait(None)
        while len(paused) == before:
            await asyncio.sleep(0)

    following = asyncio.create_task(follow(follower, lambda: standing_by[0], in_thread, sleep))  # type: ignore[arg-type]
    await step()
    assert paused[-1] == 7.0
    looks = follower.looks
    assert looks > 0
    follower.error = RedisConnectionError("away")
    await step()
    assert follower.looks == looks + 1, "it goes on while Redis is away"
    assert paused[-1] == SHORTEST_SECONDS
    standing_by[0], follower.error = False, None
    seconds = 0.0
    while follower.drops == 0:
        await step()
        seconds += paused[-1]
    assert seconds >= KEPT_SECONDS
    standing_by[0] = True
    await step()
    assert follower.looks == looks + 2
    following.cancel()
