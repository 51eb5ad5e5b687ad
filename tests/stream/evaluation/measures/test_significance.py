"""Significance on data with a real difference, with none, and with one that only seems real."""

import numpy as np
import pytest

from stream.evaluation.measures.significance import compare_blocks, compare_shares, compare_tests, corrected


def test_no_difference_is_noise():
    same = np.array([1.0, 0.0, 1.0, 1.0])
    result = compare_tests(same, same, np.arange(4))
    assert (result.difference, result.p, result.is_noise) == (0.0, 1.0, True)


def test_without_a_difference_about_five_percent_are_significant():
    random = np.random.default_rng(5)
    pairs = [random.integers(0, 2, (2, 300)) for _ in range(200)]
    found = sum(not compare_tests(*pair, np.arange(300), resamples=400).is_noise for pair in pairs)
    assert 2 <= found <= 22  # 5 % of 200, three standard deviations around it


def test_a_planted_difference_is_found_and_its_interval_covers_it():
    random = np.random.default_rng(1)
    theirs = random.random(4000) < 0.30
    ours = np.where(random.random(4000) < 0.04, True, theirs)  # 4 % of the answers become right: + 0.028
    result = compare_tests(ours, theirs, np.arange(4000))
    assert not result.is_noise
    assert result.low < 0.028 < result.high
    assert result.only_theirs == 0
    assert result.only_ours == int((ours & ~theirs).sum())


def test_many_tests_of_few_visitors_are_not_taken_for_independent_ones():
    # eight visitors, each of which always favours one side: five to three proves nothing, however many tests they make
    visitor = np.repeat(np.arange(8), 500)
    ours = (visitor < 5).astype(float)
    assert compare_tests(ours, 1 - ours, visitor).is_noise
    assert not compare_tests(ours, 1 - ours, np.arange(4000)).is_noise


def test_a_single_visitor_gives_no_p_value():
    result = compare_tests(np.ones(9), np.zeros(9), np.zeros(9, int))
    assert result.p is None
    assert result.is_noise
    assert result.difference == 1


def test_same_seed_same_answer():
    random = np.random.default_rng(2)
    ours, theirs = random.random(100), random.random(100)
    assert compare_tests(ours, theirs, np.arange(100), seed=7) == compare_tests(ours, theirs, np.arange(100), seed=7)


def test_blocks_give_the_same_answer_as_single_tests():
    random = np.random.default_rng(3)
    theirs = random.random(10_000) < 0.3
    ours = np.where(random.random(10_000) < 0.03, True, theirs)
    by_test = compare_tests(ours, theirs, np.arange(10_000))
    by_block = compare_blocks(ours.reshape(100, 100).sum(1), theirs.reshape(100, 100).sum(1), np.full(100, 100))
    assert by_block.difference == pytest.approx(by_test.difference)
    assert not by_block.is_noise
    assert by_block.high - by_block.low == pytest.approx(by_test.high - by_test.low, rel=0.3)


def test_different_tests_can_not_be_paired():
    with pytest.raises(ValueError, match="the same tests"):
        compare_tests(np.ones(3), np.ones(2), np.arange(3))


def test_unpaired_shares_by_hand():
    # a gap of two standard errors of the difference: p = 0.0455
    result = compare_shares(0.5 + 2 * 0.05, 0.5, 0.03, 0.04)
    assert result.p == pytest.approx(0.0455, abs=1e-4)


def test_holm_correction_by_hand():
    # sorted 0.01 0.02 0.03 0.04 times 4, 3, 2, 1, and never below the one before
    assert corrected([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
