"""Merge of topics: the order depends on the records alone, not on how they were fetched."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.ingest.counted import NOBODY
from stream.ingest.merge import Merge, MissingRecords, journaled_batches
from stream.ingest.records import Record
from stream.state.journal import Journal

TOPICS = ("clicks", "clicks/1", "clicks/10", "purchases", "feedback")

logs = st.fixed_dictionaries({topic: st.lists(st.integers(0, 12), max_size=12) for topic in TOPICS})


def records_of(topic: str, times: list[int]) -> list[Record]:
    return [Record(topic, offset, time, b"x") for offset, time in enumerate(times)]


def by_the_rule(logs: dict[str, list[Record]]) -> list[Record]:
    """The rule of the order, applied one record at a time."""
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
def test_a_batch_can_be_rebuilt_from_its_bounds(logs: dict[str, list[int]], data: st.DataObject) -> None:
    """The journal relies on this: known ends at the time of learning don't matter for the rebuilt order."""
    whole = {topic: records_of(topic, times) for topic, times in logs.items()}
    merge = Merge(dict.fromkeys(TOPICS, 0))
    handed, bounds = dict.fromkeys(TOPICS, 0), dict.fromkeys(TOPICS, 0)
    for _ in range(30):
        topic = data.draw(st.sampled_from(TOPICS))
        part = whole[topic][handed[topic] : handed[topic] + data.draw(st.integers(0, 4))]
        handed[topic] += len(part)
        merge.add(topic, part, end=data.draw(st.integers(handed[topic], len(whole[topic]))))
        batch = merge.take(data.draw(st.integers(1, 9)))
        after = {name: max([bounds[name], *(r.offset + 1 for r in batch if r.origin == name)]) for name in TOPICS}
        again = Merge(bounds)
        for name in TOPICS:
            again.add(name, whole[name][bounds[name] : after[name]], end=after[name])
        assert again.take(len(batch) + 1) == batch
        bounds = after


@given(logs=logs, restart=st.integers(0, 30))
def test_records_that_were_learned_before_are_dropped(logs: dict[str, list[int]], restart: int) -> None:
    whole = {topic: records_of(topic, times) for topic, times in logs.items()}
    order = by_the_rule(whole)
    done = order[:restart]
    offsets = {topic: sum(1 for record in done if record.origin == topic) for topic in TOPICS}
    merge = Merge(offsets)
    for topic in TOPICS:
        merge.add(topic, whole[topic], end=len(whole[topic]))
    assert merge.take(100) == order[restart:]
    assert merge.waiting_records == 0


def test_an_empty_topic_blocks_the_others_only_while_kafka_holds_a_record_of_it() -> None:
    merge = Merge({"clicks": 0, "purchases": 5})
    merge.add("clicks", records_of("clicks", [1, 2, 3]), end=3)
    assert merge.take(10) == []
    assert [key for key in ("clicks", "purchases") if merge.holds_up(key)] == ["purchases"]
    merge.known_end("purchases", 6)
    assert merge.take(10) == []
    merge.known_end("purchases", 5)
    assert len(merge.take(10)) == 3


def test_offsets_that_kafka_left_out_block_nothing() -> None:
    merge = Merge({"clicks": 0, "purchases": 0})
    merge.add("clicks", records_of("clicks", [1]), end=1)
    merge.known_end("purchases", 1)  # the marker of a transaction: no record will come
    merge.skipped("purchases", since=7, to=8)
    assert merge.take(10) == []
    merge.skipped("purchases", since=0, to=1)
    assert len(merge.take(10)) == 1


def test_each_topic_is_full_by_its_own_records() -> None:
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


def test_a_lost_fetch_is_detected() -> None:
    first, second, _, _, _, sixth = records_of("clicks", [1, 2, 3, 4, 5, 6])
    merge = Merge({"clicks": 0})
    merge.add("clicks", [first], since=0, next_offset=1)
    with pytest.raises(MissingRecords, match="clicks from offset 1 to 5"):
        merge.add("clicks", [sixth], since=5, next_offset=6)
    merge.add("clicks", [second], since=1, next_offset=5)  # Kafka left 2 to 4 out
    merge.add("clicks", [sixth], since=5, next_offset=6)
    merge.known_end("clicks", 6)
    assert [record.offset for record in merge.take(10)] == [0, 1, 5]


@given(logs=logs, data=st.data())
def test_the_batches_of_a_journal_are_rebuilt_with_their_rates(logs: dict[str, list[int]], data: st.DataObject) -> None:
    whole = {topic: records_of(topic, times) for topic, times in logs.items()}
    merge = Merge(dict.fromkeys(TOPICS, 0))
    for topic in TOPICS:
        merge.add(topic, whole[topic], end=len(whole[topic]))
    batches, rates, bounds, after = [], [], [], dict.fromkeys(TOPICS, 0)
    while batch := merge.take(data.draw(st.integers(1, 9))):
        after |= {record.origin: record.offset + 1 for record in batch}
        batches.append(batch)
        rates.append(1 / len(batches))
        bounds.append([after[topic] for topic in TOPICS])
    journal = Journal(list(TOPICS), np.array(rates), np.array(bounds, np.int64).reshape(-1, len(TOPICS)))
    assert list(journaled_batches(journal, whole)) == [
        (batch, rate, {}, NOBODY) for batch, rate in zip(batches, rates, strict=True)
    ]


def test_a_journal_is_rebuilt_from_the_offsets_before_its_first_batch() -> None:
    log = {"clicks": records_of("clicks", [1, 2, 3, 4])}
    journal = Journal(["clicks"], np.array([0.5]), np.array([[3]]), {"clicks": [2]}, {"clicks": [0, 1, 3]})
    [(batch, rate, isolated, counted)] = journaled_batches(journal, log, {"clicks": 1})
    assert ([record.offset for record in batch], rate) == ([1, 2], 0.5)
    assert isolated.keys() == {("clicks", 2)}
    assert counted.places == {("clicks", 1)}


def test_a_batch_of_uneven_partitions_is_rebuilt_whole() -> None:
    """A worker takes less of one partition at a time than a journal's batch may hold."""
    whole = {f"clicks/{number}": records_of(f"clicks/{number}", [number]) for number in range(1, 12)}
    whole["clicks"] = records_of("clicks", list(range(1000)))
    keys = ["clicks", *(f"clicks/{number}" for number in range(1, 12))]
    bounds = [[len(whole[key]) for key in keys]]
    (batch,) = journaled_batches(Journal(keys, np.ones(1), np.array(bounds)), whole)
    assert len(batch.records) == 1011


def test_the_columns_of_a_journal_may_be_in_any_order_because_ties_are_broken_by_name() -> None:
    whole = {key: records_of(key.partition("#")[0], [5]) for key in ("clicks", "clicks#2", "clicks/3", "purchases")}
    for keys in (["purchases", "clicks/3", "clicks"], ["clicks", "purchases", "clicks/3"]):
        journal = Journal(keys, np.ones(1), np.ones((1, 3), np.int64))
        (batch,) = journaled_batches(journal, whole)
        assert [record.origin for record in batch.records] == ["clicks", "clicks/3", "purchases"]
    later = Journal(["purchases", "clicks#2"], np.ones(1), np.ones((1, 2), np.int64))
    (batch,) = journaled_batches(later, whole)
    assert [record.origin for record in batch.records] == ["clicks", "purchases"]


@pytest.mark.parametrize("partitions", [2, 12, 48])
def test_many_partitions_are_taken_in_the_order_of_time(partitions: int) -> None:
    seed = partitions
    print(f"seed {seed}")
    random = np.random.default_rng(seed)
    whole = {
        f"clicks/{n}": records_of(f"clicks/{n}", np.sort(random.integers(0, 10_000, 300)).tolist())
        for n in range(1, partitions + 1)
    }
    merge = Merge(dict.fromkeys(whole, 0))
    for key, records in whole.items():
        merge.add(key, records, end=len(records))
    taken = []
    while batch := merge.take(100):
        taken += batch
    order = {key: number for number, key in enumerate(whole)}
    assert taken == sorted(taken, key=lambda record: (record.timestamp_ms, order[record.origin], record.offset))
    assert len(taken) == 300 * partitions


def test_a_busy_partition_among_idle_ones_fills_batches_alone() -> None:
    merge = Merge({f"clicks/{number}": 0 for number in range(1, 49)})
    for number in range(1, 49):
        merge.known_end(f"clicks/{number}", 0)
    merge.add("clicks/7", records_of("clicks/7", list(range(5000))), end=5000)
    assert [len(merge.take(4096)) for _ in range(2)] == [4096, 904]


def test_many_partitions_share_the_buffer() -> None:
    few, many = Merge({"clicks": 0}), Merge({f"clicks/{number}": 0 for number in range(1, 145)})
    records = records_of("clicks", [1] * 3000)
    few.add("clicks", records)
    assert not few.full("clicks")
    many.add("clicks/1", [record._replace(origin="clicks/1") for record in records])
    assert many.full("clicks/1")
    assert not many.full("clicks/2")


@pytest.mark.parametrize("partitions", [1, 4, 12])
def test_topics_of_uneven_size_fill_a_batch(partitions: int) -> None:
    """Nine tenths of the events are clicks, the others are purchases and feedback: a batch is as large as it may be."""
    shares = {"clicks": 18, "purchases": 1, "feedback": 1}
    whole = {
        f"{topic}/{number}": records_of(f"{topic}/{number}", [20 * at // share for at in range(200 * share)])
        for topic, share in shares.items()
        for number in range(partitions)
    }
    merge = Merge(dict.fromkeys(whole, 0))
    for key, records in whole.items():
        merge.add(key, records, end=10 * len(records))
    assert len(merge.take(1000)) == 1000
