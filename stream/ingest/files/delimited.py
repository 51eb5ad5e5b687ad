r"""Tables of text: lines with a separator, such as TSV and CSV, as cells.

This file decides which separator a table has, whether quotes mean something in it, which cells a line has, and when a
quote makes a file unreadable. Which columns are needed is decided in `stream.ingest.files.columns`.

**Quotes.** A quote at the beginning of a cell opens it, a doubled quote in it is one quote, and a separator or the end
of the line has to follow the closing one (RFC 4180). A quote elsewhere is an ordinary character. In a TSV file quotes
mean this if its header or a cell of it is quoted; a TSV file in which no cell is well quoted is taken literally. A
separator of several characters, such as `::`, knows no quotes.

**Backslashes.** R's `write.table` writes a quote in a quoted cell as `\"` and leaves other backslashes alone. A row
with `\"` is read so if it is well quoted in this way alone. If it is well quoted in both ways, it is read as R writes
once such a row was seen; before that, the run ends with its line, because both ways are possible.

**Row names.** A header of quoted names may have one cell less than the row behind it. If that row begins with a quoted
cell, its first column has the row names that R writes, which are not read.

**Cells of several lines.** A quote that is not closed swallows the rows behind it, up to the next quote. So a quoted
cell that goes on behind the end of its line ends the reading, with the line of the quote, if it is never closed, if
text stands behind its closing quote, if its row has another width than the header, or if two of its lines are events
by themselves: as many cells as the header, with a time in the column of times.

>>> table = Table("a.csv", iter(["ts,item\n", '5,"27"" TV"\n', '6,"27" TV\n']), ",")
>>> table.header, [batch.rows for batch in table.batches(time_place=0)]
(['ts', 'item'], [[['5', '27" TV'], ['6', '"27" TV']]])
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from stream.ingest.files.at_once import FIELD_MAX_CHARACTERS, columns_at_once, quoted_rows_at_once, rows_at_once
from stream.ingest.files.columns import WrongFile
from stream.values import seconds_of

BATCH_ROWS = 8_192

ANYWHERE = -1
"""Place of a column of times that isn't known."""

ROW_NAMES_LINES = 20
"""Lines that the first row of a table may have, if its first column is to be recognised as row names."""

SEPARATORS = ("\t", "::", ";", "|", ",")
"""Separators that are recognised. Of the last three, the one that occurs most in the first line is taken."""

_NAMED = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}
_OF_ENDING = {"tsv": "\t", "csv": ","}
_LEAST_SEPARATORS = 2
"""An event has a time, an item and a visitor, which are three cells."""


DOUBLED, ESCAPED = '""', '\\"'
"""Two ways to write a quote in a quoted cell."""

_IN_DOUBLED, _IN_ESCAPED = r'(?:[^"]|"")*+', r'(?:[^"\\]|\\"|\\(?!"))*+'
_OPEN = {DOUBLED: re.compile(f'"{_IN_DOUBLED}\\Z'), ESCAPED: re.compile(f'"{_IN_ESCAPED}\\Z')}
"""A quoted cell that is not closed, by the way of quoting."""


class TableForm(NamedTuple):
    """The form of a table as far as it is known before it is read.

    Attributes:
        header: names of the columns in their order, for a file whose first line is an event already.
        separator: what stands between two cells; None to recognise it.
    """

    header: tuple[str, ...] | None = None
    separator: str | None = None

    @classmethod
    def of(cls, columns: str | None = None, separator: str | None = None) -> TableForm:
        """The form that two options describe: `ts,user,item`, and `;` or a word such as `tab`.

        >>> TableForm.of("user, item,-,ts", "pipe")
        TableForm(header=('user', 'item', '-', 'ts'), separator='|')

        Raises:
            WrongFile: an option is empty, or the separator can't be one.
        """
        header = None
        if columns is not None:
            header = tuple(name.strip() for name in columns.split(","))
            if not all(header):
                raise WrongFile(f"--columns {columns!r}: names between commas, such as ts,user,item (- for one unread)")
        if separator is not None:
            given, separator = separator, _NAMED.get(separator, separator)
            if not separator or not set(separator).isdisjoint('"\r\n'):
                raise WrongFile(f"--separator {given!r}: one such as ';', '::' or tab, and no quote")
        return cls(header, separator)


UNKNOWN_FORM = TableForm()
"""A table of which nothing is known: its first line names its columns, and its separator is recognised."""


class Batch(NamedTuple):
    """Some rows of a table.

    Attributes:
        lines: number of the first line of each row.
        rows: cells of each row.
        flawed: by row, the cells with text behind their closing quote. They are kept as they stand in the file.
    """

    lines: list[int]
    rows: list[list[str]]
    flawed: dict[int, list[int]]


class Columns(NamedTuple):
    """Some rows of a table as the cells of each column: rows of one line, as wide as the header and without a flaw."""

    lines: list[int]
    columns: list[list[str]]

    @property
    def rows(self) -> list[list[str]]:
        return list(map(list, zip(*self.columns, strict=True)))

    @property
    def flawed(self) -> dict[int, list[int]]:
        return {}


class _Scan(NamedTuple):
    """The cells of one line, or of several that belong together.

    Attributes:
        cells: as meant where a cell is well quoted, else as written.
        quoted: True if a cell is well quoted.
        flawed: places of the cells with text behind their closing quote.
        open: True if a quote of a cell is never closed.
    """

    cells: list[str]
    quoted: bool
    flawed: list[int]
    open: bool


def separator_of(line: str, ending: str) -> str:
    r"""The separator of a table, by its first line and the ending of its file's name.

    >>> [separator_of(line, "csv") for line in ("ts,user,item", "ts;user;item", "1::50::9", "ts,item|item")]
    [',', ';', '::', ',']
    """
    usual = _OF_ENDING.get(ending)
    if usual is not None and line.count(usual) >= _LEAST_SEPARATORS:
        return usual
    for separator in SEPARATORS[:2]:
        if line.count(separator) >= _LEAST_SEPARATORS or (separator == "\t" and usual is None and "\t" in line):
            return separator
    most = max(SEPARATORS[2:], key=line.count)
    return most if line.count(most) >= _LEAST_SEPARATORS else usual or ","


class Table:
    """The rows of a table, read once from the beginning.

    Attributes:
        header: names of the columns; empty for an empty file.

    Args:
        path: the file, for messages.
        text: its lines, each with its end.
        separator: what stands between two cells.
        header: names of the columns if the first line is an event; else the first line has them.
    """

    def __init__(
        self, path: Path | str, text: Iterator[str], separator: str, header: Sequence[str] | None = None
    ) -> None:
        self.path = path
        self._text = text
        self._separator = separator
        end = rf"(?={re.escape(separator)}|\r?\n?\Z|\r\Z)"
        self._styles = {
            style: re.compile(f'"({inner})"{end}') for style, inner in ((DOUBLED, _IN_DOUBLED), (ESCAPED, _IN_ESCAPED))
        }
        self._style: str | None = None
        self._quotes: bool | None = False if len(separator) > 1 else None if separator == "\t" else True
        self._lines_read = 0
        self.header = list(header) if header is not None else self._first_line()

    def batches(self, time_place: int | None) -> Iterator[Batch | Columns]:
        """Rows in file order, without blank lines.

        Args:
            time_place: number of the column of times; `ANYWHERE` if it isn't known, None if the rows are no events.

        Raises:
            WrongFile: a quote is not closed as a cell of several lines would be.
        """
        while lines := list(itertools.islice(self._text, BATCH_ROWS)):
            first = self._lines_read + 1
            yield self._batch(lines, first, time_place)
            self._lines_read += len(lines)

    def _first_line(self) -> list[str]:
        for line in self._text:
            self._lines_read += 1
            if line.strip("\r\n"):
                scan = self._scan(line)
                if (scan.flawed or scan.open) and ESCAPED in line:
                    scan = self._scan(line, ESCAPED)
                if self._quotes is None and scan.quoted:
                    self._quotes = True
                if not self._quotes:
                    return line.rstrip("\r\n").split(self._separator)
                all_quoted = scan.quoted and line.count('"') == 2 * len(scan.cells)
                return ["", *scan.cells] if all_quoted and self._has_row_names(len(scan.cells)) else scan.cells
        return []

    def _has_row_names(self, width: int) -> bool:
        """True if the first row has one cell more than a header of this width, and begins with a quoted one.

        Raises:
            WrongFile: it has so in one way of quoting, and as many as the header in the other.
        """
        lines = list(itertools.islice(self._text, ROW_NAMES_LINES))
        self._text = itertools.chain(lines, self._text)
        if not lines or not lines[0].startswith('"') or lines[0].rstrip("\r\n").endswith(self._separator):
            return False
        widths = set()
        for style in (DOUBLED, ESCAPED):
            joined = itertools.accumulate(lines)
            scan = next((each for each in (self._scan(text, style) for text in joined) if not each.open), None)
            if scan is not None and not scan.flawed:
                widths.add(len(scan.cells))
        if {width, width + 1} <= widths:
            raise self._doubtful(self._lines_read + 1)
        return width + 1 in widths

    def _batch(self, lines: list[str], first: int, time_place: int | None) -> Batch | Columns:
        """The rows of some lines. A cell that goes on behind them takes further lines, which are added to `lines`."""
        text = "".join(lines)
        with_quotes = '"' in text
        if with_quotes and self._quotes is None:
            self._quotes = self._quotes_mean_something(lines, first, time_place)
        numbers = range(first, first + len(lines))
        rows: list[list[str]] | None
        if with_quotes and self._quotes:
            rows = None if ESCAPED in text else quoted_rows_at_once(lines, self._separator)
            if rows is None:
                return self._one_by_one(lines, first, time_place)
        elif columns := columns_at_once(text, self._separator, len(lines), len(self.header)):
            return Columns(list(numbers), columns)
        else:
            rows = rows_at_once(lines, self._separator)
        if all(rows):
            return Batch(list(numbers), rows, {})
        kept = [index for index, row in enumerate(rows) if row]
        return Batch([numbers[index] for index in kept], [rows[index] for index in kept], {})

    def _quotes_mean_something(self, lines: list[str], first: int, time_place: int | None) -> bool | None:
        """True if a cell is well quoted, False if quoted cells are not; None if no cell begins with a quote."""
        begins = False
        for index, line in enumerate(lines):
            if not (line.startswith('"') or f'{self._separator}"' in line):
                continue
            begins = True
            scan = self._scan(line)
            if ESCAPED in line and not scan.quoted:
                scan = self._scan(line, ESCAPED)
            if scan.open:
                try:
                    scan, _ = self._over_lines(lines, index, first, time_place)
                except WrongFile:
                    continue
            if scan.quoted:
                return True
        return False if begins else None

    def _one_by_one(self, lines: list[str], first: int, time_place: int | None) -> Batch:
        """Rows of lines of which some are not rows by themselves, or not well quoted."""
        batch = Batch([], [], {})
        index = 0
        while index < len(lines):
            scan, used = self._row(lines, index, first, time_place)
            if lines[index].strip("\r\n"):
                if scan.flawed:
                    batch.flawed[len(batch.rows)] = scan.flawed
                batch.lines.append(first + index)
                batch.rows.append(scan.cells)
            index += used
        return batch

    def _row(self, lines: list[str], index: int, first: int, time_place: int | None) -> tuple[_Scan, int]:
        """The row that begins in a line, and its number of lines, in the way of quoting that makes it well quoted.

        Raises:
            WrongFile: a quote is not closed as a cell of several lines would be, or the row can be read in two ways.
        """
        doubled = self._attempt(lines, index, first, time_place, DOUBLED)
        used = 1 if isinstance(doubled, WrongFile) else doubled[1]
        if any(ESCAPED in line for line in lines[index : index + used]):
            escaped = self._attempt(lines, index, first, time_place, ESCAPED)
            if not isinstance(escaped, WrongFile) and self._is_good(escaped[0]):
                both = not isinstance(doubled, WrongFile) and self._is_good(doubled[0])
                if both and doubled != escaped and self._style is None:
                    raise self._doubtful(first + index)
                if not both:
                    self._style = ESCAPED
                if not both or self._style == ESCAPED:
                    return escaped
        if isinstance(doubled, WrongFile):
            raise doubled
        return doubled

    def _attempt(
        self, lines: list[str], index: int, first: int, time_place: int | None, style: str
    ) -> tuple[_Scan, int] | WrongFile:
        """The row that begins in a line in one way of quoting, and its number of lines; or the error."""
        scan = self._scan(lines[index], style)
        if not scan.open:
            return scan, 1
        try:
            return self._over_lines(lines, index, first, time_place, style)
        except WrongFile as error:
            return error

    def _is_good(self, scan: _Scan) -> bool:
        return not scan.flawed and not scan.open and len(scan.cells) == len(self.header)

    def _over_lines(
        self, lines: list[str], start: int, first: int, time_place: int | None, style: str = DOUBLED
    ) -> tuple[_Scan, int]:
        """The row that begins in a line with an open quote, and its number of lines.

        Raises:
            WrongFile: the quote is not closed as a cell of several lines would be.
        """
        events = int(self._is_event(self._scan(lines[start], style).cells, time_place))
        size = len(lines[start])
        for used in itertools.count(2):
            if start + used > len(lines):
                if (more := next(self._text, None)) is None:
                    raise self._wrong_quote(first + start, "it is never closed")
                lines.append(more)
            line = lines[start + used - 1]
            size += len(line)
            events += self._is_event(self._scan(line, style).cells, time_place)
            if events > 1:
                raise self._wrong_quote(first + start, f"it would hide the event in line {first + start + used - 1}")
            if size > FIELD_MAX_CHARACTERS:
                raise self._wrong_quote(first + start, f"it is not closed within {FIELD_MAX_CHARACTERS:,} characters")
            quotes = line.count('"') - (style == ESCAPED) * line.count(ESCAPED)
            if quotes % 2 == 0:  # a quote that is closed and one that is opened, or doubled ones: still open
                continue
            scan = self._scan("".join(lines[start : start + used]), style)
            if scan.open:
                continue
            if scan.flawed:
                raise self._wrong_quote(first + start, f"text follows the quote in line {first + start + used - 1}")
            if len(scan.cells) != len(self.header):
                widths = f"{len(scan.cells)} cells instead of {len(self.header)}"
                raise self._wrong_quote(
                    first + start, f"closed in line {first + start + used - 1} the row has {widths}"
                )
            return scan, used
        raise AssertionError("unreachable: the count has no end")

    def _is_event(self, cells: Sequence[str], time_place: int | None) -> bool:
        """True if these cells could be an event: as many as the header has, and a time in its place, if it is known."""
        if time_place is None or len(cells) != len(self.header):
            return False
        if time_place == ANYWHERE:
            return True
        try:
            return seconds_of(cells[time_place]) >= 0
        except ValueError:
            return False

    def _scan(self, text: str, style: str = DOUBLED) -> _Scan:
        """Cells of one line, or of lines that belong together. Cells that are not well quoted are cut as if literal."""
        cells: list[str] = []
        flawed: list[int] = []
        quoted = False
        is_open = False
        end = len(text.rstrip("\r\n"))
        at = 0
        while True:
            if text.startswith('"', at):
                if found := self._styles[style].match(text, at):
                    cells.append(found[1].replace(style, '"'))
                    quoted = True
                    at = found.end()
                    if at >= end:
                        break
                    at += len(self._separator)
                    continue
                if _OPEN[style].match(text, at):
                    is_open = True
                else:
                    flawed.append(len(cells))
            stop = text.find(self._separator, at, end)
            cells.append(text[at : end if stop < 0 else stop])
            if stop < 0:
                break
            at = stop + len(self._separator)
        return _Scan(cells, quoted, flawed, is_open)

    def _doubtful(self, line: int) -> WrongFile:
        return WrongFile(
            f"{self.path}: line {line}: a quote behind a backslash may be part of a cell or its end; write a quote in "
            'a cell as "", without a backslash'
        )

    def _wrong_quote(self, line: int, why: str) -> WrongFile:
        return WrongFile(
            f"{self.path}: line {line}: a quote opens a cell and {why}; close it in its line, or, if it belongs to the "
            'text, quote the cell and double the quote ("27"" TV")'
        )
