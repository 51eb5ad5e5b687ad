"""Parquet as pandas and pyarrow write it: the same events as in a table, or a reason with the row."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from stream.ingest.files.cli import readable_again
from stream.ingest.files.columns import WrongFile
from stream.ingest.files.dataset import read_dataset
from stream.ingest.files.delimited import TableForm
from stream.ingest.files.mapped import RecordMapping
from stream.ingest.files.reading import read_chunks
from stream.ingest.mapping.plan import plan_of


def read(path: Path, **options) -> tuple[list[tuple], dict[int, str]]:
    reasons: dict[int, str] = {}
    columns = ("user", "item", "event", "value", "event_id")
    return [
        row
        for chunk in read_chunks(path, bad_row=reasons.__setitem__, **options)
        for row in zip(
            chunk.lines,
            chunk.seconds.tolist(),
            *(chunk.cells.get(column, [None] * len(chunk)) for column in columns),
            strict=True,
        )
    ], reasons


FRAME = pd.DataFrame(
    {
        "ts": pd.to_datetime(["2026-01-01", "2026-01-01 00:00:00.5", "2026-01-02"], utc=True, format="ISO8601"),
        "user": [7.0, None, 1e15],
        "session": ["s", "s", None],
        "item": [42, 43, 44],
        "event": pd.Categorical(["click", "rating", "click"]),
        "value": [None, 4.5, None],
    }
)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_what_pandas_wrote_is_read_as_a_table_is(tmp_path: Path, unit: str) -> None:
    frame = FRAME.assign(ts=FRAME.ts.dt.as_unit(unit))
    frame.to_parquet(tmp_path / "a.parquet")
    rows, reasons = read(tmp_path / "a.parquet")
    half = 0.0 if unit == "s" else 0.5
    assert rows == [
        (1, 1767225600.0, "7", "42", "click", None, None),
        (2, 1767225600.0 + half, None, "43", "rating", "4.5", None),
        (3, 1767312000.0, "1000000000000000", "44", "click", None, None),
    ]
    assert reasons == {}


def test_an_id_that_is_a_fraction_or_no_exact_number_is_refused_with_its_row(tmp_path: Path) -> None:
    frame = pd.DataFrame({"ts": 5, "user": "ada", "item": [1.0, 1.5, 2.0**60], "event": "click"})
    frame.to_parquet(tmp_path / "a.parquet")
    rows, reasons = read(tmp_path / "a.parquet")
    assert [row[3] for row in rows] == ["1"]
    assert reasons == {
        2: "item: '1.5' is neither text nor a whole number",
        3: "item: '1.152921504606847e+18' is neither text nor a whole number",
    }


def test_other_types_of_time_and_text_are_read(tmp_path: Path) -> None:
    table = pa.table(
        {
            "ts": pa.array([20454, 20455], pa.date32()),
            "user": pa.array(["ada", None], pa.large_string()),
            "session": pa.array([b"s", b"s"]),
            "item": pa.array([1, 2], pa.uint64()),
            "value": pa.array([1, None], pa.int8()),
            "event": ["rating", "click"],
        }
    )
    parquet.write_table(table, tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == (
        [
            (1, 1767225600.0, "ada", "1", "rating", "1", None),
            (2, 1767312000.0, None, "2", "click", None, None),
        ],
        {},
    )


def test_a_list_of_objects_is_cut_by_a_mapping(tmp_path: Path) -> None:
    text = """
topics:
  purchases:
    fields: {user: client.id, timestamp: {path: at, unit: ms}, event_id: id, item: "lines[].sku", quantity: "lines[].n"}
"""
    (plan,) = plan_of(text, "shop.yaml").topics.values()
    record = {"client": {"id": 7}, "id": "o", "lines": [{"sku": "tea", "n": 2}, {"sku": "cup", "n": 1}], "other": 5}
    for at in (pd.Timestamp("2026-01-01", tz="UTC"), 1767225600000):
        parquet.write_table(pa.Table.from_pylist([{**record, "at": at}]), tmp_path / "a.parquet")
        assert read(tmp_path / "a.parquet", mapping=RecordMapping(plan, "shop.yaml")) == (
            [
                (1, 1767225600.0, "7", "tea", "purchase", None, "o#0"),
                (1, 1767225600.0, "7", "cup", "purchase", None, "o#1"),
            ],
            {},
        )


def test_packed_piped_and_long_files_are_read_to_the_end(tmp_path: Path) -> None:
    count = 20_001
    frame = pd.DataFrame({"ts": range(count), "user": "u", "item": range(count), "event": "click"})
    frame.to_parquet(tmp_path / "a.parquet", row_group_size=3000)
    (tmp_path / "b.parquet.gz").write_bytes(gzip.compress((tmp_path / "a.parquet").read_bytes()))
    for name in ("a.parquet", "b.parquet.gz"):
        rows, _ = read(tmp_path / name)
        assert [row[0] for row in rows] == list(range(1, count + 1))
        assert rows[-1][3] == str(count - 1)
    script = (
        "from pathlib import Path; from stream.ingest.files.dataset import read_dataset;"
        "from stream.ingest.files.cli import readable_again\n"
        "with readable_again(Path('-')) as copy: print(len(read_dataset(copy)))"
    )
    with (tmp_path / "a.parquet").open("rb") as source:
        run = subprocess.run([sys.executable, "-c", script], stdin=source, capture_output=True, check=True)
    assert int(run.stdout) == count


def test_a_broken_file_and_options_of_tables_are_refused(tmp_path: Path) -> None:
    FRAME.to_parquet(tmp_path / "a.parquet")
    cut = tmp_path / "cut.parquet"
    cut.write_bytes((tmp_path / "a.parquet").read_bytes()[:-200])
    with pytest.raises(WrongFile, match=r"cut\.parquet: the Parquet data is broken .*was it copied whole"):
        read(cut)
    with pytest.raises(WrongFile, match="Parquet name their fields"):
        read(tmp_path / "a.parquet", form=TableForm.of(separator=";"))
    FRAME.drop(columns="item").to_parquet(tmp_path / "b.parquet")
    with pytest.raises(WrongFile, match=r"no column 'item'\. There are: ts, user, session, event, value"):
        read(tmp_path / "b.parquet")


def test_without_pyarrow_the_error_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FRAME.to_parquet(tmp_path / "a.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with (
        pytest.raises(WrongFile, match=r"pip install 'corrente\[parquet\]'"),
        readable_again(tmp_path / "a.parquet") as it,
    ):
        read_dataset(it)
