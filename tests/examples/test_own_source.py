"""The example package: built and installed as any package is, found by Corrente, and tested by its own tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/own_source"

FOUND = """
from stream.models.feature_names import CANDIDATE_FEATURE_NAMES
from stream.models.schema import table_specs
from stream.models.settings import ModelSettings
from stream.models.source_names import CUSTOM
from stream.models.source_registry import load

table = table_specs(ModelSettings())[-1]
print(CUSTOM, table.name, table.dtype.shape == (load("weekday").COLUMNS,), "weekday.rank" in CANDIDATE_FEATURE_NAMES)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages with the example in it, as pip leaves it."""
    site = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "--target", site, EXAMPLE], check=True)
    return site


def run(site: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(site), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": path, "NUMBA_CACHE_DIR": str(site / "kernels")}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=site, env=environment, capture_output=True, text=True, check=False)


def test_the_installed_source_has_a_table_and_features(site: Path) -> None:
    found = run(site, "-c", FOUND)
    assert found.returncode == 0, found.stderr
    assert found.stdout == "('weekday',) weekday True True\n"


def test_its_own_tests_pass(site: Path) -> None:
    tests = run(site, "-m", "pytest", "-q", "-p", "no:cacheprovider", EXAMPLE / "tests")
    assert tests.returncode == 0, tests.stdout + tests.stderr
    assert "3 passed" in tests.stdout
