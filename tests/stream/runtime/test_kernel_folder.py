"""Kernels in places that can't be written: the installation of another user, no home, no temporary folder.

These tests run programs as a user without a name, a home and any right on the installation, as a container does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream.runtime.kernel_folder import provide_kernel_folder
from tests.other_user import STRANGER, as_stranger, needs_root

ROOT = Path(__file__).resolve().parents[3]
CALLS_A_KERNEL = """
import os, sys, warnings
from stream import cli
from stream.runtime.kernel_folder import provide_kernel_folder
if "WITHOUT_COMMAND" not in os.environ:
    warnings.formatwarning = cli._formatted
    provide_kernel_folder(os.environ)
import numpy as np
from stream.state.marks import skip_clear
print(skip_clear(np.zeros(8, np.uint64), 0, 8), sum(skip_clear.stats.cache_hits.values()))
"""

WARMS_UP = """
import gc
from numba.core.dispatcher import Dispatcher
from serving.loading.warm_up import empty_model, warm_up as warm_server
from stream.models.settings import ModelSettings
from stream.runner.warmup import warm_up
warm_up(ModelSettings())
warm_server(empty_model())
functions = [each for each in gc.get_objects() if isinstance(each, Dispatcher)]
print(sum(map(bool, functions)) > 100, sum(sum(each.stats.cache_misses.values()) for each in functions))
"""

pytestmark = [needs_root, pytest.mark.unmeasured]


@pytest.fixture
def places() -> Iterator[Path]:
    """A copy of `stream` that another user can read, and nothing else; the folders around it as well."""
    folder = Path(tempfile.mkdtemp(prefix="corrente-places-"))
    folder.chmod(0o755)
    shutil.copytree(ROOT / "stream", folder / "stream", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "tmp").mkdir()
    (folder / "tmp").chmod(0o1777)
    yield folder
    shutil.rmtree(folder)


def run(places: Path, *, owner: bool = False, **more: str) -> subprocess.CompletedProcess[str]:
    """Call a kernel in the copy, as its owner or as a stranger, with temporary files in `places/tmp`."""
    command = [sys.executable, "-c", CALLS_A_KERNEL]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(places), "TMPDIR": str(places / "tmp"), **more}
    done = subprocess.run(
        command if owner else as_stranger(command),
        cwd="/",
        env=environment | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_kernels_of_a_stranger_are_kept_in_a_temporary_folder_and_one_line_says_so(places):
    first, second = run(places), run(places)
    kept = places / "tmp" / f"corrente-kernels-{STRANGER}"
    assert kept.stat().st_mode & 0o777 == 0o700
    assert (first.stdout, second.stdout) == ("8 0\n", "8 1\n"), "compiled once, then found"
    assert first.stderr == (
        f"corrente: kernels are compiled into {kept}, and lost when temporary files are removed. Set NUMBA_CACHE_DIR "
        "to a folder that this user can write, or run `corrente compile` once as the owner of the installation\n"
    )
    assert second.stderr == "", "nothing was compiled"


def test_a_folder_that_another_user_prepared_is_not_trusted(places):
    planted = places / "tmp" / f"corrente-kernels-{STRANGER}"
    planted.mkdir()
    planted.chmod(0o777)
    done = run(places)
    assert done.stdout == "8 0\n"
    assert "kernels are compiled in memory, for this process alone" in done.stderr
    assert list(planted.rglob("*.nbi")) == []


@pytest.mark.fault
@pytest.mark.long
def test_a_program_that_imports_kernels_without_the_console_command_compiles_them_in_memory(places):
    done = run(places, WITHOUT_COMMAND="1")
    assert done.stdout == "8 0\n"
    assert "KernelsNotKept: kernels are compiled in memory, for this process alone" in done.stderr


def test_kernels_that_were_compiled_ahead_are_used_by_every_user_and_nothing_is_written(places):
    assert run(places, owner=True).stdout == "8 0\n"
    done = run(places)
    assert (done.stdout, done.stderr) == ("8 1\n", "")
    assert not list((places / "tmp").rglob("*.nbi"))


@pytest.mark.fault
@pytest.mark.long
def test_a_folder_of_kernels_that_can_only_be_read_is_read(places):
    ahead = places / "ahead"
    assert run(places, owner=True, NUMBA_CACHE_DIR=str(ahead)).stdout == "8 0\n"
    shutil.rmtree(places / "stream" / "state" / "__pycache__", ignore_errors=True)
    done = run(places, NUMBA_CACHE_DIR=str(ahead))
    assert (done.stdout, done.stderr) == ("8 1\n", "")


@pytest.mark.fault
@pytest.mark.long
def test_a_user_with_a_home_keeps_kernels_there_and_nothing_is_said(places):
    home = places / "home"
    home.mkdir()
    os.chown(home, STRANGER, STRANGER)
    first, second = run(places, HOME=str(home)), run(places, HOME=str(home))
    assert (first.stdout, second.stdout, first.stderr) == ("8 0\n", "8 1\n", "")
    assert list((home / ".cache" / "numba").rglob("*.nbi"))


def test_nothing_changes_where_the_installation_can_be_written():
    environment = {"HOME": "/nowhere"}
    assert provide_kernel_folder(environment) is None
    assert environment == {"HOME": "/nowhere"}


@pytest.mark.fault
@pytest.mark.long
def test_after_corrente_compile_worker_and_server_of_a_stranger_compile_nothing():
    done = subprocess.run(
        [sys.executable, "-m", "stream.cli", "compile"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("all kernels are compiled, in ")
    warm = subprocess.run(
        as_stranger([sys.executable, "-c", WARMS_UP]),
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (warm.stdout, warm.stderr) == ("True 0\n", "")
