"""Records in Kafka: transactions that hold partitions up, and records that were removed before they were learned.

This file decides how long a transaction may be open, and what is compared with what the group has committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from stream.doctor.findings import Finding, error, ok, warning
from stream.kafka.connection.options import client_options
from stream.kafka.topics import partition_counts
from stream.settings import Settings

LOOK_AGAIN_SECONDS = 1.0
"""Time after which a transaction that is still open, and at the same record, is reported."""


async def check_logs(admin: Any, settings: Settings) -> list[Finding]:
    """Open transactions and lost records in the partitions of all event topics."""
    counts = await partition_counts(admin, list(settings.topics.values()))
    partitions = [TopicPartition(topic, number) for topic, count in counts.items() for number in range(count)]
    if not partitions:
        return []
    committed = await _committed(admin, settings.consumer_group)
    stable, ends = _consumer(settings, "read_committed"), _consumer(settings, "read_uncommitted")
    try:
        await asyncio.gather(stable.start(), ends.start())
        beginnings = await ends.beginning_offsets(partitions)
        held = _held_up(await stable.end_offsets(partitions), await ends.end_offsets(partitions))
        if held:
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
            again = _held_up(await stable.end_offsets(partitions), await ends.end_offsets(partitions))
            held = {tp: found for tp, found in again.items() if tp in held and held[tp][0] == found[0]}
    finally:
        await asyncio.gather(stable.stop(), ends.stop())
    findings = [
        warning(
            "kafka.transactions",
            f"an open transaction holds {tp.topic}-{tp.partition} up at offset {offset}; {behind} records wait",
            f"end its producer, or abort it: kafka-transactions.sh --bootstrap-server {settings.kafka} find-hanging "
            f"--topic {tp.topic} --partition {tp.partition}",
        )
        for tp, (offset, behind) in held.items()
    ]
    findings += [
        error(
            "kafka.retention",
            f"{beginnings[tp] - at.offset} records of {tp.topic}-{tp.partition} were removed before they were learned",
            f"start a worker, and lengthen retention.ms of {tp.topic}",
        )
        for tp, at in committed.items()
        if 0 <= at.offset < beginnings.get(tp, 0)
    ]
    return findings or [ok("kafka.transactions", f"no transaction is open in {len(partitions)} partitions")]


async def _committed(admin: Any, group: str) -> Mapping[TopicPartition, Any]:
    """Offsets that a group has committed; none if it has committed nothing, which some brokers say with a null."""
    try:
        found: Mapping[TopicPartition, Any] = await admin.list_consumer_group_offsets(group)
    except TypeError:
        return {}
    return found


def _consumer(settings: Settings, isolation_level: str) -> Any:
    return AIOKafkaConsumer(**client_options(settings), isolation_level=isolation_level, enable_auto_commit=False)


def _held_up(
    stable: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
) -> dict[TopicPartition, tuple[int, int]]:
    """The offset at which each partition is held up, and the number of records behind it."""
    return {tp: (stable[tp], end - stable[tp]) for tp, end in ends.items() if stable[tp] < end}
