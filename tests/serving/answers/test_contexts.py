"""Contexts of a page of a shop, on data whose right answer is known: basket, re-ranking, recently viewed, new arrivals,
and popular items of a window and a category.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import httpx
import pytest

from serving.answers.contexts import NEW_ARRIVALS, RECENTLY_VIEWED
from serving.answers.decision import Ask, Context, decide
from stream.catalogue.columns import Change
from stream.catalogue.filters import Filter
from stream.catalogue.item import Item
from stream.catalogue.snapshot import Catalogue
from stream.models.query import Query, Ranking
from tests.serving.answers.shop import InMemory, Loaded, application, learned

HOUR = 3600
BEGIN = 1_700_000_000
"""Time of the first event of `shop.learned`; each is a second later than the one before it."""

SHOPPERS = [
    *((f"tea {number}", item) for number in range(30) for item in ("teapot", "cups", "kettle")),
    *((f"garden {number}", item) for number in range(30) for item in ("spade", "seeds", "gloves")),
]
"""Two kinds of visitors whose items never meet."""


@cache
def loaded() -> Loaded:
    return learned([*SHOPPERS, ("ada", "teapot"), ("ada", "spade"), ("ada", "teapot")], 1)


def listed(ask: Ask, catalogue: Catalogue | None = None, version: Loaded | None = None) -> Ranking:
    version = version or loaded()
    violations: list[int] = []
    view = (catalogue or Catalogue()).view(ask.wanted, version.for_catalogue)
    ranking = decide(ask, Context(version.version, version.model, view, violations.append))
    assert violations == []
    return ranking


def documents(**written: Item | None) -> Catalogue:
    catalogue = Catalogue()
    changes = [Change(item, number + 1, document) for number, (item, document) in enumerate(written.items())]
    catalogue.apply(changes, len(changes))
    return catalogue


async def asked(method: str, path: str, catalogue: Catalogue | None = None, **request: Any) -> httpx.Response:
    transport = httpx.ASGITransport(app=application(InMemory(loaded()), catalogue))
    async with httpx.AsyncClient(transport=transport, base_url="http://corrente") as client:
        return await client.request(method, path, **request)


# ---- basket


def test_what_goes_with_a_basket_comes_first_and_nothing_that_is_in_it() -> None:
    assert listed(Ask(basket=["teapot", "cups"], n=1)).items == ["kettle"]
    ranking = listed(Ask(basket=["spade"], n=6))
    assert set(ranking.items[:2]) == {"seeds", "gloves"}
    assert "spade" not in ranking.items


def test_a_basket_is_newer_than_what_the_visitor_did_before() -> None:
    assert set(listed(Ask(user="tea 1", basket=["spade"], n=2)).items) == {"seeds", "gloves"}
    assert listed(Ask(recent=["spade"], basket=["teapot", "cups"], n=1)).items == ["kettle"]


def test_a_basket_of_unknown_items_gives_what_is_popular() -> None:
    ranking = listed(Ask(basket=["no such item"], n=2))
    assert len(ranking.items) == 2
    assert ranking.fallback == "trending"


# ---- re-ranking


async def test_all_of_a_thousand_given_items_come_back_in_the_order_of_the_visitor() -> None:
    unknown = [f"unknown {number}" for number in range(997)]
    given = [*unknown[:500], "spade", "kettle", "cups", *unknown[500:]]
    answer = await asked("POST", "/v1/rerank", json={"items": given, "recent": ["teapot"]})
    ranked = [each["item"] for each in answer.json()["items"]]
    assert answer.headers["cache-control"] == "private, no-store"
    assert set(ranked[:2]) == {"cups", "kettle"}
    assert ranked[2] == "spade"
    assert ranked[3:] == unknown
    assert answer.json()["made_from"] == {"ranked": 3, "popular": 0, "newest": 997}


def test_items_of_the_model_are_all_ranked_up_to_a_thousand() -> None:
    many = [f"item {number}" for number in range(1000)]
    version = learned([(f"u{number % 60}", item) for number, item in enumerate(many)], 1, max_items=1200)
    ranking = listed(Ask(user="u1", candidates=many, keep_all=True, n=1000), version=version)
    assert set(ranking.items) == set(many)
    assert ranking.popular == ranking.newest == 0
    assert ranking.scores == sorted(ranking.scores, reverse=True)


def test_hidden_and_filtered_items_are_not_given_back() -> None:
    catalogue = documents(cups=Item(hidden=True), spade=Item(price=3.0), new=Item(price=4.0), teapot=Item(price=90.0))
    ask = Ask(candidates=["new", "cups", "nowhere", "spade", "teapot"], keep_all=True, n=5)
    assert listed(ask, catalogue).items[-2:] == ["new", "nowhere"]
    assert set(listed(ask, catalogue).items) == {"new", "nowhere", "spade", "teapot"}
    cheap = Ask(candidates=ask.candidates, keep_all=True, n=5, wanted=Filter(price_max=10.0))
    assert listed(cheap, catalogue).items == ["spade", "new"]


def test_without_a_version_the_given_order_stays() -> None:
    ranking = decide(Ask(candidates=["b", "a", "b"], keep_all=True, n=3), Context(None, None))
    assert (ranking.items, ranking.fallback) == (["b", "a"], "newest")


# ---- recently viewed


async def test_recently_viewed_items_come_newest_first_and_each_once_with_their_times() -> None:
    answer = await asked("GET", "/v1/users/ada/recently-viewed")
    last = BEGIN + len(SHOPPERS) + 2
    assert answer.json()["items"] == [{"item": "teapot", "score": last}, {"item": "spade", "score": last - 1}]
    assert answer.json()["fallback"] is None
    assert answer.headers["cache-control"] == "private, no-store"


async def test_a_visitor_without_events_has_viewed_nothing() -> None:
    answer = await asked("GET", "/v1/users/stranger/recently-viewed")
    assert (answer.status_code, answer.json()["items"]) == (200, [])


def test_recently_viewed_keeps_to_the_catalogue_and_the_filter_and_adds_nothing() -> None:
    catalogue = documents(teapot=Item(available=False), spade=Item(tags=["steel"]), new=Item(tags=["steel"]))
    ask = Ask(user="ada", context=RECENTLY_VIEWED, n=5)
    assert listed(ask, catalogue).items == ["spade"]
    steel = Ask(user="ada", context=RECENTLY_VIEWED, n=5, wanted=Filter(tags=("steel",)))
    assert listed(steel, catalogue).items == ["spade"]
    other = Ask(user="ada", context=RECENTLY_VIEWED, n=5, wanted=Filter(tags=("wood",)))
    assert listed(other, catalogue).items == []


def test_nothing_is_recently_viewed_by_a_visitor_who_wants_no_profiling() -> None:
    assert listed(Ask(user="ada", context=RECENTLY_VIEWED).without_profiling()).items == []


def test_events_of_the_session_are_recently_viewed_too() -> None:
    ranking = listed(Ask(user="tea 1", session="garden 1", context=RECENTLY_VIEWED, n=9))
    assert set(ranking.items) == {"teapot", "cups", "kettle"}, "a session and a user of one name are two visitors"


# ---- new arrivals


def test_new_arrivals_are_ordered_by_publication_then_by_the_first_event() -> None:
    early, late = BEGIN - HOUR, BEGIN + HOUR
    catalogue = documents(
        seeds=Item(published_at=late), undated=Item(), old=Item(published_at=early), hidden=Item(hidden=True)
    )
    ranking = listed(Ask(context=NEW_ARRIVALS, n=20), catalogue)
    assert ranking.items == ["seeds", "gloves", "spade", "kettle", "cups", "teapot", "old", "undated"]
    assert ranking.scores[0] == late
    assert ranking.scores[-2:] == [early, 0.0]
    assert (ranking.newest, ranking.popular) == (len(ranking.items), 0)


def test_new_arrivals_fill_the_list_under_a_filter_and_take_only_what_passes() -> None:
    catalogue = documents(
        **{f"n{number}": Item(tags=["a"] if number % 2 else [], published_at=number + 1) for number in range(9)}
    )
    ask = Ask(context=NEW_ARRIVALS, n=3, wanted=Filter(tags=("a",)))
    assert listed(ask, catalogue).items == ["n7", "n5", "n3"]
    catalogue.apply([Change("n7", 20, Item(tags=["a"], available=False))], 20)
    assert listed(ask, catalogue).items == ["n5", "n3", "n1"]


def test_new_arrivals_without_a_catalogue_and_without_a_version() -> None:
    assert listed(Ask(context=NEW_ARRIVALS, n=2)).items == ["gloves", "seeds"]
    nothing = decide(Ask(context=NEW_ARRIVALS), Context(None, None, Catalogue().view(Filter(), None)))
    assert (nothing.items, nothing.fallback) == ([], "empty")


def test_of_very_many_items_the_newest_thousand_are_found() -> None:
    catalogue = documents(**{f"n{number}": Item(published_at=(number * 7919) % 5000 + 1) for number in range(5000)})
    newest = listed(Ask(context=NEW_ARRIVALS, n=500, wanted=Filter(published_after=1.0)), catalogue)
    assert newest.scores == [float(second) for second in range(5000, 4500, -1)]


# ---- windows and categories


@pytest.mark.parametrize("path", ["/v1/popular", "/v1/trending"])
async def test_a_window_decides_how_far_popularity_looks_back(path: str) -> None:
    window = await asked("GET", path, params={"window": "20m", "n": 3})
    model = loaded().model
    assert [each["item"] for each in window.json()["items"]] == model.popular(3, half_life="20m").items
    assert window.json()["items"][0]["score"] < model.popular(3).scores[0]
    wrong = await asked("GET", path, params={"window": "1h"})
    assert (wrong.status_code, wrong.json()["field"]) == (422, "window")


async def test_popular_items_of_a_category() -> None:
    catalogue = documents(spade=Item(categories=["garden/tools"]), gloves=Item(categories=["garden/wear"]))
    answer = await asked("GET", "/v1/trending?categories=garden&n=5", catalogue)
    assert {each["item"] for each in answer.json()["items"]} == {"spade", "gloves"}


def test_the_history_of_a_visitor_is_that_of_the_model() -> None:
    assert loaded().model.history(Query(user="tea 3", n=2)).items == ["kettle", "cups"]
    assert loaded().model.history(Query()).items == []
