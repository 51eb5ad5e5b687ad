"""Baskets with known contents give known lists, whatever happens between their purchases."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from stream.ingest.records import Record
from stream.models.had.bought_together import BASKET_SECONDS, HALF_LIFE_SECONDS, bought_with
from stream.models.merging.learning_state.merge_state import merged_to_learn
from stream.models.merging.merge import merged
from stream.models.model import Model
from stream.models.query import Query
from stream.models.schema import BOUGHT_SLOTS
from stream.models.workspace.scoring_view import views_of
from stream.shard.shard import Shard
from stream.state.tables import Tables, differing_tables
from tests.stream.models.had.test_had import SETTINGS, Shop
from tests.stream.restoring import tables_of


def baskets(shard: Shard, item: str) -> dict[str, float]:
    """By name of the other item, the number of baskets that hold both."""
    return baskets_of(shard.tables, item, shard.model().clock)


def baskets_of(tables: Tables, item: str, seconds: float) -> dict[str, float]:
    model = Model(SETTINGS, views_of(tables))
    rows = model.rows_of([item])
    if not rows.size:
        return {}
    others, counts = bought_with(views_of(tables), int(rows[0]), seconds)
    return dict(zip(model.names(others), np.round(counts, 3).tolist(), strict=True))


@pytest.fixture
def shop() -> Shop:
    return Shop()


def test_planted_baskets_give_their_numbers_in_both_directions(shop: Shop) -> None:
    for number in range(5):
        shop.happen("purchases", f"visitor {number}", "kettle", "tea")
    for number in range(3):
        shop.happen("purchases", f"other {number}", "kettle", "cup", "rug")
    assert baskets(shop.shard, "kettle") == {"tea": 5.0, "cup": 3.0, "rug": 3.0}
    assert baskets(shop.shard, "tea") == {"kettle": 5.0}
    assert baskets(shop.shard, "rug") == {"kettle": 3.0, "cup": 3.0}
    assert list(baskets(shop.shard, "kettle")) == ["tea", "rug", "cup"], "of equal ones the newer first"


def test_clicks_carts_and_views_are_in_no_basket(shop: Shop) -> None:
    shop.happen("purchases", "me", "kettle")
    for kind in ("cart", "like", "view", "wish"):
        shop.happen("feedback", "me", "cup", kind=kind)
    shop.happen("clicks", "me", *(["lamp", "cup"] * 100))
    assert baskets(shop.shard, "kettle") == {}
    assert not shop.shard.tables["bought"].data.view(np.uint8).any()
    shop.happen("purchases", "me", "tea")
    assert baskets(shop.shard, "kettle") == {"tea": 1.0}


def test_what_is_bought_again_within_a_day_is_the_same_basket(shop: Shop) -> None:
    shop.happen("purchases", "me", "kettle", "tea", "kettle", "tea", "cup", "kettle")
    assert baskets(shop.shard, "kettle") == {"tea": 1.0, "cup": 1.0}
    shop.now += 2 * BASKET_SECONDS
    shop.happen("purchases", "me", "kettle", "tea")
    assert baskets(shop.shard, "tea") == {"kettle": pytest.approx(2.0, abs=0.05), "cup": pytest.approx(1.0, abs=0.05)}


@pytest.mark.parametrize(("apart", "together"), [(BASKET_SECONDS - 1, True), (BASKET_SECONDS, False)])
def test_a_basket_lasts_a_day(shop: Shop, apart: int, together: bool) -> None:
    shop.happen("purchases", "me", "kettle")
    shop.now += apart  # and a second, until the next event
    shop.happen("purchases", "me", "tea")
    assert bool(baskets(shop.shard, "kettle")) == together


def test_two_visitors_share_no_basket(shop: Shop) -> None:
    shop.happen("purchases", "me", "kettle")
    shop.happen("purchases", "you", "tea")
    assert baskets(shop.shard, "kettle") == baskets(shop.shard, "tea") == {}


def test_a_visitor_who_may_not_be_remembered_is_in_no_basket(shop: Shop) -> None:
    shop.happen("purchases", "me", "kettle", "tea", consent="aggregate")
    refused = shop.shard.apply(shop.records("purchases", ["me"] * 2, ["kettle", "tea"], consent="none"), rate=0.0)
    assert [each.unlearned for each in refused] == ["consent", "consent"]
    assert not shop.shard.tables["bought"].data.view(np.uint8).any()


def test_a_return_leaves_the_basket(shop: Shop) -> None:
    shop.happen("purchases", "me", "kettle", "tea")
    shop.happen("purchases", "me", "tea", quantity=-1)
    assert baskets(shop.shard, "kettle") == {"tea": 1.0}


def test_baskets_count_half_after_the_half_life(shop: Shop) -> None:
    shop.happen("purchases", "me", "kettle", "tea")
    shop.happen("purchases", "you", "kettle", "tea")
    for _ in range(2):
        shop.passes(HALF_LIFE_SECONDS)
        for other in range(3):
            shop.happen("purchases", f"buyer {other} of {shop.now}", "lamp")
    assert baskets(shop.shard, "kettle") == {"tea": pytest.approx(0.5, abs=0.03)}
    shop.happen("purchases", "she", "kettle", "tea")
    assert baskets(shop.shard, "kettle") == {"tea": pytest.approx(1.5, abs=0.03)}


def test_an_item_that_is_often_in_the_basket_outlives_many_others(shop: Shop) -> None:
    for number in range(100):
        shop.happen("purchases", f"visitor {number}", "kettle", "tea" if number % 4 == 0 else f"thing {number}")
    found = baskets(shop.shard, "kettle")
    assert len(found) == BOUGHT_SLOTS
    assert next(iter(found.items())) == ("tea", 25.0)


def test_of_equal_counts_the_oldest_makes_room(shop: Shop) -> None:
    for number in range(BOUGHT_SLOTS + 1):
        shop.happen("purchases", f"visitor {number}", "kettle", f"thing {number}")
    assert set(baskets(shop.shard, "kettle")) == {f"thing {number}" for number in range(1, BOUGHT_SLOTS + 1)}


def test_an_evicted_item_leaves_the_list_and_the_next_owner_of_its_row_does_not_enter_it(shop: Shop) -> None:
    shop.happen("purchases", "me", "kettle", "straw")
    for number in range(20):
        shop.happen("clicks", f"other {number}", *(["kettle"] * 5))
    row = int(shop.shard.model().rows_of(["straw"])[0])
    for number in range(400):
        shop.happen("clicks", f"visitor {number % 50}", *([f"new {number}", "kettle"] * 4))
    assert shop.shard.tables["items"].data["key0"][row], "another item has the row"
    assert not shop.shard.model().rows_of(["straw"]).size
    assert baskets(shop.shard, "kettle") == {}
    name = shop.shard.model().names(np.array([row]))[0]
    assert baskets(shop.shard, name) == {}
    shop.happen("purchases", "you", "kettle", name)
    assert baskets(shop.shard, "kettle") == {name: 1.0}


def test_an_erased_visitor_leaves_counts_and_no_basket_to_go_on_with(shop: Shop) -> None:
    shop.happen("purchases", "me", "kettle", "tea")
    shop.shard.erase(["me"])
    assert baskets(shop.shard, "kettle") == {"tea": 1.0}
    shop.happen("purchases", "me", "cup")
    assert baskets(shop.shard, "cup") == {}


def test_the_list_goes_on_with_similar_items(shop: Shop) -> None:
    for number in range(4):
        shop.happen("clicks", f"other {number}", "kettle", "lamp", "cup", "rug", "tea")
    shop.happen("purchases", "me", "kettle", "tea")
    model = shop.shard.model()
    query = Query(recent=["kettle"], exclude=["kettle"], n=4)
    found, similar = model.bought_together(query), model.similar("kettle", 4)
    assert (found.items[0], found.scores[0], found.together, found.fallback) == ("tea", 1.0, 1, None)
    assert found.items[1:] == [item for item in similar.items if item != "tea"]
    assert found.scores == [1.0, 0.0, -1.0, -2.0]
    assert model.bought_together(Query(recent=["lamp"], exclude=["lamp"], n=4)).items == model.similar("lamp", 4).items


def test_a_list_holds_what_is_allowed_and_not_excluded(shop: Shop) -> None:
    shop.happen("purchases", "me", "kettle", "tea", "cup", "rug")
    model = shop.shard.model()
    mask = np.ones(model.item_rows, np.uint8)
    mask[model.rows_of(["cup"])] = 0
    found = model.bought_together(Query(recent=["kettle"], exclude=["kettle", "rug"]), mask)
    assert (found.items, found.together) == (["tea"], 1)


def test_late_purchases_find_the_same_baskets(shop: Shop) -> None:
    """The order in which a basket arrives makes no difference, but for the hours by which its purchases are older."""
    found = []
    for order in permutations(["kettle", "tea", "cup"]):
        one = Shop()
        for item in order:
            one.now += 10
            one.happen("purchases", "me", item, timestamp=one.now - 3600 * len(item))
        found.append({item: baskets(one.shard, item) for item in order})
    assert [set(each["kettle"]) for each in found] == [{"tea", "cup"}] * 6
    assert all(each["tea"] == pytest.approx(found[0]["tea"], abs=0.01) for each in found)


def test_the_table_feeds_no_ranking() -> None:
    one, other = Shop(), Shop()
    for shop in (one, other):
        for number in range(60):
            shop.happen("clicks", f"visitor {number}", f"item {number % 20}", f"item {number % 7}")
            shop.happen("purchases", f"visitor {number}", f"item {number % 20}", f"item {number % 7}")
        if shop is other:
            shop.shard.tables["bought"].data[:] = 0
    for number in range(60):
        assert one.listed(f"visitor {number}") == other.listed(f"visitor {number}")


def buying_records(seed: int, count: int) -> list[Record]:
    """Clicks and purchases of visitors who come back on later days; purchases arrive a little late."""
    draw, shop = np.random.default_rng(seed), Shop()
    made = []
    for number in range(count):
        topic = str(draw.choice(["clicks", "purchases"]))
        user = 30 * int(number / count * 5) + int(draw.integers(30))
        shop.now += 60
        at = shop.now - int(draw.integers(300))
        item = int(draw.integers(40)) if draw.random() < 0.5 else user % 8
        made += shop.records(topic, [f"u{user}"], [f"i{item}"], timestamp=at)
    return made


@pytest.mark.parametrize("seed", [1, 2])
def test_a_shard_restored_from_deltas_goes_on_bit_for_bit(seed: int) -> None:
    print(f"{seed=}")
    records = buying_records(seed, 900)
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
    assert np.count_nonzero(whole.tables["bought"].data["other"]) > 200
    assert list(differing_tables(whole.tables, again.tables)) == []


def test_larger_capacities_keep_everything() -> None:
    shard = Shard(SETTINGS)
    shard.apply(buying_records(3, 900), rate=0.0)
    snapshot = shard.snapshot()
    larger = SETTINGS.model_copy(update={"max_items": 500, "max_kept_visitors": 400})
    grown = Shard.restore(larger, tables_of(SETTINGS, snapshot.delta), snapshot.state)
    assert grown.migration.grown
    for number in range(40):
        assert baskets(grown, f"i{number}") == baskets(shard, f"i{number}") != {}


@pytest.mark.parametrize("seed", [1, 2])
def test_the_baskets_of_merged_shards_add_up(seed: int) -> None:
    """Visitors are in one shard each; items have other rows in each shard and in the merge."""
    print(f"{seed=}")
    draw = np.random.default_rng(seed)
    shops = [Shop(), Shop(), Shop()]
    planted: dict[tuple[str, str], int] = {}
    for number in range(120):
        basket = [f"i{item}" for item in draw.choice(12, 3, replace=False)]
        shops[number % 3].happen("purchases", f"u{number}", *basket)
        for pair in permutations(basket, 2):
            planted[pair] = planted.get(pair, 0) + 1
    views = {number: views_of(shop.shard.tables) for number, shop in enumerate(shops)}
    seconds = shops[0].now
    for tables in (merged(SETTINGS, views), merged_to_learn(SETTINGS, views)):
        for number in range(12):
            found = baskets_of(tables, f"i{number}", seconds)
            expected = {f"i{other}": planted.get((f"i{number}", f"i{other}"), 0) for other in range(12)}
            assert found == pytest.approx({item: count for item, count in expected.items() if count}, abs=0.01)
    alone = merged(SETTINGS, {0: views[0]})
    for number in range(12):
        assert baskets_of(alone, f"i{number}", seconds) == baskets_of(shops[0].shard.tables, f"i{number}", seconds)


def test_the_merge_keeps_the_largest_counts_of_an_item() -> None:
    shops = [Shop(), Shop()]
    for number, shop in enumerate(shops):
        for other in range(12):
            for time in range(1 + (other + 6 * number) % 12):
                shop.happen("purchases", f"u{number} {other} {time}", "kettle", f"{number} {other}")
    views = {number: views_of(shop.shard.tables) for number, shop in enumerate(shops)}
    found = baskets_of(merged(SETTINGS, views), "kettle", shops[0].now)
    assert [round(count) for count in found.values()] == [count for count in range(12, 4, -1) for _ in range(2)]


def test_the_merge_leaves_out_what_was_evicted() -> None:
    shop = Shop()
    shop.happen("purchases", "me", "kettle", "straw")
    row = int(shop.shard.model().rows_of(["straw"])[0])
    for number in range(400):
        shop.happen("clicks", f"visitor {number % 50}", *([f"new {number}", "kettle"] * 4))
    assert shop.shard.tables["items"].data["key0"][row], "another item has the row"
    assert shop.shard.tables["bought"].data["other"].any(), "the slot still names the row"
    tables = merged(SETTINGS, {0: views_of(shop.shard.tables), 1: views_of(Shop().shard.tables)})
    assert not tables["bought"].data["other"].any()
