"""Any table of events, whoever writes it: it comes back the same, or a row is refused with its line."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import event, given, note, settings
from hypothesis import strategies as st

from stream.ingest.files.columns import WrongFile
from stream.ingest.files.delimited import TableForm
from stream.ingest.files.reading import read_chunks

NAMES = ["ts", "user", "item", "title"]
CELL = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6) | st.text(
    "ab\"\\ ,\t;\n'", min_size=1, max_size=7
)
TABLES = st.lists(st.tuples(st.integers(1, 9), CELL, CELL, CELL), min_size=1, max_size=6)
Rows = list[tuple[int, str, str, str]]


def by_pandas(quoting: int, separator: str) -> Callable[[Rows], bytes]:
    def write(rows: Rows) -> bytes:
        frame = pd.DataFrame(rows, columns=NAMES)
        return frame.to_csv(index=False, sep=separator, quoting=quoting, lineterminator="\n").encode()

    return write


def by_r(doubled: bool, separator: str, row_names: bool) -> Callable[[Rows], bytes]:
    """As `write.table(qmethod = "double" or "escape")` writes: text is quoted, numbers are not."""

    def cell(value: object) -> str:
        return '"' + value.replace('"', '""' if doubled else '\\"') + '"' if isinstance(value, str) else str(value)

    def write(rows: Rows) -> bytes:
        lines = [separator.join(map(cell, NAMES))]
        for number, row in enumerate(rows, 1):
            lines.append(separator.join(map(cell, (*((str(number),) if row_names else ()), *row))))
        return ("\n".join(lines) + "\n").encode()

    return write


def by_hand(separator: str) -> Callable[[Rows], bytes]:
    """Without any rule: cells as they are, quotes or not."""
    return lambda rows: "".join(separator.join(map(str, row)) + "\n" for row in [NAMES, *rows]).encode()


def by_json(rows: Rows) -> bytes:
    return "".join(json.dumps(dict(zip(NAMES, row, strict=True))) + "\n" for row in rows).encode()


def by_parquet(rows: Rows) -> bytes:
    file = io.BytesIO()
    pd.DataFrame(rows, columns=NAMES).to_parquet(file)
    return file.getvalue()


QUOTINGS = {"minimal": csv.QUOTE_MINIMAL, "all": csv.QUOTE_ALL, "nonnumeric": csv.QUOTE_NONNUMERIC}
WRITERS: dict[str, tuple[Callable[[Rows], bytes], TableForm]] = {
    "JSON lines": (by_json, TableForm()),
    "Parquet": (by_parquet, TableForm()),
}
for _name, _separator in (("CSV", ","), ("TSV", "\t"), ("semicolons", ";")):
    _form = TableForm(separator=_separator)
    for _quoting, _number in QUOTINGS.items():
        WRITERS[f"{_name}, pandas, {_quoting}"] = by_pandas(_number, _separator), _form
    for _doubled in (True, False):
        for _row_names in (True, False):
            _how = f"{'doubled' if _doubled else 'escaped'}{', row names' if _row_names else ''}"
            WRITERS[f"{_name}, R, {_how}"] = by_r(_doubled, _separator, _row_names), _form
HANDS = {"CSV": by_hand(","), "TSV": by_hand("\t")}


def read(path: Path, form: TableForm) -> tuple[list[tuple[float, str, str]], dict[int, str], str]:
    """Events, reasons by line, and the error that ended the reading."""
    reasons: dict[int, str] = {}
    found: list[tuple[float, str, str]] = []
    try:
        for chunk in read_chunks(path, kind="click", bad_row=reasons.__setitem__, form=form):
            found += zip(chunk.seconds.tolist(), chunk.cells["user"], chunk.cells["item"], strict=True)
    except WrongFile as error:
        return found, reasons, str(error)
    return found, reasons, ""


def ids_are_good(row: tuple) -> bool:
    return not set(row[1] + row[2]) & {"\n", "\t"}


@pytest.mark.parametrize("writer", WRITERS)
@settings(deadline=None, max_examples=60)
@given(rows=TABLES)
def test_what_a_writer_wrote_comes_back_or_is_refused_with_its_line(
    tmp_path_factory: pytest.TempPathFactory, writer: str, rows: Rows
) -> None:
    write, form = WRITERS[writer]
    if "escaped" in writer:
        # The cell `"x\"` is x and a backslash, or goes on behind an escaped quote: R can't read it back either.
        rows = [(ts, *(cell.rstrip("\\") or "x" for cell in cells)) for ts, *cells in rows]
    path = tmp_path_factory.mktemp("tables") / "a.txt"
    path.write_bytes(write(rows))
    found, reasons, error = read(path, form)
    note(f"{path.read_bytes()!r} {found} {reasons}")
    if error:
        event("refused with its line")
        assert re.search(r": line \d+: a quote ", error)
        return
    good = [(float(ts), user, item) for ts, user, item, _ in rows if ids_are_good((ts, user, item))]
    if not reasons:
        assert found == good
    else:
        event("rows refused with their lines")
        left = iter(good)
        assert all(row in left for row in found)  # no event is made up, and their order stays
        assert len(found) + len(reasons) == len(rows)


@pytest.mark.parametrize("writer", HANDS)
@settings(deadline=None, max_examples=60)
@given(rows=TABLES)
def test_what_was_written_by_hand_comes_back_or_is_refused_with_its_line(
    tmp_path_factory: pytest.TempPathFactory, writer: str, rows: Rows
) -> None:
    # A cell with a separator has another width, and with a quote may be a cell of several lines: both are other files.
    odd = re.compile(r"[\n\\,\t]")
    rows = [(ts, *(odd.sub("", cell) or "x" for cell in cells)) for ts, *cells in rows]
    path = tmp_path_factory.mktemp("tables") / f"a.{writer.lower()}"
    path.write_bytes(HANDS[writer](rows))
    found, reasons, error = read(path, TableForm(separator="," if writer == "CSV" else "\t"))
    if error:
        assert re.search(r": line \d+: a quote ", error)
        return
    assert len(found) + len(reasons) == len(rows)  # no row vanishes and none is made up
