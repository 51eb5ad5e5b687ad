"""Names of the counts of a shard: of records, and of events where a record may be several.

This file decides these names, and the number of learned events that counts stand for.
"""

from __future__ import annotations

from collections.abc import Mapping

COUNTERS = ("read", "learned", "duplicates", "refused", "dead_letters")
"""Counts that each origin has: records that were passed, and their most frequent outcomes. `refused`: the time of a
good event was too far ahead. Others begin with their first record: `lost`, which Kafka's retention removed before they
were learned, and `unlearned:<rule>`, which are left out on purpose (`stream.ingest.left_out`). A release that doesn't
know an outcome keeps its count."""

EVENTS = "events:"
"""Beginning of the names of counts of events, of origins whose records a mapping may cut into several. `events:made` is
the sum of `events:learned`, `events:duplicates` and `events:unlearned:<rule>`; `events:records` is the number of
learned records whose events are counted so."""


def learned_events(counts: Mapping[str, int]) -> int:
    """Number of learned events of an origin.

    >>> learned_events({"learned": 10}), learned_events({"learned": 10, "events:records": 4, "events:learned": 9})
    (10, 15)
    """
    return counts.get("learned", 0) - counts.get(f"{EVENTS}records", 0) + counts.get(f"{EVENTS}learned", 0)
