"""Values as producers write them: one rule for times, numbers and ratings, whichever way an event comes in."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from stream.values import LATEST_SECONDS, InvalidEvent, RatingScale, has_time, number_of, seconds_of, seconds_of_numbers

DAY = 1_705_190_400
"""14 January 2024, UTC."""


@pytest.mark.parametrize(
    "timestamp",
    [
        *(DAY * unit for unit in (1, 10**3, 10**6, 10**9)),
        *(str(DAY * unit) for unit in (1, 10**3, 10**6, 10**9)),
        *(20240114, 20240114.0, "20240114", "2024-01-14", " 2024-01-14 "),
        *("2024-01-14T00:00:00Z", "2024-01-14 00:00:00 UTC", "2024-01-14 00:00:00UTC", "2024-01-14T01:00:00+01:00"),
        *("2024-01-14 00:00:00", "2024-01-14 00:00 GMT", "20240114T000000Z", "2024-01-14T00:00:00.000000000Z"),
        *("1.7051904e9", "1705190400.0", "+1705190400"),
    ],
)
def test_one_moment_in_many_forms(timestamp: float | str) -> None:
    assert seconds_of(timestamp) == DAY


@pytest.mark.parametrize(
    "timestamp",
    [
        *(-1, LATEST_SECONDS + 1, 5_000_000_000, 10**14 - 10**9, 5 * 10**18, math.inf, math.nan, 1e300),
        *("", "yesterday", "14.01.2024", "2024-13-01", "1_705_190_400", "nan", "inf", "0x10", "2024-01-14 UTC+1"),
        *("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"),
    ],
)
def test_what_is_no_time_is_refused_with_what_would_be_right(timestamp: float | str) -> None:
    with pytest.raises(InvalidEvent, match=r"^timestamp: .*(seconds since the epoch)"):
        seconds_of(timestamp)


def test_eight_digits_that_are_no_date_are_seconds() -> None:
    assert [seconds_of(each) for each in (20240230, "20231301", 20240114.5, 21060208)] == [
        20240230, 20231301, 20240114.5, 21060208,
    ]  # fmt: skip


def test_many_numbers_are_read_as_each_alone() -> None:
    seed = 20240114
    print("seed", seed)
    draw = random.Random(seed)
    numbers = [draw.uniform(0, 10 ** draw.randint(0, 20)) for _ in range(2000)]
    numbers += [draw.randint(19_000_000, 22_000_000) for _ in range(2000)] + [0, -1, LATEST_SECONDS, 10**11, 20240114]
    read = seconds_of_numbers(np.array([*numbers, np.nan]))
    assert math.isnan(read[-1])
    for number, seconds in zip(numbers, read.tolist(), strict=False):
        try:
            assert seconds == seconds_of(number)
        except InvalidEvent:
            assert not 0 <= seconds <= LATEST_SECONDS


def test_zero_is_no_time() -> None:
    assert [has_time(each) for each in (None, 0, 0.0, "0", "1970-01-01", 1, DAY)] == [False] * 5 + [True] * 2


def test_numbers_may_be_text_with_a_decimal_point() -> None:
    assert [number_of("price", each) for each in (None, 9.99, "9.99", " 9.99 ", "-1", "1e3", ".5", "", " ")] == [
        None, 9.99, 9.99, 9.99, -1, 1000, 0.5, None, None,
    ]  # fmt: skip


@pytest.mark.parametrize("value", ["9,99", "1.234,50", "nine", "nan", "-inf", "1e999", "1_000", math.inf, math.nan])
def test_what_is_no_number_is_refused_with_its_field(value: float | str) -> None:
    with pytest.raises(InvalidEvent, match=r"^price: .* is not a finite number"):
        number_of("price", value)


def test_ratings_that_use_half_of_their_scale_at_most_are_of_another_one() -> None:
    assert RatingScale().unused(100, 1, 5) is None
    thumbs = RatingScale().unused(100, 0, 1)
    assert thumbs is not None
    assert "from 0 to 1, and the scale is 0 to 5" in thumbs
    assert RatingScale(0, 1, 0.5).unused(100, 0, 1) is None
