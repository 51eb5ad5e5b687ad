"""Too much at once, over real sockets: what waits is bounded, and the rest is refused with 503 and `Retry-After`."""

from __future__ import annotations

import asyncio
import contextlib
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from serving.web import connection, shedding
from stream.versions import VersionStore
from tests.serving.awaiting import eventually
from tests.serving.conftest import Publisher, RedisServer, settings_for
from tests.serving.limits.live_server import Live, live
from tests.serving.raw_client import Client

LIST = b"GET /v1/recommendations/u HTTP/1.1\r\nhost: a\r\n\r\n"
POPULAR = b"GET /v1/popular HTTP/1.1\r\nhost: a\r\n\r\n"
MOST = 16
FEW = MOST // shedding.SHED_SHARE
FIT = MOST // 2


@asynccontextmanager
async def shop(redis_server: RedisServer, store: VersionStore, **more: object) -> AsyncIterator[Live]:
    Publisher(store).learn(("u", "a"), ("v", "b"))
    async with live(settings_for(redis_server, **more)) as served:

        async def ready() -> bool:
            return served.app.state.loader.served is not None

        await eventually(ready, "a version is served")
        yield served


def counted(served: Live, reason: str) -> float:
    return served.app.state.metrics.shed.labels(reason)._value.get()


async def statuses(client: Client, count: int) -> list[int]:
    return [(await client.answer()).status for _ in range(count)]


async def test_a_turn_answers_a_bounded_number_and_refuses_the_rest_at_once(
    redis_server: RedisServer, store: VersionStore
) -> None:
    async with shop(redis_server, store, max_waiting_requests=MOST) as served, served.connected() as client:
        await client.send(LIST * 100)
        answers = [await client.answer() for _ in range(100)]
        assert [answer.status for answer in answers] == [200] * MOST + [503] * (100 - MOST)
        refusal = answers[-1]
        assert refusal.headers["retry-after"] == "1"
        assert refusal.headers["content-type"] == "application/problem+json"
        assert refusal.headers["x-content-type-options"] == "nosniff"
        assert "CORRENTE_MAX_WAITING_REQUESTS" in refusal.body["detail"]
        assert counted(served, "waiting") == 100 - MOST
        await client.send(LIST * 100)
        found = await statuses(client, 100)
        most = FEW * shedding.IDLE_FACTOR
        assert found.count(200) in {FEW, most}, "until it keeps up, turns are short"
        assert found == sorted(found)

        shedder = served.server.config.http_protocol_class.shedder

        async def calm() -> bool:
            await client.send(LIST)
            return await statuses(client, 1) == [200] and not shedder._sheds

        await eventually(calm, "nothing was refused for a while", 10.0)
        await client.send(LIST * MOST)
        assert await statuses(client, MOST) == [200] * MOST, "turns are long again"


async def test_clients_that_come_back_at_once_are_all_answered_again_if_they_fit_into_a_turn(
    redis_server: RedisServer, store: VersionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shedding, "TRY_SECONDS", 0.3)
    async with shop(redis_server, store, max_waiting_requests=MOST) as served, served.connected() as client:
        await client.send(LIST * 100)
        assert 503 in await statuses(client, 100)

        async def all_answered() -> bool:
            await client.send(LIST * FIT)
            return set(await statuses(client, FIT)) == {200}

        assert not await all_answered(), "turns are short"
        await eventually(all_answered, "a longer turn was tried", 10.0)


async def test_many_connections_at_once_are_one_turn_and_keep_their_connections(
    redis_server: RedisServer, store: VersionStore
) -> None:
    async with shop(redis_server, store, max_waiting_requests=MOST) as served, contextlib.AsyncExitStack() as ends:
        clients = [await ends.enter_async_context(served.connected()) for _ in range(60)]
        for request in (LIST, POPULAR, LIST.replace(b"host: a", b"host: a\r\nConnection: keep-alive")):
            for client in clients:
                client.writer.write(request)
            found = [(await client.answer()).status for client in clients]
            assert set(found) == {200, 503}
            assert found.count(200) <= MOST
        total = served.server.server_state.total_requests
        assert total == 180, "refused requests are requests"
        await asyncio.sleep(0)
        for client in clients[:FEW]:
            client.writer.write(LIST)
        assert [(await client.answer()).status for client in clients[:FEW]] == [200] * FEW


async def test_a_refused_post_is_read_to_its_end_and_nothing_in_it_is_taken_for_a_request(
    redis_server: RedisServer, store: VersionStore
) -> None:
    body = b'{"recent": ["a"]}' + LIST
    post = b"POST /v1/recommendations HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % len(body)
    async with shop(redis_server, store, max_waiting_requests=MOST) as served, served.connected() as client:
        await client.send(LIST * MOST + (post + body) * 3 + LIST.replace(b"host: a", b"connection: close"))
        assert await statuses(client, MOST + 4) == [200] * MOST + [503] * 4
        assert await client.closed() == b""


async def test_health_metrics_and_rollbacks_are_never_shed(redis_server: RedisServer, store: VersionStore) -> None:
    async with shop(redis_server, store, max_waiting_requests=8) as served, served.connected() as client:
        for target in ("/health/live", "/health/ready", "/metrics", "/v1/versions"):
            async with served.connected() as other:
                await client.send(LIST * 50)
                assert (await other.ask(target)).status == 200
                assert 503 in await statuses(client, 50)


async def test_no_more_than_so_many_requests_are_answered_at_the_same_time(
    redis_server: RedisServer, store: VersionStore
) -> None:
    """No Kafka is there, so that posts wait for it."""
    body = b'{"user": "u", "item": "a"}'
    post = b"POST /v1/events/clicks HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    async with shop(redis_server, store, max_concurrent_requests=3) as served, contextlib.AsyncExitStack() as ends:
        clients = [await ends.enter_async_context(served.connected()) for _ in range(3)]
        for client in clients:
            await client.send(b"POST /v1/events/clicks HTTP/1.1\r\nhost: a\r\ncontent-length: 26\r\n\r\n{")

        async def three() -> bool:
            return len(served.server.server_state.tasks) == 3

        await eventually(three, "three posts are being answered")
        async with served.connected() as other:
            await other.send(post)
            refusal = await other.answer()
            assert refusal.status == 503
            assert refusal.headers["retry-after"] == "1"
            assert (await other.ask("/v1/recommendations/u")).status == 200, "lists need no task"
            assert (await other.ask("/health/live")).status == 200
        assert counted(served, "concurrent") == 1


async def test_idle_connections_make_room_for_new_ones(redis_server: RedisServer, store: VersionStore) -> None:
    async with shop(redis_server, store, max_connections=50) as served, contextlib.AsyncExitStack() as ends:
        first = await ends.enter_async_context(served.connected())
        assert (await first.ask("/v1/recommendations/u")).status == 200
        for _ in range(300):
            idle = await ends.enter_async_context(served.connected())
            idle.writer.write(b"GET /v1/rec")
        late = await ends.enter_async_context(served.connected())
        assert (await late.ask("/v1/recommendations/u")).status == 200
        assert len(served.server.server_state.connections) <= 51
        assert await first.closed() == b"", "the one that was silent for longest"
        assert counted(served, "connections") >= 200


async def test_where_every_connection_waits_for_its_answer_another_one_is_refused(
    redis_server: RedisServer, store: VersionStore
) -> None:
    async with shop(redis_server, store, max_connections=16) as served, contextlib.AsyncExitStack() as ends:
        for _ in range(16):
            client = await ends.enter_async_context(served.connected())
            await client.send(b"POST /v1/events/clicks HTTP/1.1\r\nhost: a\r\ncontent-length: 26\r\n\r\n{")

        async def busy() -> bool:
            return len(served.server.server_state.tasks) == 16

        await eventually(busy, "all are busy")
        async with served.connected() as other:
            refusal = await other.answer()
            assert refusal.status == 503
            assert refusal.headers["retry-after"] == "1"
            assert "CORRENTE_MAX_CONNECTIONS" in refusal.body["detail"]


@pytest.mark.fault
@pytest.mark.long
async def test_five_thousand_idle_connections_hold_up_nobody(
    redis_server: RedisServer, store: VersionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 5000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2 * count + 500:
        pytest.skip(f"needs {2 * count + 500} files (ulimit -n), and there are {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    monkeypatch.setattr(connection, "SWEEP_SECONDS", 0.1)
    try:
        settings = {"keep_alive_seconds": 5.0, "head_seconds": 60.0}
        async with shop(redis_server, store, **settings) as served, contextlib.AsyncExitStack() as ends:
            clients = [await ends.enter_async_context(served.connected()) for _ in range(count)]

            async def open_all() -> bool:
                return len(served.server.server_state.connections) == count

            await eventually(open_all, "all are open", 60.0)
            async with served.connected() as other:
                for _ in range(100):
                    assert (await other.ask("/v1/recommendations/u")).status == 200
            for client in clients:
                assert await client.closed() == b"", "idle ones are closed after their time"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
