"""The readable state of a shard consists of plain JSON types, with every kind of event learned."""

from __future__ import annotations

import random

import msgspec

from stream.ingest.records import Record
from stream.models.settings import ModelSettings
from stream.models.source_names import SOURCES
from stream.runner.metrics import WorkerMetrics, numbers_in
from stream.shard.shard import Shard

FORM = b'{"item": "i%d", "user": "u%d", "kind": "rating", "value": %d}'


def test_the_state_after_every_kind_of_event_is_plain_json() -> None:
    shard = Shard(ModelSettings(max_items=256, max_visitors=256, max_sessions=256, max_event_ids=256))
    chance, offsets, records = random.Random(1), dict.fromkeys(("clicks", "purchases", "feedback"), 0), []
    for number in range(3000):
        topic = chance.choice(["clicks", "clicks", "purchases", "feedback"])
        value = FORM % (chance.randrange(50), chance.randrange(40), chance.randrange(1, 6))
        records.append(Record(topic, offsets[topic], 1_700_000_000_000 + number * 1000, value))
        offsets[topic] += 1
    for start in range(0, len(records), 500):
        shard.apply(records[start : start + 500], rate=1.0)
    state = shard.readable_state()
    assert state["metrics"]["tests"] > 0
    assert state["metrics"]["conversion"]["learned"] > 0
    assert state["metrics"]["ratings"]["learned"] > 0
    assert msgspec.json.decode(msgspec.json.encode(state)) == state


def test_every_ranking_is_measured_at_every_cutoff_and_exported_to_prometheus() -> None:
    shard = Shard(ModelSettings(max_items=256, max_visitors=256, max_sessions=256, max_event_ids=256))
    records = [
        Record("clicks", n, 1_700_000_000_000 + n * 1000, b'{"item": "i%d", "user": "u%d"}' % (n * 7 % 11, n % 9))
        for n in range(600)
    ]
    shard.apply(records, rate=1.0)
    measured = shard.readable_state()["metrics"]
    assert set(measured["sources"]) == set(SOURCES)
    assert measured["window"] == measured["tests"] > 500
    by_path = dict(numbers_in(measured))
    for ranking in ("blend", "challenger", *(f"sources.{source}" for source in SOURCES)):
        for measure in ("hr", "mrr", "ndcg"):
            for cutoff in (10, 20):
                assert 0 <= by_path[f"{ranking}.{measure}.{cutoff}"] <= 1
        assert by_path[f"{ranking}.mrr.10"] <= by_path[f"{ranking}.ndcg.10"] <= by_path[f"{ranking}.hr.10"]
    assert measured["blend"]["hr"]["20"] > 0.98, "eleven items, missed only while they are new"
    metrics = WorkerMetrics()
    metrics.set_state(0, shard.readable_state())
    exported = {
        sample.labels["name"]: sample.value
        for family in metrics.registry.collect()
        if family.name == "corrente_worker_prequential"
        for sample in family.samples
    }
    assert exported["blend.hr.10"] == measured["blend"]["hr"]["10"]
    assert exported["sources.stan.ndcg.20"] == measured["sources"]["stan"]["ndcg"]["20"]
