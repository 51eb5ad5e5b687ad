"""Comparison of saved results with planted changes."""

import json
import math

import numpy as np
import pytest

from stream.evaluation.protocol import WrongInput
from stream.evaluation.report.compare import compare_reports, load_report

MISS = math.inf


def with_hits(n, share, seed):
    return np.where(np.random.default_rng(seed).random(n) < share, 1.0, MISS)


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


def test_settings_under_their_names_in_release_0_1_are_the_same_settings(planted):
    report = planted(with_hits(50, 0.3, 1), with_hits(50, 0.2, 2)).report()
    old, new = {**report, "settings": {"items": 64, "seed": 0}}, {**report, "settings": {"max_items": 64, "seed": 0}}
    assert compare_reports(old, new).settings == {}
    new["settings"] = {"max_items": 128, "seed": 0}
    assert compare_reports(old, new).settings == {"settings.max_items": (64, 128)}


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
