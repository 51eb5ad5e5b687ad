"""Tables that R wrote: `\\"` in quoted cells, and a column of row names without a name."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.ingest.files.columns import WrongFile
from stream.ingest.files.delimited import TableForm
from stream.ingest.files.reading import read_chunks

HEADER = ("ts", "user", "item", "title")


def by_r(path: Path, rows: list[tuple], *, separator: str, row_names: bool = False) -> Path:
    """Rows as `write.table(rows, sep = separator, row.names = row_names)` writes them."""

    def cell(value: object) -> str:
        return '"' + value.replace('"', '\\"') + '"' if isinstance(value, str) else str(value)

    lines = [map(cell, HEADER)]
    lines += [map(cell, ((str(number),) if row_names else ()) + row) for number, row in enumerate(rows, 1)]
    path.write_text("".join(separator.join(line) + "\n" for line in lines))
    return path


def read(path: Path, form: TableForm | None = None) -> tuple[list[tuple], dict[int, str]]:
    reasons: dict[int, str] = {}
    chunks = read_chunks(path, kind="click", bad_row=reasons.__setitem__, form=form or TableForm())
    return [
        row
        for chunk in chunks
        for row in zip(chunk.seconds.tolist(), chunk.cells["user"], chunk.cells["item"], strict=True)
    ], reasons


ROWS = [(1, "ada", 'cup "blue"', "x"), (2, "bob", "tea", 'a "b", c'), (3, '"', "C:\\tea", 'two\nlines "x"')]
READ = [(1.0, "ada", 'cup "blue"'), (2.0, "bob", "tea"), (3.0, '"', "C:\\tea")]


@pytest.mark.parametrize("row_names", [False, True])
@pytest.mark.parametrize(("separator", "name"), [("\t", "a.tsv"), (",", "a.csv"), (" ", "a.txt")])
def test_a_quote_behind_a_backslash_is_part_of_the_cell(
    tmp_path: Path, separator: str, name: str, row_names: bool
) -> None:
    path = by_r(tmp_path / name, ROWS, separator=separator, row_names=row_names)
    form = TableForm.of(separator="space") if separator == " " else None
    assert read(path, form) == (READ, {})


def test_a_backslash_at_the_end_of_a_cell_ends_it(tmp_path: Path) -> None:
    path = by_r(tmp_path / "a.csv", [(1, "ada", "C:\\", "x"), (2, "bob", "tea", "C:\\")], separator=",")
    assert read(path) == ([(1.0, "ada", "C:\\"), (2.0, "bob", "tea")], {})


def test_a_row_that_can_be_read_in_two_ways_ends_the_run_unless_a_row_before_it_decides(tmp_path: Path) -> None:
    doubtful = (2, "bob", 'a"', ',"')
    with pytest.raises(WrongFile, match="line 2: a quote behind a backslash may be part of a cell or its end"):
        read(by_r(tmp_path / "a.csv", [doubtful], separator=","))
    rows, reasons = read(by_r(tmp_path / "b.csv", [ROWS[0], doubtful], separator=","))
    assert (rows[1], reasons) == ((2.0, "bob", 'a"'), {})


def test_a_separator_at_the_end_of_each_row_is_no_row_name(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('"ts","user","item"\n"5","ada","tea",\n')
    assert read(path) == ([], {2: "4 cells instead of 3"})
