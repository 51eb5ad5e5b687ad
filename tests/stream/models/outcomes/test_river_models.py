"""The River models beside the ranking learn planted patterns, by figures measured before learning."""

from __future__ import annotations

import json

import numpy as np

from stream.ingest.records import Record
from stream.models.settings import ModelSettings
from stream.shard.shard import Shard

START = 1_700_000_000


def shard() -> Shard:
    return Shard(ModelSettings(max_items=200, max_visitors=1000, max_sessions=1000, max_event_ids=256))


def record(topic: str, offset: int, seconds: int, **value: object) -> Record:
    return Record(topic, offset, seconds * 1000, json.dumps({"timestamp": seconds, **value}).encode())


def test_the_conversion_model_learns_that_a_third_click_on_an_item_leads_to_a_purchase():
    draw, ours, at = np.random.default_rng(0), shard(), START
    records, clicks, purchases = [], 0, 0
    for _ in range(3000):
        user, item = f"u{draw.integers(800)}", f"i{draw.integers(40)}"
        times = int(draw.choice([1, 3]))
        for _ in range(times):
            at += 2
            records.append(record("clicks", clicks, at, user=user, item=item))
            clicks += 1
        if times == 3:
            at += 2
            records.append(record("purchases", purchases, at, user=user, item=item))
            purchases += 1
    for start in range(0, len(records), 500):
        ours.apply(records[start : start + 500], rate=0.5)
    metrics = ours.readable_state()["metrics"]["conversion"]
    assert metrics["learned"] > 1000
    assert metrics["log_loss"] < 0.9 * metrics["constant_log_loss"]


def test_the_ratings_model_learns_two_camps_of_visitors():
    draw, ours = np.random.default_rng(1), shard()
    records = []
    for offset in range(12_000):
        user, item = int(draw.integers(40)), int(draw.integers(30))
        value = 5.0 if user % 2 == item % 2 else 2.0
        records.append(
            record("feedback", offset, START + offset, user=f"u{user}", item=f"i{item}", kind="rating", value=value)
        )
    for start in range(0, len(records), 500):
        ours.apply(records[start : start + 500], rate=1.0)
    metrics = ours.readable_state()["metrics"]["ratings"]
    assert metrics["learned"] == 12_000
    assert metrics["mae"] < 0.5 * metrics["constant_mae"]


def test_champion_and_challenger_learn_a_circle_of_items():
    draw, ours = np.random.default_rng(2), shard()
    records, where = [], {}
    for offset in range(8000):
        user = int(draw.integers(300))
        where[user] = (where.get(user, int(draw.integers(50))) + 1) % 50  # all visitors go round the same circle
        records.append(record("clicks", offset, START + 10 * offset, user=f"u{user}", item=f"i{where[user]}"))
    for start in range(0, len(records), 500):
        ours.apply(records[start : start + 500], rate=0.5)
    metrics = ours.readable_state()["metrics"]
    assert metrics["blend"]["hr"]["10"] > 0.9
    assert metrics["challenger"]["hr"]["10"] > 0.9
    assert metrics["blend"]["mrr"]["10"] > metrics["sources"]["popular_30d"]["mrr"]["10"] + 0.3
