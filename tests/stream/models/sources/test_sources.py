"""Every source, on data whose right answer is known by construction."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stream.models.feature_names import LIKE_LAST
from stream.models.kernels.row_pool import run_row, run_rows
from stream.models.schema import (
    COUNT,
    ITEMS_EVICTED,
    ITEMS_LIVE,
    NEWEST,
    RUN_SETS,
    TOP_SIZES,
    VISITORS_EVICTED,
    VISITORS_LIVE,
)
from stream.models.source_names import HALF_LIFE_NAMES, HALF_LIVES, SOURCES

START = 1_700_000_000.0
DAY = 86_400.0
PERSONAL = [source for source in SOURCES if not source.startswith("popular")]
PROPOSING = [source for source in PERSONAL if source != "embedding"]


def checkerboard(happened, *, visitors=120, steps=12, items=10, seed=0):
    """Even visitors walk through even items, odd visitors through odd ones, each in a random order."""
    draw = np.random.default_rng(seed)
    walks = [draw.permutation(items) for _ in range(visitors)]
    return [
        happened(
            f"u{visitor}",
            f"{'even' if visitor % 2 == 0 else 'odd'} {walks[visitor][step % items]}",
            START + visitor * 60 + step,
        )
        for visitor in range(visitors)
        for step in range(steps)
    ]


def test_an_empty_model_says_nothing(model):
    said = model().say("nobody", START)
    assert all(values == {} for values in said.values.values())


def test_an_unknown_visitor_hears_only_what_is_popular(model, happened):
    ours = model()
    ours.learn(checkerboard(happened))
    said = ours.say("nobody", START + 9000)
    for source in PROPOSING:
        assert set(said.values[source].values()) == {0.0}, source
    assert min(said.values["popular_30d"].values()) > 0


@pytest.mark.parametrize("source", PERSONAL)
def test_a_source_finds_the_visitors_own_colour(model, happened, source):
    ours = model()
    events = checkerboard(happened, visitors=160)
    for _ in range(4 if source == "embedding" else 1):
        ours.learn(events)
    ours.learn([happened("new", "even 1", START + 90_000), happened("new", "even 2", START + 90_001)])
    values = ours.say("new", START + 90_002).values[source]
    even = [value for item, value in values.items() if item.startswith("even") and item not in ("even 1", "even 2")]
    odd = [value for item, value in values.items() if item.startswith("odd")]
    assert np.mean(even) > np.mean(odd)
    assert max(even) > max(odd)


def test_transitions_and_cosine_are_what_the_formulas_say(model, happened):
    ours = model()
    ours.learn([happened("v", "a", START), happened("v", "b", START + 1), happened("v", "c", START + 2)])
    ours.learn([happened("w", "b", START + 3)])
    values = ours.say("w", START + 3).values
    assert values["transition"]["c"] == pytest.approx(1 / (1 + 2))  # b was followed by c, once
    assert values["transition_fast"]["c"] == pytest.approx(1 / (1 + 2), rel=1e-3)
    assert values["transitions"]["c"] == pytest.approx(1.0)
    assert values["cosine"]["c"] == pytest.approx(1 / math.sqrt(11 * 11))  # without w's own event on b
    assert values["cosine"]["a"] == values["cosine_flat"]["a"] == pytest.approx(1 / math.sqrt(11 * 11))
    assert values["transition"]["a"] == 0


def test_the_last_item_speaks_for_itself(model, happened):
    """The feature `like_last` is the last item's cosine alone, as a logarithm: 0 at 1e-5, 1 at 1."""
    ours = model()
    ours.learn([happened("v", "a", START), happened("v", "b", START + 1), happened("v", "c", START + 2)])
    ours.learn([happened("x", "a", START + 3), happened("x", "d", START + 4)])
    ours.learn([happened("w", "b", START + 5), happened("w", "a", START + 6)])
    features = ours.say("w", START + 6).features
    # two others had a before w: together once with c and once with d
    assert features["d"][LIKE_LAST] == pytest.approx(1 + math.log(1 / math.sqrt(12 * 11) + 1e-5) / 11.5, rel=1e-5)
    assert features["c"][LIKE_LAST] == features["d"][LIKE_LAST]
    assert features["a"][LIKE_LAST] == 0


def test_popularity_halves_in_a_half_life(model, happened):
    ours = model()
    ours.learn([happened(f"u{n}", "a", START) for n in range(8)])
    ours.learn([happened("x", "b", START + 1200)])
    values = ours.say("nobody", START + 1200).values
    assert values["popular_20m"] == {"a": pytest.approx(4), "b": pytest.approx(1)}
    assert values["popular_2h"]["a"] == pytest.approx(8 * 2 ** (-1 / 6))


def test_a_fast_transition_forgets_what_a_slow_one_still_knows(model, happened):
    ours = model()
    for number in range(10):
        ours.learn([happened(f"o{number}", "a", START + number), happened(f"o{number}", "old", START + number)])
    later = START + 20 * DAY
    for number in range(3):
        ours.learn([happened(f"n{number}", "a", later + number), happened(f"n{number}", "new", later + number)])
    ours.learn([happened("v", "a", later + 10)])
    values = ours.say("v", later + 10).values
    assert values["transition"]["old"] > values["transition"]["new"]
    assert values["transition_fast"]["new"] > values["transition_fast"]["old"]


def test_the_order_of_late_events_does_not_matter_for_popularity(model, happened):
    draw = np.random.default_rng(1)
    events = [
        happened(f"u{n}", f"i{int(20 * draw.random() ** 2)}", START + float(draw.integers(0, 40 * DAY)))
        for n in range(300)
    ]
    in_time, mixed = model(), model()
    in_time.learn(sorted(events, key=lambda event: event.seconds))
    mixed.learn([events[place] for place in draw.permutation(len(events))])
    last = max(event.seconds for event in events)
    for half_life in HALF_LIFE_NAMES:
        one = in_time.answers().popular(10, last, half_life)
        other = mixed.answers().popular(10, last, half_life)
        assert one.items == other.items
        assert one.scores == pytest.approx(other.scores, rel=1e-9)


def test_ten_years_of_decay_overflow_nothing(model, happened):
    ours = model()
    for year in range(10):
        ours.learn(
            [
                happened(f"u{year}", "a", START + year * 365 * DAY),
                happened(f"u{year}", f"b{year}", START + year * 365 * DAY + 1),
            ]
        )
    values = ours.say("u9", START + 9 * 365 * DAY + 2).values
    for source, by_item in values.items():
        assert all(math.isfinite(value) for value in by_item.values()), source
    assert ours.answers().popular(1, START + 9 * 365 * DAY, "20m").items[0] in ("a", "b9")


@pytest.mark.parametrize("source", SOURCES)
def test_a_disabled_source_is_silent_and_the_others_still_speak(model, happened, source):
    ours = model(disabled_sources=(source,))
    ours.learn(checkerboard(happened))
    ours.learn([happened("new", "even 1", START + 9000), happened("new", "even 2", START + 9001)])
    values = ours.say("new", START + 9002).values
    assert set(values[source].values()) == {0.0}
    assert sum(max(by_item.values()) > 0 for by_item in values.values()) >= len(SOURCES) - 2


@pytest.mark.parametrize("source", [source for source in SOURCES if source != "embedding"])
def test_a_visitor_whose_events_are_learned_hears_the_same_as_one_whose_are_only_shown(model, happened, source):
    def after(learned):
        ours = model()
        ours.learn(checkerboard(happened))
        path = ["even 1", "even 4", "even 1", "even 3", "even 7"]
        ours.learn([happened("me", item, START + 7152 + at, learned=learned) for at, item in enumerate(path)])
        return ours.say("me", START + 7158).values[source]

    learned, shown = after(True), after(False)
    assert learned.keys() == shown.keys()
    for item, value in shown.items():
        assert learned[item] == pytest.approx(value, rel=0.02, abs=1e-6), item


def live_rows(table, keys):
    rows = table.data
    return {row for row in range(1, len(rows)) if any(rows[key][row] for key in keys)}


def test_full_tables_make_room_and_nothing_points_at_who_left(model, happened):
    ours = model(max_items=64, max_visitors=64, max_sessions=64)
    draw = np.random.default_rng(2)
    ours.learn(
        happened(
            f"u{int(300 * draw.random() ** 2)}", f"i{int(500 * draw.random() ** 2)} {'x' * (n % 90)}", START + n * 30
        )
        for n in range(6000)
    )
    tables, scalars = ours.learner.tables, ours.learner.state.scalars
    items = live_rows(tables["items"], ("key0", "key1"))
    visitors = live_rows(tables["visitors"], ("key0", "key1"))
    assert len(items) == scalars[ITEMS_LIVE] <= 64
    assert len(visitors) == scalars[VISITORS_LIVE] <= 64
    assert scalars[ITEMS_EVICTED] > 0
    assert scalars[VISITORS_EVICTED] > 0
    none = items | {0}
    rows = tables["items"].data
    for item in items:
        if pointer := rows["pairs"][item]:
            first, sets = RUN_SETS * run_row(pointer), RUN_SETS * run_rows(pointer)
            assert set(tables["pairs"].data["other"][first : first + sets].ravel().tolist()) <= none
    for visitor in visitors:
        first = run_row(tables["visitors"].data["history"][visitor])
        count = run_rows(tables["visitors"].data["history"][visitor])
        assert set(tables["history"].data["item"][first : first + count].ravel().tolist()) <= none
    for name in ("session_items", "reservoir"):
        assert set(tables[name].data.ravel().tolist()) <= none, name
    for half_life in range(HALF_LIVES):
        listed = tables["top"].data[half_life, : int(scalars[TOP_SIZES + half_life])].tolist()
        assert sorted(listed) == sorted(items), "every live item fits into the list"
        counts = tables["sums"].data[listed, half_life]
        assert (np.diff(counts) <= 0).all()
    assert set(tables["top"].data[NEWEST].tolist()) <= none
    assert set(tables["items"].data["last_visitor"].tolist()) <= visitors | {0}
    assert (tables["sums"].data[:, COUNT] >= 0).all()


def test_a_full_row_keeps_the_pairs_that_happen_again(model, happened):
    ours = model(max_items=2000)
    at = START
    for round_ in range(30):
        for number in range(60):  # more noise than a row has slots
            at += 1
            ours.learn(
                [happened(f"n{round_} {number}", "a", at), happened(f"n{round_} {number}", f"x{round_} {number}", at)]
            )
        ours.learn([happened(f"s{round_}", "a", at), happened(f"s{round_}", "steady", at)])
    ours.learn([happened("v", "a", at + 1)])
    values = ours.say("v", at + 1).values
    assert max(values["transition"], key=values["transition"].get) == "steady"
