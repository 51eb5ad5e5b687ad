"""Tables: every row that was written comes back as it was meant, or the run says in which line it could not be read."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from stream.ingest.files.columns import WrongFile
from stream.ingest.files.delimited import BATCH_ROWS, UNKNOWN_FORM, TableForm
from stream.ingest.files.reading import read_chunks

HEADER = "ts,user,item,event,title\n"


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


def read(path: Path, form: TableForm = UNKNOWN_FORM, **names: str) -> tuple[list[tuple], dict[int, str]]:
    """(line, time, user, item) of each row, and the reason for each line that is left out."""
    reasons: dict[int, str] = {}
    rows: list[tuple] = []
    for chunk in read_chunks(path, names, kind="click", bad_row=reasons.__setitem__, form=form):
        rows += zip(chunk.lines, chunk.seconds.tolist(), chunk.cells["user"], chunk.cells["item"], strict=True)
    return rows, reasons


def events(count: int, title: dict[int, str] | None = None) -> str:
    """A CSV file of `count` events from line 2 on, with some titles as they stand in the file, by line."""
    titles = title or {}
    return HEADER + "".join(f"{n},u{n},i{n},click,{titles.get(n, f'Lamp {n}')}\n" for n in range(2, count + 2))


STRAY = {
    "one that is never closed": ({12: '"Wire 6'}, 12),
    "one in the last line": ({61: '"Wire 6'}, 61),
    "two, both at the beginning of a cell": ({12: '"Wire 6', 32: '"Star'}, 12),
    "two in neighbouring lines": ({12: '"Wire 6', 13: '"Star'}, 12),
    "one that a quote at the end of a line closes": ({12: '"Wire 6', 13: 'Star 6"'}, 12),
    "one before a quoted cell": ({12: '"Wire 6', 20: '"a, b"'}, 12),
    "one before an empty quoted cell": ({12: '"Wire 6', 13: '""'}, 12),
}


@pytest.mark.parametrize("what", STRAY)
def test_a_stray_quote_ends_the_run_with_its_line(tmp_path: Path, what: str) -> None:
    titles, line = STRAY[what]
    with pytest.raises(WrongFile, match=rf"a\.csv: line {line}: a quote opens a cell and "):
        read(written(tmp_path / "a.csv", events(60, titles)))


@pytest.mark.parametrize("second", ["Star", 'Star"'])
def test_a_stray_quote_in_the_first_column_ends_the_run_with_its_line(tmp_path: Path, second: str) -> None:
    rows = ["Lamp,2,u,i", '"Wire,3,u,j', f"{second},4,u,k", "Lamp,5,u,l"]
    with pytest.raises(WrongFile, match="line 3: a quote opens a cell"):
        read(written(tmp_path / "a.csv", "\n".join(["title,ts,user,item", *rows])))


def test_a_stray_quote_in_the_last_line_of_a_batch_is_found(tmp_path: Path) -> None:
    line = BATCH_ROWS + 1
    with pytest.raises(WrongFile, match=f"line {line}: a quote opens a cell"):
        read(written(tmp_path / "a.csv", events(BATCH_ROWS + 40, {line: '"Wire 6'})))


def test_a_quote_within_a_line_costs_no_row_where_nobody_reads_it(tmp_path: Path) -> None:
    titles = {5: '"27" TV', 6: '27" TV', 7: '"27"" TV"', 8: 'a "b" c'}
    rows, reasons = read(written(tmp_path / "a.csv", events(60, titles)))
    assert (len(rows), reasons) == (60, {})
    item_is_title = {"item": "title"}
    rows, reasons = read(written(tmp_path / "b.csv", events(60, titles).replace("item", "sku")), **item_is_title)
    assert [item for line, _, _, item in rows if line in titles] == ['27" TV', '27" TV', 'a "b" c']
    assert list(reasons) == [5]
    assert "item: '\"27\" TV' has text behind its closing quote" in reasons[5]


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_quoted_cell_may_have_several_lines(tmp_path: Path, place: int, end: str) -> None:
    text = f"good,{end}very good,{end}, the best, 5, of all"
    rows = [["1", "u", "a"], ["2", "u", "b"], ["3", "v", "c"]]
    header = ["ts", "user", "item"]
    for row, cell in zip([header, *rows], ["title", text, "-", 'x "y"' + end], strict=True):
        row.insert(place, cell)
    file = io.StringIO()
    csv.writer(file, lineterminator=end).writerows([header, *rows])
    found, reasons = read(written(tmp_path / "a.csv", file.getvalue()))
    assert found == [(2, 1.0, "u", "a"), (5, 2.0, "u", "b"), (6, 3.0, "v", "c")]
    assert reasons == {}


def test_a_row_of_another_width_than_the_header_is_left_out_with_both_widths(tmp_path: Path) -> None:
    text = 'ts,user,item,title\n1,u,a,x\n2,u,cup, blue,x\n3,u,b\n\n4,u,c,"x, y"\n5,u,d,x,\n'
    rows, reasons = read(written(tmp_path / "a.csv", text))
    assert [item for *_, item in rows] == ["a", "c"]
    assert reasons == {3: "5 cells instead of 4", 4: "3 cells instead of 4", 7: "5 cells instead of 4"}


def test_tsv_is_read_as_its_writer_meant_it(tmp_path: Path) -> None:
    by_r = '"ts"\t"user"\t"item"\n1\t"ada"\t"tea"\n'
    by_pandas = 'ts\tuser\titem\ttitle\n1\tada\t"cup ""blue"""\tx\n2\tada\tcup "blue"\t"x\ty\nz"\n3\tada\ttea\tx\n'
    literal = 'ts\tuser\titem\ttitle\n1\tada\t27" TV\t"Lamp\n2\tada\t"27" TV\t"\n3\tada\ttea\t"Wire 6\n'
    assert read(written(tmp_path / "r.tsv", by_r)) == ([(2, 1.0, "ada", "tea")], {})
    rows, reasons = read(written(tmp_path / "p.tsv", by_pandas))
    assert ([item for *_, item in rows], reasons) == (['cup "blue"', 'cup "blue"', "tea"], {})
    rows, reasons = read(written(tmp_path / "l.tsv", literal))
    assert ([item for *_, item in rows], reasons) == (['27" TV', '"27" TV', "tea"], {})


SEPARATED = {"::": "u::a::4::7", ";": "u;a;4;7", "|": "u|a|4|7", "\t": "u\ta\t4\t7", ",": "u,a,4,7"}


@pytest.mark.parametrize("separator", SEPARATED)
@pytest.mark.parametrize("name", ["a.dat", "a.csv"])
def test_separators_are_recognised_and_columns_named_in_their_order(tmp_path: Path, separator: str, name: str) -> None:
    path = written(tmp_path / name, SEPARATED[separator] + "\n" + SEPARATED[separator].replace("a", "b") + "\n")
    assert read(path, TableForm.of("user,item,-,ts")) == ([(1, 7.0, "u", "a"), (2, 7.0, "u", "b")], {})
    assert read(path, TableForm.of("who,item,-,ts"), user="who")[0][0] == (1, 7.0, "u", "a")


def test_an_unusual_separator_is_said_and_a_wrong_option_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.txt", "ts^user^item\n1^u^a\n")
    with pytest.raises(WrongFile, match=r"There are: ts\^user\^item\. If they are several.*--separator"):
        read(path)
    assert read(path, TableForm.of(separator="^"))[0] == [(2, 1.0, "u", "a")]
    for columns, separator in ((None, ""), (None, '"'), ("ts,,item", None)):
        with pytest.raises(WrongFile, match=r"--(separator|columns)"):
            TableForm.of(columns, separator)
    lines = written(tmp_path / "a.jsonl", '{"ts": 1, "user": "u", "item": "a"}\n')
    with pytest.raises(WrongFile, match="JSON lines name their fields"):
        read(lines, TableForm.of(columns="ts,user,item"))


@pytest.mark.parametrize("line", ["5\t5\t3\t881250949", "2024-01-14 00:00:00 UTC,view,8000,100"])
def test_a_file_without_a_header_is_told_how_to_name_its_columns(tmp_path: Path, line: str) -> None:
    with pytest.raises(WrongFile, match=r"Line 1 seems to be an event .*Name its 4 columns .* --columns ts,user,item"):
        read(written(tmp_path / "a.data", f"{line}\n{line}\n"))


CELL = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=8) | st.text(
    "ab\" ,\t;\n\r'", max_size=8
)
EVENT = st.tuples(st.integers(1, 9), CELL, CELL, CELL)


@settings(deadline=None)
@given(
    rows=st.lists(EVENT, min_size=1, max_size=8),
    order=st.permutations(["ts", "user", "item", "title"]),
    separator=st.sampled_from([",", "\t", ";", "|"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    end=st.sampled_from(["\n", "\r\n"]),
)
@example([(1, "a", "b", "\n"), (2, "a", "b", "x")], ["title", "ts", "user", "item"], "\t", csv.QUOTE_MINIMAL, "\n")
def test_any_table_comes_back_or_is_refused_with_its_line(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[int, str, str, str]],
    order: list[str],
    separator: str,
    quoting: int,
    end: str,
) -> None:
    # Until Python 3.13 its writer leaves a carriage return unquoted that isn't part of the end of a line.
    odd = "" if end == "\n" else "\r"
    named = [
        {"ts": ts, **dict(zip(["user", "item", "title"], [cell.replace("\r", odd) for cell in cells], strict=True))}
        for ts, *cells in rows
    ]
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=separator, quoting=quoting, lineterminator=end)  # type: ignore[arg-type]
    writer.writerow(order)
    first_lines = []
    for row in named:
        first_lines.append(2 + len(io.StringIO(file.getvalue(), newline=None).readlines()) - 1)
        writer.writerow([row[name] for name in order])
    path = written(tmp_path_factory.mktemp("tables") / "a.txt", file.getvalue())
    try:
        found, reasons = read(path, TableForm(separator=separator))
    except WrongFile as error:
        event("refused with its line")
        refused = re.search(r"line (\d+): a quote opens a cell", str(error))
        assert refused is not None
        assert int(refused[1]) in first_lines  # a refusal is one of two right outcomes
        return
    expected = {line: (line, row["ts"], row["user"], row["item"]) for line, row in zip(first_lines, named, strict=True)}
    assert all(row == expected.get(row[0]) for row in found)
    assert {row[0] for row in found} | set(reasons) >= set(first_lines)
