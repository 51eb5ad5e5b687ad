"""Recovery: a shard is claimed, restored from its newest version, and started at the offsets of that state.

The committed offsets are read before the claim: they follow publishing, so a state in Redis that is behind them means
that Redis came back older than it was, and the claim begins a new lineage of versions.

This file decides what is restored and where Kafka starts: at the state's offset; at the first record that Kafka still
holds, if retention has overtaken the state (the loss is counted and logged); and not at all, if the state is ahead of
Kafka's topic.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from faust.types import TP

from stream.kafka.fetch import SeekableConsumer
from stream.models.schema import table_specs
from stream.runner.assignment import ShardAssignment, name_of
from stream.runner.open_shard import StartOffset
from stream.runner.resources import WorkerResources
from stream.shard.shard import Shard
from stream.state.table_writer import TableWriter
from stream.state.tables import Tables
from stream.versions import Claim


class KafkaLostRecords(RuntimeError):
    """The state has passed offsets that Kafka does not have: these are not the topics that were learned from."""


async def restore(
    assignment: ShardAssignment, consumer: SeekableConsumer, resources: WorkerResources, log: Any
) -> tuple[Claim, Shard]:
    """Claim a shard, which fences its former owner, and load its newest state.

    Raises:
        KafkaError: the committed offsets can't be read.
        RedisError: Redis can't be reached.
        VersionError: the newest state can't be read.
    """
    started = resources.clock.monotonic()
    committed = await consumer.committed(assignment.partitions)
    known = assignment.by_topic(committed)
    claim, shard = await resources.with_redis(lambda: _claim_and_load(assignment, known, resources, log))
    resources.metrics.restores.inc()
    resources.metrics.restore_seconds.observe(resources.clock.monotonic() - started)
    return claim, shard


def _claim_and_load(
    assignment: ShardAssignment, known_offsets: Mapping[str, int], resources: WorkerResources, log: Any
) -> tuple[Claim, Shard]:
    claim = resources.store.claim(
        assignment.shard,
        worker=resources.name,
        token=uuid.uuid4().hex,
        now=resources.clock.time(),
        known_offsets=known_offsets,
        known_number=resources.newest_number,
        visitor_salt=resources.settings.model.visitor_salt,
    )
    if claim.new_lineage:
        log.warning(
            "Redis is older than what was published before; a new lineage of versions begins",
            lineage=claim.lineage,
            committed=dict(known_offsets),
            found=claim.head.offsets if claim.head else {},
        )
    settings = resources.settings
    options: dict[str, Any] = {
        "partition": assignment.shard,
        "shards": assignment.shards,
        "fields": settings.fields,
        "max_future_seconds": settings.max_future_seconds,
    }
    if claim.head is None:
        return claim, Shard(settings.model, **options)
    tables = Tables(table_specs(settings.model))
    state = resources.store.load(assignment.shard, claim.head, TableWriter(tables))
    return claim, Shard.restore(settings.model, tables, state, **options)


async def start_offsets(
    assignment: ShardAssignment,
    learned: Mapping[str, int],
    consumer: SeekableConsumer,
    resources: WorkerResources,
    log: Any,
) -> dict[TP, StartOffset]:
    """The offset at which each topic-partition starts, and its end, in the order of the assignment.

    Args:
        assignment: the shard's topic-partitions.
        learned: next offsets of the state, by our topic name.
        consumer: gives the range of offsets that Kafka holds.
        resources: for metrics, and the model's name in messages.
        log: of this shard.

    Raises:
        KafkaError: no broker answered.
        KafkaLostRecords: the state is ahead of Kafka.
    """
    starts = {}
    ranges = await consumer.ranges(assignment.partitions)
    offsets = assignment.by_partition(learned)
    for tp in assignment.topics:
        first, end = ranges[tp]
        offset = offsets.get(tp, 0)
        if offset > end:
            raise KafkaLostRecords(
                f"model {resources.settings.model_name!r} has learned {name_of(tp)} up to offset {offset}, but Kafka's "
                f"topic ends at {end}: it was created again, or it lost records. Nothing is learned until it is the "
                "old topic again; for another topic set another CORRENTE_MODEL_NAME"
            )
        if 0 < offset < first:
            log_lost(assignment, tp, offset, first, resources, log)
        elif offset < first:
            log.info("Kafka no longer has the beginning of a topic", topic=tp.topic, first_kept=first)
        starts[tp] = StartOffset(max(offset, first), end)
    return starts


def log_lost(
    assignment: ShardAssignment, tp: TP, first_lost: int, first_kept: int, resources: WorkerResources, log: Any
) -> None:
    """Count and log the offsets from `first_lost` to before `first_kept`, which retention removed unlearned."""
    resources.metrics.lost.labels(assignment.topics[tp]).inc(first_kept - first_lost)
    log.error(
        "Kafka's retention removed records before they were learned; raise the topic's retention.ms or "
        "retention.bytes, or add workers",
        topic=tp.topic,
        kafka_partition=tp.partition,
        first_lost=first_lost,
        first_kept=first_kept,
        records=first_kept - first_lost,
    )
