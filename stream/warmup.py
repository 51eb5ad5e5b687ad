"""Compiles, or loads from Numba's cache on disk, everything that learning calls, before it is needed.

A worker that joined its group first would hold up its partitions while it compiles. This file learns a few made-up
events with a shard that is thrown away; it decides nothing else.
"""

from __future__ import annotations

import time

from stream.decoding import Record
from stream.settings import ModelSettings
from stream.shard import Shard

_EVENTS = {
    "clicks": b'{"item": "item %d", "user": "visitor %d", "session": "session %d", "event_id": "%d"}',
    "purchases": b'{"item": "item %d", "user": "visitor %d", "session": "session %d", "event_id": "p%d"}',
    "feedback": b'{"item": "item %d", "user": "visitor %d", "session": "s %d", "event_id": "f%d", "kind": "rating", '
    b'"value": 4}',
}


def warm_up(settings: ModelSettings) -> float:
    """Gives the seconds it took."""
    started = time.monotonic()
    small = settings.model_copy(update={"items": 256, "visitors": 256, "sessions": 256, "event_ids": 256})
    shard = Shard(small)
    for round_number in range(4):
        records = [
            Record(topic, round_number * 40 + n, 1_700_000_000_000 + n * 1000, form % (n % 7, n % 5, n % 11, n), None)
            for topic, form in _EVENTS.items()
            for n in range(40)
        ]
        shard.apply(records, 1.0 if round_number % 2 else 0.1)
        shard.cut()
    whole = shard.whole()
    Shard.restore(small, whole.delta, whole.state).apply([], 1.0)
    return time.monotonic() - started
