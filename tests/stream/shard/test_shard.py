"""A shard: counters add up, repeats and records in the state are skipped, a restored shard continues bit for bit."""

import json
from typing import Any

import numpy as np
import pytest

from stream.events import TOPIC_TYPES
from stream.ingest.decoding import Decoder
from stream.ingest.merge import journaled_batches
from stream.ingest.records import Record
from stream.models.query import Query
from stream.models.settings import ModelSettings
from stream.shard.shard import LearnResult, Shard
from stream.state.journal import Journal
from stream.state.tables import fold
from tests.stream.restoring import tables_of

SMALL = ModelSettings(max_items=200, max_visitors=300, max_sessions=128, max_event_ids=512)


def click(offset: int, item: str, user: str, *, seconds: float = 1_700_000_000.0, **more) -> Record:
    value = {"item": item, "user": user, "timestamp": seconds, **more}
    return Record("clicks", offset, int(seconds * 1000), json.dumps(value).encode())


def stream_of(count: int, *, seed: int = 0, items: int = 400, users: int = 500) -> list[Record]:
    """More items and visitors than `SMALL` holds, so that rows are evicted."""
    draw = np.random.default_rng(seed)
    offsets = dict.fromkeys(("clicks", "purchases", "feedback"), 0)
    records = []
    for number in range(count):
        topic = str(draw.choice(["clicks", "purchases", "feedback"], p=[0.8, 0.1, 0.1]))
        seconds = 1_700_000_000.0 + number * 7 - float(draw.integers(0, 3000))
        value = {
            "item": f"item {int(items * draw.random() ** 2)} {'long ' * int(draw.integers(0, 12))}".strip(),
            "user": f"user {int(users * draw.random() ** 2)}",
            "event_id": f"event {draw.integers(0, count * 3)}",
            "timestamp": seconds,
        }
        if draw.random() < 0.3:
            value["session"] = f"session {draw.integers(0, 300)}"
        if topic == "feedback":
            kind = str(draw.choice(["view", "like", "dislike", "rating", "return", "custom"]))
            value |= {"kind": kind} | ({"value": float(draw.integers(1, 6))} if kind == "rating" else {})
        if draw.random() < 0.02:
            del value["item"]
        records.append(Record(topic, offsets[topic], 1_700_000_000_000 + number * 7000, json.dumps(value).encode()))
        offsets[topic] += 1
    return records


def test_every_record_is_counted_once_and_bad_ones_are_returned_with_the_reason():
    good = click(0, "a", "u", event_id="once")
    records = [
        good,
        good._replace(offset=1),
        good._replace(offset=2, value=b"{"),
        good._replace(offset=3, value=None),
        good._replace(offset=4, value=b'{"item": "a"}'),
        good._replace(offset=5, value=b'{"item": "", "user": "u"}'),
        good._replace(offset=6, value=b'{"item": "a\\u0000b", "user": "u"}'),
        good._replace(offset=7, value=b'{"item": "a", "user": "u", "timestamp": 5e9}'),
        good._replace(offset=8, value=b'{"item": "a", "user": "u", "timestamp": 1700000301}'),
        good._replace(offset=9, value=b'{"item": "\xff", "user": "u"}'),
        good._replace(offset=10, value=b'{"item": "' + b"x" * 10_000_000 + b'", "user": "u"}'),
        good._replace(offset=11, value=b'{"item": 7, "user": 8}'),
    ]
    shard = Shard(SMALL)
    rejections = shard.apply(records, rate=1.0)
    assert [rejection.record.offset for rejection in rejections] == [2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert [rejection.record.offset for rejection in rejections if rejection.refused] == [8]
    assert all(rejection.reason for rejection in rejections)
    assert shard.counters["clicks"] == {"read": 12, "learned": 2, "duplicates": 1, "refused": 1, "dead_letters": 8}
    assert shard.offsets == {"clicks": 12}


def test_records_in_the_state_are_skipped_and_not_counted():
    records = stream_of(200)
    once, twice = Shard(SMALL), Shard(SMALL)
    once.apply(records, rate=1.0)
    twice.apply(records, rate=1.0)
    twice.apply(records[50:], rate=1.0)
    assert twice.tables == once.tables
    assert twice.counters == once.counters


def test_batches_may_be_decoded_before_those_ahead_of_them_are_learned():
    records = [*stream_of(600), Record("clicks", 600, 1_000_600_000, b"no event")]
    one_by_one, ahead = Shard(SMALL), Shard(SMALL)
    batches = [records[start : start + 100] for start in range(0, len(records), 100)]
    rejections = [one_by_one.apply(batch, rate=0.5) for batch in batches]
    assert [
        ahead.learn(batch, rate=0.5).rejections for batch in [ahead.decode(batch) for batch in batches]
    ] == rejections
    assert ahead.tables == one_by_one.tables
    assert ahead.readable_state() == one_by_one.readable_state()


@pytest.mark.parametrize("repeats", ["all", "first"])
@pytest.mark.parametrize("seed", range(3))
def test_a_restored_shard_continues_bit_for_bit_from_any_checkpoint(seed, repeats):
    settings = SMALL.model_copy(update={"repeats": repeats, "seed": seed})
    records = stream_of(6000, seed=seed)
    draw = np.random.default_rng(seed)
    whole, broken = Shard(settings), Shard(settings)
    folded, state = {}, None
    for start in range(0, len(records), 250):
        batch = records[start : start + 250]
        whole.apply(batch, rate=0.5)
        broken.apply(batch, rate=0.5)
        if draw.random() < 0.5:
            checkpoint = broken.checkpoint()
            folded, state = fold(folded, checkpoint.delta), checkpoint.state
            if draw.random() < 0.5:
                broken = Shard.restore(settings, tables_of(settings, folded), json.loads(json.dumps(state)))
    assert broken.tables == whole.tables
    assert broken.readable_state() == whole.readable_state()
    for topic, counts in whole.counters.items():
        parts = counts["learned"] + counts["duplicates"] + counts["refused"] + counts["dead_letters"]
        assert counts["read"] == parts > 0, topic


def test_the_deltas_of_all_checkpoints_make_the_keyframe():
    shard = Shard(SMALL)
    folded: dict = {}
    records = stream_of(3000)
    for start in range(0, len(records), 500):
        shard.apply(records[start : start + 500], rate=0.2)
        folded = fold(folded, shard.checkpoint().delta)
    restored = Shard.restore(SMALL, tables_of(SMALL, folded), shard.readable_state())
    assert restored.tables == shard.tables
    keyframe = Shard.restore(SMALL, tables_of(SMALL, shard.snapshot().delta), shard.readable_state())
    assert keyframe.tables == shard.tables


def test_a_journal_has_a_row_for_each_batch():
    shard = Shard(SMALL)
    shard.apply(stream_of(10), rate=0.25)
    shard.apply([click(100, "a", "u")], rate=1.0)
    journal = shard.checkpoint().journal
    assert journal.rates.tolist() == [0.25, 1.0]
    assert journal.offsets[-1].tolist()[journal.keys.index("clicks")] == 101
    assert shard.checkpoint().journal.batches == 0


def test_an_unknown_visitor_gets_a_list_of_trending_items():
    shard = Shard(SMALL)
    assert shard.model().recommend(Query(user="unknown")).items == []
    shard.apply([click(n, f"i{n % 3}", f"u{n}") for n in range(9)], rate=0.0)
    ranking = shard.model().recommend(Query(user="unknown", n=3))
    assert sorted(ranking.items) == ["i0", "i1", "i2"]
    assert ranking.fallback is not None


def test_an_erased_visitor_is_a_stranger_and_leaves_no_key_behind():
    shard, never = Shard(SMALL), Shard(SMALL)
    crowd = [click(n, f"i{n % 5}", f"u{n % 11}", seconds=1_700_000_000.0 + n) for n in range(60)]
    mine = [click(60 + n, f"i{n}", "me", seconds=1_700_000_100.0 + n) for n in range(4)]
    shard.apply([*crowd, *mine], rate=0.0)
    never.apply(crowd, rate=0.0)
    assert shard.model().recommend(Query(user="me")).fallback is None
    before = shard.counters
    assert shard.erase(["me", "a stranger"]) == 2  # as a visitor and as a session
    assert shard.counters == before
    assert shard.model().recommend(Query(user="me")).fallback == "trending"
    for name in ("visitors", "sessions"):
        assert set(shard.tables[name].data["key0"].tolist()) == set(never.tables[name].data["key0"].tolist())
    restored = Shard.restore(SMALL, tables_of(SMALL, shard.snapshot().delta), shard.readable_state())
    more = [click(70 + n, f"i{n % 6}", f"u{n % 3}", seconds=1_700_000_200.0 + n) for n in range(40)]
    for each in (shard, restored):
        each.apply([*more, click(120, "i1", "me", seconds=1_700_000_300.0)], rate=1.0)
    assert restored.tables == shard.tables


def test_a_checkpoint_in_parts_with_learning_in_between_is_the_state_of_its_last_moment():
    shard = Shard(SMALL)
    records = stream_of(2000)
    folded = {}
    for start in range(0, len(records), 100):
        shard.apply(records[start : start + 100], rate=0.2)
        part = shard.next_part(150)
        assert isinstance(part, dict), "there was more to take"
        folded = fold(folded, part)
    while isinstance(part := shard.next_part(150), dict):
        folded = fold(folded, part)
    again = Shard.restore(SMALL, tables_of(SMALL, fold(folded, part.delta)), part.state)
    assert again.tables == shard.tables
    assert part.state["offsets"] == shard.offsets
    assert part.journal.batches == 20


def test_a_batch_returns_the_counts_that_it_adds_to_the_counters():
    shard = Shard(SMALL)
    records = stream_of(300)
    first = shard.learn(shard.decode(records[:200]), rate=0.5)
    before = shard.readable_state()["counters"]
    second = shard.learn(shard.decode(records[100:]), rate=0.5)  # half of it is in the state already
    assert sum(counts["read"] for counts in first.counts.values()) == 200
    assert sum(counts["read"] for counts in second.counts.values()) == 100
    for topic, after in shard.counters.items():
        added = {outcome: count - before[topic][outcome] for outcome, count in after.items()}
        assert added == second.counts.get(topic, dict.fromkeys(after, 0))
    assert len(second.rejections) == sum(
        counts["refused"] + counts["dead_letters"] for counts in second.counts.values()
    )
    assert shard.learn(shard.decode(records), rate=0.5) == LearnResult([], {}, {})
    assert shard.checkpoint().journal.batches == 2, "a batch without new records is in no journal"


def test_a_click_and_a_purchase_may_have_the_same_event_id() -> None:
    shard = Shard(SMALL)
    event = b'{"item": "teapot", "user": "ada", "event_id": "order 7", "kind": "view"}'
    for topic in TOPIC_TYPES:
        shard.apply([Record(topic, offset, 1_000_000 + offset, event) for offset in range(3)], rate=0.0)
    outcomes = {topic: (counts["learned"], counts["duplicates"]) for topic, counts in shard.counters.items()}
    assert outcomes == dict.fromkeys(TOPIC_TYPES, (1, 2))


def test_a_replay_rejects_what_was_isolated_although_nothing_fails_on_it_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    records = [click(n, f"i{n % 5}", f"u{n % 7}") for n in range(300)]
    records[250] = Record("clicks", 250, 1_700_000_000_000, b"{")
    columns = Decoder._kinds

    def fails_on_two(decoder: Decoder, events: Any, found: Any, bad: Any) -> Any:
        if {100, 299} & {record.offset for record in found}:
            raise ZeroDivisionError("a bug that a later release mends")
        return columns(decoder, events, found, bad)

    live = Shard(SMALL)
    with monkeypatch.context() as patched:
        patched.setattr(Decoder, "_kinds", fails_on_two)
        for start in (0, 150):
            live.apply(records[start : start + 150], rate=0.5)
    journal = Journal.decode(live.checkpoint().journal.encode())
    assert journal.isolated == {"clicks": [100, 299]}
    assert live.counters["clicks"] == {"read": 300, "learned": 297, "duplicates": 0, "refused": 0, "dead_letters": 3}

    replayed = Shard(SMALL)
    for batch in journaled_batches(journal, {"clicks": records}):
        replayed.apply(*batch)
    assert replayed.tables == live.tables
    assert replayed.readable_state() == live.readable_state()
    assert replayed.checkpoint().journal == journal


WINDOW = 64
FEW_IDS = ModelSettings(max_items=64, max_visitors=64, max_sessions=64, max_event_ids=WINDOW)


def clicks_with(event_ids: list[str], first_offset: int) -> list[Record]:
    """Clicks of one visitor, a millisecond after each other, with these ids."""
    return [
        click(offset, "a", "u", seconds=1_700_000_000 + offset / 1000, event_id=event_id)
        for offset, event_id in enumerate(event_ids, first_offset)
    ]


def test_a_repeated_event_counts_once_while_its_id_is_among_the_newest() -> None:
    shard = Shard(FEW_IDS)
    shard.apply(clicks_with(["first"], 0), rate=0.0)
    for number in range(WINDOW // 2):
        shard.apply(clicks_with([f"other {number}", "first"], 1 + 2 * number), rate=0.0)
    counts = shard.counters["clicks"]
    assert (counts["learned"], counts["duplicates"]) == (1 + WINDOW // 2, WINDOW // 2)


def test_a_repeated_event_counts_again_once_its_id_has_left_the_window() -> None:
    shard = Shard(FEW_IDS)
    shard.apply(clicks_with(["first"], 0), rate=0.0)
    shard.apply(clicks_with([f"other {number}" for number in range(20 * WINDOW)], 1), rate=0.0)
    shard.apply(clicks_with(["first"], 1 + 20 * WINDOW), rate=0.0)
    assert shard.counters["clicks"]["duplicates"] == 0
    assert shard.counters["clicks"]["learned"] == 2 + 20 * WINDOW
