"""Features by name, on data whose values are known by construction."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from stream.models.feature_names import (
    BY_COUNT,
    BY_LENGTH,
    BY_SECONDS,
    BY_SIMILARITY,
    CANDIDATE_FEATURE_NAMES,
    CONTEXT_FEATURE_NAMES,
)
from stream.models.source_names import HALF_LIFE_NAMES, SOURCES

START = 1_700_000_000.0
CLOCK = START + 300


@pytest.fixture
def shop(model, happened):
    """Two others had a, b and c; `me` had a, then d, then a again, the last in a session of its own."""
    shop = model()
    shop.learn(
        [
            happened("one", "a", START),
            happened("one", "b", START + 10),
            happened("two", "a", START + 100),
            happened("two", "c", START + 200),
            happened("me", "a", START + 240, session="old"),
            happened("me", "d", START + 250, session="old"),
            happened("me", "a", CLOCK, session="new"),
        ]
    )
    return shop


@pytest.fixture
def listing(shop):
    return shop.say("me", CLOCK + 60, session="new")


def named(listing):
    return {
        item: dict(zip(CANDIDATE_FEATURE_NAMES, features.tolist(), strict=False))
        for item, features in listing.features.items()
    }


def context_of(listing):
    return dict(zip(CONTEXT_FEATURE_NAMES, listing.context.tolist(), strict=True))


def approximately(value):
    return pytest.approx(value, rel=1e-5, abs=1e-6)


def test_all_four_items_are_candidates(listing):
    assert set(listing.features) == {"a", "b", "c", "d"}


@pytest.mark.parametrize("source", SOURCES)
def test_value_and_rank_of_a_source_compare_its_candidates(listing, source):
    values = listing.values[source]
    for item, features in named(listing).items():
        value = values[item]
        better = sum(other > value for other in values.values())
        largest = max(values.values())
        assert features[f"{source}.value"] == approximately(value / largest if largest > 0 else 0)
        assert features[f"{source}.rank"] == approximately(4 / (4 + better) if value > 0 else 0)


@pytest.mark.parametrize("source", SOURCES)
def test_the_log_of_a_source_is_a_logarithm_of_its_value(listing, source):
    similarity = 1.0  # the session is the item a, which other sessions have
    for item, features in named(listing).items():
        value = listing.values[source][item]
        if source.startswith("popular"):
            expected = 0.15 * math.log(1 + value)
        elif source == "embedding":
            expected = 0.2 * math.log(value / (1 - value)) + 0.5
        else:
            scaled = value / (10 * similarity) if source == "vsknn" else value
            expected = max(0.0, 1 + math.log(scaled + 1e-5) / 11.5) if value > 0 else 0.0
        assert features[f"{source}.log"] == approximately(expected), item


def test_agreement_is_the_share_of_sources_that_have_a_candidate_among_their_best(listing):
    for item, features in named(listing).items():
        speaking = [source for source in SOURCES if listing.values[source][item] > 0]
        assert features["agreement"] == approximately(len(speaking) / len(SOURCES))


def test_features_of_items_count_from_the_last_learned_event_and_leave_own_events_out(listing):
    features = named(listing)
    assert features["b"]["item.age"] == approximately(0.07 * math.log(1 + 290))
    assert features["d"]["item.age"] == approximately(0.07 * math.log(1 + 50))
    assert features["c"]["item.silence"] == approximately(0.07 * math.log(1 + 100))
    assert features["a"]["item.silence"] == approximately(0.07 * math.log(1 + 200)), "own events are no others'"
    assert features["d"]["item.silence"] == approximately(1.5), "no other visitor had it"
    assert features["a"]["item.count"] == approximately(0.1 * math.log(1 + 2))
    assert features["b"]["item.count"] == approximately(0.1 * math.log(1 + 1))
    assert features["d"]["item.count"] == 0


def test_a_trend_is_popularity_over_a_half_life_divided_by_that_over_the_next(listing):
    for shorter, longer in pairwise(HALF_LIFE_NAMES):
        for item, features in named(listing).items():
            short, long = (listing.values[f"popular_{name}"][item] for name in (shorter, longer))
            assert features[f"trend.{shorter}_{longer}"] == approximately(short / (long + 0.1))


def test_like_last_is_the_cosine_with_the_last_item(listing):
    features = named(listing)
    # a was had by two others, once with b and once with c
    expected = 1 + math.log(1 / math.sqrt(12 * 11) + 1e-5) / 11.5
    assert features["b"]["like_last"] == features["c"]["like_last"] == approximately(expected)
    assert features["d"]["like_last"] == 0, "only own events had it together with a"


def test_own_features_say_when_and_how_often_the_visitor_had_an_item(listing):
    features = named(listing)
    own = ("own.present", "own.recency", "own.count", "own.last", "own.in_session")
    assert [features["a"][name] for name in own] == [approximately(v) for v in (1, 1, 0.5 * math.log(3), 1, 1)]
    assert [features["d"][name] for name in own] == [approximately(v) for v in (1, 0.5, 0.5 * math.log(2), 0, 0)]
    for item in ("b", "c"):
        assert [features[item][name] for name in own] == [0] * 5


def test_the_context_of_a_list(shop, listing):
    day = 2 * math.pi * ((CLOCK + 60) % 86_400) / 86_400
    expected = {
        "session.length": 0.1,
        "session.length_log": 0.3 * math.log(2),
        "history.log": 0.2 * math.log(4),
        "last_item.count_log": 0.1 * math.log(5),
        "seconds.log": 0.08 * math.log(61),
        "similarity": 1.0,
        "similarity.wide": 0.2,
        "candidates": 4 / 200,
        "history.none": 0.0,
        "session.first": 1.0,
        "seconds.within_a_minute": 0.0,
        "seconds.beyond_half_an_hour": 0.0,
        "day.sine": 0.3 * math.sin(day),
        "day.cosine": 0.3 * math.cos(day),
        "history.repeats": 1.0,
        "session.items": 1 / 50,
    }
    assert context_of(listing) == {name: approximately(value) for name, value in expected.items()}
    assert context_of(shop.say("me", CLOCK + 59, session="new"))["seconds.within_a_minute"] == 1.0
    assert context_of(shop.say("me", CLOCK + 1801, session="new"))["seconds.beyond_half_an_hour"] == 1.0


def test_the_context_of_a_stranger(shop):
    context = context_of(shop.say("stranger", CLOCK + 60))
    assert context.pop("history.none") == 1.0
    assert context.pop("seconds.within_a_minute") == 1.0
    assert context.pop("candidates") == approximately(4 / 200)
    context.pop("day.sine"), context.pop("day.cosine")
    assert set(context.values()) == {0.0}


def test_buckets_of_the_crosses(shop, listing):
    assert listing.buckets[BY_LENGTH] == 1
    assert listing.buckets[BY_COUNT] == 2, "four events: from 2 on, and not the bucket of an empty history"
    assert listing.buckets[BY_SECONDS] == 3, "a minute: from 60 on, and not the bucket of an empty history"
    assert listing.buckets[BY_SIMILARITY] == 5, "1.0: from 0.99 on"
    assert np.array_equal(shop.say("stranger", CLOCK + 60).buckets, [0, 0, 0, 0])
    assert shop.say("me", CLOCK + 8 * 86_400, session="new").buckets[BY_SECONDS] == 7
