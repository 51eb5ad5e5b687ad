"""One suite for every source: with nothing learned, full tables, the passing of time, a restart, and shards.

`test_sources.py` has the values of single sources on data whose right answer is known.
"""

from __future__ import annotations

import importlib
import math
import re

import numpy as np
import pytest

from stream.models.learning.learner import Learner
from stream.models.merging.merge import merged
from stream.models.schema import ITEMS_EVICTED, VISITORS_EVICTED, table_specs
from stream.models.source_names import SOURCES
from stream.models.workspace.scoring_view import views_of
from stream.state.tables import Tables

START = 1_700_000_000.0
DAY = 86_400.0

FILES = {
    "transition": ("sources.transitions", "sources.pairs"),
    "transition_fast": ("sources.transitions", "sources.pairs"),
    "transitions": ("sources.transitions", "sources.pairs"),
    "cosine": ("sources.cosine", "sources.pairs"),
    "cosine_flat": ("sources.cosine", "sources.pairs"),
    "vsknn": ("sources.vsknn", "entities.sessions"),
    "stan": ("sources.stan", "entities.sessions"),
    "embedding": ("sources.embedding", "sources.embedding"),
}
"""Files in which a source scores and learns; the popular ones share one."""
TABLES = {
    "sources.pairs": {"pairs", "sums"},
    "entities.sessions": {"sessions", "session_items", "postings"},
    "sources.embedding": {"vectors", "reservoir"},
    "sources.popularity": {"sums", "top"},
}
FADING = {source for source in SOURCES if source.startswith("popular")} | {"transition_fast", "stan"}
ADDITIVE = set(SOURCES) - {"embedding"}
"""Counts and sessions add up over shards; vectors are averaged, which is no sum."""

every_source = pytest.mark.parametrize("source", SOURCES)


def scored_in(source):
    return FILES.get(source, ("sources.popularity", "sources.popularity"))[0]


def learned_in(source):
    return FILES.get(source, ("sources.popularity", "sources.popularity"))[1]


def walks(happened, *, visitors=60, steps=8, items=20, seed=0, prefix="u"):
    """Visitors go a step or two along the same circle of items, some now and then astray."""
    draw = np.random.default_rng(seed)
    events = []
    for visitor in range(visitors):
        at = int(draw.integers(items))
        for step in range(steps):
            at = (at + int(draw.choice([1, 1, 1, 2, 7]))) % items
            events.append(happened(f"{prefix}{visitor}", f"i{at}", START + 600 * visitor + 20 * step))
    return events


def said(shop, source, now=START + 10 * DAY):
    return shop.say("me", now).values[source]


@pytest.fixture
def taught(model, happened):
    def teach(**settings):
        shop = model(**settings)
        shop.learn(walks(happened))
        shop.learn([happened("me", "i3", START + 40_000), happened("me", "i4", START + 40_020)])
        return shop

    return teach


@every_source
def test_it_has_a_file_with_its_paper_and_functions_that_learn_and_score(source):
    scoring = importlib.import_module(f"stream.models.{scored_in(source)}")
    learning = importlib.import_module(f"stream.models.{learned_in(source)}")
    assert re.search(r"\b(19|20)\d\d\b", scoring.__doc__), "no paper is named"
    assert callable(learning.learn)
    assert any(name.startswith(("score", "finish", "gain", "place")) for name in vars(scoring))


@every_source
def test_its_tables_are_bounded_and_no_row_is_wider_than_it_says(source, model):
    specs = {spec.name: spec for spec in table_specs(model().settings)}
    for name in TABLES[learned_in(source)]:
        assert specs[name].rows > 0
        assert specs[name].row_bytes <= 1024, name


@every_source
def test_with_nothing_learned_it_says_nothing(source, model):
    assert said(model(), source) == {}


@every_source
def test_an_unseen_item_has_no_value_and_an_unseen_visitor_only_what_is_popular(source, taught):
    shop = taught()
    assert "never" not in said(shop, source)
    values = shop.say("stranger", START + 50_000).values[source]
    assert all(math.isfinite(value) for value in values.values())
    if source.startswith("popular"):
        assert min(values.values()) > 0
    elif source != "embedding":  # of an empty context it says the same of all
        assert set(values.values()) == {0.0}
    else:
        assert len(set(values.values())) == 1


@every_source
def test_what_it_says_is_a_number_that_is_not_negative_and_says_something(source, taught):
    values = said(taught(), source)
    assert max(values.values()) > 0
    assert min(values.values()) >= 0
    assert all(math.isfinite(value) for value in values.values())


@every_source
def test_full_tables_make_room_and_it_goes_on_saying_what_is_true(source, model, happened):
    shop = model(max_items=64, max_visitors=64, max_sessions=64)
    draw = np.random.default_rng(1)
    at = START
    for _ in range(40):  # strangers with items of their own, between the walks of everybody else
        at += 600
        shop.learn(happened(f"n{draw.integers(10**6)}", f"x{draw.integers(10**6)}", at + step) for step in range(10))
        who = f"u{draw.integers(10**6)}"
        shop.learn(happened(who, f"i{item}", at + 20 + item) for item in range(10))
    scalars = shop.learner.state.scalars
    assert scalars[ITEMS_EVICTED] > 0
    assert scalars[VISITORS_EVICTED] > 0
    shop.learn([happened("me", "i3", at + 700), happened("me", "i4", at + 701)])
    values = shop.say("me", at + 702).values[source]
    steady = [value for item, value in values.items() if item in {"i2", "i5", "i6"}]
    noise = [value for item, value in values.items() if item.startswith("x")]
    assert len(values) <= 64
    assert all(math.isfinite(value) for value in values.values())
    if source not in {"popular_20m", "embedding"}:  # a third of an hour remembers the last strangers best
        assert max(steady) > max(noise, default=0.0)


@every_source
def test_an_item_that_went_out_begins_anew_when_it_comes_back(source, model, happened):
    def with_a_past(past):
        shop = model(max_items=64, max_visitors=400, max_sessions=400)
        if past:
            shop.learn(happened(f"p{n}", item, START + n) for n in range(3) for item in ("gone", "i1", "gone"))
        draw = np.random.default_rng(2)
        shop.learn(happened(f"f{n}", f"f{draw.integers(200)}", START + 400 * DAY + n) for n in range(1500))
        evicted = "gone" not in shop.answers().popular(200).items
        shop.learn(
            happened(f"w{n} {item}", item, START + 400.5 * DAY + n) for n in range(20) for item in ("gone", "i1")
        )
        shop.learn(happened(f"q{n}", item, START + 401 * DAY + n) for n in range(3) for item in ("gone", "i1"))
        shop.learn([happened("me", "i1", START + 401 * DAY + 50)])
        return evicted, shop.say("me", START + 401 * DAY + 51).values[source].get("gone", 0.0)

    evicted, value = with_a_past(past=True)
    assert evicted
    _, fresh = with_a_past(past=False)
    tolerance = 0.3 if source == "embedding" else 0.02  # vectors of new items begin at random
    assert value == pytest.approx(fresh, rel=tolerance, abs=1e-6)


@every_source
def test_time_fades_what_should_fade_and_nothing_else(source, taught, happened):
    shop = taught()
    before = said(shop, source)
    shop.learn([happened("late", "unrelated", START + 45 * DAY, session="late")])  # the clock goes on
    after = said(shop, source, START + 45 * DAY)
    heard = [item for item, value in before.items() if value > 0.01 * max(before.values()) and item in after]
    assert heard
    for item in heard:
        if source in FADING:
            assert after[item] < 0.8 * before[item], item
        else:
            assert after[item] == pytest.approx(before[item], rel=0.03), item


@every_source
def test_restored_it_says_the_same_and_goes_on_the_same(source, taught, model, happened):
    original = taught()
    restored = model()
    tables = Tables(table_specs(restored.settings))
    tables.write(original.learner.tables.snapshot())
    restored.learner = Learner(restored.settings, tables)
    assert said(restored, source) == said(original, source)
    for shop in (original, restored):
        shop.learn(walks(happened, seed=5, prefix="later"))
    assert said(restored, source) == said(original, source)


@every_source
def test_shards_together_say_what_one_says_where_it_adds_up(source, model, happened):
    events = walks(happened)
    mine = [happened("me", "i3", START + 40_000), happened("me", "i4", START + 40_020)]
    whole, shards = model(), [model(), model()]
    whole.learn([*events, *mine])
    for number, shard in enumerate(shards):
        shard.learn(event for event in events if int(event.user[1:]) % 2 == number)
    shards[1].learn(mine)
    united = model()
    views = {number: views_of(shard.learner.tables) for number, shard in enumerate(shards)}
    united.learner = Learner(united.settings, merged(united.settings, views))
    alone, together = said(whole, source), said(united, source)
    assert together.keys() == alone.keys()
    if source in ADDITIVE:
        for item, value in alone.items():
            assert together[item] == pytest.approx(value, rel=1e-3, abs=1e-6), item
    else:
        assert all(math.isfinite(value) for value in together.values())


@every_source
def test_visitors_that_come_late_change_nothing_where_order_does_not_count(source, model, happened):
    """Events keep their order within a visitor; whole visitors arrive in any order, with their own times."""
    events = walks(happened)
    by_visitor = [events[first : first + 8] for first in range(0, len(events), 8)]
    mine = [happened("me", "i3", START + 40_000), happened("me", "i4", START + 40_020)]
    in_time, late = model(), model()
    in_time.learn([*events, *mine])
    shuffled = [by_visitor[place] for place in np.random.default_rng(3).permutation(len(by_visitor))]
    late.learn([*(event for visitor in shuffled for event in visitor), *mine])
    one, other = said(in_time, source), said(late, source)
    assert late.answers().clock == in_time.answers().clock, "the clock never runs backwards"
    if source == "embedding":  # gradients follow the order of events
        assert all(math.isfinite(value) for value in other.values())
        return
    assert one.keys() == other.keys()
    for item, value in one.items():
        assert other[item] == pytest.approx(value, rel=1e-3, abs=1e-6), item


@every_source
def test_disabled_it_proposes_nothing_and_says_nothing(source, taught):
    values = said(taught(disabled_sources=(source,)), source)
    assert set(values.values()) <= {0.0}
    assert values, "the others still propose"
