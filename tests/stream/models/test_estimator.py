"""The model as a River recommender: River's own checks, its routine, and what River's models can't promise."""

from __future__ import annotations

import copy
import json
import random

import numpy as np
import pytest
from river import metrics, stats
from river.checks import common
from river.checks.reco import check_reco_routine

from stream.ingest.records import Record
from stream.models.estimator import SMALL, BlendRanker
from stream.models.settings import ModelSettings
from stream.shard.shard import Shard
from stream.values import InvalidEvent

SETTINGS = ModelSettings(max_items=200, max_visitors=400, max_sessions=400, max_event_ids=64)


def camps(events=600, seed=0):
    """Even users take even items, odd ones odd ones."""
    draw = np.random.default_rng(seed)
    for _ in range(events):
        user = int(draw.integers(20))
        yield f"u{user}", f"i{2 * int(draw.integers(8)) + user % 2}"


LEARNED_AFTER_A_BATCH = {"challenger", "conversion", "outcomes", "pending", "pending_keys", "scalars"}


def differing(ours, theirs):
    """Names of the tables that hold something else."""
    return {name for name, table in ours.items() if table.data.tobytes() != theirs[name].data.tobytes()}


@pytest.mark.parametrize(
    "check",
    [
        common.check_repr,
        common.check_str,
        common.check_tags,
        common.check_clone_same_class,
        common.check_clone_is_idempotent,
        common.check_clone_changes_memory_addresses,
        common.check_init_has_default_params_for_tests,
        common.check_init_default_params_are_not_mutable,
        common.check_doc,
        common.check_mutate_can_be_idempotent,
        common.check_pickling_supports_roundtrip,
        common.check_get_params_matches_signature,
    ],
    ids=lambda check: check.__name__,
)
def test_it_passes_rivers_checks_of_estimators(check):
    """Those that `river.checks` makes of every estimator; the others feed it data for classifiers and regressors."""
    check(BlendRanker())


def test_it_gets_through_rivers_routine_for_recommenders_and_learns_what_is_liked():
    random.seed(0)
    model = BlendRanker(SETTINGS, seed=1)
    check_reco_routine(model)
    items = {"politics", "sports", "music", "food", "finance", "health", "camping"}
    assert model.rank("Tom", items)[0] in {"music", "politics"}
    assert model.rank("Anna", items)[0] in {"politics", "sports"}


def test_rivers_metrics_and_stats_see_what_was_planted():
    model, hits, lead = BlendRanker(SETTINGS), metrics.Accuracy(), stats.Mean()
    for number, (user, item) in enumerate(camps()):
        if number > 300:
            other = f"i{(int(item[1:]) + 1) % 16}"
            ours, theirs = model.predict_one(user, item), model.predict_one(user, other)
            hits.update(True, ours > theirs)
            lead.update(ours - theirs)
        model.learn_one(user, item, True)
    assert hits.get() > 0.95
    assert lead.get() > 0
    assert model.metrics()["blend"]["hr"]["10"] > model.metrics()["sources"]["popular_30d"]["hr"]["10"]


def test_asking_changes_nothing():
    model = BlendRanker(SETTINGS)
    model.learn_many((user, item, True, None) for user, item in camps())
    before = copy.deepcopy(model.tables.snapshot())
    model.rank("stranger", {"never", "seen", "i1"}, {"session": "unknown"})
    model.predict_one("u1", "i1")
    after = model.tables.snapshot()
    assert all(np.array_equal(before[name].data, after[name].data) for name in before)


def test_one_at_a_time_and_all_at_once_leave_the_same_tables():
    one, many = BlendRanker(SETTINGS), BlendRanker(SETTINGS)
    for user, item in camps():
        one.learn_one(user, item, True)
    many.learn_many((user, item, True, None) for user, item in camps())
    assert differing(one.tables, many.tables) <= LEARNED_AFTER_A_BATCH
    items = {f"i{number}" for number in range(16)}
    assert one.rank("u1", items) == many.rank("u1", items)


def test_a_copy_goes_on_as_the_original():
    model = BlendRanker(SETTINGS, seed=3)
    model.learn_many((user, item, True, None) for user, item in camps())
    again = copy.deepcopy(model)
    assert differing(again.tables, model.tables) == set()
    for each in (model, again):
        each.learn_many((user, item, True, None) for user, item in camps(seed=1))
    assert differing(again.tables, model.tables) == set()
    assert again.rank("u1", {"i1", "i2"}) == model.rank("u1", {"i1", "i2"})


def test_it_learns_what_a_shard_learns():
    model, shard, records = BlendRanker(SETTINGS), Shard(SETTINGS), []
    for offset, (user, item) in enumerate(camps()):
        model.learn_one(user, item, True, {"timestamp": 1000.0 + offset, "session": f"{user}/s"})
        event = {"user": user, "session": f"{user}/s", "item": item, "timestamp": 1000 + offset}
        records.append(Record("clicks", offset, 1_000_000 + 1000 * offset, json.dumps(event).encode()))
    for record in records:
        shard.apply([record], rate=1.0)
    assert differing(model.tables, shard.tables) == set()


def test_what_is_turned_down_goes_behind_and_only_a_negative_reward_takes_weight_back():
    model = BlendRanker(SETTINGS)
    for number in range(20):
        model.learn_one(f"u{number}", "a", True)
        model.learn_one(f"u{number}", "b", True)
    counts = model.tables["sums"].data.copy()
    model.learn_one("me", "a", False)
    assert model.rank("me", ["a", "b", "new"]) == ["b", "new", "a"]
    assert np.array_equal(model.tables["sums"].data, counts)
    model.learn_one("you", "b", True, {"kind": "dislike"})
    assert model.rank("you", ["a", "b"]) == ["a", "b"]
    assert model.tables["sums"].data.sum() < counts.sum()
    model.learn_one("me", "a", True)
    assert "a" in model.rank("me", ["a", "new"])[:1]


def test_what_is_no_id_is_refused():
    with pytest.raises(InvalidEvent, match="1 to 256 bytes"):
        BlendRanker(SETTINGS).learn_one("u", "x" * 257, True)
    with pytest.raises(InvalidEvent, match="timestamp"):
        BlendRanker(SETTINGS).learn_one("u", "x", True, {"timestamp": float("nan")})


def test_parameters_are_rivers():
    model = BlendRanker(SMALL, seed=5)
    assert model.clone()._get_params() == model._get_params() == {"settings": SMALL, "seed": 5}
