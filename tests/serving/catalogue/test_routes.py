"""Documents over HTTP: written to Redis, listed in pages, refused with the field's name; and lists that follow them."""

from __future__ import annotations

import json
from urllib.parse import quote

import httpx
import pytest

from tests.serving.awaiting import eventually, kafka_up, served_version
from tests.serving.conftest import Broker, Publisher, RedisServer, running, settings_for

ANY_ID = "tea/pot ü?#%2F&"
TEAPOT = {"title": "Teapot", "brand": "Alba", "categories": ["home/kitchen"], "price": 20, "labels": {"litres": 1.5}}


@pytest.fixture
async def client(redis_server: RedisServer):
    async with running(settings_for(redis_server)) as (_, client):
        yield client


async def listed(client: httpx.AsyncClient, path: str, **parameters) -> list[str]:
    answer = await client.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    return [each["item"] for each in answer.json()["items"]]


@pytest.mark.parametrize("item", ["teapot", ANY_ID])
async def test_an_item_is_written_shown_changed_and_deleted(client: httpx.AsyncClient, item: str) -> None:
    path = f"/v1/items/{quote(item, safe='')}"
    written = (await client.put(path, json=TEAPOT)).json()
    assert written == (await client.get(path)).json()
    assert {name: written[name] for name in TEAPOT} == TEAPOT
    assert (written["item"], written["revision"], written["available"], written["hidden"]) == (item, 1, True, False)

    change = {"price": None, "available": False, "labels": {"litres": None, "lid": True}}
    answered = (await client.patch(path, json=change)).json()
    assert answered == {"item": item, "revision": 2}, "a key that writes items doesn't read them"
    changed = (await client.get(path)).json()
    assert (changed["price"], changed["available"], changed["labels"]) == (None, False, {"lid": True})
    assert (changed["title"], changed["revision"]) == ("Teapot", 2)

    deleted = await client.delete(path)
    assert (deleted.status_code, deleted.json()["revision"]) == (200, 3)
    assert "stays in the model" in deleted.json()["note"]
    assert (await client.get(path)).status_code == 404
    assert (await client.get("/v1/items")).json()["items"] == []


async def test_a_profile_is_deleted_alone_and_the_answer_says_so(client: httpx.AsyncClient) -> None:
    written = await client.put("/v1/users/ada", json={"language": "de-CH", "tags": ["trade"]})
    assert written.json() == {"user": "ada", "revision": 1}, "a key that writes profiles doesn't read them"
    assert (await client.patch("/v1/users/ada", json={"country": "CH"})).json() == {"user": "ada", "revision": 2}
    profile = (await client.get("/v1/users/ada")).json()
    assert (profile["language"], profile["country"], profile["tags"]) == ("de-CH", "CH", ["trade"])
    assert [each["user"] for each in (await client.get("/v1/users")).json()["users"]] == ["ada"]
    assert "Only the profile is deleted" in (await client.delete("/v1/users/ada")).json()["note"]
    assert (await client.get("/v1/users/ada")).status_code == 404


async def test_many_items_are_written_at_once_and_listed_in_pages(client: httpx.AsyncClient) -> None:
    items = sorted(f"i{number:04}" for number in range(1203))
    answer = await client.put("/v1/items", json=[{"item": item, "title": item} for item in items])
    assert answer.json() == {"written": 1203, "revision": 1203}
    found, cursor = [], None
    while True:
        page = (await client.get("/v1/items", params={"limit": 500} | ({"cursor": cursor} if cursor else {}))).json()
        assert (page["total"], page["revision"]) == (1203, 1203)
        found += [each["item"] for each in page["items"]]
        cursor = page["cursor"]
        if cursor is None:
            break
    assert found == items


async def test_a_writer_that_read_an_older_revision_is_refused(client: httpx.AsyncClient) -> None:
    first = (await client.put("/v1/items/cup", json={"title": "Cup", "revision": 0})).json()
    assert (await client.put("/v1/items/cup", json={"title": "Mug", "revision": first["revision"]})).status_code == 200
    for answer in (
        await client.put("/v1/items/cup", json={"title": "Jug", "revision": first["revision"]}),
        await client.patch("/v1/items/cup", json={"title": "Jug", "revision": first["revision"]}),
        await client.put("/v1/items", json=[{"item": "cup", "revision": 0}]),
    ):
        assert (answer.status_code, answer.json()["field"]) == (409, "revision")
        assert "'cup' has revision 2" in answer.json()["detail"]
    assert (await client.get("/v1/items/cup")).json()["title"] == "Mug"


@pytest.mark.parametrize(
    ("document", "field", "says"),
    [
        ({"availabel": False}, "availabel", "Did you mean available?"),
        ({"price": -1}, "price", "price: expected float >= 0.0"),
        ({"currency": "euro"}, "currency", "currency: expected str matching regex"),
        ({"published_at": "soon"}, "published_at", "published_at: "),
        ({"categories": [" / "]}, "categories", "names no category"),
        ({"labels": {"size": [1]}}, "labels", "labels: expected"),
        ({"labels": {"size": "x" * 501}}, "labels", "at most 500"),
        ({"revision": "two"}, "revision", "a whole number from 0"),
        ([], None, "a document is a JSON object"),
    ],
)
async def test_a_wrong_document_is_refused_with_the_name_of_its_field(
    client: httpx.AsyncClient, document, field: str | None, says: str
) -> None:
    for method in ("PUT", "PATCH"):
        answer = await client.request(method, "/v1/items/cup", json=document)
        assert answer.status_code == 422, answer.text
        assert answer.json().get("field") == field
        assert says in answer.json()["detail"]
    if isinstance(document, dict):
        many = (await client.put("/v1/items", json=[{"item": "pot"}, {"item": "cup", **document}])).json()
        assert (many["status"], many["index"], many["field"]) == (422, 1, field)
    assert (await client.get("/v1/items")).json()["total"] == 0


@pytest.mark.parametrize(
    ("field", "nearest"), [("langage", "language"), ("contry", "country"), ("lables", "labels"), ("tag", "tags")]
)
async def test_an_unknown_field_of_a_profile_is_refused_with_the_nearest_name(
    client: httpx.AsyncClient, field: str, nearest: str
) -> None:
    answers = [
        await client.put("/v1/users/ada", json={field: "x"}),
        await client.patch("/v1/users/ada", json={field: "x"}),
    ]
    for answer in answers:
        assert (answer.status_code, answer.json()["field"]) == (422, field)
        assert f"Did you mean {nearest}?" in answer.json()["detail"]
    assert (await client.get("/v1/users/ada")).status_code == 404


@pytest.mark.parametrize("name", ["a/b", "ä ö", "100%", "?&#", "a+b", "..", "%2F", "snow☃", "{item}", '"', "a,b", "\\"])
async def test_ids_may_hold_any_character_wherever_they_are_named(
    redis_server: RedisServer, publisher: Publisher, name: str
) -> None:
    """The id of a user and of items, in paths, parameters and bodies, of lists and of documents."""
    publisher.learn((name, name), (name, "other"), ("v", name), ("v", "other"), ("v", f"{name} 2"))
    inside = quote(name, safe="").replace("..", "%2E%2E")
    async with running(settings_for(redis_server)) as (_, client):
        await served_version(client, 1)
        for item in (name, "other"):
            path = f"/v1/items/{quote(item, safe='').replace('..', '%2E%2E')}"
            assert (await client.put(path, json={"tags": [name], "categories": ["x"]})).json()["item"] == item
        assert (await client.put("/v1/items", json=[{"item": f"{name} 2", "brand": name}])).status_code == 200
        assert (await client.put(f"/v1/users/{inside}", json={"tags": [name]})).json()["user"] == name
        assert (await client.get(f"/v1/users/{inside}")).json()["tags"] == [name]

        async def followed() -> bool:
            return (await client.get("/v1/popular")).json()["catalogue_revision"] == 3

        await eventually(followed, "the catalogue is followed")
        path = f"/v1/recommendations/{inside}"
        assert await listed(client, path, include=[name]) == [name]
        assert name not in await listed(client, path, exclude=[name])
        assert set(await listed(client, path, tags=[name])) == {name, "other"}
        assert await listed(client, path, brands=[name]) == [f"{name} 2"]
        assert name not in await listed(client, f"/v1/items/{inside}/similar")
        body = {"user": name, "recent": [name], "candidates": [name, "other"], "exclude": ["other"], "explain": True}
        first = (await client.post("/v1/recommendations", json=body)).json()["items"][0]
        assert first["item"] == name
        assert name in {part["item"] for part in first["reasons"]["history"]}


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (("PUT", "/v1/items", b"{}"), "an array of documents"),
        (("PUT", "/v1/items", b'[{"title": "x"}]'), "element 0: item: the id of the item is required"),
        (("PUT", "/v1/items/%00", b"{}"), "control character"),
        (("GET", "/v1/items?cursor=%21", b""), "cursor: not one that a page returned"),
        (("GET", "/v1/items?limt=3", b""), "did you mean limit?"),
    ],
)
async def test_a_wrong_call_is_refused(client: httpx.AsyncClient, call, says: str) -> None:
    method, target, body = call
    answer = await client.request(method, target, content=body)
    assert answer.status_code == 422, answer.text
    assert says in answer.json()["detail"]


async def test_hidden_sold_out_and_deleted_items_leave_every_list_of_every_version(
    redis_server: RedisServer, publisher: Publisher
) -> None:
    items = [f"i{number}" for number in range(12)]
    first = publisher.learn(*((f"u{number % 5}", items[number % 12]) for number in range(120)))
    publisher.learn(*((f"u{number % 5}", items[number % 12]) for number in range(60)))
    async with running(settings_for(redis_server)) as (_, client):
        await served_version(client, 2)
        gone = {"i1", "i4", "i7"}
        assert (await client.put("/v1/items/i1", json={"hidden": True})).status_code == 200
        assert (await client.patch("/v1/items/i4", json={"available": False})).status_code == 200
        assert (await client.delete("/v1/items/i7")).status_code == 200
        everywhere = [
            ("/v1/recommendations/u1", {}),
            ("/v1/recommendations/stranger", {}),
            ("/v1/recommendations/u1", {"version": first.number}),
            ("/v1/items/i2/similar", {}),
            ("/v1/items/i2/bought-together", {}),
            ("/v1/popular", {}),
            ("/v1/trending", {}),
        ]

        async def followed() -> bool:
            answer = (await client.get("/v1/popular")).json()
            return answer["catalogue_revision"] == 3

        await eventually(followed, "the catalogue is followed")
        for path, more in everywhere:
            found = set(await listed(client, path, n=12, **more))
            assert found == set(items) - gone - ({"i2"} if "/items/i2/" in path else set()), (path, more)
        answer = await client.post("/v1/recommendations", json={"user": "u1", "candidates": items, "n": 12})
        assert {each["item"] for each in answer.json()["items"]} == set(items) - gone
        await client.post(f"/v1/versions/{first.number}/rollback", json={})
        assert set(await listed(client, "/v1/recommendations/u1", n=12)) == set(items) - gone
        await client.patch("/v1/items/i4", json={"available": True})

        async def back() -> bool:
            return "i4" in await listed(client, "/v1/recommendations/u1", n=12)

        await eventually(back, "the item is back")


async def test_while_redis_is_away_writes_are_refused_and_lists_keep_to_the_catalogue(
    redis_server: RedisServer, publisher: Publisher
) -> None:
    publisher.learn(*((f"u{number % 5}", f"i{number % 6}") for number in range(60)))
    async with running(settings_for(redis_server)) as (app, client):
        await served_version(client, 1)
        await client.put("/v1/items/i1", json={"available": False})

        async def followed() -> bool:
            return app.state.catalogue.catalogue.current.revision == 1

        await eventually(followed, "the catalogue is followed")
        redis_server.stop()
        writes = [
            await client.put("/v1/items/i2", json={"available": False}),
            await client.patch("/v1/items/i2", json={"available": False}),
            await client.delete("/v1/items/i2"),
            await client.put("/v1/items", json=[{"item": "i2"}]),
            await client.put("/v1/users/u1", json={}),
            await client.patch("/v1/users/u1", json={}),
            await client.delete("/v1/users/u1"),
            await client.get("/v1/items/i2"),
            await client.get("/v1/users"),
        ]
        for answer in writes:
            assert answer.status_code == 503, answer.text
            assert answer.headers["Retry-After"] == "1"
        shown = {"i0", "i2", "i3", "i4", "i5"}
        for path in ("/v1/recommendations/u1", "/v1/recommendations/u1?explain=true", "/v1/popular", "/v1/trending"):
            assert set(await listed(client, path, n=6)) == shown, path
        assert set(await listed(client, "/v1/items/i0/similar", n=6)) == shown - {"i0"}
        assert await listed(client, "/v1/recommendations/u1", tags=["never used before"]) == []
        redis_server.start()

        async def written() -> bool:
            return (await client.put("/v1/items/i2", json={"available": False})).status_code == 200

        await eventually(written, "Redis takes writes again")

        async def followed_again() -> bool:
            return "i2" not in await listed(client, "/v1/recommendations/u1", n=6)

        await eventually(followed_again, "the catalogue is followed again")


async def test_a_visitor_who_wants_no_profiling_gets_lists_without_it(
    redis_server: RedisServer, publisher: Publisher
) -> None:
    """This holds in every server, over both HTTP ways, and until the profile says otherwise."""
    publisher.learn(*((f"u{number % 7}", f"i{number % 9}") for number in range(200)), *[("ada", "i2")] * 5)
    patience = 20.0
    async with running(settings_for(redis_server)) as (_, client), running(settings_for(redis_server)) as (_, other):
        await served_version(client, 1)
        await served_version(other, 1)
        body = {"user": "ada", "n": 5}

        async def lists(way: httpx.AsyncClient, **more: object) -> list[object]:
            answers = [
                await way.get("/v1/recommendations/ada", params={"n": 5, **more}),
                await way.post("/v1/recommendations", json={**body, **more}),
            ]
            return [(each.json()["fallback"], each.json()["items"]) for each in answers]

        personal, impersonal = await lists(client), await lists(client, profiling="off")
        assert personal != impersonal
        assert (await client.put("/v1/users/ada", json={"profiling": "off"})).status_code == 200
        for way in (client, other):
            await eventually(lambda way=way: _is(lists(way), impersonal), "the profile is followed", patience)
        seen = await other.get("/v1/recommendations/ada", params={"n": 5, "exclude_seen": True})
        assert seen.status_code == 200, "a page that always excludes what was seen goes on to work"
        assert (await client.delete("/v1/users/ada")).status_code == 200
        for way in (client, other):
            await eventually(lambda way=way: _is(lists(way), personal), "the deletion is followed", patience)


async def test_what_a_visitor_hides_is_in_no_list_of_this_visitor_until_it_is_shown_again(
    redis_server: RedisServer, publisher: Publisher
) -> None:
    """Items of which the catalogue knows nothing stay, and other visitors' lists are as they were."""
    publisher.learn(*((f"u{number % 7}", f"i{number % 9}") for number in range(200)))
    patience = 20.0
    documents = [{"item": f"i{number}", "brand": "Acme", "categories": ["toys/cars"]} for number in (0, 1)]
    documents += [{"item": "i2", "brand": "Bolt", "categories": ["toys/dolls"]}]
    async with running(settings_for(redis_server)) as (_, client), running(settings_for(redis_server)) as (_, other):
        for way in (client, other):
            await served_version(way, 1)
        assert (await client.put("/v1/items", json=documents)).status_code == 200

        async def listed(way: httpx.AsyncClient, user: str, **more: object) -> set[str] | None:
            """The items of all three ways to a list; None while they differ because the rules arrive."""
            answers = [
                await way.get(f"/v1/recommendations/{user}", params={"n": 20, **more}),
                await way.post("/v1/recommendations", json={"user": user, "n": 20, **more}),
                await way.get(f"/v1/recommendations/{user}", params={"n": 20, "explain": True, **more}),
            ]
            sets = [{each["item"] for each in answer.json()["items"]} for answer in answers]
            return sets[0] if sets[0] == sets[1] == sets[2] else None

        everything = {f"i{number}" for number in range(9)}
        for hidden, rest in (
            ({"hidden_brands": ["Acme"]}, everything - {"i0", "i1"}),
            ({"hidden_categories": ["toys"]}, everything - {"i0", "i1", "i2"}),
            ({"hidden_categories": [" toys / dolls"], "hidden_brands": ["Nobody"]}, everything - {"i2"}),
        ):
            assert (await client.put("/v1/users/ada", json=hidden)).status_code == 200
            for way in (client, other):
                await eventually(lambda way=way, rest=rest: _is(listed(way, "ada"), rest), "the rules hold", patience)
        reasons = (await client.get("/v1/recommendations/ada", params={"explain": True})).json()["explanation"]
        assert {"hidden_brands", "hidden_categories"} <= set(reasons["policies"])
        assert await listed(client, "ada", brands=["Bolt"]) == set(), "the filter of a request holds as well"
        assert await listed(client, "bob") == everything
        assert (await client.patch("/v1/users/ada", json=dict.fromkeys(hidden))).status_code == 200
        for way in (client, other):
            await eventually(lambda way=way: _is(listed(way, "ada"), everything), "all is shown again", patience)
        refused = await client.put("/v1/users/ada", json={"hidden_categories": [" / "]})
        assert (refused.status_code, "hidden_categories" in refused.text) == (422, True)


async def _is(made, expected: object) -> bool:
    return await made == expected


async def test_events_of_a_visitor_who_wants_no_profiling_are_counted_only(
    redis_server: RedisServer, broker: Broker
) -> None:
    """The consent is in the record, so every worker and every replay learns the same."""
    async with running(settings_for(redis_server, broker)) as (app, client):
        await kafka_up(client)
        assert (await client.put("/v1/users/7", json={"profiling": "off"})).status_code == 200
        await eventually(lambda: _followed(app, "7"), "the profile is followed", 20.0)
        events = [
            {"user": 7, "item": "a"},
            {"user": "7", "item": "b", "consent": "personal"},
            {"user": "7", "item": "c", "consent": "none"},
            {"user": "eve", "item": "d"},
            {"session": "7", "item": "e"},
        ]
        assert (await client.post("/v1/events/clicks", json=events)).status_code == 202
    found = {each["item"]: each.get("consent") for each in (json.loads(r.value()) for r in broker.records("clicks", 5))}
    assert found == {"a": "aggregate", "b": "aggregate", "c": "none", "d": None, "e": None}


async def _followed(app, user: str) -> bool:
    return not app.state.catalogue.rules_of(user).profiled
