"""In which order the records of several topics are learned: by record time, whatever the fetches looked like.

One partition number of `clicks`, `purchases` and `feedback` is one shard, and a shard learns one record after the
other. The next one is taken from the topic whose head has the smallest (record timestamp, topic, offset). A topic whose
buffer is empty holds the others up only while its **known end** is ahead of what was handed over, that is while Kafka
is known to hold a record that has not arrived yet: the rule of Kafka Streams. So a worker that starts with a backlog
does not learn a purchase before the click that led to it, and a topic in which nothing happens stops nobody.

Within a topic the order is Kafka's: records never overtake each other by time.

This file decides the order and how much is buffered. Where records come from, and when the end of a topic is looked up,
is decided in `stream.kafka.transport`; the order that came out is journaled by `stream.shard.shard`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter

import numpy as np

from stream.ingest.records import Record
from stream.state.journal import Journal

_TIMESTAMP, _VALUE = attrgetter("timestamp_ms"), attrgetter("value")


class MissingRecords(Exception):
    """What was fetched does not begin where the last fetch ended."""


class Merge:
    """The records of one partition number, waiting for their turn.

    Args:
        offsets: topic to the next offset to learn, in the order in which ties are broken. Topics without a place in it
            do not exist here.
        full_records: a topic with so many waiting records is `full`: nobody should fetch more of it.
        full_bytes: the same for their values.

    >>> merge = Merge({"clicks": 0, "purchases": 0})
    >>> merge.add("clicks", [Record("clicks", 0, 1000, b""), Record("clicks", 1, 3000, b"")], end=2)
    >>> merge.take(10)              # the end of purchases isn't known yet: something older may be there
    []
    >>> merge.known_end("purchases", 1)
    >>> merge.take(10)              # there is something that hasn't arrived
    []
    >>> merge.add("purchases", [Record("purchases", 0, 2000, b"")], end=1)
    >>> [(record.topic, record.offset) for record in merge.take(10)]
    [('clicks', 0), ('purchases', 0), ('clicks', 1)]
    """

    def __init__(
        self, offsets: Mapping[str, int], *, full_records: int = 20_000, full_bytes: int = 32 * 1024 * 1024
    ) -> None:
        self._waiting = {topic: _Waiting() for topic in offsets}
        self._next = dict(offsets)
        self._ends: dict[str, int | None] = dict.fromkeys(offsets)
        self._full_records = full_records
        self._full_bytes = full_bytes

    def add(
        self,
        topic: str,
        records: Sequence[Record],
        *,
        since: int | None = None,
        next_offset: int | None = None,
        end: int | None = None,
    ) -> None:
        """Take records over from Kafka. Those that were already handed over are dropped.

        Args:
            topic: our name of it.
            records: in offset order.
            since: where their fetch started, if somebody may have lost one on the way. Offsets alone don't tell: Kafka
                itself may leave some out.
            next_offset: where the next fetch starts; by default behind the last of these records. Further ahead when
                Kafka left something out (compaction, markers of transactions).
            end: the topic's known end, if it is known: the offset that its next record will get.

        Raises:
            MissingRecords: a fetch before this one was never handed over.
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

    def known_end(self, topic: str, end: int) -> None:
        """The topic is known to reach to `end`, the offset of its next record."""
        self._ends[topic] = end

    def skipped(self, topic: str, *, since: int, to: int) -> None:
        """Kafka holds no record from offset `since` to before `to`. Ignored unless `since` is what comes next."""
        if self._next[topic] == since:
            self._next[topic] = max(since, to)

    def take(self, most: int) -> list[Record]:
        """At most `most` records, in order; fewer when a topic has to be waited for."""
        if any(not waiting.records and self._behind(topic) for topic, waiting in self._waiting.items()):
            return []
        heads = {topic: waiting for topic, waiting in self._waiting.items() if waiting.records}
        if len(heads) < 2:
            return next((waiting.pop(most) for waiting in heads.values()), [])
        # Taking the smallest head is sorting by the largest time so far in the topic: what follows a late record in
        # its topic and is older was held back by it, and comes right behind it.
        times = [np.maximum.accumulate(waiting.times[:most]) for waiting in heads.values()]
        order = np.argsort(np.concatenate(times), kind="stable")  # of equals, the first topic first
        count = min(most, order.size)
        ends = np.cumsum([each.size for each in times])
        for topic, size, end in zip(heads, map(len, times), ends.tolist(), strict=True):
            if size == len(heads[topic].records) and self._behind(topic):
                count = min(count, int(np.flatnonzero(order == end - 1)[0]) + 1)  # up to its last one
        order = order[:count]
        which = np.searchsorted(ends, order, side="right")
        taken: list[Record] = []
        firsts = []
        for number, waiting in enumerate(heads.values()):
            firsts.append(len(taken))
            taken += waiting.pop(int((which == number).sum()))
        places = order - (ends - [each.size for each in times] - firsts)[which]
        return [taken[place] for place in places.tolist()]

    def full(self, topic: str) -> bool:
        """Whether enough of this topic is waiting, so that it should not be fetched now.

        A topic is judged by its own records alone: were all of them stopped together, the one that the others wait for
        would never arrive.
        """
        waiting = self._waiting[topic]
        return len(waiting.records) >= self._full_records or waiting.bytes >= self._full_bytes

    def next_offset(self, topic: str) -> int:
        """The offset behind everything that was handed over."""
        return self._next[topic]

    @property
    def end(self) -> dict[str, int | None]:
        """The known end of each topic; None where nobody has asked Kafka yet."""
        return dict(self._ends)

    @property
    def waiting_records(self) -> int:
        """How many records wait for their turn."""
        return sum(len(waiting.records) for waiting in self._waiting.values())

    @property
    def held_up_by(self) -> list[str]:
        """Topics that the others are waiting for."""
        if not self.waiting_records:
            return []
        return [topic for topic, waiting in self._waiting.items() if not waiting.records and self._behind(topic)]

    def _behind(self, topic: str) -> bool:
        end = self._ends[topic]
        return end is None or self._next[topic] < end


class _Waiting:
    """Records of one topic. Their times and sizes are looked at once, when they come: a head is looked at again and
    again, most of all that of a topic from which little is taken.
    """

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.times = np.empty(0, np.int64)
        self.sizes = np.empty(0, np.int64)
        self.bytes = 0
        """Of all values."""

    def add(self, records: Sequence[Record]) -> None:
        sizes = np.fromiter((len(value) if value else 0 for value in map(_VALUE, records)), np.int64, len(records))
        self.records.extend(records)
        self.times = np.concatenate([self.times, np.fromiter(map(_TIMESTAMP, records), np.int64, len(records))])
        self.sizes = np.concatenate([self.sizes, sizes])
        self.bytes += int(sizes.sum())

    def pop(self, most: int) -> list[Record]:
        """The first ones."""
        popped = self.records[:most]
        del self.records[:most]
        self.bytes -= int(self.sizes[:most].sum())
        self.times, self.sizes = self.times[most:], self.sizes[most:]
        return popped


def batches_again(
    journal: Journal, logs: Mapping[str, Sequence[Record]], offsets: Mapping[str, int] | None = None
) -> Iterator[tuple[list[Record], float]]:
    """The batches that a journal tells of, each with its sample rate, in the order in which they were applied.

    Args:
        journal: bounds and rates.
        logs: records of each topic in offset order; what lies outside the bounds is left out.
        offsets: next offset of each topic before the journal's first batch; by default 0.
    """
    before = {topic: (offsets or {}).get(topic, 0) for topic in journal.topics}
    places = {topic: [record.offset for record in logs.get(topic, ())] for topic in journal.topics}
    for rate, after in zip(journal.rates.tolist(), journal.offsets.tolist(), strict=True):
        merge = Merge(before)
        for topic, bound in zip(journal.topics, after, strict=True):
            first, last = bisect_left(places[topic], before[topic]), bisect_left(places[topic], bound)
            merge.add(topic, logs.get(topic, ())[first:last], end=0)
        yield merge.take(merge.waiting_records), rate
        before = dict(zip(journal.topics, after, strict=True))
