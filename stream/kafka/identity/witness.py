"""Witnesses: the digest of one record, which tells a log from another one where the broker has no topic ids.

Brokers before Kafka 2.8, and some that are not Kafka, give topics no id. The first record that such a log has when it
is first read is its witness. If the log has another record at that offset later, the topic was created again. Once
retention or compaction has removed the record, nothing is known by it.

Witnesses are read when a shard is opened and, while it runs, as often as Kafka is asked for topics. Between two looks
versions are published without this check.

This file decides which record of each log is read, and when another one takes its place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any, Protocol

from aiokafka.errors import NoError, OffsetOutOfRangeError, for_code
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.memory_records import MemoryRecords
from faust.types import TP

from stream.kafka.identity.errors import OtherTopic
from stream.shard.logs import LogId, Logs, contradict, witness_offset

MOST_BYTES = 64 * 1024
"""Most bytes of records that are asked for; a broker gives the first batch whole, also if it has more."""

WAIT_MS = 100
"""Longest wait of the broker for a first record."""


class Kafka(Protocol):
    """The part of `TopicIds` that is needed here."""

    async def witness(self, tp: TP, offset: int) -> str:
        """The first record of a topic-partition from an offset on."""


class LogRanges(Protocol):
    """The part of a consumer that is needed here."""

    async def ranges(self, partitions: Iterable[TP]) -> dict[TP, tuple[int, int]]:
        """First offset that Kafka still holds, and the last stable offset, of each topic-partition."""


async def with_witnesses(
    origins: Mapping[TP, str],
    logs: Logs,
    bound: Mapping[TP, LogId],
    ranges: Mapping[TP, tuple[int, int]],
    kafka: Kafka,
    noted: Mapping[TP, str],
) -> dict[TP, LogId]:
    """The logs that Kafka has now, with a witness where the topic has no id.

    The record is the one at the offset of the witness that is known, or the first one that Kafka still has.

    Args:
        origins: origin of each topic-partition.
        logs: of the shard; a log without a witness gets the one that was noted.
        bound: the logs that Kafka has now, without witnesses.
        ranges: first offset and end of each.
        kafka: gives records.
        noted: the newest witness of each, which may be in no published state yet.

    Raises:
        IdentitiesUnknown: no answer.
    """
    found = dict(bound)
    for tp, log in bound.items():
        first, end = ranges[tp]
        if log.topic_id:
            continue
        known = logs.id(origins[tp])
        if known is not None and not known.witness and tp in noted:
            logs.note_witness(origins[tp], noted[tp])
        known = logs.id(origins[tp])
        offset = max(first, witness_offset(known.witness if known is not None else ""))
        if offset < end:
            found[tp] = log._replace(witness=await kafka.witness(tp, offset))
    return found


async def confirm_witnesses(
    origins: Mapping[TP, str],
    logs: Logs,
    bound: Mapping[TP, LogId],
    consumer: LogRanges,
    kafka: Kafka,
    noted: MutableMapping[TP, str],
) -> None:
    """Compare the witnesses of a shard that is running, and note those that are new.

    Raises:
        OtherTopic: a log has another record at the offset of its witness.
        IdentitiesUnknown, KafkaError: no answer.
    """
    if all(log.topic_id for log in bound.values()):
        return
    ranges = await consumer.ranges(bound)
    for tp, log in (await with_witnesses(origins, logs, bound, ranges, kafka, noted)).items():
        origin = origins[tp]
        known = logs.id(origin)
        if known is None or not log.witness:
            continue
        if contradict(known.witness, log.witness):
            raise OtherTopic(
                f"the topic {tp.topic} was created again: partition {tp.partition} has another record at offset "
                f"{witness_offset(log.witness)} than before; it is learned from its beginning"
            )
        logs.note_witness(origin, log.witness)
        noted[tp] = log.witness


def witness_request(tp: TP, offset: int) -> FetchRequest:
    """The request for the records from an offset on, in any transaction: an aborted one is there as well."""
    return FetchRequest(WAIT_MS, 1, MOST_BYTES, 0, [(tp.topic, [(tp.partition, offset, MOST_BYTES)])])


def read_witness(reply: Any, offset: int) -> str:
    """The witness in the broker's answer: offset and digest of the first record from `offset` on.

    Returns:
        An empty text if there is no such record, or the log doesn't reach this offset, or no longer has it.

    Raises:
        KafkaError: the broker's refusal.
    """
    ((_, ((_, code, *_, raw),)),) = reply.topics
    error = for_code(code)
    if error is OffsetOutOfRangeError:
        return ""
    if error is not NoError:
        raise error()
    return next((_witness(record) for record in _records(raw) if record.offset >= offset), "")


def _records(raw: bytes) -> Iterator[Any]:
    batches = MemoryRecords(raw)
    while batches.has_next():
        yield from batches.next_batch()


def _witness(record: Any) -> str:
    digest = hashlib.sha256(repr((record.timestamp, record.key, record.value)).encode()).hexdigest()
    return f"{record.offset}:{digest[:32]}"
