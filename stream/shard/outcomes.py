"""Outcomes of records, and of their events where a record may be several.

A record that a mapping cuts into events has one outcome: it is learned if one of its events is, else a duplicate if one
of them is. Its events are counted beside it (`stream.shard.counters`), so both counts close by themselves.

This file decides the outcome of a record, and how both are counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from stream.ingest.origins import topic_of
from stream.ingest.records import UNLEARNED, Place, Record, Rejection
from stream.models.learning.event_loop import DUPLICATE
from stream.shard.counters import COUNTERS, EVENTS


def record_counts(
    read: Mapping[str, int],
    rejections: Sequence[Rejection],
    records: Sequence[Record],
    outcomes: NDArray[np.uint8],
    *,
    several: bool,
) -> dict[str, dict[str, int]]:
    """Number of records by origin and outcome.

    Args:
        read: number of records of each origin.
        rejections: of those that are no events.
        records: of each event; those of one record stand side by side.
        outcomes: (n,) of each event, as `learn_batch` gives them.
        several: True if a record may have several events.
    """
    counts = {origin: {**dict.fromkeys(COUNTERS, 0), "read": n, "learned": n} for origin, n in read.items()}
    not_learned = [(each.record.origin, each.outcome) for each in rejections]
    repeated = outcomes == DUPLICATE
    if several:
        not_learned += [(record.origin, "duplicates") for record in wholly_repeated(records, repeated)]
    else:
        not_learned += [(records[row].origin, "duplicates") for row in np.flatnonzero(repeated).tolist()]
    for origin, outcome in not_learned:
        counts[origin]["learned"] -= 1
        counts[origin][outcome] = counts[origin].get(outcome, 0) + 1
    return counts


def wholly_repeated(records: Sequence[Record], repeated: NDArray[np.bool_]) -> list[Record]:
    """The records of which every event is a duplicate.

    Args:
        records: of each event; those of one record stand side by side.
        repeated: (n,) true for an event that is a duplicate.

    >>> one, two = Record("clicks", 1, 0, b""), Record("clicks", 2, 0, b"")
    >>> wholly_repeated([one, one, two], np.array([True, False, True])) == [two]
    True
    """
    found: dict[Place, Record] = {records[row][:2]: records[row] for row in np.flatnonzero(repeated).tolist()}
    for row in np.flatnonzero(~repeated).tolist() if found else ():
        found.pop(records[row][:2], None)
    return list(found.values())


def event_counts(
    records: Sequence[Record],
    outcomes: NDArray[np.uint8],
    left_out: Mapping[tuple[str, str], int],
    topics: Collection[str],
) -> dict[str, dict[str, int]]:
    """Number of events by origin and outcome, for the origins of topics whose records may be several events.

    Args:
        records: of each event that was learned or is a duplicate.
        outcomes: (n,) of each, as `learn_batch` gives them.
        left_out: number of events that were left out, by origin and rule.
        topics: ours.
    """
    if not topics:
        return {}
    counts: dict[str, Counter[str]] = {}
    learned_records = set()
    for record, outcome in zip(records, outcomes.tolist(), strict=True):
        if topic_of(record.origin) in topics:
            of_origin = counts.setdefault(record.origin, Counter())
            of_origin[f"{EVENTS}made"] += 1
            of_origin[f"{EVENTS}duplicates" if outcome == DUPLICATE else f"{EVENTS}learned"] += 1
            if outcome != DUPLICATE:
                learned_records.add(record[:2])
    for origin, _ in learned_records:
        counts[origin][f"{EVENTS}records"] += 1
    for (origin, rule), count in left_out.items():
        if topic_of(origin) in topics:
            of_origin = counts.setdefault(origin, Counter())
            of_origin[f"{EVENTS}made"] += count
            of_origin[f"{EVENTS}{UNLEARNED}{rule}"] += count
    return {origin: dict(by_outcome) for origin, by_outcome in counts.items()}
