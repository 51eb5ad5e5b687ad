"""Batches of a shard: records that are decoded, and what became of them.

This file decides what a shard hands from decoding to learning, and what it says of a learned batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.ingest.records import NO_PLACES, Place, Record, Rejection
from stream.models.batch import EventBatch


class Batch(NamedTuple):
    """Records that are decoded and ready to be learned.

    Attributes:
        records: all of them, in merged order.
        event_records: those that decoded to an event, one for each row of `events` and of `sample_hashes`. A record
            that became several events stands there several times.
        rejections: the reason for each of the others.
        events: the decoded events as columns.
        sample_hashes: uint64, see `stream.shard.sampling.sample_hashes`.
        read: number of records of each origin.
        first, last: offset of the first and of the last record of each origin.
        isolated: records that were to be rejected unseen.
        counted: records whose events are counted only, although they say something else.
        unknown_kinds: number of events by kind, of unknown kinds (`stream.ingest.kinds`).
        left_out: number of events of mapped records that are left out, by origin and rule.
    """

    records: Sequence[Record]
    event_records: Sequence[Record]
    rejections: list[Rejection]
    events: EventBatch
    sample_hashes: NDArray[np.uint64]
    read: Mapping[str, int]
    first: Mapping[str, int]
    last: Mapping[str, int]
    isolated: Mapping[Place, str] = NO_PLACES
    counted: frozenset[Place] = frozenset()
    unknown_kinds: Mapping[str, int] = MappingProxyType({})
    left_out: Mapping[tuple[str, str], int] = MappingProxyType({})


class RatingRange(NamedTuple):
    """Number of the ratings of a batch, and the least and the greatest of their values."""

    ratings: int
    least: float
    most: float


class LearnResult(NamedTuple):
    """The outcomes of one learned batch.

    Attributes:
        rejections: one for every record that could not be learned.
        counts: number of records by origin and outcome (the names in `COUNTERS`); only origins that the batch had.
        events: number of events by origin and outcome (`stream.shard.counters`); only origins whose records may
            become several events.
        ahead: number of learned events by origin whose time was ahead of the stream clock; only origins that had any.
        unknown_kinds: number of events by unknown kind; they are learned.
        ratings: the range of ratings, if there were any.
    """

    rejections: list[Rejection]
    counts: Mapping[str, Mapping[str, int]]
    ahead: Mapping[str, int]
    unknown_kinds: Mapping[str, int] = MappingProxyType({})
    ratings: RatingRange | None = None
    events: Mapping[str, Mapping[str, int]] = MappingProxyType({})
