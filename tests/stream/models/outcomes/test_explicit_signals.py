"""Explicit signals: liked items gain, disliked ones lose, and a purchase weighs more than a click."""

from __future__ import annotations

import json

import pytest

from stream.ingest.records import Record
from stream.models.query import Query
from stream.models.settings import ModelSettings
from stream.shard.shard import Shard

START = 1_700_000_000
SETTINGS = ModelSettings(max_items=200, max_visitors=400, max_sessions=400, max_event_ids=256)


class Shop:
    def __init__(self, settings=SETTINGS):
        self.shard = Shard(settings)
        self.at = START
        self.offsets = {"clicks": 0, "purchases": 0, "feedback": 0}

    def happen(self, topic, user, item, **more):
        self.at += 1
        value = {"user": user, "item": item, "timestamp": self.at, **more}
        record = Record(topic, self.offsets[topic], self.at * 1000, json.dumps(value).encode())
        self.offsets[topic] += 1
        assert self.shard.apply([record], rate=0.0) == []

    def popular(self):
        ranking = self.shard.model().popular(50)
        return dict(zip(ranking.items, ranking.scores, strict=True))

    def listed(self, user, **more):
        return self.shard.model().recommend(Query(user=user, n=50, **more)).items


def test_a_purchase_weighs_more_than_a_click():
    shop = Shop()
    for number in range(3):
        shop.happen("clicks", f"c{number}", "looked at")
        shop.happen("purchases", f"p{number}", "bought")
    assert shop.popular()["bought"] == pytest.approx(3 * shop.popular()["looked at"], rel=0.01)


@pytest.mark.parametrize(
    ("kind", "value", "loved"),
    [
        ("like", None, True),
        ("cart", None, True),
        ("rating", 5, True),
        ("rating", 4, True),
        ("dislike", None, False),
        ("return", None, False),
        ("rating", 1, False),
        ("rating", 2, False),
    ],
)
def test_each_kind_moves_the_count_its_way(kind, value, loved):
    shop = Shop()
    for number in range(6):
        for item in ("this", "that"):
            shop.happen("clicks", f"u{number} {item}", item)
        more = {} if value is None else {"value": value}
        shop.happen("feedback", f"u{number} this", "this", kind=kind, **more)
    counts = shop.popular()
    assert (counts.get("this", 0) > counts["that"]) == loved


@pytest.mark.parametrize(("kind", "value"), [("dislike", None), ("return", None), ("rating", 1)])
def test_an_item_that_a_visitor_disliked_is_not_on_their_list_until_they_come_back_to_it(kind, value):
    shop = Shop()
    for number in range(20):
        shop.happen("clicks", f"u{number}", "hit")
        shop.happen("clicks", f"u{number}", "other")
    shop.happen("clicks", "me", "other")
    shop.happen("purchases", "me", "hit")
    assert "hit" in shop.listed("me")
    shop.happen("feedback", "me", "hit", kind=kind, **({} if value is None else {"value": value}))
    assert "hit" not in shop.listed("me")
    assert "hit" in shop.listed("u1")
    shop.happen("clicks", "me", "hit")
    assert "hit" in shop.listed("me")


def test_a_return_takes_back_what_the_purchase_gave_to_pairs():
    kept, returned = Shop(), Shop()
    for shop in (kept, returned):
        for number in range(10):
            shop.happen("clicks", f"u{number}", "phone")
            shop.happen("purchases", f"u{number}", "case")
            if shop is returned:
                shop.happen("feedback", f"u{number}", "case", kind="return")
        shop.happen("clicks", "me", "phone")
        shop.happen("clicks", "other", "lamp")

    def value(shop):
        table = shop.shard.tables["pairs"].data
        return table["together"].max()

    assert value(returned) == 0
    assert value(kept) == pytest.approx(30)


def test_weights_are_settings():
    shop = Shop(SETTINGS.model_copy(update={"weights": {"purchase": 1.0, "click": 5.0}}))
    shop.happen("clicks", "a", "looked at")
    shop.happen("purchases", "b", "bought")
    assert shop.popular()["looked at"] > shop.popular()["bought"]


def test_if_repeats_are_off_only_the_first_event_counts_and_its_item_is_never_listed_again():
    shop = Shop(SETTINGS.model_copy(update={"repeats": "first"}))
    for _ in range(5):
        shop.happen("clicks", "me", "mine")
    shop.happen("clicks", "you", "yours")
    assert shop.popular()["mine"] == pytest.approx(1.0, rel=0.01)
    assert shop.listed("me") == ["yours"]


def test_excluded_items_are_left_out_and_candidates_are_all_that_is_listed():
    shop = Shop()
    for number in range(30):
        shop.happen("clicks", f"u{number % 7}", f"i{number % 5}")
    assert "i1" not in shop.listed("u0", exclude=["i1"])
    assert sorted(shop.listed("u0", candidates=["i1", "i3", "unknown"])) == ["i1", "i3"]
    assert shop.listed("u0", candidates=["unknown"]) == []
    seen = {f"i{number % 5}" for number in range(30) if number % 7 == 0}
    assert not seen & set(shop.listed("u0", exclude_seen=True))
