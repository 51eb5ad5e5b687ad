"""Event histories in files: TSV, CSV, JSON lines or Parquet, plain, gzipped or zipped, read in file order.

This file decides which format a file has, and how it becomes chunks of rows. `corrente replay` sends them, `corrente
evaluate` makes one dataset of them (`stream.ingest.files.dataset`), `corrente profile` describes them. Separators and
quotes are decided in `delimited`, the needed columns in `columns`, what is wrong with a row in `row_checks`, records of
other forms in `mapped`, and how a time is read in `stream.values`. Nothing is sorted, repaired or dropped here.
"""

from __future__ import annotations

import gzip
import io
import itertools
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from stream.ingest.files.columns import Choose, ColumnNames, WrongFile, with_one_time
from stream.ingest.files.delimited import UNKNOWN_FORM, Table, TableForm, separator_of
from stream.ingest.files.json_lines import object_rows, record_lines
from stream.ingest.files.mapped import MappedRows, RecordMapping
from stream.ingest.files.parquet import MAGIC, parquet_records, parquet_rows
from stream.ingest.files.row_checks import BadRow, Rows, good_rows
from stream.ingest.files.table_rows import table_rows
from stream.ingest.files.unpacking import unpacked


@dataclass(frozen=True)
class Chunk:
    """Some rows of a file, in file order.

    Attributes:
        lines: line number of each row; a record that becomes several events has several rows with its line.
        seconds: float64[n], times in seconds since the epoch.
        cells: by column, the cell of each row; None where it is empty.
        file_bytes: bytes of the file (as it is on disk) that were read so far, for a progress bar.
        left_out: number of records that a mapping leaves out, by rule.
    """

    lines: list[int]
    seconds: NDArray[np.float64]
    cells: dict[str, list[str | None]]
    file_bytes: int
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.lines)

    def without(self, rows: Collection[int]) -> Chunk:
        """This chunk without some of its rows, given by their numbers in it."""
        if not rows:
            return self
        kept = [row for row in range(len(self)) if row not in rows]
        cells = {column: [values[row] for row in kept] for column, values in self.cells.items()}
        return Chunk([self.lines[row] for row in kept], self.seconds[kept], cells, self.file_bytes, self.left_out)


@dataclass(frozen=True)
class _Reader:
    """One file and the way in which it is read.

    Attributes:
        path: the file, for messages.
        form: the form of a table, as far as it is known.
        bad_row: called for a row or a record that can't be read.
    """

    path: Path
    form: TableForm
    bad_row: BadRow

    def rows(
        self,
        data: Any,
        name: str,
        choose: Choose,
        time_column: Callable[[Sequence[str]], str | None],
        choose_fields: Choose | None = None,
    ) -> Iterator[Rows]:
        """Rows by the columns that are read, of any format.

        Args:
            data: the unpacked bytes.
            name: with the ending of the format.
            choose: the columns that are read, given the header.
            time_column: the column of times, given the header; it shows which open quote would hide an event.
            choose_fields: the fields of JSON lines that are read, given those of the first rows; else `choose`.
        """
        if is_parquet(data):
            self._check_form("Parquet")
            yield from parquet_rows(data, self.path, choose)
            return
        with _text(data) as text:
            ending, first, lines = _beginning(text, name)
            if _is_json(ending, first):
                self._check_form("JSON lines")
                yield from object_rows(lines, choose_fields or choose, self.bad_row)
            else:
                separator = self.form.separator or separator_of(first, ending)
                table = Table(self.path, lines, separator, self.form.header)
                yield from table_rows(table, choose, time_column, self.bad_row)

    def mapped(self, data: Any, name: str, mapping: RecordMapping) -> Iterator[MappedRows]:
        """Events of records that are read by a mapping, of any format."""
        if is_parquet(data):
            self._check_form("Parquet")
            for numbers, records in parquet_records(data, self.path, mapping):
                yield mapping.rows_of_records(numbers, records, self.bad_row)
            return
        with _text(data) as text:
            ending, first, lines = _beginning(text, name)
            if _is_json(ending, first):
                self._check_form("JSON lines")
                for numbers, values in record_lines(lines):
                    yield mapping.rows_of_lines(numbers, values, self.bad_row)
                return

            def choose(header: list[str]) -> dict[str, str]:
                mapping.check_header(self.path, header)
                return {name: name for name in header if name in mapping.names}

            separator = self.form.separator or separator_of(first, ending)
            table = Table(self.path, lines, separator, self.form.header)
            for numbers, cells in table_rows(table, choose, mapping.time_column, self.bad_row):
                yield mapping.rows_of_records(numbers, records_of(cells), self.bad_row)

    def _check_form(self, what: str) -> None:
        """Raises `WrongFile` if options for tables were given."""
        if self.form != UNKNOWN_FORM:
            raise WrongFile(f"{self.path}: {what} name their fields; --columns and --separator are for tables")


def read_chunks(
    path: Path | str,
    columns: Mapping[str, str] | None = None,
    *,
    kind: str | None = None,
    bad_row: BadRow | None = None,
    form: TableForm = UNKNOWN_FORM,
    mapping: RecordMapping | None = None,
) -> Iterator[Chunk]:
    """Read a file in chunks of some thousand rows.

    Args:
        path: the file. Its first bytes decide whether it is packed or Parquet; otherwise its ending, or its first line,
            decides the format.
        columns: our column name to the file's, where they differ.
        kind: the kind of every event, for a file without an `event` column.
        bad_row: called for a row that can't be learned; without it the first such row raises.
        form: the form of a table, as far as it is known.
        mapping: for records of another form; it names the fields and the kinds.

    Raises:
        WrongFile: a column is missing, the format is broken, or a row can't be learned.
    """
    path, columns = Path(path), with_one_time(columns or {})
    if mapping is not None and (columns or kind is not None):
        raise WrongFile("a mapping names the fields and kinds; --column and --kind are for files without one")
    reader = _Reader(path, form, bad_row or _refuse(path))
    with _opened(path) as (raw, data, name):
        if mapping is not None:
            for rows in reader.mapped(data, name, mapping):
                yield Chunk(rows.lines, rows.seconds, rows.cells, _read_bytes(raw), rows.left_out)
            return
        names = ColumnNames(path, columns, kind, has_header=form.header is None)

        def fields(header: list[str]) -> dict[str, str]:
            names.find(header)
            return names.find_all(header)

        for lines, cells in reader.rows(data, name, names.find, lambda header: names.name_of("ts", header), fields):
            if lines:
                good_lines, seconds, good_cells = good_rows(lines, cells, reader.bad_row)
                if kind is not None:
                    good_cells["event"] = [kind] * len(good_lines)
                yield Chunk(good_lines, seconds, good_cells, _read_bytes(raw))


def read_columns(path: Path | str, *, form: TableForm = UNKNOWN_FORM, bad_row: BadRow) -> Iterator[Rows]:
    """Read all columns of a file as they stand in it, in batches of some thousand rows.

    Arguments and errors are those of `read_chunks`. Cells of JSON lines and of Parquet are values; those of tables are
    text.
    """
    path = Path(path)
    reader = _Reader(path, form, bad_row)
    with _opened(path) as (_, data, name):
        yield from reader.rows(data, name, lambda header: {name: name for name in header}, lambda _: None)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[IO[bytes], Any, str]]:
    """An open file, its bytes unpacked, and the name that has the ending of its format."""
    try:
        with path.open("rb", buffering=0) as raw, unpacked(raw, path) as (data, name):
            yield raw, data, name
    except FileNotFoundError:
        raise WrongFile(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise WrongFile(f"{path} is a folder; one file is read at a time") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise WrongFile(f"{path}: the gzip data is broken ({error}); was it copied whole?") from None


def is_parquet(data: Any) -> bool:
    """True if a file begins as Parquet does."""
    return bool(data.peek(len(MAGIC))[: len(MAGIC)] == MAGIC)


def _text(data: Any) -> io.TextIOWrapper:
    # Bytes that are not UTF-8 become lone surrogates, which every check of an id refuses with its line number.
    return io.TextIOWrapper(data, "utf-8-sig", errors="surrogateescape", newline="")


def _beginning(text: Iterator[str], name: str) -> tuple[str, str, Iterator[str]]:
    """The ending of a file's name, its first line, and all lines."""
    first = next(text, "")
    return name.lower().rpartition(".")[2], first, itertools.chain([first] if first else [], text)


def _is_json(ending: str, first: str) -> bool:
    return ending in {"jsonl", "ndjson"} or (ending not in {"tsv", "csv"} and first.startswith("{"))


def records_of(cells: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    """Rows of a table as records, without their empty cells."""
    names = list(cells)
    return [
        {name: cell for name, cell in zip(names, row, strict=True) if cell != ""}
        for row in zip(*cells.values(), strict=True)
    ]


def _read_bytes(raw: IO[bytes]) -> int:
    return raw.tell() if raw.seekable() else 0


def _refuse(path: Path) -> BadRow:
    """A callback that raises `WrongFile` for the first bad row."""

    def refuse(line: int, reason: str) -> None:
        raise WrongFile(f"{path}: line {line}: {reason}")

    return refuse
