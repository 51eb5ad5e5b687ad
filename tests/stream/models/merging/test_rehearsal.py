"""Rehearsal: an event is ranked once more as it would have been before it happened."""

from __future__ import annotations

import numpy as np
import pytest

from stream.models.merging.merge import merged
from stream.models.merging.rehearsal import choose, look_back, rehearse
from stream.models.ranking.rank import options_of, rank
from stream.models.source_names import SOURCES
from stream.models.workspace.scoring_view import views_of
from stream.models.workspace.scratch import CANDIDATE, HISTORY, SESSION, UNIQUE

START = 1_700_000_000.0
COUNTED = ("transition", "transition_fast", "transitions", "cosine", "cosine_flat", "popular_3d", "popular_30d")


def others(happened):
    """Forty visitors who walk through the same eight items, each from another one on."""
    return [
        happened(f"u{visitor}", "abcdefgh"[(visitor + step) % 8], START + visitor * 60 + step)
        for visitor in range(40)
        for step in range(5)
    ]


def of_ann(happened, items):
    return [happened("ann", item, START + 10_000 + step) for step, item in enumerate(items)]


def row_of(shop, user):
    """The row of the visitor who was active last."""
    shop.say(user, START + 20_000)
    return next(
        row
        for row, visitor in enumerate(shop.learner.tables["visitors"].data)
        if visitor["last_seconds"] >= START + 10_000
    )


def test_a_look_back_finds_the_history_and_the_sources_of_that_time(model, happened):
    before, after = model(), model()
    before.learn(others(happened) + of_ann(happened, "ab"))
    after.learn(others(happened) + of_ann(happened, "abce"))
    then = before.say("ann", START + 10_004)
    reader, work = after.learner.reader, after.learner.work
    item = look_back(reader, work, row_of(after, "ann"), 1)
    assert after.answers().names(np.array([item])) == ["c"]
    names = after.answers().names(work.unique[: work.counts[UNIQUE]])
    assert (names, work.counts[HISTORY], work.counts[SESSION]) == (["b", "a"], 2, 2)
    rank(reader, work, options_of(after.settings), np.uint64(0))
    places = after.answers().names(work.items[work.candidates[: work.counts[CANDIDATE]]])
    for source in COUNTED:
        values = dict(zip(places, work.source_values[SOURCES.index(source)].tolist(), strict=False))
        assert values == pytest.approx(then.values[source], rel=2e-3, abs=1e-4), source


def test_lessons_are_the_last_events_that_were_learned(model, happened):
    shop = model()
    shop.learn(others(happened) + of_ann(happened, "abcdefgh"))
    row = row_of(shop, "ann")
    lessons = np.zeros((12, 2), np.int64)
    reader, work = shop.learner.reader, shop.learner.work
    others_rows = np.array([row, *(other for other in range(1, 42) if other != row)])
    assert choose(reader, work, others_rows, False, lessons) == 12
    assert lessons[:5].tolist() == [[row, age] for age in range(5)]
    assert len(set(lessons[5:9, 0].tolist())) == 1  # the first of five events is no lesson
    assert choose(reader, work, others_rows[1:2], True, lessons) == 5


def test_merged_shards_have_rehearsed_and_one_alone_has_not(model, happened):
    shops = [model(seed=3), model(seed=3)]
    events = others(happened)
    for number, shop in enumerate(shops):
        shop.learn([event for event in events if (int(event.user[1:]) % 2) == number])
    views = {number: views_of(shop.learner.tables) for number, shop in enumerate(shops)}
    began = shops[0].learner.tables["linear"].data
    assert (merged(shops[0].settings, {0: views[0]})["linear"].data == began).all()
    once, twice = merged(shops[0].settings, views), merged(shops[0].settings, views)
    assert once == twice
    assert not np.allclose(once["linear"].data, began)
    assert np.isfinite(once["network"].data).all()
    # The next item is that of the transitions in every history, so the weight of their first feature has grown.
    weights = once["linear"].data[0]
    assert weights[3 * SOURCES.index("transition")] > weights[3 * SOURCES.index("popular_30d")]
    rehearse(once, options_of(shops[0].settings))
    assert once != twice
