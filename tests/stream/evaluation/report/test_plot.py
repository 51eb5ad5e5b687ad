"""Plots of curves: readable files without dependencies, and names that are refused before the work."""

import re
from html.parser import HTMLParser

import pytest

from stream.evaluation.measures.curves import curves
from stream.evaluation.protocol import WrongInput
from stream.evaluation.report.plot import check_plot_name, plot, to_html


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
