"""Parquet, read by pyarrow, which the extra `corrente[parquet]` installs.

A time of a type of its own (`timestamp`, `date`) is read as seconds, a time without zone as UTC. A whole number in a
column of floating-point numbers is that number, because pandas turns a column of whole numbers into such a one if some
are missing; a number too large to be exact there is refused as an id. "Lines" are numbers of rows, from 1.

This file decides how columns of Parquet become rows and records, and what is said if pyarrow is missing.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from stream.ingest.files.columns import NUMBERS, Choose, WrongFile
from stream.ingest.files.delimited import BATCH_ROWS
from stream.ingest.files.mapped import RecordMapping
from stream.ingest.files.row_checks import Rows
from stream.values import LATEST_SECONDS

MAGIC = b"PAR1"
"""First bytes of every Parquet file."""

EXACT = 2**53
"""Whole numbers below it are exact as floating-point numbers."""

UNITS: Mapping[str, float] = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}


def parquet_rows(data: Any, path: Path, choose: Choose) -> Iterator[Rows]:
    """Rows by the columns that are read.

    Args:
        data: an open file; it is read into memory if it can't be sought in.
        path: of the file, for messages.
        choose: the columns that are read, by the key of each, given the names of all.

    Raises:
        WrongFile: pyarrow isn't installed, or the file is broken.
    """
    file = _opened(data, path)
    chosen = choose(list(file.schema_arrow.names))
    names = list(dict.fromkeys(chosen.values()))
    for first, batch in _batches(file, names, path):
        cells = {key: _cells(batch.column(name), key) for key, name in chosen.items()}
        yield list(range(first, first + len(batch))), cells


def parquet_records(data: Any, path: Path, mapping: RecordMapping) -> Iterator[tuple[list[int], list[dict[str, Any]]]]:
    """Numbers of rows, and the rows as records with the columns that a mapping reads. Arguments as `parquet_rows`."""
    file = _opened(data, path)
    header = list(file.schema_arrow.names)
    mapping.check_header(path, header)
    names = [name for name in header if name in mapping.names]
    for first, batch in _batches(file, names, path):
        columns = [_values(batch.column(name), with_zone=True) for name in names]
        records = [
            {name: value for name, value in zip(names, row, strict=True) if value is not None and value != ""}
            for row in zip(*columns, strict=True)
        ]
        yield list(range(first, first + len(batch))), records


def _opened(data: Any, path: Path) -> Any:
    try:
        from pyarrow import ArrowException, BufferReader, parquet
    except ImportError:
        raise WrongFile(
            f"{path} is a Parquet file; to read it, install pyarrow: pip install 'corrente[parquet]'"
        ) from None
    try:
        plain = isinstance(getattr(data, "raw", None), io.FileIO)
        return parquet.ParquetFile(data if plain else BufferReader(data.read()))
    except (ArrowException, OSError, EOFError) as error:
        raise WrongFile(f"{path}: the Parquet data is broken ({error}); was it copied whole?") from None


def _batches(file: Any, names: list[str], path: Path) -> Iterator[tuple[int, Any]]:
    """Batches of rows, each with the number of its first row."""
    from pyarrow import ArrowException

    row = 1
    try:
        for batch in file.iter_batches(BATCH_ROWS, columns=names):
            yield row, batch
            row += len(batch)
    except (ArrowException, OSError) as error:
        raise WrongFile(f"{path}: the Parquet data is broken behind row {row - 1} ({error})") from None


def _cells(column: Any, key: str) -> list[Any]:
    """A column as cells: whole numbers and text as text, empty where there is none; else as `_values` has them."""
    from pyarrow import types

    if types.is_integer(column.type) or types.is_string(column.type) or types.is_large_string(column.type):
        return column.cast("string").fill_null("").to_pylist()
    values = _values(column)
    if key in NUMBERS:
        return ["" if value is None else repr(value) if isinstance(value, int | float) else value for value in values]
    return values


def _values(column: Any, *, with_zone: bool = False) -> list[Any]:
    """A column as Python values: text, numbers, lists and objects, or None.

    Args:
        column: of Arrow.
        with_zone: give times as text with their zone, to which no unit of a mapping applies, else as seconds.
    """
    from pyarrow import types

    kind = column.type
    if types.is_timestamp(kind):
        unit = UNITS[kind.unit]
        seconds = [None if count is None else count / unit for count in column.cast("int64").to_pylist()]
        return [_text_of_time(each) for each in seconds] if with_zone else seconds
    if types.is_dictionary(kind):
        return _values(column.dictionary_decode(), with_zone=with_zone)
    values = column.to_pylist()
    if types.is_floating(kind):
        return [_number(value) for value in values]
    if types.is_string(kind) or types.is_large_string(kind) or types.is_integer(kind):
        return values
    return [_plain(value) for value in values]


def _text_of_time(seconds: float | None) -> str | float | None:
    if seconds is None or not 0 <= seconds <= LATEST_SECONDS:
        return seconds
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _number(value: float | None) -> float | int | None:
    if value is None or math.isnan(value):
        return None
    return int(value) if value.is_integer() and abs(value) < EXACT else value


def _plain(value: Any) -> Any:
    """A value of any other type, with what it holds, as JSON would have it."""
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(each) for each in value]
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return value
