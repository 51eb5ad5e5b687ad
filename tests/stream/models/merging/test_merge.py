"""Several shards, merged, equal one shard that learned all their events."""

import json
from collections import defaultdict

import numpy as np
import pytest

from stream.evaluation.protocol import Action, EvaluationProtocol, plan
from stream.evaluation.replay.event_batch import event_batch_of
from stream.evaluation.replay.history import history_of
from stream.evaluation.replay.model_learner import ModelLearner
from stream.ingest.files.dataset import Coded, Dataset
from stream.ingest.records import Record
from stream.models.kernels.row_pool import run_row, run_rows
from stream.models.merging.counts import copy_seen
from stream.models.merging.merge import merged
from stream.models.model import Model
from stream.models.query import Query
from stream.models.ranking.rank import Options
from stream.models.schema import (
    CLOCK,
    COUNT,
    EVENTS,
    FAST_LANDMARK,
    FAST_SUM,
    NAME_CELLS,
    NEWEST,
    NEWEST_WRITTEN,
    PAIR_SLOTS,
    POPULARITY_LANDMARK,
    POSTING_ENTRIES,
    SESSIONS_BEGUN,
    TOP_SIZES,
)
from stream.models.settings import ModelSettings
from stream.models.source_names import HALF_LIVES, HALF_LIVES_SECONDS
from stream.models.workspace.scoring_view import views_of
from stream.shard.shard import Shard

SETTINGS = ModelSettings(max_items=500, max_visitors=400, max_sessions=800, max_event_ids=64)
EVENTS_MADE = 3000


def coded(cells):
    names = list(dict.fromkeys(cells))
    return Coded(np.array([names.index(cell) for cell in cells], np.int32), names)


@pytest.fixture(scope="module")
def shop():
    """Visitors in sessions among sixty items; 3,000 events, ten seconds apart."""
    random = np.random.default_rng(7)
    users = random.integers(0, 90, EVENTS_MADE)
    items = np.minimum(random.geometric(0.05, EVENTS_MADE), 60)
    data = Dataset(
        seconds=1.7e9 + 10.0 * np.arange(EVENTS_MADE),
        item=coded([f"item number {item} with a name longer than one cell" for item in items]),
        event=coded(["click"] * EVENTS_MADE),
        user=coded([f"u{user}" for user in users]),
        session=coded([f"s{user}-{number // 500}" for number, user in enumerate(users)]),
    )
    return history_of(data, "shop")


@pytest.fixture(scope="module")
def learned(shop):
    """One shard that learned all events, and three that learned those of a third of the visitors each."""
    protocol = EvaluationProtocol(warmup=0.5)
    todo = plan(
        visitor=shop.data.user.codes,
        item=shop.data.item.codes,
        kind=shop.data.event.codes,
        kinds=shop.data.event.names,
        time=shop.data.seconds,
        protocol=protocol,
    )
    columns = event_batch_of(shop, SETTINGS, todo)

    def shard(wanted):
        learner = ModelLearner(columns, shop.data.item.codes, SETTINGS, Options())
        learner.replay(0, len(shop), np.where(wanted, Action.LEARN, 0).astype(np.uint8), top=0)
        return learner

    which = shop.data.user.codes % 3
    return columns, shard(which >= 0), [shard(which == number) for number in range(3)]


@pytest.fixture(scope="module")
def merge_of_three(learned):
    return merged(SETTINGS, {number: shard.views() for number, shard in enumerate(learned[2])})


def tables_of(learner):
    return {name: data for name, (data, _) in learner.views().items()}


def by_key(tables):
    """Keys by item row, to compare tables that number their rows differently."""
    return {row: int(key) for row, key in enumerate(tables["items"]["key0"]) if key}


def run_of(pointer, pool):
    return pool[run_row(pointer) : run_row(pointer) + run_rows(pointer)] if pointer else pool[:0]


def data_of(tables):
    return {name: table.data for name, table in tables.items()}


def rebased(tables):
    """Factors that bring stored sums, which are relative to a landmark, to their values at the first event."""
    scalars = tables["scalars"][0]
    scale = np.ones(8)
    scale[:5] = 2.0 ** ((scalars[POPULARITY_LANDMARK] - 1.7e9) / np.array(HALF_LIVES_SECONDS))
    scale[FAST_SUM] = 2.0 ** ((scalars[FAST_LANDMARK] - 1.7e9) / 86_400)
    return scale


def test_counts_are_sums(learned, merge_of_three):
    one, many = tables_of(learned[1]), data_of(merge_of_three)
    ours, theirs = by_key(many), by_key(one)
    assert sorted(ours.values()) == sorted(theirs.values())
    row_of = {key: row for row, key in theirs.items()}
    for row, key in ours.items():
        assert many["sums"][row] * rebased(many) == pytest.approx(one["sums"][row_of[key]] * rebased(one), rel=1e-6)
    assert many["scalars"][0, EVENTS] == EVENTS_MADE
    assert many["scalars"][0, SESSIONS_BEGUN] == one["scalars"][0, SESSIONS_BEGUN]


def pairs_by_key(tables):
    keys, pairs = by_key(tables), {}
    for row, key in keys.items():
        for slot in run_of(tables["items"]["pairs"][row], tables["pairs"].reshape(-1, PAIR_SLOTS)).reshape(-1):
            if slot["other"]:
                counts = (
                    float(slot["together"]),
                    float(slot["forward"]),
                    float(slot["fast"]) * rebased(tables)[FAST_SUM],
                )
                pairs[key, keys[int(slot["other"])]] = counts
    return pairs


def test_pair_counts_are_sums(learned, merge_of_three):
    one, many = pairs_by_key(tables_of(learned[1])), pairs_by_key(data_of(merge_of_three))
    assert one.keys() == many.keys()
    for pair, counts in one.items():
        assert many[pair] == pytest.approx(counts, rel=1e-4)


def test_histories_are_the_visitors_own_in_order(learned, merge_of_three):
    def histories(tables):
        keys, result = by_key(tables), {}
        for visitor in tables["visitors"]:
            if visitor["key0"]:
                ring = run_of(visitor["history"], tables["history"]).reshape(-1)
                entries = int(visitor["entries"])
                places = [number % len(ring) for number in range(max(0, entries - len(ring)), entries)]
                result[int(visitor["key0"])] = [
                    (keys[int(ring[at]["item"])], int(ring[at]["seconds"])) for at in places
                ]
        return result

    assert histories(data_of(merge_of_three)) == histories(tables_of(learned[1]))


def test_sessions_of_all_shards_are_one_list_of_neighbours(learned, merge_of_three):
    def sessions(tables):
        keys, result = by_key(tables), {}
        for row, session in enumerate(tables["sessions"]):
            if session["key0"]:
                inside = tables["session_items"][row][: int(session["items"])]
                result[int(session["key0"])] = [keys[int(item)] for item in inside]
        return result

    def posted(tables):
        rows = {int(session["ordinal"]): int(session["key0"]) for session in tables["sessions"] if session["key0"]}
        keys, result = by_key(tables), defaultdict(set)
        for row, key in keys.items():
            for ordinal in run_of(tables["items"]["postings"][row], tables["postings"]).reshape(-1):
                if ordinal:
                    result[key].add(rows[int(ordinal)])
        return result

    one, many = tables_of(learned[1]), data_of(merge_of_three)
    assert sessions(many) == sessions(one)
    ours, theirs = posted(many), posted(one)
    full = 16 * POSTING_ENTRIES
    assert ours.keys() == theirs.keys()
    assert all(ours[key] == theirs[key] for key in ours if len(theirs[key]) < full)
    # Lists that are full have the sessions that were last seen.
    last_seen = sorted(
        (session for session in many["sessions"] if session["key0"]), key=lambda session: int(session["ordinal"])
    )
    assert [int(session["last_seconds"]) for session in last_seen] == sorted(
        int(session["last_seconds"]) for session in last_seen
    )
    having = sessions(many)
    cut = {key for key in ours if len(ours[key]) == full}
    assert cut, "no list is full, so nothing was left out"
    for key in cut:
        newest = [int(session["key0"]) for session in last_seen if key in having[int(session["key0"])]]
        assert ours[key] == set(newest[-full:])


def listed(tables, number):
    """Keys of the items of one top list, in order."""
    size = int(tables["scalars"][0, NEWEST_WRITTEN if number == NEWEST else TOP_SIZES + number])
    return [by_key(tables)[int(row)] for row in tables["top"][number, :size]]


def test_top_lists_hold_the_items_of_one_shard_in_its_order(learned, merge_of_three):
    one, many = tables_of(learned[1]), data_of(merge_of_three)
    for half_life in range(HALF_LIVES):
        assert listed(many, half_life) == listed(one, half_life)
        counts = many["sums"][many["top"][half_life, : len(listed(many, half_life))], half_life]
        assert (np.diff(counts) <= 0).all()
        places = many["items"]["listed"][:, half_life]
        assert {int(row): int(places[row]) for row in np.flatnonzero(places)} == {
            int(row): place for place, row in enumerate(many["top"][half_life], 1) if row
        }
    assert listed(many, NEWEST) == listed(one, NEWEST)
    assert sorted(listed(many, NEWEST)) == sorted(by_key(many).values())


def test_remembered_items_keep_the_newest_of_a_set():
    seen = np.array([[9, 7, 0, 0, 0, 0, 0, 0], [4, 2, 6, 0, 0, 0, 0, 0]], np.uint64)
    out = np.zeros((1, 8), np.uint64)
    copy_seen(out, seen)
    assert out[0].tolist() == [4, 2, 6, 9, 7, 0, 0, 0]
    for first in (10, 20):
        copy_seen(out, np.array([[*range(first, first + 6), 0, 0]], np.uint64))
    assert out[0].tolist() == [20, 21, 22, 23, 24, 25, 10, 11]


def test_names_survive(learned, merge_of_three):
    answers = Model(SETTINGS, views_of(merge_of_three))
    one = Model(SETTINGS, learned[1].views())
    assert answers.popular(20).items == one.popular(20).items
    assert all(name.endswith("longer than one cell") for name in answers.popular(20).items)


def last_tests(learner, stop):
    actions = np.zeros(stop, np.uint8)
    actions[-200:] = Action.TEST
    return learner.replay(0, stop, actions, top=10, export=True)


def test_the_sources_rank_as_one_shard_would(learned, merge_of_three, shop):
    columns, one, _ = learned
    answers = ModelLearner(columns, shop.data.item.codes, SETTINGS, Options(), tables=merge_of_three)
    ours, theirs = last_tests(answers, len(shop)), last_tests(one, len(shop))
    names = ModelLearner.names
    for test in range(len(ours.event)):
        lists = []
        for walk in (ours, theirs):
            part = slice(walk.offsets[test], walk.offsets[test + 1])
            lists.append(dict(zip(walk.candidate[part].tolist(), walk.scores[part], strict=True)))
        shared = lists[0].keys() & lists[1].keys()
        assert len(shared) >= 0.95 * len(lists[0])
        for source in ("transitions", "cosine", "popular_30d", "popular_20m"):
            at = names.index(source)
            assert [lists[0][item][at] for item in shared] == pytest.approx(
                [lists[1][item][at] for item in shared], rel=1e-3, abs=1e-6
            )


def test_one_shard_merged_answers_as_it_did(learned, shop):
    columns, one, _ = learned
    again = ModelLearner(columns, shop.data.item.codes, SETTINGS, Options(), tables=merged(SETTINGS, {0: one.views()}))
    ours, theirs = last_tests(again, len(shop)), last_tests(one, len(shop))
    # Equally similar neighbours are taken in the order of when they were last seen, not of when they began.
    assert (ours.found == theirs.found).mean() > 0.98
    assert np.abs(ours.candidates - theirs.candidates).max() <= 3
    assert (ours.top[:, :3] == theirs.top[:, :3]).mean() > 0.95


def test_merging_is_deterministic(learned):
    views = {number: shard.views() for number, shard in enumerate(learned[2])}
    assert merged(SETTINGS, views) == merged(SETTINGS, dict(reversed(views.items())))


def test_names_of_many_cells_have_room():
    """Ids may be addresses of pages, of 200 bytes and more."""
    settings = ModelSettings(max_items=100, max_visitors=100, max_sessions=100, max_event_ids=64)
    ids = [f"https://shop.example/{'path/' * 40}{number}" for number in range(20)]
    shards = {}
    for number in range(2):
        shard = Shard(settings, partition=number, shards=2)
        events = [{"item": name, "user": f"u{number}", "timestamp": 1_700_000_000} for name in ids[5 * number :]]
        shard.apply(
            [Record("clicks", at, 1_700_000_000_000, json.dumps(event).encode()) for at, event in enumerate(events)],
            0.0,
        )
        shards[number] = views_of(shard.tables)
    tables = merged(settings, shards)
    assert int(tables["scalars"].data[0, NAME_CELLS]) <= len(tables["names"].data)
    assert sorted(Model(settings, views_of(tables)).popular(50).items) == sorted(ids)


def test_the_merge_of_empty_shards_is_an_empty_model():
    empty = ModelSettings(max_items=64, max_visitors=64, max_sessions=64, max_event_ids=64)
    views = {number: views_of(Shard(empty, partition=number, shards=2).tables) for number in range(2)}
    tables = merged(empty, views)
    assert tables["items"].data["key0"].max() == 0
    assert Model(empty, views_of(tables)).recommend(Query(user="ada")).items == []


def test_events_that_are_shown_to_the_merge_go_into_histories_and_change_no_counts(learned, merge_of_three, shop):
    columns, _, shards = learned
    tables = merged(SETTINGS, {number: shard.views() for number, shard in enumerate(shards)}, room=50)
    shown = columns._replace(learned=np.zeros_like(columns.learned))
    answers = ModelLearner(shown, shop.data.item.codes, SETTINGS, Options(), tables=tables)
    before = tables["scalars"].data.copy()
    actions = np.zeros(len(shop), np.uint8)
    actions[:20] = Action.SHOW
    answers.replay(0, 20, actions, top=0)
    grown = (
        tables["visitors"].data["entries"].astype(int).sum()
        - merge_of_three["visitors"].data["entries"].astype(int).sum()
    )
    assert grown == 20
    assert tables["sums"].data[:, COUNT].sum() == pytest.approx(EVENTS_MADE)
    assert tables["scalars"].data[0, CLOCK] == before[0, CLOCK]
