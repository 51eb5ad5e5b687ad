"""Curves and detections of a hit rate that drops half-way."""

import math
from dataclasses import replace

import numpy as np
import pytest

from stream.evaluation.measures.curves import POINTS, changes, curves


def test_the_drop_is_in_the_curve_and_is_detected_near_where_it_is(dropping):
    drawn = curves(dropping, window=300)
    assert len(drawn.event) <= POINTS
    assert drawn.hr["blend"][drawn.event < 2900].mean() == pytest.approx(0.6, abs=0.05)
    assert drawn.hr["blend"][drawn.event > 3300].mean() == pytest.approx(0.2, abs=0.05)
    assert drawn.hr["rules"].max() == 0
    assert drawn.detections
    assert all(3000 <= event < 3400 for event in drawn.detections)
    assert drawn.rises == []


def test_coin_flips_give_no_detection():
    flips = (np.random.default_rng(1).random(200_000) < 0.3).astype(float)
    assert changes(flips) == ([], [])


def test_a_model_that_learns_rises_and_does_not_drift(planted):
    random = np.random.default_rng(2)
    hit = random.random(6000) < np.linspace(0.1, 0.7, 6000)
    drawn = curves(planted(np.where(hit, 1.0, math.inf), np.full(6000, math.inf)))
    assert drawn.rises
    assert drawn.detections == []


def test_the_first_events_are_not_watched_for_drift(dropping):
    late = replace(dropping, settings={"drift_burn_in": 3500})
    assert curves(late).detections == []
    assert curves(replace(dropping, settings={"drift_burn_in": 2500})).detections


def test_a_stream_shorter_than_the_window_is_one_point(planted):
    assert len(curves(planted([1.0, 2.0], [1.0, 1.0])).event) == 1
