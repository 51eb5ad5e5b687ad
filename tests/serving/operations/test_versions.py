"""New versions are served without a restart, a rollback reaches any kept one, and failures leave the last good one."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest
import redis.exceptions

from stream.models.query import Query
from stream.state.tables import delta_bytes
from stream.versions import PINNED, Policy, ShardReport, VersionStore
from stream.versions.compaction import compact
from tests.serving.answers.test_recommendations import CLICKS, ranked, shown
from tests.serving.awaiting import eventually, served_version
from tests.serving.conftest import MODEL, Publisher, RedisServer, running, settings_for

USERS = ["u0", "u3", "nobody"]


async def lists(client, **params) -> dict[str, list]:
    return {user: shown((await client.get(f"/v1/recommendations/{user}", params=params)).json()) for user in USERS}


def lists_of(publisher: Publisher) -> dict[str, list]:
    model = publisher.shard.model()
    return {user: ranked(model.recommend(Query(user=user))) for user in USERS}


async def test_a_rollback_gives_the_exact_answers_while_learning_goes_on(
    redis_server: RedisServer, publisher: Publisher
):
    expected = {}
    async with running(settings_for(redis_server)) as (_, client):
        for start in range(0, 100, 20):
            version = publisher.learn(*CLICKS[start : start + 20])
            expected[version.number] = lists_of(publisher)
            await served_version(client, version.number)
            assert await lists(client) == expected[version.number]

        answer = await client.post("/v1/versions/2/rollback", json={"who": "ada", "why": "bad lists"})
        assert (answer.status_code, answer.json()["served"], answer.json()["pinned"]) == (200, 2, 2)
        assert await lists(client) == expected[2]  # at once: this server has followed before it answered

        newest = publisher.learn(*CLICKS[100:])
        expected[newest.number] = lists_of(publisher)
        await client.get(f"/v1/popular?version={newest.number}")  # in memory, and still not served
        assert await lists(client) == expected[2]
        for number, answers in expected.items():
            assert await lists(client, version=number) == answers

        answer = await client.request("DELETE", "/v1/pin", json={})
        assert (answer.json()["served"], answer.json()["pinned"]) == (newest.number, None)
        assert await lists(client) == expected[newest.number]

        moves = (await client.get("/v1/versions")).json()["history"]
        assert [(move["name"], move["from"], move["to"], move["who"], move["why"]) for move in moves] == [
            ("pinned", 2, None, "", ""),
            ("pinned", None, 2, "ada", "bad lists"),
        ]


async def test_versions_can_be_listed_shown_and_named_in_every_way(redis_server: RedisServer, publisher: Publisher):
    first, second = publisher.learn(*CLICKS[:50]), publisher.learn(*CLICKS[50:])
    publisher.store.move_alias("before-sale", first.number, who="ada", why="", now=1.0)
    async with running(settings_for(redis_server)) as (_, client):
        await served_version(client, second.number)
        listed = (await client.get("/v1/versions")).json()
        assert [(each["number"], each["id"], each["parent"], each["served"]) for each in listed["versions"]] == [
            (second.number, second.id, first.id, True),
            (first.number, first.id, None, False),
        ]
        assert listed["aliases"] == {"latest": second.number, "before-sale": first.number}
        assert len((await client.get("/v1/versions?limit=1")).json()["versions"]) == 1
        for name in [first.number, first.id, first.id[:10], "before-sale"]:
            shown_version = await client.get(f"/v1/versions/{name}")
            assert shown_version.json() == {"id": first.id, **json.loads(json.dumps(first.manifest))}
            assert (await client.get(f"/v1/popular?version={name}")).json()["version_id"] == first.id


async def test_the_difference_between_two_versions_is_that_of_the_store(
    redis_server: RedisServer, publisher: Publisher
):
    first, second = publisher.learn(*CLICKS[:50]), publisher.learn(*CLICKS[50:])
    async with running(settings_for(redis_server)) as (_, client):
        answer = await client.get(f"/v1/versions/{first.number}/diff/{second.id}")
        assert answer.json() == json.loads(json.dumps(publisher.store.diff(first.number, second.number)))


async def test_unknown_versions_are_404_everywhere(redis_server: RedisServer, publisher: Publisher):
    version = publisher.learn(*CLICKS)
    async with running(settings_for(redis_server)) as (_, client):
        await served_version(client, version.number)
        for answer in [
            await client.get("/v1/versions/99"),
            await client.get("/v1/versions/nothing"),
            await client.get("/v1/versions/%F0%9F%92%A9"),
            await client.get("/v1/versions/%FF"),
            await client.get(f"/v1/versions/{'9' * 5000}"),
            await client.get("/v1/versions/1/diff/99"),
            await client.post("/v1/versions/99/rollback", json={}),
            await client.get("/v1/popular?version=99"),
            await client.get("/v1/recommendations/u?version=nothing"),
            await client.post("/v1/recommendations", json={"version": "99"}),
        ]:
            assert answer.status_code == 404, answer.text
            assert answer.headers["content-type"] == "application/problem+json"
        assert (await client.get("/health/ready")).json()["version"] == version.number


async def test_a_version_that_only_a_server_still_holds_can_not_be_pinned(
    redis_server: RedisServer, publisher: Publisher
):
    first, second = publisher.learn(*CLICKS[:50]), publisher.learn(*CLICKS[50:])
    async with running(settings_for(redis_server)) as (app, client):
        await served_version(client, second.number)
        assert (await client.get(f"/v1/popular?version={first.number}")).status_code == 200
        policy = Policy(keep_last=1, keep_minutes=0, keep_hours=0, keep_days=0)
        assert compact(publisher.store, 0, policy, second.created_at + 1e6).versions_dropped == 1
        for name in (str(first.number), first.id):
            assert app.state.loader.held(name).version.id == first.id
            answer = await client.post(f"/v1/versions/{name}/rollback", json={})
            assert answer.status_code == 404, answer.text
        assert PINNED not in publisher.store.aliases()
        assert app.state.loader.served.version.id == second.id


async def test_a_rollback_whose_reply_is_lost_is_followed_all_the_same(
    redis_server: RedisServer, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
):
    first, second = publisher.learn(*CLICKS[:50]), publisher.learn(*CLICKS[50:])
    async with running(settings_for(redis_server)) as (app, client):
        await served_version(client, second.number)
        move, look = app.state.store.move_alias, app.state.loader.store_changed
        looks: list[int] = []

        def without_a_reply(*args, **more) -> None:
            move(*args, **more)
            raise redis.exceptions.ConnectionError("Connection closed by server.")

        monkeypatch.setattr(app.state.store, "move_alias", without_a_reply)
        monkeypatch.setattr(app.state.loader, "store_changed", lambda: looks.append(look()) or looks[-1])
        answer = await client.post(f"/v1/versions/{first.number}/rollback", json={})
        assert answer.status_code == 503
        assert len(looks) == 1, "not left to polling: the announcement is its own, which it passes over"
        await served_version(client, first.number)


async def test_memory_holds_at_most_the_configured_number_of_versions(redis_server: RedisServer, publisher: Publisher):
    for start in range(0, 100, 10):
        last = publisher.learn(*CLICKS[start : start + 10])
    async with running(settings_for(redis_server, resident_versions=3)) as (app, client):
        await served_version(client, last.number)
        for number in range(1, 11):
            assert (await client.get(f"/v1/popular?version={number}")).json()["version"] == number
        assert len(list(app.state.loader.in_memory())) <= 3


async def test_lists_are_answered_while_redis_is_down(redis_server: RedisServer, publisher: Publisher):
    version = publisher.learn(*CLICKS)
    async with running(settings_for(redis_server)) as (_, client):
        await served_version(client, version.number)
        before = await lists(client)
        redis_server.stop()

        async def degraded() -> bool:
            health = (await client.get("/health/ready")).json()
            return health["status"] == "degraded" and not health["redis"]["up"] and health["redis"]["since"]

        await eventually(degraded, "health is degraded")
        assert await lists(client) == before
        assert (await client.get("/health/ready")).status_code == 200
        assert (await client.get("/v1/versions")).status_code == 503
        assert (await client.get("/v1/popular?version=77")).status_code == 503
        assert (await client.post("/v1/versions/1/rollback", json={})).status_code == 503

        redis_server.start()

        async def healed() -> bool:
            return (await client.get("/health/ready")).json()["redis"]["up"]

        await eventually(healed, "it heals by itself")
        publisher.claim = publisher.store.claim(0, worker="test", token="again", now=2.0)
        newer = publisher.learn(("u0", "after the outage"))
        await served_version(client, newer.number)
        assert await lists(client) == lists_of(publisher)


async def test_a_server_that_starts_without_redis_waits_for_it(redis_server: RedisServer, publisher: Publisher):
    version = publisher.learn(*CLICKS)
    redis_server.stop()
    async with running(settings_for(redis_server)) as (_, client):
        health = await client.get("/health/ready")
        assert (health.status_code, health.json()["status"]) == (503, "starting")
        assert (await client.get("/health/live")).status_code == 200
        redis_server.start()
        await served_version(client, version.number)
        assert await lists(client) == lists_of(publisher)


async def test_a_store_with_other_contents_replaces_the_version_in_memory(
    redis_server: RedisServer, publisher: Publisher
):
    for start in range(0, 60, 20):
        old = publisher.learn(*CLICKS[start : start + 20])
    async with running(settings_for(redis_server)) as (_, client):
        await served_version(client, old.number)
        redis_server.client.flushall()
        assert await lists(client) == lists_of(publisher)  # the store has no other version to serve
        other = Publisher(publisher.store)
        version = other.learn(("somebody", "another shop's item"))
        assert version.number < old.number
        held = await eventually(lambda: _problem(client), "the server to say that it keeps what has learned more")
        assert held.startswith(f"version {version.number} (lineage {version.lineage}) has learned less")
        assert await lists(client) == lists_of(publisher)
        store_says_caught_up(other)
        await served_version(client, version.number)
        assert await lists(client) == lists_of(other)
        by_number = await client.get(f"/v1/popular?version={version.number}")
        assert by_number.json()["version_id"] == version.id


async def test_a_version_with_other_settings_gets_tables_of_its_own(
    redis_server: RedisServer, publisher: Publisher, store: VersionStore
):
    small = publisher.learn(*CLICKS)
    async with running(settings_for(redis_server)) as (_, client):
        await served_version(client, small.number)
        expected = lists_of(publisher)
        redis_server.client.flushall()
        larger = Publisher(store, MODEL.model_copy(update={"max_items": 128, "seed": 5}))
        larger.learn(*CLICKS[:10])
        version = larger.learn(*CLICKS[10:30])
        store_says_caught_up(larger)
        await eventually(lambda: _serves(client, version.id), "the larger model is served")
        assert await lists(client) == lists_of(larger) != expected


def store_says_caught_up(publisher: Publisher) -> None:
    """Report, as the publisher's worker would, that nothing is left to learn."""
    assert publisher.store.report(0, publisher.claim, "test", ShardReport(caught_up=True))


async def _problem(client) -> str | None:
    return (await client.get("/health/ready")).json()["problem"]


async def _serves(client, version_id: str) -> bool:
    return (await client.get("/health/ready")).json()["version_id"] == version_id


async def test_a_version_that_cannot_be_read_leaves_the_last_good_one(redis_server: RedisServer, publisher: Publisher):
    good = publisher.learn(*CLICKS[:60])
    publisher.store.move_alias("pinned", good.number, who="", why="", now=1.0)
    async with running(settings_for(redis_server)) as (_, client):
        await served_version(client, good.number)
        expected = lists_of(publisher)
        chunks_before = set(redis_server.client.keys("*:chunk:*"))
        broken = publisher.learn(*CLICKS[60:])
        for key in set(redis_server.client.keys("*:chunk:*")) - chunks_before:
            redis_server.client.set(key, b"not what was published")
        answer = await client.request("DELETE", "/v1/pin", json={})
        assert (answer.status_code, answer.json()["served"]) == (200, good.number)
        health = await client.get("/health/ready")
        assert (health.status_code, health.json()["status"]) == (200, "degraded")
        assert "checksum" in health.json()["problem"]
        assert health.json()["since"]
        assert await lists(client) == expected
        assert (await client.get(f"/v1/popular?version={broken.number}")).status_code == 409

        assert (await client.post(f"/v1/versions/{good.number}/rollback", json={})).status_code == 200
        assert (await client.get("/health/ready")).json()["problem"] is None


async def test_a_server_that_starts_on_a_broken_version_takes_the_newest_good_one(
    redis_server: RedisServer, publisher: Publisher
):
    good = publisher.learn(*CLICKS[:60])
    expected = lists_of(publisher)
    chunks_before = set(redis_server.client.keys("*:chunk:*"))
    publisher.learn(*CLICKS[60:])
    for key in set(redis_server.client.keys("*:chunk:*")) - chunks_before:
        redis_server.client.set(key, b"not what was published")
    async with running(settings_for(redis_server)) as (_, client):
        await served_version(client, good.number)
        health = (await client.get("/health/ready")).json()
        assert (health["status"], "checksum" in health["problem"]) == ("degraded", True)
        assert await lists(client) == expected


async def test_memory_does_not_grow_with_the_versions_that_were_served(redis_server: RedisServer, publisher: Publisher):
    async with running(settings_for(redis_server)) as (app, client):
        shares = []
        for start in range(0, 600, 10):
            version = publisher.learn(*[CLICKS[at % 120] for at in range(start, start + 10)])
            await served_version(client, version.number)
            held = app.state.loader.memory.nbytes
            shares.append(held / delta_bytes(publisher.shard.snapshot().delta))
        # The model itself grows with what it learns; beside it, the served version and the one before share what one
        # batch has not written, so what is held stays in proportion to one model however many versions were served.
        assert max(shares[30:]) <= max(shares[:30]) * 1.1


async def test_several_shards_answer_as_one_model(redis_server: RedisServer, store: VersionStore):
    """A visitor of either shard is known, and items of both are in the lists."""
    shards = [Publisher(store, partition=partition, shards=2) for partition in range(2)]
    shards[0].learn(*[("ann", "a1"), ("ann", "a2"), ("amy", "a1"), ("amy", "both")] * 3)
    version = shards[1].learn(*[("bob", "b1"), ("bob", "b2"), ("bea", "b1"), ("bea", "both")] * 2)
    async with running(settings_for(redis_server)) as (_, client):
        await served_version(client, version.number)
        popular = shown((await client.get("/v1/popular")).json())
        assert {item for item, _ in popular} == {"a1", "a2", "b1", "b2", "both"}
        counts = dict(popular)
        assert counts["a1"] > counts["both"] > counts["b1"] > counts["b2"]
        for user in ["ann", "amy", "bob", "bea"]:
            answer = (await client.get(f"/v1/recommendations/{user}")).json()
            assert (answer["fallback"], answer["version_id"]) == (None, version.id)

        newer = shards[0].learn(*[("ann", "a3")] * 20)
        await served_version(client, newer.number)
        assert (await client.get("/v1/popular?n=1")).json()["items"][0]["item"] == "a3"
        await client.post(f"/v1/versions/{version.number}/rollback", json={})
        assert shown((await client.get("/v1/popular")).json()) == popular


async def test_requests_during_loads_see_one_version_each(redis_server: RedisServer, publisher: Publisher):
    """Every answer, whenever it is given, is exactly the answer of the version that it names."""
    expected = {publisher.learn(*CLICKS[:10]).number: lists_of(publisher)}
    batches = [CLICKS[start % 110 : start % 110 + 10] for start in range(0, 400, 10)]
    stopped = threading.Event()

    def learn() -> None:
        for batch in batches:
            number = publisher.learn(*batch).number
            expected[number] = lists_of(publisher)
        stopped.set()

    async with running(settings_for(redis_server)) as (_, client):
        await served_version(client, 1)
        learning = threading.Thread(target=learn)
        learning.start()
        seen = []
        while not stopped.is_set():
            for user in USERS:
                answer = (await client.get(f"/v1/recommendations/{user}")).json()
                seen.append((answer["version"], user, shown(answer)))
            await asyncio.sleep(0)
        learning.join()
        await served_version(client, len(batches) + 1)
        assert await lists(client) == expected[len(batches) + 1]
    assert {number for number, _, _ in seen} <= set(expected)
    for number, user, answer in seen:
        assert answer == expected[number][user]
