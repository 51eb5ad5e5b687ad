"""Lists for several visitors in one call: each is the list of a single request, and a wrong one spoils no other."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.access.key_ring import HeldKey
from serving.access.route_scopes import PUBLIC_ROUTES, ROUTE_SCOPES
from serving.answers import batch
from serving.app import Server
from stream.access.scopes import RECOMMENDATIONS_READ
from stream.catalogue.columns import Change
from stream.catalogue.item import Item
from stream.catalogue.snapshot import Catalogue
from tests.serving.answers.shop import ITEMS, application, shop

PATH = "/v1/recommendations/batch"
SHOP = shop()
CATALOGUE = Catalogue()
CATALOGUE.apply([Change(item, at + 1, Item(tags=["odd"] if at % 2 else [])) for at, item in enumerate(ITEMS)], 24)


def client_of(app: Server) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://corrente")


async def posted(body: Any, app: Server | None = None, path: str = PATH, **request: Any) -> httpx.Response:
    async with client_of(app or application(SHOP, CATALOGUE)) as client:
        return await client.post(path, content=json.dumps(body), **request)


def without_id(answer: dict[str, Any]) -> dict[str, Any]:
    return {**answer, "answer": "-"}


requests = st.fixed_dictionaries(
    {},
    optional={
        "user": st.sampled_from(["u1", "u2", "v3", "stranger"]),
        "session": st.sampled_from(["v2", "v4"]),
        "recent": st.lists(st.sampled_from(ITEMS), max_size=3),
        "basket": st.lists(st.sampled_from(ITEMS), max_size=3),
        "candidates": st.lists(st.sampled_from(ITEMS), max_size=6),
        "exclude": st.lists(st.sampled_from(ITEMS), max_size=3),
        "tags": st.just(["odd"]),
        "n": st.integers(1, 30),
        "profiling": st.sampled_from(["on", "off"]),
    },
)


@settings(deadline=None, max_examples=30)
@given(st.lists(requests, min_size=1, max_size=8), st.sampled_from([None, "1", "2"]))
def test_each_list_is_that_of_a_single_request_at_the_same_version(asks: list[dict[str, Any]], version: str | None):
    async def both() -> None:
        app = application(SHOP, CATALOGUE)
        together = await posted({"requests": asks} | ({} if version is None else {"version": version}), app)
        assert together.status_code == 200
        for one, element in zip(asks, together.json()["lists"], strict=True):
            named = one if version is None else {**one, "version": version}
            alone = await posted(named, app, "/v1/recommendations")
            if alone.status_code != 200:  # it excludes all of its candidates
                assert element == {"problem": alone.json()}
                continue
            assert list(element) == ["list"]
            assert msgspec.json.encode(without_id(element["list"])) == msgspec.json.encode(without_id(alone.json()))

    asyncio.run(both())


async def test_every_list_has_an_id_of_its_own_and_no_cache_keeps_them() -> None:
    answer = await posted({"requests": [{"user": f"u{number}"} for number in range(7)]})
    assert len({element["list"]["answer"] for element in answer.json()["lists"]}) == 7
    assert answer.headers["cache-control"] == "private, no-store"


@pytest.mark.parametrize(
    ("wrong", "field", "says"),
    [
        ({"user": "u1", "exclude_sen": True}, None, "exclude_seen"),
        ({"user": ""}, "user", "this one is empty"),
        ({"user": "u1", "n": 0}, "n", ">= 1"),
        ({"price_min": 3, "price_max": 2}, "price_max", "price_min"),
        ({"user": "u1", "version": "1"}, "version", "beside `requests`"),
        ({"user": "u1", "explain": True}, "explain", "one list at a time"),
        ([], None, "object"),
        ("u1", None, "object"),
        (None, None, "object"),
    ],
)
async def test_a_wrong_element_gets_its_problem_and_the_others_their_lists(wrong: Any, field: str | None, says: str):
    answer = await posted({"requests": [{"user": "u1"}, wrong, {"user": "u2"}]})
    first, problem, last = answer.json()["lists"]
    assert (answer.status_code, answer.json()["refused"]) == (200, 1)
    assert len(first["list"]["items"]) == len(last["list"]["items"]) == 10
    assert list(problem) == ["problem"]
    assert problem["problem"]["status"] == 422
    assert says in problem["problem"]["detail"]
    assert field is None or problem["problem"]["field"] == field


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"requests": []}, 422, "requests"),
        ({}, 422, "requests"),
        ({"requests": [{}], "n": 3}, 422, "n"),
        ({"requests": {"user": "u1"}}, 422, "requests"),
        ({"requests": [{}], "version": "77"}, 404, "version"),
    ],
)
async def test_a_body_that_is_no_batch_is_refused_as_a_whole(body: Any, status: int, field: str) -> None:
    answer = await posted(body)
    assert (answer.status_code, answer.json()["field"]) == (status, field)


async def test_a_call_asks_for_no_more_lists_than_the_setting_allows() -> None:
    app = application(SHOP)
    app.state.settings = app.state.settings.model_copy(update={"max_batch_lists": 3})
    assert (await posted({"requests": [{}] * 3}, app)).status_code == 200
    refused = await posted({"requests": [{}] * 4}, app)
    assert (refused.status_code, refused.json()["field"]) == (422, "requests")
    assert "CORRENTE_MAX_BATCH_LISTS" in refused.json()["detail"]


async def test_before_the_first_version_every_list_is_empty() -> None:
    answer = await posted({"requests": [{"user": "ada"}]}, application(type(SHOP)()))
    assert answer.json()["lists"][0]["list"]["fallback"] == "empty"


# ---- limits


def with_key(lists_a_second: int, *origins: bytes) -> Server:
    app = application(SHOP)
    key = HeldKey(
        id="k1",
        owner="shop",
        digest=b"",
        scopes=frozenset({RECOMMENDATIONS_READ}),
        origins=frozenset(origins),
        expires_at=math.inf,
        revoked=False,
        events_a_day=0,
        lists_a_second=lists_a_second,
    )
    app.state.guard.check = lambda *_: key
    return app


async def test_every_list_of_a_batch_counts_for_the_key_and_all_fit_or_none() -> None:
    app = with_key(10)
    assert (await posted({"requests": [{}] * 6}, app)).status_code == 200
    refused = await posted({"requests": [{}] * 6}, app)
    assert refused.status_code == 429
    assert refused.headers["ratelimit"].startswith('"lists";r=4;')
    assert "at most 10 at once" in refused.json()["detail"]
    assert (await posted({"requests": [{}] * 4}, app)).status_code == 200
    assert (await posted({"requests": [{}]}, app)).status_code == 429


async def test_every_list_of_a_batch_counts_for_an_address_without_a_key() -> None:
    app = application(SHOP)
    app.state.guard.limits._per_second = 5.0
    transport = httpx.ASGITransport(app=app, client=("203.0.113.9", 1234))
    async with httpx.AsyncClient(transport=transport, base_url="http://corrente") as client:
        statuses = [(await client.post(PATH, json={"requests": [{}] * count})).status_code for count in (8, 8, 2, 1)]
    assert statuses == [200, 429, 200, 429], "ten fit at once: what two seconds allow"


async def test_a_batch_that_its_address_may_not_have_takes_nothing_from_its_key() -> None:
    app = with_key(100, b"https://shop.example")
    app.state.guard.limits._per_second = 5.0
    transport = httpx.ASGITransport(app=app, client=("203.0.113.9", 1234))
    async with httpx.AsyncClient(transport=transport, base_url="http://corrente") as client:
        refused = await client.post(PATH, json={"requests": [{}] * 50})
        assert refused.status_code == 429
        assert "One address may ask for 10 lists at once" in refused.json()["detail"]
        answer = await client.post(PATH, json={"requests": [{}] * 10})
    assert answer.status_code == 200
    assert answer.headers["ratelimit-policy"] == '"address";q=10;w=2, "lists";q=100;w=1'
    buckets = app.state.guard.limits.buckets._buckets.values()
    assert {bucket.limit: bucket.spent for bucket in buckets} == {"address": 10, "lists": 10}


async def test_the_reasons_of_a_list_count_as_the_lists_that_they_cost() -> None:
    app = with_key(500)
    explained = await posted({"recent": ["a"], "n": 20, "explain": True}, app, "/v1/recommendations")
    assert explained.status_code == 200
    (bucket,) = app.state.guard.limits.buckets._buckets.values()
    assert bucket.spent == 21, "the list, and one for each item whose reasons are asked for"
    await posted({"recent": ["a"], "n": 20}, app, "/v1/recommendations")
    assert bucket.spent == 22
    async with client_of(app) as client:
        await client.get("/v1/popular?n=3&explain=true")
    assert bucket.spent == 26


async def test_reasons_take_no_more_than_a_whole_quota_so_that_a_small_one_has_room_for_them() -> None:
    app = with_key(4)
    assert (await posted({"n": 100, "explain": True}, app, "/v1/recommendations")).status_code == 200
    refused = await posted({"n": 100, "explain": True}, app, "/v1/recommendations")
    assert refused.status_code == 429
    says = refused.json()["detail"]
    assert says.startswith("This key may read 4 lists a second")
    (bucket,) = app.state.guard.limits.buckets._buckets.values()
    assert bucket.spent == 4, "what is refused takes nothing"


def test_a_public_key_asks_for_no_batch_and_another_needs_the_scope_of_lists() -> None:
    assert f"POST {PATH}" not in PUBLIC_ROUTES
    assert ROUTE_SCOPES[f"POST {PATH}"] == RECOMMENDATIONS_READ


# ---- turns and counts


async def test_other_requests_have_their_turn_while_a_batch_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "TURN_SECONDS", 0.0)
    app = application(SHOP)
    order: list[str] = []
    respond = app.state.responder.respond

    def noted(ask: Any, served: Any) -> Any:
        order.append(ask.user)
        return respond(ask, served)

    monkeypatch.setattr(app.state.responder, "respond", noted)
    many = posted({"requests": [{"user": "many"}] * 200}, app)
    one = posted({"user": "one"}, app, "/v1/recommendations")
    answers = await asyncio.gather(many, one)
    assert [answer.status_code for answer in answers] == [200, 200]
    assert order.count("many") == 200
    assert order.index("one") < 200


async def test_lists_and_refusals_of_batches_are_counted() -> None:
    app = application(SHOP)
    await posted({"requests": [{"user": "u1"}, {"n": 0}, {"user": "u2"}]}, app)
    value = app.state.metrics.registry.get_sample_value
    assert value("corrente_batch_lists_total", {"outcome": "answered"}) == 2
    assert value("corrente_batch_lists_total", {"outcome": "refused"}) == 1
    assert value("corrente_answers_total", {"fallback": "personal"}) == 2
    labels = {"method": "POST", "route": PATH, "status": "200"}
    assert value("corrente_http_requests_total", labels) == 1
