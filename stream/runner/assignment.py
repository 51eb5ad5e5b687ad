"""The topic-partitions of a shard.

Kafka assigns topic-partitions one by one, and a shard learns from any number of them: partition n of each event topic
belongs to shard n modulo the number of shards, so that events of one visitor, which have the same key in all topics,
are learned by one shard if the number of shards divides the number of partitions of each topic.

This file decides which topic-partitions make up which shard, and how offsets by origin (as states store them) become
offsets by topic-partition (as runners use them) and back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from faust.types import TP

from stream.ingest.origins import in_order, origin_of, topic_of


class UnsupportedAssignment(ValueError):
    """A set of topic-partitions that one shard can't learn from; the text says what would be right."""


@dataclass(frozen=True)
class ShardAssignment:
    """A shard and the topic-partitions that it learns from.

    Attributes:
        shard: number of the shard.
        shards: number of shards of the model.
        origins: each topic-partition (by the topic's name in Kafka) to its origin (`stream.ingest.origins`), in the
            order in which ties of the merge are broken.

    Raises:
        UnsupportedAssignment: two of the topic-partitions have the same origin.
    """

    shard: int
    shards: int
    origins: Mapping[TP, str]

    def __post_init__(self) -> None:
        by_origin: dict[str, TP] = {}
        for tp, origin in self.origins.items():
            first = by_origin.setdefault(origin, tp)
            if first is not tp:
                raise UnsupportedAssignment(
                    f"shard {self.shard} can't learn from both {name_of(first)} and {name_of(tp)}: its state stores "
                    f"one offset for {origin}; name one topic for {topic_of(origin)}"
                )

    @property
    def partitions(self) -> frozenset[TP]:
        """All its topic-partitions."""
        return frozenset(self.origins)

    def topic_of(self, tp: TP) -> str:
        """Our name of the topic of one of its topic-partitions."""
        return topic_of(self.origins[tp])

    def by_partition(self, offsets: Mapping[str, int]) -> dict[TP, int]:
        """Offsets by origin as offsets by topic-partition; origins without an offset are left out.

        >>> clicks = TP("shop.clicks", 3)
        >>> ShardAssignment(3, 8, {clicks: "clicks"}).by_partition({"clicks": 70, "purchases": 5})[clicks]
        70
        """
        return {tp: offsets[origin] for tp, origin in self.origins.items() if origin in offsets}

    def by_origin(self, offsets: Mapping[TP, int]) -> dict[str, int]:
        """Offsets by topic-partition as offsets by origin; the inverse of `by_partition`."""
        return {origin: offsets[tp] for tp, origin in self.origins.items() if tp in offsets}

    def partition_of(self, origin: str) -> TP:
        """The topic-partition that an origin names."""
        return next(tp for tp, each in self.origins.items() if each == origin)


def group_by_shard(assigned: Iterable[TP], topics: Mapping[str, str], shards: int) -> dict[int, ShardAssignment]:
    """Group topic-partitions by shard: partition n of every event topic belongs to shard n modulo `shards`.

    Args:
        assigned: topic-partitions of this worker, all of each shard (`stream.kafka.assignor`); those of other topics
            are ignored.
        topics: our name of each event topic to its name in Kafka.
        shards: number of shards of the model.

    >>> found = group_by_shard({TP("c", 0), TP("p", 0), TP("c", 2), TP("c", 1)}, {"clicks": "c", "purchases": "p"}, 2)
    >>> {number: list(shard.origins.values()) for number, shard in found.items()}
    {0: ['clicks', 'clicks/2', 'purchases'], 1: ['clicks']}
    """
    our_names = {kafka_name: topic for topic, kafka_name in topics.items()}
    by_shard: dict[int, dict[str, TP]] = {}
    for tp in assigned:
        if tp.topic in our_names:
            shard = tp.partition % shards
            by_shard.setdefault(shard, {})[origin_of(our_names[tp.topic], tp.partition, shard)] = tp
    return {
        shard: ShardAssignment(shard, shards, {tps[each]: each for each in in_order(tps)})
        for shard, tps in sorted(by_shard.items())
    }


def name_of(tp: TP) -> str:
    """A topic-partition in Kafka's own notation.

    >>> name_of(TP("clicks", 3))
    'clicks-3'
    """
    return f"{tp.topic}-{tp.partition}"
