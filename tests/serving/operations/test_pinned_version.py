"""A pinned version answers as it did, however many versions and visitors come after it."""

from __future__ import annotations

from stream.models.query import Query
from tests.serving.awaiting import eventually, served_version
from tests.serving.conftest import MODEL, Publisher, RedisServer, running, settings_for

USERS = [f"u{n}" for n in range(12)]
CLICKS = [(user, f"item {(at * 5 + n * 3) % 11}") for n, user in enumerate(USERS) for at in range(6)]


async def lists(client) -> dict[str, list[tuple[str, float]]]:
    """Lists of visitors that the pinned version knows, by item and score."""
    found = {}
    for user in USERS:
        answer = (await client.get(f"/v1/recommendations/{user}")).json()
        assert answer["version"] == 1
        assert answer["fallback"] is None, f"{user} is known to this version"
        found[user] = [(each["item"], each["score"]) for each in answer["items"]]
    return found


async def test_a_pinned_version_knows_its_visitors_after_thousands_of_others_came_by(
    redis_server: RedisServer, publisher: Publisher
):
    """The others are many more than the rows and the hints of a server have room for, and evict the first ones."""
    first = publisher.learn(*CLICKS)
    model = publisher.shard.model()
    expected = {
        user: list(zip(ranking.items, ranking.scores, strict=True))
        for user in USERS
        for ranking in [model.recommend(Query(user=user))]
    }
    async with running(settings_for(redis_server)) as (app, client):
        await served_version(client, first.number)
        assert (await client.post("/v1/versions/1/rollback", json={})).status_code == 200
        assert await lists(client) == expected
        came = 0
        while came < 40 * MODEL.max_visitors:
            newest = publisher.learn(*[(f"visitor {came + n}", f"item {n % 11}") for n in range(MODEL.max_visitors)])
            came += MODEL.max_visitors
            assert (await client.get(f"/v1/popular?version={newest.number}")).json()["version"] == newest.number
        assert publisher.shard.model().recommend(Query(user=USERS[0])).fallback is not None, "it was evicted since"
        assert await lists(client) == expected

        async def newest_is_in_memory() -> bool:
            return any(each.version.number == newest.number for each in app.state.loader.in_memory())

        await eventually(newest_is_in_memory, "the newest version shares the memory of the pinned one")
        assert await lists(client) == expected
    async with running(settings_for(redis_server)) as (_, client):
        await served_version(client, first.number)
        assert await lists(client) == expected, "the same after a restart"
