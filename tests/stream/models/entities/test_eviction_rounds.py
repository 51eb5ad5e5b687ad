"""Eviction in rounds: the weakest go, nothing points at them, and each new row does a small part of the work."""

from __future__ import annotations

import numpy as np
import pytest

from stream.models.entities.eviction import FREE_STEPS, LEAVING, POSITION, RESERVE_DIVISOR
from stream.models.kernels.row_pool import POOL_OWNERS, run_row, run_rows
from stream.models.learning.learner import Learner
from stream.models.migration.rows import grow
from stream.models.schema import (
    EVICT_ITEMS,
    EVICT_VISITORS,
    ITEMS_EVICTED,
    ITEMS_LIVE,
    NEWEST,
    POOL_HISTORY,
    POOL_PAIRS,
    POOL_POSTINGS,
    RUN_SETS,
    VISITORS_EVICTED,
    VISITORS_LIVE,
    table_specs,
)
from stream.models.workspace.learning_view import ITEM_INDEX, SESSION_INDEX, VISITOR_INDEX
from stream.state.tables import Tables
from tests.stream.models.conftest import Happened, Shop

START = 1.7e9


def crowd(
    draw: np.random.Generator, events: int, items: int, visitors: int, at: float, name: str = ""
) -> list[Happened]:
    """Walks of random visitors over random items, one event a second."""
    who, what = draw.integers(visitors, size=events), draw.integers(items, size=events)
    return [Happened(f"{name}u{who[n]}", f"{name}i{what[n]}", at + n) for n in range(events)]


def rows(shop: Shop, table: str) -> np.ndarray:
    """Rows of a table that are in use."""
    data = shop.learner.tables[table].data
    return np.flatnonzero((data["key0"] != 0) | (data["key1"] != 0))


def owned(pool: np.ndarray, pointers: np.ndarray, width: int) -> np.ndarray:
    """The rows of a pool that have an owner; free runs are chained through their first word."""
    runs = [
        pool[width * int(run_row(pointer)) : width * int(run_row(pointer) + run_rows(pointer))].reshape(-1)
        for pointer in pointers[pointers != 0]
    ]
    return np.concatenate([np.zeros(0, pool.dtype), *runs])


def assert_nothing_points_at_nobody(shop: Shop) -> None:
    """Every reference leads to a row in use, every run has one owner, and marks and counts agree."""
    tables, state = shop.learner.tables, shop.learner.state
    items, visitors = rows(shop, "items"), rows(shop, "visitors")
    live_items = np.append(items, 0)
    others = owned(tables["pairs"].data["other"], tables["items"].data["pairs"], RUN_SETS)
    assert np.isin(others, live_items).all()
    assert np.isin(owned(tables["history"].data["item"], tables["visitors"].data["history"], 1), live_items).all()
    assert np.isin(tables["session_items"].data, live_items).all()
    assert np.isin(tables["reservoir"].data, live_items).all()
    assert np.isin(tables["top"].data[: NEWEST + 1], live_items).all()
    assert np.isin(tables["items"].data["last_visitor"], np.append(visitors, 0)).all()
    for table, field, base, of in (
        ("items", "pairs", POOL_PAIRS, items),
        ("items", "postings", POOL_POSTINGS, items),
        ("visitors", "history", POOL_HISTORY, visitors),
    ):
        pointers = tables[table].data[field]
        assert np.flatnonzero(pointers).tolist() == of[pointers[of] != 0].tolist()
        assert state.scalars[base + POOL_OWNERS] == np.count_nonzero(pointers)
    for table, flags, base in (
        ("items", state.items_leaving, EVICT_ITEMS),
        ("visitors", state.visitors_leaving, EVICT_VISITORS),
    ):
        leaving = tables[table].data["leaving"]
        assert (flags == leaving).all()
        assert state.scalars[base + LEAVING] == leaving.sum()
    assert state.scalars[ITEMS_LIVE] == len(items)
    assert state.scalars[VISITORS_LIVE] == len(visitors)


@pytest.mark.parametrize("seed", range(3))
def test_at_every_moment_every_reference_leads_to_a_row_in_use(seed: int) -> None:
    print("seed", seed)
    draw = np.random.default_rng(seed)
    shop = Shop(max_items=100, max_visitors=150, max_sessions=80)
    for turn in range(40):
        shop.learn(crowd(draw, 50, 160, 230, START + 50 * turn))
        assert_nothing_points_at_nobody(shop)
    assert shop.learner.state.scalars[ITEMS_EVICTED] > 300
    assert shop.learner.state.scalars[VISITORS_EVICTED] > 300


def test_a_full_table_keeps_all_but_a_sixteenth_of_its_rows_in_use() -> None:
    shop = Shop(max_items=640, max_visitors=320, max_sessions=64)
    fewest_items, fewest_visitors = 640, 320
    for turn in range(100):
        at = START + 40 * turn
        shop.learn(Happened(f"u{at + n}", f"i{at + n}", at + n) for n in range(40))
        if turn > 20:
            fewest_items = min(fewest_items, len(rows(shop, "items")))
            fewest_visitors = min(fewest_visitors, len(rows(shop, "visitors")))
    assert fewest_items >= 640 - 640 // 16
    assert fewest_visitors >= 320 - 320 // 16


def test_in_a_small_table_exactly_the_weakest_go() -> None:
    """Thirty-three items in use of which each was had once more than the one before it."""
    shop = Shop(max_items=64, max_visitors=400, max_sessions=64)
    shop.learn(Happened(f"u{n}", f"i{item}", START + item) for item in range(62) for n in range(1 + item))
    shop.learn(Happened("new", f"new{n}", START + 100 + n) for n in range(6) for _ in range(70))
    popular = set(shop.answers().popular(64).items)
    gone = {f"i{item}" for item in range(62)} - popular
    assert gone == {f"i{item}" for item in range(len(gone))}
    assert 4 <= len(gone) <= 8


def test_in_a_large_table_the_weakest_part_goes() -> None:
    shop = Shop(max_items=3000, max_visitors=3000, max_sessions=64)
    draw = np.random.default_rng(5)
    order = draw.permutation(2900)
    shop.learn(Happened(f"u{item}", f"i{item}", START + place) for place, item in enumerate(order))
    shop.learn(Happened(f"v{n}", f"new{n}", START + 10_000 + n) for n in range(200))
    state, items = shop.learner.state, shop.learner.tables["items"].data
    evicted = int(state.scalars[ITEMS_EVICTED])
    assert 80 <= evicted <= 200, "no more than came"
    kept = {int(seconds - START) for seconds in items["first_seconds"][rows(shop, "items")]}
    gone = [place for place in range(2900) if place not in kept]
    assert len(gone) == evicted
    assert max(gone) < 3000 / 8, "all of them are among the weakest"


def test_an_event_on_a_leaving_item_or_of_a_leaving_visitor_lets_it_stay() -> None:
    shop = Shop(max_items=640, max_visitors=640, max_sessions=64)
    shop.learn(Happened(f"u{n}", f"i{n}", START + n) for n in range(620))
    state = shop.learner.state
    came = 0
    while not (state.scalars[EVICT_ITEMS + LEAVING] and state.scalars[EVICT_VISITORS + LEAVING]):
        shop.learn([Happened(f"n{came}", f"n{came}", START + 1000 + came)])
        came += 1
        assert came < 10
    name = {row: shop.answers().names(np.array([row]))[0] for row in rows(shop, "items").tolist()}
    leaving = [name[row] for row in np.flatnonzero(state.items_leaving).tolist()]
    for item in leaving:  # the visitor of item i7 is u7
        shop.learn([Happened(item.replace("i", "u"), item, START + 2000)])
        assert not state.items_leaving[[row for row in name if name[row] == item]].any()
    assert_nothing_points_at_nobody(shop)
    for n in range(20):
        shop.learn([Happened(f"m{n}", f"m{n}", START + 3000 + n)])
    known = set(shop.answers().names(rows(shop, "items")))
    assert leaving
    assert set(leaving) <= known
    assert_nothing_points_at_nobody(shop)


@pytest.mark.parametrize("grown", [{"max_sessions": 190}, {"max_items": 150, "max_visitors": 300}])
def test_a_round_goes_on_in_larger_tables(grown: dict[str, int]) -> None:
    draw = np.random.default_rng(3)
    sizes = {"max_items": 100, "max_visitors": 150, "max_sessions": 80}
    for learned in range(200, 1000, 40):  # at many stages of a round
        shop, larger = Shop(**sizes), Shop(**sizes | grown)
        shop.learn(crowd(draw, learned, 300, 500, START))
        tables = Tables(table_specs(larger.settings))
        grow(shop.learner.tables, tables)
        larger.learner = Learner(larger.settings, tables)
        assert_nothing_points_at_nobody(larger)
        evicted = larger.learner.state.scalars[ITEMS_EVICTED]
        for turn in range(6):
            larger.learn(crowd(draw, 30, 300, 500, START + 1000 + 30 * turn))
            assert_nothing_points_at_nobody(larger)
        assert "max_items" in grown or larger.learner.state.scalars[ITEMS_EVICTED] > evicted


def test_a_table_that_is_full_all_the_same_is_made_room_in_at_once() -> None:
    """A state of a release that evicted only when no row was left is as full."""
    shop = Shop(max_items=64, max_visitors=64, max_sessions=64)
    shop.learn(Happened(f"u{n}", f"i{n}", START + n) for n in range(61))
    state = shop.learner.state
    state.scalars[[EVICT_ITEMS + POSITION, EVICT_VISITORS + POSITION]] = 0
    spare = 64 - int(state.scalars[ITEMS_LIVE])
    free = [int(row) for row in range(1, 65) if row not in rows(shop, "items")]
    assert len(free) == spare
    shop.learn(Happened(f"u{n}", f"i{n}", START + n) for n in range(61, 64))
    shop.learn([Happened("new", "new", START + 100)])
    assert_nothing_points_at_nobody(shop)
    assert "new" in shop.answers().popular(64).items


@pytest.mark.parametrize("size", [1, 28, 29, 56, 57, 140, 256])
def test_the_capacity_is_a_number_of_items_however_long_their_ids_are(size: int) -> None:
    shop = Shop(max_items=64, max_visitors=64, max_sessions=64)
    width = min(size, 3)

    def named(number: int) -> str:
        return (np.base_repr(number, 36).rjust(width, "0") if width > 1 else chr(0x21 + number)).ljust(size, "x")

    shop.learn(Happened("me", named(n), START + n) for n in range(60))
    state = shop.learner.state
    assert state.scalars[ITEMS_EVICTED] == 0
    assert set(shop.answers().popular(64).items) == {named(n) for n in range(60)}
    for turn in range(3):
        shop.learn(Happened("me", named(n), START + 100 * turn + n) for n in range(30 * turn, 30 * turn + 60))
        assert len(rows(shop, "items")) >= 60
    assert_nothing_points_at_nobody(shop)


def test_a_new_row_does_a_small_part_of_a_round() -> None:
    """The steps of a round are spread over the rows that are free, also if the rows that leave are neighbours."""
    shop = Shop(max_items=3200, max_visitors=3200, max_sessions=64)
    shop.learn(Happened(f"u{n}", f"i{n}", START + n) for n in range(3100))
    state = shop.learner.state
    sweep, reserve = 3201 + 3201 + 65 + 625 + 3201, 3200 // RESERVE_DIVISOR
    mean = (sweep + FREE_STEPS * reserve) / reserve
    positions, freed = [], []
    for n in range(400):
        before = state.scalars[ITEMS_EVICTED]
        shop.learn([Happened("me", f"new{n}", START + 4000 + n)])
        positions.append(state.scalars[EVICT_ITEMS + POSITION])
        freed.append(state.scalars[ITEMS_EVICTED] - before)
    moved = np.diff(positions)
    assert state.scalars[ITEMS_EVICTED] >= 200
    assert np.median(moved[moved > 0]) <= 2 * mean
    assert max(freed) <= 2 * mean / FREE_STEPS + 1


def test_indexes_are_never_rebuilt_while_rows_come_and_go() -> None:
    """Cells of rows that went are free again: a rebuild would hold learning up for a whole table."""
    shop = Shop(max_items=64, max_visitors=64, max_sessions=64)
    draw = np.random.default_rng(11)
    state = shop.learner.state
    for turn in range(30):
        shop.learn(crowd(draw, 100, 500, 500, START + 100 * turn))
        for index, cells, table in (
            (ITEM_INDEX, state.item_cells, "items"),
            (VISITOR_INDEX, state.visitor_cells, "visitors"),
            (SESSION_INDEX, state.session_cells, "sessions"),
        ):
            assert state.cells_used[index] == np.count_nonzero(cells) == len(rows(shop, table)), table


def test_histories_lose_evicted_items_and_keep_the_others() -> None:
    shop = Shop(max_items=64, max_visitors=64, max_sessions=64)
    shop.learn(Happened("me", f"i{n}", START + n) for n in range(6))
    shop.learn(Happened(f"u{n}", f"i{item}", START + 10 + n) for n in range(20) for item in range(3))
    shop.learn(Happened("other", f"new{n}", START + 100 + n) for n in range(200))
    values = shop.say("me", START + 400).values["popular_30d"]
    assert {"i0", "i1", "i2"} <= set(values)
    assert not {"i3", "i4", "i5"} & set(values)
