"""A server beside workers that differ: their features, sources and capacities are read right, or refused."""

from __future__ import annotations

import hashlib
import json
import time

import pytest

from serving.loading.version_memory import VersionMemory
from serving.memory.shared_segments import SharedSegments
from stream.ingest.records import Record
from stream.models.merging.merge import merged
from stream.models.model import Model
from stream.models.query import Query
from stream.models.schema import table_specs
from stream.models.settings import CAPACITIES, ModelSettings
from stream.models.state_names import TODAY
from stream.models.workspace.scoring_view import views_of
from stream.shard.shard import Shard
from stream.state.checkpoint import Checkpoint
from stream.state.table_writer import TableWriter
from stream.state.tables import Tables
from stream.versions import Version, VersionStore, WrongNames
from stream.versions.changed_settings.layouts import tables_for
from stream.versions.manifest import FORMAT, canonical_json
from tests.serving.awaiting import eventually, served_version
from tests.serving.conftest import MODEL, Publisher, running, settings_for
from tests.stream.other_order import in_other_order, shuffled_names, with_names
from tests.stream.other_sources import checkpoint_there, other_names

FOREIGN = {**TODAY, "conversion_features": [*TODAY["conversion_features"], "weekday"]}
CLICKS = [(f"u{user}", f"i{(user + step) % 7}") for user in range(20) for step in range(4)]
QUERIES = [Query(user=f"u{user}", n=7) for user in range(0, 20, 3)]


def publish(publisher: Publisher, checkpoint: Checkpoint, settings: ModelSettings = MODEL) -> Version:
    return publisher.store.publish(
        publisher.claim, checkpoint, settings=settings.model_dump(), code_version="test", now=time.time()
    )


def encoded_clicks() -> list[bytes]:
    return [json.dumps({"user": user, "item": item}).encode() for user, item in CLICKS]


def lists(model) -> list:
    return [model.recommend(query) for query in QUERIES]


def in_order_of(names, publisher: Publisher) -> Checkpoint:
    """The publisher's whole state, as a worker with this order would write it."""
    shard = publisher.shard
    shard.checkpoint()
    delta = in_other_order(table_specs(MODEL), names, shard.tables.snapshot())
    return Checkpoint(delta, with_names(shard.readable_state(), names))


@pytest.mark.parametrize("shared", [False, True], ids=["one process", "several"])
def test_lists_follow_workers_from_one_order_to_the_other(store: VersionStore, publisher: Publisher, shared: bool):
    """The version of another order, then a worker of this order that goes on from it, by its changes alone."""
    names = shuffled_names(3)
    segments = SharedSegments()
    memory = VersionMemory(store, MODEL.visitor_salt, segments.allocate if shared else None)
    publisher.apply(*CLICKS)
    first, how = memory.load(publish(publisher, in_order_of(names, publisher)), [])
    assert how == "whole"
    assert lists(first.model) == lists(publisher.shard.model())
    publisher.apply(*CLICKS[:9])
    second, how = memory.load(publish(publisher, in_order_of(names, publisher)), [first])
    assert how == "changes"
    assert lists(second.model) == lists(publisher.shard.model())
    tables = Tables(table_specs(MODEL))
    state = store.load(0, publisher.claim.head, TableWriter(tables))
    publisher.shard = Shard.restore(MODEL, tables, state)
    publisher.apply(*CLICKS[9:20])
    third, how = memory.load(publisher.publish(), [first, second])
    assert how == "changes"
    assert lists(third.model) == lists(publisher.shard.model())
    assert lists(first.model) != lists(third.model)
    if shared:
        parts = [part for loaded in (first, third) for view in loaded.model.views.values() for part in view]
        assert all(segments.segment_of(part).nbytes >= part.nbytes for part in parts), "other processes can map them"


@pytest.mark.parametrize("shared", [False, True], ids=["one process", "several"])
def test_lists_follow_workers_whose_sources_come_and_go(store: VersionStore, publisher: Publisher, shared: bool):
    """Two versions of a program with other sources, then those of a worker of this program that goes on from them."""
    names = other_names()
    segments = SharedSegments()
    memory = VersionMemory(store, MODEL.visitor_salt, segments.allocate if shared else None)
    publisher.apply(*CLICKS)
    publisher.shard.checkpoint()
    loaded = []

    def load(version: Version) -> str:
        found, how = memory.load(version, loaded)
        loaded.append(found)
        assert lists(found.model) == lists(goes_on(version).model())
        return how

    def goes_on(version: Version) -> Shard:
        tables = tables_for(store, MODEL, version, 0, version.shards[0])
        return Shard.restore(MODEL, tables, store.load(0, version.shards[0], TableWriter(tables)))

    def there() -> Checkpoint:
        shard = publisher.shard
        return checkpoint_there(MODEL, shard.tables, shard.readable_state(), names)

    theirs = publish(publisher, there())
    assert load(theirs) == "whole"
    publisher.apply(*CLICKS[:9])
    theirs = publish(publisher, there())
    assert load(theirs) == "changes"
    publisher.shard = goes_on(theirs)
    publisher.apply(*CLICKS[9:20])
    assert load(publisher.publish()) == "whole"
    publisher.apply(*CLICKS[20:25])
    assert load(publisher.publish()) == "changes"
    assert lists(loaded[0].model) != lists(loaded[-1].model)


def test_lists_follow_a_worker_with_larger_capacities(store: VersionStore, publisher: Publisher):
    memory = VersionMemory(store, MODEL.visitor_salt, None)
    first, _ = memory.load(publisher.learn(*CLICKS), [])
    large = MODEL.model_copy(
        update=dict.fromkeys(CAPACITIES, 500) | {"max_kept_visitors": 200_000, "max_kept_items": 64}
    )
    tables = tables_for(store, large, first.version, 0, first.version.shards[0])
    state = store.load(0, publisher.claim.head, TableWriter(tables))
    publisher.shard = Shard.restore(large, tables, state)
    publisher.apply(*CLICKS[:9])
    grown = publish(publisher, publisher.shard.checkpoint(), large)
    second, how = memory.load(grown, [first])
    assert how == "whole"
    assert lists(second.model) == lists(publisher.shard.model())
    publisher.apply(*CLICKS[9:15])
    third, how = memory.load(publish(publisher, publisher.shard.checkpoint(), large), [first, second])
    assert how == "changes"
    assert lists(third.model) == lists(publisher.shard.model())
    both = memory.nbytes
    memory.forget_unused([third])
    assert 0 < memory.nbytes < both, "the smaller tables are freed"


def test_shards_of_other_capacities_and_sources_are_one_model(store: VersionStore, publisher: Publisher):
    """One worker has been started with larger capacities and other sources, the other not yet."""
    publisher.learn(*CLICKS)
    large = MODEL.model_copy(update={"max_items": 300, "max_sessions": 1000})
    other = Shard(large, partition=1, shards=2)
    at = 1000 * int(time.time())
    other.apply([Record("clicks", number, at, click) for number, click in enumerate(encoded_clicks())], rate=1.0)
    names = other_names(without=())
    there = checkpoint_there(large, other.tables, other.readable_state(), names)
    claim = store.claim(1, worker="w", token="t2", now=time.time())
    version = store.publish(claim, there, settings=large.model_dump(), code_version="test", now=time.time())
    loaded, _ = VersionMemory(store, MODEL.visitor_salt, None).load(version, [])
    views = {0: views_of(publisher.shard.tables), 1: views_of(other.tables)}
    ours = merged(MODEL, views)
    assert lists(loaded.model) == lists(Model(MODEL, views_of(ours)))


async def test_a_server_that_can_not_map_names_says_so_and_answers_from_the_last_version_it_can_read(
    redis_server, store: VersionStore, publisher: Publisher
):
    publisher.learn(*CLICKS)
    async with running(settings_for(redis_server)) as (_, client):
        await served_version(client, 1)
        publisher.apply(*CLICKS[:5])
        checkpoint = publisher.shard.checkpoint()
        foreign = publish(publisher, Checkpoint(checkpoint.delta, with_names(checkpoint.state, FOREIGN)))

        async def degraded() -> dict | None:
            health = (await client.get("/health/ready")).json()
            return health if health["problem"] else None

        health = await eventually(degraded, "the server says that it can't load the newest version")
        assert health["status"] == "degraded"
        assert "weekday is missing here" in health["problem"]
        assert "start that release" in health["problem"]
        assert (await client.get("/v1/recommendations/u3")).json()["version"] == 1
        asked = await client.get(f"/v1/recommendations/u3?version={foreign.number}")
        assert asked.status_code == 409
        assert "weekday is missing here" in asked.json()["detail"]


def test_a_shard_that_cannot_be_read_stops_the_version_before_anything_is_loaded(
    store: VersionStore, publisher: Publisher
):
    publisher.learn(*CLICKS)
    other = Publisher(store, partition=1, shards=2)
    other.apply(*CLICKS)
    checkpoint = other.shard.checkpoint()
    version = store.publish(
        other.claim,
        Checkpoint(checkpoint.delta, with_names(checkpoint.state, FOREIGN)),
        settings=MODEL.model_dump(),
        code_version="test",
        now=time.time(),
    )
    memory = VersionMemory(store, MODEL.visitor_salt, None)
    with pytest.raises(WrongNames, match="weekday is missing here"):
        memory.load(version, [])
    assert memory.nbytes == 0


async def test_a_server_that_starts_beside_a_worker_of_a_later_release_serves_what_it_can_read(
    redis_server, store: VersionStore, publisher: Publisher
):
    publisher.learn(*CLICKS)
    second = publisher.learn(*CLICKS[:5])
    later = canonical_json({**second.manifest, "format": FORMAT + 1})
    known = {"manifest": later, "id": hashlib.sha256(later).hexdigest()}
    store.redis.hset(store.keys.version(second.number), mapping=known)
    async with running(settings_for(redis_server)) as (_, client):
        await served_version(client, 1)
        health = (await client.get("/health/ready")).json()
        assert f"manifest format {FORMAT + 1}; this release reads" in health["problem"]
        assert "upgrade servers before workers" in health["problem"]
        publisher.apply(*CLICKS[:3])
        store.redis.hset(store.keys.version(second.number), mapping=read_back(second))
        await served_version(client, publisher.publish().number)


def read_back(version: Version) -> dict[str, str | bytes]:
    return {"manifest": canonical_json(version.manifest), "id": version.id}
