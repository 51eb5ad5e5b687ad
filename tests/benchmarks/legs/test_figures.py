"""Figures of legs that take minutes, made from readings that are known."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.harness import background
from benchmarks.harness.events import OTHER_FORMAT
from benchmarks.legs import ingest, letters, memory, partitions, scale
from benchmarks.legs.catalogue import changes, filters
from benchmarks.legs.freshness import Times, _percentile
from benchmarks.legs.in_turn import InTurn, Slice, pace_of
from benchmarks.legs.ingest import Measured, Pace, Seen, _pace
from benchmarks.legs.lists import batch, serve
from benchmarks.legs.lists.serve import Load


def test_memory_compares_medians_before_and_after_the_rollback() -> None:
    looks = {1: [100.0, 110.0, 120.0, 130.0], 4: [150.0, 154.0, 180.0, 208.0]}
    result = memory._result(looks, {1: 140.0, 4: 210.0}, versions=7, lists=9)
    figures = result["figures"]
    assert memory._rollback_minute(4) == 3, "two readings before it, two after"
    assert (figures["memory_mb_1_process_before_rollback"], figures["memory_mb_1_process"]) == (105, 125)
    assert (figures["memory_mb_4_processes_first"], figures["memory_mb_4_processes_last"]) == (150, 208)
    assert figures["memory_mb_4_processes_rolled_back"] == 210
    assert result["spread"]["memory_mb_4_processes"] == [150, 208]
    assert result["ratios"]["memory_4_processes_to_1"] == round(194 / 125, 3)
    assert result["ratios"]["memory_4_processes_to_1_before_rollback"] == round(152 / 105, 3)
    assert (figures["versions_published"], figures["lists_answered"], figures["minutes"]) == (7, 9, 4)


def test_serve_compares_lists_with_the_constant_route_of_the_same_run() -> None:
    loads = {}
    for size, pace in (("10k", 500.0), ("1m", 450.0)):
        for connections in (1, 32):
            loads[f"list {size}", connections] = [Load(pace, 2 * pace, 3.0), Load(pace + 2, 2 * pace, 5.0)]
            loads[f"constant {size}", connections] = [Load(1000.0, 2000.0, 1.0)]
        loads[f"deep list {size}", 32] = [Load(pace / 2, pace, 9.0)]
    memory_figures = {
        f"memory_mb_{shards}_shards_{processes}": megabytes
        for shards in serve.MEMORY_SHARDS
        for processes, megabytes in (("1_process", 200.0), ("4_processes", 250.0))
    }
    result = serve._result(loads, memory_figures, 2, [10_000, 1_000_000])
    assert result["figures"]["requests_per_second_10k"] == round(501.0)
    assert result["figures"]["cpu_microseconds_10k"] == 1000.0
    assert result["figures"]["p99_ms_1m"] == 4.0
    assert result["ratios"]["to_constant_route_10k"] == 0.501
    assert result["ratios"]["1m_to_10k"] == round(0.451 / 0.501, 3)
    assert result["ratios"]["memory_4_processes_to_1_8_shards"] == 1.25
    assert result["spread"]["list 1m p99_ms"] == [3.0, 5.0]


def test_serve_compares_a_server_with_keys_with_one_without_pair_by_pair() -> None:
    with_keys = [Load(95.0, 190.0, 1.0), Load(180.0, 400.0, 1.0), Load(49.0, 98.0, 1.0)]
    without = [Load(100.0, 200.0, 1.0), Load(200.0, 400.0, 1.0), Load(50.0, 100.0, 1.0)]
    result = serve._keys_result({True: with_keys, False: without}, 3)
    assert result["ratios"] == {"with_keys": 0.95, "with_keys_by_cpu": 0.98}
    assert result["figures"]["requests_per_second_with_keys"] == 95
    assert result["figures"]["cpu_microseconds_without_keys"] == 5000.0
    assert result["spread"]["without_keys"] == [50, 200]


def test_scale_compares_workers_partitions_shards_and_sizes() -> None:
    values = {"request_microseconds_1_shard": [100.0], f"request_microseconds_{scale.SHARDS}_shards": [90.0, 98.0]}
    paces = {"two_workers": 300.0, "one_worker": 200.0, "1_partitions": 100.0, "4_partitions": 200.0}
    paces["8_partitions"] = 150.0
    for case, pace in paces.items():
        values[f"{case}_events_per_second"] = [pace]
        values[f"{case}_events_per_cpu_second"] = [2 * pace]
    values |= {"worker_mb_1_partitions": [400.0], "worker_mb_12_partitions": [500.0, 402.0, 440.0]}
    values |= {"server_mb_1_partitions": [300.0], "server_mb_12_partitions": [300.0]}
    values["takeover_seconds"] = [0.9, -0.25, 0.514]
    sizes = {"worker_bytes": 8e8, "worker_computed": 1e9, "server_bytes": 7e8, "server_computed": 1e9}
    large = {name: {**sizes, "program_bytes": 1e8, "microseconds": 2.0} for name in scale.LARGE_MODELS}
    large["1m"] = {**large["1m"], "microseconds": 2.1}
    result = scale._result(1, 1000, values, large)
    assert result["ratios"] == {
        "two_workers_per_cpu_second": 1.5,
        "two_workers_wall": 1.5,
        "worker_memory_12_partitions": 1.1,
        "server_memory_12_partitions": 1.0,
        "8_partitions_to_1_per_cpu_second": 1.5,
        "4_partitions_to_1_per_cpu_second": 2.0,
        "learn_1m_to_10k": 1.05,
        "request_8_shards": 0.94,
        "worker_memory_to_computed_1m": 0.8,
        "server_memory_to_computed_1m": 0.7,
    }
    assert result["figures"]["program_mb"] == 100
    assert result["figures"]["takeover_seconds"] == 0.51
    assert result["spread"]["takeover_seconds"] == [-0.25, 0.9]


def test_ingest_compares_the_worker_with_itself_on_one_partition_and_with_baselines() -> None:
    paces = {"plain Faust agent": 10.0, "raw aiokafka": 400.0, "River BiasedMF": 80.0, ingest.OURS_ONE: 160.0}
    measured = Measured({name: [Pace(pace, 1.0)] for name, pace in paces.items()}, {"catch_up_seconds": [3.0, 5.0]})
    measured.paces[ingest.OURS] = [Pace(150.0, 90.0), Pace(152.0, 94.0), Pace(170.0, 91.0)]
    topics = ingest.Topics({"clicks": "c"}, partitions=12, shards=1)
    result = ingest._result(3, 1000, topics, measured)
    assert result["ratios"] == {
        "to_one_partition": 0.95,
        "to_one_partition_by_cpu": 91.0,
        "to_plain_faust_agent": 15.2,
        "to_raw_aiokafka": 0.38,
        "to_river_biasedmf": 1.9,
    }
    assert result["figures"]["events_per_cpu_second"] == 91
    assert result["figures"]["catch_up_seconds"] == 4.0
    assert result["spread"][ingest.OURS] == [150, 170]
    assert (result["partitions"], result["shards"]) == (12, 1)
    measured.in_turn = [
        {ingest.OURS: InTurn(100.0, 60.0), ingest.MAPPED: InTurn(95.0, 54.0), ingest.IN_AVRO: InTurn(50.0, 40.0)},
        {ingest.OURS: InTurn(200.0, 90.0), ingest.MAPPED: InTurn(198.0, 90.0), ingest.IN_AVRO: InTurn(80.0, 75.0)},
        {ingest.OURS: InTurn(150.0, 66.0), ingest.MAPPED: InTurn(120.0, 33.0), ingest.IN_AVRO: InTurn(90.0, 33.0)},
    ]
    ratios = ingest._result(3, 1000, topics, measured)["ratios"]
    assert (ratios["mapped_to_unmapped"], ratios["mapped_to_unmapped_by_cpu"]) == (0.95, 0.9)
    assert ratios["avro_cpu_an_event_to_json"] == 1.5, "the median of 1.5, 1.2 and 2"

    del measured.paces[ingest.OURS_ONE]
    assert ingest._result(3, 1000, topics, measured)["ratios"]["to_one_partition"] == 1.0, "it is itself"


def test_partitions_compares_means_over_runs_and_says_what_is_left_in_file_order() -> None:
    values = {"hit_rate_1_partitions": [0.4, 0.38], "hit_rate_12_partitions": [0.38, 0.38]}
    in_order = partitions.Learned(hits=39.0, tests=100, lines=[])
    result = partitions._result(Path("shop.tsv"), 2, 12, 1, values, in_order)
    assert result["figures"]["difference"] == -0.01
    assert result["figures"]["hit_rate_in_file_order"] == 0.39
    assert result["figures"]["difference_by_order"] == -0.01
    assert result["spread"]["hit_rate_1_partitions"] == [0.38, 0.4]
    assert result["ratios"]["to_one_partition"] == round(0.38 / 0.39, 4)


def test_letters_compares_half_bad_with_none_of_the_same_run() -> None:
    times = {0.0: [Times([10.0, 20.0], [40.0, 50.0])], letters.BAD_SHARE: [Times([15.0, 30.0], [60.0, 75.0])]}
    paces = [letters.Pace(30_000.0, 25_000.0), letters.Pace(20_000.0, 27_000.0), letters.Pace(24_000.0, 26_000.0)]
    result = letters._result(3, 2, 1000, [1.1, 1.3, 1.12], paces, times)
    assert result["figures"]["letters_per_second"] == 24_000
    assert result["figures"]["letters_per_cpu_second"] == 26_000
    assert result["figures"]["other_p99_ms_half_bad"] == 75.0
    assert result["ratios"]["other_p99_half_bad_to_none"] == 1.5
    assert result["ratios"]["decoding_one_bad_in_4096"] == 1.12
    assert result["spread"]["letters_per_second"] == [20_000, 30_000]


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5])
def test_a_share_of_the_background_load_is_in_another_format(monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    monkeypatch.setattr(background, "DIFFERENT_EVENTS", 1000)
    values = [value for step in background._steps(100, 2, 50, share) for events in step.values() for _, value in events]
    assert sum(value == OTHER_FORMAT for value in values) == share * len(values)


def test_a_pace_runs_from_the_first_count_to_the_last() -> None:
    seen = [Seen(10.0, 100, 1.0, {}), Seen(11.0, 400, 1.4, {}), Seen(13.0, 1000, 2.5, {})]
    assert _pace(seen) == Pace(300.0, 600.0)
    assert Measured({"worker": [Pace(3.0, 1.0), Pace(1.0, 1.0), Pace(2.0, 1.0)]}).median("worker") == 2.0


@pytest.mark.parametrize(("percent", "expected"), [(50, 5), (99, 10), (100, 10), (1, 1)])
def test_a_percentile_is_a_value_that_was_measured(percent: int, expected: int) -> None:
    assert _percentile([10, 9, 8, 7, 6, 5, 4, 3, 2, 1], percent) == expected


def test_filters_compare_medians_with_lists_without_a_filter() -> None:
    found = [{"": [100.0, 300.0, 200.0], "50": [220.0] * 3, "5": [240.0] * 3, "05": [200.0] * 3, "005": [400.0] * 3}]
    result = filters.result(found * 2, {}, short=3, runs=2)
    assert result["ratios"] == {"p50_50": 1.1, "p50_5": 1.2, "p50_05": 1.0, "p50_005": 2.0}
    assert (result["figures"]["microseconds_p50_unfiltered"], result["figures"]["short_lists"]) == (200.0, 3)


def test_changes_of_the_catalogue_are_counted_over_all_runs() -> None:
    result = changes.result([[float(number) for number in range(1, 101)], [50.0] * 100], violations=0.0)
    figures = result["figures"]
    assert (figures["p50_ms"], figures["longest_ms"], figures["violations"], result["runs"]) == (50.0, 100.0, 0.0, 2)
    assert result["spread"]["p99_ms"] == [50.0, 99.0]


def test_batches_are_compared_with_scoring_of_the_same_run() -> None:
    result = batch.result([(900.0, 1000.0), (400.0, 500.0), (950.0, 1000.0)])
    assert result["ratios"] == {"batch_to_scoring": 0.9}
    assert result["figures"]["batch_visitors_per_second"] == 900
    assert result["spread"]["scoring"] == [500, 1000]


def test_slices_count_between_a_third_of_the_events_and_the_last_one() -> None:
    slices = [Slice(0, 390, 1.0, 1.0), Slice(400, 500, 1.0, 2.0), Slice(500, 1200, 9.0, 9.0)]
    assert pace_of(slices, 1200) == InTurn(100.0, 50.0)
    with pytest.raises(RuntimeError, match="use more --events"):
        pace_of(slices[:1], 1200)
