"""A client of the loading process serves the same versions, raises the same errors, and releases unused versions."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import secrets
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest
import redis.exceptions

from serving.loading.loader import Loader
from serving.loading.served import LoaderAway
from serving.loading.shared import SnapshotClient
from serving.loading.shared_server import SnapshotServer
from serving.memory.shared_segments import SharedSegments
from serving.metrics import Metrics
from serving.upstream_health import UpstreamHealth
from stream.models.query import Query
from stream.versions import CorruptVersion, ShardReport, StoppedShard, UnknownVersion, VersionStore
from tests.serving.awaiting import eventually
from tests.serving.conftest import Publisher, RedisServer

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="shared memory as only Linux has it")
CLICKS = [(f"u{n % 7}", f"item {n % 11}") for n in range(120)]


class Pair(NamedTuple):
    loader: Loader
    server: SnapshotServer
    client: SnapshotClient


def accept_until_closed(server: SnapshotServer) -> None:
    with server._listening, contextlib.suppress(OSError):
        server.run()


@asynccontextmanager
async def sharing(store: VersionStore) -> AsyncIterator[Pair]:
    """A loader, its server and a client of it, all in this process."""
    name = f"\0test-{secrets.token_hex(8)}"
    metrics, segments = Metrics(), SharedSegments()
    server: list[SnapshotServer] = []
    loader = Loader(
        store,
        UpstreamHealth("redis", metrics),
        metrics,
        visitor_salt="corrente",
        poll_seconds=0.05,
        allocate=segments.allocate,
        changed=lambda: server[0].send_to_all(),
    )
    server.append(SnapshotServer(name, loader, segments, metrics))
    running = threading.Thread(target=accept_until_closed, args=(server[0],), daemon=True)
    running.start()
    client = SnapshotClient(name, store, UpstreamHealth("redis"), Metrics(), visitor_salt="corrente")
    loader.start()
    client.start()
    try:
        yield Pair(loader, server[0], client)
    finally:
        await client.stop()
        await loader.stop()
        with contextlib.suppress(OSError):
            server[0]._listening.shutdown(socket.SHUT_RDWR)
        running.join(10.0)


def hang_up(server: SnapshotServer) -> None:
    """End every connection, as the end of the loading process does."""
    with server._lock:
        for connection in server._clients:
            connection.shutdown(socket.SHUT_RDWR)


def serves(client: SnapshotClient, number: int) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        return client.served is not None and client.served.version.number == number

    return holds


def lists(model) -> dict[str, list]:
    return {
        user: list(zip(ranking.items, ranking.scores, strict=True))
        for user in ("u0", "u3", "nobody")
        for ranking in [model.recommend(Query(user=user))]
    }


async def test_a_client_answers_as_the_shard_that_learned(store: VersionStore, publisher: Publisher):
    first = publisher.learn(*CLICKS[:60])
    expected_first = lists(publisher.shard.model())
    async with sharing(store) as (loader, _, client):
        await eventually(serves(client, first.number), "the client serves the first version")
        second = publisher.learn(*CLICKS[60:])
        await eventually(serves(client, second.number), "the client follows")
        assert client.served is not loader.served
        assert client.ready
        assert client.served.version == loader.served.version
        assert lists(client.served.model) == lists(publisher.shard.model())
        older = await client.answering(str(first.number))
        assert lists(older.model) == expected_first
        assert client.held(first.id) is client.held(str(first.number)) is older
        assert client.held("99") is None
        assert await client.answering(None) is client.served


async def test_a_client_maps_memory_and_copies_none(store: VersionStore, publisher: Publisher):
    """A byte written to the loader's rows shows in the client's, because they are the same memory."""
    version = publisher.learn(*CLICKS)
    async with sharing(store) as (loader, _, client):
        await eventually(serves(client, version.number), "the client serves it")
        theirs, ours = loader.served.model.views["items"][0], client.served.model.views["items"][0]
        assert theirs.ctypes.data != ours.ctypes.data
        theirs.view("u1")[-1] = 77  # in a row that no version has reached
        assert ours.view("u1")[-1] == 77


async def test_a_client_knows_which_shards_stand_still(store: VersionStore, publisher: Publisher):
    version = publisher.learn(*CLICKS)
    report = ShardReport(["clicks-0"], 1000.0, "kafka", "no broker answers", "start Kafka")
    async with sharing(store) as (loader, _, client):
        await eventually(serves(client, version.number), "the client serves it")
        assert client.stopped == ()
        store.report(0, publisher.claim, "worker:1", report)

        async def stands() -> bool:
            return len(client.stopped) == 1

        await eventually(stands, "the client knows")
        assert client.stopped == loader.stopped
        assert client.stopped[0] == StoppedShard(
            0, 1000.0, "kafka", "no broker answers", "start Kafka", "worker:1", ["clicks-0"]
        )


async def test_errors_of_the_store_arrive_as_they_are(
    store: VersionStore, publisher: Publisher, redis_server: RedisServer
):
    good = publisher.learn(*CLICKS[:60])
    store.move_alias("pinned", good.number, who="", why="", now=1.0)
    chunks_before = set(redis_server.client.keys("*:chunk:*"))
    broken = publisher.learn(*CLICKS[60:])
    for key in set(redis_server.client.keys("*:chunk:*")) - chunks_before:
        redis_server.client.set(key, b"not what was published")
    async with sharing(store) as (loader, _, client):
        await eventually(serves(client, good.number), "the client serves it")
        for name, kind in [
            ("99", UnknownVersion),
            ("before-sale", UnknownVersion),
            (str(broken.number), CorruptVersion),
        ]:
            with pytest.raises(kind) as here:
                await client.answering(name)
            with pytest.raises(kind) as there:
                await loader.answering(name)
            assert type(here.value) is type(there.value)
            assert str(here.value) == str(there.value)
        redis_server.stop()
        with pytest.raises(redis.exceptions.ConnectionError):
            await client.answering("99")
        assert (await client.answering(str(good.number))).version == good, "what is in memory needs no store"


async def test_a_loading_process_that_is_gone_is_an_error_of_its_own(store: VersionStore, publisher: Publisher):
    version = publisher.learn(*CLICKS)
    async with sharing(store) as (_, server, client):
        await eventually(serves(client, version.number), "the client serves it")
        server._listening.shutdown(socket.SHUT_RDWR)
        hang_up(server)

        async def away() -> bool:
            return client.problem is not None

        await eventually(away, "the client notices that the loading process is gone")
        with pytest.raises(LoaderAway):
            await client.answering("99")
        assert await client.totals() is None
        await client.caught_up()  # returns at once: there is no process to wait for
        assert (await client.answering(None)).version == version
        assert client.problem_since is not None


async def test_a_check_of_the_store_ends_with_the_version_served(store: VersionStore, publisher: Publisher):
    """`caught_up` is what a rollback waits for: afterwards this process answers from the chosen version."""
    first, second = publisher.learn(*CLICKS[:60]), publisher.learn(*CLICKS[60:])
    async with sharing(store) as (_, _, client):
        await eventually(serves(client, second.number), "the client serves the newest")
        store.move_alias("pinned", first.number, who="", why="", now=1.0)
        await client.caught_up()
        assert client.served.version.number == first.number


async def test_a_version_is_released_with_the_last_request_that_reads_it(store: VersionStore, publisher: Publisher):
    first = publisher.learn(*CLICKS[:20])
    async with sharing(store) as (_, server, client):
        await eventually(serves(client, first.number), "the client serves it")
        in_flight = client.served
        for start in range(20, 120, 20):
            newest = publisher.learn(*CLICKS[start : start + 20])
            await eventually(serves(client, newest.number), "the client follows")

        def held() -> set[str]:
            with server._lock:
                return {each.version.id for client in server._clients.values() for each in client.leases.values()}

        async def only_needed() -> bool:
            gc.collect()
            return len(held()) <= 3

        await eventually(only_needed, "the served version, the one before and the one in flight are held")
        assert first.id in held(), "a request still reads it"
        expected = lists(in_flight.model)
        assert lists(in_flight.model) == expected
        del in_flight

        async def released() -> bool:
            gc.collect()
            return first.id not in held()

        await eventually(released, "nothing holds it any more")


async def test_a_version_that_was_released_too_early_is_sent_again(store: VersionStore, publisher: Publisher):
    """If the state names a version that the client has just released, the client requests and serves it again."""
    version = publisher.learn(*CLICKS)
    async with sharing(store) as (loader, server, client):
        await eventually(serves(client, version.number), "the client serves it")
        client._known.clear()
        client.served = None
        server.send_to_all()
        await eventually(serves(client, version.number), "the client serves it again")
        assert lists(client.served.model) == lists(loader.served.model)


async def test_counts_of_a_client_are_in_the_totals(store: VersionStore, publisher: Publisher):
    async with sharing(store) as (_, _, client):
        client._metrics.count_request("GET", "/v1/popular", 200, 0.001)

        async def counted() -> bool:
            totals = await client.totals() or []
            return any(name == "corrente_http_requests_total" and value == 1.0 for name, _, value in totals)

        await eventually(counted, "the sums have the client's request")


async def test_requests_end_when_the_loading_process_goes(store: VersionStore, publisher: Publisher):
    """A request that waits for a reply fails at once, not after its timeout."""
    version = publisher.learn(*CLICKS)
    async with sharing(store) as (loader, server, client):
        await eventually(serves(client, version.number), "the client serves it")
        blocked = threading.Event()
        loader._jobs.put(lambda: blocked.wait(60) and None)
        waiting = asyncio.create_task(client.answering("before-sale"))

        async def sent() -> bool:
            return bool(client._waiting)

        await eventually(sent, "the request is under way")
        hang_up(server)
        try:
            with pytest.raises(LoaderAway):
                async with asyncio.timeout(5.0):
                    await waiting
        finally:
            blocked.set()
