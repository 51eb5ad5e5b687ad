"""The contract between the transport and the owner of the partitions.

A **session** of a topic-partition begins with each `start_at` (a seek), and every `Fetch` and `Position` names the
session that it belongs to. Records that were fetched before a seek and arrive after it are recognised by their session
and dropped.

This file decides what passes between `stream.kafka.transport` and `stream.runner`: a fetch, the questions that the
transport asks, and the three requests that a runner makes of a consumer. It imports neither side, so that each can be
tested without the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol

from faust.types import TP

from stream.ingest.records import Record

NO_IDS: Mapping[TP, str] = MappingProxyType({})


class Fetch(NamedTuple):
    """The records of one fetch of one topic-partition: the message that an agent receives.

    Attributes:
        tp: topic-partition, by the topic's name in Kafka.
        session: number of the session that it belongs to.
        since: offset at which this fetch started: everything below was delivered before, or never existed.
        records: in offset order; at least one.
        next_offset: offset at which the next fetch starts; may be further ahead than just behind the last record.
        end: the last stable offset: everything below it is committed or aborted for good, as far as is known.
        lost: number of offsets from `since` on that retention removed before they were fetched.
    """

    tp: TP
    session: int
    since: int
    records: list[Record]
    next_offset: int
    end: int | None
    lost: int = 0


class Position(NamedTuple):
    """The progress of one topic-partition for which nothing was fetched.

    Attributes:
        tp: topic-partition, by the topic's name in Kafka.
        session: number of the session that it belongs to.
        delivered: everything below this offset was delivered to an agent.
        position: there is no record from `delivered` to before this offset.
        end: the last stable offset, as far as is known.
        lost: number of offsets from `delivered` on that retention removed before they were fetched.
        restarted: True if Kafka went back to an earlier offset by itself: the topic ends before `delivered`, because it
            was created again or lost records. Nothing more is fetched in this session.
    """

    tp: TP
    session: int
    delivered: int
    position: int
    end: int | None
    lost: int = 0
    restarted: bool = False


class PartitionOwner(Protocol):
    """The side that learns from the partitions, as the transport sees it."""

    async def assigned(self, partitions: set[TP]) -> None:
        """Take these topic-partitions and no others. Each needs a `start_at` before it is fetched."""

    def origin(self, tp: TP) -> str:
        """The name under which the records of this topic-partition are learned (`stream.ingest.origins`)."""

    def present_topics(self) -> frozenset[str]:
        """Names of the topics that are there; they have to be read, and others not."""

    def has_room(self, tp: TP) -> bool:
        """Return True if more records of this topic-partition are wanted now."""

    def note_position(self, position: Position) -> None:
        """Take note of the progress of a topic-partition for which nothing was fetched."""

    def published(self) -> Mapping[TP, int]:
        """Next offsets of the published states, to be committed."""

    def refuse_kafka(self, error: Exception) -> Exception:
        """Note that no broker can be used, for which the process ends; return what is raised."""


class SeekableConsumer(Protocol):
    """The requests that a runner makes of Kafka's consumer."""

    async def start_at(self, offsets: Mapping[TP, int], topic_ids: Mapping[TP, str] = NO_IDS) -> dict[TP, int]:
        """Fetch from these offsets on; return the number of the session that each topic-partition begins.

        Args:
            offsets: of the first records.
            topic_ids: id of each one's topic, empty if it has none.

        Raises:
            IllegalStateError: one of them isn't assigned to this worker any more.
        """

    def fetches_by_id(self, partitions: Iterable[TP]) -> bool:
        """Return True if all records since `start_at` came from the topics whose ids were given then."""

    async def ranges(self, partitions: Iterable[TP]) -> dict[TP, tuple[int, int]]:
        """First offset that Kafka still holds, and the last stable offset, of each topic-partition."""

    async def committed(self, partitions: Iterable[TP]) -> dict[TP, int]:
        """Committed offsets of those topic-partitions that have one: how far some published state was."""
