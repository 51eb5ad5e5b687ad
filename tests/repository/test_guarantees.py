"""Every sentence of the guarantees names a test that exists, is collected and is not switched off."""

from __future__ import annotations

import ast
import re
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
GUARANTEES = ROOT / "docs" / "guarantees.md"
COMPATIBILITY = ROOT / "docs" / "compatibility.md"
THREATS = ROOT / "docs" / "explanation" / "threat-model.md"

NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
KEPT_BY = "kept by"
"""Heading of the column with tests. A table with another last column is no table of promises."""

WITHOUT_PROMISES = {"Not guaranteed"}
"""Sections of the guarantees that have no table."""

SWITCHED_OFF = {"skip", "xfail"}


class Promise(NamedTuple):
    """One row of a table: a sentence, and the cell that names its tests."""

    sentence: str
    tests: str


def promises(text: str) -> list[Promise]:
    """The rows of all tables of promises in a page."""
    found: list[Promise] = []
    columns: list[str] = []
    for line in text.splitlines():
        if not line.startswith("|"):
            columns = []
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not columns:
            columns = cells
        elif columns[-1] == KEPT_BY and not set(line) <= set("|-: "):
            found.append(Promise(cells[0], cells[-1]))
    return found


def problem(promise: Promise) -> str | None:
    """A reason why nothing keeps a promise; None if each test that it names would fail with it."""
    named = NAMED.findall(promise.tests)
    if not named:
        return "no test is named"
    if rest := NAMED.sub("", promise.tests).strip(", "):
        return f"{rest!r} is no test"
    for file, name in named:
        if not (ROOT / file).is_file():
            return f"there is no {file}"
        if name not in (tests := collected(file)):
            return f"{file} has no test {name}"
        if tests[name] & SWITCHED_OFF:
            return f"{file}::{name} is switched off"
    return None


@cache
def collected(file: str) -> dict[str, frozenset[str]]:
    """Marks of each test that pytest collects from a file, by its name."""
    body = ast.parse((ROOT / file).read_text()).body
    functions = [each for each in body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {each.name: _marks(each) for each in functions if each.name.startswith("test_")}


def _marks(function: ast.FunctionDef | ast.AsyncFunctionDef) -> frozenset[str]:
    calls = [each.func if isinstance(each, ast.Call) else each for each in function.decorator_list]
    return frozenset(each.attr for each in calls if isinstance(each, ast.Attribute))


def sections(text: str) -> dict[str, str]:
    """Text of each section of a page by its heading of the second level."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


ROWS = [row for page in (GUARANTEES, COMPATIBILITY, THREATS) for row in promises(page.read_text())]


@pytest.mark.parametrize("promise", ROWS, ids=lambda promise: promise.sentence[:60])
def test_a_promise_is_kept_by_tests(promise: Promise) -> None:
    assert problem(promise) is None
    assert promise.sentence.endswith("."), "a whole sentence"


def test_no_sentence_stands_twice() -> None:
    sentences = [promise.sentence for promise in ROWS]
    assert len(sentences) > 60
    assert sorted(set(sentences)) == sorted(sentences)


def test_every_section_promises_something_or_says_that_it_does_not() -> None:
    found = sections(GUARANTEES.read_text())
    assert set(found) >= WITHOUT_PROMISES
    without = {heading for heading, text in found.items() if not promises(text)}
    assert without == WITHOUT_PROMISES


def test_every_table_of_the_guarantees_has_the_column_of_tests() -> None:
    lines = GUARANTEES.read_text().splitlines()
    headings = [before for before, line in pairwise(lines) if re.fullmatch(r"[|\-: ]+", line)]
    assert headings
    assert {heading.strip().strip("|").split("|")[-1].strip() for heading in headings} == {KEPT_BY}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("| Lists never repeat. | |", "no test is named"),
        ("| Lists never repeat. | see the code |", "no test is named"),
        ("| Lists never repeat. | `tests/test_absent.py::test_x` |", "there is no tests/test_absent.py"),
        ("| Lists never repeat. | `tests/repository/test_guarantees.py::test_x` |", "has no test test_x"),
        ("| Lists never repeat. | `tests/repository/test_guarantees.py::promises` |", "has no test promises"),
        (
            "| Lists never repeat. | `tests/repository/test_map.py::test_every_line_of_the_tables_is_a_step`, soon |",
            "'soon' is no",
        ),
    ],
)
def test_a_row_that_nothing_keeps_is_found(row: str, reason: str) -> None:
    (promise,) = promises(f"| guarantee | kept by |\n|---|---|\n{row}\n")
    assert reason in (problem(promise) or "")
