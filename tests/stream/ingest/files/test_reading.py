"""Files of events: every format gives the same rows, and errors name the file and the line."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from stream.ingest.files.columns import WrongFile
from stream.ingest.files.dataset import read_dataset
from stream.ingest.files.reading import Chunk, read_chunks

ROWS = [
    {"ts": 1.5, "user": "ada", "session": "s1", "item": "tea", "event": "click"},
    {"ts": 2, "user": "ada", "session": "s1", "item": "cup, blue", "event": "purchase"},
    {"ts": 1.0, "user": "bob", "session": "s2", "item": "tea", "event": "r5"},
]


def written(path: Path, text: str | bytes) -> Path:
    data = text.encode() if isinstance(text, str) else text
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def test_consent_and_bot_are_read_in_every_format(tmp_path: Path) -> None:
    flags: list[dict] = [
        {"consent": "aggregate", "bot": ""},
        {"consent": "", "bot": "TRUE"},
        {"consent": "none", "bot": "0"},
    ]
    rows = [row | flag for row, flag in zip(ROWS, flags, strict=True)]
    native = [row | {"bot": bot} for row, bot in zip(rows, (None, True, 0), strict=True)]
    for name, text in {
        "a.csv": table(",", rows),
        "a.tsv": table("\t", rows),
        "a.jsonl": "\n".join(json.dumps(row) for row in native),
    }.items():
        (chunk,) = read_chunks(written(tmp_path / name, text))
        assert chunk.cells["consent"] == ["aggregate", None, "none"], name
        data = read_dataset(tmp_path / name)
        assert data.left_out == {"bot": 1, "consent": 1}, name
        assert data.aggregate is not None
        assert data.aggregate.tolist() == [True], name
        with pytest.raises(WrongFile, match="no event in it, only rows that are left out"):
            read_dataset(written(tmp_path / name, text.replace("aggregate", "none")))


def test_a_wrong_consent_is_a_bad_row(tmp_path: Path) -> None:
    bad: list[str] = []
    rows = [row | {"consent": consent} for row, consent in zip(ROWS, ("none", "nothing", "personal"), strict=True)]
    list(
        read_chunks(
            written(tmp_path / "a.csv", table(",", rows)), bad_row=lambda line, reason: bad.append(f"{line} {reason}")
        )
    )
    assert bad == ["3 consent: 'nothing' is none of personal, aggregate, none; did you mean 'none'?"]


def table(delimiter: str, rows: list[dict]) -> str:
    quoted = [
        [f'"{cell}"' if delimiter == "," and "," in str(cell) else str(cell) for cell in row.values()] for row in rows
    ]
    return "\n".join(delimiter.join(cells) for cells in [list(rows[0]), *quoted]) + "\n"


FORMS = {
    "rows.tsv": table("\t", ROWS),
    "rows.csv": table(",", ROWS),
    "rows.jsonl": "\n".join(json.dumps(row) for row in ROWS),
    "rows.tsv.gz": table("\t", ROWS),
    "rows.ndjson.gz": "\n\n".join(json.dumps(row) for row in ROWS),
    "tabs_without_an_ending": table("\t", ROWS),
    "commas.txt": table(",", ROWS),
    "objects.log": "\n".join(json.dumps(row) for row in ROWS),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_format_gives_the_same_columns_in_file_order(tmp_path: Path, name: str) -> None:
    read = read_dataset(written(tmp_path / name, FORMS[name]))
    assert read.seconds.tolist() == [1.5, 2.0, 1.0]
    assert [read.item.names[code] for code in read.item.codes] == ["tea", "cup, blue", "tea"]
    assert [read.event.names[code] for code in read.event.codes] == ["click", "purchase", "r5"]
    assert read.user is not None
    assert read.user.codes.tolist() == [0, 0, 1]
    assert read.session is not None
    assert read.session.names == ["s1", "s2"]


def test_columns_can_have_other_names_and_more_of_them_are_ignored(tmp_path: Path) -> None:
    path = written(tmp_path / "shop.csv", "colour,when,who,product\nred,2026-01-01T00:00:00Z,7,a\n")
    read = read_dataset(path, {"ts": "when", "user": "who", "item": "product"}, kind="click")
    assert read.seconds.tolist() == [1767225600.0]
    assert (read.user.names, read.event.names, read.session) == (["7"], ["click"], None)


@pytest.mark.parametrize("named", [{}, {"ts": "timestamp"}, {"timestamp": "timestamp"}], ids=str)
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_the_time_may_be_called_as_in_events(tmp_path: Path, form: str, named: dict[str, str]) -> None:
    rows = [{"timestamp" if name == "ts" else name: cell for name, cell in row.items()} for row in ROWS]
    text = table(",", rows) if form == "csv" else "\n".join(json.dumps(row) for row in rows)
    assert read_dataset(written(tmp_path / f"a.{form}", text), named).seconds.tolist() == [1.5, 2.0, 1.0]


def test_a_time_column_may_be_named_by_either_name_and_not_by_both(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "when,user,item,event\n5,u,a,click\n")
    for name in ("ts", "timestamp"):
        assert read_dataset(path, {name: "when"}).seconds.tolist() == [5.0]
    with pytest.raises(WrongFile, match=r"named twice: ts=when and timestamp=then; both mean the same column"):
        read_dataset(path, {"ts": "when", "timestamp": "then"})


@pytest.mark.parametrize("header", ["ts,timestamp,user,item,event", "timestamp,ts,user,item,event"])
def test_a_file_with_both_names_of_the_time_is_read_by_ts(tmp_path: Path, header: str) -> None:
    times = ",".join("5" if name == "ts" else "9" for name in header.split(",")[:2])
    path = written(tmp_path / "a.csv", f"{header}\n{times},u,a,click\n")
    assert read_dataset(path).seconds.tolist() == [5.0]
    assert read_dataset(path, {"timestamp": "timestamp"}).seconds.tolist() == [9.0]


def test_json_numbers_are_ids_and_values(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", '{"ts": 5, "user": 7, "item": 42, "event": "rating", "value": 4.5}\n')
    (chunk,) = read_chunks(path)
    assert (chunk.cells["user"], chunk.cells["item"], chunk.cells["value"]) == (["7"], ["42"], ["4.5"])


def test_an_empty_cell_is_no_value(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tsv", "ts\tuser\tsession\titem\tevent\n1\t\ts\ta\tclick\n2\tu\t\ta\tclick\n")
    read = read_dataset(path)
    assert read.user.codes.tolist() == [-1, 0]
    assert read.session.codes.tolist() == [0, -1]


def test_a_file_of_many_batches_is_read_to_the_end(tmp_path: Path) -> None:
    count = 30_001
    path = written(
        tmp_path / "many.csv.gz", "ts,user,item,event\n" + "".join(f"{i},u{i % 7},i{i},click\n" for i in range(count))
    )
    chunks: list[Chunk] = list(read_chunks(path))
    assert len(chunks) > 1
    assert np.array_equal(np.concatenate([chunk.seconds for chunk in chunks]), np.arange(count))
    assert [line for chunk in chunks for line in chunk.lines] == list(range(2, count + 2))
    assert chunks[-1].file_bytes == path.stat().st_size


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("when,user,item,event\n", "no column 'ts' or 'timestamp'. There are: when, user, item, event."),
        ("ts,user,event\n", "no column 'item'. There are: ts, user, event."),
        ("ts,item,event\n", "no column 'user' or 'session'."),
        ("ts,user,item\n", "no column 'event'."),
        ("", "the file is empty"),
        ("ts,user,item,event\n", "no event in it"),
    ],
)
def test_a_missing_column_is_reported_with_the_columns_that_there_are(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(WrongFile) as error:
        read_dataset(written(tmp_path / "a.csv", text))
    assert message in str(error.value)
    assert "a.csv" in str(error.value)


def test_a_named_column_that_is_not_there_is_reported(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "ts,user,item,event\n1,u,a,click\n")
    with pytest.raises(WrongFile, match=r"no column 'product'.*You named it for 'item'"):
        read_dataset(path, {"item": "product"})
    with pytest.raises(WrongFile, match="'itme' is no column of events"):
        read_dataset(path, {"itme": "item"})


BAD_ROWS = {
    "soon,u,a,click": "timestamp",
    "nan,u,a,click": "timestamp",
    "inf,u,a,click": "timestamp",
    "1e13,u,a,click": "outside 1970 to 2106",
    "-1,u,a,click": "timestamp",
    ",u,a,click": "timestamp",
    "1,,a,click": "neither a user nor a session",
    "1,u,,click": "item",
    "1,u,a,": "event",
    "1,u,a\x00b,click": "control character",
    "1,u," + "x" * 257 + ",click": "256 bytes",
    "1,u": "2 cells instead of 4",
    "1,u,\udcff\udcfe,click": "UTF-8",
}


@pytest.mark.parametrize("row", BAD_ROWS)
def test_a_row_that_cannot_be_read_is_reported_with_its_line_and_costs_no_other_row(tmp_path: Path, row: str) -> None:
    text = f"ts,user,item,event\n1,u,a,click\n{row}\n3,u,b,click\n"
    path = written(tmp_path / "a.csv", text.encode("utf-8", "surrogateescape"))
    reported: dict[int, str] = {}
    read = read_dataset(path, bad_row=reported.__setitem__)
    assert read.seconds.tolist() == [1.0, 3.0]
    assert list(reported) == [3]
    assert BAD_ROWS[row] in reported[3]
    with pytest.raises(WrongFile, match="line 3"):
        read_dataset(path)


@pytest.mark.unmeasured
def test_a_field_of_ten_megabytes_is_one_bad_row(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.tsv", f"ts\tuser\titem\tevent\n1\tu\ta\tclick\n2\tu\t{'x' * 10_000_000}\tclick\n3\tu\tb\tclick\n"
    )
    reported: dict[int, str] = {}
    read = read_dataset(path, bad_row=reported.__setitem__)
    assert read.seconds.tolist() == [1.0, 3.0]
    assert set(reported) == {3}


@pytest.mark.parametrize(
    "line",
    [
        '{"ts": 1',
        "[1]",
        '{"ts": 1, "user": "u", "item": 1.5, "event": "x"}',
        '{"ts": true, "item": "a", "user": "u", "event": "x"}',
    ],
)
def test_a_broken_json_line_is_reported(tmp_path: Path, line: str) -> None:
    good = '{"ts": 1, "user": "u", "item": "a", "event": "click"}'
    reported: dict[int, str] = {}
    read = read_dataset(written(tmp_path / "a.jsonl", f"{good}\n{line}\n{good}\n"), bad_row=reported.__setitem__)
    assert (len(read), list(reported)) == (2, [2])


def test_a_cut_off_gzip_file_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv.gz"
    path.write_bytes(gzip.compress(FORMS["rows.tsv"].encode() * 50)[:-20])
    with pytest.raises(WrongFile, match="gzip"):
        read_dataset(path)


def test_several_gzip_members_and_a_zip_of_one_file_are_read_to_the_end(tmp_path: Path) -> None:
    head, *rows = FORMS["rows.tsv"].encode().splitlines(keepends=True)
    (tmp_path / "a.tsv.gz").write_bytes(b"".join(map(gzip.compress, [head, *rows])))
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("export/rows.tsv", FORMS["rows.tsv"])
        archive.writestr("__MACOSX/export/._rows.tsv", "not a table")
    for name in ("a.tsv.gz", "a.zip"):
        assert read_dataset(tmp_path / name).seconds.tolist() == [1.5, 2.0, 1.0]


def test_a_zip_of_several_files_and_one_that_is_cut_off_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.tsv", FORMS["rows.tsv"])
        archive.writestr("b.tsv", FORMS["rows.tsv"])
    with pytest.raises(WrongFile, match=r"2 files are in it \(a\.tsv, b\.tsv\); a zip of one file"):
        read_dataset(tmp_path / "a.zip")
    (tmp_path / "b.zip").write_bytes((tmp_path / "a.zip").read_bytes()[:100])
    with pytest.raises(WrongFile, match="the zip data is broken"):
        read_dataset(tmp_path / "b.zip")


def test_no_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongFile, match="no such file"):
        read_dataset(tmp_path / "none.tsv")
    with pytest.raises(WrongFile, match="a folder"):
        read_dataset(tmp_path)


def test_times_in_a_file_are_read_as_those_of_events(tmp_path: Path) -> None:
    day = 1_705_190_400
    times = [day, f"{day}000", f"{day}000000", f"{day}000000000", "20240114", "2024-01-14 00:00:00 UTC", "2024-01-14"]
    for count in (5, len(times)):  # numbers alone are read as a column, with texts among them row by row
        rows = "".join(f"{time},u,a,click\n" for time in times[:count])
        assert (
            read_dataset(written(tmp_path / "a.csv", "ts,user,item,event\n" + rows)).seconds.tolist() == [day] * count
        )
    lines = "".join(json.dumps({"ts": time, "user": "u", "item": "a", "event": "click"}) + "\n" for time in times)
    assert read_dataset(written(tmp_path / "a.jsonl", lines)).seconds.tolist() == [day] * len(times)


def test_a_mark_before_json_is_ignored_also_where_files_were_joined(tmp_path: Path) -> None:
    line = "\ufeff" + json.dumps(ROWS[0]) + "\n"
    assert len(read_dataset(written(tmp_path / "a.jsonl", line * 2))) == 2


def test_a_blank_number_is_none_and_one_with_a_comma_is_refused(tmp_path: Path) -> None:
    head = "ts\tuser\titem\tevent\tvalue\n"
    read = read_dataset(written(tmp_path / "a.tsv", f"{head}5\tu\ta\trating\t 4 \n6\tu\tb\trating\t \n"))
    assert read.value is not None
    assert np.array_equal(read.value, [4, np.nan], equal_nan=True)
    with pytest.raises(WrongFile, match=r"line 2: value: '4,5' is not a finite number, such as 9\.99"):
        read_dataset(written(tmp_path / "b.tsv", f"{head}5\tu\ta\trating\t4,5\n"))


def test_a_file_is_read_without_compiled_code_and_without_settings() -> None:
    look = "print([name for name in ('numba', 'pydantic') if name in sys.modules])"
    program = f"import sys, stream.ingest.files.dataset; {look}"
    assert subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout == "[]\n"
