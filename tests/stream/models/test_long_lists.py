"""Lists go on as long as there are items: beyond the 200 most popular, and for all of a thousand candidates."""

from __future__ import annotations

import numpy as np
import pytest

from stream.models.query import Query

START = 1_700_000_000.0
ITEMS = 1000


@pytest.fixture
def answers(model, happened):
    """A shop of a thousand items; item `i` has more events than item `i + 1`, in steps of a hundred items."""
    shop = model(max_items=1200, max_visitors=4000, max_sessions=4000)
    events = []
    for number in range(ITEMS):
        for visitor in range(1 + (ITEMS - number) // 100):
            events.append(happened(f"v{number}-{visitor}", f"i{number}", START + len(events)))
    shop.learn(events)
    return shop.answers()


def counts(ranking):
    return [1 + (ITEMS - int(item[1:])) // 100 for item in ranking.items]


@pytest.mark.parametrize("n", [200, 201, 500, 1000, 1100])
def test_popular_items_go_on_beyond_those_that_are_listed(answers, n):
    ranking = answers.popular(n)
    assert len(set(ranking.items)) == len(ranking.items) == min(n, ITEMS)
    assert counts(ranking) == sorted(counts(ranking), reverse=True)
    assert ranking.items[:200] == answers.popular(200).items


def test_popular_items_under_a_mask_are_those_of_the_whole_order(answers):
    rows = len(answers.views["items"][1])
    mask = np.zeros(rows, np.uint8)
    known = np.flatnonzero(answers.views["items"][0]["key0"])
    mask[known] = [int(name[1:]) % 7 == 0 for name in answers.names(known)]
    everything = answers.popular(ITEMS)
    allowed = answers.popular(ITEMS, allowed=mask)
    assert allowed.items == [item for item in everything.items if int(item[1:]) % 7 == 0]


@pytest.mark.parametrize("query", [Query(n=900), Query(user="v3-1", n=900), Query(recent=["i5"], n=900)])
def test_a_visitor_s_list_has_as_many_items_as_are_asked_for(answers, query):
    ranking = answers.recommend(query)
    assert len(set(ranking.items)) == len(ranking.items) == 900
    assert ranking.scores == sorted(ranking.scores, reverse=True)
    assert ranking.popular + ranking.newest > 400, "the sources propose some hundred"


def test_a_list_of_all_items_leaves_out_only_what_is_excluded(answers):
    excluded = [f"i{number}" for number in range(0, ITEMS, 2)]
    ranking = answers.recommend(Query(user="v3-1", n=ITEMS, exclude=excluded))
    assert sorted(int(item[1:]) for item in ranking.items) == list(range(1, ITEMS, 2))


def test_every_one_of_a_thousand_candidates_is_ranked(answers):
    candidates = [f"i{number}" for number in range(ITEMS)]
    ranking = answers.recommend(Query(user="v3-1", n=ITEMS, candidates=candidates))
    assert sorted(ranking.items) == sorted(candidates)
    assert (ranking.popular, ranking.newest) == (0, 0)
    shuffled = answers.recommend(Query(user="v3-1", n=ITEMS, candidates=candidates[::-1]))
    assert dict(zip(ranking.items, ranking.scores, strict=True)) == pytest.approx(
        dict(zip(shuffled.items, shuffled.scores, strict=True))
    )
