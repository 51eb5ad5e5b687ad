"""Curves and pictures of a quality that drops half-way."""

import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from stream.evaluation.measures.curves import POINTS, changes, curves
from stream.evaluation.protocol import WrongInput
from stream.evaluation.report.plot import check_plot_name, plot, to_html


@pytest.fixture
def dropping(planted):
    random = np.random.default_rng(0)
    hit = random.random(6000) < np.where(np.arange(6000) < 3000, 0.6, 0.2)
    return planted(np.where(hit, 1.0, math.inf), np.full(6000, math.inf))


def test_the_drop_is_in_the_curve_and_is_detected_near_where_it_is(dropping):
    drawn = curves(dropping, window=300)
    assert len(drawn.event) <= POINTS
    assert drawn.hr["blend"][drawn.event < 2900].mean() == pytest.approx(0.6, abs=0.05)
    assert drawn.hr["blend"][drawn.event > 3300].mean() == pytest.approx(0.2, abs=0.05)
    assert drawn.hr["rules"].max() == 0
    assert drawn.detections
    assert all(3000 <= event < 3400 for event in drawn.detections)
    assert drawn.rises == []


def test_coin_flips_are_no_drift():
    flips = (np.random.default_rng(1).random(200_000) < 0.3).astype(float)
    assert changes(flips) == ([], [])


def test_a_model_that_learns_rises_and_does_not_drift(planted):
    random = np.random.default_rng(2)
    hit = random.random(6000) < np.linspace(0.1, 0.7, 6000)
    drawn = curves(planted(np.where(hit, 1.0, math.inf), np.full(6000, math.inf)))
    assert drawn.rises
    assert drawn.detections == []


def test_the_first_events_are_not_watched(dropping):
    late = replace(dropping, settings={"drift_burn_in": 3500})
    assert curves(late).detections == []
    assert curves(replace(dropping, settings={"drift_burn_in": 2500})).detections


def test_a_stream_shorter_than_the_window_is_one_point(planted):
    assert len(curves(planted([1.0, 2.0], [1.0, 1.0])).event) == 1


def test_png_is_a_png(dropping, tmp_path):
    pytest.importorskip("matplotlib")
    assert plot(dropping, tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_html_needs_nothing_else_and_is_well_formed(dropping, tmp_path):
    page = plot(dropping, tmp_path / "curve.html").read_text(encoding="utf-8")
    tags: list[str] = []

    class Balance(HTMLParser):
        def handle_starttag(self, tag, attrs):
            if tag != "meta":
                tags.append(tag)
            assert not {"src", "href"} & dict(attrs).keys()

        def handle_endtag(self, tag):
            assert tags.pop() == tag

    Balance().feed(page)
    assert tags == []
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)
    assert '"drift": [3' in page


def test_names_from_a_file_can_not_break_out_of_the_page(dropping):
    page = to_html(curves(dropping), "<script>alert(1)</script>")
    assert "<script>alert" not in page


@pytest.mark.parametrize("name", ["curve.gif", "curve", "nowhere/curve.png"])
def test_a_name_that_can_not_be_written_is_refused_before_the_work(name, tmp_path):
    with pytest.raises(WrongInput):
        check_plot_name(tmp_path / name)
