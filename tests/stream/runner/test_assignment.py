"""From Kafka's assignment of topic-partitions to shards."""

from __future__ import annotations

import pytest
from faust.types import TP

from stream.runner.assignment import ShardAssignment, UnsupportedAssignment, group_by_shard

TOPICS = {"clicks": "shop-clicks", "purchases": "shop-purchases"}


def test_a_shard_gets_the_partition_of_its_number_of_every_topic_in_the_order_of_the_merge() -> None:
    assigned = {TP(name, number) for name in TOPICS.values() for number in (0, 2)}
    grouping = group_by_shard({*assigned, TP("something-else", 5)}, TOPICS, 4)
    assert list(grouping.shards) == [0, 2]
    assert grouping.absent == {}
    shard = grouping.shards[2]
    assert (shard.shard, shard.shards) == (2, 4)
    assert list(shard.topics.items()) == [(TP("shop-clicks", 2), "clicks"), (TP("shop-purchases", 2), "purchases")]
    assert shard.partitions == frozenset({TP("shop-clicks", 2), TP("shop-purchases", 2)})


def test_a_shard_of_which_a_topic_is_absent_is_named_with_that_topic() -> None:
    grouping = group_by_shard({TP("shop-clicks", 0), TP("shop-purchases", 1), TP("shop-clicks", 1)}, TOPICS, 2)
    assert list(grouping.shards) == [1]
    assert grouping.absent == {0: ["shop-purchases"]}


def test_two_partitions_of_one_topic_are_refused_with_both_names() -> None:
    with pytest.raises(UnsupportedAssignment, match=r"shard 3 .* shop-clicks-3 and shop-clicks-4: .* one offset for"):
        ShardAssignment(3, 8, {TP("shop-clicks", 3): "clicks", TP("shop-clicks", 4): "clicks"})


def test_offsets_by_topic_and_by_topic_partition_are_inverse() -> None:
    shard = ShardAssignment(3, 8, {TP(name, 3): topic for topic, name in TOPICS.items()})
    by_partition = shard.by_partition({"purchases": 5, "feedback": 7})
    assert by_partition == {TP("shop-purchases", 3): 5}
    assert shard.by_topic(by_partition) == {"purchases": 5}
    assert shard.source_of("purchases") == TP("shop-purchases", 3)
