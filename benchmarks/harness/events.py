"""The events that benchmarks learn from: visitors who come back, items with a Zipf distribution, one JSON object each.

One seed always gives the same bytes. This file decides what the load looks like and how its topics are made; `preload`
writes it to Kafka, to the partition that murmur2 of the visitor gives, as Java's producers do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.partitioner import murmur2

TOPIC_SHARES = {"clicks": 0.90, "purchases": 0.05, "feedback": 0.05}
ZIPF_EXPONENT = 1.05
FIRST_SECONDS = 1_760_000_000.0
EVENTS_A_SECOND = 1000.0
"""Events per second of the events' own time."""

ITEMS = 20_000
"""Number of different items unless the caller says otherwise."""

BATCH_BYTES = 256 * 1024

OTHER_FORMAT = b'{"product":"tea 12","customer":7123,"ts":1760000000,"price":12.5,"page":"/tea/12"}'
"""Value of a bad record: an event of another program, about as long as ours."""


class LoadEvent(NamedTuple):
    """One event on its way to Kafka. `user` and `item` are its numbers, for programs that read no JSON."""

    topic: str
    key: bytes
    value: bytes
    timestamp_ms: int
    user: int
    item: int


def zipf(size: int, count: int, random: np.random.Generator, exponent: float = ZIPF_EXPONENT) -> np.ndarray:
    """Draw `count` int64 numbers from 0 to size - 1; the n-th most frequent has the weight 1/n**exponent."""
    weights = 1.0 / np.arange(1, size + 1) ** exponent
    return np.searchsorted(np.cumsum(weights) / weights.sum(), random.random(count)).astype(np.int64)


def load_events(count: int, *, visitors: int = 100_000, items: int = ITEMS, seed: int = 0) -> Iterator[LoadEvent]:
    """Generate `count` events in the order of their time.

    Visitors are drawn evenly; half of the items come from the visitor's neighbourhood, half from all items.
    """
    random = np.random.default_rng(seed)
    users = random.integers(0, visitors, count)
    popular = zipf(items, count, random)
    shuffled = random.permutation(items)
    near = (users * 7919 + zipf(200, count, random) * 13) % items
    chosen = np.where(random.random(count) < 0.5, shuffled[popular], near)
    names = list(TOPIC_SHARES)
    topics = np.searchsorted(np.cumsum(list(TOPIC_SHARES.values())), random.random(count)).clip(max=len(names) - 1)
    times = FIRST_SECONDS + np.arange(count) / EVENTS_A_SECOND
    rows = zip(users.tolist(), chosen.tolist(), topics.tolist(), times.tolist(), strict=True)
    extras = {"clicks": b"", "purchases": b',"quantity":1,"price":9.5,"currency":"EUR"', "feedback": b',"kind":"cart"'}
    for number, (user, item, topic_number, time) in enumerate(rows):
        topic = names[topic_number]
        value = b'{"item":"item-%d","user":"visitor-%d","timestamp":%.3f,"event_id":"e%d-%d"%s}' % (
            *(item, user, time, seed, number),
            extras[topic],
        )
        yield LoadEvent(topic, b"visitor-%d" % user, value, int(time * 1000), user, item)


async def make_topics(kafka: str, names: Iterable[str], partitions: int) -> None:
    """Make topics without a retention time: events carry old times, by which Kafka would remove them."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        kept = {"retention.ms": "-1"}
        await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=kept) for name in names])
    finally:
        await admin.close()


async def fill_topics(kafka: str, topics: Mapping[str, str], partitions: int, events: Iterator[LoadEvent]) -> None:
    """Make `topics` (our name to Kafka's), and write events to them."""
    await make_topics(kafka, topics.values(), partitions)
    await preload(kafka, topics, partitions, events)


async def preload(kafka: str, topics: Mapping[str, str], partitions: int, events: Iterator[LoadEvent]) -> None:
    """Write events to existing `topics` (our name to Kafka's), and return when all of them are acknowledged."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka, acks="all", max_batch_size=BATCH_BYTES)
    await producer.start()
    try:
        batches = {(name, n): producer.create_batch() for name in topics for n in range(partitions)}
        under_way = []
        for event in events:
            place = event.topic, (murmur2(event.key) & 0x7FFFFFFF) % partitions
            if batches[place].append(key=event.key, value=event.value, timestamp=event.timestamp_ms) is None:
                under_way.append(await producer.send_batch(batches[place], topics[place[0]], partition=place[1]))
                batches[place] = producer.create_batch()
                batches[place].append(key=event.key, value=event.value, timestamp=event.timestamp_ms)
        for (name, partition), batch in batches.items():
            if batch.record_count():
                under_way.append(await producer.send_batch(batch, topics[name], partition=partition))
        await asyncio.gather(*under_way)
    finally:
        await producer.stop()
