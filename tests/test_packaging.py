"""What is installed: locked by hash and without addresses, a wheel that has everything, commands that exist."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = sorted(path.name for path in ROOT.glob("requirements*.lock"))


def names_in(lock: str) -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+)==", (ROOT / lock).read_text(), re.MULTILINE))


def wanted(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=\[;! ]", requirement)[0] for requirement in requirements}


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_a_hash_for_every_version_and_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert "--index-url" not in text
    entries = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert entries
    assert all("--hash=sha256:" in entry for entry in entries)


def test_locks_have_all_that_the_project_names() -> None:
    project = PROJECT["project"]
    extras = project["optional-dependencies"]
    runtime = wanted(project["dependencies"]) | wanted(extras["embedded"])
    groups = PROJECT["dependency-groups"]
    dev = wanted([each for each in groups["dev"] if isinstance(each, str)])
    assert runtime <= names_in("requirements.lock")
    every_extra = wanted([each for extra in extras.values() for each in extra])
    assert runtime | dev | every_extra | wanted(groups["build"]) <= names_in("requirements-dev.lock")
    assert wanted(groups["build"]) <= names_in("requirements-build.lock")


def test_every_command_is_there() -> None:
    """Each is imported; one that can't be is a name without a module behind it."""
    commands = entry_points(group="corrente.commands")
    named = PROJECT["project"]["entry-points"]["corrente.commands"]
    assert {found.name: found.value for found in commands} == named, "installed before pyproject.toml changed?"
    for found in commands:
        assert callable(found.load()), found


def test_help_imports_nothing_heavy() -> None:
    """A person waits for it. Kernels, Kafka and the web framework are of no use to it."""
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "stream.cli", "--help"], capture_output=True, text=True, check=True
    )
    imported = {line.rpartition("|")[2].strip() for line in run.stderr.splitlines()}
    assert "typer" in imported
    assert not imported & {"numba", "numpy", "river", "faust", "aiokafka", "fastapi", "redis", "httpx", "pydantic"}


def test_a_wrong_setting_ends_a_command_with_what_would_be_right() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "stream.cli", "worker"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "CORRENTE_PROT": "1"},
    )
    assert run.returncode != 0
    assert "CORRENTE_PROT='1': there is no such setting. Did you mean CORRENTE_PORT?" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.packaging
def test_a_wheel_has_the_packages_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {"stream", "serving", "simulators", "benchmarks"} == {top for top in tops if not top.endswith(".dist-info")}
    assert not [name for name in names if name.endswith((".nbi", ".nbc", ".pyc"))]
    for module in ROOT.glob("stream/**/*.py"):
        assert module.relative_to(ROOT).as_posix() in names


@pytest.mark.packaging
@pytest.mark.timeout(1500)
def test_a_fresh_environment_with_only_the_wheel_runs_help_and_the_demo(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    bin_ = tmp_path / "venv" / "bin"
    pip = [bin_ / "python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}

    def run(*command: str | Path) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        return done.stdout

    run(*pip, "--require-hashes", "--requirement", ROOT / "requirements.lock")
    run(*pip, "--no-deps", wheel)
    run(bin_ / "python", "-m", "pip", "check")

    told = run(bin_ / "corrente", "--help")
    for command in PROJECT["project"]["entry-points"]["corrente.commands"]:
        assert command in told
    assert "Not available here" not in told

    summary = json.loads(run(bin_ / "corrente", "demo", "--json", "--seconds", "30").splitlines()[-1])
    assert summary["rollback_ok"]
    assert summary["events_learned"] == summary["events_sent"] > 1000
    assert summary["hr_at_10"] > 2 * summary["popularity_hr_at_10"]
