"""Models beside the ranking, waiting clicks and clocks of shards that are merged, on rows that are known by design."""

from __future__ import annotations

import numpy as np
import pytest
from river import preprocessing

from stream.models.drift.detectors import AFTER, BEFORE, DRIFTS, HIT_RATE, LAST_SECONDS, RISES
from stream.models.merging.learning_state.clock import merge_clock
from stream.models.merging.learning_state.outcome_models import (
    merge_conversion,
    merge_drifts,
    merge_factors,
    merge_pending,
)
from stream.models.merging.learning_state.rings import interleave
from stream.models.merging.numbering import Numbering, Views
from stream.models.outcomes import conversion, ratings
from stream.models.schema import (
    CONVERSION_FEATURES,
    DETECTOR_TESTS,
    PENDING,
    PENDING_RESOLVED,
    PENDING_WRITTEN,
    table_specs,
)
from stream.models.settings import ModelSettings
from stream.models.workspace.scoring_view import views_of
from stream.state.tables import Tables

SETTINGS = ModelSettings(max_items=64, max_visitors=64, max_sessions=64, max_event_ids=64)


def empty() -> Tables:
    return Tables(table_specs(SETTINGS))


def views(shards: list[Tables]) -> list[Views]:
    return [views_of(each) for each in shards]


def test_the_scaler_is_that_of_all_clicks_together() -> None:
    draw = np.random.default_rng(3)
    shards, together, merged = [], preprocessing.StandardScaler(), empty()
    for count, mean in ((40, 0.0), (200, 3.0)):
        own, row = preprocessing.StandardScaler(), (tables := empty())["conversion"].data[0]
        for value in draw.normal(mean, 2.0, count).tolist():
            own.learn_one({0: value})
            together.learn_one({0: value})
        row[conversion.LEARNED] = count
        row[conversion.COUNTS], row[conversion.MEANS], row[conversion.VARIANCES] = count, own.means[0], own.vars[0]
        row[conversion.WEIGHTS] = mean
        shards.append(tables)
    merge_conversion(merged, views(shards))
    row = merged["conversion"].data[0]
    assert row[conversion.LEARNED] == row[conversion.COUNTS] == 240
    assert row[conversion.MEANS] == pytest.approx(together.means[0])
    assert row[conversion.VARIANCES] == pytest.approx(together.vars[0])
    assert row[conversion.WEIGHTS] == pytest.approx(3.0 * 200 / 240)


def test_shards_without_clicks_leave_zeros() -> None:
    merged = empty()
    merge_conversion(merged, views([empty(), empty()]))
    assert not merged["conversion"].data.any()


def waiting(seconds: list[float], resolved: int) -> Tables:
    """Tables with clicks that wait since these moments, behind `resolved` older ones."""
    tables = empty()
    places = (resolved + np.arange(len(seconds))) % PENDING
    tables["pending"].data[places, conversion.PENDING_SECONDS] = seconds
    tables["pending"].data[places, conversion.PENDING_FEATURES : 2 + CONVERSION_FEATURES] = 0.5
    tables["pending_keys"].data.reshape(-1)[places] = np.array(seconds, np.uint32)
    tables["scalars"].data[0, PENDING_RESOLVED] = resolved
    tables["scalars"].data[0, PENDING_WRITTEN] = resolved + len(seconds)
    return tables


def test_clicks_of_all_shards_wait_on_in_the_order_in_which_they_happened() -> None:
    merged = empty()
    merge_pending(merged, views([waiting([10.0, 30.0], PENDING - 1), waiting([5.0, 20.0, 40.0], 7)]))
    scalars = merged["scalars"].data[0]
    assert (scalars[PENDING_RESOLVED], scalars[PENDING_WRITTEN]) == (0, 5)
    assert merged["pending"].data[:5, conversion.PENDING_SECONDS].tolist() == [5, 10, 20, 30, 40]
    assert merged["pending_keys"].data.reshape(-1)[:5].tolist() == [5, 10, 20, 30, 40]
    assert (merged["pending"].data[:5, conversion.PENDING_FEATURES] == 0.5).all()


def test_more_clicks_than_can_wait_leave_the_last_ones_out() -> None:
    merged = empty()
    merge_pending(merged, views([waiting(list(map(float, range(1, PENDING + 1))), 0), waiting([0.5], 0)]))
    assert merged["scalars"].data[0, PENDING_WRITTEN] == PENDING
    assert merged["pending"].data[[0, -1], conversion.PENDING_SECONDS].tolist() == [0.5, PENDING - 1]


def test_drifts_are_added_and_the_last_fall_is_the_latest() -> None:
    shards, merged = [empty(), empty()], empty()
    for tables, tests, row in zip(
        shards, (100, 300), ((2, 500.0, 0.5, 0.25, 1, 0.5), (1, 900.0, 0.75, 0.5, 0, 0.25)), strict=True
    ):
        tables["drifts"].data[3, : HIT_RATE + 1] = row
        tables["scalars"].data[0, DETECTOR_TESTS] = tests
    merge_drifts(merged, views(shards))
    row = merged["drifts"].data[3]
    assert (row[DRIFTS], row[RISES]) == (3, 1)
    assert row[[LAST_SECONDS, BEFORE, AFTER]].tolist() == [900.0, 0.75, 0.5]
    assert row[HIT_RATE] == pytest.approx((100 * 0.5 + 300 * 0.25) / 400)


def test_factors_are_averaged_over_the_shards_that_have_them() -> None:
    keys = np.array([(0, 0), (7, 7), (5, 5)], [("key0", "<u8"), ("key1", "<u8")])
    numbering = Numbering([keys, keys[[0, 2]]])
    one, other = np.zeros((3, ratings.IN_USE + 1)), np.zeros((2, ratings.IN_USE + 1))
    one[1:, ratings.IN_USE] = other[1:, ratings.IN_USE] = 1
    one[1:, ratings.BIAS], other[1:, ratings.BIAS] = (2.0, 4.0), 8.0
    out = np.zeros((3, ratings.IN_USE + 1))
    merge_factors(out, [one, other], numbering, [np.array([0.0, 1.0, 3.0]), np.array([0.0, 1.0])])
    assert out[1:, ratings.BIAS] == pytest.approx([2.0, 5.0])
    assert out[:, ratings.IN_USE].tolist() == [0, 1, 1]


def clock(seconds: float, *, confirmed: bool, step: float = 2.0, lone: int = 0, leads: int = 3) -> Tables:
    tables = empty()
    row = tables["clock"].data
    row["seconds"], row["latest_seconds"], row["confirmed"], row["step"] = seconds, seconds + 1, confirmed, step
    row["lone_visitor"], row["leads"] = lone, leads
    return tables


@pytest.mark.parametrize(
    ("shards", "seconds"),
    [
        ([clock(100, confirmed=True), clock(200, confirmed=True, step=1.0)], 200),
        ([clock(100, confirmed=True), clock(9e9, confirmed=False)], 100),
        ([clock(100, confirmed=False), clock(9e9, confirmed=False), clock(150, confirmed=False)], 150),
        ([clock(100, confirmed=False), empty()], 100),
    ],
    ids=["the latest", "a confirmed one first", "the second-latest of unconfirmed ones", "the only one"],
)
def test_the_clock_that_goes_on(shards: list[Tables], seconds: float) -> None:
    merged = empty()
    merge_clock(merged, views(shards))
    row = merged["clock"].data[0]
    assert (row["seconds"], row["leads"]) == (seconds, 0)
    assert row["step"] == min(each["clock"].data[0]["step"] for each in shards if each["clock"].data[0]["seconds"])


def test_a_clock_that_followed_one_visitor_alone_does_so_no_more() -> None:
    merged = empty()
    merge_clock(merged, views([clock(100, confirmed=False, lone=5), clock(90, confirmed=False, lone=6)]))
    assert (merged["clock"].data[0]["seconds"], merged["clock"].data[0]["lone_visitor"]) == (90, 0)


def test_shards_without_a_clock_leave_it_to_the_first_event() -> None:
    merged = empty()
    merge_clock(merged, views([empty(), empty()]))
    assert merged["clock"].data[0]["seconds"] == 0


def test_rings_are_interleaved_evenly_and_the_newest_stay() -> None:
    rings, numbers = interleave([1000, 250, 0], 500)
    assert len(rings) == 500
    assert np.bincount(rings, minlength=3).tolist() == [400, 100, 0]
    for ring, total in ((0, 1000), (1, 250)):
        assert numbers[rings == ring].tolist() == list(range(total - np.count_nonzero(rings == ring), total))
    first_half = rings[:250]
    assert abs(np.count_nonzero(first_half == 1) - 50) <= 1
