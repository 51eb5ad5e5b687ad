"""The example package: built and installed as any package is, found by Corrente, and tested by its own tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/own_source"

PROGRAM = """
import sys
import pytest
from stream.models.feature_names import CANDIDATE_FEATURE_NAMES
from stream.models.schema import table_specs
from stream.models.settings import ModelSettings
from stream.models.source_names import CUSTOM
from stream.models.source_registry import load

table = table_specs(ModelSettings())[-1]
print(CUSTOM, table.name, table.dtype.shape == (load("weekday").COLUMNS,), "weekday.rank" in CANDIDATE_FEATURE_NAMES)
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", sys.argv[1]]))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages with the example in it, as pip leaves it."""
    site = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "--target", site, EXAMPLE], check=True)
    return site


@pytest.mark.unmeasured
def test_the_installed_source_has_a_table_and_features_and_passes_its_own_tests(site: Path) -> None:
    path = os.pathsep.join([str(site), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": path, "NUMBA_CACHE_DIR": str(site / "kernels")}
    command = [sys.executable, "-c", PROGRAM, EXAMPLE / "tests"]
    run = subprocess.run(command, cwd=site, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.startswith("('weekday',) weekday True True\n")
    assert "3 passed" in run.stdout
