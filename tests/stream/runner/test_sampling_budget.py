"""The sample rate: with known costs, the right share of events is tested."""

from __future__ import annotations

import pytest

from stream.runner.sampling_budget import QUIET_CORE, SampleRate
from tests.stream.runner.conftest import Bench


def run(
    rate: SampleRate, *, events_a_second: float, learn: float, test: float, seconds: float, start: float = 0.0
) -> tuple[float, float]:
    """Tests a second, and testing's share of the cost, in the second half of a run of batches of 20 ms."""
    tested = testing = total = 0.0
    for step in range(int(seconds / 0.02)):
        now = start + step * 0.02
        events = max(1, round(events_a_second * 0.02))
        r = rate.next(now)
        cost = events * (learn + r * test)
        rate.spent(events, r, cost, now)
        if step > seconds / 0.04:
            tested += r * events
            testing += r * events * test
            total += cost
    return tested / (seconds / 2), testing / total


@pytest.mark.parametrize("test_microseconds", [30, 100, 800])
def test_a_fast_stream_spends_its_share_on_tests(test_microseconds: float) -> None:
    rate = SampleRate(share=0.15, floor=20.0)
    tests, share = run(rate, events_a_second=150_000, learn=5e-6, test=test_microseconds * 1e-6, seconds=60)
    assert 0.10 < share < 0.17
    assert tests > 20


def test_a_quiet_stream_is_tested_event_by_event() -> None:
    rate = SampleRate(share=0.15, floor=20.0)
    run(rate, events_a_second=100, learn=5e-6, test=100e-6, seconds=30)
    assert rate.next(30.0) == 1.0


def test_costly_tests_are_still_made_at_the_floor() -> None:
    rate = SampleRate(share=0.15, floor=20.0)
    tests, _ = run(rate, events_a_second=50_000, learn=5e-6, test=0.05, seconds=60)
    assert 15 < tests < 30


def test_tests_between_quiet_and_fast_take_what_a_quiet_core_allows() -> None:
    rate = SampleRate(share=0.15, floor=20.0)
    tests, _ = run(rate, events_a_second=5_000, learn=5e-6, test=100e-6, seconds=60)
    assert 0.8 * QUIET_CORE / 100e-6 < tests < 1.3 * QUIET_CORE / 100e-6


def test_the_rate_follows_when_tests_become_cheaper() -> None:
    rate = SampleRate(share=0.15, floor=20.0)
    run(rate, events_a_second=100_000, learn=5e-6, test=400e-6, seconds=60)
    before = rate.wanted(60.0)
    run(rate, events_a_second=100_000, learn=5e-6, test=50e-6, seconds=60, start=60.0)
    assert rate.wanted(120.0) > 4 * before


def test_costs_that_grow_with_time_are_not_attributed_to_the_wrong_part() -> None:
    """Tests get more expensive while the state fills, and the rate goes down for it: the costs must stay separate."""
    rate = SampleRate(share=0.15, floor=20.0)
    for step in range(3000):
        now, tests = step * 0.02, 5e-6 + step * 30e-9
        r = rate.next(now, 4096)
        rate.spent(4096, r, 4096 * (5e-6 + r * tests), now)
    assert rate.learn_seconds == pytest.approx(5e-6, rel=0.2)
    assert rate.test_seconds == pytest.approx(tests, rel=0.2)


def test_a_backlog_at_the_start_is_not_taken_for_a_quiet_stream() -> None:
    assert SampleRate(share=0.15, floor=20.0).next(0.0, 4096) < 0.1
    assert SampleRate(share=0.15, floor=20.0).next(0.0, 1) == 1.0


def test_a_delay_that_makes_tests_look_free_is_corrected() -> None:
    """Batches that happened to be slow when few events were tested: the costs must not stay mixed up."""
    rate = SampleRate(share=0.15, floor=20.0)
    now = 0.0
    for step in range(50):
        now = step * 0.02
        few = step % 2
        rate.spent(400, 0.4 if few else 1.0, 400 * (81.0e-6 if few else 81.5e-6), now)
    assert rate.test_seconds < rate.learn_seconds * 1.1
    tests, _ = run(rate, events_a_second=20_000, learn=1.6e-6, test=80e-6, seconds=30, start=now + 0.02)
    assert tests < 1.3 * QUIET_CORE / 80e-6
    assert rate.test_seconds == pytest.approx(80e-6, rel=0.2)
    assert rate.learn_seconds == pytest.approx(1.6e-6, rel=0.5)


def test_with_a_share_of_one_every_event_is_tested_whatever_it_costs() -> None:
    rate = SampleRate(share=1.0, floor=0.0)
    assert rate.next(0.0, 4096) == 1.0
    for batch in range(1, 50):
        rate.spent(4096, 1.0, 4096 * 0.01, batch * 40.0)  # forty seconds for a batch
        assert rate.next(batch * 40.0, 4096) == 1.0


async def test_the_metric_says_that_events_are_tested_as_soon_as_river_is_imported(bench: Bench) -> None:
    rate = bench.resources.metrics.sample_rate
    assert rate.collect()[0].samples[0].value == 0.0
    await bench.resources.import_river()
    assert rate.collect()[0].samples[0].value == 1.0, "before any record has come: a quiet stream is tested completely"


def test_a_burst_after_a_quiet_minute_is_not_held_up_by_tests() -> None:
    """Its first batch is tested for as long as a second of the quiet core allows, not for as long as a minute of it."""
    rate = SampleRate(share=0.15, floor=20.0)
    run(rate, events_a_second=1, learn=5e-6, test=300e-6, seconds=60)
    tests = rate.next(60.0, 8192) * 8192
    assert 0 < tests * rate.test_seconds <= 2 * QUIET_CORE
