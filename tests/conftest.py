"""Rules for every test: no setting of the machine reaches it, and the reasons why tests did not run are listed.

No property fails because the machine is busy: Hypothesis limits neither the time of an example nor that of making one.

Coverage is paused in tests that are marked `unmeasured`, and in the processes that they start: they run only lines that
other tests run too, many times or for a long time, and the interpreter's trace function would make them up to half
slower. Three kinds of tests are marked here, because half of the time of all tests goes to lines that they repeat, and
hardly two lines of a hundred are run by them alone:

- properties that Hypothesis tries with many examples,
- all but the first case of a test that is marked `parametrize`, but for `tests/integration`, where a case may be a
  program of its own,
- tests of the model in `tests/stream/models`, most of which is machine code, whose lines aren't seen.

Tests that are marked `long` run in `make faults` alone, which names a file for their numbers in `FAULTS`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import coverage
import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("corrente", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("corrente")

MODEL = Path(__file__).parent / "stream" / "models"
INTEGRATION = Path(__file__).parent / "integration"

MEASURES_CHILDREN = "COVERAGE_PROCESS_CONFIG"
"""Variable by which coverage measures the Python processes that are started (its patch `subprocess`)."""


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("CORRENTE_"):
            monkeypatch.delenv(name)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests that are marked `long`, unless `make faults` runs them; mark those that repeat lines."""
    if "FAULTS" not in os.environ:
        left_out = [item for item in items if item.get_closest_marker("long")]
        items[:] = [item for item in items if not item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=left_out)
    for item in items:
        if repeats_lines(item):
            item.add_marker(pytest.mark.unmeasured)


def repeats_lines(item: pytest.Item) -> bool:
    """True if a test is of one of the three kinds above that run hardly a line that no other test runs."""
    is_property = getattr(getattr(item, "obj", None), "is_hypothesis_test", False)
    is_further_case = (
        item.get_closest_marker("parametrize") is not None
        and any(item.callspec.indices.values())
        and INTEGRATION not in item.path.parents
    )
    return is_property or is_further_case or MODEL in item.path.parents


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Pause coverage, if it is measured, while a test that is marked `unmeasured` runs."""
    measuring = coverage.Coverage.current() if item.get_closest_marker("unmeasured") else None
    if measuring is None:
        return (yield)
    measuring.stop()
    configuration = os.environ.pop(MEASURES_CHILDREN, None)
    try:
        return (yield)
    finally:
        start_again(measuring)
        if configuration is not None:
            os.environ[MEASURES_CHILDREN] = configuration


def start_again(measuring: coverage.Coverage) -> None:
    """Start to measure, without what the first start has done for good.

    Another start would look at every module that was imported, for a warning that is disabled, and patch `os` and
    `subprocess` once more. That takes up to a tenth of a second, and thousands of tests are unmeasured.
    """
    measuring._warn_preimported_source = False  # there is no public name; without this, tests are slower
    patches = measuring.get_option("run:patch")
    measuring.set_option("run:patch", [])
    measuring.start()
    measuring.set_option("run:patch", patches)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the reasons why tests were not run, one line for each reason."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped if report.longrepr)
    for reason, count in reasons.items():
        terminalreporter.write_line(f"NOT RUN: {count} tests: {reason}", yellow=True)
