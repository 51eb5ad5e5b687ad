"""Counts of pairs that meet millions of times: a float32 no longer holds each event, and the mean is still exact."""

from __future__ import annotations

import numpy as np
import pytest

from stream.models.kernels.hashing import mixed
from stream.models.sources.pairs import MAX_NEAREST, rounded_at_random

DRAWS = 20_000
START = 1_700_000_000.0


@pytest.mark.parametrize("count", [2.0**18, 1_000_003.0, 2.0**24, 2.0**27 + 16, 2.0**40])
@pytest.mark.parametrize("amount", [1.0, 0.2, 3.0, -1.0])
def test_a_count_is_rounded_so_that_its_mean_is_exact(count, amount):
    before = np.float32(count)
    draws = [np.uint64(mixed(np.uint64(number))) for number in range(DRAWS)]
    after = np.array([rounded_at_random(before, amount, draw) for draw in draws], np.float64)
    gap = float(np.spacing(before))
    assert np.abs(after - (float(before) + amount)).max() <= 1.01 * gap, "never further than the next number"
    assert after.mean() - float(before) == pytest.approx(amount, abs=4 * gap / np.sqrt(DRAWS))


def test_nothing_added_changes_nothing():
    assert rounded_at_random(np.float32(2.0**24), 0.0, np.uint64(1)) == 2.0**24


def test_counts_of_a_pair_go_on_where_a_float32_would_stand_still(model, happened):
    visitors = 2000
    shop = model(max_visitors=2 * visitors, max_sessions=2 * visitors)
    shop.learn([happened("first", "tea", START), happened("first", "cup", START + 1)])
    pairs = shop.learner.tables["pairs"].data
    known = pairs["other"] > 0
    pairs["together"][known] = pairs["forward"][known] = pairs["fast"][known] = 2.0**25
    shop.learn(
        happened(f"v{visitor}", item, START + 2 * visitor + at)
        for visitor in range(visitors)
        for at, item in enumerate(("tea", "cup"))
    )
    deviation = 4 * np.sqrt(visitors)
    assert np.count_nonzero(known) == 2
    assert pairs["together"][known] - 2.0**25 == pytest.approx(visitors, abs=4 * deviation)
    forward = np.sort(pairs["forward"][known] - 2.0**25)
    assert forward[0] == 0, "a cup is never followed by tea"
    assert forward[1] == pytest.approx(visitors, abs=4 * deviation)


def test_a_replay_rounds_the_same_way(model, happened):
    shops = [model(), model()]
    for shop in shops:
        shop.learn([happened("first", "tea", START), happened("first", "cup", START + 1)])
        pairs = shop.learner.tables["pairs"].data
        pairs["together"][pairs["other"] > 0] = 2.0**25
        shop.learn(happened(f"v{n // 2}", ("tea", "cup")[n % 2], START + n) for n in range(200))
    assert shops[0].learner.tables == shops[1].learner.tables


def test_smaller_counts_are_the_nearest_float32_as_before(model, happened):
    shop = model()
    shop.learn([happened("first", "tea", START), happened("first", "cup", START + 1)])
    pairs = shop.learner.tables["pairs"].data
    known = pairs["other"] > 0
    pairs["together"][known] = MAX_NEAREST - 1
    shop.learn([happened("second", "tea", START + 2), happened("second", "cup", START + 3)])
    assert (pairs["together"][known] == MAX_NEAREST).all()
