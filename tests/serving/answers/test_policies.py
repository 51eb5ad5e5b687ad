"""Every policy, one row each, through both HTTP ways and through `decision` directly.

To add a policy, add a row. A field of a request that no row uses, and a policy function that no row names, fail a test.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx
import msgspec
import pytest

from serving.answers import decision
from serving.answers.contexts import (
    BOUGHT_TOGETHER,
    NEW_ARRIVALS,
    POPULAR_HALF_LIFE,
    RECENTLY_VIEWED,
    TRENDING_HALF_LIFE,
)
from serving.answers.decision import Ask, Context, decide
from serving.answers.explain import explain
from serving.answers.fast_path import FastPath
from serving.answers.requests import ListOfCounts, RecommendationsFor, RecommendationsOfUser
from serving.answers.response import to_response, with_reasons
from serving.app import Server
from serving.web.fast_protocol import JSON_HEAD
from stream.catalogue.columns import Change
from stream.catalogue.filters import NO_FILTER, Filter, LabelCondition
from stream.catalogue.item import Item
from stream.catalogue.snapshot import Catalogue
from stream.catalogue.visitor_rules import NO_RULES, VisitorRules
from stream.models.query import Query
from tests.serving.answers.shop import CLICKS, EARLY_CLICKS, ITEMS, InMemory, application, shop

SEEN_BY_U1 = {item for user, item in CLICKS if user == "u1"}
LEARNED_EARLY = {item for _, item in CLICKS[:EARLY_CLICKS]}
FIRST_VERSION = "1"
STEPS = {"plan", "allowed_items", "score", "arrange", "decide"}
"""Functions of `decision` that are steps and no policies."""


class Row(NamedTuple):
    """One policy: the requests that use it, the ask they stand for, and what it promises of the list."""

    policy: str
    ask: Ask
    promise: Callable[[list[str], Any], bool]
    """Items of the list and the model to true if the policy holds."""
    body: Mapping[str, Any] | None = None
    """`POST /v1/recommendations`; None: the list is not about a visitor."""
    query: Mapping[str, Any] | None = None
    """`GET /v1/recommendations/{user}`, where the user is the ask's; None: this GET can't ask for it."""
    path: str | None = None
    """GET of a list that is not about a visitor."""
    parameters: Mapping[str, Any] = {}
    """Query of `path`."""
    posted: Mapping[str, Any] | None = None
    """Body of `path`; None: it is a GET."""
    explained: bool = True
    """True if the route gives reasons: not where no model ranks, and not for re-ranking."""
    version: str | None = None
    settings: Mapping[str, Any] = {}
    """Settings of the model."""
    rules: VisitorRules = NO_RULES
    """Rules that the visitor of the ask has set; the ask is what they make of the request."""
    functions: tuple[str, ...] = ()
    """Functions of `decision` that make up the policy."""


def recommended(**fields: Any) -> Callable[[list[str], Any], bool]:
    """True if the list is the model's own for this query."""
    return lambda items, model: items == model.recommend(Query(**fields)).items


ROWS = [
    Row(
        "user",
        Ask(user="u1"),
        recommended(user="u1"),
        body={"user": "u1"},
        query={},
    ),
    Row(
        "user whose id needs percent-encoding",
        Ask(user="ü/1"),
        recommended(user="ü/1"),
        body={"user": "ü/1"},
        query={},
    ),
    Row(
        "user and session",
        Ask(user="u1", session="v2"),
        recommended(user="u1", session="v2"),
        body={"user": "u1", "session": "v2"},
        query={"session": "v2"},
    ),
    Row(
        "session alone",
        Ask(session="v2"),
        recommended(session="v2"),
        body={"session": "v2"},
    ),
    Row(
        "n",
        Ask(user="u1", n=3),
        lambda items, _: len(items) == 3,
        body={"user": "u1", "n": 3},
        query={"n": 3},
        functions=("cut_to_length",),
    ),
    Row(
        "exclude",
        Ask(user="u1", exclude=ITEMS[:9], n=24),
        lambda items, _: sorted(items) == sorted(ITEMS[9:]),
        body={"user": "u1", "exclude": ITEMS[:9], "n": 24},
        query={"exclude": ITEMS[:9], "n": 24},
        functions=("excluded_items",),
    ),
    Row(
        "exclude_seen",
        Ask(user="u1", exclude_seen=True, n=24),
        lambda items, _: set(items) == set(ITEMS) - SEEN_BY_U1,
        body={"user": "u1", "exclude_seen": True, "n": 24},
        query={"exclude_seen": "true", "n": 24},
    ),
    Row(
        "exclude_seen by kind of event",
        Ask(user="u1", seen_kinds=("carted", "bought"), n=24),
        lambda items, _: set(items) == set(ITEMS),
        body={"user": "u1", "exclude_seen": ["carted", "bought"], "n": 24},
        query={"exclude_seen": "carted,bought", "n": 24},
        functions=("recently_had",),
    ),
    Row(
        "exclude_seen within a time",
        Ask(user="u1", seen_kinds=("any",), seen_within=60.0, n=24),
        lambda items, _: set(items) == set(ITEMS) - {item for user, item in CLICKS[-60:] if user == "u1"},
        body={"user": "u1", "exclude_seen": True, "seen_within": "1m", "n": 24},
        query={"exclude_seen": "true", "seen_within": "60s", "n": 24},
    ),
    Row(
        "the basket now",
        Ask(
            user="u1",
            recent=["item 20", "item 21", "item 22"],
            recent_kinds=["cart", "click", "dislike"],
            seen_kinds=("carted",),
            n=24,
        ),
        lambda items, _: set(items) == set(ITEMS) - {"item 20", "item 22"},
        body={
            "user": "u1",
            "recent": [{"item": "item 20", "kind": "cart"}, "item 21", {"item": "item 22", "kind": "dislike"}],
            "exclude_seen": ["carted"],
            "n": 24,
        },
        functions=("disliked_items", "recently_had"),
    ),
    Row(
        "profiling off",
        Ask(user="u1", session="v2", profiling=False),
        lambda items, model: items == model.recommend(Query()).items != model.recommend(Query(user="u1")).items,
        body={"user": "u1", "session": "v2", "profiling": "off"},
        query={"session": "v2", "profiling": "off"},
    ),
    Row(
        "profiling off, with a context",
        Ask(user="u1", recent=["item 20"], profiling=False),
        recommended(recent=["item 20"]),
        body={"user": "u1", "recent": ["item 20"], "profiling": "off"},
    ),
    Row(
        "explain",
        Ask(user="u1", n=24, explain=True),
        recommended(user="u1", n=24),
        body={"user": "u1", "n": 24, "explain": True},
        query={"n": 24, "explain": "true"},
    ),
    Row(
        "popular, explained",
        Ask(half_life=POPULAR_HALF_LIFE, n=5, explain=True),
        lambda items, model: items == model.popular(5).items,
        path="/v1/popular",
        parameters={"n": 5, "explain": "true"},
    ),
    Row(
        "recent",
        Ask(recent=["item 20", "item 21"]),
        recommended(recent=["item 20", "item 21"]),
        body={"recent": ["item 20", "item 21"]},
        functions=("recent_items",),
    ),
    Row(
        "basket",
        Ask(user="u1", basket=["item 20", "item 21"]),
        recommended(user="u1", recent=["item 20", "item 21"], exclude=["item 20", "item 21"]),
        body={"user": "u1", "basket": ["item 20", "item 21"]},
        functions=("recent_items", "excluded_items"),
    ),
    Row(
        "candidates",
        Ask(user="u1", candidates=["item 3", "item 23", "unknown"]),
        lambda items, _: sorted(items) == ["item 23", "item 3"],
        body={"user": "u1", "candidates": ["item 3", "item 23", "unknown"]},
    ),
    Row(
        "version",
        Ask(user="u1", n=24),
        lambda items, _: set(items) == LEARNED_EARLY,
        body={"user": "u1", "n": 24, "version": FIRST_VERSION},
        query={"n": 24, "version": FIRST_VERSION},
        version=FIRST_VERSION,
    ),
    Row(
        "repeats = first",
        Ask(user="u1", n=24),
        lambda items, _: items != [] and not SEEN_BY_U1 & set(items),
        body={"user": "u1", "n": 24},
        query={"n": 24},
        settings={"repeats": "first"},
    ),
    Row(
        "similar",
        Ask(item="item 20", n=24),
        lambda items, model: items == model.similar("item 20", 24).items and "item 20" not in items,
        path="/v1/items/item%2020/similar",
        parameters={"n": 24},
        functions=("recent_items", "excluded_items"),
    ),
    Row(
        "bought together",
        Ask(item="item 20", context=BOUGHT_TOGETHER, n=24),
        lambda items, model: items == model.similar("item 20", 24).items,
        path="/v1/items/item%2020/bought-together",
        parameters={"n": 24},
    ),
    Row(
        "similar, from a version",
        Ask(item="item 3"),
        lambda items, _: set(items) <= LEARNED_EARLY - {"item 3"},
        path="/v1/items/item%203/similar",
        parameters={"version": FIRST_VERSION},
        version=FIRST_VERSION,
    ),
    Row(
        "popular",
        Ask(half_life=POPULAR_HALF_LIFE, n=5),
        lambda items, model: items == model.popular(5).items,
        path="/v1/popular",
        parameters={"n": 5},
    ),
    Row(
        "popular, of a window",
        Ask(half_life="12h", n=5),
        lambda items, model: items == model.popular(5, half_life="12h").items,
        path="/v1/popular",
        parameters={"n": 5, "window": "12h"},
    ),
    Row(
        "new arrivals",
        Ask(context=NEW_ARRIVALS, n=3),
        lambda items, _: items == ["item 23", "item 22", "item 21"],
        path="/v1/new-arrivals",
        parameters={"n": 3},
        explained=False,
    ),
    Row(
        "recently viewed",
        Ask(user="u1", session="v2", context=RECENTLY_VIEWED, n=24),
        lambda items, model: items == model.history(Query(user="u1", session="v2", n=24)).items != [],
        path="/v1/users/u1/recently-viewed",
        parameters={"session": "v2", "n": 24},
        explained=False,
    ),
    Row(
        "re-ranking",
        Ask(user="u1", candidates=["unknown", "item 3", "item 23"], keep_all=True, n=3),
        lambda items, _: sorted(items[:2]) == ["item 23", "item 3"] and items[2] == "unknown",
        path="/v1/rerank",
        posted={"user": "u1", "items": ["unknown", "item 3", "item 23"]},
        explained=False,
        functions=("keep_candidates",),
    ),
    Row(
        "trending",
        Ask(half_life=TRENDING_HALF_LIFE, n=5),
        lambda items, model: items == model.popular(5, half_life="2h").items,
        path="/v1/trending",
        parameters={"n": 5},
    ),
]


def numbered(number: int) -> Item:
    """The document of `item <number>`."""
    return Item(
        brand=f"brand {number % 3}",
        categories=["all/even" if number % 2 == 0 else "all/odd"],
        tags=["fifth" if number % 5 == 0 else "other", "item"],
        price=float(number),
        currency="CHF" if number < 12 else "EUR",
        published_at=number + 1,
        labels={"size": number},
    )


CATALOGUE = Catalogue()
CATALOGUE.apply([Change(item, number + 1, numbered(number)) for number, item in enumerate(ITEMS)], len(ITEMS))

LARGE = {"field": "size", "op": "ge", "value": 15}
FILTERS: list[tuple[str, Any, Any, Callable[[int], bool]]] = [
    ("categories", ["all/even"], ("all/even",), lambda number: number % 2 == 0),
    ("categories_all", ["all", "all/odd"], ("all", "all/odd"), lambda number: number % 2 == 1),
    ("categories_none", ["all/odd"], ("all/odd",), lambda number: number % 2 == 0),
    ("tags", ["fifth"], ("fifth",), lambda number: number % 5 == 0),
    ("tags_all", ["fifth", "item"], ("fifth", "item"), lambda number: number % 5 == 0),
    ("tags_none", ["fifth"], ("fifth",), lambda number: number % 5 != 0),
    ("brands", ["brand 1", "brand 2"], ("brand 1", "brand 2"), lambda number: number % 3 != 0),
    ("brands_none", ["brand 1"], ("brand 1",), lambda number: number % 3 != 1),
    ("price_min", 20, 20.0, lambda number: number >= 20),
    ("price_max", 4, 4.0, lambda number: number <= 4),
    ("currency", "EUR", "EUR", lambda number: number >= 12),
    ("available", True, True, lambda number: number < 24),
    ("published_after", "1970-01-01T00:00:20Z", 20.0, lambda number: number >= 19),
    ("labels", [LARGE], (LabelCondition(**LARGE),), lambda number: number >= 15),
]
"""Each part of a filter: as it is sent, as the filter has it, and the items that it lets through."""


def lets_through(keep: Callable[[int], bool]) -> Callable[[list[str], Any], bool]:
    return lambda items, _: set(items) == {item for number, item in enumerate(ITEMS) if keep(number)}


for part, sent, meant, keep in FILTERS:
    asked = [json.dumps(each) for each in sent] if part == "labels" else str(sent).lower() if sent is True else sent
    wanted = Filter(**{part: meant})
    ROWS.append(
        Row(
            f"filter: {part}",
            Ask(user="u1", n=24, wanted=wanted),
            lets_through(keep),
            body={"user": "u1", "n": 24, part: sent},
            query={"n": 24, part: asked},
        )
    )
    ROWS.append(
        Row(
            f"popular, filter: {part}",
            Ask(half_life=POPULAR_HALF_LIFE, n=24, wanted=wanted),
            lets_through(keep),
            path="/v1/popular",
            parameters={"n": 24, part: asked},
            functions=("only_shown", "fill_with_unmet"),
        )
    )
ROWS.append(
    Row(
        "include",
        Ask(user="u1", n=24, include=["item 2", "item 20", "unknown"]),
        lambda items, _: sorted(items) == ["item 2", "item 20"],
        body={"user": "u1", "n": 24, "include": ["item 2", "item 20", "unknown"]},
        query={"n": 24, "include": ["item 2", "item 20", "unknown"]},
        functions=("included_items",),
    )
)
HIDDEN = VisitorRules(hidden_brands=("brand 1",), hidden_categories=("all/even",))
WITHOUT_HIDDEN = Filter(hidden_brands=HIDDEN.hidden_brands, hidden_categories=HIDDEN.hidden_categories)


def shown_to_visitor(number: int) -> bool:
    return number % 3 != 1 and number % 2 == 1


ROWS += [
    Row(
        "hidden by the visitor",
        Ask(user="u1", n=24, wanted=WITHOUT_HIDDEN),
        lets_through(shown_to_visitor),
        body={"user": "u1", "n": 24},
        query={"n": 24},
        rules=HIDDEN,
        functions=("only_shown",),
    ),
    Row(
        "hidden by the visitor, beside a filter",
        Ask(user="u1", n=24, wanted=msgspec.structs.replace(WITHOUT_HIDDEN, price_min=12.0)),
        lets_through(lambda number: shown_to_visitor(number) and number >= 12),
        body={"user": "u1", "n": 24, "price_min": 12},
        query={"n": 24, "price_min": 12},
        rules=HIDDEN,
    ),
    Row(
        "re-ranking, hidden by the visitor",
        Ask(user="u1", candidates=["item 1", "item 2", "item 3"], keep_all=True, n=3, wanted=WITHOUT_HIDDEN),
        lambda items, _: items == ["item 3"],
        path="/v1/rerank",
        posted={"user": "u1", "items": ["item 1", "item 2", "item 3"]},
        explained=False,
        rules=HIDDEN,
    ),
    Row(
        "profiling refused by the visitor",
        Ask(user="u1", session="v2", profiling=False),
        lambda items, model: items == model.recommend(Query()).items != model.recommend(Query(user="u1")).items,
        body={"user": "u1", "session": "v2", "exclude_seen": True},
        query={"session": "v2", "exclude_seen": "bought", "seen_within": "1h"},
        rules=VisitorRules(profiling="off"),
    ),
    Row(
        "recently viewed, profiling refused by the visitor",
        Ask(user="u1", profiling=False, context=RECENTLY_VIEWED, n=24),
        lambda items, _: items == [],
        path="/v1/users/u1/recently-viewed",
        parameters={"n": 24},
        explained=False,
        rules=VisitorRules(profiling="off"),
    ),
]
NAMES = [row.policy for row in ROWS]


@cache
def versions_under(settings: frozenset[tuple[str, Any]]) -> InMemory:
    return shop(**dict(settings))


def versions_of(row: Row) -> InMemory:
    return versions_under(frozenset(row.settings.items()))


def loaded_of(row: Row):
    loader = versions_of(row)
    return loader.served if row.version is None else loader.loaded[int(row.version) - 1]


def without_id(answer: bytes) -> bytes:
    """The bytes of an answer with its id replaced, which no two answers share."""
    replaced, times = re.subn(rb'^\{"answer":"[0-9a-f]{12}-[0-9a-f]+"', b'{"answer":"-"', answer)
    assert times == 1, answer
    return replaced


def catalogue_of(row: Row) -> Catalogue:
    return Catalogue() if row.ask.wanted == NO_FILTER else CATALOGUE


def context_of(row: Row) -> Context:
    loaded = loaded_of(row)
    return Context(loaded.version, loaded.model, catalogue_of(row).view(row.ask.wanted, loaded.for_catalogue))


def application_of(row: Row) -> Server:
    return application(versions_of(row), catalogue_of(row), {} if row.ask.user is None else {row.ask.user: row.rules})


def decided(row: Row) -> bytes:
    context = context_of(row)
    response = to_response("-", "shop", context.version, decide(row.ask, context), context.view.revision)
    if row.ask.explain:
        response = with_reasons(response, explain(row.ask, context)[1])
    return msgspec.json.encode(response)


def target_of(row: Row) -> str:
    return f"/v1/recommendations/{quote(row.ask.user, safe='')}"


async def over_http(row: Row, method: str, path: str, **request: Any) -> httpx.Response:
    transport = httpx.ASGITransport(app=application_of(row))
    async with httpx.AsyncClient(transport=transport, base_url="http://corrente") as client:
        return await client.request(method, path, **request)


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_the_decision_keeps_the_promise_of_the_policy(row: Row):
    loaded = loaded_of(row)
    assert row.promise(decide(row.ask, context_of(row)).items, loaded.model)


@pytest.mark.parametrize("row", [row for row in ROWS if row.query is not None], ids=lambda row: row.policy)
def test_the_fast_path_answers_with_the_decision(row: Row):
    target = httpx.URL(f"http://corrente{target_of(row)}", params=row.query).raw_path
    answer = FastPath(application_of(row).state)(target)
    if row.version is not None or row.ask.explain:
        assert answer is None, (
            "a version that is asked for by name may have to be loaded, and reasons may need Redis to know a key: "
            "the full path waits for both"
        )
    else:
        assert answer is not None
        assert without_id(answer) == decided(row)


@pytest.mark.parametrize("row", [row for row in ROWS if row.query is not None], ids=lambda row: row.policy)
async def test_the_get_route_answers_with_the_decision(row: Row):
    answer = await over_http(row, "GET", target_of(row), params=row.query)
    assert answer.status_code == 200
    assert without_id(answer.content) == decided(row)


@pytest.mark.parametrize("row", [row for row in ROWS if row.body is not None], ids=lambda row: row.policy)
async def test_the_post_route_answers_with_the_decision(row: Row):
    answer = await over_http(row, "POST", "/v1/recommendations", content=json.dumps(row.body))
    assert answer.status_code == 200
    assert without_id(answer.content) == decided(row)


@pytest.mark.parametrize("query", ["?n=3", "?profiling=off", "?version=1"])
async def test_no_cache_may_keep_a_list_for_a_visitor(query: str):
    answers = [
        await over_http(ROWS[0], "GET", f"/v1/recommendations/u1{query}"),
        await over_http(ROWS[0], "POST", "/v1/recommendations", json={"user": "u1"}),
    ]
    assert {answer.headers["cache-control"] for answer in answers} == {"private, no-store"}
    assert JSON_HEAD.endswith(b"\r\ncache-control: private, no-store"), "on the fast path too"
    assert "cache-control" not in (await over_http(ROWS[0], "GET", "/v1/popular")).headers


@pytest.mark.parametrize(
    ("query", "field"),
    [("profiling=of", "profiling"), ("profiling=off&exclude_seen=true", "exclude_seen"), ("profiling=", "profiling")],
)
async def test_profiling_that_is_neither_on_nor_off_or_that_needs_a_history_is_refused(query: str, field: str):
    refused = await over_http(ROWS[0], "GET", f"/v1/recommendations/u1?{query}")
    body = dict(pair.split("=") for pair in query.split("&")) | {"user": "u1"}
    if "exclude_seen" in body:
        body["exclude_seen"] = True
    again = await over_http(ROWS[0], "POST", "/v1/recommendations", json=body)
    for answer in (refused, again):
        assert (answer.status_code, answer.json()["field"]) == (422, field)
        assert "on|off" in answer.text or "profiling=off" in answer.text


@pytest.mark.parametrize("row", [row for row in ROWS if row.path is not None], ids=lambda row: row.policy)
async def test_the_routes_of_items_answer_with_the_decision(row: Row):
    if row.posted is None:
        answer = await over_http(row, "GET", row.path, params=row.parameters)
    else:
        answer = await over_http(row, "POST", row.path, content=json.dumps(row.posted))
    assert answer.status_code == 200
    assert without_id(answer.content) == decided(row)


@pytest.mark.parametrize(
    ("struct", "used"),
    [
        (RecommendationsOfUser, [row.query for row in ROWS if row.query is not None]),
        (RecommendationsFor, [row.body for row in ROWS if row.body is not None]),
        (ListOfCounts, [row.parameters for row in ROWS if row.path in {"/v1/popular", "/v1/items/item%203/similar"}]),
    ],
    ids=["GET for a user", "POST", "lists of items"],
)
def test_every_field_of_a_request_has_a_row(struct: type[msgspec.Struct], used: list[Mapping[str, Any]]):
    assert set(struct.__struct_encode_fields__) == {name for each in used for name in each}


def test_every_field_of_an_ask_has_a_row():
    fields, default = Ask.__struct_fields__, Ask()
    changed = {name for row in ROWS for name in fields if getattr(row.ask, name) != getattr(default, name)}
    assert changed == set(fields)


def test_every_rule_of_a_visitor_has_a_row():
    fields = VisitorRules.__struct_fields__
    assert {name for row in ROWS for name in fields if getattr(row.rules, name) != getattr(NO_RULES, name)} == {*fields}


def test_every_policy_function_has_a_row():
    functions = {name for name, each in inspect.getmembers(decision, inspect.isfunction)}
    assert functions - STEPS == {name for row in ROWS for name in row.functions}


def test_every_row_says_by_which_way_it_comes():
    for row in ROWS:
        assert (row.path is None) != (row.body is None), row.policy
    assert len(set(NAMES)) == len(NAMES)
