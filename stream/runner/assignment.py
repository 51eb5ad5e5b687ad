"""The topic-partitions of a shard.

Kafka assigns topic-partitions one by one, and a shard learns from several of them: today from one partition of each
event topic, all with the same number, which is also the shard's number. A shard's state stores one offset per topic, so
a second partition of the same topic is refused.

This file decides which topic-partitions make up which shard, and how offsets by topic (as states store them) become
offsets by topic-partition (as runners use them) and back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from faust.types import TP


class UnsupportedAssignment(ValueError):
    """A set of topic-partitions that one shard can't learn from; the text says what would be right."""


@dataclass(frozen=True)
class ShardAssignment:
    """A shard and the topic-partitions that it learns from.

    Attributes:
        shard: number of the shard.
        shards: number of shards of the model.
        topics: each topic-partition (by the topic's name in Kafka) to our name of its topic, in the order in which ties
            of the merge are broken.

    Raises:
        UnsupportedAssignment: two of the topic-partitions belong to the same topic.
    """

    shard: int
    shards: int
    topics: Mapping[TP, str]

    def __post_init__(self) -> None:
        by_topic: dict[str, TP] = {}
        for tp, topic in self.topics.items():
            first = by_topic.setdefault(topic, tp)
            if first is not tp:
                raise UnsupportedAssignment(
                    f"shard {self.shard} can't learn from both {name_of(first)} and {name_of(tp)}: its state stores "
                    f"one offset for {topic}; assign one partition of each topic"
                )

    @property
    def partitions(self) -> frozenset[TP]:
        """All its topic-partitions."""
        return frozenset(self.topics)

    def by_partition(self, offsets: Mapping[str, int]) -> dict[TP, int]:
        """Offsets by topic as offsets by topic-partition; topics without an offset are left out.

        >>> clicks = TP("shop.clicks", 3)
        >>> ShardAssignment(3, 8, {clicks: "clicks"}).by_partition({"clicks": 70, "purchases": 5})[clicks]
        70
        """
        return {tp: offsets[topic] for tp, topic in self.topics.items() if topic in offsets}

    def by_topic(self, offsets: Mapping[TP, int]) -> dict[str, int]:
        """Offsets by topic-partition as offsets by our topic name; the inverse of `by_partition`."""
        return {topic: offsets[tp] for tp, topic in self.topics.items() if tp in offsets}

    def source_of(self, topic: str) -> TP:
        """The topic-partition that records of our topic name come from."""
        return next(tp for tp, each in self.topics.items() if each == topic)


class Grouping(NamedTuple):
    """An assignment of Kafka's, by shard.

    Attributes:
        shards: the topic-partitions of each shard that has all of them.
        absent: for each other shard, the topics (by their name in Kafka) whose partition wasn't assigned.
    """

    shards: dict[int, ShardAssignment]
    absent: dict[int, list[str]]


def group_by_shard(assigned: Iterable[TP], topics: Mapping[str, str], shards: int) -> Grouping:
    """Group topic-partitions by shard: partition n of every event topic is shard n.

    Args:
        assigned: topic-partitions of this worker; those of other topics are ignored.
        topics: our name of each event topic to its name in Kafka, in the order of the merge.
        shards: number of shards of the model.

    >>> found = group_by_shard({TP("c", 0), TP("p", 0), TP("c", 1)}, {"clicks": "c", "purchases": "p"}, 2)
    >>> sorted(found.shards), found.absent
    ([0], {1: ['p']})
    """
    ours = set(assigned)
    numbers = sorted({tp.partition for tp in ours if tp.topic in topics.values()})
    grouping = Grouping({}, {})
    for number in numbers:
        absent = [kafka_name for kafka_name in topics.values() if TP(kafka_name, number) not in ours]
        if absent:
            grouping.absent[number] = absent
        else:
            sources = {TP(kafka_name, number): topic for topic, kafka_name in topics.items()}
            grouping.shards[number] = ShardAssignment(number, shards, sources)
    return grouping


def name_of(tp: TP) -> str:
    """A topic-partition in Kafka's own notation.

    >>> name_of(TP("clicks", 3))
    'clicks-3'
    """
    return f"{tp.topic}-{tp.partition}"
