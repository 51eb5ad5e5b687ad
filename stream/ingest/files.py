r"""Event histories in files: TSV, CSV or JSON lines, plain or gzipped, read in file order.

This file decides how a file becomes columns, which columns it must have and what is wrong with a row. What the events
are used for is decided by who reads them: `corrente evaluate` takes a whole file as numbers (`read_dataset`), `corrente
replay` sends it piece by piece (`read_chunks`). Nothing is sorted, dropped or repaired here.

A file needs a time (`ts`: seconds since the epoch or RFC 3339), an `item`, and a `user` or a `session` or both. `event`
tells the kind; a file without that column is of one kind, which the caller names. `value`, `quantity`, `price`,
`currency` and `event_id` are read where they exist. Other columns are ignored.

>>> import pathlib, tempfile
>>> path = pathlib.Path(tempfile.mkdtemp()) / "shop.csv"
>>> _ = path.write_text("when,customer,item,event\n5,ada,tea,click\n6,ada,cup,purchase\n")
>>> history = read_dataset(path, {"ts": "when", "user": "customer"})
>>> history.seconds.tolist(), history.item.names, history.event.codes.tolist(), history.session
([5.0, 6.0], ['tea', 'cup'], [0, 1], None)
>>> read_dataset(path)
Traceback (most recent call last):
stream.ingest.files.WrongFile: .../shop.csv: no column 'ts'. There are: when, customer, item, event. ...
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import textwrap
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream.events import InvalidEvent, check_id, plain, seconds_of

COLUMNS = ("ts", "user", "session", "item", "event", "value", "quantity", "price", "currency", "event_id")
"""What can be read from a file, by our name."""

NUMBERS = ("value", "quantity", "price")
IDS = ("item", "user", "session", "event_id")
BATCH_ROWS = 8_192
FIELD_MAX_CHARACTERS = 1 << 20

BadRow = Callable[[int, str], None]
"""Called with the line number and what is wrong with it; the row is left out."""


class WrongFile(ValueError):
    """A file that can't be read as events. The text says where, what was found and what would be right."""


class Coded(NamedTuple):
    """A column of strings as numbers: `names[codes[i]]` is row i's; -1 where the row has none."""

    codes: NDArray[np.int32]
    names: list[str]


@dataclass(frozen=True)
class Dataset:
    """A whole file, in file order: `seconds` (n,) float64 and one `Coded` a column, `None` without it.

    `value` is (n,) float32, what an event says of itself (the stars of a rating), NaN where it says nothing; `None` if
    no event does.
    """

    seconds: NDArray[np.float64]
    item: Coded
    event: Coded
    user: Coded | None
    session: Coded | None
    value: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.seconds)


@dataclass(frozen=True)
class Chunk:
    """Some rows in file order. `cells[column][i]` is `None` where row i has no value.

    `file_bytes` is how much of the file (as it is on disk) was consumed so far, for a progress bar.
    """

    lines: list[int]
    seconds: NDArray[np.float64]
    cells: dict[str, list[str | None]]
    file_bytes: int

    def __len__(self) -> int:
        return len(self.lines)


def read_dataset(
    path: Path | str,
    columns: Mapping[str, str] | None = None,
    *,
    kind: str | None = None,
    bad_row: BadRow | None = None,
) -> Dataset:
    """A whole file as numbers: about 1.5 s for a million rows of five columns, 3 s gzipped JSON lines.

    Args:
        path: the file; its ending or else its first line tells the format, its first bytes whether it is gzipped.
        columns: our column name to the file's, where they differ.
        kind: the kind of every event, for a file without an `event` column.
        bad_row: what to do with a row that can't be read; without it the first one raises.

    Raises:
        WrongFile: a column is missing, the file is not what it seems, or a row can't be read.
    """
    seconds: list[NDArray[np.float64]] = []
    codes: dict[str, list[NDArray[np.int32]]] = {}
    names: dict[str, dict[str | None, int]] = {}
    values: list[NDArray[np.float32]] = []
    for chunk in read_chunks(path, columns, kind=kind, bad_row=bad_row):
        seconds.append(chunk.seconds)
        for column in ("item", "event", "user", "session"):
            if column in chunk.cells:
                known = names.setdefault(column, {None: -1})
                coded = [known.setdefault(cell, len(known) - 1) for cell in chunk.cells[column]]
                codes.setdefault(column, []).append(np.array(coded, np.int32))
        cells = chunk.cells.get("value") or [None] * len(chunk)
        values.append(np.array([np.nan if cell is None else float(cell) for cell in cells], np.float32))

    def column_of(column: str) -> Coded | None:
        if column not in codes or len(names[column]) == 1:
            return None
        return Coded(np.concatenate(codes[column]), [name for name in names[column] if name is not None])

    item, event = column_of("item"), column_of("event")
    if item is None or event is None:
        raise WrongFile(f"{path}: no event in it, only the header")
    value = np.concatenate(values)
    told = None if np.isnan(value).all() else value
    return Dataset(np.concatenate(seconds), item, event, column_of("user"), column_of("session"), told)


def read_chunks(
    path: Path | str,
    columns: Mapping[str, str] | None = None,
    *,
    kind: str | None = None,
    bad_row: BadRow | None = None,
) -> Iterator[Chunk]:
    """The same file piece by piece, some thousand rows each. Arguments and errors as in `read_dataset`."""
    path, columns = Path(path), dict(columns or {})
    if unknown := set(columns) - set(COLUMNS):
        raise WrongFile(f"{min(unknown)!r} is no column of events; there are {', '.join(COLUMNS)}")
    try:
        with path.open("rb", buffering=0) as raw:
            yield from _chunks(raw, path, columns, kind, bad_row or _refuse(path))
    except FileNotFoundError:
        raise WrongFile(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise WrongFile(f"{path} is a folder; one file is read at a time") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise WrongFile(f"{path}: the gzip data is broken ({error}); was it copied whole?") from None


def _chunks(raw: IO[bytes], path: Path, columns: dict[str, str], kind: str | None, bad_row: BadRow) -> Iterator[Chunk]:
    gzipped = raw.read(2) == b"\x1f\x8b"
    raw.seek(0)
    data: Any = gzip.GzipFile(fileobj=raw) if gzipped else raw
    # Bytes that are no UTF-8 become lone surrogates, which every check of an id refuses with its line number.
    buffered = io.BufferedReader(data, 1 << 20)
    with io.TextIOWrapper(buffered, "utf-8-sig", errors="surrogateescape", newline="") as text:
        form = _form(path, text)
        layout = _Layout(path, columns, kind)
        batches = (
            _json_batches(text, layout, bad_row) if form == "jsonl" else _table_batches(text, form, layout, bad_row)
        )
        for lines, cells in batches:
            if lines:
                yield _checked(lines, cells, kind, raw.tell(), bad_row)


@dataclass(frozen=True)
class _Layout:
    """Where the wanted columns are in one file."""

    path: Path
    columns: Mapping[str, str]
    kind: str | None

    def names(self, there: list[str]) -> dict[str, str]:
        """Our column names to the file's, of those that `there` has.

        Raises:
            WrongFile: one that is needed, or was named by the caller, is not there, or there are two of it.
        """
        found = {}
        if not there:
            raise WrongFile(f"{self.path}: the file is empty; its first line names the columns")
        if any(_not_text(name) for name in there):
            raise WrongFile(f"{self.path}: line 1 is not UTF-8 text; is it in another encoding, or packed otherwise?")
        for column in COLUMNS:
            name = self.columns.get(column, column)
            if there.count(name) > 1:
                raise WrongFile(f"{self.path}: there are {there.count(name)} columns {name!r}; which one is meant?")
            if name in there:
                found[column] = name
            elif column in self.columns:
                raise self._missing(name, there, f"You named it for {column!r}")
        for column in ("ts", "item"):
            if column not in found:
                raise self._missing(column, there, f"Say which one is meant: {column}=<its name>")
        if "user" not in found and "session" not in found:
            raise self._missing("user' or 'session", there, "Say which one is meant: user=<its name>")
        if self.kind is not None:
            found.pop("event", None)
        elif "event" not in found:
            mend = "Say which one tells the kind, event=<its name>, or name one kind for all rows (--kind click)"
            raise self._missing("event", there, mend)
        return found

    def _missing(self, name: str, there: list[str], mend: str) -> WrongFile:
        named = textwrap.shorten(", ".join(there), 500, placeholder=" …")
        if len(there) == 1 and (mark := next((mark for mark in ";|" if mark in there[0]), None)):
            mend = f"Cells are separated by tabs or commas, here it seems to be {mark!r}"
        return WrongFile(f"{self.path}: no column '{name}'. There are: {named}. {mend}.")


Batch = tuple[list[int], dict[str, list[Any]]]
"""Line numbers, and the cells of each column, by our names."""


def _form(path: Path, text: io.TextIOWrapper) -> str:
    ending = path.name.lower().removesuffix(".gz").rpartition(".")[2]
    if ending in {"tsv", "csv", "jsonl"}:
        return ending
    if ending == "ndjson":
        return "jsonl"
    first = text.readline(FIELD_MAX_CHARACTERS)
    text.seek(0)
    return "jsonl" if first.startswith("{") else "tsv" if "\t" in first else "csv"


def _table_batches(text: io.TextIOWrapper, form: str, layout: _Layout, bad_row: BadRow) -> Iterator[Batch]:
    csv.field_size_limit(FIELD_MAX_CHARACTERS)
    if form == "tsv":
        reader = csv.reader(text, delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        reader = csv.reader(text)
    try:
        there = next(reader, [])
    except csv.Error as error:
        raise WrongFile(f"{layout.path}: line 1: {error}") from None
    places = {column: there.index(name) for column, name in layout.names(there).items()}
    width = max(places.values()) + 1
    more = True
    while more:
        lines: list[int] = []
        rows: list[list[str]] = []
        try:
            for row in itertools.islice(reader, BATCH_ROWS):
                rows.append(row)
                lines.append(reader.line_num)
            more = bool(rows)
        except csv.Error as error:
            bad_row(reader.line_num, str(error))
        if min(map(len, rows), default=width) < width:
            for line, row in zip(lines, rows, strict=True):
                if 0 < len(row) < width:
                    bad_row(line, f"{len(row)} cells instead of {len(there)}")
            lines = [line for line, row in zip(lines, rows, strict=True) if len(row) >= width]
            rows = [row for row in rows if len(row) >= width]
        yield lines, {column: list(map(itemgetter(place), rows)) for column, place in places.items()}


def _json_batches(text: io.TextIOWrapper, layout: _Layout, bad_row: BadRow) -> Iterator[Batch]:
    """JSON lines have no header: the columns of the first batch stand for it, so that a missing one is told as such."""
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    names: dict[str, str] | None = None
    numbered = enumerate(text, 1)
    while batch := list(itertools.islice(numbered, BATCH_ROWS)):
        lines: list[int] = []
        rows: list[dict[str, Any]] = []
        for line, row_text in batch:
            if row_text.isspace():
                continue
            try:
                rows.append(decode(row_text))
                lines.append(line)
            except (msgspec.DecodeError, UnicodeEncodeError) as error:
                bad_row(line, f"not a JSON object: {error}")
        if names is None:
            layout.names(list(dict.fromkeys(name for row in rows for name in row)))
            names = {column: layout.columns.get(column, column) for column in COLUMNS}
            if layout.kind is not None:
                del names["event"]
        yield lines, {column: [row.get(name) for row in rows] for column, name in names.items()}


def _checked(
    lines: list[int], cells: dict[str, list[Any]], kind: str | None, file_bytes: int, bad_row: BadRow
) -> Chunk:
    """Rows less those that can't be read. All of them are looked at together; single rows only if need be."""
    seconds = _all_good(cells)
    if seconds is None:
        rows = [dict(zip(cells, row, strict=True)) for row in zip(*cells.values(), strict=True)]
        kept = []
        for index, row in enumerate(rows):
            if reason := _wrong_with(row):
                bad_row(lines[index], reason)
            else:
                kept.append(index)
        lines = [lines[index] for index in kept]
        cells = {column: [_cell(column, values[index]) for index in kept] for column, values in cells.items()}
        seconds = np.array([_seconds(cell) for cell in cells["ts"]], np.float64)
    without_empty = {
        column: [cell or None for cell in values] if "" in values else values for column, values in cells.items()
    }
    del without_empty["ts"]
    if kind is not None:
        without_empty["event"] = [kind] * len(lines)
    return Chunk(lines, seconds, without_empty, file_bytes)


def _all_good(cells: dict[str, list[Any]]) -> NDArray[np.float64] | None:
    """The times of a chunk in which nothing can be wrong; `None` asks for a look at each row."""
    try:
        seconds = np.array(cells["ts"], np.float64)
        texts = ["".join(cells[column]) for column in cells if column in IDS or column == "event"]
        for column in NUMBERS:
            if column in cells and not np.isfinite(np.array([cell or 0 for cell in cells[column]], np.float64)).all():
                return None
    except (TypeError, ValueError):
        return None
    in_time = bool(((seconds >= 0) & (seconds <= 4_294_967_295)).all())
    visitors = [cells[column] for column in ("user", "session") if column in cells]
    named = all(all(column) for column in visitors) or all(map(any, zip(*visitors, strict=True)))
    short = all(max(map(len, cells[column])) <= 64 for column in cells if column in IDS)  # 64 characters: 256 bytes
    good = in_time and named and short and plain(texts) and all(cells["item"]) and all(cells.get("event", ["x"]))
    return seconds if good else None


def _wrong_with(row: dict[str, Any]) -> str | None:
    """What is wrong with a row, or `None`."""
    try:
        row = {column: _cell(column, value) for column, value in row.items()}
        _seconds(row["ts"])
        for column in IDS:
            if row.get(column) is not None or column == "item":
                if _not_text(row[column] or ""):
                    raise InvalidEvent(f"{column}: not UTF-8 text; is the file in another encoding?")
                check_id(column, row[column] or "")
        if row.get("user") is None and row.get("session") is None:
            raise InvalidEvent("user: neither a user nor a session")
        if not row.get("event", "x"):
            raise InvalidEvent("event: empty, a kind such as click is needed")
        for column in NUMBERS:
            if row.get(column) is not None and not np.isfinite(float(row[column])):
                raise InvalidEvent(f"{column}: {row[column]!r} is not a finite number")
    except ValueError as error:
        return str(error)
    return None


def _not_text(cell: str) -> bool:
    """Whether a cell holds bytes that were no UTF-8 (they come as lone surrogates)."""
    return any("\ud800" <= character <= "\udfff" for character in cell)


def _cell(column: str, value: Any) -> str | None:
    """A cell as text: JSON numbers as they were written, an empty cell as none.

    Raises:
        InvalidEvent: it is neither text nor a number, or an id is a fraction.
    """
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or (column in IDS and isinstance(value, float)):
        raise InvalidEvent(f"{column}: {str(value)[:80]!r} is neither text nor a whole number")
    return repr(value)


def _seconds(cell: str | None) -> float:
    """A time as it stands in a file: a number as text, or RFC 3339."""
    try:
        number = float(cell or "")
    except ValueError:
        return seconds_of(cell or "")
    return seconds_of(number)


def _refuse(path: Path) -> BadRow:
    def refuse(line: int, reason: str) -> None:
        raise WrongFile(f"{path}: line {line}: {reason}")

    return refuse
