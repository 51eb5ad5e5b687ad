"""A mask over item rows: an item that it leaves out is in no list, and others take its place."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from stream.models.learning.event_loop import TEST, UPDATE
from stream.models.query import Query

START = 1_700_000_000.0
ITEMS = 40

KINDS_OF_LIST = {
    "a known visitor": Query(user="u3", n=12),
    "a session": Query(session="u5", n=12),
    "recent items": Query(recent=["i3", "i4"], n=12),
    "a stranger": Query(user="never seen", n=12),
    "nothing": Query(n=12),
    "without what was had": Query(user="u3", n=12, exclude_seen=True),
    "without the last item": Query(user="u3", n=12, exclude_last=True),
    "named candidates": Query(user="u3", n=12, candidates=[f"i{number}" for number in range(ITEMS)]),
}

every_list = pytest.mark.parametrize("query", KINDS_OF_LIST.values(), ids=KINDS_OF_LIST)


def taught(shop, happened, items=ITEMS, visitors=60):
    """Visitors walk along a circle of items; every event is tested, so that the ranker has learned something."""
    draw = np.random.default_rng(4)
    for visitor in range(visitors):
        at, events = int(draw.integers(items)), []
        for step in range(8):
            at = (at + int(draw.choice([1, 1, 2, 5]))) % items
            moment = START + 600 * visitor + 20 * step
            events.append(happened(f"u{visitor}", f"i{at}", moment, tested=TEST | UPDATE))
        shop.learn(events)
    return shop


@pytest.fixture(params=["blend", "river"])
def answers(request, model, happened):
    return taught(model(ranker=request.param), happened).answers()


def mask_of(answers, keep):
    """The mask that allows the items whose number `keep` accepts."""
    rows = len(answers.views["items"][1])
    mask = np.zeros(rows, np.uint8)
    known = np.flatnonzero(answers.views["items"][0]["key0"])
    for row, name in zip(known, answers.names(known), strict=True):
        mask[row] = keep(int(name[1:]))
    return mask


def numbers(ranking):
    return [int(item[1:]) for item in ranking.items]


@every_list
def test_a_list_holds_allowed_items_only_and_is_as_long_as_asked(answers, query):
    for keep in (lambda number: number % 2 == 0, lambda number: number >= ITEMS - 14):
        listed = numbers(answers.recommend(query, mask_of(answers, keep)))
        assert all(map(keep, listed))
        assert len(set(listed)) == len(listed)
        reachable = filter(keep, numbers(answers.recommend(msgspec.structs.replace(query, n=ITEMS))))
        assert len(listed) == min(query.n, len(list(reachable)))


@every_list
def test_a_mask_that_allows_all_changes_nothing(answers, query):
    assert answers.recommend(query, np.ones(len(answers.views["items"][1]), np.uint8)) == answers.recommend(query)


@every_list
def test_a_mask_that_allows_none_leaves_nothing(answers, query):
    ranking = answers.recommend(query, np.zeros(len(answers.views["items"][1]), np.uint8))
    assert ranking.items == ranking.scores == []


@every_list
def test_allowed_items_keep_their_order_among_named_candidates(answers, query):
    keep = mask_of(answers, lambda number: number % 3 != 0)
    candidates = [f"i{number}" for number in range(ITEMS)]
    asked = Query(user=query.user, session=query.session, recent=query.recent, n=ITEMS, candidates=candidates)
    without_mask = [number for number in numbers(answers.recommend(asked)) if number % 3]
    assert sorted(numbers(answers.recommend(asked, keep))) == sorted(without_mask)


def test_a_mask_acts_as_excluding_the_others_does(answers):
    excluded = [f"i{number}" for number in range(1, ITEMS, 2)]
    keep = mask_of(answers, lambda number: number % 2 == 0)
    for query in (Query(user="u3", n=12), Query(recent=["i3", "i4"], n=12)):
        by_name = Query(user=query.user, recent=query.recent, n=query.n, exclude=excluded)
        assert answers.recommend(query, keep) == answers.recommend(by_name)


def test_similar_and_popular_take_the_same_mask(answers):
    keep = mask_of(answers, lambda number: number % 4 == 1)
    assert set(numbers(answers.similar("i4", 9, keep))) <= set(range(1, ITEMS, 4))
    assert len(answers.similar("i4", 9, keep).items) == 9
    for half_life in (None, "2h"):
        allowed = answers.popular(8, half_life=half_life, allowed=keep)
        every = answers.popular(200, half_life=half_life)
        expected = [
            (item, score) for item, score in zip(every.items, every.scores, strict=True) if int(item[1:]) % 4 == 1
        ]
        assert list(zip(allowed.items, allowed.scores, strict=True)) == expected[:8]
        assert answers.popular(200, half_life=half_life, allowed=np.ones_like(keep)) == every
        assert answers.popular(200, half_life=half_life, allowed=np.zeros_like(keep)).items == []


def test_masked_items_use_up_no_place_of_a_source(model, happened):
    """The fifty best of a source are fifty allowed ones: the masked half of a hundred followers leaves room for all."""
    shop = model(max_items=400)
    for number in range(200):
        shop.learn(
            [happened(f"v{number}", "from", START + number), happened(f"v{number}", f"i{number}", START + number)]
        )
    shop.learn([happened("me", "from", START + 900)])
    answers = shop.answers()
    names = dict(zip(range(1, 202), answers.names(np.arange(1, 202)), strict=True))
    mask = np.zeros(len(answers.views["items"][1]), np.uint8)
    for row, name in names.items():
        mask[row] = name != "from" and int(name[1:]) % 4 == 0
    listed = answers.recommend(Query(user="me", n=40), mask)
    assert len(listed.items) == 40
    assert all(int(name[1:]) % 4 == 0 for name in listed.items)
    assert listed.fallback is None
    assert min(listed.scores) > 0, "all of them are candidates, none is filled in"


def test_repeats_that_are_never_ranked_stay_out_with_a_mask(model, happened):
    shop = taught(model(repeats="first"), happened)
    answers = shop.answers()
    had = numbers(shop.answers().recommend(Query(user="u3", n=ITEMS)))
    listed = numbers(answers.recommend(Query(user="u3", n=ITEMS), mask_of(answers, lambda number: number % 2 == 0)))
    assert sorted(listed) == sorted(number for number in had if number % 2 == 0)


def test_a_list_goes_on_beyond_the_popular_and_the_newest(model, happened):
    """Items that neither the 200 most popular nor the 256 newest hold still fill a list that allows nothing else."""
    shop = model(max_items=1000, max_visitors=2000, max_sessions=2000)
    old = [happened(f"v{n}", f"old{n % 20}", START + n) for n in range(60)]
    new = [happened(f"w{n}", f"new{n % 300}", START + 40 * 86_400 + n) for n in range(1200)]
    shop.learn(old + new)
    answers = shop.answers()
    rows = np.flatnonzero(answers.views["items"][0]["key0"])
    mask = np.zeros(len(answers.views["items"][1]), np.uint8)
    mask[rows] = [name.startswith("old") for name in answers.names(rows)]
    for query in (Query(n=10), Query(user="w3", n=10)):
        listed = answers.recommend(query, mask)
        assert len(set(listed.items)) == len(listed.items) == 10
        assert all(name.startswith("old") for name in listed.items)
        assert listed.scores == sorted(listed.scores, reverse=True)
    assert answers.recommend(Query(n=10), mask).fallback == "trending", "popularity proposes from the allowed items"
    popular = answers.popular(10, allowed=mask)
    assert len(set(popular.items)) == 10
    assert popular.scores == sorted(popular.scores, reverse=True)


def test_a_mask_of_another_length_is_refused(answers):
    with pytest.raises(ValueError, match=r"shape \(3,\); the table `items` has 201 rows"):
        answers.recommend(Query(n=5), np.ones(3, np.uint8))


def test_a_mask_may_be_of_booleans_or_read_only(answers):
    keep = mask_of(answers, lambda number: number % 2 == 0)
    expected = answers.recommend(Query(user="u3"), keep)
    read_only = keep.copy()
    read_only.flags.writeable = False
    assert answers.recommend(Query(user="u3"), read_only) == expected
    assert answers.recommend(Query(user="u3"), keep.astype(bool)) == expected
