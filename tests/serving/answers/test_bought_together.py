"""What is bought together, from planted baskets: the answer is known, under any filter and catalogue."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from serving.answers.decision import Context, decide
from serving.answers.requests import ListOfItems, ask_of_bought_together
from stream.catalogue.columns import Change
from stream.catalogue.item import Item
from stream.catalogue.snapshot import Catalogue
from stream.ingest.records import Record
from stream.models.settings import ModelSettings
from stream.shard.shard import Shard
from tests.serving.answers.shop import CAPACITIES, InMemory, Loaded, application

BASKETS = [["kettle", "tea"]] * 9 + [["kettle", "cup", "tea"]] * 4 + [["kettle", "rug"]] * 2 + [["lamp", "bulb"]] * 3
CLICKED = ["kettle", "stove", "pan", "lamp", "kettle", "pan", "stove"]
"""Nobody buys a stove or a pan, but whoever looks at a kettle looks at them."""


@cache
def loaded() -> Loaded:
    shard = Shard(ModelSettings(**CAPACITIES), partition=0, shards=1)
    sent = {"clicks": 0, "purchases": 0}
    events = [("clicks", f"u{number}", item) for number in range(12) for item in CLICKED]
    events += [("purchases", f"u{number}", item) for number, basket in enumerate(BASKETS) for item in basket]
    for at, (topic, user, item) in enumerate(events):
        value = json.dumps({"user": user, "item": item}).encode()
        assert shard.apply([Record(topic, sent[topic], 1_700_000_000_000 + 1000 * at, value)], rate=1.0) == []
        sent[topic] += 1
    return Loaded(SimpleNamespace(number=1, id=f"{1:064x}"), shard.model())


def catalogue(documents: Mapping[str, Item | None]) -> Catalogue:
    made = Catalogue()
    made.apply([Change(item, at, each) for at, (item, each) in enumerate(documents.items(), 1)], len(documents))
    return made


async def asked(path: str, documents: Mapping[str, Item | None] | None = None) -> dict[str, Any]:
    app = application(InMemory(loaded()), catalogue(documents or {}))
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://corrente") as client:
        answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


def items_of(answer: dict[str, Any]) -> list[str]:
    return [each["item"] for each in answer["items"]]


async def test_baskets_come_first_with_their_number_and_similar_items_go_on() -> None:
    answer = await asked("/v1/items/kettle/bought-together?n=6")
    similar = await asked("/v1/items/kettle/similar?n=9")
    assert items_of(answer)[:3] == ["tea", "cup", "rug"]
    assert [each["score"] for each in answer["items"][:3]] == pytest.approx([13, 4, 2], abs=0.01)
    assert items_of(answer)[3:] == [item for item in items_of(similar) if item not in {"tea", "cup", "rug"}][:3]
    assert answer["made_from"] == {"ranked": 3, "popular": 0, "newest": 0, "bought_together": 3}
    assert answer["fallback"] is None
    scores = [each["score"] for each in answer["items"]]
    assert scores == sorted(scores, reverse=True)


async def test_an_item_that_nobody_bought_has_similar_items_alone() -> None:
    answer, similar = await asked("/v1/items/pan/bought-together"), await asked("/v1/items/pan/similar")
    assert answer["items"] == similar["items"]
    assert answer["made_from"] == {**similar["made_from"], "bought_together": 0}


async def test_an_unknown_item_has_a_list_that_says_what_it_was_made_from() -> None:
    answer, popular = await asked("/v1/items/no such/bought-together"), await asked("/v1/items/no such/similar")
    assert answer["items"] == popular["items"] != []
    assert answer["fallback"] == popular["fallback"] is not None


async def test_other_lists_say_nothing_of_baskets() -> None:
    assert "bought_together" not in (await asked("/v1/items/kettle/similar"))["made_from"]


async def test_hidden_and_sold_out_items_are_not_shown_and_the_list_is_full_all_the_same() -> None:
    documents = {"tea": Item(hidden=True), "rug": Item(available=False), "new": Item(title="New")}
    answer = await asked("/v1/items/kettle/bought-together?n=6", documents)
    assert items_of(answer)[0] == "cup"
    assert not {"tea", "rug", "kettle"} & set(items_of(answer))
    assert set(items_of(answer)) == {"cup", "stove", "pan", "lamp", "bulb", "new"}
    assert answer["made_from"] == {"ranked": 4, "popular": 0, "newest": 1, "bought_together": 1}


async def test_every_item_passes_the_filter() -> None:
    documents = {"tea": Item(price=9.0), "cup": Item(price=3.0), "pan": Item(price=4.0), "new": Item(price=1.0)}
    answer = await asked("/v1/items/kettle/bought-together?n=6&price_max=5", documents)
    assert items_of(answer) == ["cup", "pan", "new"]
    assert answer["made_from"]["bought_together"] == 1


async def test_a_list_is_cut_to_its_length() -> None:
    answer = await asked("/v1/items/kettle/bought-together?n=2")
    assert items_of(answer) == ["tea", "cup"]
    assert answer["made_from"] == {"ranked": 0, "popular": 0, "newest": 0, "bought_together": 2}


async def test_reasons_name_the_baskets_and_the_rule_that_filled_the_list() -> None:
    answer = await asked("/v1/items/kettle/bought-together?n=7&explain=true", {"new": Item(title="New")})
    first = answer["items"][0]["reasons"]
    assert [part["source"] for part in first["sources"]] == ["bought_together"]
    assert [each["reasons"]["policies"] for each in answer["items"][:3]] == [[], [], []]
    assert answer["items"][3]["reasons"]["policies"] == ["similar"]
    assert answer["explanation"]["ranker"] == "counts"
    for each in answer["items"]:
        reasons = each["reasons"]
        total = reasons["intercept"] + sum(part["value"] * part["weight"] for part in reasons["features"])
        assert total == pytest.approx(each["score"], rel=1e-5, abs=2e-5)


def test_without_a_version_the_list_is_what_the_catalogue_holds() -> None:
    ask = ask_of_bought_together("kettle", ListOfItems(n=3))
    assert decide(ask, Context(None, None)).fallback == "empty"
    view = catalogue({"new": Item(title="New")}).view(ask.wanted, None)
    ranking = decide(ask, Context(None, None, view))
    assert (ranking.items, ranking.fallback, ranking.together) == (["new"], "newest", 0)
