r"""Documents in files: JSON lines, or tables such as CSV, plain, gzipped or zipped, as event histories are.

A line of JSON is a document with its id as `item` (or `user`). In a table a column is a field and a row a document; an
empty cell leaves the field out. Categories and tags stand in one cell, separated by `|`; a column `labels.size` is the
label `size`.

This file decides how the rows of a file become documents. Packing and separators are decided in `stream.ingest`.

>>> import pathlib, tempfile
>>> path = pathlib.Path(tempfile.mkdtemp()) / "items.csv"
>>> _ = path.write_text("item,tags,price,labels.size\ncup,tea|blue,4.5,2\npot,,20,\n")
>>> [(each.id, each.document.tags, each.document.labels) for each in read_documents(path, Documents(Item), "item")]
[('cup', ['tea', 'blue'], {'size': 2}), ('pot', [], {})]
"""

from __future__ import annotations

import gzip
import io
import itertools
import math
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from stream.catalogue.documents import Documents, InvalidDocument
from stream.catalogue.item import Item
from stream.catalogue.labels import Label
from stream.catalogue.profile import Profile
from stream.configuration.nearest import suggestion
from stream.events import check_id, text_of
from stream.ingest.files.columns import WrongFile
from stream.ingest.files.delimited import UNKNOWN_FORM, Table, TableForm, separator_of
from stream.ingest.files.unpacking import unpacked
from stream.values import InvalidEvent, number_of

D = TypeVar("D", bound=Item | Profile)

LIST_SEPARATOR = "|"
LABELS = "labels."
"""Beginning of the name of a column that is a label."""
LISTS = ("categories", "tags")
UNREAD = ("-", "")
"""Names of columns that are not read: ours for them, and the empty one over the row names of R and of pandas."""
TRUTHS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class FileDocument(NamedTuple, Generic[D]):
    """A document of a file.

    Attributes:
        id: of the item or user.
        document: as it is to be stored.
        file_bytes: bytes of the file (as it is on disk) that were read so far, for a progress bar.
    """

    id: str
    document: D
    file_bytes: int


def read_documents(
    path: Path,
    documents: Documents[D],
    identifier: str,
    *,
    columns: Mapping[str, str] | None = None,
    form: TableForm = UNKNOWN_FORM,
    ignore_others: bool = False,
) -> Iterator[FileDocument[D]]:
    """Documents of a file, in file order.

    Args:
        path: the file. Its ending, or else its first line, decides the format.
        documents: reader of this kind of document.
        identifier: name of the id, `item` or `user`.
        columns: our name of a field to the file's, where they differ.
        form: the form of a table, as far as it is known.
        ignore_others: fields that no document has are left out; else the first such field is refused.

    Raises:
        WrongFile: names the line and the field that is wrong.
    """
    named = {theirs: ours for ours, theirs in (columns or {}).items()}
    try:
        with path.open("rb", buffering=0) as raw, unpacked(raw, path) as (data, name):
            text = io.TextIOWrapper(data, "utf-8-sig", errors="surrogateescape", newline="")
            first = next(text, "")
            lines = itertools.chain([first] if first else [], text)
            ending = name.lower().rpartition(".")[2]
            if ending in {"jsonl", "ndjson"} or (ending not in {"tsv", "csv"} and first.startswith("{")):
                rows = _json_rows(lines, path)
            else:
                table = Table(path, lines, form.separator or separator_of(first, ending), form.header)
                rows = _table_rows(table, path, named, documents, identifier, ignore_others=ignore_others)
            for line, fields in rows:
                given = {named.get(field, field): value for field, value in fields.items()}
                read = _document(documents, identifier, given, ignore_others=ignore_others)
                try:
                    yield FileDocument(*read(), raw.tell() if raw.seekable() else 0)
                except (InvalidDocument, InvalidEvent) as error:
                    raise WrongFile(f"{path}: line {line}: {error}") from None
    except FileNotFoundError:
        raise WrongFile(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise WrongFile(f"{path} is a folder; one file is read at a time") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise WrongFile(f"{path}: the gzip data is broken ({error}); was it copied whole?") from None


def _document(
    documents: Documents[D], identifier: str, given: dict[str, Any], *, ignore_others: bool
) -> Callable[[], tuple[str, D]]:
    def read() -> tuple[str, D]:
        named = given.pop(identifier, None)
        if not isinstance(named, str | int) or isinstance(named, bool):
            raise InvalidDocument(f"{identifier}: the id of the {identifier} is required", identifier)
        check_id(identifier, named)
        given.pop("revision", None)  # of the catalogue that the file was written from
        fields = {name: value for name, value in given.items() if not ignore_others or name in documents.names}
        return text_of(named), documents.from_fields(fields)[0]

    return read


def _json_rows(lines: Iterator[str], path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    for number, line in enumerate(lines, 1):
        if line.isspace():
            continue
        try:
            yield number, decode(line)
        except (msgspec.DecodeError, UnicodeEncodeError) as error:
            raise WrongFile(f"{path}: line {number}: not a JSON object: {error}") from None


def _table_rows(
    table: Table,
    path: Path,
    named: Mapping[str, str],
    documents: Documents[D],
    identifier: str,
    *,
    ignore_others: bool,
) -> Iterator[tuple[int, dict[str, Any]]]:
    known = (*documents.names, identifier)
    header = [named.get(name, name) for name in table.header]
    for name in header:
        if name not in known and not name.startswith(LABELS) and name not in UNREAD and not ignore_others:
            raise WrongFile(
                f"{path}: no document has a field {name!r}. {suggestion(name, known)} A column of your own is a label "
                "if its name begins with `labels.`; --others ignore leaves it out"
            )
    if identifier not in header:
        raise WrongFile(f"{path}: no column {identifier!r}; say which one it is: --column {identifier}=<its name>")
    for batch in table.batches(None):
        for number, (line, cells) in enumerate(zip(batch.lines, batch.rows, strict=True)):
            if len(cells) != len(header):
                raise WrongFile(f"{path}: line {line}: {len(cells)} cells instead of {len(header)}")
            if batch.flawed.get(number):
                raise WrongFile(f"{path}: line {line}: a cell has text behind its closing quote; a quote is doubled")
            filled = {name: cell.strip() for name, cell in zip(header, cells, strict=True) if cell.strip()}
            try:
                yield line, _fields(filled)
            except InvalidEvent as error:
                raise WrongFile(f"{path}: line {line}: {error}") from None


def _fields(cells: Mapping[str, str]) -> dict[str, Any]:
    """Fields of a document from the cells of a row."""
    fields: dict[str, Any] = {}
    labels: dict[str, Label] = {}
    for name, cell in cells.items():
        if name.startswith(LABELS):
            labels[name.removeprefix(LABELS)] = _label(cell)
        elif name in LISTS:
            fields[name] = [part.strip() for part in cell.split(LIST_SEPARATOR) if part.strip()]
        elif name == "price":
            fields[name] = number_of(name, cell)
        elif name in {"available", "hidden"}:
            if cell.lower() not in TRUTHS:
                raise InvalidEvent(f"{name}: {cell[:80]!r} is neither true nor false")
            fields[name] = TRUTHS[cell.lower()]
        elif name not in UNREAD:
            fields[name] = cell
    return fields | ({"labels": labels} if labels else {})


def _label(cell: str) -> Label:
    """A label's value: true and false, numbers, and everything else as text."""
    if cell in {"true", "false"}:
        return cell == "true"
    try:
        number = float(cell)
    except ValueError:
        return cell
    if not math.isfinite(number):
        return cell
    return int(number) if cell.lstrip("+-").isdigit() else number
