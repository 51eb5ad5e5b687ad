"""The verdict of a search and the settings file: better settings are written, others only as comments."""

from dataclasses import replace

import pytest

from stream.evaluation.measures.significance import Difference
from stream.evaluation.protocol import WrongInput
from stream.evaluation.tuning.verdict import Tuned, read_settings_file

BETTER = Tuned(
    chosen={"weights": {"click": 2.0}, "seed": 3},
    trials=5,
    pruned=1,
    leading=(0.2, 0.3),
    following=(0.2, 0.25),
    difference=Difference(0.05, 0.01, 0.09, 0.01, 30, 10, 100, "paired"),
    cutoff=10,
)


def test_better_settings_are_written_as_environment_variables():
    assert read_settings_file(BETTER.settings_file()) == {
        "CORRENTE_MODEL__WEIGHTS": '{"click": 2.0}',
        "CORRENTE_MODEL__SEED": "3",
    }


@pytest.mark.parametrize(
    "difference",
    [replace(BETTER.difference, p=0.2), replace(BETTER.difference, difference=-0.05)],
    ids=["noise", "worse"],
)
def test_settings_that_are_not_better_are_not_written(difference):
    verdict = replace(BETTER, difference=difference)
    assert read_settings_file(verdict.settings_file()) == {}
    assert "the default stays" in verdict.settings_file()
    assert verdict.report()["better"] is False


def test_a_line_that_is_no_setting_is_refused_with_its_number():
    with pytest.raises(WrongInput, match="line 2"):
        read_settings_file("# fine\nCORRENTE_SEED\n")
