"""Models for benchmarks of serving: learned in this process from `benchmarks.harness.events`, then published.

This file decides what the served models have learned. The same events make a model of one shard or of several: a
visitor's events go to the shard that murmur2 of the visitor gives, as Kafka's producers would send them.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from aiokafka.partitioner import murmur2

from benchmarks.harness.events import LoadEvent, load_events
from stream.ingest.records import Record
from stream.models.settings import ModelSettings
from stream.shard.shard import Shard
from stream.versions import VersionStore

EVENTS_AN_ITEM = 5
LEAST_EVENTS = 200_000
EVENTS_A_VISITOR = 10
DEEP_VISITORS = 200
DEEP_EVENTS = 100
RECENT_EVENTS = 60_000
BATCH = 5000
TESTED = 0.02
"""Share of the events that the ranker learns from."""

COMMON_DEPTHS = range(8, 11)
"""Numbers of events of the visitors whose lists are requested."""


class Published(NamedTuple):
    """Visitors that a published model knows: some with eight to ten events, some with a hundred."""

    visitors: list[str]
    deep_visitors: list[str]


def publish_model(size: int, redis_url: str, name: str, *, shards: int = 1) -> Published:
    """Publish a model of `size` items, one version of each shard.

    Args:
        size: number of items.
        redis_url: Redis that it is published to.
        name: name of the model.
        shards: number of shards that the events are divided among.
    """
    events = max(LEAST_EVENTS, EVENTS_AN_ITEM * size)
    visitors = events // EVENTS_A_VISITOR
    settings = ModelSettings(max_items=max(200_000, size * 5 // 4), max_visitors=max(1_000_000, visitors))
    parts = [Shard(settings, partition=partition, shards=shards) for partition in range(shards)]
    batches: list[list[Record]] = [[] for _ in parts]
    offsets: Counter[tuple[int, str]] = Counter()
    depths: Counter[bytes] = Counter()
    recent: dict[bytes, None] = {}
    for number, event in enumerate(_events(events, visitors, size)):
        partition = (murmur2(event.key) & 0x7FFFFFFF) % shards
        depths[event.key] += 1
        if number >= events - RECENT_EVENTS:
            recent[event.key] = None
        place = partition, event.topic
        batches[partition].append(Record(event.topic, offsets[place], event.timestamp_ms, event.value, event.key))
        offsets[place] += 1
        if len(batches[partition]) == BATCH:
            parts[partition].apply(batches[partition], rate=TESTED)
            batches[partition] = []
    store = VersionStore.connect(redis_url, name, timeout_seconds=120.0)
    try:
        for partition, part in enumerate(parts):
            part.apply(batches[partition], rate=TESTED)
            claim = store.claim(partition, worker="bench", token=f"{name}-{partition}", now=time.time())
            store.publish(
                claim, part.checkpoint(), settings=settings.model_dump(), code_version="bench", now=time.time()
            )
    finally:
        store.close()
    known = [key for key in recent if depths[key] in COMMON_DEPTHS]
    return Published([key.decode() for key in known], [f"deep-{number}" for number in range(DEEP_VISITORS)])


def _events(count: int, visitors: int, items: int) -> Iterator[LoadEvent]:
    """Generate the load, with the events of visitors who have a hundred each among its last events."""
    deep = load_events(DEEP_VISITORS * DEEP_EVENTS, visitors=DEEP_VISITORS, items=items, seed=1)
    for number, event in enumerate(load_events(count, visitors=visitors, items=items)):
        yield event
        if number >= count - DEEP_VISITORS * DEEP_EVENTS:
            other = next(deep)
            named = b"deep-%d" % other.user
            value = other.value.replace(b'"%s"' % other.key, b'"%s"' % named)
            yield other._replace(key=named, value=value, timestamp_ms=event.timestamp_ms)
