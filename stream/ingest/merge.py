"""Merge of the records of several topics into one order, by record time and independent of how they were fetched.

This file decides the order in which a shard learns records, and how many are buffered. One partition number of
`clicks`, `purchases` and `feedback` is one shard, and a shard learns one record after the other. The next record is
taken from the topic whose first waiting record has the smallest (record timestamp, topic, offset). A topic without
waiting records blocks the others only while its **known end** is ahead of the records that were added, that is while
Kafka is known to hold a record that has not arrived yet. This is the rule of Kafka Streams. So a worker that starts
with a backlog does not learn a purchase before the click that led to it, and a topic without events blocks nothing.

Within a topic the order is Kafka's: records never overtake each other by time.

Fetching records and looking up the end of a topic is decided in `stream.kafka.transport`; the resulting order is
journaled by `stream.shard.shard`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from stream.ingest.records import Place, Record
from stream.state.journal import Journal

_TIMESTAMP, _VALUE = attrgetter("timestamp_ms"), attrgetter("value")

Key = TypeVar("Key")
"""Type of the keys of a merge: our topic names, or topic-partitions (a worker's)."""


class MissingRecords(Exception):
    """Records between two fetches never arrived: the second one starts behind the end of the first."""


class Merge(Generic[Key]):
    """The waiting records of one partition number, and the order in which they are taken.

    Args:
        offsets: next offset to learn of each topic, in the order in which ties are broken. Other topics are unknown.
        full_records: a topic with this many waiting records is `full`, and should not be fetched.
        full_bytes: a topic whose waiting values have this many bytes is `full` too.

    >>> merge = Merge({"clicks": 0, "purchases": 0})
    >>> merge.add("clicks", [Record("clicks", 0, 1000, b""), Record("clicks", 1, 3000, b"")], end=2)
    >>> merge.take(10)              # the end of purchases isn't known: an older one may exist
    []
    >>> merge.known_end("purchases", 1)
    >>> merge.take(10)              # a purchase exists and hasn't arrived
    []
    >>> merge.add("purchases", [Record("purchases", 0, 2000, b"")], end=1)
    >>> [(record.topic, record.offset) for record in merge.take(10)]
    [('clicks', 0), ('purchases', 0), ('clicks', 1)]
    """

    def __init__(
        self, offsets: Mapping[Key, int], *, full_records: int = 20_000, full_bytes: int = 32 * 1024 * 1024
    ) -> None:
        self._waiting = {topic: _TopicQueue() for topic in offsets}
        self._next = dict(offsets)
        self._ends: dict[Key, int | None] = dict.fromkeys(offsets)
        self._full_records = full_records
        self._full_bytes = full_bytes

    def add(
        self,
        topic: Key,
        records: Sequence[Record],
        *,
        since: int | None = None,
        next_offset: int | None = None,
        end: int | None = None,
    ) -> None:
        """Add fetched records to the waiting ones. Records that were added before are dropped.

        Args:
            topic: our name of the topic.
            records: records in offset order.
            since: offset at which their fetch started, to detect a lost fetch. Gaps between offsets alone don't show a
                loss, because Kafka itself leaves some offsets out.
            next_offset: offset at which the next fetch starts; by default the one behind the last of these records.
                Further ahead if Kafka left offsets out (compaction, transaction markers).
            end: the topic's end, if it is known: the offset that its next record will get.

        Raises:
            MissingRecords: an earlier fetch was never added.
        """
        expected = self._next[topic]
        if since is not None and since > expected:
            raise MissingRecords(f"{topic} from offset {expected} to {since} was fetched and never arrived")
        if records and records[0].offset < expected:
            records = [record for record in records if record.offset >= expected]
        self._waiting[topic].add(records)
        behind = records[-1].offset + 1 if records else expected
        self._next[topic] = max(expected, behind, next_offset or 0)
        if end is not None:
            self.known_end(topic, end)

    def known_end(self, topic: Key, end: int) -> None:
        """Set the known end of a topic: the offset that its next record will get."""
        self._ends[topic] = end

    def skipped(self, topic: Key, *, since: int, to: int) -> None:
        """Skip offsets `since` to before `to`, of which Kafka holds no record. Ignored unless `since` comes next."""
        if self._next[topic] == since:
            self._next[topic] = max(since, to)

    def take(self, most: int) -> list[Record]:
        """Take at most `most` records, in order; fewer if a record that comes first hasn't arrived."""
        if any(not waiting.records and self._behind(topic) for topic, waiting in self._waiting.items()):
            return []
        heads = {topic: waiting for topic, waiting in self._waiting.items() if waiting.records}
        if len(heads) < 2:
            return next((waiting.pop(most) for waiting in heads.values()), [])
        # To take the smallest head again and again is to sort by the largest time so far in each topic: a record that
        # is older than one before it in its topic waited behind that one, and follows it directly.
        times = [np.maximum.accumulate(waiting.times[:most]) for waiting in heads.values()]
        order = np.argsort(np.concatenate(times), kind="stable")  # stable: on a tie the first topic wins
        count = min(most, order.size)
        ends = np.cumsum([each.size for each in times])
        for topic, size, end in zip(heads, map(len, times), ends.tolist(), strict=True):
            if size == len(heads[topic].records) and self._behind(topic):
                count = min(count, int(np.flatnonzero(order == end - 1)[0]) + 1)  # at most to its last record
        order = order[:count]
        which = np.searchsorted(ends, order, side="right")
        taken: list[Record] = []
        firsts = []
        for number, waiting in enumerate(heads.values()):
            firsts.append(len(taken))
            taken += waiting.pop(int((which == number).sum()))
        places = order - (ends - [each.size for each in times] - firsts)[which]
        return [taken[place] for place in places.tolist()]

    def full(self, topic: Key) -> bool:
        """True if enough records of this topic are waiting, so that it should not be fetched now.

        Each topic is judged by its own records alone. If all of them stopped together, the record that the others wait
        for would never arrive.
        """
        waiting = self._waiting[topic]
        return len(waiting.records) >= self._full_records or waiting.bytes >= self._full_bytes

    def next_offset(self, topic: Key) -> int:
        """Offset behind everything that was added or skipped."""
        return self._next[topic]

    def learned_up_to(self, topic: Key, learned: int) -> int:
        """Offset up to which nothing of a topic is left to learn, if `learned` is the next offset of the learned state.

        Further ahead than `learned` if Kafka holds no record in between: a transaction's marker, or an aborted one.
        """
        waiting = self._waiting[topic]
        if waiting.records or learned < waiting.taken_to:
            return learned
        return max(learned, self._next[topic])

    @property
    def end(self) -> dict[Key, int | None]:
        """Known end of each topic; None until it was looked up in Kafka."""
        return dict(self._ends)

    @property
    def waiting_records(self) -> int:
        """Number of waiting records of all topics."""
        return sum(len(waiting.records) for waiting in self._waiting.values())

    @property
    def held_up_by(self) -> list[Key]:
        """Topics whose missing record blocks waiting records of other topics."""
        if not self.waiting_records:
            return []
        return [topic for topic, waiting in self._waiting.items() if not waiting.records and self._behind(topic)]

    def _behind(self, topic: Key) -> bool:
        """True if Kafka holds, or may hold, a record of this topic that was not added yet."""
        end = self._ends[topic]
        return end is None or self._next[topic] < end


class _TopicQueue:
    """Waiting records of one topic, with their times and sizes as arrays.

    Both are read once, when a record is added: the head of a queue is compared again and again, most often that of a
    topic from which little is taken.
    """

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.times = np.empty(0, np.int64)
        self.sizes = np.empty(0, np.int64)
        self.bytes = 0
        """Total size of the waiting values."""
        self.taken_to = 0
        """Offset behind the last record that was taken."""

    def add(self, records: Sequence[Record]) -> None:
        """Append records."""
        sizes = np.fromiter((len(value) if value else 0 for value in map(_VALUE, records)), np.int64, len(records))
        self.records.extend(records)
        self.times = np.concatenate([self.times, np.fromiter(map(_TIMESTAMP, records), np.int64, len(records))])
        self.sizes = np.concatenate([self.sizes, sizes])
        self.bytes += int(sizes.sum())

    def pop(self, most: int) -> list[Record]:
        """Remove and return the first `most` records."""
        popped = self.records[:most]
        if popped:
            self.taken_to = popped[-1].offset + 1
        del self.records[:most]
        self.bytes -= int(self.sizes[:most].sum())
        self.times, self.sizes = self.times[most:], self.sizes[most:]
        return popped


class JournaledBatch(NamedTuple):
    """One batch of a journal, with the arguments of `Shard.apply`.

    Attributes:
        records: in the order in which they were applied.
        rate: share of the events that were tested.
        isolated: those that were rejected although nothing is known to be wrong with them, with a reason.
    """

    records: list[Record]
    rate: float
    isolated: Mapping[Place, str]


def journaled_batches(
    journal: Journal, logs: Mapping[str, Sequence[Record]], offsets: Mapping[str, int] | None = None
) -> Iterator[JournaledBatch]:
    """Rebuild the batches of a journal, in the order in which they were applied.

    Args:
        journal: bounds and sample rates of the batches, and what was isolated in them.
        logs: records of each topic in offset order; records outside the bounds are ignored.
        offsets: next offset of each topic before the journal's first batch; by default 0.
    """
    before = {topic: (offsets or {}).get(topic, 0) for topic in journal.topics}
    offsets_of = {topic: [record.offset for record in logs.get(topic, ())] for topic in journal.topics}
    for rate, after in zip(journal.rates.tolist(), journal.offsets.tolist(), strict=True):
        merge = Merge(before)
        for topic, bound in zip(journal.topics, after, strict=True):
            first, last = bisect_left(offsets_of[topic], before[topic]), bisect_left(offsets_of[topic], bound)
            merge.add(topic, logs.get(topic, ())[first:last], end=0)
        isolated = {
            (topic.partition("#")[0], place): "isolated before"  # records have a topic's name, logs a key
            for topic, bound in zip(journal.topics, after, strict=True)
            for place in journal.isolated.get(topic, ())
            if before[topic] <= place < bound
        }
        yield JournaledBatch(merge.take(merge.waiting_records), rate, isolated)
        before = dict(zip(journal.topics, after, strict=True))
