"""Lists over HTTP equal those of the model, and every answer says which version made it and from what."""

from __future__ import annotations

from urllib.parse import quote

import httpx
import pytest

from stream.models.query import Query
from tests.serving.answers.shop import application, shop
from tests.serving.awaiting import served_version
from tests.serving.conftest import Publisher, RedisServer, running, settings_for

CLICKS = [(f"u{n % 7}", f"item {n % 11}") for n in range(120)]


def shown(answer: dict) -> list[tuple[str, float]]:
    return [(each["item"], each["score"]) for each in answer["items"]]


def ranked(ranking) -> list[tuple[str, float]]:
    return list(zip(ranking.items, ranking.scores, strict=True))


async def test_answers_equal_those_of_the_shard_that_learned(redis_server: RedisServer, publisher: Publisher):
    first = publisher.learn(*CLICKS[:60])
    async with running(settings_for(redis_server)) as (_, client):
        await served_version(client, first.number)
        second = publisher.learn(*CLICKS[60:])  # loaded as changes to the first
        await served_version(client, second.number)
        model = publisher.shard.model()

        for user in ["u0", "u5", "unknown"]:
            answer = (await client.get(f"/v1/recommendations/{user}", params={"n": 8})).json()
            ranking = model.recommend(Query(user=user, n=8))
            assert shown(answer) == ranked(ranking)
            assert answer["fallback"] == ranking.fallback
            assert (answer["version"], answer["version_id"], answer["model"]) == (second.number, second.id, "shop")

        body = {"recent": ["item 3", "item 4"], "candidates": ["item 1", "item 2", "item 9"], "n": 2}
        answer = (await client.post("/v1/recommendations", json=body)).json()
        assert shown(answer) == ranked(
            model.recommend(Query(recent=["item 3", "item 4"], candidates=["item 1", "item 2", "item 9"], n=2))
        )
        answer = (await client.get("/v1/items/item%203/similar?n=4")).json()
        assert shown(answer) == ranked(model.similar("item 3", 4))
        assert shown((await client.get("/v1/popular?n=5")).json()) == ranked(model.popular(5))
        assert shown((await client.get("/v1/trending?n=5")).json()) == ranked(model.popular(5, half_life="2h"))


async def test_unknown_visitors_and_items_get_a_useful_list(redis_server: RedisServer, publisher: Publisher):
    version = publisher.learn(*CLICKS)
    async with running(settings_for(redis_server)) as (_, client):
        await served_version(client, version.number)
        for path in ["/v1/recommendations/unknown", "/v1/items/unknown/similar"]:
            answer = await client.get(path)
            assert answer.status_code == 200
            assert answer.json()["items"]
            assert answer.json()["fallback"] in {"trending", "popular", "newest"}


async def test_before_the_first_version_lists_are_empty_and_say_so(redis_server: RedisServer):
    async with running(settings_for(redis_server)) as (_, client):
        for path in ["/v1/recommendations/u", "/v1/items/i/similar", "/v1/popular", "/v1/trending"]:
            answer = (await client.get(path)).json()
            assert (answer["items"], answer["fallback"], answer["version"]) == ([], "empty", None)


@pytest.mark.parametrize("user", ["a/b", "ä ö", "100%", "?&#", "a+b", "..", "/", "%2F", "snow☃"])
async def test_ids_in_paths_may_hold_any_character(redis_server: RedisServer, publisher: Publisher, user: str):
    version = publisher.learn((user, "their item"), ("other", "another item"), ("other", "their item"))
    async with running(settings_for(redis_server)) as (_, client):
        await served_version(client, version.number)
        path = f"/v1/recommendations/{quote(user, safe='')}".replace("/..", "/%2E%2E")
        answer = await client.get(path, params={"exclude_seen": True})
        assert answer.status_code == 200, answer.text
        items = [item for item, _ in shown(answer.json())]
        assert "their item" not in items
        assert "another item" in items


async def test_seen_and_excluded_items_are_left_out(redis_server: RedisServer, publisher: Publisher):
    version = publisher.learn(*CLICKS)
    async with running(settings_for(redis_server)) as (_, client):
        await served_version(client, version.number)
        everything = shown((await client.get("/v1/recommendations/u1?n=50")).json())
        assert len(everything) == 11
        first, second = everything[0][0], everything[1][0]
        rest = await client.get("/v1/recommendations/u1", params={"n": 50, "exclude": [first, second]})
        assert {item for item, _ in shown(rest.json())} == {item for item, _ in everything} - {first, second}


async def test_every_answer_has_its_own_id(redis_server: RedisServer, publisher: Publisher):
    version = publisher.learn(*CLICKS)
    async with running(settings_for(redis_server)) as (_, client):
        await served_version(client, version.number)
        ids = {(await client.get("/v1/popular")).json()["answer"] for _ in range(20)}
        assert len(ids) == 20


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/recommendations/u?n=0", "n"),
        ("/v1/recommendations/u?n=501", "n"),
        ("/v1/recommendations/u?n=ten", "n"),
        ("/v1/recommendations/u?n=1&n=2", "n"),
        ("/v1/recommendations/u?exclude_sen=true", "exclude_sen"),
        ("/v1/recommendations/u?exclude_seen=perhaps", "exclude_seen"),
        ("/v1/recommendations/u?session=", "session"),
        ("/v1/recommendations/u%0A", "user"),
        ("/v1/recommendations/%FF", "user"),
        ("/v1/items/a%00/similar", "item"),
        ("/v1/popular?user=u", "user"),
        (f"/v1/recommendations/{'u' * 257}", "user"),
        ("/v1/versions?limit=0", "limit"),
        ("/v1/versions?newest=1", "newest"),
        ("/health/ready?x=1", "x"),
    ],
)
async def test_wrong_parameters_are_named(redis_server: RedisServer, path: str, field: str):
    async with running(settings_for(redis_server)) as (_, client):
        answer = await client.get(path)
        assert answer.status_code == 422, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["field"] == field
        assert field in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"", 400, None),
        (b"{", 400, None),
        (b'{"user": "\xff"}', 400, None),
        (b"[1]", 422, None),
        (b'{"usr": "u"}', 422, "usr"),
        (b'{"n": 1e9}', 422, "n"),
        (b'{"recent": "a"}', 422, "recent"),
        (b'{"recent": [1.5]}', 422, "recent[0]"),
        (b'{"candidates": [""]}', 422, "candidates"),
        (b'{"user": "a\\u0000"}', 422, "user"),
        (b'{"recent": [' + b",".join([b"1"] * 1001) + b"]}", 422, "recent"),
    ],
)
async def test_wrong_bodies_are_refused_with_the_field(redis_server: RedisServer, body: bytes, status: int, field):
    async with running(settings_for(redis_server)) as (_, client):
        answer = await client.post("/v1/recommendations", content=body)
        assert answer.status_code == status, answer.text
        assert answer.json().get("field") == field


async def test_numbers_are_ids_too(redis_server: RedisServer, publisher: Publisher):
    version = publisher.learn(("7", "42"), ("8", "43"), ("8", "42"))
    async with running(settings_for(redis_server)) as (_, client):
        await served_version(client, version.number)
        by_number = (await client.post("/v1/recommendations", json={"user": 7, "exclude": [42]})).json()
        by_text = (await client.post("/v1/recommendations", json={"user": "7", "exclude": ["42"]})).json()
        assert shown(by_number) == shown(by_text) != []
        assert "42" not in [item for item, _ in shown(by_number)]


async def test_unknown_paths_and_methods_are_problems(redis_server: RedisServer):
    async with running(settings_for(redis_server)) as (_, client):
        for answer in [
            await client.get("/v1/nothing"),
            await client.get("/v1/recommendations/a/b"),
            await client.delete("/v1/popular"),
            await client.get("/v1/events/clicks"),
        ]:
            assert answer.status_code in {404, 405}
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["detail"]


@pytest.mark.parametrize(
    ("query", "body", "field"),
    [
        ("seen_within=30d", {"seen_within": "30d"}, "seen_within"),
        ("exclude_seen=false&seen_within=30d", {"exclude_seen": False, "seen_within": "30d"}, "seen_within"),
        ("exclude_seen=true&seen_within=30", {"exclude_seen": True, "seen_within": "30"}, "seen_within"),
        ("exclude_seen=sold", {"exclude_seen": ["sold"]}, "exclude_seen"),
        ("exclude_seen=bought,", {"exclude_seen": []}, "exclude_seen"),
        ("exclude_seen=bought&profiling=off", {"exclude_seen": ["bought"], "profiling": "off"}, "exclude_seen"),
        (None, {"recent": [{"item": "cup", "kind": "sale"}]}, "recent"),
    ],
)
async def test_what_leaves_out_nothing_or_is_no_kind_of_event_is_refused(query: str | None, body: dict, field: str):
    transport = httpx.ASGITransport(application(shop()))
    async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
        answers = [await client.post("/v1/recommendations", json={"user": "u1", **body})]
        if query is not None:
            answers.append(await client.get(f"/v1/recommendations/u1?{query}"))
    for answer in answers:
        assert answer.status_code == 422, answer.text
        assert field in answer.json()["field"]
