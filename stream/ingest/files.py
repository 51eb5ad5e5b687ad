r"""Event histories in files: TSV, CSV or JSON lines, plain, gzipped or zipped, read in file order.

This file decides how a file is unpacked and becomes columns. `corrente evaluate` takes a whole file as numbers
(`read_dataset`), `corrente replay` sends it piece by piece (`read_chunks`). Separators and quotes are decided in
`stream.ingest.delimited`, the needed columns in `stream.ingest.columns`, what is wrong with a row in
`stream.ingest.row_checks`, and how a time is read in `stream.values`. Nothing is sorted or repaired here.
`read_chunks` drops nothing; a dataset lacks the rows that no model learns (`stream.ingest.left_out`).

>>> import pathlib, tempfile
>>> path = pathlib.Path(tempfile.mkdtemp()) / "shop.csv"
>>> _ = path.write_text("when,customer,item,event\n5,ada,tea,click\n6,ada,cup,purchase\n")
>>> history = read_dataset(path, {"ts": "when", "user": "customer"})
>>> history.seconds.tolist(), history.item.names, history.event.codes.tolist(), history.session
([5.0, 6.0], ['tea', 'cup'], [0, 1], None)
>>> read_dataset(path)
Traceback (most recent call last):
stream.ingest.columns.WrongFile: .../shop.csv: no column 'ts' or 'timestamp'. There are: when, customer, ...
"""

from __future__ import annotations

import gzip
import io
import itertools
import zipfile
import zlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream.ingest.columns import COLUMNS, NUMBERS, ColumnNames, WrongFile, with_one_time
from stream.ingest.delimited import BATCH_ROWS, UNKNOWN_FORM, Batch, Table, TableForm, separator_of
from stream.ingest.kinds import kinds_of_rows
from stream.ingest.left_out import LeftOut
from stream.ingest.row_checks import BadRow, NumberIds, Rows, good_rows, kind_of_reason
from stream.values import PERSONAL, number_of

__all__ = [
    "COLUMNS",
    "NUMBERS",
    "UNKNOWN_FORM",
    "BadRow",
    "Chunk",
    "Coded",
    "Dataset",
    "NumberIds",
    "TableForm",
    "WrongFile",
    "kind_of_reason",
    "read_chunks",
    "read_dataset",
]


class Coded(NamedTuple):
    """A column of strings as numbers.

    Attributes:
        codes: int32[n]; row i has the string `names[codes[i]]`, or none if the code is -1.
        names: the different strings, in the order in which they first occur.
    """

    codes: NDArray[np.int32]
    names: list[str]


@dataclass(frozen=True)
class Dataset:
    """A whole file as columns, in file order.

    Attributes:
        seconds: float64[n], times in seconds since the epoch.
        item, event: the item and the kind of each event.
        user, session: the visitor; None for a column that the file doesn't have.
        value: float32[n], the event's own value (the stars of a rating), NaN where it has none; None if no event has.
        rows: int64[n], number of each event's row in the file; None if they are all of them, in order.
        left_out: number of rows that are left out, by rule (`stream.ingest.left_out`).
        returns: number of purchases with a negative quantity, which have the kind `return` here.
        aggregate: bool[n], events that are only counted for their items; None if none is.
        quantity: float32[n], pieces that a purchase or a return is about, NaN for other events and where the file says
            nothing; None if it says nothing anywhere.
    """

    seconds: NDArray[np.float64]
    item: Coded
    event: Coded
    user: Coded | None
    session: Coded | None
    value: NDArray[np.float32] | None = None
    rows: NDArray[np.int64] | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    returns: int = 0
    quantity: NDArray[np.float32] | None = None
    aggregate: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.seconds)


@dataclass(frozen=True)
class Chunk:
    """Some rows of a file, in file order.

    Attributes:
        lines: line number of each row.
        seconds: float64[n], times in seconds since the epoch.
        cells: by column, the cell of each row; None where it is empty.
        file_bytes: bytes of the file (as it is on disk) that were read so far, for a progress bar.
    """

    lines: list[int]
    seconds: NDArray[np.float64]
    cells: dict[str, list[str | None]]
    file_bytes: int

    def __len__(self) -> int:
        return len(self.lines)

    def without(self, rows: Collection[int]) -> Chunk:
        """This chunk without some of its rows, given by their numbers in it."""
        if not rows:
            return self
        kept = [row for row in range(len(self)) if row not in rows]
        cells = {column: [values[row] for row in kept] for column, values in self.cells.items()}
        return Chunk([self.lines[row] for row in kept], self.seconds[kept], cells, self.file_bytes)


def read_dataset(
    path: Path | str,
    columns: Mapping[str, str] | None = None,
    *,
    kind: str | None = None,
    bad_row: BadRow | None = None,
    null_ids: Collection[str] = (),
    consent_default: str = PERSONAL,
    form: TableForm = UNKNOWN_FORM,
) -> Dataset:
    """Read a whole file as numbers: about 1.5 s for a million rows of five columns, 3 s for gzipped JSON lines.

    Args:
        path: the file. Its ending, or else its first line, decides the format; its first bytes decide whether it is
            gzipped or zipped.
        columns: our column name to the file's, where they differ.
        kind: the kind of every event, for a file without an `event` column.
        bad_row: called for a row that can't be learned; without it the first such row raises.
        null_ids: words that stand for no id; rows with them are left out.
        consent_default: consent of a row that names none.
        form: the form of a table, as far as it is known.

    Raises:
        WrongFile: a column is missing, the format is broken, or a row can't be learned.
    """
    seconds: list[NDArray[np.float64]] = []
    codes: dict[str, list[NDArray[np.int32]]] = {}
    names: dict[str, dict[str | None, int]] = {}
    values: list[NDArray[np.float32]] = []
    quantities: list[NDArray[np.float32]] = []
    rows: list[NDArray[np.int64]] = []
    left_out: Counter[str] = Counter()
    aggregate: list[NDArray[np.bool_]] = []
    rules, returns, read = LeftOut(null_ids, consent_default), 0, 0
    for whole in read_chunks(path, columns, kind=kind, bad_row=bad_row, form=form):
        rule_by_row = rules.of_rows(whole.cells)
        left_out.update(rule_by_row.values())
        rows.append(np.delete(np.arange(read, read + len(whole)), list(rule_by_row)))
        read += len(whole)
        chunk = whole.without(rule_by_row.keys())
        given_kinds = chunk.cells["event"]
        chunk.cells["event"] = kinds_of_rows(chunk.cells)
        returns += chunk.cells["event"].count("return") - given_kinds.count("return")
        seconds.append(chunk.seconds)
        aggregate.append(np.isin(np.arange(len(chunk)), rules.aggregate_rows(chunk.cells)))
        for column in ("item", "event", "user", "session"):
            if column in chunk.cells:
                known = names.setdefault(column, {None: -1})
                coded = [known.setdefault(cell, len(known) - 1) for cell in chunk.cells[column]]
                codes.setdefault(column, []).append(np.array(coded, np.int32))
        cells = chunk.cells.get("value") or [None] * len(chunk)
        values.append(np.array([np.nan if cell is None else float(cell) for cell in cells], np.float32))
        quantities.append(_quantities(chunk.cells))

    def column_of(column: str) -> Coded | None:
        if column not in codes or len(names[column]) == 1:
            return None
        return Coded(np.concatenate(codes[column]), [name for name in names[column] if name is not None])

    item, event = column_of("item"), column_of("event")
    if item is None or event is None:
        why = f", only rows that are left out ({', '.join(sorted(left_out))})" if left_out else ", only the header"
        raise WrongFile(f"{path}: no event in it{why}")
    user, session = column_of("user"), column_of("session")
    return Dataset(
        np.concatenate(seconds),
        item,
        event,
        user,
        session,
        value=_if_any(np.concatenate(values)),
        rows=np.concatenate(rows) if left_out else None,
        left_out=left_out,
        returns=returns,
        quantity=_if_any(np.concatenate(quantities)),
        aggregate=np.concatenate(aggregate) if any(each.any() for each in aggregate) else None,
    )


def _if_any(numbers: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """The numbers; None if all are NaN."""
    return None if np.isnan(numbers).all() else numbers


def _quantities(cells: Mapping[str, Sequence[str | None]]) -> NDArray[np.float32]:
    """Pieces that each purchase and each return of some rows is about; NaN for other events."""
    kinds = cells["event"]
    given = cells.get("quantity") or [None] * len(kinds)
    numbers = (
        number_of("quantity", quantity) if kind in {"purchase", "return"} else None
        for kind, quantity in zip(kinds, given, strict=True)
    )
    return np.array([np.nan if number is None else abs(number) for number in numbers], np.float32)


def read_chunks(
    path: Path | str,
    columns: Mapping[str, str] | None = None,
    *,
    kind: str | None = None,
    bad_row: BadRow | None = None,
    form: TableForm = UNKNOWN_FORM,
) -> Iterator[Chunk]:
    """Read a file in chunks of some thousand rows. Arguments and errors are those of `read_dataset`."""
    path, columns = Path(path), with_one_time(columns or {})
    try:
        with path.open("rb", buffering=0) as raw:
            yield from _chunks(raw, path, columns, kind, bad_row or _refuse(path), form)
    except FileNotFoundError:
        raise WrongFile(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise WrongFile(f"{path} is a folder; one file is read at a time") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise WrongFile(f"{path}: the gzip data is broken ({error}); was it copied whole?") from None


def _chunks(
    raw: IO[bytes], path: Path, columns: dict[str, str], kind: str | None, bad_row: BadRow, form: TableForm
) -> Iterator[Chunk]:
    """The chunks of an open file, whose format is found first."""
    # Bytes that are not UTF-8 become lone surrogates, which every check of an id refuses with its line number.
    with (
        unpacked(raw, path) as (data, name),
        io.TextIOWrapper(data, "utf-8-sig", errors="surrogateescape", newline="") as text,
    ):
        ending = name.lower().rpartition(".")[2]
        first = next(text, "")
        names = ColumnNames(path, columns, kind, has_header=form.header is None)
        lines = itertools.chain([first] if first else [], text)
        if ending in {"jsonl", "ndjson"} or (ending not in {"tsv", "csv"} and first.startswith("{")):
            if form != UNKNOWN_FORM:
                raise WrongFile(f"{path}: JSON lines name their fields; --columns and --separator are for tables")
            batches = _json_batches(lines, names, bad_row)
        else:
            batches = _table_batches(lines, form.separator or separator_of(first, ending), form, names, bad_row)
        for line_numbers, cells in batches:
            if line_numbers:
                good_lines, seconds, good_cells = good_rows(line_numbers, cells, bad_row)
                if kind is not None:
                    good_cells["event"] = [kind] * len(good_lines)
                yield Chunk(good_lines, seconds, good_cells, raw.tell() if raw.seekable() else 0)


@contextmanager
def unpacked(raw: Any, path: Path) -> Iterator[tuple[Any, str]]:
    """The bytes of an open file, unpacked, and the name that has the ending of its format.

    Raises:
        WrongFile: the packed data are broken, or a zip has several files.
    """
    with io.BufferedReader(raw, 1 << 20) as buffered:
        magic = buffered.peek(4)[:4]
        if magic.startswith(b"PK\x03\x04"):
            try:
                with zipfile.ZipFile(buffered) as archive, _only_member(archive, path) as member:
                    yield io.BufferedReader(member, 1 << 20), member.name
            except (zipfile.BadZipFile, zlib.error, EOFError) as error:
                raise WrongFile(f"{path}: the zip data is broken ({error}); was it copied whole?") from None
        elif magic.startswith(b"\x1f\x8b"):
            name = path.name[:-3] if path.name.lower().endswith(".gz") else path.name
            with gzip.GzipFile(fileobj=buffered) as unzipped:
                yield io.BufferedReader(unzipped, 1 << 20), name
        else:
            yield buffered, path.name


def _only_member(archive: zipfile.ZipFile, path: Path) -> zipfile.ZipExtFile:
    """The only file of an archive, beside what macOS puts there."""
    inside = [entry for entry in archive.infolist() if not entry.is_dir() and "__MACOSX" not in entry.filename]
    if len(inside) != 1:
        found = ", ".join(entry.filename for entry in inside[:5]) or "none"
        raise WrongFile(f"{path}: {len(inside)} files are in it ({found}); a zip of one file can be read")
    try:
        return archive.open(inside[0])  # type: ignore[return-value]
    except (RuntimeError, NotImplementedError) as error:  # a password, or an unusual compression
        raise WrongFile(f"{path}: {error}; unpack it first") from None


def _table_batches(
    lines: Iterator[str], separator: str, form: TableForm, names: ColumnNames, bad_row: BadRow
) -> Iterator[Rows]:
    """Rows of a table. A row of another width than the header is reported and left out."""
    table = Table(names.path, lines, separator, form.header)
    places = {column: table.header.index(name) for column, name in names.find(table.header).items()}
    width = len(table.header)
    for batch in table.batches(places["ts"]):
        all_good = not batch.flawed and set(map(len, batch.rows)) <= {width}
        good = batch if all_good else _without_bad(batch, places, width, bad_row)
        yield good.lines, {column: list(map(itemgetter(place), good.rows)) for column, place in places.items()}


def _without_bad(batch: Batch, places: Mapping[str, int], width: int, bad_row: BadRow) -> Batch:
    """The rows that have the width of the header, and no text behind the closing quote of a cell that is read."""
    good = Batch([], [], {})
    for index, (line, row) in enumerate(zip(batch.lines, batch.rows, strict=True)):
        flawed = [column for column, place in places.items() if place in batch.flawed.get(index, ())]
        if len(row) != width:
            bad_row(line, f"{len(row)} cells instead of {width}")
        elif flawed:
            cell = row[places[flawed[0]]]
            bad_row(line, f"{flawed[0]}: {cell[:80]!r} has text behind its closing quote; a quote in it is doubled")
        else:
            good.lines.append(line)
            good.rows.append(row)
    return good


def _json_batches(text: Iterator[str], names: ColumnNames, bad_row: BadRow) -> Iterator[Rows]:
    """Rows of a file of JSON lines. The columns of the first batch stand for the header, which such files lack."""
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    found: dict[str, str] | None = None
    numbered = enumerate(text, 1)
    while batch := list(itertools.islice(numbered, BATCH_ROWS)):
        lines: list[int] = []
        rows: list[dict[str, Any]] = []
        for line, row_text in batch:
            if row_text.isspace():
                continue
            try:
                rows.append(decode(row_text.removeprefix("\ufeff")))
                lines.append(line)
            except (msgspec.DecodeError, UnicodeEncodeError) as error:
                bad_row(line, f"not a JSON object: {error}")
        if found is None:
            header = list(dict.fromkeys(name for row in rows for name in row))
            names.find(header)
            found = {column: names.name_of(column, header) for column in COLUMNS}
            if names.kind is not None:
                del found["event"]
        yield lines, {column: [row.get(name) for row in rows] for column, name in found.items()}


def _refuse(path: Path) -> BadRow:
    """A callback that raises `WrongFile` for the first bad row."""

    def refuse(line: int, reason: str) -> None:
        raise WrongFile(f"{path}: line {line}: {reason}")

    return refuse
