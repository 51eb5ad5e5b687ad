"""The stream clock: one wrong clock drives nothing, and every ordinary stream counts at its own times."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from stream.models.learning import stream_clock
from stream.models.learning.stream_clock import (
    FAR_SECONDS,
    FAR_VISITORS,
    LEAD_SECONDS,
    LEAD_STEPS,
    LONE_EVENTS,
    MAX_LEADS,
    SPAN_SHARE,
)
from stream.models.schema import CLOCK, VISITORS_LIVE, table_specs
from stream.models.settings import ModelSettings
from stream.models.workspace.learning_view import state_of
from stream.state.tables import Tables

START = 1_700_000_000.0
MINUTE, HOUR, DAY, YEAR = 60.0, 3600.0, 86_400.0, 31_557_600.0
TINY = ModelSettings(max_items=64, max_visitors=64, max_sessions=64, max_event_ids=64)

Log = Iterable[tuple[int, float]]
"""Visitor (from 1) and time of each event."""


class Stream:
    """A stream clock with what learning keeps for it: the number of visitors, and the latest counted time."""

    def __init__(self, learned_until: float = 0.0, visitors: int = 0) -> None:
        self.tables = Tables(table_specs(TINY))
        self.state = state_of(self.tables)
        self.state.scalars[CLOCK] = learned_until
        self._visitors = set(range(-visitors, 0))

    def counted(self, visitor: int, seconds: float) -> float:
        """Learn an event; the time at which it counts."""
        self.state.scalars[VISITORS_LIVE] = len(self._visitors)
        counted = stream_clock.observe(self.state, np.uint64(visitor), seconds)
        self._visitors.add(visitor)
        self.state.scalars[CLOCK] = max(self.state.scalars[CLOCK], counted)
        return float(counted)

    def learn(self, log: Log) -> list[float]:
        """Learn events; the times at which they count."""
        return [self.counted(*event) for event in log]

    @property
    def seconds(self) -> float:
        return float(self.tables["clock"].data["seconds"][0])

    @property
    def now(self) -> float:
        return float(self.state.scalars[CLOCK])


def busy(count: int, *, start: float = START, step: float = 1.0, visitors: int = 20) -> list[tuple[int, float]]:
    """Visitors 1 to 20 in turn, a second apart."""
    return [(1 + number % visitors, start + step * number) for number in range(count)]


def running(count: int = 100) -> Stream:
    """A stream that has had some ordinary events and stands at `START`."""
    stream = Stream()
    stream.learn(busy(count, start=START - count))
    return stream


def own_times(log: Log) -> list[float]:
    return [seconds for _, seconds in log]


# ---- one wrong clock


@pytest.mark.parametrize("lead", [10 * MINUTE, HOUR, DAY, 30 * DAY, 10 * YEAR, 80 * YEAR])
def test_a_visitor_whose_clock_is_ahead_counts_at_the_clock_and_leaves_it(lead: float) -> None:
    stream = running()
    before = stream.now
    assert stream.counted(99, START + lead) == before
    assert stream.now == before
    log = busy(50)
    assert stream.learn(log) == own_times(log)
    assert stream.counted(99, START + lead) == stream.now == START + 49


def test_a_visitor_who_walks_ahead_step_by_step_takes_the_clock_nowhere() -> None:
    stream = running()
    others, steps = busy(500), []
    for number, event in enumerate(others):
        steps.append(stream.counted(99, START + 100.0 * number))
        assert stream.counted(*event) == event[1]
    assert max(steps) - others[-1][1] <= LEAD_SECONDS + 10
    assert stream.seconds <= others[-1][1]


def test_a_clock_that_jumps_about_takes_the_clock_nowhere() -> None:
    print("seed 5")
    draw, stream = np.random.default_rng(5), running()
    for event in busy(400):
        for _ in range(int(draw.integers(0, 5))):
            stream.counted(99, float(draw.uniform(0, 4_294_967_295)))
        assert stream.counted(*event) == event[1]
        assert stream.seconds <= event[1]


def test_clocks_that_are_behind_or_zero_count_at_their_own_time_and_hold_nobody_back() -> None:
    stream = running()
    behind = {50: 0.0, 51: START - 10 * YEAR, 52: START / 1000, 53: START - DAY}
    for event in busy(200):
        for visitor, seconds in behind.items():
            assert stream.counted(visitor, seconds) == seconds
        assert stream.counted(*event) == event[1]
    assert stream.now == START + 199


def test_an_importer_that_is_ten_years_ahead_for_many_visitors_is_disproved_by_every_step_of_the_others() -> None:
    stream = running()
    for number, event in enumerate(busy(300)):
        ahead = [(1000 + 30 * number + row, START + 10 * YEAR + number) for row in range(30)]
        assert max(stream.learn(ahead)) <= event[1]
        assert stream.counted(*event) == event[1]


def test_such_an_importer_is_believed_only_after_hours_without_anybody_else() -> None:
    stream = running()
    rows = int(SPAN_SHARE * 10 * YEAR) // 30
    ahead = [(1000 + row, START + 10 * YEAR + 30.0 * row) for row in range(rows)]
    assert max(stream.learn(ahead)) == stream.now < START
    later = [(5000 + row, ahead[-1][1] + 30.0 * row) for row in range(1, 10)]
    assert stream.learn(later)[-1] == later[-1][1]


# ---- ordinary streams


def test_a_busy_stream_counts_at_its_own_times_from_the_first_event() -> None:
    log = busy(1000)
    assert Stream().learn(log) == own_times(log)


@pytest.mark.parametrize("gap", [8 * HOUR, 60 * HOUR, 10 * DAY, 40 * DAY])
def test_after_a_gap_events_count_at_their_own_times_once_two_visitors_span_a_part_of_it(gap: float) -> None:
    stream = running()
    morning = busy(int(1.5 * SPAN_SHARE * gap) + 10, start=START + gap)
    counted = stream.learn(morning)
    own = [at == seconds for at, (_, seconds) in zip(counted, morning, strict=True)]
    wait = SPAN_SHARE * gap
    assert not any(own[: int(wait)])
    assert all(own[int(wait * (1 + 2 * SPAN_SHARE)) + 5 :]), "the clock goes to the earliest, and on from there"
    assert stream.now == morning[-1][1]


def test_a_late_event_of_last_evening_does_not_hold_up_the_morning() -> None:
    stream = running()
    morning = busy(400, start=START + 8 * HOUR)
    counted = []
    for number, event in enumerate(morning):
        if number % 3 == 2:
            stream.counted(200 + number, START - 30.0)
        counted.append(stream.counted(*event))
    assert counted[80:] == own_times(morning)[80:]


@pytest.mark.parametrize(("spacing", "most_ahead"), [(MINUTE, 3), (10 * MINUTE, 12), (HOUR, 40)])
def test_a_sparse_stream_widens_the_tolerance(spacing: float, most_ahead: int) -> None:
    print("seed 2")
    draw = np.random.default_rng(2)
    seconds = START + np.cumsum(draw.exponential(spacing, 600))
    log = [(1 + number % 50, at) for number, at in enumerate(seconds.tolist())]
    ahead = sum(at < own for at, own in zip(Stream().learn(log), own_times(log), strict=True))
    assert ahead <= most_ahead


@pytest.mark.parametrize("gap", [MINUTE, DAY, 30 * DAY, 10 * YEAR])
def test_the_only_visitor_of_a_stream_is_followed_at_once(gap: float) -> None:
    log = [(7, START + gap * number) for number in range(5)]
    stream = Stream()
    assert stream.learn(log) == own_times(log)
    assert stream.now == log[-1][1]


def test_a_visitor_who_is_left_alone_is_followed_after_a_while_until_others_come() -> None:
    stream = running()
    evening = [(7, START + 8 * HOUR + MINUTE * number) for number in range(2 * LONE_EVENTS)]
    counted = stream.learn(evening)
    assert max(counted[: LONE_EVENTS - 1]) < START
    assert counted[LONE_EVENTS - 1 :] == own_times(evening)[LONE_EVENTS - 1 :]
    assert stream.counted(7, evening[-1][1] + 20 * HOUR) == evening[-1][1] + 20 * HOUR, "up to a day at a time"
    assert stream.counted(7, START + 10 * YEAR) == stream.now < START + YEAR
    log = busy(20, start=stream.now)
    assert stream.learn(log) == own_times(log)
    assert stream.counted(7, stream.now + HOUR) == stream.now, "no longer alone"


def test_an_old_history_that_is_replayed_beside_a_live_stream_counts_at_its_own_times() -> None:
    stream = running()
    history = busy(300, start=START - YEAR, step=HOUR)
    live = busy(300)
    for old, new in zip(history, live, strict=True):
        assert stream.learn([old, new]) == [old[1], new[1]]


# ---- starts


def test_a_first_event_that_is_ten_years_ahead_is_moved_back_when_two_others_disagree() -> None:
    stream = Stream()
    stream.counted(99, START + 10 * YEAR)
    stream.learn([(1, START), (2, START + 1)])
    assert stream.seconds == stream.now == START + 1
    log = busy(50, start=START + 2)
    assert stream.learn(log) == own_times(log)


def test_a_first_event_at_zero_is_left_behind_by_two_others() -> None:
    stream = Stream()
    assert stream.counted(99, 0.0) == 0.0
    log = busy(50)
    assert stream.learn(log)[1:] == own_times(log)[1:]


def test_a_version_without_a_stream_clock_goes_on_from_its_latest_event() -> None:
    stream = Stream(learned_until=START, visitors=500)
    log = busy(50, start=START + 1)
    assert stream.learn(log) == own_times(log)
    assert stream.counted(99, START + YEAR) == stream.now


def test_a_version_whose_latest_event_was_ten_years_ahead_is_moved_back_by_its_visitors() -> None:
    stream = Stream(learned_until=START + 10 * YEAR, visitors=500)
    log = busy(2 * FAR_VISITORS)
    assert stream.learn(log) == own_times(log)
    assert stream.now == log[-1][1]
    assert stream.seconds == log[-2][1], "the second-largest time"


def test_such_a_version_waits_for_many_visitors_and_for_a_week_before_it_is_moved_back() -> None:
    """Otherwise some events that were late when a worker was upgraded would move a sound clock back."""
    for late, visitors in ((2 * FAR_SECONDS, FAR_VISITORS - 1), (FAR_SECONDS / 2, 2 * FAR_VISITORS)):
        stream = Stream(learned_until=START, visitors=500)
        stream.learn(busy(visitors, start=START - late))
        assert stream.seconds == START


# ---- the bound


@pytest.mark.parametrize("seed", range(12))
def test_without_any_one_visitor_all_other_events_count_at_the_same_times(seed: int) -> None:
    """The others are always within `LEAD_SECONDS` of the clock; the one sends what it likes, wherever it likes.

    Now differs by at most the tolerance.
    """
    print("seed", seed)
    draw = np.random.default_rng(seed)
    steps = draw.choice([0.0, 0.3, 5.0, 60.0], 400) * draw.random(400)
    others = [
        (int(visitor), START + at) for visitor, at in zip(draw.integers(1, 30, 400), np.cumsum(steps), strict=True)
    ]
    late = draw.random(400) < 0.1
    others = [
        (visitor, at - draw.uniform(0, DAY) if old else at) for (visitor, at), old in zip(others, late, strict=True)
    ]
    others[:2] = [(1, START), (2, START)]
    one, both = Stream(), Stream()
    for number, event in enumerate(others):
        if number > 1:
            for _ in range(int(draw.choice([0, 0, 1, 1, 3, 40]))):
                wild = draw.choice([0.0, START * draw.random(), event[1] + 10.0 ** draw.uniform(0, 8), 4e9])
                both.counted(99, min(float(wild), 4_294_967_295.0))
        assert both.counted(*event) == one.counted(*event) == event[1]
        assert 0 <= both.seconds - one.seconds <= LEAD_SECONDS
        assert 0 <= both.now - one.now <= LEAD_SECONDS + LEAD_STEPS * 60


# ---- erasure


def test_an_erased_visitor_leaves_no_key_and_the_time_stays() -> None:
    stream = running()
    stream.counted(99, START + HOUR)
    stream.counted(98, START + 10.0)
    seconds = stream.seconds
    for visitor in (99, 98):
        stream_clock.forget(stream.state, np.uint64(visitor))
    row = stream.tables["clock"].data[0]
    keys = {int(row[field]) for field in ("latest_visitor", "lone_visitor", "lead_visitor", "behind_visitor")}
    assert not keys & {98, 99}
    assert stream.seconds == seconds


def test_the_number_of_events_ahead_stops_at_its_largest_value():
    """0 would mean that none is ahead, and would forget whose they were and since when."""
    stream = running()
    stream.counted(7, START + YEAR)
    clock = stream.tables["clock"].data[0]
    clock["leads"] = MAX_LEADS
    stream.counted(7, START + YEAR)
    assert (clock["leads"], clock["lead_visitor"]) == (MAX_LEADS, 7)
