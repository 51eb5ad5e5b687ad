"""Records of ours, made of aiokafka's, a batch of Kafka's at a time.

This file decides which parts of a Kafka record are kept, how aiokafka hands them over, and how many at a time. aiokafka
takes a partition's records out one by one, through three functions of Python for each. Here each of Kafka's batches is
taken as one portion (`take_whole_batches`), and one loop makes its records, in half of the time. Everything that
aiokafka decides by the batch stays its own: checksums, transactions that were aborted, markers, and where the next
fetch starts.

A fetch of a partition may hold tens of thousands of records, packed as Kafka sent them. As records of ours they take
four times of that memory, so each partition gives some whole batches at a time (`drain`), and the others stay packed
until it has room for more.

With a schema registry, a header that names a record's schema is put in front of its value, where older serializers put
it.
"""

# ruff: noqa: SLF001  aiokafka has no public way to its batches

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple

from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import FetchError

from stream.ingest.records import Record
from stream.ingest.schemas.wire import HEADER, LENGTHS

Maker = Callable[[Iterable[Any]], list[Record]]


def record_maker(origin: str, *, schema_headers: bool = False) -> Maker:
    """A function that makes a `Record` from each of aiokafka's records.

    Args:
        origin: under which the records are learned.
        schema_headers: True to look for headers that name a schema.
    """
    new = tuple.__new__  # the same as `Record(…)`, without a call of a Python function for each record

    def make(records: Iterable[Any]) -> list[Record]:
        return [new(Record, (origin, each.offset, each.timestamp, each.value, each.key)) for each in records]

    def make_with_headers(records: Iterable[Any]) -> list[Record]:
        return [
            new(
                Record,
                (
                    origin,
                    each.offset,
                    each.timestamp,
                    with_reference(each.value, headers) if (headers := each.headers) else each.value,
                    each.key,
                ),
            )
            for each in records
        ]

    return make_with_headers if schema_headers else make


def with_reference(value: bytes | None, headers: Iterable[tuple[str, bytes | None]]) -> bytes | None:
    r"""A value behind the reference to its schema, if a header has one.

    >>> with_reference(b"payload", [("trace", b"1"), ("__value_schema_id", b"\0\0\0\0\7")])
    b'\x00\x00\x00\x00\x07payload'
    """
    if value is None:
        return value
    for name, reference in headers:
        if name == HEADER and reference and LENGTHS.get(reference[0], 0) <= len(reference):
            return reference + value if reference[0] in LENGTHS else value
    return value


def take_whole_batches(packed: Any, make: Maker) -> None:
    """Let aiokafka's records of one partition come out as lists of ours, one for each of Kafka's batches.

    Args:
        packed: aiokafka's `PartitionRecords`, of which nothing was taken out yet.
        make: makes the records of a batch.
    """
    if not isinstance(packed._records, _Batches):
        packed._records = _Batches(packed._records, packed.next_fetch_offset, make)
        packed._consumer_record = _records_of


async def drain(
    fetcher: Any, wanted: set[TopicPartition], most: int, maker_of: Callable[[TopicPartition], Maker]
) -> dict[TopicPartition, list[Record]]:
    """Records that have arrived, of each partition whole batches of Kafka's until there are `most`.

    Args:
        fetcher: aiokafka's.
        wanted: partitions that have room.
        most: records at which no further batch of a partition is taken.
        maker_of: a partition to what makes records of its batches.

    Raises:
        KafkaError: a partition can't be fetched. As long as others have records, it waits for the next call, because
            what they gave would be lost with it.
    """
    drained: dict[TopicPartition, list[Record]] = {}
    arrived = wanted & fetcher._records.keys()
    failed = {tp for tp in arrived if isinstance(fetcher._records[tp], FetchError)}
    for tp in arrived - failed:
        records: list[Record] = []
        portions = 1
        while len(records) < most and tp in fetcher._records and not isinstance(fetcher._records[tp], FetchError):
            packed = fetcher._records[tp]._partition_records
            if packed is not None:
                take_whole_batches(packed, maker_of(tp))
            batches = (await fetcher.fetched_records({tp}, timeout=0, max_records=portions)).get(tp)
            if not batches:
                break
            before = len(records)
            records.extend(chain.from_iterable(batches))
            # Batches of one record are common, and a call for each would cost more than the records.
            portions = max(1, (most - len(records)) * len(batches) // (len(records) - before))
        if records:
            drained[tp] = records
    if failed and not drained:
        await fetcher.fetched_records(failed, timeout=0)
    return drained


class _Portion(NamedTuple):
    """The records of one batch, as the one record that aiokafka sees: `offset` is that of the last."""

    offset: int
    records: list[Record]


def _records_of(_: Any, portion: _Portion) -> list[Record]:
    return portion.records


class _Batches:
    """aiokafka's batches of one fetch, each of which gives a portion.

    Args:
        batches: aiokafka's.
        first: offset that was asked for; Kafka may send records before it in the same batch.
        make: makes the records of a batch.
    """

    def __init__(self, batches: Any, first: int, make: Maker) -> None:
        self._batches = batches
        self._first = first
        self._make = make
        self.has_next = batches.has_next

    def next_batch(self) -> _Batch:
        """The next batch, as aiokafka calls it."""
        return _Batch(self._batches.next_batch(), self._first, self._make)


class _Batch:
    """One of aiokafka's batches, with one portion in the place of its records."""

    def __init__(self, batch: Any, first: int, make: Maker) -> None:
        self._batch = batch
        self._first = first
        self._make = make

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)  # the record of a marker

    def __iter__(self) -> Iterator[_Portion]:
        records = self._make(self._batch)
        if records and records[0].offset < self._first:
            records = [record for record in records if record.offset >= self._first]
        if records:
            yield _Portion(records[-1].offset, records)
