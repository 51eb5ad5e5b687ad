"""The report, blocks and comparison of results whose answer was planted."""

import json
import math

import numpy as np
import pytest

from stream.evaluation.measures.result import block_edges
from stream.evaluation.protocol import Protocol, WrongInput
from stream.evaluation.report.compare import compare_reports, load_report

MISS = math.inf


def with_hits(n, share, seed):
    return np.where(np.random.default_rng(seed).random(n) < share, 1.0, MISS)


def test_report_has_the_keys_that_scripts_rely_on(planted):
    report = planted([1, 2, 11, MISS], [MISS, 2, 11, 21]).report()
    assert report["n"] == 4
    assert report["blend"]["hr"] == {"10": 0.5, "20": 0.75}
    assert report["blend"]["mrr"]["10"] == pytest.approx(1.5 / 4)
    assert report["sources"]["rules"]["hr"] == {"10": 0.25, "20": 0.5}
    assert set(report["blend"]) == {"hr", "mrr", "ndcg", "hr_se"}
    assert {"events_per_second", "test_microseconds", "settings"} <= set(report)


def test_report_is_json_without_nan(planted):
    json.dumps(planted([1, MISS], [2, MISS], visitor=np.zeros(2, int)).report(), allow_nan=False)


def test_blocks_sum_to_the_whole(planted):
    rank = with_hits(1003, 0.3, 1)
    evaluation = planted(rank, rank)
    blocks = evaluation.blocks()
    assert sum(blocks["tests"]) == 1003
    assert sum(blocks["sums"]["blend"]["hr"]["10"]) == np.isfinite(rank).sum()
    assert blocks["last_event"][-1] == 1002


@pytest.mark.parametrize("tests", [1, 2, 199, 200, 201, 5000])
def test_blocks_are_never_empty(tests):
    sizes = np.diff(block_edges(tests))
    assert sizes.sum() == tests
    assert sizes.min() >= 1
    assert sizes.max() - sizes.min() <= 1


def test_comparing_finds_a_planted_change_and_says_what_was_set_differently(planted):
    before = with_hits(4000, 0.3, 1)
    after = np.where(np.random.default_rng(2).random(4000) < 0.05, 1.0, before)
    old, new = planted(before, before).report(), planted(after, before).report()
    new["settings"] = {"seed": 1}
    comparison = compare_reports(old, new)
    blend = comparison.changes[0]
    assert comparison.paired
    assert (blend.name, blend.measure) == ("blend", "HR@10")
    assert blend.difference.difference == pytest.approx(np.isfinite(after).mean() - np.isfinite(before).mean())
    assert not blend.difference.is_noise
    assert all(change.difference.is_noise for change in comparison.changes if change.name == "rules")
    assert comparison.settings == {"settings.seed": (None, 1)}


def test_a_result_compared_with_itself_has_not_changed(planted):
    report = planted(with_hits(500, 0.3, 1), with_hits(500, 0.2, 2)).report()
    assert all(change.difference.p == 1.0 for change in compare_reports(report, report).changes)


def test_results_of_other_tests_are_not_paired(planted):
    one = planted(with_hits(500, 0.3, 1), with_hits(500, 0.2, 2)).report()
    other = planted(with_hits(400, 0.9, 1), with_hits(400, 0.2, 2)).report()
    comparison = compare_reports(one, other)
    assert not comparison.paired
    assert not comparison.changes[0].difference.is_noise
    assert "unpaired" in comparison.changes[0].difference.method


def test_a_saved_result_is_found_on_the_last_line(planted, tmp_path):
    report = planted([1, 2], [2, 1]).report()
    path = tmp_path / "a.json"
    path.write_text("evaluating …\n" + json.dumps(report) + "\n", encoding="utf-8")
    assert load_report(path)["n"] == 2


@pytest.mark.parametrize("text", ["", "no json", "[1, 2]", '{"n": 3}'])
def test_a_file_that_is_no_result_says_so(text, tmp_path):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(WrongInput, match="holds no result"):
        load_report(path)


def test_all_items_new_is_said_beside_the_zero(planted):
    evaluation = planted([MISS] * 5, [MISS] * 5, item=np.arange(5))
    assert any("every tested item was new" in note for note in evaluation.report()["notes"])


def test_coverage_counts_items_that_could_have_been_shown(planted):
    # before the last of four tests three different items had been seen; the lists showed two of them
    evaluation = planted([1] * 4, [1] * 4, item=np.array([0, 1, 2, 2]), top=np.array([[0], [1], [0], [-1]]))
    assert evaluation.beyond_accuracy()["coverage"] == pytest.approx(2 / 3)


def test_sources_are_ordered_by_the_first_cutoff(planted):
    evaluation = planted([15, 15], [1, 1], protocol=Protocol(warmup=0, cutoffs=(20, 10)))
    assert evaluation.cutoff == 20
    assert evaluation.figures["blend"]["hr"] == {"20": 1.0, "10": 0.0}
