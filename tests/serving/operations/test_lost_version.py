"""A pinned version, or the newest one, whose manifest Redis has lost: said, and the last good version answers."""

from __future__ import annotations

import pytest

from stream.versions import LostData
from tests.serving.answers.test_recommendations import CLICKS
from tests.serving.awaiting import eventually, served_version
from tests.serving.conftest import Publisher, RedisServer, running, settings_for


async def test_a_pinned_version_that_is_lost_is_said_and_the_last_good_version_answers(
    redis_server: RedisServer, publisher: Publisher
) -> None:
    for start in range(0, 60, 20):
        publisher.learn(*CLICKS[start : start + 20])
    store = publisher.store
    async with running(settings_for(redis_server)) as (_, client):
        await served_version(client, 3)
        store.redis.delete(store.keys.version(1))
        store.redis.hset(store.keys.aliases, "pinned", 1)

        async def problem() -> str:
            return (await client.get("/health/ready")).json()["problem"] or ""

        await eventually(problem, "the server to say that the version is lost")
        assert (await problem()).startswith("version 1 of model 'shop', which pinned or latest names, is lost")
        assert (await client.get("/v1/popular")).json()["version"] == 3
        with pytest.raises(LostData):
            store.version("pinned")
        await client.delete("/v1/pin", headers={"content-type": "application/json"})
        assert await problem() == ""
    async with running(settings_for(redis_server)) as (_, client):
        store.redis.delete(store.keys.version(3))
        publisher.store.redis.hset(store.keys.aliases, "pinned", 3)
        await served_version(client, 2)
