"""Reasons of a list: scores are the sums that they name, and the history behind an item is what led to it."""

from __future__ import annotations

import numpy as np
import pytest

from stream.models.learning.event_loop import TEST, UPDATE
from stream.models.query import Query
from stream.models.source_names import SOURCES

START = 1_700_000_000.0
ITEMS = 40
QUERIES = {
    "a visitor": Query(user="u3", n=12),
    "a visitor and a session": Query(user="u3", session="u5", n=12),
    "recent items": Query(recent=["i3", "i4"], n=12),
    "a stranger": Query(user="never seen", n=12),
    "nothing": Query(n=12),
    "what was not had": Query(user="u3", n=12, exclude_seen=True),
    "all there is": Query(user="u3", n=ITEMS),
    "named candidates": Query(user="u3", n=12, candidates=[f"i{number}" for number in range(ITEMS)]),
}


def taught(shop, happened):
    """Visitors walk along a circle of items; every event is tested, so that the rankers have learned something."""
    draw = np.random.default_rng(4)
    for visitor in range(60):
        at, events = int(draw.integers(ITEMS)), []
        for step in range(8):
            at = (at + int(draw.choice([1, 1, 2, 5]))) % ITEMS
            moment = START + 600 * visitor + 20 * step
            events.append(happened(f"u{visitor}", f"i{at}", moment, tested=TEST | UPDATE))
        shop.learn(events)
    return shop


@pytest.fixture(params=["blend", "river"])
def answers(request, model, happened):
    return taught(model(ranker=request.param), happened).answers()


def recomputed(reasons) -> float:
    return reasons.intercept + sum(part.value * part.weight for part in reasons.features)


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_each_score_is_the_sum_of_its_parts(answers, query):
    ranking, reasons = answers.explain(query)
    assert ranking == answers.recommend(query)
    assert [recomputed(each) for each in reasons] == pytest.approx(ranking.scores, rel=1e-5, abs=2e-5)


@pytest.mark.parametrize("ranker", ["blend", "river"])
def test_items_that_no_source_proposed_are_named_with_the_rule_that_added_them(model, happened, ranker):
    shop = model(max_items=400, ranker=ranker)
    shop.learn([happened(f"v{number % 7}", f"i{number}", START + number) for number in range(300)])
    ranking, reasons = shop.answers().explain(Query(n=290))
    assert ranking.popular + ranking.newest > 100
    ranked = len(ranking.items) - ranking.popular - ranking.newest
    added = [each.policies for each in reasons[ranked:]]
    assert added == [["popular"]] * ranking.popular + [["newest"]] * ranking.newest
    assert {tuple(each.policies) for each in reasons[:ranked]} == {()}
    assert [recomputed(each) for each in reasons] == pytest.approx(ranking.scores, rel=1e-5, abs=2e-5)


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_contributions_of_sources_are_sums_of_their_features(answers, query):
    for reasons in answers.explain(query)[1]:
        by_source = dict.fromkeys(SOURCES, 0.0)
        for part in reasons.features:
            source = part.feature.partition(".")[0]
            if source in by_source:
                by_source[source] += part.value * part.weight
        for part in reasons.sources:
            assert part.contribution == pytest.approx(by_source[part.source], rel=1e-6, abs=1e-6)


def test_the_history_behind_an_item_is_what_led_to_it(model, happened):
    """`cup` was had with `pot` by many, and never with `spade`."""
    shop = model()
    for number in range(20):
        shop.learn([happened(f"v{number}", "pot", START + number), happened(f"v{number}", "cup", START + number + 0.5)])
        shop.learn([happened(f"w{number}", "spade", START + number), happened(f"w{number}", "seed", START + number)])
    shop.learn([happened("me", "spade", START + 100), happened("me", "pot", START + 110)])
    ranking, reasons = shop.answers().explain(Query(user="me", n=4))
    behind = dict(zip(ranking.items, reasons, strict=True))
    led = {part.item: set(part.sources) for part in behind["cup"].history}
    assert set(led) >= {"pot"}
    assert {"cosine", "transition", "vsknn", "stan"} <= led["pot"]
    assert not {"cosine", "transitions", "vsknn"} & led.get("spade", set())
    assert behind["seed"].history[0].item == "spade"
    assert any("own_history" in part.sources for part in behind["pot"].history if part.item == "pot")


def test_parts_of_the_history_add_up_to_the_contributions_of_their_sources(answers):
    """Each part says its sources, so what every source gives is divided among the items and none of it is lost."""
    divided = {"transition", "transition_fast", "transitions", "cosine", "cosine_flat", "vsknn", "stan"}
    for reasons in answers.explain(Query(user="u3", n=12))[1]:
        named = {source for part in reasons.history for source in part.sources}
        assert {part.source for part in reasons.sources if part.source in divided} <= named
        features = {part.feature: part.value * part.weight for part in reasons.features}
        total = sum(part.contribution for part in reasons.sources if part.source in named)
        total += features.get("like_last", 0.0) + sum(
            value for name, value in features.items() if name.startswith("own.")
        )
        assert sum(part.contribution for part in reasons.history) == pytest.approx(total, rel=1e-5, abs=1e-4)


def test_a_list_without_history_has_none_behind_it(answers):
    for reasons in answers.explain(QUERIES["nothing"])[1]:
        assert reasons.history == []


def test_explaining_changes_no_later_list(answers):
    before = [answers.recommend(query) for query in QUERIES.values()]
    for query in QUERIES.values():
        answers.explain(query)
    assert [answers.recommend(query) for query in QUERIES.values()] == before
