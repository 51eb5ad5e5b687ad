"""The worker's metrics: published states in numbers, and nothing left of a shard that moved away."""

from __future__ import annotations

from faust.types import TP

from stream.catalogue_topics.reader import Counts
from stream.runner.metrics import WorkerMetrics

TOPICS = {TP("shop-clicks", 3): "clicks", TP("shop-purchases", 3): "purchases"}


def series(metrics: WorkerMetrics) -> set[tuple[str, tuple[str, ...]]]:
    return {
        (sample.name, tuple(sample.labels.values()))
        for family in metrics.registry.collect()
        for sample in family.samples
        if "partition" in sample.labels
    }


def test_every_number_of_a_state_is_exported_by_its_path() -> None:
    metrics = WorkerMetrics()
    metrics.set_state(3, {"metrics": {"blend": {"hr": {"10": 0.25}}, "since": None}, "drift": {"drifts": 2}})
    assert series(metrics) == {
        ("corrente_worker_prequential", ("3", "blend.hr.10")),
        ("corrente_worker_drift", ("3", "drifts")),
    }


def test_rows_in_use_and_evictions_are_shown_by_table() -> None:
    metrics = WorkerMetrics()
    items, visitors = {"live": 60, "most": 64, "evicted": 5}, {"live": 7, "most": 9, "evicted": 0}
    metrics.set_state(3, {"rows": {"items": items, "visitors": visitors}})
    shown = {
        (sample.name, *sample.labels.values()): sample.value
        for gauge in (metrics.live_rows, metrics.evicted_rows)
        for family in gauge.collect()
        for sample in family.samples
    }
    assert shown == {
        ("corrente_worker_live_rows", "3", "items"): 60,
        ("corrente_worker_live_rows", "3", "visitors"): 7,
        ("corrente_worker_evicted_rows", "3", "items"): 5,
        ("corrente_worker_evicted_rows", "3", "visitors"): 0,
    }


def test_a_removed_shard_leaves_the_series_of_the_others() -> None:
    metrics = WorkerMetrics()
    for shard in (3, 4):
        metrics.lag.labels("clicks", str(shard)).set(1)
        for gauge in (metrics.catch_up, metrics.clock, metrics.unpublished):
            gauge.labels(str(shard)).set(1)
        rows = {"items": {"live": 1, "most": 2, "evicted": 0}}
        metrics.set_state(shard, {"metrics": {"tests": 1}, "drift": {"drifts": 2}, "rows": rows})
    metrics.remove_shard(3)
    metrics.remove_lag([("clicks", "3"), ("purchases", "3")])  # purchases never had a lag
    left = series(metrics)
    assert {labels[-1] for name, labels in left if name.endswith("lag_records")} == {"4"}
    assert not [labels for _, labels in left if "3" in labels]
    assert len(left) == 8


def test_the_longest_hold_is_exported_for_learning_and_the_loop() -> None:
    metrics = WorkerMetrics()
    metrics.note_hold("learning", 0.2)
    metrics.note_hold("learning", 0.1)
    value = metrics.registry.get_sample_value
    assert value("corrente_worker_longest_hold_seconds", {"held": "learning"}) == 0.2
    assert value("corrente_worker_longest_hold_seconds", {"held": "loop"}) == 0.0


def test_documents_are_counted_by_outcome_and_their_lag_is_shown_where_they_are_read() -> None:
    metrics = WorkerMetrics()

    def shown(name: str) -> dict[tuple[str, ...], float]:
        found = [sample for family in metrics.registry.collect() for sample in family.samples if sample.name == name]
        return {tuple(sample.labels.values()): sample.value for sample in found}

    outcomes = ("written", "deleted", "unchanged", "older", "dead_letters")
    assert shown("corrente_worker_documents_total") == {(t, each): 0.0 for t in ("items", "users") for each in outcomes}
    metrics.count_documents("items", Counts(3, 1, 4, 2, 5))
    of_items = {key[1]: each for key, each in shown("corrente_worker_documents_total").items() if key[0] == "items"}
    assert of_items == {"written": 3, "deleted": 1, "unchanged": 4, "older": 2, "dead_letters": 5}
    metrics.show_document_lag("items", 7)
    assert shown("corrente_worker_document_lag_records") == {("items",): 7.0}
    metrics.show_document_lag("items", None)
    assert shown("corrente_worker_document_lag_records") == {}, "another worker reads"
