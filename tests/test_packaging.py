"""Packaging: locks with hashes and without addresses, a wheel that is complete, commands that exist.

This file decides what the environment of a wheel takes over from the checkout: machine code of the kernels in
`KERNELS_TAKEN`, whose sources are the same. All other kernels are compiled there, at its first start.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from email import message_from_bytes
from email.message import Message
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest

from tests.compile_kernels import nobody_else_compiles

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
CHECKOUT_VARIABLES = {"PYTHONPATH", "VIRTUAL_ENV"}
LOCKS = sorted(path.name for path in ROOT.glob("requirements*.lock"))
KERNELS_TAKEN = "stream/models"
"""Room of most kernels. Worker and server would compile them at the same time, for two minutes."""


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


@pytest.mark.parametrize(
    "package", ["aiokafka", "faust-streaming", "numba", "prometheus-client", "redis", "river", "uvicorn"]
)
def test_a_package_whose_private_parts_are_used_is_bounded_below_its_next_minor_release(package: str) -> None:
    line = next(each for each in PROJECT["project"]["dependencies"] if wanted([each]) == {package})
    major, minor = version(package).split(".")[:2]
    assert re.findall(r"<([\d.]+)", line) == [f"{major}.{int(minor) + 1}"], line


NOT_LOCKED = {"neural"}
"""Extras that no test needs and that are gigabytes large."""


def test_locks_have_all_that_the_project_names() -> None:
    project = PROJECT["project"]
    extras = project["optional-dependencies"]
    runtime = wanted(project["dependencies"]) | wanted(extras["embedded"])
    groups = PROJECT["dependency-groups"]
    dev = wanted([each for each in groups["dev"] if isinstance(each, str)])
    assert runtime <= names_in("requirements.lock")
    locked = [extra for name, extra in extras.items() if name not in NOT_LOCKED]
    every_extra = wanted([each for extra in locked for each in extra])
    assert runtime | dev | every_extra | wanted(groups["build"]) <= names_in("requirements-dev.lock")
    assert wanted(groups["build"]) <= names_in("requirements-build.lock")


def test_every_command_is_there() -> None:
    """Every command is imported, so a name without a module behind it fails."""
    commands = entry_points(group="corrente.commands")
    named = PROJECT["project"]["entry-points"]["corrente.commands"]
    assert {found.name: found.value for found in commands} == named, "installed before pyproject.toml changed?"
    for found in commands:
        assert callable(found.load()), found


def test_help_imports_nothing_heavy() -> None:
    """`--help` answers at once, because it loads no kernels, no Kafka client and no web framework."""
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


def metadata_of(wheel: Path) -> Message:
    """Core metadata of a built wheel."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [each for each in archive.namelist() if each.endswith(".dist-info/METADATA")]
        return message_from_bytes(archive.read(name))


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
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)
    assert not [name for name in names if name.endswith((".nbi", ".nbc", ".pyc"))]
    modules = {path.relative_to(ROOT).as_posix() for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert modules == {name for name in names if name.endswith(".py")}
    assert {"benchmarks/harness/kafka/pom.xml", "corrente/py.typed"} <= set(names)


@pytest.mark.packaging
def test_a_wheel_says_its_licence_and_carries_it(wheel: Path) -> None:
    metadata = metadata_of(wheel)
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata.get_all("License-File") == ["LICENSE"]
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [each for each in archive.namelist() if each.endswith("/licenses/LICENSE")]
        assert archive.read(name) == (ROOT / "LICENSE").read_bytes()


@pytest.mark.packaging
def test_a_source_distribution_carries_the_licence_and_builds_without_the_checkout(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(built) as archive:
        archive.extractall(tmp_path, filter="data")
    source = tmp_path / built.name.removesuffix(".tar.gz")
    assert (source / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert metadata_of(wheel)["License-Expression"] == "Apache-2.0"


class Installed:
    """Commands of an environment with the locked packages and the wheel, run outside the checkout."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs = folder / "venv" / "bin"
        self.environment = {name: value for name, value in os.environ.items() if name not in CHECKOUT_VARIABLES}

    def run(self, *command: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.programs / command[0], *command[1:]],
            cwd=self.folder,
            env={**self.environment, **more},
            capture_output=True,
            text=True,
            check=False,
        )

    def pip(self, *arguments: str | Path) -> None:
        """Run the pip of the tests on this environment, which has none of its own."""
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", self.programs / "python"]
        run = subprocess.run([*pip, *arguments], env=self.environment, capture_output=True, text=True, check=False)
        assert run.returncode == 0, f"{arguments}: {run.stdout[-2000:]}{run.stderr[-2000:]}"

    def output_of(self, *command: str | Path) -> str:
        run = self.run(*command)
        assert run.returncode == 0, f"{command}: {run.stdout[-2000:]}{run.stderr[-2000:]}"
        return run.stdout


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """An environment with nothing but the locked packages and the wheel, and kernels that the checkout has compiled."""
    installed = Installed(tmp_path_factory.mktemp("installed"))
    venv.create(installed.folder / "venv")
    # Modules are compiled to bytecode as they are imported, which few of them are.
    installed.pip("install", "--quiet", "--no-compile", "--require-hashes", "--requirement", ROOT / "requirements.lock")
    installed.pip("install", "--quiet", "--no-compile", "--no-deps", wheel)
    with nobody_else_compiles():  # `make test` compiles them meanwhile
        take_kernels(installed)
    return installed


def take_kernels(installed: Installed) -> None:
    """Lay the machine code of `KERNELS_TAKEN` beside the installed modules, and give these the times that it names."""
    packages = Path(
        installed.output_of("python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    )
    for module in (ROOT / KERNELS_TAKEN).rglob("*.py"):
        there = packages / module.relative_to(ROOT)
        times = module.stat()
        os.utime(there, ns=(times.st_atime_ns, times.st_mtime_ns))
        for code in (module.parent / "__pycache__").glob(f"{module.stem}.*.nb[ic]"):
            (there.parent / "__pycache__").mkdir(exist_ok=True)
            shutil.copy2(code, there.parent / "__pycache__")


@pytest.mark.packaging
@pytest.mark.timeout(1500)
def test_a_fresh_environment_with_only_the_wheel_runs_help_and_the_demo(installed: Installed) -> None:
    installed.pip("check")
    help_text = installed.output_of("corrente", "--help")
    for command in PROJECT["project"]["entry-points"]["corrente.commands"]:
        assert command in help_text
    assert "Not available here" not in help_text
    assert installed.run("corrente", "quickstart", "--status", TMPDIR=str(installed.folder)).stdout == "nothing runs\n"

    summary = json.loads(installed.output_of("corrente", "demo", "--json", "--seconds", "20").splitlines()[-1])
    assert summary["finished"]
    assert summary["rollback_ok"]
    assert summary["events_learned"] == summary["events_sent"] > 1000
    assert summary["hr_at_10"] > 2 * summary["popularity_hr_at_10"] > 0


@pytest.mark.packaging
@pytest.mark.timeout(1500)
def test_a_benchmark_of_an_installed_wheel_names_the_program_that_is_missing(
    installed: Installed, tmp_path: Path
) -> None:
    """The list of Kafka's jars is part of the wheel, and jars are downloaded into the user's cache folder."""
    programs, cache = tmp_path / "programs", tmp_path / "cache"
    programs.mkdir()

    def bench() -> str:
        run = installed.run("corrente", "bench", "ingest", PATH=str(programs), XDG_CACHE_HOME=str(cache), KAFKA_LIBS="")
        assert run.returncode == 2, run.stderr
        assert "Traceback" not in run.stderr
        return run.stderr

    def install(name: str, script: str) -> None:
        (programs / name).write_text(f"#!/bin/sh\n{script}")
        (programs / name).chmod(0o755)

    assert "there is no `java` on the PATH" in bench()
    install("java", "")
    message = bench()
    assert "there is no `mvn` on the PATH" in message
    assert str(cache / "corrente" / "kafka") in message
    install("mvn", 'test -f "$4" && echo "jars of $4 are out of reach"; exit 1')
    message = bench()
    assert "Maven ended with 1" in message
    (pom,) = re.findall(r"jars of (\S+) are out of reach", message)
    assert pom.startswith(str(installed.folder))
