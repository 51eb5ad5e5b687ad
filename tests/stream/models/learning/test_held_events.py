"""Events ahead of the stream clock: moved to their own times if the clock reaches them, else left where they count."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from stream.models.learning.event_loop import AHEAD, TEST, UPDATE, Outcomes
from stream.models.learning.stream_clock import LONE_EVENTS
from stream.models.outcomes.conversion import PENDING_SECONDS
from stream.models.schema import CLOCK, FAST_SUM, TESTS, table_specs
from stream.models.source_names import POPULAR, SOURCE_COUNT
from tests.stream.models.conftest import Happened, Shop, columns_of

START = 1_700_000_000.0
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
EXACT = ("items", "pairs", "history", "visitors", "sessions", "session_items", "postings", "top", "vectors")


def walk(shop: Shop, events: Sequence[Happened]) -> Outcomes:
    return shop.learner.walk(columns_of(shop.settings, events))


def walk_at_own_times(shop: Shop, events: Sequence[Happened]) -> list[Outcomes]:
    """Learn events one by one, each with a clock that has reached its time already."""
    outcomes = []
    for event in events:
        clock = shop.learner.tables["clock"].data[0]
        clock["seconds"] = clock["latest_seconds"] = max(clock["seconds"], event.seconds)
        clock["confirmed"] = 1
        outcomes.append(walk(shop, [event]))
    return outcomes


def evening(count: int = 200, seed: int = 1, **more: Any) -> list[Happened]:
    """Events of 20 visitors on 30 items, three seconds apart; the last happens at `START`."""
    draw = np.random.default_rng(seed)
    return [
        Happened(f"u{draw.integers(20)}", f"i{int(30 * draw.random() ** 2)}", START - 3.0 * number, **more)
        for number in range(count - 1, -1, -1)
    ]


def latest(shop: Shop) -> float:
    return float(shop.learner.tables["scalars"].data[0, CLOCK])


@pytest.mark.parametrize("gap", [40 * MINUTE, 8 * HOUR, 10 * DAY, 70 * DAY])
def test_events_of_a_quiet_morning_leave_what_they_leave_at_their_own_times(
    model: Callable[..., Shop], gap: float
) -> None:
    """Sources rank the items of the day as they do then, and so do those in the morning that count no popularity.

    A gap of 70 days moves the landmarks of decayed counts.
    """
    morning = [Happened("early", f"i{3 * number % 31}", START + gap + 50.0 * number) for number in range(12)]
    morning[4:4] = [Happened("early", "new", START + gap + 160.0), Happened("early", "i1", START + gap + 170.0)]
    morning += [Happened("second", "i5", START + gap + 610.0), Happened("early", "i6", START + gap + 620.0)]
    day = [event._replace(seconds=event.seconds + gap + HOUR) for event in evening(100, seed=2)]
    events = [event._replace(tested=TEST | UPDATE) for event in (*evening(), *morning, *day)]
    held, reference = model(), model()
    outcomes, expected = walk(held, events), walk_at_own_times(reference, events)
    ahead = np.flatnonzero(outcomes.learned == AHEAD)
    assert ahead[:14].tolist() == list(range(200, 214)), "all events of the first visitor until the second comes"
    greater = np.concatenate([one.greater for one in expected])
    by_day = outcomes.events >= 214
    assert np.array_equal(outcomes.greater[by_day, :SOURCE_COUNT], greater[by_day, :SOURCE_COUNT])
    assert np.array_equal(outcomes.greater[:, :POPULAR], greater[:, :POPULAR])
    tables, others = held.learner.tables, reference.learner.tables
    for name in EXACT:
        assert np.array_equal(tables[name].data, others[name].data), name
    np.testing.assert_allclose(tables["sums"].data, others["sums"].data, rtol=1e-12)
    clicks, expected_clicks = (one["pending"].data[:, PENDING_SECONDS] for one in (tables, others))
    assert (clicks >= expected_clicks).all(), "no click waits for less than half an hour"
    assert tables["scalars"].data.tolist() == others["scalars"].data.tolist()
    assert tables["scalars"].data[0, TESTS] > 200


def test_before_another_visitor_comes_nothing_counts_later_than_the_clock(model: Callable[..., Shop]) -> None:
    shop, at_the_clock = model(), model()
    walk(shop, [*evening(), Happened("early", "i7", START + DAY), Happened("early", "i8", START + DAY)])
    walk(at_the_clock, [*evening(), Happened("early", "i7", START), Happened("early", "i8", START)])
    assert latest(shop) == latest(at_the_clock) == START
    columns = [column for column in range(8) if column != FAST_SUM]
    sums, expected = (one.learner.tables["sums"].data[:, columns] for one in (shop, at_the_clock))
    assert np.array_equal(sums, expected)
    for table, field in (("items", "last_seconds"), ("visitors", "last_seconds"), ("sessions", "last_seconds")):
        assert shop.learner.tables[table].data[field].max() == START


@pytest.mark.parametrize("lead", [20 * MINUTE, DAY, 3650 * DAY])
def test_events_that_others_disprove_leave_what_they_leave_at_the_clock(
    model: Callable[..., Shop], lead: float
) -> None:
    before, after = evening(), [event._replace(seconds=event.seconds + 700.0) for event in evening(100, seed=3)]
    wrong = [Happened("wrong", f"i{28 + number}", START + lead + number) for number in range(5)]
    shop, at_the_clock = model(), model()
    outcomes = walk(shop, [*before, *wrong, *after])
    walk(at_the_clock, [*before, *(event._replace(seconds=START) for event in wrong), *after])
    assert np.count_nonzero(outcomes.learned == AHEAD) == 5
    for name in sorted({spec.name for spec in table_specs(shop.settings)} - {"clock"}):
        assert np.array_equal(shop.learner.tables[name].data, at_the_clock.learner.tables[name].data), name


def test_counts_of_a_visitor_with_more_held_events_than_the_history_has_room_for_are_all_kept(
    model: Callable[..., Shop],
) -> None:
    """All have one time, so the clock never follows their visitor."""
    count = 5 * LONE_EVENTS
    wrong = [Happened("wrong", f"i{number % 5}", START + DAY) for number in range(count)]
    end = [Happened("u1", "i9", START + 1.0), Happened("u2", "i9", START + 2.0)]
    shop, at_the_clock = model(), model()
    assert np.count_nonzero(walk(shop, [*evening(), *wrong, *end]).learned == AHEAD) == count
    walk(at_the_clock, [*evening(), *(event._replace(seconds=START) for event in wrong), *end])
    for name in ("sums", "history", "visitors", "items"):
        ours, theirs = (one.learner.tables[name].data for one in (shop, at_the_clock))
        if name == "sums":
            np.testing.assert_allclose(ours, theirs, rtol=1e-9)
        else:
            assert np.array_equal(ours, theirs), name


def test_an_erased_visitor_leaves_the_list_and_the_others_count_on(model: Callable[..., Shop]) -> None:
    shop = model()
    walk(shop, [*evening(), Happened("early", "i7", START + DAY)])
    assert shop.learner.tables["clock"].data["held_first"][0] > 0
    shop.learner.erase(columns_of(shop.settings, [Happened("early", "x", 0.0)]).visitors)
    assert shop.learner.tables["clock"].data["held_first"][0] == 0
    walk(shop, [event._replace(seconds=event.seconds + DAY + HOUR) for event in evening()])
    assert latest(shop) == START + DAY + HOUR
