"""Tables and sentences of results, on a terminal and in a notebook."""

import io
import math

import numpy as np
import pytest
from rich.console import Console

from stream.evaluation.measures.significance import Difference
from stream.evaluation.report.tables import difference_text, figures_html, lines, probability, show, summary


@pytest.fixture
def result(planted):
    return planted([1, 2, 11, math.inf], [math.inf, 2, 11, 21])


def test_the_summary_shows_the_figures_on_a_terminal_and_in_a_notebook(result):
    printed = io.StringIO()
    show(summary(result), console=Console(file=printed))
    html = summary(result)._repr_html_()
    assert repr(summary(result)) == repr(result) == "<Evaluation of planted: 4 tests, HR@10 0.5000>"
    assert html == figures_html(result)
    for text in (printed.getvalue(), html):
        assert "planted" in text
        assert "rules" in text
        assert "0.5000" in text
        assert "blend - rules: HR@10" in text


def test_names_from_a_file_are_escaped_in_html(planted):
    evaluation = planted([1], [1])
    object.__setattr__(evaluation, "stream", "<script>")
    assert "<script>" not in figures_html(evaluation)


def test_figures_of_the_other_models_get_a_sentence_each(result):
    object.__setattr__(
        result,
        "model_metrics",
        {
            "conversion": {"learned": 10, "log_loss": 0.3, "constant_log_loss": 0.4, "bought_share": 0.1},
            "ratings": {"learned": 10, "mae": 0.7, "constant_mae": 0.9},
        },
    )
    text = "\n".join(lines(result))
    assert "log loss 0.3000; a constant prediction of their share 10.00% has 0.4000 (10 clicks)" in text
    assert "mean absolute error 0.7000; a constant prediction of the mean has 0.9000 (10 ratings)" in text


def test_a_table_in_a_pipe_is_not_cut_to_a_terminal_s_width(planted):
    evaluation = planted(np.ones(20), np.ones(20))
    printed = io.StringIO()
    show(summary(evaluation), console=Console(file=printed, width=20))
    assert "SE HR@10" in printed.getvalue()


@pytest.mark.parametrize(
    ("p", "verdict"), [(0.01, "p = 0.01: more than noise"), (0.2, "p = 0.2: may be noise"), (0.001, "p < 0.002")]
)
def test_a_difference_is_worded_with_its_p_value_and_a_verdict(p, verdict):
    assert verdict in difference_text(Difference(0.1, 0.0, 0.2, p, 3, 1, 9, "paired"), "HR@10")


def test_a_p_value_below_the_resolution_of_the_resampling_is_given_as_a_bound():
    assert probability(0.0005) == "p < 0.002"
    assert probability(0.0123) == "p = 0.012"
