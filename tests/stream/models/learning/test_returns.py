"""Returns: counts after a purchase and its return are those of a shop in which the purchase never gave anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from stream.models.event_codes import CLICK, KINDS, PURCHASE, RETURN
from stream.models.schema import COUNT, FORWARD_SUM, SUMS
from stream.models.source_names import HALF_LIVES, HALF_LIVES_SECONDS
from tests.stream.models.conftest import Happened, Shop, columns_of

START = 1.7e9
DAY = 86_400.0
WEIGHTS = {CLICK: 1.0, PURCHASE: 3.0, RETURN: -3.0, KINDS["dislike"]: -2.0}

Line = tuple[float, str, str, int]
"""Time after the start in seconds, visitor, item, kind."""


def learn(shop: Shop, lines: Sequence[Line], *, learned: bool = True) -> None:
    """Learn events of several kinds; the stream clock has reached all of them."""
    for seconds, user, item, kind in lines:
        event = Happened(user, item, START + seconds, weight=WEIGHTS[kind], learned=learned)
        columns = columns_of(shop.settings, [event])._replace(kinds=np.array([kind], np.uint8))
        clock = shop.learner.tables["clock"].data[0]
        clock["seconds"] = clock["latest_seconds"] = max(clock["seconds"], columns.seconds.max())
        clock["confirmed"] = 1
        shop.learner.learn(columns)


def taught(lines: Sequence[Line], **settings: Any) -> Shop:
    shop = Shop(**settings)
    learn(shop, lines)
    return shop


def sums(shop: Shop, item: str) -> np.ndarray:
    """The row of an item in `sums`: decayed counts, weight of all events, sums over its pairs."""
    state = shop.learner.state
    key = columns_of(shop.settings, [Happened("", item, 0.0)]).items[0]
    row = int(np.flatnonzero((state.items["key0"] == key[0]) & (state.items["key1"] == key[1]))[0])
    counts = state.sums[row].copy()
    assert counts.shape == (SUMS,)
    return counts


def at(shop: Shop, seconds: float) -> np.ndarray:
    """The amounts that an event of weight 1 at this time adds to the decayed counts of its item."""
    landmark = shop.learner.state.scalars[1]
    return np.array([2.0 ** ((START + seconds - landmark) / half_life) for half_life in HALF_LIVES_SECONDS])


def forward(shop: Shop) -> np.ndarray:
    slots = shop.learner.tables["pairs"].data
    return np.sort(slots["forward"][slots["other"] != 0])


def test_an_old_purchase_that_comes_back_leaves_newer_ones_alone() -> None:
    """An item that sells 40 a day, each of which comes back ten days later, is as popular as its sales of ten days."""
    sales = [(n * DAY / 40, f"u{n}", "coat", PURCHASE) for n in range(800)]
    returns = [(seconds + 10 * DAY, user, item, RETURN) for seconds, user, item, _ in sales[:400]]
    shop = taught(sorted(sales + returns), max_visitors=1000, max_sessions=1000)
    kept = sum(3.0 * at(shop, seconds) for seconds, *_ in sales[400:])
    assert sums(shop, "coat")[:HALF_LIVES] == pytest.approx(kept, rel=1e-3)
    assert sums(shop, "coat")[COUNT] == pytest.approx(3 * 400)


def test_returns_take_from_no_pair_but_that_of_their_purchase() -> None:
    """Every visitor looks at a lamp, then at a bulb; some buy a shade between and bring it back."""
    lines: list[Line] = []
    for n in range(200):
        lines += [(60.0 * n, f"u{n}", "lamp", CLICK), (60.0 * n + 10, f"u{n}", "bulb", CLICK)]
    before = sums(taught(lines), "lamp")[FORWARD_SUM]
    for n in range(150):
        lines += [(20_000.0 + 60 * n, f"u{n}", "shade", PURCHASE), (30_000.0 + 60 * n, f"u{n}", "shade", RETURN)]
    shop = taught(sorted(lines))
    assert before == pytest.approx(200)
    assert sums(shop, "lamp")[FORWARD_SUM] == pytest.approx(before, rel=1e-5)
    assert sums(shop, "shade") == pytest.approx(np.zeros(SUMS), abs=1e-2)
    assert forward(shop).max() == pytest.approx(200)


def test_what_follows_an_item_is_as_likely_as_if_returned_purchases_had_not_been_made() -> None:
    def value(returned: bool) -> float:
        lines: list[Line] = []
        for n in range(50):
            lines += [(60.0 * n, f"u{n}", "lamp", CLICK), (60.0 * n + 10, f"u{n}", "bulb", CLICK)]
            if returned:
                lines += [(60.0 * n + 20, f"u{n}", "shade", PURCHASE), (60.0 * n + 30, f"u{n}", "shade", RETURN)]
        shop = taught(lines)
        learn(shop, [(4000.0, "me", "lamp", CLICK)])
        return shop.say("me", START + 4001).values["transition"]["bulb"]

    assert value(returned=True) == pytest.approx(value(returned=False), rel=1e-5)


def test_without_its_purchase_a_return_takes_nothing() -> None:
    shop = taught([(n, f"u{n}", "coat", PURCHASE) for n in range(20)])
    before = sums(shop, "coat")
    strangers: list[Line] = [(100.0 + n, f"stranger{n}", "coat", RETURN) for n in range(20)]
    clicked: list[Line] = [(200.0, "looker", "coat", CLICK), (201.0, "looker", "coat", RETURN)]
    learn(shop, [*strangers, *clicked])
    assert sums(shop, "coat")[COUNT] == before[COUNT] + 1
    assert (sums(shop, "coat")[:HALF_LIVES] >= before[:HALF_LIVES]).all()


def test_a_purchase_that_the_history_has_lost_is_not_taken_back() -> None:
    lines: list[Line] = [(0.0, "me", "coat", PURCHASE)]
    lines += [(1.0 + n, "me", f"i{n % 20}", CLICK) for n in range(200)]
    shop = taught([*lines, (300.0, "me", "coat", RETURN)])
    assert sums(shop, "coat")[COUNT] == 3


def test_each_return_takes_back_another_purchase_and_no_more_than_there_are() -> None:
    lines: list[Line] = [(n * DAY, "me", "coat", PURCHASE) for n in range(3)]
    lines += [(10 * DAY, "other", "coat", PURCHASE)]
    shop = taught(lines)
    for left in (3, 2, 1, 0, 0):
        assert sums(shop, "coat")[COUNT] == pytest.approx(3 + 3 * left)
        learn(shop, [(11 * DAY, "me", "coat", RETURN)])
    assert sums(shop, "coat")[COUNT] == 3
    assert sums(shop, "coat")[:HALF_LIVES] == pytest.approx(3 * at(shop, 10 * DAY), rel=1e-3)


def test_the_weight_of_a_return_is_the_most_that_it_takes() -> None:
    for weight, left in ((-1.0, 2.0), (-3.0, 0.0), (-9.0, 0.0)):
        shop = taught([(0.0, "me", "coat", PURCHASE)])
        event = Happened("me", "coat", START + 5, weight=weight)
        shop.learner.learn(columns_of(shop.settings, [event])._replace(kinds=np.array([RETURN], np.uint8)))
        assert sums(shop, "coat")[COUNT] == left


def test_a_returned_item_is_on_its_visitors_lists_again_only_if_they_come_back_to_it() -> None:
    shop = taught([(n, f"u{n}", item, CLICK) for n in range(9) for item in ("coat", "hat")])
    learn(shop, [(20.0, "me", "hat", CLICK), (21.0, "me", "coat", PURCHASE), (22.0, "me", "coat", RETURN)])
    assert "coat" not in shop.say("me", START + 30).values["popular_30d"]
    learn(shop, [(40.0, "me", "coat", CLICK)])
    assert "coat" in shop.say("me", START + 50).values["popular_30d"]


def test_lists_of_a_visitor_who_returned_leave_out_what_their_other_events_gave_and_no_more() -> None:
    """Own events are corrected for: the coat is as popular for its buyer as it is without them."""
    shop = taught([(float(n), f"u{n}", "coat", CLICK) for n in range(10)])
    learn(shop, [(20.0, "me", "coat", PURCHASE), (21.0, "me", "coat", RETURN), (22.0, "me", "coat", CLICK)])
    others = taught([(float(n), f"u{n}", "coat", CLICK) for n in range(10)])
    learn(others, [(22.0, "stranger", "hat", CLICK)])
    mine = shop.say("me", START + 23).values["popular_30d"]["coat"]
    theirs = others.say("stranger", START + 23).values["popular_30d"]["coat"]
    assert mine == pytest.approx(theirs, rel=1e-4)


def test_if_only_first_events_count_a_return_takes_back_a_purchase_that_counted() -> None:
    bought = taught([(0.0, "me", "coat", PURCHASE), (1.0, "me", "coat", RETURN)], repeats="first")
    assert sums(bought, "coat")[COUNT] == 0
    clicked = [(0.0, "me", "coat", CLICK), (1.0, "me", "coat", PURCHASE), (2.0, "me", "coat", RETURN)]
    assert sums(taught(clicked, repeats="first"), "coat")[COUNT] == 1


def test_a_return_that_is_context_alone_changes_no_count() -> None:
    shop = taught([(0.0, "me", "coat", PURCHASE)])
    learn(shop, [(1.0, "me", "coat", RETURN)], learned=False)
    assert sums(shop, "coat")[COUNT] == 3


def test_dislikes_take_from_no_pair_but_that_of_the_disliked_item() -> None:
    lines: list[Line] = []
    for n in range(200):
        lines += [(60.0 * n, f"u{n}", "lamp", CLICK), (60.0 * n + 10, f"u{n}", "bulb", CLICK)]
    lines += [(20_000.0 + n, f"u{n}", "shade", KINDS["dislike"]) for n in range(200)]
    shop = taught(lines)
    assert sums(shop, "lamp")[FORWARD_SUM] == pytest.approx(200)
