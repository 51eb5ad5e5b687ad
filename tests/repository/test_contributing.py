"""The recipes in CONTRIBUTING.md work as written: each is applied to a copy of the repository, and its commands run."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.unmeasured

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
PART = re.compile(r"(?:<!-- file: (?P<file>\S+) -->\n)?```(?P<kind>\w+)\n(?P<body>.*?)```", re.DOTALL)
LEFT_BEHIND = (".*", "build", "dist", "docs", "*.tmp.*", "*.pyc*")
"""Not copied: what nothing here reads, and files that another process may be writing. Compiled kernels are copied."""


def recipes() -> dict[str, list[re.Match[str]]]:
    """Parts of each recipe in order: a file, a diff or a block of commands."""
    names = re.split(r"<!-- recipe: (\w+) -->", TEXT)[1:]
    found = {name: list(PART.finditer(body)) for name, body in zip(names[::2], names[1::2], strict=True)}
    return {name: parts[: command_place(parts) + 1] for name, parts in found.items()}


def command_place(parts: list[re.Match[str]]) -> int:
    """Place of the first block of commands, which ends a recipe; what follows it needs files of the reader's."""
    return next(place for place, part in enumerate(parts) if part["kind"] == "sh")


def apply(diff: str, tree: Path) -> None:
    """Replace the lines of a diff that are shown or go by those that are shown or new."""
    name, *lines = diff.splitlines()
    path = tree / name.removeprefix("--- ")
    before = "".join(f"{line[1:]}\n" for line in lines if line[:1] != "+")
    after = "".join(f"{line[1:]}\n" for line in lines if line[:1] != "-")
    text = path.read_text()
    assert text.count(before) == 1, f"{name} has {text.count(before)} places like this:\n{before}"
    path.unlink()
    path.write_text(text.replace(before, after))


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the repository to which all recipes were applied, one after the other."""
    tree = tmp_path_factory.mktemp("copy") / "corrente"
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(*LEFT_BEHIND))
    (tree / ".venv").symlink_to(sys.prefix)
    for parts in recipes().values():
        for part in parts:
            if part["kind"] == "diff":
                apply(part["body"], tree)
            elif part["file"]:
                assert not (tree / part["file"]).exists(), f"{part['file']} is there already"
                (tree / part["file"]).write_text(part["body"])
    yield tree
    shutil.rmtree(tree)  # kernels take 50 MB


def run(tree: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_there_is_a_recipe_for_a_metric_a_route_and_a_source() -> None:
    assert set(recipes()) == {"metric", "route", "source"}
    for name, parts in recipes().items():
        assert {part["kind"] for part in parts} >= {"diff", "python", "sh"}, name


@pytest.mark.parametrize("name", recipes())
def test_the_commands_of_a_recipe_pass(tree: Path, name: str) -> None:
    for part in recipes()[name]:
        if part["kind"] == "sh":
            said = run(tree, "bash", "-e", "-c", part["body"])
            assert re.search(r"^\d+ passed in", said, re.MULTILINE), said


def test_what_the_recipes_make_keeps_the_rules_of_rooms_and_style(tree: Path) -> None:
    rules = "points_up or circles or too_full or door or opens_with or says_what"
    run(tree, sys.executable, "-m", "pytest", "-q", "tests/test_architecture.py", "-k", rules)
    edits = [part for parts in recipes().values() for part in parts if part["kind"] != "sh"]
    names = {part["file"] or part["body"].split()[1] for part in edits}
    python = sorted(name for name in names if name.endswith(".py"))
    run(tree, sys.executable, "-m", "ruff", "check", *python)
    run(tree, sys.executable, "-m", "ruff", "format", "--check", *python)
