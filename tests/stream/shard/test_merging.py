"""Shards that were merged go on as one shard that learned everything: no event lost, none twice."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from stream.ingest.records import Record
from stream.models.kernels.row_pool import POOL_OWNERS, POOL_USED, run_row, run_rows
from stream.models.merging.merge import merged
from stream.models.model import Model
from stream.models.query import Query
from stream.models.schema import (
    COUNT,
    EVENT_IDS_SEEN,
    ITEMS_EVICTED,
    ITEMS_LIVE,
    PAIR_SLOTS,
    POOL_HISTORY,
    POOL_PAIRS,
    POOL_POSTINGS,
    RUNS,
    VISITORS_EVICTED,
    VISITORS_LIVE,
)
from stream.models.settings import ModelSettings
from stream.models.sources.pairs import first_set, set_of, sets_of
from stream.models.workspace.scoring_view import views_of
from stream.shard.logs import LogId
from stream.shard.merging import ShardToMerge, merged_readable, merged_shard, renamed
from stream.shard.shard import STATE_FORMAT, Shard, UnknownState
from tests.stream.restoring import tables_of

ROOMY = ModelSettings(max_items=300, max_visitors=400, max_sessions=900, max_event_ids=4096)
SHARDS = 3
START = 1_700_000_000
SEED = 11


def record(offset: int, seconds: int, **event: Any) -> Record:
    return Record("clicks", offset, 1000 * seconds, json.dumps({"timestamp": seconds, **event}).encode())


def clicks(count: int, shard: int, *, seed: int = SEED, items: int = 90, users: int = 60) -> list[Record]:
    """Clicks of visitors that only this shard has, on items that all shards have."""
    draw = np.random.default_rng([seed, shard])
    return [
        record(
            number,
            START + 40 * number + shard,
            item=f"item {int(items * draw.random() ** 2)} with a name that is longer than one cell",
            user=f"user {shard} {int(users * draw.random() ** 2)}",
            event_id=f"event {shard} {number}",
        )
        for number in range(count)
    ]


def side_by_side(count: int) -> list[Record]:
    """Clicks of all shards in the order in which they happened."""
    return [
        each for at_once in zip(*(clicks(count, shard) for shard in range(SHARDS)), strict=True) for each in at_once
    ]


def shard_of(records: Sequence[Record], settings: ModelSettings, *, shard: int = 0, rate: float = 1.0) -> Shard:
    learned = Shard(settings, partition=shard, shards=SHARDS)
    learned.logs.bind("clicks", LogId("cluster", "topic", "shop-clicks", shard), end=len(records))
    learn(learned, records, rate=rate)
    return learned


def learn(shard: Shard, records: Sequence[Record], *, rate: float = 1.0) -> None:
    for first in range(0, len(records), 100):
        shard.apply(records[first : first + 100], rate=rate)


def merge(shards: Sequence[Shard], settings: ModelSettings) -> Shard:
    states = {number: ShardToMerge(each.tables, each.readable_state()) for number, each in enumerate(shards)}
    return merged_shard(settings, states, shard=0, shards=1)


@pytest.fixture(scope="module")
def shards() -> list[Shard]:
    print(f"seed {SEED}")
    return [shard_of(clicks(400, shard), ROOMY, shard=shard) for shard in range(SHARDS)]


@pytest.fixture(scope="module")
def one(shards: list[Shard]) -> Shard:
    return merge(shards, ROOMY)


def names_of(shard: Shard) -> dict[int, int]:
    """Key by item row."""
    return {row: int(key) for row, key in enumerate(shard.tables["items"].data["key0"]) if key}


def pairs_of(shard: Shard) -> dict[tuple[int, int], float]:
    """Counts by pair of keys; every pair is where learning looks for it."""
    keys, tables, found = names_of(shard), shard.tables, {}
    for row, key in keys.items():
        pointer = tables["items"].data["pairs"][row]
        if not pointer:
            continue
        sets = tables["pairs"].data[first_set(pointer) : first_set(pointer) + sets_of(pointer)]
        for number, slots in enumerate(sets):
            for slot in slots[slots["other"] != 0]:
                other = int(slot["other"])
                assert int(set_of(other, len(sets))) == number
                assert (key, keys[other]) not in found
                found[key, keys[other]] = float(slot["together"])
    return found


def histories_of(shard: Shard) -> dict[int, list[tuple[int, int]]]:
    """Events of each visitor, oldest first, as (item key, seconds)."""
    keys, found = names_of(shard), {}
    for visitor in shard.tables["visitors"].data:
        if visitor["key0"]:
            first, length = run_row(visitor["history"]), 8 * run_rows(visitor["history"])
            ring = shard.tables["history"].data[first : first + length // 8].reshape(-1)
            written = int(visitor["entries"])
            places = [number % length for number in range(max(0, written - length), written)]
            found[int(visitor["key0"])] = [(keys[int(ring[at]["item"])], int(ring[at]["seconds"])) for at in places]
    return found


def check_structure(shard: Shard) -> None:
    """Runs don't overlap, pools count what they gave away, and nothing points at a row that isn't in use."""
    tables, scalars = shard.tables, shard.tables["scalars"].data[0]
    live = set(names_of(shard))
    assert scalars[ITEMS_LIVE] == len(live)
    assert scalars[VISITORS_LIVE] == np.count_nonzero(tables["visitors"].data["key0"])
    for owner, name, base, pointing in (
        ("items", "pairs", POOL_PAIRS, "other"),
        ("items", "postings", POOL_POSTINGS, None),
        ("visitors", "history", POOL_HISTORY, "item"),
    ):
        pointers = tables[owner].data[name]
        pointers = pointers[pointers != 0]
        rows = [row for each in pointers for row in range(int(run_row(each)), int(run_row(each) + run_rows(each)))]
        assert len(rows) == len(set(rows)), f"runs of {name} overlap"
        assert scalars[base + POOL_OWNERS] == len(pointers)
        assert not rows or max(rows) < scalars[base + POOL_USED] <= len(tables[name].data)
        if pointing and rows:
            pool = tables[name].data.reshape(-1, PAIR_SLOTS) if name == "pairs" else tables[name].data
            assert set(np.unique(pool[rows][pointing]).tolist()) - {0} <= live
    for name in ("session_items", "reservoir", "top"):
        assert set(np.unique(tables[name].data).tolist()) - {0} <= live
    for name, table in tables.items():
        for column in table.data.dtype.names or [None]:
            values = table.data if column is None else table.data[column]
            assert values.dtype.kind != "f" or np.isfinite(values).all(), name


def test_every_origin_has_the_name_that_the_new_shard_calls_it() -> None:
    assert [renamed("clicks", shard, 0) for shard in range(3)] == ["clicks", "clicks/1", "clicks/2"]
    assert renamed("feedback#2", 3, 1) == "feedback/3#2"
    assert renamed("clicks/4", 0, 4) == "clicks"


def test_offsets_and_counters_of_all_shards_are_in_the_merge(shards: list[Shard], one: Shard) -> None:
    state = one.readable_state()
    assert state["offsets"] == {"clicks": 400, "clicks/1": 400, "clicks/2": 400}
    assert {origin: entries[-1]["partition"] for origin, entries in state["logs"].items()} == {
        "clicks": 0,
        "clicks/1": 1,
        "clicks/2": 2,
    }
    learned = [counts["learned"] for counts in state["counters"].values()]
    assert sum(learned) == sum(each.counters["clicks"]["learned"] for each in shards)
    assert (state["shards"], state["partition"]) == (1, 0)
    assert state["metrics"]["tests"] == sum(each.readable_state()["metrics"]["tests"] for each in shards)


def test_a_state_of_release_0_1_knows_offsets_alone() -> None:
    old = {"offsets": {"clicks": 7}, "counters": {"clicks": {"read": 7, "learned": 7}}}
    state = merged_readable({0: old, 1: old}, 0)
    assert state["offsets"] == {"clicks": 7, "clicks/1": 7}
    assert {origin: entries[0]["offset"] for origin, entries in state["logs"].items()} == {"clicks": 7, "clicks/1": 7}


def test_a_state_of_a_later_release_is_refused() -> None:
    with pytest.raises(UnknownState, match="the state of shard 1 has format 3"):
        merged_readable({1: {"format": STATE_FORMAT + 1}}, 0)


def test_events_of_all_shards_are_known_and_none_counts_twice(shards: list[Shard]) -> None:
    one = merge(shards, ROOMY)
    again = [each._replace(offset=400 + number) for number, each in enumerate(side_by_side(400))]
    learn(one, again, rate=0.0)
    assert one.counters["clicks"]["duplicates"] == len(again)
    assert one.tables["scalars"].data[0, EVENT_IDS_SEEN] == len(again)


def test_the_merge_is_whole_and_the_same_each_time(shards: list[Shard], one: Shard) -> None:
    check_structure(one)
    assert merge(shards, ROOMY).tables == one.tables


def test_lists_are_those_that_servers_gave_from_the_shards(shards: list[Shard], one: Shard) -> None:
    tables = merged(ROOMY, {number: views_of(each.tables) for number, each in enumerate(shards)})
    for name in ("linear", "network", "challenger"):
        assert np.array_equal(one.tables[name].data, tables[name].data), "the rankers are the very ones"
    before = Model(ROOMY, views_of(tables))
    after = one.model()
    assert after.popular(50) == before.popular(50)
    users = [f"user {shard} {number}" for shard in range(SHARDS) for number in range(60)]
    ours, theirs = ([model.recommend(Query(user=user, n=10)) for user in users] for model in (after, before))
    assert [each.fallback for each in ours] == [each.fallback for each in theirs]
    # Pairs lie in another order, so candidates with equal counts may change places, and rank features with them.
    same = [len(set(a.items) & set(b.items)) / max(1, len(b.items)) for a, b in zip(ours, theirs, strict=True)]
    assert np.mean(same) > 0.999
    for a, b in zip(ours, theirs, strict=True):
        assert a.scores == pytest.approx(b.scores, rel=0.01, abs=0.01)


def test_a_merge_that_goes_on_has_the_counts_of_one_shard_that_learned_everything(shards: list[Shard]) -> None:
    half = [shard_of(clicks(400, shard)[:200], ROOMY, shard=shard, rate=0.0) for shard in range(SHARDS)]
    merging = merge(half, ROOMY)
    together = Shard(ROOMY)
    everything = [each._replace(offset=number) for number, each in enumerate(side_by_side(400))]
    learn(together, everything, rate=0.0)
    learn(merging, everything[600:], rate=0.0)  # the offsets of the others are behind it
    check_structure(merging)
    assert histories_of(merging) == histories_of(together)
    ours, theirs = pairs_of(merging), pairs_of(together)
    assert ours.keys() == theirs.keys()
    assert list(ours.values()) == pytest.approx([theirs[pair] for pair in ours], rel=1e-5)
    counts = [
        {key: each.tables["sums"].data[row, COUNT] for row, key in names_of(each).items()}
        for each in (merging, together)
    ]
    assert counts[0] == pytest.approx(counts[1])
    assert merging.model().popular(90).items == together.model().popular(90).items


def test_a_restored_merge_goes_on_bit_for_bit(one: Shard) -> None:
    more = [each._replace(offset=each.offset + 400) for each in clicks(300, 0, seed=SEED + 1)]
    runs = []
    for _ in range(2):
        tables = tables_of(ROOMY, one.tables.snapshot())
        restored = Shard.restore(ROOMY, tables, one.readable_state())
        learn(restored, more)
        runs.append(restored)
    check_structure(runs[0])
    assert runs[0].tables == runs[1].tables
    assert runs[0].readable_state() == runs[1].readable_state()


def test_the_weakest_rows_stay_behind_if_the_shards_have_too_many() -> None:
    tight = ModelSettings(max_items=64, max_visitors=64, max_sessions=64, max_event_ids=64)
    full = [shard_of(clicks(500, shard, items=64 + 300 * shard), tight, shard=shard) for shard in range(SHARDS)]
    one = merge(full, tight)
    check_structure(one)
    scalars = one.tables["scalars"].data[0]
    assert (scalars[ITEMS_LIVE], scalars[VISITORS_LIVE]) == (64, 64)
    evicted = [sum(each.tables["scalars"].data[0, cell] for each in full) for cell in (ITEMS_EVICTED, VISITORS_EVICTED)]
    assert scalars[ITEMS_EVICTED] > evicted[0]
    assert scalars[VISITORS_EVICTED] > evicted[1]
    best = {each.model().popular(1).items[0] for each in full}
    assert best <= set(one.model().popular(64).items)
    newest = max(int(each.tables["visitors"].data["last_seconds"].max()) for each in full)
    assert int(one.tables["visitors"].data["last_seconds"].max()) == newest
    learn(one, [each._replace(offset=each.offset + 500) for each in clicks(500, 0, seed=SEED + 2, items=500)])
    pairs_of(one)
    assert scalars[ITEMS_LIVE] <= 64


def test_an_item_with_more_pairs_than_its_sets_hold_keeps_the_strongest() -> None:
    settings = ModelSettings(max_items=1500, max_visitors=2000, max_sessions=2000, max_event_ids=64)

    def hub(shard: int) -> list[Record]:
        """Visitors of one hub item, each with one other item; the first ones come three times."""
        others = [
            number for number in range(500 * shard, 500 * shard + 400) for _ in range(3 if number % 100 < 4 else 1)
        ]
        return [
            record(
                2 * at + step, START + 40 * at + step, user=f"u{shard} {at}", item="hub" if step else f"other {number}"
            )
            for at, number in enumerate(others)
            for step in range(2)
        ]

    one = merge([shard_of(hub(shard), settings, shard=shard, rate=0.0) for shard in range(2)], settings)
    check_structure(one)
    keys, pairs = names_of(one), pairs_of(one)
    strong = [pair for pair, together in pairs.items() if together >= 3]
    hub_row = max(keys, key=lambda row: one.tables["sums"].data[row, COUNT])
    of_hub = [pair for pair in pairs if pair[0] == keys[hub_row]]
    assert 150 < len(of_hub) <= PAIR_SLOTS * RUNS[-1]
    assert len([pair for pair in strong if pair[0] == keys[hub_row]]) == 32
