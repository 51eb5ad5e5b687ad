"""Raw aiokafka that only counts: `getmany` and the length of what it returns.

This file decides the upper bound that the worker is compared with: records are fetched and looked at no further. It
prints a line `pace seconds count` about ten times a second, and ends at the count that it is given.

    python -m benchmarks.baselines.raw_aiokafka KAFKA GROUP COUNT TOPIC...
"""

from __future__ import annotations

import asyncio
import sys
import time

from aiokafka import AIOKafkaConsumer

MOST_RECORDS = 20_000
"""Most records of one call, so that a small load in many partitions isn't counted all at once."""


async def main(kafka: str, group: str, most: int, topics: list[str]) -> None:
    consumer = AIOKafkaConsumer(
        *topics,
        bootstrap_servers=kafka,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=4 * 1024 * 1024,
    )
    await consumer.start()
    try:
        counted, next_line = 0, 0.0
        while counted < most:
            fetched = await consumer.getmany(timeout_ms=500, max_records=MOST_RECORDS)
            counted += sum(len(records) for records in fetched.values())
            if fetched and (not next_line or time.monotonic() >= next_line or counted >= most):
                next_line = time.monotonic() + 0.1
                print("\npace", time.monotonic(), counted, flush=True)
    finally:
        await consumer.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]))
