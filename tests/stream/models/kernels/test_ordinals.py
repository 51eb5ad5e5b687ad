"""Ordinals of more than 32 bits: words of rows and lists give back the number that was written."""

from __future__ import annotations

import numpy as np
import pytest

from stream.models.kernels.ordinals import (
    began_before,
    high_word,
    listed_ordinal,
    low_word,
    whole,
    whole_column,
    write_column,
)

LIMITS = [1, 7, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 3 * 2**32, 2**48 - 1]


@pytest.mark.parametrize("number", LIMITS)
def test_a_number_is_what_its_two_words_say(number):
    assert whole(low_word(number), high_word(number)) == number


@pytest.mark.parametrize("newest", LIMITS)
@pytest.mark.parametrize("behind", [0, 1, 100_000_000, 2**31, 2**32 - 1])
def test_an_entry_of_a_list_is_the_newest_number_with_its_word(newest, behind):
    if newest > behind:
        assert listed_ordinal(low_word(newest - behind), newest) == newest - behind
        assert began_before(low_word(newest - behind), newest) == behind


def test_an_entry_that_is_too_old_would_be_taken_for_a_newer_one():
    """This is why old entries are dropped."""
    assert listed_ordinal(low_word(5), 2**32 + 5) == 2**32 + 5


def test_columns_of_records_are_read_and_written_whole():
    records = np.zeros(4, np.dtype([("ordinal", "<u4"), ("other", "<u4"), ("ordinal_high", "<u2")]))
    write_column(records, "ordinal", np.array([1, 3]), np.array([2**32 + 9, 2**48 - 1]))
    assert whole_column(records, "ordinal").tolist() == [0, 2**32 + 9, 0, 2**48 - 1]
