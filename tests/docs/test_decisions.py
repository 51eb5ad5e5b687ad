"""Decision records: one page each, with the measurements that decided, from sources that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.named_in_pages import commands, unknown_metrics, unknown_settings, wrong_command

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "decisions"
INDEX = (FOLDER / "index.md").read_text()
RECORDS = sorted(FOLDER.glob("[0-9]*.md"))
HEADINGS = ["Context", "Decision", "Measurements", "Consequences", "What would change it"]
PAGE_WORDS = 600
"""Words of a record at most: it is one page."""

LEAST_MEASUREMENTS = 3
each_record = pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)


def parts(path: Path) -> dict[str, str]:
    """The text below each heading of the second level, in order."""
    found = re.split(r"^## (.+)$", path.read_text(), flags=re.MULTILINE)[1:]
    return dict(zip(found[::2], found[1::2], strict=True))


def measurements(path: Path) -> list[list[str]]:
    """The rows of the table of measurements: what, figure, source."""
    lines = [line for line in parts(path)["Measurements"].splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert rows[0] == ["measured", "figure", "source"]
    return rows[2:]


def test_records_are_numbered_without_a_gap() -> None:
    assert [int(path.name[:4]) for path in RECORDS] == list(range(1, len(RECORDS) + 1))
    assert len(RECORDS) >= 8


def test_the_index_has_a_line_for_each_record_under_its_title() -> None:
    listed = re.findall(r"^\| \[([^\]]+)\]\(([^)]+)\) \| \S.+ \|$", INDEX, re.MULTILINE)
    titles = [(path.read_text().splitlines()[0].removeprefix("# "), path.name) for path in RECORDS]
    assert listed == titles


@each_record
def test_a_record_has_its_parts_on_one_page(path: Path) -> None:
    text = path.read_text()
    assert text.startswith(f"# {int(path.name[:4])}. ")
    assert re.match(r"\*\*(In force|Replaced by \[record \d+\]\([\w-]+\.md\))\.\*\*", text.splitlines()[2])
    assert list(parts(path)) == HEADINGS
    assert all(len(part.split()) >= 20 for part in parts(path).values())
    assert len(text.split()) <= PAGE_WORDS


@each_record
def test_measurements_have_a_figure_and_a_source(path: Path) -> None:
    rows = measurements(path)
    assert len(rows) >= LEAST_MEASUREMENTS
    for measured, figure, source in rows:
        assert re.search(r"\d|the same|half|third|twice|noise", figure), measured
        assert len(source) > 8, measured


@each_record
def test_what_a_record_names_exists(path: Path) -> None:
    text = path.read_text()
    for named in re.findall(r"`((?:stream|serving|simulators|benchmarks|tests|docs)/[\w./-]+)`", text):
        assert (ROOT / named).exists(), named
    for command in commands(text):
        assert wrong_command(command) is None, command
    assert unknown_settings(text) == set()
    assert unknown_metrics(text) == set()
    for link in re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", text):
        assert (FOLDER / link).is_file(), link
