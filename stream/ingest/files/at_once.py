"""Lines of a table cut all at once, which is many times as fast as line by line.

This file decides in which cases some thousand lines can be cut by a few operations on all of them, and does it. In the
other cases `stream.ingest.files.delimited` looks at each line, and decides what is wrong.
"""

from __future__ import annotations

import csv

FIELD_MAX_CHARACTERS = 1 << 20


def columns_at_once(text: str, separator: str, rows: int, width: int) -> list[list[str]] | None:
    r"""The cells of each column, if every line is a row of this width; else None.

    The whole text is cut once, with each line's end as the beginning of a cell. If the number of cells is right and all
    line ends are in cells of the first column, every row has a whole multiple of the width, and so has the width.

    >>> columns_at_once("5,tea\n6,cup\n", ",", 2, 2), columns_at_once("5\n6,cup,x\n", ",", 2, 2)
    ([['5', '6'], ['tea', 'cup']], None)

    Args:
        text: lines in which quotes mean nothing.
        separator: what stands between two cells.
        rows: number of lines.
        width: number of cells of a row.
    """
    if len(separator) > 1 or width < 2:  # a blank line would be a row of one cell
        return None
    if "\r" in text and "\r" in (text := text.replace("\r\n", "\n")):
        return None
    cells = text.removesuffix("\n").replace("\n", f"{separator}\n").split(separator)
    first = "".join(cells[::width]).split("\n")
    if len(cells) != rows * width or len(first) != rows:
        return None
    return [first, *(cells[place::width] for place in range(1, width))]


def rows_at_once(lines: list[str], separator: str) -> list[list[str]]:
    """The cells of lines in which quotes mean nothing; none of a blank line."""
    if len(separator) == 1:
        try:  # quicker than to cut each line
            return list(csv.reader(lines, delimiter=separator, quoting=csv.QUOTE_NONE))
        except csv.Error:  # a cell is too long for it
            pass
    bare = (line.rstrip("\r\n") for line in lines)
    return [line.split(separator) if line else [] for line in bare]


def quoted_rows_at_once(lines: list[str], separator: str) -> list[list[str]] | None:
    """A row of each line; None if a line isn't one, or isn't well quoted."""
    csv.field_size_limit(FIELD_MAX_CHARACTERS)
    try:
        rows = list(csv.reader(lines, delimiter=separator, strict=True))
    except csv.Error:
        return None
    return rows if len(rows) == len(lines) else None
