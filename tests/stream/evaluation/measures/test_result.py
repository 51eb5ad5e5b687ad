"""The report and blocks of results that are known by construction."""

import json
import math

import numpy as np
import pytest

from stream.evaluation.measures.result import block_edges
from stream.evaluation.protocol import EvaluationProtocol

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


def test_a_note_explains_a_figure_of_zero_if_all_items_were_new(planted):
    evaluation = planted([MISS] * 5, [MISS] * 5, item=np.arange(5))
    assert any("every tested item was new" in note for note in evaluation.report()["notes"])


def test_coverage_counts_items_that_could_have_been_shown(planted):
    # before the last of four tests three different items had been seen; the lists showed two of them
    evaluation = planted([1] * 4, [1] * 4, item=np.array([0, 1, 2, 2]), top=np.array([[0], [1], [0], [-1]]))
    assert evaluation.beyond_accuracy()["coverage"] == pytest.approx(2 / 3)


def test_sources_are_ordered_by_the_first_cutoff(planted):
    evaluation = planted([15, 15], [1, 1], protocol=EvaluationProtocol(warmup=0, cutoffs=(20, 10)))
    assert evaluation.cutoff == 20
    assert evaluation.figures["blend"]["hr"] == {"20": 1.0, "10": 0.0}


def test_ranks_of_an_unknown_name_are_refused_with_the_known_names(planted):
    with pytest.raises(KeyError, match="'magic' ranked nothing here; there are rules, blend"):
        planted([1], [1]).tests.of("magic")


def test_a_source_can_not_be_added_under_a_name_that_is_taken(planted):
    tests = planted([1, 2], [3, 4]).tests
    assert tests.with_source("own", np.array([5.0, 6.0])).of("own").tolist() == [5.0, 6.0]
    with pytest.raises(ValueError, match="a source 'rules' already"):
        tests.with_source("rules", np.array([5.0, 6.0]))
