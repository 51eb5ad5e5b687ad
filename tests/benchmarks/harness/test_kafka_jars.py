"""Kafka's jars: every reason why they can't be had has a message of its own, and a download happens once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.harness import kafka_jars
from benchmarks.harness.kafka_jars import MissingServer

DOWNLOADS = """#!/bin/sh
for argument in "$@"; do
  case "$argument" in -DoutputDirectory=*) folder="${argument#-DoutputDirectory=}" ;; esac
done
mkdir -p "$folder" && : > "$folder/kafka_2.13-4.1.0.jar" && echo "$@" >> "$(dirname "$0")/maven-calls"
"""
FAILS = """#!/bin/sh
echo "no route to repo.maven.apache.org"
exit 1
"""
DOES_NOTHING = "#!/bin/sh\n"


class Machine:
    """A machine with only the programs that a test installs, and an empty download folder."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.programs = folder / "programs"
        self.programs.mkdir()
        self.downloads = folder / "downloads"
        monkeypatch.setenv("PATH", f"{self.programs}{os.pathsep}/bin")
        monkeypatch.delenv("KAFKA_LIBS", raising=False)
        monkeypatch.setattr(kafka_jars, "download_folder", lambda: self.downloads)

    def install(self, name: str, script: str) -> None:
        (self.programs / name).write_text(script)
        (self.programs / name).chmod(0o755)

    def missing(self) -> str:
        with pytest.raises(MissingServer) as raised:
            kafka_jars.kafka_jars()
        return str(raised.value)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(tmp_path, monkeypatch)
    if any(Path("/bin", name).exists() for name in ("java", "mvn")):
        monkeypatch.setattr(kafka_jars.shutil, "which", lambda name: _which(machine.programs / name))
    return machine


def _which(program: Path) -> str | None:
    return str(program) if program.exists() else None


def test_without_java_java_is_named(machine: Machine) -> None:
    machine.install("mvn", DOWNLOADS)
    assert "there is no `java` on the PATH" in machine.missing()
    assert not machine.downloads.exists()


def test_without_maven_maven_is_named(machine: Machine) -> None:
    machine.install("java", DOES_NOTHING)
    message = machine.missing()
    assert "there is no `mvn` on the PATH" in message
    assert str(machine.downloads) in message


def test_without_the_list_of_jars_the_list_is_named_and_not_maven(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine.install("java", DOES_NOTHING)
    machine.install("mvn", DOWNLOADS)
    monkeypatch.setattr(kafka_jars, "POM", tmp_path / "pom.xml")
    message = machine.missing()
    assert f"there is no {tmp_path / 'pom.xml'}" in message
    assert "Maven" not in message
    assert not machine.downloads.exists()


def test_a_download_that_fails_is_reported_with_maven_s_own_words(machine: Machine) -> None:
    machine.install("java", DOES_NOTHING)
    machine.install("mvn", FAILS)
    message = machine.missing()
    assert "Maven ended with 1" in message
    assert "no route to repo.maven.apache.org" in message


def test_a_download_without_jars_is_reported(machine: Machine) -> None:
    machine.install("java", DOES_NOTHING)
    machine.install("mvn", DOES_NOTHING)
    assert "there is no kafka_*.jar" in machine.missing()


def test_jars_are_downloaded_once_by_the_list_that_is_shipped(machine: Machine) -> None:
    machine.install("java", DOES_NOTHING)
    machine.install("mvn", DOWNLOADS)
    assert kafka_jars.kafka_jars() == machine.downloads
    assert kafka_jars.kafka_jars() == machine.downloads
    (call,) = (machine.programs / "maven-calls").read_text().splitlines()
    assert f"-f {kafka_jars.POM} " in call
    assert kafka_jars.POM.is_file()


def test_a_folder_that_is_named_is_taken_and_has_to_hold_jars(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine.install("java", DOES_NOTHING)
    monkeypatch.setenv("KAFKA_LIBS", str(tmp_path / "libs"))
    assert f"KAFKA_LIBS={tmp_path / 'libs'} has no kafka_*.jar" in machine.missing()
    (tmp_path / "libs").mkdir()
    (tmp_path / "libs" / "kafka_2.13-4.1.0.jar").touch()
    assert kafka_jars.kafka_jars() == tmp_path / "libs"


def test_a_checkout_downloads_into_its_own_cache() -> None:
    root = Path(__file__).parents[3]
    assert (root / "pyproject.toml").exists()
    assert kafka_jars.download_folder() == root / ".cache" / "kafka"
