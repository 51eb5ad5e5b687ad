"""The map in the documentation names files and functions that exist, along the whole way."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROW = re.compile(r"^\| (?P<step>[^|]+) \| `(?P<file>[^`|]+)` \| (?:`(?P<name>[^`|]+)`)? ?\|$")
ROWS = [match for line in (ROOT / "docs" / "map.md").read_text().splitlines() if (match := ROW.match(line))]


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


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["file"])
def test_a_step_names_a_file_and_a_function_in_it(row: re.Match[str]) -> None:
    path = ROOT / row["file"]
    assert path.is_file(), f"{row['file']}: there is no such file; the step is: {row['step']}"
    assert row["name"], f"{row['file']}: say where to start reading"
    assert row["name"] in names_in(path), f"{row['file']} has no {row['name']}"


def test_every_line_of_the_tables_is_a_step() -> None:
    lines = [line for line in (ROOT / "docs" / "map.md").read_text().splitlines() if line.startswith("| ")]
    assert len(lines) - 2 == len(ROWS) > 30, "each table has one line that is a heading"


def test_both_ways_cross_every_room_that_a_click_or_a_request_meets() -> None:
    rooms = {str(Path(row["file"]).parent) for row in ROWS}
    met = {"serving/intake", "stream/kafka", "stream/runner", "stream/ingest", "stream/shard", "stream/state"}
    met |= {"stream/models/learning", "stream/models/entities", "stream/models/sources", "stream/models/ranking"}
    met |= {"stream/versions", "serving/loading", "serving/memory", "serving/web", "serving/answers"}
    assert met <= rooms
