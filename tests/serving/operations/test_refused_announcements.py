"""A user of Redis without a channel: moves and publishes take effect unannounced, and servers find them by polling."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from structlog import get_logger
from structlog.testing import capture_logs

from stream.versions import VersionStore
from tests.serving.answers.test_recommendations import CLICKS
from tests.serving.awaiting import served_version
from tests.serving.conftest import Publisher, RedisServer, running, settings_for


@pytest.fixture
def restricted(redis_server: RedisServer) -> Iterator[str]:
    """The address of the Redis for a user with every command, every key and no channel, as Redis 7 makes them."""
    redis_server.client.acl_setuser(
        "shop",
        enabled=True,
        passwords=["+secret"],
        categories=["+@all"],
        keys=["*"],
        reset=True,
        reset_channels=True,
    )
    yield redis_server.url.replace("redis://", "redis://shop:secret@")
    redis_server.client.acl_deluser("shop")


async def test_a_rollback_that_can_not_be_announced_takes_effect_answers_200_and_says_so(
    redis_server: RedisServer, restricted: str, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.loading.loader.log", get_logger())
    settings = settings_for(redis_server).model_copy(update={"redis": restricted, "poll_seconds": 0.05})
    publisher.learn(*CLICKS[:20])
    publisher.learn(*CLICKS[20:40])
    with capture_logs() as lines:
        async with running(settings) as (_, client):
            await served_version(client, 2)
            answer = await client.post("/v1/versions/1/rollback", json={"who": "ada", "why": "bad lists"})
            assert answer.status_code == 200
            pinned = answer.json()
            assert (pinned["served"], pinned["pinned"], pinned["announced"]) == (1, 1, False)
            assert "Redis refused to announce it" in pinned["note"]
            assert "ACL SETUSER NAME &corrente:*" in pinned["note"]
            moves = (await client.get("/v1/versions")).json()["history"]
            assert [(move["name"], move["to"]) for move in moves] == [("pinned", 1)]
            answer = await client.delete("/v1/pin", headers={"content-type": "application/json"})
            assert (answer.status_code, answer.json()["served"], answer.json()["announced"]) == (200, 2, False)
            health = (await client.get("/health/ready")).json()
            assert health["redis"] == {"up": True}, "a Redis that refuses announcements answers"
            refusals = [line for line in lines if line["event"].startswith("Redis refuses announcements")]
            assert len(refusals) == 1
            assert "&corrente:*" in refusals[0]["mend"]


async def test_versions_that_can_not_be_announced_are_published_whole_and_served(
    redis_server: RedisServer, restricted: str
) -> None:
    settings = settings_for(redis_server).model_copy(update={"redis": restricted, "poll_seconds": 0.05})
    store = VersionStore.connect(restricted, settings.model_name)
    publisher = Publisher(store)
    async with running(settings) as (_, client):
        for start in range(0, 60, 20):
            published = publisher.learn(*CLICKS[start : start + 20])
            await served_version(client, published.number)
    assert store.latest() == published
    problem = store.announcing_problem()
    assert problem is not None
    assert "ACL SETUSER NAME &corrente:*" in problem
    store.close()


async def test_a_move_that_is_announced_has_no_note(redis_server: RedisServer, publisher: Publisher) -> None:
    publisher.learn(*CLICKS[:20])
    async with running(settings_for(redis_server)) as (_, client):
        await served_version(client, 1)
        answer = await client.post("/v1/versions/1/rollback", json={})
        assert (answer.json()["announced"], answer.json()["note"]) == (True, None)
    assert publisher.store.announcing_problem() is None
