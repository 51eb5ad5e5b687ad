"""A model that has learned for years: numbers go past 2^31 and 2^32, and lists are those of a young one.

A shop is moved to an age by adding to its counters. What is added is a multiple of all lengths of rings, so that rows
and places in rings are those of a shop that started at 0, and whole tables can be compared. Only `vsknn` compares the
number of sessions that had an item with that of all sessions, so it is silent where lists are compared to the bit.
"""

from __future__ import annotations

import numpy as np
import pytest

from stream.models.kernels.ordinals import whole_column, write_column
from stream.models.learning.event_loop import TEST, UPDATE
from stream.models.merging.merge import merged
from stream.models.model import Model
from stream.models.query import Query
from stream.models.schema import SESSIONS_BEGUN
from stream.models.workspace.scoring_view import views_of

SESSIONS = 256
"""Rows of the table: a power of two, so that it divides every limit."""
NOW = 1_700_000_000.0
LIMITS = [2**31, 2**32, 2**33]


AT_THE_LIMIT = 2 * SESSIONS - 1
"""The session, counted from 0, that begins exactly at the limit. Its low word is 0, so no item lists it, at any age."""


def visits(happened, count: int, seed: int, first: int = 0, unlisted: int = AT_THE_LIMIT):
    """Events of visitors with two or three items a session; `count` sessions, of which one is in no item's list."""
    draw = np.random.default_rng(seed)
    for session in range(first, first + count):
        visitor, at = f"u{draw.integers(60)}", int(draw.integers(40))
        for step in range(int(draw.integers(2, 4))):
            moment = NOW + 30 * session + step
            listed = session != unlisted
            item = f"i{(at + step) % 40}"
            yield happened(visitor, item, moment, f"s{session}", tested=TEST | UPDATE, learned=listed)


def make_old(shop, sessions: int, posted: int = 0, entries: int = 0) -> None:
    """Add to every number that rises with the age of a model."""
    tables = shop.learner.tables
    assert sessions % SESSIONS == posted % 128 == entries % 128 == 0
    begun = int(tables["scalars"].data[0, SESSIONS_BEGUN])
    tables["scalars"].data[0, SESSIONS_BEGUN] = begun + sessions
    rows, items, visitors = tables["sessions"].data, tables["items"].data, tables["visitors"].data
    live = np.flatnonzero(whole_column(rows, "ordinal"))
    write_column(rows, "ordinal", live, whole_column(rows, "ordinal")[live] + sessions)
    known = np.flatnonzero(whole_column(visitors, "session_ordinal"))
    write_column(visitors, "session_ordinal", known, whole_column(visitors, "session_ordinal")[known] + sessions)
    # A list is moved to another age only where it is full and in the longest run, as it is in an old model.
    full = np.flatnonzero((whole_column(items, "posted") >= 128) & (items["postings"] >> 30 == 2)) if posted else []
    write_column(items, "posted", full, whole_column(items, "posted")[full] + posted)
    long = np.flatnonzero((visitors["entries"] >= 128) & (visitors["history"] >> 30 == 2)) if entries else []
    visitors["entries"][long] += entries
    lists = tables["postings"].data
    pointers = items["postings"][1:]
    for pointer in pointers[pointers > 0].tolist():
        run = slice(pointer & 0x3FFFFFFF, (pointer & 0x3FFFFFFF) + (1, 4, 16)[pointer >> 30])
        words = lists[run].astype(np.int64)
        lists[run] = np.where(words > 0, words + sessions & 0xFFFFFFFF, 0)
    assert not posted or len(full)
    assert not entries or len(long)


def lists_of(model: Model) -> list:
    queries = [Query(user=f"u{number}", n=12) for number in range(0, 60, 5)]
    queries += [Query(session="s7"), Query(recent=["i3", "i4"], n=20), Query(user="u1", session="new")]
    return [model.recommend(query) for query in queries]


def without_ages(shop) -> dict[str, bytes]:
    """Every table whose bytes do not depend on the age."""
    aged = {"scalars", "sessions", "visitors", "items", "postings"}
    return {name: table.data.tobytes() for name, table in shop.learner.tables.items() if name not in aged}


@pytest.mark.parametrize("limit", LIMITS)
def test_ordinals_pass_their_old_limits_and_lists_are_those_of_a_young_model(model, happened, limit):
    young, old = (model(max_sessions=SESSIONS, disabled_sources=("vsknn",)) for _ in range(2))
    for shop in (young, old):
        shop.learn(visits(happened, 300, seed=1))
    age = limit - 2 * SESSIONS
    make_old(old, age)
    assert lists_of(old.answers()) == lists_of(young.answers())
    for shop in (young, old):
        shop.learn(visits(happened, 600, seed=2, first=300))
    begun = [int(shop.learner.tables["scalars"].data[0, SESSIONS_BEGUN]) for shop in (young, old)]
    assert begun == [900, 900 + age]
    assert begun[1] > limit + SESSIONS, "every session that is kept began beyond the limit"
    assert lists_of(old.answers()) == lists_of(young.answers())
    assert without_ages(old) == without_ages(young), "the ranker has learned from the same lists"
    for name, column in (("sessions", "ordinal"), ("visitors", "session_ordinal")):
        ours, theirs = (whole_column(shop.learner.tables[name].data, column) for shop in (old, young))
        assert (ours - theirs == np.where(theirs > 0, age, 0)).all()
    assert all(result.scores for result in lists_of(old.answers()))


@pytest.mark.parametrize("limit", LIMITS)
def test_neighbours_of_old_and_young_models_are_the_same_sessions(model, happened, limit):
    """`vsknn` itself: how common an item is changes with the age, which sessions are neighbours does not."""
    young, old = model(max_sessions=SESSIONS), model(max_sessions=SESSIONS)
    for shop in (young, old):
        shop.learn(visits(happened, 300, seed=1))
    make_old(old, limit - 2 * SESSIONS)
    for shop in (young, old):
        shop.learn(visits(happened, 400, seed=2, first=300))
    for visitor in ("u0", "u7", "u31"):
        ours, theirs = (shop.say(visitor, NOW + 30 * 700).values for shop in (old, young))
        assert ours["stan"] == theirs["stan"]
        assert any(ours["stan"].values())
        assert {item for item, value in ours["vsknn"].items() if value} == {
            item for item, value in theirs["vsknn"].items() if value
        }


def test_lists_of_sessions_and_histories_pass_theirs(model, happened):
    young, old = (model(max_sessions=SESSIONS, disabled_sources=("vsknn",)) for _ in range(2))

    def busy(count: int, first: int):
        """One item in every session, and one visitor in all of them."""
        for session in range(first, first + count):
            yield happened("busy", "common", NOW + 10 * session, f"b{session}")
            yield happened("busy", f"i{session % 30}", NOW + 10 * session + 1, f"b{session}")

    for shop in (young, old):
        shop.learn(busy(200, 0))
    make_old(old, 0, posted=2**32 - 256, entries=2**31 - 512)
    for shop in (young, old):
        shop.learn(busy(300, 200))
    assert lists_of(old.answers()) == lists_of(young.answers())
    query = Query(user="busy", n=20)
    assert old.answers().recommend(query) == young.answers().recommend(query)
    items, visitors = old.learner.tables["items"].data, old.learner.tables["visitors"].data
    assert whole_column(items, "posted").max() == 2**32 - 256 + 500
    assert 2**30 <= visitors["entries"].max() < 2**31, "a position turns back by a multiple of every length"
    histories = [shop.learner.tables["history"].data.tobytes() for shop in (old, young)]
    assert histories[0] == histories[1]


def test_a_session_is_not_found_by_the_items_of_one_that_began_2_to_the_32_before(model, happened):
    shop = model(max_sessions=SESSIONS)
    shop.learn([happened("a", "rare", NOW, "first"), happened("a", "next to rare", NOW, "first")])
    shop.learn(visits(happened, 2, seed=0))
    scalars = shop.learner.tables["scalars"].data[0]
    scalars[SESSIONS_BEGUN] = 2**31 - 2
    shop.learn(visits(happened, 3, seed=0, first=10))
    assert scalars[SESSIONS_BEGUN] == 2**31 + 1
    items, postings = shop.learner.tables["items"].data, shop.learner.tables["postings"].data
    rare = int(np.flatnonzero(items["posted"] == 1)[0])
    assert not postings[items["postings"][rare] & 0x3FFFFFFF].any(), "the old entry is dropped"
    scalars[SESSIONS_BEGUN] = 2**32
    shop.learn([happened("b", "another", NOW + 1000, "same word"), happened("b", "thing", NOW + 1001, "same word")])
    session = shop.learner.tables["sessions"].data[1 + (2**32 + 1) % SESSIONS]
    assert (session["ordinal"], session["ordinal_high"]) == (1, 1), "its word is that of the very first session"
    found = shop.answers().recommend(Query(recent=["rare"], n=5))
    said = shop.say("a", NOW + 2000).values["stan"]
    assert not any(said[item] for item in ("another", "thing") if item in said)
    assert found.items


def test_shards_that_have_passed_the_limit_merge_into_the_same_lists(model, happened):
    young, old = [[model(max_sessions=SESSIONS, disabled_sources=("vsknn",)) for _ in range(2)] for _ in range(2)]
    for pair in (young, old):
        for number, shop in enumerate(pair):
            shop.learn(visits(happened, 300, seed=number, first=300 * number))
    for number, shop in enumerate(old):
        make_old(shop, (1 + number) * 2**32 - 2 * SESSIONS)
        first = 600 + 600 * number
        for pair in (young, old):
            pair[number].learn(visits(happened, 600, 7 + number, first, unlisted=first + AT_THE_LIMIT - 300))
    answers = []
    for pair in (young, old):
        shards = {number: views_of(shop.learner.tables) for number, shop in enumerate(pair)}
        answers.append(lists_of(Model(pair[0].settings, views_of(merged(pair[0].settings, shards)))))
    assert answers[0] == answers[1]
