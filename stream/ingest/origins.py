"""Origins: the names of the topic-partitions that one shard learns from.

An origin is the name of our topic, if the partition's number is the shard's own: `clicks`. Every other partition's
number follows behind a slash: `clicks/3`. A shard of a model with one partition for each shard, which all models of
release 0.1 have, therefore calls its origins as it always did.

This file decides how origins are written, and the order in which ties of the merge are broken.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from stream.events import TOPIC_TYPES

_ORDER = {topic: number for number, topic in enumerate(TOPIC_TYPES)}


def origin_of(topic: str, partition: int, shard: int) -> str:
    """The name of one partition of our topic in a shard.

    >>> origin_of("clicks", 2, shard=2), origin_of("clicks", 6, shard=2)
    ('clicks', 'clicks/6')
    """
    return topic if partition == shard else f"{topic}/{partition}"


@lru_cache(maxsize=100_000)
def topic_of(origin: str) -> str:
    """Our name of the topic of an origin.

    >>> topic_of("clicks"), topic_of("clicks/6")
    ('clicks', 'clicks')
    """
    return origin.partition("/")[0]


def partition_of(origin: str, shard: int) -> int:
    """The number of the partition that an origin of a shard names.

    >>> partition_of("clicks", shard=2), partition_of("clicks/6", shard=2)
    (2, 6)
    """
    number = origin.partition("/")[2]
    return int(number) if number else shard


def in_order(origins: Iterable[str]) -> list[str]:
    """Origins of one shard in the order in which ties of the merge are broken: by topic, then by partition.

    >>> in_order(["purchases", "clicks/10", "clicks/2", "clicks"])
    ['clicks', 'clicks/2', 'clicks/10', 'purchases']
    """

    def place(origin: str) -> tuple[int, str, int]:
        topic = topic_of(origin)  # a shard's own partition is its first one
        return _ORDER.get(topic, len(_ORDER)), topic, partition_of(origin, shard=-1)

    return sorted(origins, key=place)
