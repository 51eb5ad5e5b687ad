"""A repeated event is recognised by its id among the newest ids, and counts again when its id has left the window."""

from __future__ import annotations

import json

from stream.ingest.records import Record
from stream.models.settings import ModelSettings
from stream.shard.shard import Shard

WINDOW = 64
SETTINGS = ModelSettings(max_items=64, max_visitors=64, max_sessions=64, max_event_ids=WINDOW)


def clicks(first_offset: int, ids: list[str]) -> list[Record]:
    return [
        Record(
            "clicks",
            first_offset + number,
            1_700_000_000_000 + first_offset + number,
            json.dumps({"item": "a", "user": "u", "event_id": event_id}).encode(),
        )
        for number, event_id in enumerate(ids)
    ]


def test_a_repeated_event_counts_once_while_its_id_is_among_the_newest():
    shard = Shard(SETTINGS)
    shard.apply(clicks(0, ["first"]), rate=0.0)
    for number in range(WINDOW // 2):
        shard.apply(clicks(1 + 2 * number, [f"other {number}", "first"]), rate=0.0)
    counts = shard.counters["clicks"]
    assert (counts["learned"], counts["duplicates"]) == (1 + WINDOW // 2, WINDOW // 2)


def test_a_repeated_event_counts_again_once_its_id_has_left_the_window():
    shard = Shard(SETTINGS)
    shard.apply(clicks(0, ["first"]), rate=0.0)
    shard.apply(clicks(1, [f"other {number}" for number in range(20 * WINDOW)]), rate=0.0)
    shard.apply(clicks(1 + 20 * WINDOW, ["first"]), rate=0.0)
    assert shard.counters["clicks"]["duplicates"] == 0
    assert shard.counters["clicks"]["learned"] == 2 + 20 * WINDOW
