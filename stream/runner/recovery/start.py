"""The start of a shard in Kafka.

This file decides where Kafka starts: at the state's offset; at the beginning of a log from which the state has never
learned, although the topic has the same name; at the first record that Kafka still has, if retention has overtaken the
state (the loss is counted and logged); and not at all, if the state is ahead of the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from faust.types import TP

from stream.kafka.fetch import SeekableConsumer
from stream.kafka.identity.witness import confirm_witnesses, with_witnesses
from stream.runner.assignment import ShardAssignment, name_of
from stream.runner.open_shard import OpenShard, StartOffset
from stream.runner.recovery.errors import KafkaLostRecords
from stream.runner.resources import WorkerResources
from stream.shard.logs import LogId
from stream.shard.shard import Shard


async def start_offsets(
    assignment: ShardAssignment,
    shard: Shard,
    bound: Mapping[TP, LogId],
    consumer: SeekableConsumer,
    resources: WorkerResources,
    log: Any,
) -> dict[TP, StartOffset]:
    """Bind a shard to the logs that Kafka has now, and find the offset at which each of them starts.

    A log that the shard has never had starts at its beginning, whatever it is called; records that retention removed
    from it before are no loss. A log that the shard had, also if nothing came in it then, has lost what it no longer
    has.

    Args:
        assignment: the shard's topic-partitions.
        shard: restored, or as it is; its logs are bound.
        bound: identity of the log of each topic-partition.
        consumer: gives the range of offsets that Kafka holds.
        resources: for metrics, and settings in messages.
        log: of this shard.

    Returns:
        The start and the end of each topic-partition, in the order of the assignment.

    Raises:
        KafkaError, IdentitiesUnknown: no broker answered.
        KafkaLostRecords: the state is ahead of Kafka, or a topic is another one and may not be.
    """
    ranges = await consumer.ranges(assignment.partitions)
    ids, noted = resources.topic_ids, resources.witnesses
    bound = await with_witnesses(assignment.origins, shard.logs, bound, ranges, ids, noted)
    starts = {}
    for tp, origin in assignment.origins.items():
        first, end = ranges[tp]
        before, learned = shard.logs.id(origin), shard.logs.offset(origin)
        if resources.settings.other_topics == "refuse" and shard.logs.is_other(origin, bound[tp], end=end):
            raise KafkaLostRecords(
                f"{name_of(tp)} is not the log that model {resources.settings.model_name!r} has learned up to offset "
                f"{learned}, and CORRENTE_OTHER_TOPICS=refuse: found {_shown(bound[tp])}, learned from "
                f"{_shown(before)}. "
                "Name the old topic, set another CORRENTE_MODEL_NAME, or CORRENTE_OTHER_TOPICS=learn"
            )
        known = shard.logs.knows(origin, bound[tp], end=end)
        if shard.logs.bind(origin, bound[tp], end=end):
            resources.metrics.other_topics.labels(assignment.topic_of(tp)).inc()
            log.warning(
                "another topic than before; it is learned from where this model left it, or from its beginning",
                topic=tp.topic,
                kafka_partition=tp.partition,
                before=_shown(before),
                now=_shown(bound[tp]),
                learned_before=learned,
                offset=shard.logs.offset(origin),
                mend="nothing, if that was meant; with CORRENTE_OTHER_TOPICS=refuse the shard stands still instead",
            )
        offset = shard.logs.offset(origin)
        if offset > end:
            raise KafkaLostRecords(
                f"model {resources.settings.model_name!r} has learned {name_of(tp)} up to offset {offset}, but Kafka's "
                f"topic ends at {end}: it lost records. Nothing is learned until the topic has them again; to learn "
                "what it has now, set another CORRENTE_MODEL_NAME"
            )
        lost = first - offset if known and offset < first else 0
        if lost:
            log_lost(assignment, tp, offset, first, resources, log)
        elif offset < first:
            log.info(
                "Kafka no longer has the beginning of a topic; it is learned from its first record",
                topic=tp.topic,
                kafka_partition=tp.partition,
                first_kept=first,
            )
        if offset < first:
            shard.logs.advance(origin, first)  # counted once, also if the shard is opened again before it learns
        starts[tp] = StartOffset(max(offset, first), end, lost)
        if bound[tp].witness:
            noted[tp] = bound[tp].witness
    return starts


async def confirm_logs(assignment: ShardAssignment, opened: OpenShard, resources: WorkerResources) -> None:
    """Have Kafka confirm that the logs of a shard that is running are the ones that it was started from.

    Raises:
        OtherTopic: one is another one.
        IdentitiesUnknown, KafkaError: no broker answered.
    """
    ids, origins, logs = resources.topic_ids, assignment.origins, opened.shard.logs
    await ids.confirm(opened.bound)
    await confirm_witnesses(origins, logs, opened.bound, resources.consumer(), ids, resources.witnesses)


def _shown(found: LogId | None) -> str:
    """A log for people."""
    if found is None:
        return "a log of unknown identity"
    return (
        f"{found.name}-{found.partition}, topic id {found.topic_id or 'unknown'}, cluster {found.cluster or 'unknown'}"
    )


def log_lost(
    assignment: ShardAssignment, tp: TP, first_lost: int, first_kept: int, resources: WorkerResources, log: Any
) -> None:
    """Count and log the offsets from `first_lost` to before `first_kept`, which retention removed unlearned."""
    resources.metrics.lost.labels(assignment.topic_of(tp)).inc(first_kept - first_lost)
    log.error(
        "Kafka's retention removed records before they were learned; raise the topic's retention.ms or "
        "retention.bytes, or add workers",
        topic=tp.topic,
        kafka_partition=tp.partition,
        first_lost=first_lost,
        first_kept=first_kept,
        records=first_kept - first_lost,
    )
