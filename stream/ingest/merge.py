"""Merge of the records of several topic-partitions into one order, by record time, however they were fetched.

This file decides the order in which a shard learns records, and how many are buffered. A shard learns one record after
the other, from any number of partitions of `clicks`, `purchases` and `feedback`. The next record is taken from the
partition whose first waiting record has the smallest (record timestamp, topic, partition, offset). A partition without
waiting records blocks the others only while its **known end** is ahead of the records that were added, that is while
Kafka is known to hold a record that has not arrived yet. This is the rule of Kafka Streams. So a worker that starts
with a backlog does not learn a purchase before the click that led to it, and a partition without events blocks nothing.

Within a partition the order is Kafka's: records never overtake each other by time.

Fetching records and looking up the end of a partition is decided in `stream.kafka.transport`; the resulting order is
journaled by `stream.shard.shard`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from stream.ingest.counted import Counted
from stream.ingest.origins import in_order
from stream.ingest.records import Place, Record
from stream.state.journal import Journal

_TIMESTAMP, _VALUE = attrgetter("timestamp_ms"), attrgetter("value")

Key = TypeVar("Key")
"""Type of the keys of a merge: origins, or topic-partitions (a worker's)."""

FULL_RECORDS = 60_000
FULL_BYTES = 96 * 1024 * 1024
"""Waiting records of all partitions together, and bytes of their values. A partition with an even share of either is
full."""

LEAST_FULL_RECORDS = 2_048
"""Waiting records up to which no partition is full, however many there are."""

AHEAD = 4
"""Multiple of its even share of a batch up to which a partition is looked at. If it has more to give, the batch is
smaller, and small batches cost more an event. Of three topics the one with nine tenths of the events gives it all."""


def full_share(partitions: int) -> int:
    """Waiting records of which each of so many partitions is full.

    >>> full_share(3), full_share(36)
    (20000, 2048)
    """
    return max(LEAST_FULL_RECORDS, FULL_RECORDS // max(1, partitions))


class MissingRecords(Exception):
    """Records between two fetches never arrived: the second one starts behind the end of the first."""


class Merge(Generic[Key]):
    """The waiting records of one shard, and the order in which they are taken.

    Args:
        offsets: next offset to learn of each key, in the order in which ties are broken. Other keys are unknown.
        full_records: a key with this many waiting records is `full`, and should not be fetched; by default an even
            share of `FULL_RECORDS`.
        full_bytes: a key whose waiting values have this many bytes is `full` too; by default an even share of
            `FULL_BYTES`.

    >>> merge = Merge({"clicks": 0, "purchases": 0})
    >>> merge.add("clicks", [Record("clicks", 0, 1000, b""), Record("clicks", 1, 3000, b"")], end=2)
    >>> merge.take(10)              # the end of purchases isn't known: an older one may exist
    []
    >>> merge.known_end("purchases", 1)
    >>> merge.take(10)              # a purchase exists and hasn't arrived
    []
    >>> merge.add("purchases", [Record("purchases", 0, 2000, b"")], end=1)
    >>> [(record.origin, record.offset) for record in merge.take(10)]
    [('clicks', 0), ('purchases', 0), ('clicks', 1)]
    """

    def __init__(
        self, offsets: Mapping[Key, int], *, full_records: int | None = None, full_bytes: int | None = None
    ) -> None:
        share = max(1, len(offsets))
        self._full_records = full_records or full_share(len(offsets))
        self._waiting = {key: _Queue() for key in offsets}
        self._next = dict(offsets)
        self._ends: dict[Key, int | None] = dict.fromkeys(offsets)
        self._full_bytes = full_bytes or FULL_BYTES // share

    def add(
        self,
        key: Key,
        records: Sequence[Record],
        *,
        since: int | None = None,
        next_offset: int | None = None,
        end: int | None = None,
    ) -> None:
        """Add fetched records to the waiting ones. Records that were added before are dropped.

        Args:
            key: of the partition.
            records: records in offset order.
            since: offset at which their fetch started, to detect a lost fetch. Gaps between offsets alone don't show a
                loss, because Kafka itself leaves some offsets out.
            next_offset: offset at which the next fetch starts; by default the one behind the last of these records.
                Further ahead if Kafka left offsets out (compaction, transaction markers).
            end: the partition's end, if it is known: the offset that its next record will get.

        Raises:
            MissingRecords: an earlier fetch was never added.
        """
        expected = self._next[key]
        if since is not None and since > expected:
            raise MissingRecords(f"{key} from offset {expected} to {since} was fetched and never arrived")
        if records and records[0].offset < expected:
            records = [record for record in records if record.offset >= expected]
        self._waiting[key].add(records)
        behind = records[-1].offset + 1 if records else expected
        self._next[key] = max(expected, behind, next_offset or 0)
        if end is not None:
            self.known_end(key, end)

    def known_end(self, key: Key, end: int) -> None:
        """Set the known end of a partition: the offset that its next record will get."""
        self._ends[key] = end

    def skipped(self, key: Key, *, since: int, to: int) -> None:
        """Skip offsets `since` to before `to`, of which Kafka holds no record. Ignored unless `since` comes next."""
        if self._next[key] == since:
            self._next[key] = max(since, to)

    def take(self, most: int) -> list[Record]:
        """Take at most `most` records, in order; fewer if a record that comes first hasn't arrived.

        Of many partitions fewer may come although more are waiting: each gives at most `AHEAD` times its even share.
        """
        if any(map(self.holds_up, self._waiting)):
            return []
        heads = {key: waiting for key, waiting in self._waiting.items() if waiting.count}
        if len(heads) < 2:
            return next((waiting.pop(most) for waiting in heads.values()), [])
        # To take the smallest head again and again is to sort by the largest time so far in each partition: a record
        # that is older than one before it in its partition waited behind that one, and follows it directly.
        portion = min(most, -(-AHEAD * most // len(heads)))
        times = [np.maximum.accumulate(waiting.times[:portion]) for waiting in heads.values()]
        order = np.argsort(np.concatenate(times), kind="stable")  # stable: on a tie the first partition wins
        sizes = np.fromiter(map(len, times), np.int64, len(times))
        ends = np.cumsum(sizes)
        rank = np.empty(order.size, np.int64)
        rank[order] = np.arange(order.size)
        count = min(most, order.size)
        for (key, waiting), size, last in zip(heads.items(), sizes.tolist(), rank[ends - 1].tolist(), strict=True):
            if size < waiting.count or self._behind(key):
                count = min(count, last + 1)  # what follows the last one of it that was looked at isn't known
        order = order[:count]
        which = np.repeat(np.arange(sizes.size), sizes)[order]
        taken: list[Record] = []
        firsts = []
        for waiting, size in zip(heads.values(), np.bincount(which, minlength=len(heads)).tolist(), strict=True):
            firsts.append(len(taken))
            taken += waiting.pop(size)
        places = order - (ends - sizes - firsts)[which]
        return [taken[place] for place in places.tolist()]

    def take_all(self) -> list[Record]:
        """Take all records that can be taken, in order."""
        taken: list[Record] = []
        while portion := self.take(self.waiting_records):
            taken += portion
        return taken

    def full(self, key: Key) -> bool:
        """True if enough records of this partition are waiting, so that it should not be fetched now.

        Each partition is judged by its own records alone. If all of them stopped together, the record that the others
        wait for would never arrive.
        """
        waiting = self._waiting[key]
        return waiting.count >= self._full_records or waiting.bytes >= self._full_bytes

    def next_offset(self, key: Key) -> int:
        """Offset behind everything that was added or skipped."""
        return self._next[key]

    def learned_up_to(self, key: Key, learned: int) -> int:
        """Offset up to which nothing of it is left to learn, if `learned` is the next offset of the learned state.

        Further ahead than `learned` if Kafka holds no record in between: a transaction's marker, or an aborted one.
        """
        waiting = self._waiting[key]
        if waiting.count or learned < waiting.taken_to:
            return learned
        return max(learned, self._next[key])

    @property
    def end(self) -> dict[Key, int | None]:
        """Known end of each partition; None until it was looked up in Kafka."""
        return dict(self._ends)

    @property
    def waiting_records(self) -> int:
        """Number of waiting records of all partitions."""
        return sum(waiting.count for waiting in self._waiting.values())

    def holds_up(self, key: Key) -> bool:
        """True if nothing can be taken because a record of this partition hasn't arrived."""
        return not self._waiting[key].count and self._behind(key)

    def _behind(self, key: Key) -> bool:
        """True if Kafka holds, or may hold, a record of this partition that was not added yet."""
        end = self._ends[key]
        return end is None or self._next[key] < end


class _Queue:
    """Waiting records of one partition, with their times and sizes as arrays.

    Both are read once, when a record is added: the head of a queue is compared again and again, most often that of a
    partition from which little is taken.
    """

    def __init__(self) -> None:
        self._records: list[Record] = []
        self._start = 0
        self.times = np.empty(0, np.int64)
        self.sizes = np.empty(0, np.int64)
        self.bytes = 0
        """Total size of the waiting values."""
        self.taken_to = 0
        """Offset behind the last record that was taken."""

    @property
    def count(self) -> int:
        """Number of waiting records."""
        return len(self._records) - self._start

    def add(self, records: Sequence[Record]) -> None:
        """Append records."""
        if not records:
            return
        del self._records[: self._start]  # once for a fetch: the list is moved when the front is deleted
        self._start = 0
        try:
            sizes = np.fromiter(map(len, map(_VALUE, records)), np.int64, len(records))
        except TypeError:  # a tombstone has no value
            sizes = np.array([len(record.value or b"") for record in records], np.int64)
        self._records.extend(records)
        self.times = np.concatenate([self.times, np.fromiter(map(_TIMESTAMP, records), np.int64, len(records))])
        self.sizes = np.concatenate([self.sizes, sizes])
        self.bytes += int(sizes.sum())

    def pop(self, most: int) -> list[Record]:
        """Remove and return the first `most` records."""
        popped = self._records[self._start : self._start + most]
        if popped:
            self.taken_to = popped[-1].offset + 1
        self._start += len(popped)
        if self._start == len(self._records):
            self._records, self._start = [], 0
        self.bytes -= int(self.sizes[:most].sum())
        self.times, self.sizes = self.times[most:], self.sizes[most:]
        return popped


class JournaledBatch(NamedTuple):
    """One batch of a journal, with the arguments of `Shard.apply`.

    Attributes:
        records: in the order in which they were applied.
        rate: share of the events that were tested.
        isolated: those that were rejected although nothing is known to be wrong with them, with a reason.
        counted: those whose events were counted only.
    """

    records: list[Record]
    rate: float
    isolated: Mapping[Place, str]
    counted: Counted


def journaled_batches(
    journal: Journal, logs: Mapping[str, Sequence[Record]], offsets: Mapping[str, int] | None = None
) -> Iterator[JournaledBatch]:
    """Rebuild the batches of a journal, in the order in which they were applied.

    Args:
        journal: bounds and sample rates of the batches, and what was isolated and counted only in them.
        logs: records of each log, by its key, in offset order; records outside the bounds are ignored.
        offsets: next offset of each log before the journal's first batch; by default 0.
    """
    origins = [key.partition("#")[0] for key in journal.keys]  # records have an origin, logs a key
    place = {origin: number for number, origin in enumerate(in_order(set(origins)))}
    origin_of_key = dict(sorted(zip(journal.keys, origins, strict=True), key=lambda pair: place[pair[1]]))
    before = {key: (offsets or {}).get(key, 0) for key in origin_of_key}  # ties are broken in this order
    counted_places = {key: list(places) for key, places in journal.counted.items()}
    offsets_of = {key: [record.offset for record in logs.get(key, ())] for key in journal.keys}
    for rate, after in zip(journal.rates.tolist(), journal.offsets.tolist(), strict=True):
        merge = Merge(before)
        bounds = dict(zip(journal.keys, after, strict=True))
        for key, bound in bounds.items():
            first, last = bisect_left(offsets_of[key], before[key]), bisect_left(offsets_of[key], bound)
            merge.add(key, logs.get(key, ())[first:last], end=0)
        isolated = {
            (origin_of_key[key], offset): "isolated before"
            for key, bound in bounds.items()
            for offset in journal.isolated.get(key, ())
            if before[key] <= offset < bound
        }
        counted = frozenset(
            (origin_of_key[key], offset)
            for key, places in counted_places.items()
            for offset in places[bisect_left(places, before[key]) : bisect_left(places, bounds[key])]
        )
        yield JournaledBatch(merge.take_all(), rate, isolated, Counted(places=counted))
        before = {key: bounds[key] for key in before}
