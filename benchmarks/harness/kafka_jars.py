"""Kafka's jars: where they are looked for, and how they are downloaded once.

This file decides which folder Kafka's Java classes are loaded from, and which of four things is reported if they can't
be had: Java is missing, Maven is missing, the list of jars is missing, or the download failed. Starting a broker is
decided in `benchmarks.harness.servers`.

The folder is the first of these that has jars:

1. the one that the environment variable `KAFKA_LIBS` names;
2. `.cache/kafka` in a checkout, or `corrente/kafka` in the user's cache folder (`XDG_CACHE_HOME`, else `~/.cache`) if
   Corrente was installed from a wheel;
3. the same folder after Maven has downloaded into it what `kafka/pom.xml` beside this file lists. The file is part of
   the wheel.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

POM = Path(__file__).parent / "kafka" / "pom.xml"
JARS = "kafka_*.jar"
"""Name of the broker's own jar; its dependencies lie beside it."""


class MissingServer(RuntimeError):
    """A program or file that a server needs isn't on this machine. The text says which, and how to get it."""


def kafka_jars() -> Path:
    """The folder with Kafka's jars, downloaded with Maven if necessary.

    Raises:
        MissingServer: Java, Maven or the list of jars is missing, `KAFKA_LIBS` names a folder without jars, or the
            download failed.
    """
    if shutil.which("java") is None:
        raise MissingServer(
            "Kafka needs Java 17 or newer, and there is no `java` on the PATH (apt-get install openjdk-17-jre-headless)"
        )
    if named := os.environ.get("KAFKA_LIBS"):
        if not any(Path(named).glob(JARS)):
            raise MissingServer(f"KAFKA_LIBS={named} has no {JARS}: name the folder `libs` of a Kafka download")
        return Path(named)
    folder = download_folder()
    if not any(folder.glob(JARS)):
        _download(folder)
    return folder


def download_folder() -> Path:
    """The folder that jars are downloaded into: of the checkout, or of the user if this is an installed wheel."""
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "pyproject.toml").exists():
        return checkout / ".cache" / "kafka"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "corrente" / "kafka"


def _download(folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise MissingServer(
            f"Kafka's jars are not in {folder}, and Maven, which downloads them, is not installed: there is no `mvn` "
            "on the PATH (apt-get install maven; or set KAFKA_LIBS to the folder `libs` of a Kafka download)"
        )
    if not POM.exists():
        raise MissingServer(
            f"Kafka's jars are not in {folder}, and the list of them is missing from this installation: there is no "
            f"{POM} (install Corrente again, or set KAFKA_LIBS to the folder `libs` of a Kafka download)"
        )
    run = subprocess.run(  # noqa: S603  Maven, by an argument list
        [maven, "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={folder}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        raise MissingServer(
            f"Maven ended with {run.returncode} while it downloaded Kafka's jars into {folder}: "
            f"{run.stdout[-500:]}{run.stderr[-500:]}"
        )
    if not any(folder.glob(JARS)):
        raise MissingServer(f"Maven reported success, but there is no {JARS} in {folder}")
