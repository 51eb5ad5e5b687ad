"""The README's first block, run exactly as it stands by a shell, in an empty folder and without a setting."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.repository.test_readme import answers, block


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("q")  # a short name: there will be a socket below it


@pytest.fixture
def environment(folder: Path, compiled_kernels: None) -> Iterator[dict[str, str]]:
    """A home, a folder for temporary files and a path of programs, and nothing else."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {"HOME": str(folder), "TMPDIR": str(folder), "PATH": path}
    yield environment
    subprocess.run(["corrente", "quickstart", "--stop"], env=environment, check=True)


def shape(value: Any) -> Any:
    """JSON with each value replaced by its type."""
    if isinstance(value, dict):
        return {name: shape(part) for name, part in value.items()}
    if isinstance(value, list):
        return [shape(part) for part in value]
    return type(value).__name__


def test_the_first_block_recommends_bob_what_goes_with_his_teapot(folder: Path, environment: dict[str, str]) -> None:
    run = subprocess.run(
        ["bash", "-e", "-c", block("quickstart")],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    begins = [run.stdout.index(begin) for begin in ('{"accepted"', '{"answer"')]
    accepted, recommended = (json.JSONDecoder().raw_decode(run.stdout, begin)[0] for begin in begins)
    written = answers("quickstart")
    assert [shape(accepted), shape(recommended)] == [shape(each) for each in written]
    assert accepted["accepted"] == written[0]["accepted"]
    for stable in ("model", "fallback"):
        assert recommended[stable] == written[1][stable]
    items = [each["item"] for each in recommended["items"]]
    assert items == [each["item"] for each in written[1]["items"]]
    assert items[0] == "cups", "Ada's clicks say that cups go with a teapot"
    assert run.stdout.endswith("stopped; nothing is left running\n")
