"""`explain=true`: the same list, and reasons from which each score can be computed again, from the answer alone."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from functools import cache
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from serving.answers import explain as reasons_of
from serving.answers.decision import Ask, Context
from serving.answers.explain import explain
from stream.catalogue.columns import Change
from stream.catalogue.item import Item
from stream.catalogue.snapshot import Catalogue
from stream.ingest.records import Record
from stream.models.query import Ranking
from stream.models.settings import ModelSettings
from stream.shard.shard import Shard
from tests.serving.answers.shop import CAPACITIES, CLICKS, ITEMS, InMemory, Loaded, application, learned
from tests.serving.answers.test_policies import ROWS, over_http, target_of

Stream = list[tuple[str, dict[str, Any]]]
"""Topics and events, in their order."""


def walks(seed: int) -> Stream:
    """Visitors who go from item to neighbouring item, buy, rate, dislike and bring back."""
    draw = random.Random(seed)
    stream: Stream = []
    at = {f"u{number}": draw.randrange(24) for number in range(9)}
    for _ in range(260):
        user = draw.choice(list(at))
        at[user] = (at[user] + draw.choice([1, 1, 2, 5])) % 24
        event = {"user": user, "item": f"item {at[user]}", "session": f"{user}-{draw.randrange(3)}"}
        topic = draw.choices(["clicks", "purchases", "feedback"], [8, 1, 1])[0]
        if topic == "feedback":
            event["kind"] = draw.choice(["view", "cart", "dislike", "return"])
        if draw.random() < 0.2:
            event["consent"] = "aggregate"
        stream.append((topic, event))
    return stream


def one_by_one(count: int) -> Stream:
    """One visitor with a long history, and some with a single event."""
    long = [("clicks", {"user": "u1", "item": f"item {number % 24}"}) for number in range(count)]
    return long + [("clicks", {"user": f"v{number}", "item": f"item {number % 5}"}) for number in range(20)]


STREAMS: Mapping[str, Stream] = {
    "shop": [("clicks", {"user": user, "item": item}) for user, item in CLICKS],
    "walks": walks(7),
    "long history": one_by_one(130),
    "one event": [("clicks", {"user": "u1", "item": "item 3"})],
}
OPTIONS: Mapping[str, dict[str, Any]] = {
    "as it comes": {},
    "river": {"ranker": "river"},
    "first": {"repeats": "first"},
    "sources off": {"disabled_sources": ("vsknn", "cosine", "popular_2h")},
    "river, first": {"ranker": "river", "repeats": "first"},
}


@cache
def taught(stream: str, options: str) -> InMemory:
    shard = Shard(ModelSettings(**CAPACITIES, **OPTIONS[options]), partition=0, shards=1)
    offsets = dict.fromkeys(("clicks", "purchases", "feedback"), 0)
    for at, (topic, event) in enumerate(STREAMS[stream]):
        record = Record(topic, offsets[topic], 1_700_000_000_000 + 7000 * at, json.dumps(event).encode())
        offsets[topic] += 1
        assert shard.apply([record], rate=1.0) == []
    return InMemory(Loaded(SimpleNamespace(number=1, id=f"{1:064x}"), shard.model()))


def catalogue() -> Catalogue:
    """One item hidden, one sold out, and two without any event."""
    made = Catalogue()
    documents = {"item 2": Item(hidden=True), "item 9": Item(available=False), "new 1": Item(), "new 2": Item()}
    documents |= {item: Item(tags=["even"]) for item in ITEMS[4::2]}
    made.apply([Change(item, number, document) for number, (item, document) in enumerate(documents.items(), 1)], 99)
    return made


LISTS: Mapping[str, tuple[str, str, Any]] = {
    "user": ("GET", "/v1/recommendations/u1?n=12", None),
    "all there is": ("GET", "/v1/recommendations/u1?n=40", None),
    "stranger": ("GET", "/v1/recommendations/stranger?n=40", None),
    "not seen": ("GET", "/v1/recommendations/u1?n=40&exclude_seen=true", None),
    "without profiling": ("GET", "/v1/recommendations/u1?profiling=off", None),
    "filter": ("GET", "/v1/recommendations/u1?tags=even&n=30", None),
    "user and session": ("POST", "/v1/recommendations", {"user": "u1", "session": "u1-2", "n": 30}),
    "recent": ("POST", "/v1/recommendations", {"recent": ["item 3", "item 4"], "exclude": ["item 5"], "n": 30}),
    "candidates": ("POST", "/v1/recommendations", {"user": "u1", "candidates": [*ITEMS, "new 1"], "n": 40}),
    "include": ("POST", "/v1/recommendations", {"user": "u1", "include": ITEMS[:6]}),
    "similar": ("GET", "/v1/items/item%203/similar?n=40", None),
    "bought together": ("GET", "/v1/items/item%203/bought-together?n=40", None),
    "popular": ("GET", "/v1/popular?n=40", None),
    "trending": ("GET", "/v1/trending?n=40", None),
}


def recomputed(item: dict[str, Any]) -> float:
    """The score of an item, computed from the answer alone."""
    reasons = item["reasons"]
    return reasons["intercept"] + sum(part["value"] * part["weight"] for part in reasons["features"])


async def both(loader: InMemory, method: str, path: str, body: Any) -> tuple[dict, dict]:
    """An answer without and with reasons."""
    transport = httpx.ASGITransport(app=application(loader, catalogue()))
    async with httpx.AsyncClient(transport=transport, base_url="http://corrente") as client:
        if body is None:
            more = "&" if "?" in path else "?"
            answers = [await client.get(path), await client.get(f"{path}{more}explain=true")]
        else:
            answers = [await client.post(path, json=each) for each in (body, {**body, "explain": True})]
    assert [answer.status_code for answer in answers] == [200, 200], answers[1].text
    return answers[0].json(), answers[1].json()


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("stream", STREAMS)
async def test_each_score_can_be_computed_again_from_the_answer(stream: str, options: str) -> None:
    for name, (method, path, body) in LISTS.items():
        plain, explained = await both(taught(stream, options), method, path, body)
        scores = [each["score"] for each in explained["items"]]
        assert [recomputed(each) for each in explained["items"]] == pytest.approx(scores, rel=1e-5, abs=2e-5), name
        for answer in (plain, explained):
            del answer["answer"]
        explained.pop("explanation")
        for each in explained["items"]:
            del each["reasons"]
        assert explained == plain, "the list is the same"
    assert "reasons" not in json.dumps(plain)


@pytest.mark.parametrize("row", [row for row in ROWS if not row.explained], ids=lambda row: row.policy)
async def test_a_list_without_reasons_refuses_to_explain(row: Any) -> None:
    if row.posted is None:
        answer = await over_http(row, "GET", row.path, params={**row.parameters, "explain": "true"})
    else:
        answer = await over_http(row, "POST", row.path, json={**row.posted, "explain": True})
    assert (answer.status_code, answer.json()["field"]) == (422, "explain")


@pytest.mark.parametrize("row", [row for row in ROWS if row.explained], ids=lambda row: row.policy)
async def test_every_policy_can_be_explained(row: Any) -> None:
    if row.path is not None:
        answer = await over_http(row, "GET", row.path, params={**row.parameters, "explain": "true"})
    elif row.query is not None:
        answer = await over_http(row, "GET", target_of(row), params={**row.query, "explain": "true"})
    else:
        answer = await over_http(row, "POST", "/v1/recommendations", json={**row.body, "explain": True})
    items = answer.json()["items"]
    assert items
    assert [recomputed(each) for each in items] == pytest.approx([each["score"] for each in items], rel=1e-5, abs=2e-5)


async def test_reasons_name_the_history_behind_an_item_and_what_the_request_left_out() -> None:
    path = "/v1/recommendations/u1?n=24&exclude=item%205"
    _, explained = await both(taught("shop", "as it comes"), "GET", path, None)
    assert explained["explanation"] == {"ranker": "blend", "policies": ["catalogue", "exclude"]}
    had = {item for user, item in CLICKS if user == "u1"}
    ranked = explained["items"][: explained["made_from"]["ranked"]]
    for each in ranked:
        assert {part["item"] for part in each["reasons"]["history"]} <= had
    first = ranked[0]["reasons"]
    assert first["history"], "the best item of a visitor with a history has some of it behind it"
    assert first["sources"] == sorted(first["sources"], key=lambda part: -part["contribution"])


async def test_a_basket_is_named_among_the_rules() -> None:
    row = next(row for row in ROWS if row.policy == "basket")
    answer = await over_http(row, "POST", "/v1/recommendations", json={**row.body, "explain": True})
    assert answer.json()["explanation"]["policies"] == ["basket"]


async def test_without_profiling_nothing_of_the_visitor_is_behind_an_item() -> None:
    path = "/v1/recommendations/u1?profiling=off"
    _, explained = await both(taught("walks", "as it comes"), "GET", path, None)
    assert [each["reasons"]["history"] for each in explained["items"]] == [[]] * 10
    assert "profiling=off" in explained["explanation"]["policies"]


async def test_items_say_which_rule_added_them() -> None:
    _, explained = await both(taught("one event", "as it comes"), "GET", "/v1/recommendations/u1?n=40", None)
    policies = {each["item"]: each["reasons"]["policies"] for each in explained["items"]}
    assert policies["item 3"] == []
    assert policies["new 1"] == policies["new 2"] == ["without_events"]


async def test_before_the_first_version_the_list_of_new_items_is_explained() -> None:
    _, explained = await both(InMemory(), "GET", "/v1/recommendations/u1?n=3", None)
    assert [recomputed(each) for each in explained["items"]] == [each["score"] for each in explained["items"]]


def test_a_policy_that_moves_or_scores_anew_is_named_with_the_items_that_it_changed() -> None:
    def second_first(ranking: Ranking, _: Ask, __: Context) -> Ranking:
        items, scores = ranking.items, ranking.scores
        return Ranking([items[1], items[0], *items[2:]], [scores[0] + 1.0, scores[0], *scores[2:]], None)

    loaded = learned(CLICKS, 1)
    plain = explain(Ask(user="u1"), loaded.context, [])[1].items
    ranking, explanation = explain(Ask(user="u1"), loaded.context, [second_first])
    assert [each.policies for each in explanation.items] == [["second_first"], ["second_first"], *[[]] * 8]
    assert explanation.items[2:] == plain[2:]
    sums = [each.intercept + sum(part.value * part.weight for part in each.features) for each in explanation.items]
    assert sums == pytest.approx(ranking.scores, rel=1e-5, abs=2e-5)


async def test_lists_that_nobody_wants_explained_take_nothing_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Iterator[None]:
        raise AssertionError("a list was taken apart")

    monkeypatch.setattr(reasons_of, "explain_scores", fail)
    transport = httpx.ASGITransport(app=application(taught("shop", "as it comes")))
    async with httpx.AsyncClient(transport=transport, base_url="http://corrente") as client:
        assert (await client.get("/v1/recommendations/u1")).status_code == 200
        with pytest.raises(AssertionError, match="taken apart"):
            await client.get("/v1/recommendations/u1?explain=true")


@pytest.mark.parametrize(
    "path", ["/v1/recommendations/u1", "/v1/popular", "/v1/trending", "/v1/items/item%203/similar"]
)
async def test_reasons_of_a_list_that_is_too_long_are_refused(path: str) -> None:
    transport = httpx.ASGITransport(app=application(taught("shop", "as it comes")))
    async with httpx.AsyncClient(transport=transport, base_url="http://corrente") as client:
        assert (await client.get(f"{path}?n=100&explain=true")).status_code == 200
        refused = await client.get(f"{path}?n=101&explain=true")
        assert (refused.status_code, refused.json()["field"]) == (422, "n")
        assert "at most 100 items, not 101" in refused.json()["detail"]
        assert (await client.get(f"{path}?n=101")).status_code == 200


async def test_no_cache_may_keep_reasons() -> None:
    transport = httpx.ASGITransport(app=application(taught("shop", "as it comes")))
    async with httpx.AsyncClient(transport=transport, base_url="http://corrente") as client:
        answers = [
            await client.get("/v1/recommendations/u1?explain=true"),
            await client.post("/v1/recommendations", json={"user": "u1", "explain": True}),
        ]
    assert {answer.headers["cache-control"] for answer in answers} == {"private, no-store"}
