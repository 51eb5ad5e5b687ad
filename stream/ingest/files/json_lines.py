"""JSON lines: one object in each line, blank lines between them allowed.

This file decides how lines become rows by our columns (`object_rows`), and how they become records for a mapping
(`record_lines`). JSON lines have no header: the fields of the first some thousand rows stand for it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import msgspec

from stream.events import MAX_NESTING, check_nesting
from stream.ingest.files.columns import Choose
from stream.ingest.files.delimited import BATCH_ROWS
from stream.ingest.files.row_checks import BadRow, Rows
from stream.values import InvalidEvent


def object_rows(text: Iterator[str], choose: Choose, bad_row: BadRow) -> Iterator[Rows]:
    """Rows by the columns that are read.

    Args:
        text: lines of the file.
        choose: the fields that are read, by the name of each one's column, given those of the first rows.
        bad_row: called for a line that is no JSON object.
    """
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
                if row_text.count("[") + row_text.count("{") > MAX_NESTING:
                    check_nesting(row_text.encode("utf-8", "surrogateescape"))
                rows.append(decode(row_text.removeprefix("\ufeff")))
                lines.append(line)
            except (msgspec.DecodeError, UnicodeEncodeError, InvalidEvent) as error:
                bad_row(line, f"not a JSON object: {error}")
        if found is None:
            if not rows and any(not row_text.isspace() for _, row_text in batch):
                continue  # all of them are reported; a later line may be good
            found = choose(list(dict.fromkeys(name for row in rows for name in row)))
        yield lines, {column: [row.get(name) for row in rows] for column, name in found.items()}


def record_lines(text: Iterator[str]) -> Iterator[tuple[list[int], list[bytes]]]:
    """Numbers of lines, and their bytes as they stand in the file."""
    numbered = enumerate(text, 1)
    while batch := list(itertools.islice(numbered, BATCH_ROWS)):
        there = [(line, row_text) for line, row_text in batch if not row_text.isspace()]
        yield (
            [line for line, _ in there],
            [row_text.rstrip("\r\n").encode("utf-8", "surrogateescape") for _, row_text in there],
        )
