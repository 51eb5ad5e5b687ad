"""From Kafka's assignment of topic-partitions to shards."""

from __future__ import annotations

import pytest
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from stream.ingest.origins import partition_of, topic_of
from stream.runner.assignment import ShardAssignment, UnsupportedAssignment, group_by_shard

TOPICS = {"clicks": "shop-clicks", "purchases": "shop-purchases"}


def test_a_shard_gets_the_partition_of_its_number_of_every_topic_in_the_order_of_the_merge() -> None:
    assigned = {TP(name, number) for name in TOPICS.values() for number in (0, 2)}
    found = group_by_shard({*assigned, TP("something-else", 5)}, TOPICS, 4)
    assert list(found) == [0, 2]
    shard = found[2]
    assert (shard.shard, shard.shards) == (2, 4)
    assert list(shard.origins.items()) == [(TP("shop-clicks", 2), "clicks"), (TP("shop-purchases", 2), "purchases")]
    assert shard.partitions == frozenset({TP("shop-clicks", 2), TP("shop-purchases", 2)})


def test_one_shard_gets_all_partitions_by_topic_and_number() -> None:
    assigned = {*(TP("shop-clicks", number) for number in range(12)), TP("shop-purchases", 0), TP("shop-purchases", 1)}
    (shard,) = group_by_shard(assigned, TOPICS, 1).values()
    assert list(shard.origins.values()) == [
        "clicks",
        *(f"clicks/{number}" for number in range(1, 12)),
        "purchases",
        "purchases/1",
    ]
    assert shard.topic_of(TP("shop-clicks", 11)) == "clicks"


@given(counts=st.tuples(st.integers(1, 30), st.integers(1, 30)), shards=st.integers(1, 8))
def test_every_partition_is_in_one_shard_under_its_own_name(counts: tuple[int, int], shards: int) -> None:
    by_name = dict(zip(TOPICS.values(), counts, strict=True))
    assigned = {TP(name, number) for name, count in by_name.items() for number in range(count)}
    by_shard = group_by_shard(assigned, TOPICS, shards)
    found = [tp for shard in by_shard.values() for tp in shard.origins]
    assert sorted(found) == sorted(assigned)
    for number, shard in by_shard.items():
        for tp, origin in shard.origins.items():
            assert (TOPICS[topic_of(origin)], partition_of(origin, number)) == tp
            assert tp.partition % shards == number
            assert shard.partition_of(origin) == tp


def test_two_topics_under_one_name_are_refused_with_both_names() -> None:
    with pytest.raises(UnsupportedAssignment, match=r"shard 3 .* shop-clicks-3 and old-clicks-3: .* one offset for"):
        ShardAssignment(3, 8, {TP("shop-clicks", 3): "clicks", TP("old-clicks", 3): "clicks"})


def test_offsets_by_origin_and_by_topic_partition_are_inverse() -> None:
    shard = ShardAssignment(3, 8, {TP(name, 3): topic for topic, name in TOPICS.items()})
    by_partition = shard.by_partition({"purchases": 5, "feedback": 7})
    assert by_partition == {TP("shop-purchases", 3): 5}
    assert shard.by_origin(by_partition) == {"purchases": 5}
