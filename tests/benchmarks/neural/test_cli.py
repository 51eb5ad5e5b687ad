"""The command as people call it, with and without PyTorch."""

import json
import sys

import pytest
from typer.testing import CliRunner

from benchmarks.neural.cli import app


def neural(*words, code=0):
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


@pytest.fixture
def _no_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # every import of it raises ModuleNotFoundError


@pytest.mark.usefixtures("_no_torch")
def test_without_pytorch_the_command_that_installs_it_is_named(write_file, split_circle):
    result = neural(write_file(split_circle), code=2)
    assert "PyTorch isn't installed" in result.stderr
    assert "pip install 'corrente[neural]'" in result.stderr


@pytest.mark.usefixtures("_no_torch")
def test_popularity_alone_needs_no_pytorch_and_the_last_line_is_json(write_file, split_circle):
    result = neural(write_file(split_circle), "--popular-only", "--no-blend", "--k", "3,1", "--seed", 7, "--json")
    report = json.loads(result.stdout.splitlines()[-1])
    assert report["n"] == 30
    assert set(report["rankings"]) == {"popular"}
    assert set(report["rankings"]["popular"]["figures"]) == {"hr", "mrr", "ndcg", "hr_se", "mrr_se"}
    assert report["protocol"]["frozen_split"]
    assert report["protocol"]["cutoffs"] == [3, 1]
    assert "30 tests, seed 7" in result.stdout
    assert "seed 7" in result.stderr


@pytest.mark.usefixtures("_no_torch")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--k", "ten"], "whole numbers separated by commas"),
        (["--column", "item"], "our column=yours"),
        (["--by", "session"], "there is no session column; --by user is possible"),
        (["--events", "like"], "no event is of kind like"),
        (["--dimensions", "7"], "--dimensions 7: a multiple of 2"),
        (["--context", "session"], "there is no session column"),
    ],
    ids=str,
)
def test_wrong_options_are_refused_with_what_would_be_right(write_file, split_circle, words, message):
    assert message in neural(write_file(split_circle), "--popular-only", "--no-blend", *words, code=2).stderr
