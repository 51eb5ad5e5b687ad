"""Purchases and dislikes are known after hundreds of further events, come back after a time, and lower what is near."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from stream.ingest.records import Record
from stream.models.merging.learning_state.merge_state import merged_to_learn
from stream.models.merging.merge import merged
from stream.models.model import Model
from stream.models.query import Query
from stream.models.schema import KEPT_ENTRIES, KEPT_NUMBERED, KEPT_VISITORS
from stream.models.settings import ModelSettings
from stream.models.workspace.scoring_view import views_of
from stream.shard.shard import Shard
from stream.state.tables import differing_tables
from tests.stream.restoring import tables_of

START = 1_700_000_000
SETTINGS = ModelSettings(max_items=256, max_visitors=600, max_sessions=600, max_event_ids=64, max_kept_visitors=64)
DAY = 86_400


class Shop:
    """A shard that takes one event after the other, a second apart unless a pause is made."""

    def __init__(self, settings: ModelSettings = SETTINGS) -> None:
        self.shard = Shard(settings)
        self.now = START
        self.sent = {"clicks": 0, "purchases": 0, "feedback": 0}

    def records(self, topic: str, users: Sequence[str], items: Sequence[str], **more: Any) -> list[Record]:
        made = []
        for user, item in zip(users, items, strict=True):
            self.now += 1
            value = json.dumps({"user": user, "item": item, **more}).encode()
            made.append(Record(topic, self.sent[topic], 1000 * self.now, value))
            self.sent[topic] += 1
        return made

    def happen(self, topic: str, user: str, *items: str, **more: Any) -> None:
        assert self.shard.apply(self.records(topic, [user] * len(items), items, **more), rate=0.0) == []

    def passes(self, seconds: float) -> None:
        """Let time pass: others go on meanwhile."""
        for _ in range(20):
            self.now += int(seconds / 20)
            for other in range(3):
                self.happen("clicks", f"other {other}", "lamp")

    def listed(self, user: str = "me", **more: Any) -> list[str]:
        return self.shard.model().recommend(Query(user=user, n=100, **more)).items


@pytest.fixture
def shop() -> Shop:
    """A shop in which `me` bought a kettle, disliked a fork and clicked 150 times since."""
    made = Shop()
    for number in range(5):
        made.happen("clicks", f"other {number}", "lamp", "kettle", "fork", "spoon", "cup", "rug")
    made.happen("clicks", "me", "lamp", "cup")
    made.happen("purchases", "me", "kettle")
    made.happen("feedback", "me", "fork", kind="dislike")
    made.happen("clicks", "me", *(["lamp", "cup", "rug"] * 50))
    return made


def test_what_was_bought_is_left_out_after_a_hundred_further_events(shop: Shop) -> None:
    assert "kettle" in shop.listed()
    assert "kettle" not in shop.listed(exclude_seen=True)
    assert set(shop.listed()) - set(shop.listed(exclude_kinds=["bought"])) == {"kettle"}


def test_what_was_disliked_is_in_no_list_after_a_hundred_further_events(shop: Shop) -> None:
    assert "fork" not in shop.listed()
    assert "fork" not in shop.listed(candidates=["fork", "spoon"])
    assert "fork" in shop.listed("other 1")


@pytest.mark.parametrize(("kind", "back"), [("like", True), ("cart", True), ("dislike", False), ("wish", False)])
def test_a_dislike_is_taken_back_by_a_like_or_a_cart(shop: Shop, kind: str, back: bool) -> None:
    shop.happen("feedback", "me", "fork", kind=kind)
    shop.happen("clicks", "me", *(["lamp", "cup", "rug"] * 50))
    assert ("fork" in shop.listed()) == back


def test_a_purchase_takes_back_a_dislike_and_a_return_leaves_the_purchase(shop: Shop) -> None:
    shop.happen("purchases", "me", "fork")
    shop.happen("feedback", "me", "kettle", kind="return")
    shop.happen("clicks", "me", *(["lamp", "cup", "rug"] * 50))
    assert "fork" in shop.listed()
    assert not {"fork", "kettle"} & set(shop.listed(exclude_kinds=["bought"]))


def test_a_click_suspends_a_dislike_while_it_is_among_the_last_events(shop: Shop) -> None:
    shop.happen("clicks", "me", "fork")
    assert "fork" in shop.listed()
    shop.happen("clicks", "me", *(["lamp", "cup", "rug"] * 50))
    assert "fork" not in shop.listed()


def test_replenishable_goods_return_after_the_window(shop: Shop) -> None:
    within = {"exclude_kinds": ["bought"], "seen_within": 30.0 * DAY}
    assert "kettle" not in shop.listed(**within)
    shop.passes(40 * DAY)
    assert "kettle" in shop.listed(**within)
    assert "kettle" not in shop.listed(exclude_kinds=["bought"])


def test_kinds_of_events_are_told_apart(shop: Shop) -> None:
    shop.happen("feedback", "me", "spoon", kind="cart")
    everything = set(shop.listed())
    left_out = {
        kind: everything - set(shop.listed(exclude_kinds=[kind])) for kind in ("clicked", "carted", "bought", "any")
    }
    assert left_out == {
        "clicked": {"lamp", "cup", "rug"},
        "carted": {"spoon"},
        "bought": {"kettle"},
        "any": {"lamp", "cup", "rug", "spoon", "kettle"},
    }
    assert everything - set(shop.listed(exclude_kinds=["clicked", "carted"], seen_within=2)) == {"spoon", "rug", "cup"}


def test_an_unknown_row_of_the_visitor_keeps_no_purchase_from_being_known(shop: Shop) -> None:
    """Visitors who come back after their last events were evicted still bought what they bought."""
    shop.shard.apply(shop.records("clicks", [f"crowd {n}" for n in range(800)], ["lamp"] * 800), rate=0.0)
    assert shop.shard.model().recommend(Query(user="me")).fallback is not None, "the visitor was evicted"
    assert "fork" not in shop.listed()
    assert "kettle" not in shop.listed(exclude_kinds=["bought"])


def test_an_evicted_item_passes_nothing_on_to_the_next_owner_of_its_row(shop: Shop) -> None:
    shop.happen("purchases", "me", "straw")
    row = int(shop.shard.model().rows_of(["straw"])[0])
    shop.happen("purchases", "other 1", *(f"new {number // 2}" for number in range(1200)))
    table = shop.shard.tables["items"].data
    assert not shop.shard.model().rows_of(["straw"]).size
    assert table["key0"][row], "another item has the row"
    name = shop.shard.model().names(np.array([row]))
    assert name[0] in shop.listed(candidates=name, exclude_kinds=["bought"])


def test_of_more_items_than_fit_the_newest_are_known() -> None:
    shop = Shop(SETTINGS.model_copy(update={"max_kept_items": 8}))
    bought = [f"i{number}" for number in range(12)]
    shop.happen("clicks", "other", *bought)
    shop.happen("purchases", "me", *bought)
    shop.happen("clicks", "me", *(["i0"] * 150))
    assert set(shop.listed(exclude_kinds=["bought"])) == {"i0", "i1", "i2", "i3"}


def test_of_more_visitors_than_fit_those_who_bought_last_are_known() -> None:
    shop = Shop()
    for number in range(400):
        shop.happen("purchases", f"buyer {number}", "lamp")
    scalars, table = shop.shard.tables["scalars"].data[0], shop.shard.tables["kept_visitors"].data
    assert scalars[KEPT_VISITORS] == np.count_nonzero(table["key"]) == 64
    assert table["seconds"][table["key"] != 0].min() > START + 200
    assert shop.listed("buyer 399", exclude_kinds=["bought"]) == []


def test_an_erased_visitor_is_not_known_any_more(shop: Shop) -> None:
    assert shop.shard.erase(["me"]) > 0
    assert "fork" in shop.listed()
    assert "kettle" in shop.listed(exclude_kinds=["bought"])
    assert shop.shard.tables["scalars"].data[0, KEPT_VISITORS] == 0
    visitors, entries = (shop.shard.tables[name].data for name in ("kept_visitors", "kept_items"))
    assert not entries.view(np.uint8).any()
    assert not visitors["key"].any()
    assert not visitors["seconds"].any()
    assert np.count_nonzero(visitors["entries"]) == 1, "the place keeps its number, which says nothing about anyone"


def test_entries_of_the_places_in_use_lie_side_by_side_and_the_next_visitor_of_a_place_gets_those_of_the_last() -> None:
    shop = Shop()
    for number in range(10):
        shop.happen("purchases", f"buyer {number}", "lamp")
    rows_each = SETTINGS.max_kept_items // KEPT_ENTRIES

    def used() -> list[int]:
        written = shop.shard.tables["kept_items"].data["item"].any(1)
        return [int(row) for row in np.flatnonzero(written)]

    first = [rows_each * number for number in range(1, 11)]
    assert used() == first
    for number in range(10):
        shop.shard.erase([f"buyer {number}"])
    assert used() == []
    for number in range(10):
        shop.happen("purchases", f"buyer {number}", "lamp")
    assert used() == first
    for number in range(400):
        shop.happen("purchases", f"buyer {number}", "lamp")
    assert used() == [rows_each * number for number in range(1, 65)]


def in_the_order_of_places(shard: Shard) -> None:
    """Rewrite the tables of a shard as programs had them in which no place had a number of its own."""
    visitors, entries = (shard.tables[name] for name in ("kept_visitors", "kept_items"))
    rows_each = len(entries.data) // visitors.data.size
    old = entries.data.copy()
    entries.data[:] = np.zeros(1, entries.data.dtype)
    of_place = visitors.data.reshape(-1)
    for place in np.flatnonzero(of_place["key"]):
        first = int(of_place["entries"][place]) * rows_each
        entries.data[place * rows_each : (place + 1) * rows_each] = old[first : first + rows_each]
    of_place["entries"] = 0
    shard.tables["scalars"].data[0, KEPT_NUMBERED] = 0


@pytest.mark.parametrize("seed", [1, 2])
def test_a_state_without_numbers_of_places_gives_the_same_lists_and_goes_on(seed: int) -> None:
    print(f"{seed=}")
    records = random_records(seed, 900)
    ours, older = Shard(SETTINGS), Shard(SETTINGS)
    for shard in (ours, older):
        shard.apply(records[:600], rate=0.0)
    in_the_order_of_places(older)
    snapshot = older.snapshot()
    older = Shard.restore(SETTINGS, tables_of(SETTINGS, snapshot.delta), snapshot.state)
    for part in (records[600:600], records[600:]):
        for shard in (ours, older):
            shard.apply(part, rate=0.0)
        for user in range(150):
            query = Query(user=f"u{user}", n=50, exclude_kinds=["bought"])
            assert older.model().recommend(query) == ours.model().recommend(query)
    assert not older.tables["kept_visitors"].data["entries"].any(), "it stays as it is"
    in_the_order_of_places(ours)
    kept = [name for name in differing_tables(ours.tables, older.tables) if name != "scalars"]
    assert kept == [], "and has its entries where they were, with those of 300 more events"
    snapshot = older.snapshot()
    larger = SETTINGS.model_copy(update={"max_kept_visitors": 400})
    grown = Shard.restore(larger, tables_of(SETTINGS, snapshot.delta), snapshot.state)
    numbers = grown.tables["kept_visitors"].data["entries"].reshape(-1)
    assert sorted(numbers[numbers != 0]) == list(range(1, np.count_nonzero(numbers) + 1)), "until it grows"
    for user in range(150):
        query = Query(user=f"u{user}", n=50, exclude_kinds=["bought"])
        assert grown.model().recommend(query) == older.model().recommend(query)


def test_events_without_consent_are_not_kept() -> None:
    shop = Shop()
    shop.happen("clicks", "other", "lamp", "cup")
    shop.happen("purchases", "me", "lamp", consent="aggregate")
    assert shop.shard.tables["scalars"].data[0, KEPT_VISITORS] == 0


def random_records(seed: int, count: int) -> list[Record]:
    """Events of every kind, some of which buy or dislike."""
    draw, shop = np.random.default_rng(seed), Shop()
    made = []
    for _ in range(count):
        topic = str(draw.choice(["clicks", "purchases", "feedback"], p=[0.6, 0.2, 0.2]))
        more = {"kind": str(draw.choice(["dislike", "like", "cart", "return"]))} if topic == "feedback" else {}
        made += shop.records(topic, [f"u{draw.integers(150)}"], [f"i{draw.integers(40)}"], **more)
    return made


@pytest.mark.parametrize("seed", [1, 2])
def test_a_restored_shard_goes_on_bit_for_bit_and_so_does_one_that_learned_in_other_deltas(seed: int) -> None:
    print(f"{seed=}")
    records = random_records(seed, 900)
    whole, cut = Shard(SETTINGS), Shard(SETTINGS)
    deltas = []
    for at in range(0, 600, 60):
        for shard in (whole, cut):
            shard.apply(records[at : at + 60], rate=0.5)
        deltas.append(cut.checkpoint())
    tables = tables_of(SETTINGS, *(each.delta for each in deltas))
    again = Shard.restore(SETTINGS, tables, deltas[-1].state)
    for shard in (whole, again):
        shard.apply(records[600:], rate=0.5)
    assert whole.tables["scalars"].data[0, KEPT_VISITORS] > 40
    assert list(differing_tables(whole.tables, again.tables)) == []


@pytest.mark.parametrize("larger", [{"max_kept_visitors": 400}, {"max_kept_items": 64}, {"max_items": 500}])
def test_larger_capacities_keep_everything(larger: dict[str, int]) -> None:
    shard = Shard(SETTINGS)
    shard.apply(random_records(3, 900), rate=0.0)
    snapshot = shard.snapshot()
    grown = Shard.restore(SETTINGS.model_copy(update=larger), tables_of(SETTINGS, snapshot.delta), snapshot.state)
    assert grown.migration.grown
    for user in range(150):
        query = Query(user=f"u{user}", n=50, exclude_kinds=["bought"])
        assert grown.model().recommend(query) == shard.model().recommend(query)


TASTES, OF_TASTE = 6, 20


@pytest.mark.parametrize("seed", [1, 2])
def test_a_dislike_lowers_what_lies_near_it_on_planted_tastes(seed: int) -> None:
    """Every visitor has two tastes. After one dislike in a taste, its share of the list falls by a fifth or more."""
    print(f"{seed=}")
    draw = np.random.default_rng(seed)
    shop = Shop(SETTINGS.model_copy(update={"max_kept_visitors": 600}))

    def browses(user: str, tastes: np.ndarray, count: int) -> list[str]:
        items = [f"{draw.choice(tastes)} {int(OF_TASTE * draw.random() ** 1.5)}" for _ in range(count)]
        shop.happen("clicks", user, *items)
        return items

    for number in range(250):
        browses(f"other {number}", draw.choice(TASTES, 2, replace=False), 12)
    without, with_dislike = [], []
    for number in range(30):
        tastes = draw.choice(TASTES, 2, replace=False)
        mine = browses(f"me {number}", tastes, 10)
        asked = Query(user=f"me {number}", n=10, exclude=mine)
        first = shop.shard.model().recommend(asked).items
        near = [item for item in first if item.startswith(f"{tastes[0]} ")]
        if not near:
            continue
        turned_down = Query(user=f"me {number}", n=10, exclude=[*mine, near[0]])
        before = shop.shard.model().recommend(turned_down).items
        assert before == shop.shard.model().recommend(turned_down).items
        shop.happen("feedback", f"me {number}", near[0], kind="dislike")
        after = shop.shard.model().recommend(asked).items
        assert near[0] not in after
        assert len(after) == 10
        for shares, items in ((without, before), (with_dislike, after)):
            shares.append(sum(item.startswith(f"{tastes[0]} ") for item in items) / len(items))
    print(f"share of the taste: {np.mean(without):.3f}, after a dislike {np.mean(with_dislike):.3f}")
    assert len(without) > 20
    assert 0.1 < np.mean(with_dislike) < 0.8 * np.mean(without), "less of it, and not none"


def test_a_dislike_that_comes_with_the_request_counts_for_that_list_alone(shop: Shop) -> None:
    before = shop.listed()
    assert "spoon" in before
    assert "spoon" not in shop.listed(disliked=["spoon", "unknown"])
    assert shop.listed() == before


def test_lists_of_visitors_without_dislikes_are_the_same_bytes_whatever_others_turned_down() -> None:
    one, other = Shop(), Shop()
    for each in (one, other):
        for number in range(40):
            each.happen("clicks", f"u{number % 9}", *(f"i{(number * step) % 17}" for step in (1, 3, 5)))
        each.now = START + 1000
    two = other.shard.tables["scalars"].data[0]
    assert two[KEPT_VISITORS] == 0
    other.happen("purchases", "stranger", "never seen before")
    one.happen("clicks", "stranger", "never seen before")
    assert other.shard.tables["scalars"].data[0, KEPT_VISITORS] == 1
    for number in range(9):
        query = Query(user=f"u{number}", n=17, exclude=["never seen before"])
        assert one.shard.model().recommend(query).items == other.shard.model().recommend(query).items


@pytest.mark.parametrize(("seed", "older"), [(1, False), (2, True)])
def test_shards_that_are_merged_leave_out_what_each_of_them_knew(seed: int, older: bool) -> None:
    """Half of the visitors are in each shard, and their items have other rows in the merge."""
    print(f"{seed=}")
    records = random_records(seed, 900)
    halves: list[list[Record]] = [[], []]
    for record in records:
        halves[int(json.loads(record.value)["user"][1:]) % 2].append(record)
    settings = SETTINGS.model_copy(update={"max_kept_visitors": 600})
    shards = [Shard(settings), Shard(settings)]
    for shard, half in zip(shards, halves, strict=True):
        shard.apply(half, rate=0.0)
    if older:
        in_the_order_of_places(shards[0])
    views = {number: views_of(shard.tables) for number, shard in enumerate(shards)}
    for tables in (merged(settings, views), merged_to_learn(settings, views)):
        model = Model(settings, views_of(tables))
        for user in range(150):
            names = [f"i{number}" for number in range(40)]
            lists = [
                {
                    kinds: set(
                        each.recommend(Query(user=f"u{user}", n=50, candidates=names, exclude_kinds=kinds)).items
                    )
                    for kinds in ((), ("bought",))
                }
                for each in (model, shards[user % 2].model())
            ]
            assert lists[0] == lists[1]


@pytest.mark.parametrize("ranker", ["blend", "river"])
def test_what_a_dislike_took_is_a_part_of_the_reasons(ranker: str) -> None:
    shop = Shop(SETTINGS.model_copy(update={"ranker": ranker}))
    for number in range(20):
        shop.happen("clicks", f"other {number}", "fork", "spoon", "knife")
        shop.happen("clicks", f"third {number}", "lamp", "bulb")
    shop.happen("clicks", "me", "lamp")
    shop.happen("feedback", "me", "fork", kind="dislike")
    ranking, reasons = shop.shard.model().explain(Query(user="me", n=10))
    scores = [each.intercept + sum(part.value * part.weight for part in each.features) for each in reasons]
    assert scores == pytest.approx(ranking.scores, rel=1e-5, abs=2e-5)
    lowered = {item for item, each in zip(ranking.items, reasons, strict=True) if each.policies == ["dislikes"]}
    assert lowered == {"spoon", "knife"}
    named = {item: {part.feature for part in each.features} for item, each in zip(ranking.items, reasons, strict=True)}
    assert {item for item, features in named.items() if "disliked_nearby" in features} == lowered
