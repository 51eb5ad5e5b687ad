"""Logs of a shard: a log is known by its identity, and one that was never learned begins at 0."""

from __future__ import annotations

import json

import pytest

from stream.ingest.records import Record
from stream.models.settings import ModelSettings
from stream.shard.logs import LogId, Logs
from stream.shard.shard import STATE_FORMAT, Shard, UnknownState
from tests.stream.restoring import tables_of

CLICKS = LogId("production", "id-1", "shop.clicks", 0)
AGAIN = CLICKS._replace(topic_id="id-2")
SMALL = ModelSettings(max_items=64, max_visitors=64, max_sessions=64, max_event_ids=64)


def learned_from(found: LogId, offset: int) -> Logs:
    logs = Logs()
    logs.bind("clicks", found, end=offset)
    logs.advance("clicks", offset)
    return logs


def test_the_same_log_goes_on_where_it_was() -> None:
    logs = learned_from(CLICKS, 10)
    assert not logs.bind("clicks", CLICKS, end=25)
    assert (logs.key("clicks"), logs.offset("clicks")) == ("clicks", 10)


def test_a_topic_that_was_created_again_is_learned_from_its_beginning() -> None:
    logs = learned_from(CLICKS, 10)
    assert logs.is_other("clicks", AGAIN, end=50)
    assert logs.bind("clicks", AGAIN, end=50)
    assert (logs.key("clicks"), logs.offset("clicks")) == ("clicks#2", 0)
    assert logs.offsets() == {"clicks": 10, "clicks#2": 0}


def test_a_topic_that_is_named_again_goes_on_where_it_was_left() -> None:
    other = LogId("production", "id-9", "shop.views", 0)
    logs = learned_from(CLICKS, 10)
    logs.bind("clicks", other, end=99)
    logs.advance("clicks", 4)
    assert logs.bind("clicks", CLICKS, end=30)
    assert (logs.key("clicks"), logs.offset("clicks")) == ("clicks", 10)
    assert logs.bind("clicks", other, end=99)
    assert (logs.key("clicks"), logs.offset("clicks")) == ("clicks#2", 4)


@pytest.mark.parametrize(("end", "another"), [(10, False), (11, False), (9, True), (0, True)])
def test_without_ids_a_log_that_is_too_short_is_another(end: int, another: bool) -> None:
    without = CLICKS._replace(topic_id="")
    assert learned_from(without, 10).bind("clicks", without, end=end) is another


def test_without_ids_another_name_is_another_log() -> None:
    without = CLICKS._replace(topic_id="")
    assert learned_from(without, 10).bind("clicks", without._replace(name="shop.views"), end=50)


@pytest.mark.parametrize(
    ("found", "another"),
    [("0:ab", False), ("0:cd", True), ("7:cd", False), ("", False)],
    ids=["the same", "another record", "a later record", "none"],
)
def test_without_ids_a_witness_tells_another_log(found: str, another: bool) -> None:
    without = CLICKS._replace(topic_id="", witness="0:ab")
    assert learned_from(without, 10).bind("clicks", without._replace(witness=found), end=50) is another


def test_a_witness_is_kept_until_there_is_another_one_and_it_is_part_of_the_state() -> None:
    logs = learned_from(CLICKS._replace(topic_id="", witness="0:ab"), 10)
    logs.bind("clicks", CLICKS._replace(topic_id=""), end=50)
    assert logs.id("clicks") == CLICKS._replace(topic_id="", witness="0:ab")
    logs.note_witness("clicks", "7:cd")
    state = json.loads(json.dumps({"offsets": logs.offsets(), "logs": logs.to_state()}))
    assert Logs.from_state(state).id("clicks") == CLICKS._replace(topic_id="", witness="7:cd")
    assert "witness" not in learned_from(CLICKS, 10).to_state()["clicks"][0]


@pytest.mark.parametrize(("end", "another"), [(10, False), (9, True)])
def test_a_state_of_release_0_1_takes_the_log_that_is_there_unless_it_is_too_short(end: int, another: bool) -> None:
    logs = Logs.from_state({"offsets": {"clicks": 10, "purchases": 3}})
    assert logs.bind("clicks", CLICKS, end=end) is another
    assert logs.offset("clicks") == (0 if another else 10)
    assert logs.offset("purchases") == 3


def test_a_state_gives_back_all_logs() -> None:
    logs = learned_from(CLICKS, 10)
    logs.bind("clicks", AGAIN, end=5)
    logs.advance("clicks", 3)
    logs.advance("feedback", 7)
    again = Logs.from_state(json.loads(json.dumps({"offsets": logs.offsets(), "logs": logs.to_state()})))
    assert again.to_state() == logs.to_state()
    assert again.offsets() == {"clicks": 10, "clicks#2": 3, "feedback": 7}
    assert (again.current(), again.id("clicks"), again.clusters()) == (
        {"clicks": 3, "feedback": 7},
        AGAIN,
        {"production"},
    )


def clicks(count: int, since: int = 0) -> list[Record]:
    return [
        Record("clicks", n, 1_700_000_000_000 + n, b'{"item": "%d", "user": "%d"}' % (n % 7, n % 5))
        for n in range(since, since + count)
    ]


def test_offsets_and_journal_of_a_shard_name_each_log_and_a_restored_shard_goes_on() -> None:
    shard = Shard(SMALL)
    shard.logs.bind("clicks", CLICKS, end=20)
    shard.apply(clicks(20), rate=0.0)
    shard.logs.bind("clicks", AGAIN, end=8)
    shard.apply(clicks(8), rate=0.0)
    assert shard.counters["clicks"]["learned"] == 28, "the second log's offsets are below the first one's"
    checkpoint = shard.checkpoint()
    assert checkpoint.state["offsets"] == {"clicks": 20, "clicks#2": 8}
    assert checkpoint.journal.keys == ["clicks", "clicks#2", "purchases", "feedback"]
    assert checkpoint.journal.offsets.tolist() == [[20, 0, 0, 0], [20, 8, 0, 0]]
    tables = tables_of(SMALL, checkpoint.delta)
    restored = Shard.restore(SMALL, tables, json.loads(json.dumps(checkpoint.state)))
    assert not restored.logs.bind("clicks", AGAIN, end=8)
    assert restored.offsets == {"clicks": 8}
    restored.apply(clicks(10), rate=0.0)
    assert restored.counters["clicks"]["learned"] == 30


def test_a_state_of_a_later_release_is_refused_by_name() -> None:
    state = {**Shard(SMALL).readable_state(), "format": STATE_FORMAT + 1}
    with pytest.raises(UnknownState, match=f"format {STATE_FORMAT + 1}, and this release reads up to {STATE_FORMAT}"):
        Shard.restore(SMALL, Shard(SMALL).tables, state)
