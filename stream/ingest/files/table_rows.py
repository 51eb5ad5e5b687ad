"""Rows of a table by the columns that are read.

This file decides which rows of a table are left out before their cells are looked at: those of another width than the
header, and those with text behind the closing quote of a cell that is read. Cells are decided in
`stream.ingest.files.delimited`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter

from stream.ingest.files.columns import Choose
from stream.ingest.files.delimited import ANYWHERE, Batch, Columns, Table
from stream.ingest.files.row_checks import BadRow, Rows


def table_rows(
    table: Table, choose: Choose, time_column: Callable[[Sequence[str]], str | None], bad_row: BadRow
) -> Iterator[Rows]:
    """Rows by the columns that are read. A row of another width than the header is reported and left out.

    Args:
        table: at its beginning.
        choose: the columns that are read, by the key of each, given the header.
        time_column: the column of times, given the header; None if it isn't known.
        bad_row: called for each row that is left out.
    """
    places = {key: table.header.index(name) for key, name in choose(table.header).items()}
    width = len(table.header)
    time = time_column(table.header)
    for batch in table.batches(table.header.index(time) if time is not None else ANYWHERE):
        if isinstance(batch, Columns):
            yield batch.lines, {key: batch.columns[place] for key, place in places.items()}
            continue
        all_good = not batch.flawed and set(map(len, batch.rows)) <= {width}
        good = batch if all_good else _without_bad(batch, places, width, bad_row)
        yield good.lines, {key: list(map(itemgetter(place), good.rows)) for key, place in places.items()}


def _without_bad(batch: Batch, places: Mapping[str, int], width: int, bad_row: BadRow) -> Batch:
    """The rows that have the width of the header, and no text behind the closing quote of a cell that is read."""
    good = Batch([], [], {})
    for index, (line, row) in enumerate(zip(batch.lines, batch.rows, strict=True)):
        flawed = [key for key, place in places.items() if place in batch.flawed.get(index, ())]
        if len(row) != width:
            bad_row(line, f"{len(row)} cells instead of {width}")
        elif flawed:
            cell = row[places[flawed[0]]]
            bad_row(line, f"{flawed[0]}: {cell[:80]!r} has text behind its closing quote; a quote in it is doubled")
        else:
            good.lines.append(line)
            good.rows.append(row)
    return good
