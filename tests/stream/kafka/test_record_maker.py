"""Records come out of aiokafka's batches as ours: the same ones, at the same offsets, as aiokafka itself hands out."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, READ_UNCOMMITTED, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given
from hypothesis import strategies as st

from stream.ingest.records import Record
from stream.kafka.record_maker import record_maker, take_whole_batches

TP_OF_CLICKS = TopicPartition("shop-clicks", 1)
ATTRIBUTES_AT = 21
"""Place of the attributes in a batch: behind base offset, length, epoch of the leader, magic and checksum."""
TRANSACTIONAL, CONTROL = 0x10, 0x20


class Written(NamedTuple):
    """One batch as a broker keeps it."""

    values: list[bytes]
    producer: int = -1
    gap: int = 0
    """Offsets behind its last record that compaction left empty."""
    marker: int | None = None
    """0 if it is the marker of an aborted transaction, 1 of a committed one."""


def bytes_of(written: Written, base: int) -> bytes:
    transactional = written.producer >= 0
    builder = DefaultRecordBatchBuilder(2, 0, int(transactional), written.producer, 0, 0, 1 << 20)
    if written.marker is not None:
        builder.append(0, 1000, struct.pack(">hh", 0, written.marker), b"", [])
    for number, value in enumerate(written.values):
        builder.append(number, 1000 + number, b"key" if number % 2 else None, value, [("trace", b"1")])
    batch = bytearray(builder.build())
    batch[0:8] = struct.pack(">q", base)
    attributes = TRANSACTIONAL * transactional | CONTROL * (written.marker is not None)
    batch[ATTRIBUTES_AT : ATTRIBUTES_AT + 2] = struct.pack(">h", attributes)
    batch[23:27] = struct.pack(">i", size_of(written) - 1)  # the offset of the last record, which may be gone
    return bytes(batch)


def size_of(written: Written) -> int:
    return max(1, len(written.values)) + written.gap


def packed(log: bytes, first: int, aborted: list[tuple[int, int]], **options: Any) -> PartitionRecords:
    given = {"check_crcs": False, "isolation_level": READ_COMMITTED, **options}
    return PartitionRecords(TP_OF_CLICKS, MemoryRecords(log), aborted, first, None, None, **given)


def ours(records: PartitionRecords, **options: Any) -> list[Record]:
    take_whole_batches(records, record_maker("clicks/1", **options))
    return [record for portion in records for record in portion]


VALUES = st.lists(st.binary(max_size=4), min_size=1, max_size=5)
BATCHES = st.builds(Written, VALUES, st.sampled_from([-1, -1, 7, 8]), st.integers(0, 2), st.none()) | st.builds(
    Written, st.just([]), st.sampled_from([7, 8]), st.just(0), st.sampled_from([0, 1])
)


@given(st.lists(BATCHES, max_size=8), st.data())
def test_the_same_records_come_out_as_from_aiokafka_itself(batches: list[Written], data: st.DataObject) -> None:
    base, log, aborted = 0, b"", []
    for written in batches:
        log += bytes_of(written, base)
        if written.producer >= 0 and written.values and data.draw(st.booleans(), label="its transaction was aborted"):
            aborted.append((written.producer, base))
        base += size_of(written)
    within = size_of(batches[0]) - 1 if batches else 0  # a broker begins with the batch that has the offset
    first = data.draw(st.integers(0, within), label="fetch from")
    level = data.draw(st.sampled_from([READ_COMMITTED, READ_UNCOMMITTED]))
    theirs, made = (packed(log, first, list(aborted), isolation_level=level) for _ in range(2))
    expected = [Record("clicks/1", each.offset, each.timestamp, each.value, each.key) for each in theirs]
    assert ours(made) == expected
    assert made.next_fetch_offset == theirs.next_fetch_offset


def test_a_fetch_that_is_looked_at_twice_is_wrapped_once() -> None:
    records = packed(bytes_of(Written([b"1", b"2"]), 5), 5, [])
    take_whole_batches(records, record_maker("clicks/1"))
    assert [record.value for record in ours(records)] == [b"1", b"2"]


def test_a_batch_with_a_wrong_checksum_is_refused() -> None:
    log = bytearray(DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 20).build())
    log[-1] ^= 1
    with pytest.raises(CorruptRecordException):
        ours(packed(bytes(log), 0, [], check_crcs=True))


def test_records_become_ours_with_the_name_that_we_have_for_their_partition() -> None:
    kafkas = SimpleNamespace(offset=4, timestamp=1000, value=b"{}", key=b"ada")
    (made,) = record_maker("clicks/1")([kafkas])
    assert made == Record("clicks/1", 4, 1000, b"{}", b"ada")
    assert type(made) is Record


@pytest.mark.parametrize(("value", "made"), [(b"{}", b"\0\0\0\0\7{}"), (None, None)])
def test_a_header_that_names_a_schema_stands_in_front_of_the_value(value: bytes | None, made: bytes | None) -> None:
    headers = [("__value_schema_id", b"\0\0\0\0\7")]
    kafkas = SimpleNamespace(offset=4, timestamp=1000, value=value, key=None, headers=headers)
    assert record_maker("clicks", schema_headers=True)([kafkas])[0].value == made
