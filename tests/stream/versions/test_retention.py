"""The policy keeps the newest versions, then one per minute, hour and day, and all that aliases name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.versions.retention import DAY, HOUR, MINUTE, Listed, Policy, kept

POLICY = Policy(keep_last=3, keep_minutes=5, keep_hours=4, keep_days=3)


def numbered(times):
    return [Listed(number, time) for number, time in enumerate(sorted(times), start=1)]


@pytest.mark.unmeasured
def test_a_week_at_ten_a_minute_keeps_what_the_policy_says():
    versions = numbered(6.0 * step for step in range(7 * DAY // 6))
    now = versions[-1].created_at
    keep = kept(versions, POLICY, now)
    stays = [version for version in versions if version.number in keep]
    assert len(stays) == 3 - 1 + 5 + 1 + 4 + 3  # the newest is also the last of its minute, hour and day
    ages = sorted(now - version.created_at for version in stays)
    assert ages[:3] == [0, 6, 12]
    assert ages[3:8] == [MINUTE * minute for minute in range(1, 6)]
    assert ages[8:12] == [HOUR * hour for hour in range(1, 5)]
    assert ages[12:] == [DAY * day for day in range(1, 4)]


times_strategy = st.lists(st.floats(0, 10 * DAY), min_size=1, max_size=200)


@given(times=times_strategy, named=st.sets(st.integers(1, 250), max_size=5))
def test_names_and_the_newest_always_stay(times, named):
    versions = numbered(times)
    stays = kept(versions, POLICY, max(times), named)
    assert named & {version.number for version in versions} <= stays
    assert {version.number for version in versions[-3:]} <= stays
    assert len(stays - named) <= 3 + 6 + 5 + 4


@given(times=times_strategy, later=st.floats(0, DAY))
def test_thinning_early_loses_nothing_that_thinning_late_would_keep(times, later):
    """A version dropped now would have been dropped later too, so it does not matter how often history is thinned."""
    versions = numbered(times)
    now = max(times)
    first = kept(versions, POLICY, now)
    then = kept(versions, POLICY, now + later)
    assert then <= first
    assert kept([version for version in versions if version.number in first], POLICY, now + later) == then


def test_an_empty_history_keeps_nothing():
    assert kept([], POLICY, 0.0, named={7}) == set()
