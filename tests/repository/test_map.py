"""Explanations name files and functions that exist; the map covers the ways of a click, a request and a change."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXPLANATION = ROOT / "docs" / "explanation"
ROW = re.compile(r"^\| (?P<step>[^|]+) \| `(?P<file>[^`|]+\.py)` \| (?:`(?P<name>[^`|]+)`)? ?\|$")


def rows_of(page: Path) -> list[re.Match[str]]:
    return [match for line in page.read_text().splitlines() if (match := ROW.match(line))]


MAP = EXPLANATION / "click-and-request.md"
ROWS = rows_of(MAP)
STEPS = [(page, row) for page in sorted(EXPLANATION.glob("*.md")) for row in rows_of(page)]


@cache
def names_in(path: Path) -> set[str]:
    """Functions, classes, methods (`Class.method`) and constants of a file."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            inside = (each for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef))
            found |= {f"{node.name}.{each.name}" for each in inside}
        if isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return found


@pytest.mark.parametrize(("page", "row"), STEPS, ids=lambda each: each.stem if isinstance(each, Path) else each["file"])
def test_a_step_names_a_file_and_a_function_in_it(page: Path, row: re.Match[str]) -> None:
    path = ROOT / row["file"]
    assert path.is_file(), f"{row['file']}: there is no such file; the step is: {row['step']}"
    assert row["name"], f"{row['file']}: say where to start reading"
    assert row["name"] in names_in(path), f"{row['file']} has no {row['name']}"


def test_every_line_of_the_map_is_a_step() -> None:
    lines = [line for line in MAP.read_text().splitlines() if line.startswith("| ")]
    headings = [line for line in lines if line == "| step | file | start at |"]
    assert len(headings) == 3, "a click, a request, and a change of an item"
    assert len(lines) - len(headings) == len(ROWS) > 45


def test_the_ways_cross_every_room_that_a_click_a_request_or_a_change_meets() -> None:
    rooms = {str(Path(row["file"]).parent) for row in ROWS}
    met = {"serving/intake", "stream/kafka", "stream/runner", "stream/ingest", "stream/shard", "stream/state"}
    met |= {"stream/models/learning", "stream/models/entities", "stream/models/sources", "stream/models/ranking"}
    met |= {"stream/versions", "serving/loading", "serving/memory", "serving/web", "serving/answers"}
    met |= {"serving/access", "serving/limits", "serving/catalogue", "stream/catalogue", "stream/catalogue_store"}
    assert met <= rooms


@pytest.mark.parametrize("name", ["flat-tables", "versions", "exactly-once", "several-shards"])
def test_an_explanation_names_the_file_of_each_step(name: str) -> None:
    assert len(rows_of(EXPLANATION / f"{name}.md")) > 8


def test_the_files_of_the_model_are_there() -> None:
    """The page about the model names files below `stream/models/`."""
    named = set(re.findall(r"`([a-z_]+(?:/[a-z_]+)*\.py)`", (EXPLANATION / "model.md").read_text()))
    assert len(named) > 15
    assert [
        name for name in sorted(named) if "tests" not in name and not (ROOT / "stream" / "models" / name).is_file()
    ] == []
