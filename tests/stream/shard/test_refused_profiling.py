"""Visitors who refuse profiling in a document: their events are counted, and a replay decides as the live run did."""

from __future__ import annotations

import json

import numpy as np
import pytest

from stream.ingest.counted import NO_KEYS, NOBODY, Counted, keys_of
from stream.ingest.merge import journaled_batches
from stream.ingest.records import Record
from stream.models.event_codes import AGGREGATE, LEARN
from stream.models.settings import ModelSettings
from stream.shard.shard import Shard
from stream.state.journal import Journal, concatenate
from stream.state.tables import differing_tables
from tests.stream.restoring import tables_of

SETTINGS = ModelSettings(max_items=100, max_visitors=300, max_sessions=300, max_event_ids=512)
START = 1_700_000_000
USERS = [f"user {number}" for number in range(40)]


def log_of(seed: int, count: int = 900) -> list[Record]:
    """Clicks, purchases and feedback of users and sessions, some with a consent of their own."""
    draw = np.random.default_rng(seed)
    sent = {"clicks": 0, "purchases": 0, "feedback": 0}
    made = []
    for at in range(count):
        topic = str(draw.choice(list(sent), p=[0.7, 0.2, 0.1]))
        event = {"item": f"item {draw.integers(50)}", "timestamp": START + 10 * at, "session": f"s{draw.integers(30)}"}
        if draw.random() < 0.8:
            event["user"] = str(draw.choice(USERS))
        if topic == "feedback":
            event |= {"kind": str(draw.choice(["cart", "dislike", "rating"])), "value": int(draw.integers(1, 6))}
        if draw.random() < 0.2:
            event["consent"] = str(draw.choice(["aggregate", "none", "personal"]))
        made.append(Record(topic, sent[topic], 1000 * (START + 10 * at), json.dumps(event).encode()))
        sent[topic] += 1
    return made


def saying_so(record: Record, refusing: set[str]) -> Record:
    """The record as the HTTP intake would have written it."""
    event = json.loads(record.value)
    if event.get("user") in refusing and event.get("consent", "personal") == "personal":
        event["consent"] = "aggregate"
    return record._replace(value=json.dumps(event).encode())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_replay_by_the_journal_gives_the_same_tables_whatever_visitors_say_by_then(seed: int) -> None:
    """Documents change before every batch. A twin learns the same from events that say so themselves."""
    print(f"{seed=}")
    draw = np.random.default_rng(seed)
    records, journals = log_of(seed), list[Journal]()
    live, saying, deaf = (Shard(SETTINGS) for _ in range(3))
    for at in range(0, len(records), 90):
        batch = records[at : at + 90]
        refusing = set(draw.choice(USERS, 10, replace=False).tolist())
        live.apply(batch, 0.5, counted=Counted(keys_of(sorted(refusing), SETTINGS.visitor_salt)))
        saying.apply([saying_so(record, refusing) for record in batch], 0.5)
        deaf.apply(batch, 0.5)
        if draw.random() < 0.5:
            journals.append(Journal.decode(live.checkpoint().journal.encode()))
    journals.append(live.checkpoint().journal)
    assert list(differing_tables(live.tables, saying.tables)) == []
    assert "history" in differing_tables(live.tables, deaf.tables)
    journal = concatenate(journals)
    assert sum(map(len, journal.counted.values())) > 50
    logs = {topic: [record for record in records if record.origin == topic] for topic in journal.keys}
    replayed = Shard(SETTINGS)
    for each in journaled_batches(journal, logs):
        replayed.apply(*each)
    assert list(differing_tables(live.tables, replayed.tables)) == []
    assert live.readable_state() == replayed.readable_state()


def test_records_that_are_in_the_state_already_are_not_journaled_again() -> None:
    records = log_of(4, 200)
    counted = Counted(keys_of(USERS[:20], SETTINGS.visitor_salt))
    whole, twice = Shard(SETTINGS), Shard(SETTINGS)
    for shard in (whole, twice):
        shard.apply(records[:100], 0.0, counted=counted)
    before = twice.checkpoint()
    again = Shard.restore(SETTINGS, tables_of(SETTINGS, before.delta), before.state)
    again.apply(records[50:], 0.0, counted=counted)
    whole.apply(records[100:], 0.0, counted=counted)
    assert list(differing_tables(whole.tables, again.tables)) == []
    assert concatenate([before.journal, again.checkpoint().journal]).counted == whole.checkpoint().journal.counted


def test_without_anybody_who_refuses_the_journal_is_what_it_was() -> None:
    shard = Shard(SETTINGS)
    shard.apply(log_of(5, 100), 0.0, counted=Counted(keys_of(["nobody here"], SETTINGS.visitor_salt)))
    journal = shard.checkpoint().journal
    assert journal.counted == {}


def test_of_a_record_that_became_several_events_all_are_counted_only() -> None:
    shard = Shard(SETTINGS)
    records = [
        Record("clicks", at, 1000 * START, json.dumps({"item": "tea", "user": user}).encode())
        for at, user in enumerate(["ada", "bob", "eve"])
    ]
    batch = shard.decode(records)
    of_one = [records[0], records[1], records[1]]
    events, places = Counted(keys_of(["eve"], SETTINGS.visitor_salt)).applied_to(batch.events, of_one)
    assert events.learned.tolist() == [LEARN, AGGREGATE, AGGREGATE]
    assert places == {("clicks", 1)}
    again, same = Counted(places=places).applied_to(batch.events, of_one)
    assert again.learned.tolist() == events.learned.tolist()
    assert same == places


def test_a_session_of_the_same_name_is_another_visitor() -> None:
    shard = Shard(SETTINGS)
    record = Record("clicks", 0, 1000 * START, json.dumps({"item": "tea", "session": "ada"}).encode())
    batch = shard.decode([record], counted=Counted(keys_of(["ada"], SETTINGS.visitor_salt)))
    assert (batch.events.learned.tolist(), batch.counted) == ([LEARN], frozenset())


def test_nobody_changes_nothing() -> None:
    batch = Shard(SETTINGS).decode(log_of(6, 20))
    assert NOBODY.applied_to(batch.events, batch.event_records)[0] is batch.events
    assert keys_of([], "salt") is NO_KEYS
