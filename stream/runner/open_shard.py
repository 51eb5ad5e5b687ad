"""A shard that is open: claimed, restored, and fed from Kafka.

An `OpenShard` exists from the moment at which Kafka starts at the offsets of its state until the state is given up.
During a rebalance it stays, with no session, and is restarted afterwards with the state that it has.

This file decides which fetches belong to the shard, in what portions records are learned, and what is remembered of
records that are learned and in no version yet.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from faust.types import TP

from stream.health.failures import BatchFailed
from stream.ingest.merge import Merge, MissingRecords
from stream.ingest.records import Record, Rejection
from stream.kafka.fetch import Fetch, Position
from stream.kafka.identity.errors import OtherTopic
from stream.runner.assignment import ShardAssignment, name_of
from stream.shard.isolation import Isolation
from stream.shard.logs import LogId
from stream.shard.shard import LearnResult, Shard
from stream.state.tables import Delta
from stream.versions import Claim

BATCH_RECORDS = 8192
"""Most records of one batch: learning can't be interrupted within a batch, and between two batches it waits for the
event loop. With 4,096, a backlog is learned a tenth more slowly. Fewer if records become several events."""

LEAST_BATCH_RECORDS = 64
"""Records that are a batch in any case, however many events each of them becomes."""

RECORDS_BETWEEN_PARTS = 2048
"""Most records of a batch between two parts of a checkpoint. A smaller batch writes fewer blocks anew, so the parts
gain on learning."""


class StartOffset(NamedTuple):
    """The start of a topic-partition.

    Attributes:
        offset: at which it starts.
        end: offset behind its last record.
        lost: number of offsets before `offset` that were never learned, because retention removed them.
    """

    offset: int
    end: int
    lost: int = 0


@dataclass
class OpenShard:
    """A claimed and restored shard, its merge, and everything that is learned but not published.

    Attributes:
        assignment: number of the shard and its topic-partitions.
        claim: the right to publish it.
        shard: its learning state.
        merge: records that wait to be learned.
        start_offsets: offsets at which the present sessions started.
        sessions: number of the present session of each topic-partition; empty if no fetch is accepted.
        published: next offsets of the newest published state.
        bound: identity of the log of each topic-partition, at the start of the present sessions.
        rejections: records that could not be learned, since the last checkpoint.
        parts: parts of the checkpoint that is being taken.
        unpublished: number of records that were learned since the last checkpoint.
        publishing: number of records in the checkpoint that is being published.
        portions: records that were taken from the merge, in portions that are learned by themselves.
        lost: the losses that the state has not passed yet, of each topic-partition: the offset behind each of them, and
            its number of records.
        gap: set if a fetch was lost on its way, or a topic is another one; the shard has to be restarted.
    """

    assignment: ShardAssignment
    claim: Claim
    shard: Shard
    merge: Merge[TP]
    start_offsets: Mapping[TP, int]
    sessions: Mapping[TP, int]
    published: Mapping[TP, int]
    bound: Mapping[TP, LogId] = field(default_factory=dict)
    rejections: list[Rejection] = field(default_factory=list)
    parts: list[Delta] = field(default_factory=list)
    unpublished: int = 0
    publishing: int = 0
    portions: deque[Sequence[Record]] = field(default_factory=deque)
    lost: dict[TP, list[tuple[int, int]]] = field(default_factory=dict)
    gap: MissingRecords | OtherTopic | None = None

    def restart(
        self,
        assignment: ShardAssignment,
        starts: Mapping[TP, StartOffset],
        sessions: Mapping[TP, int],
        bound: Mapping[TP, LogId],
    ) -> None:
        """Begin new sessions with the state that there is; records that wait in the merge are fetched again."""
        self.assignment = assignment
        self.bound = bound
        self.merge = merge_from(starts)
        self.start_offsets = {tp: start.offset for tp, start in starts.items()}
        self.sessions = sessions
        self.portions.clear()
        # Losses before the starts were found once; those behind them are found again when they are fetched.
        before = {
            tp: [each for each in self.lost.get(tp, []) if each[0] <= start.offset] for tp, start in starts.items()
        }
        self.lost = {tp: losses for tp, new in before.items() if (losses := new + lost_at(starts).get(tp, []))}
        self.gap = None

    def note_lost(self, tp: TP, end: int, records: int) -> None:
        """Remember that retention removed so many records before offset `end`, to be counted in the state."""
        self.lost.setdefault(tp, []).append((end, records))

    def pass_lost(self) -> dict[str, int]:
        """Count the losses that the state has passed now, in the state; return their number by origin."""
        passed: dict[str, int] = {}
        for tp, losses in list(self.lost.items()):
            origin = self.assignment.origins[tp]
            while losses and losses[0][0] <= self.shard.logs.offset(origin):
                passed[origin] = passed.get(origin, 0) + losses.pop(0)[1]
            if not losses:
                del self.lost[tp]
        for origin, records in passed.items():
            self.shard.note_lost(origin, records)
        return passed

    def close_sessions(self) -> None:
        """Accept no more fetches until `restart`."""
        self.sessions = {}

    def current(self, tp: TP, session: int) -> bool:
        """Return True if this is the present session of the topic-partition."""
        return self.sessions.get(tp) == session

    def deliver(self, fetch: Fetch) -> bool:
        """Take over a fetch; return True if the runner should look.

        A fetch of an earlier session is dropped: it was fetched before a seek, or before the partition moved.
        """
        if not self.current(fetch.tp, fetch.session):
            return False
        try:
            self.merge.add(fetch.tp, fetch.records, since=fetch.since, next_offset=fetch.next_offset, end=fetch.end)
        except MissingRecords:
            expected = self.merge.next_offset(fetch.tp)
            lost = f"{name_of(fetch.tp)}: the fetch of offsets {expected} to {fetch.since} was lost"
            self.break_off(MissingRecords(lost))
        return True

    def break_off(self, reason: MissingRecords | OtherTopic) -> None:
        """End the sessions: the shard has to be restarted, and with another topic from its last published state."""
        self.gap = reason
        self.close_sessions()

    def has_room(self, tp: TP) -> bool:
        """Return True if more records of this topic-partition are wanted now."""
        return tp in self.start_offsets and not self.merge.full(tp)

    def note_position(self, position: Position) -> bool:
        """Take the progress of a topic-partition without a fetch; return True if that may let others go on."""
        tp = position.tp
        if not self.current(tp, position.session):
            return False
        if position.restarted:
            self.break_off(
                OtherTopic(
                    f"{name_of(tp)} ends before offset {position.delivered}, up to which it was read: "
                    "it was created again or lost records, and is looked at anew"
                )
            )
            return True
        held_up = self.merge.holds_up(tp)
        self.merge.skipped(tp, since=position.delivered, to=position.position)
        if position.end is not None:
            self.merge.known_end(tp, position.end)
        return held_up and not self.merge.holds_up(tp)

    def take_records(self, max_unpublished_records: int, isolation: Isolation) -> Sequence[Record]:
        """The next records to learn, in merged order; none while too many are learned and in no version.

        A caller that loses them has to `restart`: the merge gives each record once.

        Args:
            max_unpublished_records: learning waits at this number.
            isolation: cuts them into portions while it searches for a record that fails.
        """
        if self.unpublished >= max_unpublished_records:
            return []
        if not self.portions:
            most = RECORDS_BETWEEN_PARTS if self.parts else BATCH_RECORDS
            records = self.merge.take(max(LEAST_BATCH_RECORDS, most // self.shard.events_a_record))
            if not isolation.searching:
                return records
            self.portions.extend(isolation.portions(records))
        return self.portions.popleft() if self.portions else []

    def put_back(self, records: Sequence[Record]) -> None:
        """Give records that were taken, and could not be decoded yet, back to be taken first."""
        self.portions.appendleft(records)

    def count_learned(self, records: int, result: LearnResult) -> None:
        """Remember what the next version has to contain."""
        self.unpublished += records
        self.rejections += [rejection for rejection in result.rejections if not rejection.unlearned]

    def unpublished_failure(self) -> BatchFailed:
        """The failure of everything that is learned and not published."""
        end = dict(self.shard.offsets)
        published = self.assignment.by_origin(self.published)
        first = {origin: published.get(origin, 0) for origin in end}
        return BatchFailed(first, end, self.unpublished + self.publishing, published=True)

    def lag(self) -> dict[TP, int]:
        """Number of records in Kafka that are not learned yet, of each topic-partition."""
        learned = self.assignment.by_partition(self.shard.offsets)
        lag = {}
        for tp, end in self.merge.end.items():
            reached = self.merge.learned_up_to(tp, max(learned.get(tp, 0), self.start_offsets[tp]))
            lag[tp] = max(0, end - reached) if end is not None else 0
        return lag


def lost_at(starts: Mapping[TP, StartOffset]) -> dict[TP, list[tuple[int, int]]]:
    """The losses before these starts, as an `OpenShard` keeps them."""
    return {tp: [(start.offset, start.lost)] for tp, start in starts.items() if start.lost}


def merge_from(starts: Mapping[TP, StartOffset]) -> Merge[TP]:
    """An empty merge that continues at these offsets and knows the ends."""
    merge = Merge({tp: start.offset for tp, start in starts.items()})
    for tp, start in starts.items():
        merge.known_end(tp, start.end)
    return merge
