"""An open shard: portions of records, lag by topic-partition, and what is left after a restart."""

from __future__ import annotations

import pytest
from faust.types import TP

from stream.ingest.records import Record
from stream.kafka.fetch import Fetch, Position
from stream.runner.open_shard import BATCH_RECORDS, RECORDS_BETWEEN_PARTS, OpenShard, StartOffset, merge_from
from stream.shard.isolation import Isolation
from stream.shard.shard import Shard
from stream.versions import Claim
from tests.stream.runner.conftest import ASSIGNMENT, CLICKS, FEEDBACK, PURCHASES, SETTINGS, click

STARTS = {CLICKS: StartOffset(100, 100), PURCHASES: StartOffset(0, 0), FEEDBACK: StartOffset(0, 0)}


@pytest.fixture
def opened() -> OpenShard:
    return OpenShard(
        assignment=ASSIGNMENT,
        claim=Claim(3, 1, "token", "worker 1", "first", None, new_lineage=False, next_seq=1),
        shard=Shard(SETTINGS.model, partition=3, shards=8),
        merge=merge_from(STARTS),
        start_offsets={tp: start.offset for tp, start in STARTS.items()},
        sessions=dict.fromkeys(STARTS, 1),
        published={},
    )


def fetch(count: int, *, since: int = 100, session: int = 1, tp: TP = CLICKS, end: int | None = None) -> Fetch:
    records = [Record("clicks", since + n, 1_700_000_000_000 + n, click(n)) for n in range(count)]
    return Fetch(tp, session, since, records, since + count, since + count if end is None else end)


def test_a_batch_is_smaller_between_the_parts_of_a_checkpoint(opened: OpenShard) -> None:
    assert opened.deliver(fetch(BATCH_RECORDS + RECORDS_BETWEEN_PARTS))
    assert len(opened.take_records(1_000_000, Isolation())) == BATCH_RECORDS
    opened.parts.append({})
    assert len(opened.take_records(1_000_000, Isolation())) == RECORDS_BETWEEN_PARTS


def test_no_records_are_taken_while_too_many_are_in_no_version(opened: OpenShard) -> None:
    opened.deliver(fetch(10))
    opened.unpublished = 5
    assert opened.take_records(5, Isolation()) == []
    assert len(opened.take_records(6, Isolation())) == 10


def test_a_topic_has_room_until_its_buffer_is_full(opened: OpenShard) -> None:
    opened.deliver(fetch(19_999))
    assert opened.has_room(CLICKS)
    opened.deliver(fetch(1, since=20_099))
    assert not opened.has_room(CLICKS)
    assert opened.has_room(PURCHASES)


def test_lag_counts_from_the_start_offset_and_then_from_what_is_learned(opened: OpenShard) -> None:
    opened.deliver(fetch(10, end=150))
    assert opened.lag() == {CLICKS: 50, PURCHASES: 0, FEEDBACK: 0}
    records = opened.take_records(1_000_000, Isolation())
    result = opened.shard.learn(opened.shard.decode(records), 0.0)
    opened.count_learned(len(records), result)
    assert opened.lag() == {CLICKS: 40, PURCHASES: 0, FEEDBACK: 0}
    assert opened.unpublished == 10


def test_what_is_left_out_on_purpose_gets_no_dead_letter(opened: OpenShard) -> None:
    values = [b'{"item": "tea", "user": "NULL"}', b"{", click(2)]
    records = [Record("clicks", 100 + n, 1_700_000_000_000, value) for n, value in enumerate(values)]
    result = opened.shard.learn(opened.shard.decode(records), 0.0)
    opened.count_learned(len(records), result)
    assert [each.record.offset for each in result.rejections] == [100, 101]
    assert [each.record.offset for each in opened.rejections] == [101]
    assert opened.shard.counters["clicks"]["unlearned:null_id"] == 1


def test_a_gap_closes_the_sessions_and_a_restart_opens_new_ones(opened: OpenShard) -> None:
    opened.unpublished = 7
    assert opened.deliver(fetch(5, since=103))
    assert opened.gap is not None
    assert not opened.deliver(fetch(5))
    starts = {**STARTS, CLICKS: StartOffset(100, 108)}
    opened.restart(ASSIGNMENT, starts, dict.fromkeys(STARTS, 2), {})
    assert opened.gap is None
    assert not opened.deliver(fetch(8)), "a fetch of the closed session"
    assert opened.deliver(fetch(8, session=2))
    assert len(opened.take_records(1_000_000, Isolation())) == 8
    assert opened.unpublished == 7, "what is learned stays"


def test_a_position_matters_only_if_others_were_held_up_by_it(opened: OpenShard) -> None:
    assert not opened.note_position(Position(PURCHASES, 1, 0, 0, 4))
    opened.deliver(fetch(3))
    assert opened.take_records(1_000_000, Isolation()) == [], "purchases have an end at 4"
    assert not opened.note_position(Position(PURCHASES, 9, 0, 4, 4)), "another session"
    assert opened.note_position(Position(PURCHASES, 1, 0, 4, None))
    assert len(opened.take_records(1_000_000, Isolation())) == 3


def test_a_marker_behind_the_last_learned_record_is_no_lag(opened: OpenShard) -> None:
    opened.deliver(fetch(3, end=104))
    opened.note_position(Position(CLICKS, 1, 103, 104, 104))  # offset 103 is a transaction's marker
    records = opened.take_records(100, Isolation())
    assert opened.lag()[CLICKS] == 4, "nothing is learned yet"
    opened.shard.apply(records[:2], rate=0.0)
    assert opened.lag()[CLICKS] == 2, "one record and the marker"
    opened.shard.apply(records[2:], rate=0.0)
    assert opened.lag()[CLICKS] == 0


def test_a_topic_of_aborted_records_alone_has_no_lag(opened: OpenShard) -> None:
    opened.note_position(Position(PURCHASES, 1, 0, 7, 7))
    assert opened.lag()[PURCHASES] == 0
