"""The merge of the topics: the same order, however the fetches were cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.ingest.merge import Merge, MissingRecords
from stream.ingest.records import Record

TOPICS = ("clicks", "purchases", "feedback")

logs = st.fixed_dictionaries({topic: st.lists(st.integers(0, 12), max_size=12) for topic in TOPICS})


def records_of(topic: str, times: list[int]) -> list[Record]:
    return [Record(topic, offset, time, b"x") for offset, time in enumerate(times)]


def by_the_rule(logs: dict[str, list[Record]]) -> list[Record]:
    """The rule itself, one record at a time."""
    heads, order = dict.fromkeys(TOPICS, 0), []
    while open_topics := [topic for topic in TOPICS if heads[topic] < len(logs[topic])]:
        topic = min(open_topics, key=lambda name: (logs[name][heads[name]].timestamp_ms, TOPICS.index(name)))
        order.append(logs[topic][heads[topic]])
        heads[topic] += 1
    return order


@given(logs=logs, data=st.data())
def test_the_order_does_not_depend_on_how_fetches_were_cut(logs: dict[str, list[int]], data: st.DataObject) -> None:
    whole = {topic: records_of(topic, times) for topic, times in logs.items()}
    merge = Merge(dict.fromkeys(TOPICS, 0))
    for topic in TOPICS:
        merge.known_end(topic, len(whole[topic]))
    handed, taken = dict.fromkeys(TOPICS, 0), []
    while any(handed[topic] < len(whole[topic]) for topic in TOPICS):
        topic = data.draw(st.sampled_from([name for name in TOPICS if handed[name] < len(whole[name])]))
        size = data.draw(st.integers(1, 5))
        merge.add(topic, whole[topic][handed[topic] : handed[topic] + size])
        handed[topic] += size
        if data.draw(st.booleans()):
            taken += merge.take(data.draw(st.integers(1, 7)))
    while batch := merge.take(data.draw(st.integers(1, 9))):
        taken += batch
    assert taken == by_the_rule(whole)


@given(logs=logs, data=st.data())
def test_a_batch_can_be_put_in_order_again_from_its_bounds(logs: dict[str, list[int]], data: st.DataObject) -> None:
    """What the journal relies on, whatever the ends were when the batch was learned."""
    whole = {topic: records_of(topic, times) for topic, times in logs.items()}
    merge = Merge(dict.fromkeys(TOPICS, 0))
    handed, bounds = dict.fromkeys(TOPICS, 0), dict.fromkeys(TOPICS, 0)
    for _ in range(30):
        topic = data.draw(st.sampled_from(TOPICS))
        part = whole[topic][handed[topic] : handed[topic] + data.draw(st.integers(0, 4))]
        handed[topic] += len(part)
        merge.add(topic, part, end=data.draw(st.integers(handed[topic], len(whole[topic]))))
        batch = merge.take(data.draw(st.integers(1, 9)))
        after = {name: max([bounds[name], *(r.offset + 1 for r in batch if r.topic == name)]) for name in TOPICS}
        again = Merge(bounds)
        for name in TOPICS:
            again.add(name, whole[name][bounds[name] : after[name]], end=after[name])
        assert again.take(len(batch) + 1) == batch
        bounds = after


@given(logs=logs, restart=st.integers(0, 30))
def test_records_that_are_in_the_state_already_are_dropped(logs: dict[str, list[int]], restart: int) -> None:
    whole = {topic: records_of(topic, times) for topic, times in logs.items()}
    order = by_the_rule(whole)
    done = order[:restart]
    offsets = {topic: sum(1 for record in done if record.topic == topic) for topic in TOPICS}
    merge = Merge(offsets)
    for topic in TOPICS:
        merge.add(topic, whole[topic], end=len(whole[topic]))
    assert merge.take(100) == order[restart:]
    assert merge.waiting_records == 0


def test_an_empty_topic_is_waited_for_only_while_something_is_on_its_way() -> None:
    merge = Merge({"clicks": 0, "purchases": 5})
    merge.add("clicks", records_of("clicks", [1, 2, 3]), end=3)
    assert merge.take(10) == []
    assert merge.held_up_by == ["purchases"]
    merge.known_end("purchases", 6)
    assert merge.take(10) == []
    merge.known_end("purchases", 5)
    assert len(merge.take(10)) == 3


def test_offsets_that_kafka_left_out_are_not_waited_for() -> None:
    merge = Merge({"clicks": 0, "purchases": 0})
    merge.add("clicks", records_of("clicks", [1]), end=1)
    merge.known_end("purchases", 1)  # the marker of a transaction: no record will come
    merge.skipped("purchases", since=7, to=8)
    assert merge.take(10) == []
    merge.skipped("purchases", since=0, to=1)
    assert len(merge.take(10)) == 1


def test_a_topic_is_full_by_itself() -> None:
    merge = Merge({"clicks": 0, "purchases": 0}, full_records=3, full_bytes=100)
    merge.add("clicks", records_of("clicks", [1, 1, 1]), end=3)
    assert merge.full("clicks")
    assert not merge.full("purchases")
    merge.add("purchases", [Record("purchases", 0, 1, b"x" * 100)], end=1)
    assert merge.full("purchases")
    merge.take(2)
    assert not merge.full("clicks")
    merge.take(2)
    assert not merge.full("purchases")


def test_a_fetch_that_was_lost_on_the_way_is_missed() -> None:
    first, second, _, _, _, sixth = records_of("clicks", [1, 2, 3, 4, 5, 6])
    merge = Merge({"clicks": 0})
    merge.add("clicks", [first], since=0, next_offset=1)
    with pytest.raises(MissingRecords, match="clicks from offset 1 to 5"):
        merge.add("clicks", [sixth], since=5, next_offset=6)
    merge.add("clicks", [second], since=1, next_offset=5)  # Kafka left 2 to 4 out
    merge.add("clicks", [sixth], since=5, next_offset=6)
    merge.known_end("clicks", 6)
    assert [record.offset for record in merge.take(10)] == [0, 1, 5]
