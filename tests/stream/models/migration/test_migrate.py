"""Migration of a shard's state: larger tables are those that would have been, and answers stay bit for bit."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from stream.ingest.records import Record
from stream.models.query import Query
from stream.models.schema import EVENT_IDS_SEEN, ITEMS_EVICTED, POOL_POSTINGS, SESSIONS_BEGUN, VISITORS_EVICTED
from stream.models.settings import CAPACITIES, ModelSettings
from stream.shard.shard import Shard, UnknownState
from stream.state.tables import differing_tables
from tests.stream.restoring import tables_of

SMALL = ModelSettings(
    max_items=64, max_visitors=128, max_sessions=128, max_event_ids=256, max_kept_visitors=128, max_kept_items=16
)
LARGE = ModelSettings(
    max_items=200, max_visitors=640, max_sessions=500, max_event_ids=3000, max_kept_visitors=640, max_kept_items=40
)
START = 1_700_000_000
SEEDS = [1, 2]


def records(seed: int, first: int, last: int, *, items: int = 40, visitors: int = 60) -> list[Record]:
    """Events of some visitors, who come back in new sessions, with ids that are repeated now and then."""
    draw, made = np.random.default_rng(seed), []
    for number in range(last):
        event = {
            "item": f"item {int(items * draw.random() ** 2)}",
            "user": f"visitor {int(draw.integers(visitors))}",
            "event_id": f"event {number - int(draw.random() < 0.1)}",
            "timestamp": START + 90 * number,
        }
        if draw.random() < 0.7:
            event["session"] = f"session {number // 5 % (2 * visitors)}"
        made.append(Record("clicks", number, 1000 * event["timestamp"], json.dumps(event).encode()))
    return made[first:]


def learned(settings: ModelSettings, events: list[Record]) -> Shard:
    shard = Shard(settings)
    for at in range(0, len(events), 100):
        shard.apply(events[at : at + 100], rate=0.5)
    return shard


def restored(shard: Shard, settings: ModelSettings) -> Shard:
    """The shard that goes on from this one's state with these settings."""
    snapshot = shard.snapshot()
    return Shard.restore(settings, tables_of(shard.settings, snapshot.delta), snapshot.state)


def answers(shard: Shard, visitors: int = 60) -> list[Any]:
    model = shard.model()
    asked = [Query(user=f"visitor {number}", n=20) for number in range(visitors)]
    asked += [Query(user=f"visitor {number}", session=f"session {number}", n=20) for number in range(0, visitors, 3)]
    asked += [Query(session=f"session {number}", n=20) for number in range(0, visitors, 5)]
    asked += [Query(n=20, recent=[f"item {number}"]) for number in range(20)]
    return [model.recommend(query) for query in asked] + [model.popular(50)]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("repeats", ["all", "first"])
@pytest.mark.parametrize("name", [*CAPACITIES, "all"])
def test_a_grown_shard_is_the_one_that_had_the_larger_capacity_from_the_beginning(name, repeats, seed):
    """Nothing was evicted or forgotten yet, so there is exactly one right state."""
    print(f"{seed=}")
    small = SMALL.model_copy(update={"repeats": repeats})
    large = small.model_copy(update={each: getattr(LARGE, each) for each in (CAPACITIES if name == "all" else [name])})
    events = records(seed, 0, 240)
    shard, twin = learned(small, events), learned(large, events)
    scalars = shard.tables["scalars"].data[0]
    assert scalars[SESSIONS_BEGUN] < small.max_sessions
    assert scalars[EVENT_IDS_SEEN] < small.max_event_ids
    assert scalars[[ITEMS_EVICTED, VISITORS_EVICTED]].tolist() == [0, 0]
    grown = restored(shard, large)
    assert list(differing_tables(grown.tables, twin.tables)) == []
    assert grown.readable_state() == twin.readable_state()
    for each in (grown, twin):
        each.apply(records(seed, 240, 500), rate=0.5)
    assert list(differing_tables(grown.tables, twin.tables)) == []
    assert answers(grown) == answers(twin)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("repeats", ["all", "first"])
def test_a_shard_that_has_evicted_and_forgotten_answers_bit_for_bit_as_before(repeats, seed):
    print(f"{seed=}")
    small = SMALL.model_copy(update={"repeats": repeats})
    shard = learned(small, records(seed, 0, 2500, items=300, visitors=400))
    scalars = shard.tables["scalars"].data[0]
    assert scalars[SESSIONS_BEGUN] > 2 * small.max_sessions, "the ring of sessions has turned"
    assert scalars[EVENT_IDS_SEEN] > 2 * small.max_event_ids
    assert (scalars[[ITEMS_EVICTED, VISITORS_EVICTED]] > 0).all()
    grown = restored(shard, LARGE.model_copy(update={"repeats": repeats}))
    assert answers(grown, 400) == answers(shard, 400)
    assert grown.migration.grown == {name: (getattr(SMALL, name), getattr(LARGE, name)) for name in CAPACITIES}


def test_sessions_that_the_smaller_ring_had_forgotten_are_in_no_list():
    """Free runs of the pool have a pointer where a list has its first word; it stays."""
    shard = learned(SMALL, records(3, 0, 2500, items=300, visitors=400))
    free = shard.tables["scalars"].data[0, POOL_POSTINGS + 1]
    assert free > 0, "a run was given back"
    grown = restored(shard, LARGE)
    assert grown.tables["postings"].data[int(free), 0] == shard.tables["postings"].data[int(free), 0]
    begun = int(grown.tables["scalars"].data[0, SESSIONS_BEGUN])
    listed = [
        int(word)
        for item in grown.tables["items"].data
        if item["postings"]
        for row in range(int(item["postings"]) & 0x3FFFFFFF, (int(item["postings"]) & 0x3FFFFFFF) + 1)
        for word in grown.tables["postings"].data[row]
        if word
    ]
    assert listed
    assert min(listed) > begun - SMALL.max_sessions


@pytest.mark.parametrize("repeats", ["all", "first"])
def test_event_ids_that_were_remembered_still_are(repeats):
    small = SMALL.model_copy(update={"repeats": repeats})
    events = records(4, 0, 2000)
    shard = learned(small, events)
    grown = restored(shard, LARGE.model_copy(update={"repeats": repeats}))
    again = [record._replace(offset=2000 + number) for number, record in enumerate(events[-200:])]
    grown.apply(again, rate=0.0)
    assert grown.counters["clicks"]["duplicates"] - shard.counters["clicks"]["duplicates"] == 200


def test_a_grown_shard_takes_more_items_than_fitted_before():
    shard = learned(SMALL, records(5, 0, 600, items=64))
    grown = restored(shard, LARGE)
    grown.apply(records(5, 600, 1500, items=150), rate=0.2)
    assert len(grown.model().popular(200).items) > SMALL.max_items


def test_the_first_checkpoint_of_a_grown_shard_is_whole_and_the_next_is_a_delta():
    grown = restored(learned(SMALL, records(6, 0, 500)), LARGE)
    first = grown.checkpoint()
    assert first.whole
    assert tables_of(LARGE, first.delta) == grown.tables
    grown.apply(records(6, 500, 520), rate=1.0)
    second = grown.checkpoint()
    assert not second.whole
    assert tables_of(LARGE, first.delta, second.delta) == grown.tables
    assert restored(grown, LARGE).checkpoint().whole is False


def test_parts_of_a_whole_checkpoint_with_learning_in_between_are_the_tables():
    grown = restored(learned(SMALL, records(7, 0, 500)), LARGE)
    parts = []
    while isinstance(part := grown.next_part(700), dict):
        parts.append(part)
        if len(parts) < 4:
            grown.apply(records(7, 500 + 5 * len(parts), 505 + 5 * len(parts)), rate=1.0)
    assert part.whole
    assert len(parts) > 3
    assert tables_of(LARGE, *parts, part.delta) == grown.tables


def test_capacities_can_grow_again():
    events = records(8, 0, 200)
    middle = LARGE.model_copy(update={"max_items": 100, "max_sessions": 300})
    twice = restored(restored(learned(SMALL, events), middle), LARGE)
    assert list(differing_tables(twice.tables, learned(LARGE, events).tables)) == []


@pytest.mark.parametrize("name", CAPACITIES)
def test_a_smaller_capacity_is_refused_by_name(name):
    shard = learned(LARGE, records(9, 0, 50))
    small = LARGE.model_copy(update={name: getattr(SMALL, name)})
    with pytest.raises(
        UnknownState, match=f"{name} is {getattr(SMALL, name)}, and would have to be {getattr(LARGE, name)} or more"
    ):
        restored(shard, small)


def test_a_state_that_says_nothing_of_its_capacities_has_those_of_its_version():
    events = records(10, 0, 200)
    snapshot = learned(SMALL, events).snapshot()
    state = {name: value for name, value in snapshot.state.items() if name != "layout"}
    tables = tables_of(SMALL, snapshot.delta)
    grown = Shard.restore(LARGE, tables, state, version_settings=SMALL.model_dump())
    assert list(differing_tables(grown.tables, learned(LARGE, events).tables)) == []
