"""Background load: a constant number of events per second into the topics, from a process of its own.

This file decides how the load is paced. Events are those of `benchmarks.harness.events`, without ids and times, so that
they can be sent again and again and are as old as their record. The events of one step of `STEP_SECONDS` are one batch
per topic and partition. `started` is printed when the first step is acknowledged. A load that falls behind its pace
does not catch up in bursts; the worker's counters show the true pace.

    python -m benchmarks.harness.background KAFKA EVENTS_A_SECOND PARTITIONS ITEMS BAD_SHARE TOPICS
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import murmur2

from benchmarks.harness.events import BATCH_BYTES, ITEMS, OTHER_FORMAT, load_events
from benchmarks.harness.processes import TOPIC_NAMES

STEP_SECONDS = 0.02
DIFFERENT_EVENTS = 100_000


async def main(
    kafka: str, events_a_second: float, partitions: int, items: int, bad_share: float, topics: Mapping[str, str]
) -> None:
    size = max(1, round(events_a_second * STEP_SECONDS))
    steps = _steps(size, partitions, items, bad_share, topics=topics)
    producer = AIOKafkaProducer(bootstrap_servers=kafka, acks=1, max_batch_size=4 * BATCH_BYTES)
    await producer.start()
    try:
        next_step = time.monotonic()
        for number in range(1 << 60):
            sent = []
            now = int(time.time() * 1000)
            for (topic, partition), events in steps[number % len(steps)].items():
                batch = producer.create_batch()
                for key, value in events:
                    batch.append(key=key, value=value, timestamp=now)
                sent.append(await producer.send_batch(batch, topic, partition=partition))
            if number == 0:
                await asyncio.gather(*sent)
                print("started", flush=True)
            next_step = max(next_step + STEP_SECONDS, time.monotonic() - STEP_SECONDS)
            await asyncio.sleep(next_step - time.monotonic())
    finally:
        await producer.stop()


def _steps(
    size: int, partitions: int, items: int, bad_share: float = 0.0, *, topics: Mapping[str, str] = TOPIC_NAMES
) -> list[dict[tuple[str, int], list[tuple[bytes, bytes]]]]:
    """The key and value of every event of each step, by Kafka's topic and partition; a share of them is bad."""
    steps: list[dict[tuple[str, int], list[tuple[bytes, bytes]]]] = []
    for number, event in enumerate(load_events(DIFFERENT_EVENTS, items=items)):
        if number % size == 0:
            steps.append(defaultdict(list))
        fields = json.loads(event.value)
        value = json.dumps({name: fields[name] for name in fields if name not in ("event_id", "timestamp")}).encode()
        if int((number + 1) * bad_share) > int(number * bad_share):
            value = OTHER_FORMAT
        place = topics[event.topic], (murmur2(event.key) & 0x7FFFFFFF) % partitions
        steps[-1][place].append((event.key, value))
    return steps


@contextmanager
def background(
    kafka: str,
    events_a_second: int,
    partitions: int = 1,
    *,
    items: int = ITEMS,
    bad_share: float = 0.0,
    topics: Mapping[str, str] = TOPIC_NAMES,
) -> Iterator[None]:
    """Run the load in a process of its own until the context ends.

    Args:
        kafka: bootstrap servers.
        events_a_second: pace of the load.
        partitions: number of partitions of each topic.
        items: number of different items.
        bad_share: share of the records that are in another format.
        topics: our name of each topic to Kafka's.

    Raises:
        RuntimeError: its first events were not acknowledged.
    """
    numbers = map(str, (events_a_second, partitions, items, bad_share))
    arguments = [kafka, *numbers, json.dumps(dict(topics))]
    command = ["-m", "benchmarks.harness.background", *arguments]
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE)  # noqa: S603  our own program
    try:
        assert process.stdout is not None
        if process.stdout.readline().strip() != b"started":
            raise RuntimeError("the background load ended before its first events were acknowledged")
        yield
    finally:
        process.terminate()
        process.wait(10.0)
        if process.stdout is not None:
            process.stdout.close()


if __name__ == "__main__":
    given = sys.argv[1:]
    pace, bad = float(given[1]), float(given[4])
    asyncio.run(main(given[0], pace, int(given[2]), int(given[3]), bad, json.loads(given[5])))
